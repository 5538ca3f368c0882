// Package guides_test runs the commands of docs/ as a reader would, in a shell, on a real kube-apiserver with a real
// kube-controller-manager, the operator as a process of its own, and a stand-in for Codacy.
package guides_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// stage is what all guides are tried on, one after the other.
type stage struct {
	// directory has the programs that the guides call, and what the operator logs.
	directory         string
	controlPlane      *testenv.ControlPlane
	controllerManager *exec.Cmd
	operator          *testenv.Operator
	service           *codacytest.Server
	served            *codacytest.Running
	account           int64
}

var theStage stage

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	err := theStage.start(context.Background())
	code := 1
	if err == nil {
		code = m.Run()
	}
	if err = errors.Join(err, theStage.stop()); err != nil {
		fmt.Fprintln(os.Stderr, "guides:", err)
		code = 1
	}
	os.Exit(code)
}

func (s *stage) start(ctx context.Context) (err error) {
	if s.directory, err = os.MkdirTemp("", "tokensteward-guides-"); err != nil {
		return err
	}
	binary, err := testenv.BuildOperator(ctx, s.directory)
	if err != nil {
		return err
	}
	plugin := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(s.directory, "kubectl-steward"), "./cmd/kubectl-steward")
	plugin.Dir = testenv.Root()
	if output, err := plugin.CombinedOutput(); err != nil {
		return fmt.Errorf("building the plugin: %w: %s", err, output)
	}
	if err := os.Symlink(filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), filepath.Join(s.directory, "kubectl")); err != nil {
		return err
	}
	if s.controlPlane, err = testenv.Start(ctx); err != nil {
		return err
	}
	if s.controllerManager, err = s.controlPlane.ControllerManager(); err != nil {
		return err
	}
	if err := s.controllerManager.Start(); err != nil {
		return err
	}
	behaviour, err := codacytest.Edition("cloud-2026-08")
	if err != nil {
		return err
	}
	behaviour.RateLimit = nil
	s.service = codacytest.New(clock.RealClock{}, behaviour)
	s.account = s.service.AddAccount("Robot", "robot@acme.example")
	for _, repository := range []string{"website", "homepage"} {
		s.service.AddRepository("gh", "acme", repository)
	}
	if s.served, err = codacytest.StartTLS(s.service, "127.0.0.1:0"); err != nil {
		return err
	}
	s.operator, err = testenv.StartOperator(ctx, binary, s.controlPlane.OperatorKubeconfig, "--leader-elect=false", "--service-timeout=5s", "--service-pause=500ms")
	return err
}

func (s *stage) stop() error {
	var problems []error
	if s.operator != nil {
		s.operator.Stop()
		problems = append(problems, s.operator.Remove())
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
