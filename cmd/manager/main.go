// The manager is the operator's process.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/pflag"
	// The image holds this one binary and nothing else, so it brings the public CAs along. Where the system has some, as
	// when a directory is mounted over /etc/ssl/certs, those are used instead.
	_ "golang.org/x/crypto/x509roots/fallback"
	"k8s.io/utils/clock"

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
	// A burst of tokens leaves a heap full of holes, so it is not allowed to grow to twice of what lives: docs/performance.md,
	// Memory.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	return manager.Run(&options, clock.RealClock{})
}
