package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// world is Prometheus' engine with a day of data.
type world struct {
	db     *tsdb.DB
	engine *promql.Engine
	dir    string
}

func newWorld(ctx context.Context, all []series) (*world, error) {
	dir, err := os.MkdirTemp("", "dashboard")
	if err != nil {
		return nil, err
	}
	options := tsdb.DefaultOptions()
	options.WALSegmentSize = -1 // Nothing is kept.
	options.MinBlockDuration = (48 * time.Hour).Milliseconds()
	options.MaxBlockDuration = options.MinBlockDuration
	db, err := tsdb.Open(dir, nil, nil, options, nil)
	if err != nil {
		return nil, err
	}
	w := &world{db: db, dir: dir, engine: promql.NewEngine(promql.EngineOpts{
		MaxSamples: 10_000_000, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{}),
	})}
	appender := db.Appender(ctx)
	for i := range all {
		var ref storage.SeriesRef
		err := all[i].samples(func(at time.Time, v float64) (err error) {
			ref, err = appender.Append(ref, all[i].labels, at.UnixMilli(), v)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("%v: %w", all[i].labels, err)
		}
	}
	return w, appender.Commit()
}

func (w *world) close() error {
	defer func() { _ = os.RemoveAll(w.dir) }()
	return w.db.Close()
}

// line is a series of a result.
type line struct {
	refID  string
	name   string
	labels map[string]string
	points []promql.FPoint
}

// ask runs the queries of a panel for the day, or for its end.
func (w *world) ask(ctx context.Context, d *dashboard, p *panel) ([]line, error) {
	interval, err := p.interval()
	if err != nil {
		return nil, err
	}
	var lines []line
	for _, t := range p.Targets {
		text, begin, end := d.query(t, interval), dayBegins, dayBegins.Add(midnight*time.Minute)
		if t.Instant {
			begin = end
		}
		query, err := w.engine.NewRangeQuery(ctx, w.db, nil, text, begin, end, interval)
		if err != nil {
			return nil, fmt.Errorf("panel %q: %s: %w", p.Title, text, err)
		}
		defer query.Close()
		matrix, err := query.Exec(ctx).Matrix()
		if err != nil {
			return nil, fmt.Errorf("panel %q: %s: %w", p.Title, text, err)
		}
		for _, s := range matrix {
			labels := s.Metric.Map()
			lines = append(lines, line{refID: t.RefID, name: legend(t.LegendFormat, labels), labels: labels, points: s.Floats})
		}
	}
	return lines, nil
}
