// Command dashboard draws what the chart's dashboard for Grafana shows of a made day: its own queries, asked of Prometheus'
// engine. Its looks are not Grafana's, which draws the same numbers in its own way.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: dashboard <dashboard.json> <picture.svg>")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, from, to string) error {
	d, err := load(from)
	if err != nil {
		return err
	}
	w, err := newWorld(ctx, makeDay())
	if err != nil {
		return err
	}
	picture, err := draw(ctx, d, w)
	if err := errors.Join(err, w.close()); err != nil {
		return err
	}
	return os.WriteFile(to, picture, 0o644)
}
