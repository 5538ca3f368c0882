// The manager is the operator's process.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"
	// The image holds this one binary and nothing else, so it brings the public CAs along. Where the system has some, as
	// when a directory is mounted over /etc/ssl/certs, those are used instead.
	_ "golang.org/x/crypto/x509roots/fallback"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/tokensteward/tokensteward/internal/manager"
	"github.com/tokensteward/tokensteward/internal/version"
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
	showVersion := pflag.Bool("version", false, "Print the version and exit.")
	pflag.Parse()
	if *showVersion {
		fmt.Println(version.Version)
		return nil
	}
	if err := options.Validate(); err != nil {
		return err
	}
	log := zap.New(zap.UseFlagOptions(&options.Log))
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	log.Info("tokensteward starts", "version", version.Version)
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
