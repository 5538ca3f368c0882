// Package deletion_test deletes namespaces, issuers and credentials, in every order and while others are down, with a real
// kube-apiserver and kube-controller-manager, and looks at the service whether a token is left.
package deletion_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/leakcheck"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// stage is what all stories have in common. Each has a namespace of its own, and at the service an account and an
// organization.
type stage struct {
	directory         string
	controlPlane      *testenv.ControlPlane
	controllerManager *exec.Cmd
	service           *codacytest.Server
	served            *codacytest.Running
	binary            string
	operator          *testenv.Operator
	// values are all that ever lived at the service; logs are those of the operators that have ended.
	values leakcheck.Values
	logs   strings.Builder
}

var theStage stage

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	err := theStage.start(context.Background())
	code := 1
	if err == nil {
		code = m.Run()
	}
	if err = errors.Join(err, theStage.stop(code == 0)); err != nil {
		fmt.Fprintln(os.Stderr, "deletion:", err)
		code = 1
	}
	os.Exit(code)
}

func (s *stage) start(ctx context.Context) (err error) {
	if s.directory, err = os.MkdirTemp("", "tokensteward-deletion-"); err != nil {
		return err
	}
	if s.binary, err = testenv.BuildOperator(ctx, s.directory); err != nil {
		return err
	}
	if s.controlPlane, err = testenv.Start(ctx); err != nil {
		return err
	}
	if err := s.startControllerManager(); err != nil {
		return err
	}
	behaviour, err := codacytest.Edition("cloud-2026-08")
	if err != nil {
		return err
	}
	behaviour.RateLimit = nil
	s.service = codacytest.New(clock.RealClock{}, behaviour)
	if s.served, err = codacytest.StartTLS(s.service, "127.0.0.1:0"); err != nil {
		return err
	}
	return s.startOperator(ctx)
}

func (s *stage) startControllerManager() (err error) {
	if s.controllerManager, err = s.controlPlane.ControllerManager(); err != nil {
		return err
	}
	log, err := os.Create(s.controllerManagerLog())
	if err != nil {
		return err
	}
	defer log.Close()
	s.controllerManager.Stdout, s.controllerManager.Stderr = log, log
	return s.controllerManager.Start()
}

func (s *stage) controllerManagerLog() string {
	return filepath.Join(s.directory, "kube-controller-manager.log")
}

// startOperator starts the operator with short times, so that a service that was down is soon asked again.
func (s *stage) startOperator(ctx context.Context) (err error) {
	s.operator, err = testenv.StartOperator(ctx, s.binary, s.controlPlane.OperatorKubeconfig, "--leader-elect=false", "--zap-devel",
		"--allowed-hosts="+strings.TrimPrefix(s.served.URL, "https://"), "--service-timeout=5s", "--service-pause=500ms")
	return err
}

// killOperator ends the operator with SIGKILL.
func (s *stage) killOperator() error {
	s.operator.Kill()
	s.logs.WriteString(s.operator.Log())
	err := s.operator.Remove()
	s.operator = nil
	return err
}

// stop ends everything, and has the logs searched if all went well until now.
func (s *stage) stop(search bool) error {
	var problems []error
	if s.operator != nil {
		s.operator.Stop()
		s.logs.WriteString(s.operator.Log())
		problems = append(problems, s.operator.Remove())
	}
	if search {
		problems = append(problems, s.values.Check(map[string]string{"the operator's log": s.logs.String()}), s.quiet())
	} else if os.Getenv("SHOW_OPERATOR_LOG") != "" {
		fmt.Println(s.logs.String())
	}
	if s.served != nil {
		problems = append(problems, s.served.Close())
	}
	if s.controllerManager != nil && s.controllerManager.Process != nil {
		problems = append(problems, s.controllerManager.Process.Kill())
		_ = s.controllerManager.Wait() // It was killed.
	}
	if s.controlPlane != nil {
		problems = append(problems, s.controlPlane.Stop())
	}
	return errors.Join(append(problems, os.RemoveAll(s.directory))...)
}

// quiet: the operators were refused nothing, and none of them panicked.
func (s *stage) quiet() error {
	var problems []error
	if !strings.Contains(s.logs.String(), "Issued a token") {
		problems = append(problems, errors.New("there is no log of the operator"))
	}
	for _, line := range strings.Split(s.logs.String(), "\n") {
		for _, words := range []string{"forbidden", "panic", "Reconciler error"} {
			// An Event in a namespace that is being deleted is refused to everybody.
			if strings.Contains(line, words) && !strings.Contains(line, "because it is being terminated") {
				problems = append(problems, fmt.Errorf("the operator logged: %s", line))
			}
		}
	}
	return errors.Join(problems...)
}

// patience is how long something may take that has to happen.
const patience = 2 * time.Minute
