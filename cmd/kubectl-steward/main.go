// kubectl-steward is a plugin of kubectl: `kubectl steward`.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // However the user logs in to the cluster.
	"k8s.io/utils/clock"

	"github.com/tokensteward/tokensteward/internal/cli"
	"github.com/tokensteward/tokensteward/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second signal ends what does not heed the first one.
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	err := cli.New(streams, clock.RealClock{}, version.Version).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", cli.Visible(err.Error()))
		os.Exit(1)
	}
}
