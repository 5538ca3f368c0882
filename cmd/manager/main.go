// The manager is the operator's process.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/tokensteward/tokensteward/internal/manager"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "tokensteward:", err)
		os.Exit(1)
	}
}

func run() error {
	var options manager.Options
	options.AddFlags(pflag.CommandLine)
	pflag.Parse()
	if err := options.Validate(); err != nil {
		return err
	}
	log := zap.New(zap.UseFlagOptions(&options.Log))
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	if err := manager.PingConnections(); err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	ctx := ctrl.SetupSignalHandler()
	mgr, err := manager.New(ctx, config, &options, clock.RealClock{})
	if err != nil {
		return err
	}
	return mgr.Start(ctx)
}
