package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
)

// figure is something that was measured. Ratios and counts have a target, which is held; what depends on the machine alone
// has one that is only printed.
type figure struct {
	Scenario string  `json:"scenario"`
	What     string  `json:"what"`
	Unit     string  `json:"unit,omitempty"`
	Value    float64 `json:"value"`
	Target   float64 `json:"target,omitempty"`
	// Least: the target is the least, and else the most, that it may be.
	Least bool `json:"least,omitempty"`
	// Held: a miss fails the run.
	Held bool `json:"held"`
}

func (f *figure) missed() bool {
	switch {
	case f.Target == 0 && !f.Held:
		return false
	case f.Least:
		return f.Value < f.Target
	default:
		return f.Value > f.Target
	}
}

// results are all figures of a run, and the bursts for the plots.
type results struct {
	Figures []figure `json:"figures"`
	Bursts  []*burst `json:"bursts"`
	Floors  []*burst `json:"floors"`
}

// report prints a figure that has no target.
func (r *results) report(scenario, what string, value float64, unit string) {
	r.Figures = append(r.Figures, figure{Scenario: scenario, What: what, Value: value, Unit: unit})
}

// aim prints a figure beside its target, which depends on the machine.
func (r *results) aim(scenario, what string, value float64, unit string, most float64) {
	r.Figures = append(r.Figures, figure{Scenario: scenario, What: what, Value: value, Unit: unit, Target: most})
}

// hold fails the run if a figure is above its target.
func (r *results) hold(scenario, what string, value float64, unit string, most float64) {
	r.Figures = append(r.Figures, figure{Scenario: scenario, What: what, Value: value, Unit: unit, Target: most, Held: true})
}

// holdLeast fails the run if a figure is below its target.
func (r *results) holdLeast(scenario, what string, value float64, unit string, least float64) {
	r.Figures = append(r.Figures, figure{Scenario: scenario, What: what, Value: value, Unit: unit, Target: least, Least: true, Held: true})
}

// print prints the table, and says whether every target that is held was reached.
func (r *results) print(out io.Writer) bool {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "scenario\twhat\ttarget\tresult\t")
	reached := true
	for i := range r.Figures {
		f := &r.Figures[i]
		verdict := ""
		if f.missed() {
			verdict = "missed"
			if f.Held {
				verdict, reached = "MISSED", false
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", f.Scenario, f.What, f.target(), number(f.Value)+unit(f.Unit), verdict)
	}
	_ = table.Flush()
	return reached
}

func (f *figure) target() string {
	switch {
	case f.Target == 0 && !f.Held:
		return "-"
	case f.Least:
		return "≥ " + number(f.Target) + unit(f.Unit)
	default:
		return "≤ " + number(f.Target) + unit(f.Unit)
	}
}

func unit(unit string) string {
	if unit == "" || unit == "×" {
		return unit
	}
	return " " + unit
}

// number has three digits that say something.
func number(value float64) string {
	switch {
	case value == 0:
		return "0"
	case value >= 100:
		return fmt.Sprintf("%.0f", value)
	case value >= 10:
		return fmt.Sprintf("%.1f", value)
	default:
		return fmt.Sprintf("%.2f", value)
	}
}

func (r *results) write(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
