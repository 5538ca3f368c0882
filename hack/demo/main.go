// The demo starts a real etcd and kube-apiserver, runs the operator against them, and tells the story of a few tokens
// with the commands that a user would type. It exits with 0 only if every step did what it says.
//
//	demo           tell the story of tokens of the built-in authority, then clean up
//	demo codacy    tell that of a token of Codacy
//	demo --stay    only start everything, say how to reach it, and clean up at Ctrl-C
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/tokensteward/tokensteward/internal/testenv"
)

func main() {
	var tale func(*story)
	switch arguments := os.Args[1:]; {
	case len(arguments) == 0:
		tale = tellBuiltIn
	case len(arguments) == 2 && arguments[0] == consumerMode:
		os.Exit(consume(arguments[1], os.Stdin, os.Stdout))
	case len(arguments) == 1 && arguments[0] == "codacy":
		tale = tellCodacy
	case len(arguments) == 1 && arguments[0] == "--stay":
	default:
		fmt.Fprintln(os.Stderr, "usage: demo [codacy | --stay]")
		os.Exit(2)
	}
	if err := run(tale); err != nil {
		fmt.Fprintln(os.Stderr, "\nThe demo failed:", err)
		os.Exit(1)
	}
}

// world is what the demo started.
type world struct {
	controlPlane *testenv.ControlPlane
	operator     *testenv.Operator
}

// run starts everything and tells a story; without one it waits for Ctrl-C.
func run(tale func(*story)) (err error) {
	ctrl.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Println("Starting etcd and kube-apiserver, with config/default ...")
	w := &world{}
	if w.controlPlane, err = testenv.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.clean(err != nil)) }()
	fmt.Println("Starting the operator ...")
	binary := filepath.Join(testenv.Root(), "bin", "manager")
	if w.operator, err = testenv.StartOperator(ctx, binary, w.controlPlane.OperatorKubeconfig); err != nil {
		return err
	}
	if tale == nil {
		w.explain()
		<-ctx.Done()
		return nil
	}
	return tell(ctx, w, tale)
}

func (w *world) explain() {
	fmt.Printf(`
Running. In another shell:

  export KUBECONFIG=%s
  export AUTHORITY=%s AUTHORITY_CA=%s
  kubectl create namespace team-a
  kubectl apply -f config/samples
  kubectl get tokensteward -A

The operator's log: %s
kubectl, if you have none: %s
Ctrl-C ends it and removes everything.
`, w.controlPlane.Kubeconfig, w.operator.AuthorityURL, w.operator.CAFile, w.operator.LogFile, filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"))
}

// clean ends all processes and removes all files; after a failure it shows the end of the operator's log first.
func (w *world) clean(failed bool) error {
	var err error
	if w.operator != nil {
		w.operator.Stop()
		if log := w.operator.Log(); failed {
			fmt.Fprintf(os.Stderr, "\nThe end of the operator's log:\n%s\n", log[max(0, len(log)-4000):])
		}
		err = w.operator.Remove()
	}
	return errors.Join(err, w.controlPlane.Stop())
}
