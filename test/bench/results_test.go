package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestAMissFailsTheRunIfItDoesNotDependOnTheMachine(t *testing.T) {
	for name, test := range map[string]struct {
		tell    func(*results)
		reached bool
		says    string
	}{
		"a ratio that is reached":        {func(r *results) { r.hold("s", "w", 1.3, "×", 1.3) }, true, "≤ 1.30×"},
		"one that is not":                {func(r *results) { r.hold("s", "w", 1.31, "×", 1.3) }, false, "MISSED"},
		"a count that must be nothing":   {func(r *results) { r.hold("s", "w", 1, "", 0) }, false, "MISSED"},
		"and is":                         {func(r *results) { r.hold("s", "w", 0, "", 0) }, true, "≤ 0"},
		"the least that is reached":      {func(r *results) { r.holdLeast("s", "w", 0.9, "×", 0.8) }, true, "≥ 0.80×"},
		"the least that is not":          {func(r *results) { r.holdLeast("s", "w", 0.7, "×", 0.8) }, false, "MISSED"},
		"milliseconds that are too many": {func(r *results) { r.aim("s", "w", 300, "ms", 250) }, true, "missed"},
		"what has no target":             {func(r *results) { r.report("s", "w", 300, "ms") }, true, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			var r results
			test.tell(&r)
			var out bytes.Buffer
			if got := r.print(&out); got != test.reached {
				t.Errorf("reached: %t, want %t", got, test.reached)
			}
			if !strings.Contains(out.String(), test.says) {
				t.Errorf("%s\nlacks %q", out.String(), test.says)
			}
		})
	}
}

func TestRequestsAreCountedWithoutTheBenchmarksOwn(t *testing.T) {
	before := counts{"POST secrets": 5, "GET secrets": 7}
	after := counts{"POST secrets": 15, "GET secrets": 9, "POST accounttokens": 10, "PATCH accounttokens/status": 20}
	asked := after.since(before).without("POST accounttokens", 10)
	if asked.writes() != 30 || asked.reads() != 2 {
		t.Errorf("%v: %g writes and %g reads", asked, asked.writes(), asked.reads())
	}
}

func TestAPlotIsXMLWhateverWasMeasured(t *testing.T) {
	for name, r := range map[string]*results{
		"nothing":  {},
		"one size": {Bursts: []*burst{{N: 100, Seconds: 1}}, Floors: []*burst{{N: 100, Seconds: 1}}},
		"several":  {Bursts: []*burst{{N: 100, Seconds: 1}, {N: 1000, Seconds: 8}}, Floors: []*burst{{N: 100}, {N: 1000, Seconds: 7}}},
	} {
		t.Run(name, func(t *testing.T) {
			svg := r.plot("All ready after", "s", func(b *burst) float64 { return b.Seconds })
			if bytes.Contains(svg, []byte("NaN")) || bytes.Contains(svg, []byte("Inf")) {
				t.Errorf("no number: %s", svg)
			}
			decoder := xml.NewDecoder(bytes.NewReader(svg))
			for {
				if _, err := decoder.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
