// Bench measures the operator, as a process of its own, on a real kube-apiserver and etcd: `make bench`. It prints each
// figure beside its target, and fails if one is missed that does not depend on the machine: a ratio of two things that were
// measured in one run, or a count. docs/performance.md says what is measured, and why.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/tokensteward/tokensteward/internal/manager"
)

var (
	scheme = manager.Scheme()
	codecs = serializer.NewCodecFactory(scheme)
)

// options are the flags.
type options struct {
	sizes []int
	// idle is for how long nothing may happen.
	idle time.Duration
	only map[string]bool
	json string
	docs string
}

func main() {
	ctrl.SetLogger(logr.Discard())
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run does what the arguments say: the whole, or one of the processes that the operator is held against.
func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	switch {
	case len(os.Args) == 4 && os.Args[1] == "floor":
		return floor(ctx, os.Args[2], os.Args[3])
	case len(os.Args) == 2 && os.Args[1] == "empty":
		return serveEmpty(ctx)
	default:
		return bench(ctx)
	}
}

func parse() (*options, error) {
	var o options
	sizes := flag.String("sizes", "100,1000,3000,10000", "how many resources are created in a burst, one after the other")
	flag.DurationVar(&o.idle, "idle", 10*time.Minute, "for how long it is watched that nothing happens")
	only := flag.String("only", "", "scenarios, separated by commas; all if empty")
	flag.StringVar(&o.json, "json", "", "a file for the figures")
	flag.StringVar(&o.docs, "docs", "", "the folder docs, for its tables and plots")
	flag.Parse()
	for text := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-sizes: %q is no number above 0", text)
		}
		o.sizes = append(o.sizes, n)
	}
	if *only != "" {
		o.only = map[string]bool{}
		for name := range strings.SplitSeq(*only, ",") {
			o.only[name] = true
		}
	}
	return &o, nil
}

// scenarios are run in this order, each on a control plane of its own.
var scenarios = []struct {
	name string
	run  func(context.Context, *world, *options) error
}{
	{"burst", bursts},
	{"rotation", rotation},
	{"rest", atRest},
	{"codacy", codacyBurst},
	{"noisy", noisyTenant},
	{"authority", authorityLoad},
	{"image", imageSize},
}

func bench(ctx context.Context) error {
	o, err := parse()
	if err != nil {
		return err
	}
	var r results
	for _, s := range scenarios {
		if o.only != nil && !o.only[s.name] {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s (%s) ...\n", s.name, time.Now().UTC().Format(time.TimeOnly))
		if err := inWorld(ctx, &r, o, s.run); err != nil {
			r.print(os.Stdout) // What was measured before took long.
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	reached := r.print(os.Stdout)
	if o.json != "" {
		if err := r.write(o.json); err != nil {
			return err
		}
	}
	if o.docs != "" {
		if err := r.document(o.docs); err != nil {
			return err
		}
	}
	if !reached {
		return errors.New("a target was missed")
	}
	return nil
}

func inWorld(ctx context.Context, r *results, o *options, run func(context.Context, *world, *options) error) error {
	w, err := newWorld(ctx, r)
	if err != nil {
		return err
	}
	return errors.Join(run(ctx, w, o), w.controlPlane.Stop())
}
