package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/tokensteward/tokensteward/internal/docpage"
)

// document writes the tables of docs/performance.md, between its two marks, and the plots beside them.
func (r *results) document(docs string) error {
	file := filepath.Join(docs, "performance.md")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var table bytes.Buffer
	fmt.Fprintf(&table, "Measured on %s by `make bench BENCH=\"%s\"`, on %s.\n\n", time.Now().UTC().Format(time.DateOnly), strings.Join(os.Args[1:], " "), machine())
	table.WriteString("| scenario | what | target | result | |\n|---|---|---|---|---|\n")
	for i := range r.Figures {
		f := &r.Figures[i]
		verdict := ""
		if f.missed() {
			verdict = "missed"
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s |\n", f.Scenario, f.What, f.target(), number(f.Value)+unit(f.Unit), verdict)
	}
	plots := []struct {
		file, title, unit string
		of                func(*burst) float64
	}{
		{"bench-time.svg", "All ready after", "s", func(b *burst) float64 { return b.Seconds }},
		{"bench-memory.svg", "Memory at the peak", "MB", func(b *burst) float64 { return b.Peak }},
		{"bench-requests.svg", "API requests per token", "", func(b *burst) float64 { return b.Writes + b.Reads }},
	}
	for _, p := range plots {
		fmt.Fprintf(&table, "\n![%s, over the number of resources](images/%s)\n", p.title, p.file)
		if err := os.WriteFile(filepath.Join(docs, "images", p.file), r.plot(p.title, p.unit, p.of), 0o644); err != nil {
			return err
		}
	}
	page, err := docpage.Put(string(text), "make bench", table.String())
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(page), 0o644)
}

func machine() string {
	cpu := "unknown"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	memory := ""
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kB float64
		if _, err := fmt.Sscanf(string(text), "MemTotal: %f", &kB); err == nil {
			memory = fmt.Sprintf(" and %.0f GB", kB/1024/1024)
		}
	}
	return fmt.Sprintf("%d processors (%s)%s, with kube-apiserver, etcd and the benchmark itself on the same machine; %s/%s, %s",
		runtime.NumCPU(), cpu, memory, runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// plot draws the operator and the floor over the number of resources, which doubles its distance with each tenfold.
func (r *results) plot(title, unit string, of func(*burst) float64) []byte {
	const width, height, left, right, top, bottom = 640, 300, 70, 110, 40, 40
	var most float64
	for _, series := range [][]*burst{r.Bursts, r.Floors} {
		for _, b := range series {
			most = max(most, of(b))
		}
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, b := range r.Bursts {
		low, high = min(low, math.Log(float64(b.N))), max(high, math.Log(float64(b.N)))
	}
	x := func(n int) float64 {
		if high <= low {
			return left
		}
		return left + (math.Log(float64(n))-low)/(high-low)*(width-left-right)
	}
	y := func(value float64) float64 { return top + (1-value/max(most, 1e-9))*(height-top-bottom) }
	var svg bytes.Buffer
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(&svg, `<rect width="%d" height="%d" fill="#ffffff"/><text x="%d" y="22" font-size="15" fill="#1f2328">%s</text>`+"\n", width, height, left, title)
	for i := range 5 {
		value := most * float64(i) / 4
		fmt.Fprintf(&svg, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#d8dee4"/><text x="%d" y="%.1f" text-anchor="end" fill="#59636e">%s</text>`+"\n",
			left, width-right, y(value), y(value), left-8, y(value)+4, strings.TrimSpace(number(value)+" "+unit))
	}
	for _, b := range r.Bursts {
		fmt.Fprintf(&svg, `<text x="%.1f" y="%d" text-anchor="middle" fill="#59636e">%d</text>`+"\n", x(b.N), height-bottom+20, b.N)
	}
	for _, series := range []struct {
		name, colour string
		bursts       []*burst
	}{{"the floor", "#8c959f", r.Floors}, {"the operator", "#0969da", r.Bursts}} {
		if len(series.bursts) == 0 {
			continue
		}
		var points []string
		for _, b := range series.bursts {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(b.N), y(of(b))))
		}
		fmt.Fprintf(&svg, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), series.colour)
		last := series.bursts[len(series.bursts)-1]
		fmt.Fprintf(&svg, `<text x="%.1f" y="%.1f" fill="%s">%s</text>`+"\n", x(last.N)+8, y(of(last))+4, series.colour, series.name)
	}
	svg.WriteString("</svg>\n")
	return svg.Bytes()
}
