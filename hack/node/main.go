// Node brings up a Kubernetes cluster of one node, in which pods really run, and keeps it until Ctrl-C.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/tokensteward/tokensteward/test/e2e/node"
)

const usage = `Bring up a Kubernetes cluster of one node on this machine (Linux, as root), and keep it until Ctrl-C.

  go run ./hack/node              in bin/node
  go run ./hack/node load FILE    load the archive of an image into it, while it runs
`

const started = `
  export KUBECONFIG=%s
  go run ./hack/node load FILE    loads the archive of an image; pods use it with imagePullPolicy: Never
  ctr -a %s/run/containerd/containerd.sock -n k8s.io images import FILE    does the same

Ctrl-C ends it.
`

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1) //nolint:gocritic // exitAfterDefer: there is nothing left to cancel.
	}
}

func run(ctx context.Context, arguments []string) error {
	directory, err := filepath.Abs("bin/node")
	if err != nil {
		return err
	}
	switch {
	case len(arguments) == 2 && arguments[0] == "load":
		return node.Load(ctx, directory, arguments[1])
	case len(arguments) > 0:
		fmt.Print(usage)
		return nil
	}
	n, err := node.Start(ctx, directory, func(format string, a ...any) { fmt.Printf("node: "+format+"\n", a...) })
	if err != nil {
		return err
	}
	fmt.Printf(started, n.Kubeconfig, directory)
	<-ctx.Done()
	fmt.Println("node: stopping ...")
	return n.Stop()
}
