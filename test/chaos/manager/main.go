// The manager of the chaos test: the operator, with a clock that is set from outside: --clock-file holds how far it is off, such as -4s.
package main

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"github.com/tokensteward/tokensteward/internal/manager"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "chaos manager:", err)
		os.Exit(1)
	}
}

func run() error {
	var options manager.Options
	options.AddFlags(pflag.CommandLine)
	clk := &jumpingClock{}
	pflag.StringVar(&clk.file, "clock-file", "", "A file with how far the clock is off.")
	pflag.Parse()
	go clk.follow()
	return manager.Run(&options, clk)
}

// jumpingClock is off by what a file says.
type jumpingClock struct {
	file string
	off  atomic.Int64
}

func (c *jumpingClock) Now() time.Time                  { return time.Now().Add(time.Duration(c.off.Load())) }
func (c *jumpingClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func (c *jumpingClock) follow() {
	for range time.Tick(100 * time.Millisecond) {
		text, err := os.ReadFile(c.file)
		if err != nil {
			continue
		}
		if off, err := time.ParseDuration(strings.TrimSpace(string(text))); err == nil {
			c.off.Store(int64(off))
		}
	}
}
