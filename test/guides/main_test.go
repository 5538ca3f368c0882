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
	// directory has the programs that the guides call, and binary is the operator's.
	directory, binary string
	cluster           *cluster
	service           *codacytest.Server
	served            *codacytest.Running
}

// cluster is one with an operator. Some guides are about two.
type cluster struct {
	controlPlane      *testenv.ControlPlane
	controllerManager *exec.Cmd
	operator          *testenv.Operator
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
	if s.binary, err = testenv.BuildOperator(ctx, s.directory); err != nil {
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
	behaviour, err := codacytest.Edition("cloud-2026-08")
	if err != nil {
		return err
	}
	behaviour.RateLimit = nil
	s.service = codacytest.New(clock.RealClock{}, behaviour)
	for _, repository := range []string{"website", "homepage"} {
		s.service.AddRepository("gh", "acme", repository)
	}
	if s.served, err = codacytest.StartTLS(s.service, "127.0.0.1:0"); err != nil {
		return err
	}
	if s.cluster, err = startCluster(ctx, ""); err != nil {
		return err
	}
	return s.cluster.startOperator(ctx)
}

// startCluster starts one without an operator, with etcd's data in a directory, as testenv.StartOn does.
func startCluster(ctx context.Context, data string) (_ *cluster, err error) {
	c := &cluster{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.stop())
		}
	}()
	if c.controlPlane, err = testenv.StartOn(ctx, data); err != nil {
		return nil, err
	}
	if c.controllerManager, err = c.controlPlane.ControllerManager(); err != nil {
		return nil, err
	}
	return c, c.controllerManager.Start()
}

// startOperator starts the operator, with more flags.
func (c *cluster) startOperator(ctx context.Context, flags ...string) (err error) {
	c.operator, err = testenv.StartOperator(ctx, theStage.binary, c.controlPlane.OperatorKubeconfig,
		append([]string{"--leader-elect=false", "--service-timeout=5s", "--service-pause=500ms"}, flags...)...)
	return err
}

// stop ends what runs of the cluster. It can be called again.
func (c *cluster) stop() error {
	var problems []error
	if c.operator != nil {
		c.operator.Stop()
		problems = append(problems, c.operator.Remove())
	}
	if c.controllerManager != nil && c.controllerManager.Process != nil {
		problems = append(problems, c.controllerManager.Process.Kill())
		_ = c.controllerManager.Wait() // It was killed.
	}
	if c.controlPlane != nil {
		problems = append(problems, c.controlPlane.Stop())
	}
	*c = cluster{}
	return errors.Join(problems...)
}

func (s *stage) stop() error {
	var problems []error
	if s.cluster != nil {
		problems = append(problems, s.cluster.stop())
	}
	if s.served != nil {
		problems = append(problems, s.served.Close())
	}
	return errors.Join(append(problems, os.RemoveAll(s.directory))...)
}
