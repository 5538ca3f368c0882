package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"html"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Measures of the picture, in pixels. The grid is Grafana's, with 24 columns.
const (
	width, margin, gap = 1200, 12, 8
	head, foot         = 64, 30
	rowHeight          = 31.0
	columnWidth        = float64(width-2*margin+gap) / 24
)

var (
	colours = map[string]string{"text": "#24292f", "green": "#2f8132", "orange": "#c7640a", "red": "#c9252d", "blue": "#1f60c4"}
	palette = []string{"#2f8132", "#d9a400", "#1f60c4", "#c7640a", "#c9252d", "#7b4ec9", "#0a8a8a", "#b5458f", "#6b7280", "#7a5c2e", "#7fb069", "#4aa3df"}
)

const quiet = "#6b7280"

// box is a place in the picture.
type box struct{ x, y, w, h float64 }

type canvas struct{ bytes.Buffer }

func (c *canvas) printf(format string, arguments ...any) {
	fmt.Fprintf(&c.Buffer, format+"\n", arguments...)
}

// text is cut to its room, if it has any.
func (c *canvas) text(x, y, size float64, colour, more, s string, room float64) {
	if fit := int(room / size / 0.53); room > 0 && len([]rune(s)) > fit {
		s = string([]rune(s)[:max(fit-1, 0)]) + "…"
	}
	c.printf(`<text x="%.1f" y="%.1f" font-size="%g" fill="%s"%s>%s</text>`, x, y, size, colour, more, html.EscapeString(s))
}

func (c *canvas) rect(b box, fill string) {
	c.printf(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, b.x, b.y, b.w, b.h, fill)
}

const (
	bold   = ` font-weight="600"`
	middle = ` text-anchor="middle"`
	end    = ` text-anchor="end"`
)

// draw makes the picture of a dashboard.
func draw(ctx context.Context, d *dashboard, w *world) ([]byte, error) {
	rows := 0
	for _, p := range d.Panels {
		rows = max(rows, p.GridPos.Y+p.GridPos.H)
	}
	height := head + float64(rows)*rowHeight + foot
	c := &canvas{}
	c.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%.0f" viewBox="0 0 %d %.0f" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif">`, width, height, width, height)
	c.rect(box{0, 0, width, height}, "#f4f5f7")
	c.text(margin, 26, 18, colours["text"], bold, d.Title, 0)
	x := float64(margin)
	for _, v := range d.Templating.List {
		chosen := "All"
		if v.Type == "datasource" {
			chosen = "Prometheus"
		}
		c.text(x, 48, 11.5, quiet, "", v.Label+":", 0)
		x += float64(len(v.Label))*7.3 + 10
		c.text(x, 48, 11.5, colours["text"], "", chosen, 0)
		x += float64(len(chosen))*7 + 20
	}
	c.text(width-margin, 26, 11.5, quiet, end, "Made data. Drawn by make dashboard, not by Grafana.", 0)
	for i := range d.Panels {
		p := &d.Panels[i]
		b := box{
			margin + float64(p.GridPos.X)*columnWidth, head + float64(p.GridPos.Y)*rowHeight,
			float64(p.GridPos.W)*columnWidth - gap, float64(p.GridPos.H)*rowHeight - gap,
		}
		if p.Type == "row" {
			c.text(b.x, b.y+17, 13.5, colours["text"], bold, p.Title, 0)
			continue
		}
		lines, err := w.ask(ctx, d, p)
		if err != nil {
			return nil, err
		}
		c.printf(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="3" fill="#ffffff" stroke="#dfe2e6"/>`, b.x, b.y, b.w, b.h)
		c.text(b.x+10, b.y+19, 12, colours["text"], bold, p.Title, b.w-20)
		inner := box{b.x + 10, b.y + 28, b.w - 20, b.h - 34}
		kinds := map[string]func(*canvas, *panel, []line, box) error{
			"stat": drawStat, "timeseries": drawSeries, "state-timeline": drawStates, "table": drawTable,
		}
		if kinds[p.Type] == nil {
			return nil, fmt.Errorf("panel %q is a %s, which this tool can't draw", p.Title, p.Type)
		}
		if err := kinds[p.Type](c, p, lines, inner); err != nil {
			return nil, err
		}
	}
	c.printf("</svg>")
	return c.Bytes(), nil
}

func drawStat(c *canvas, p *panel, lines []line, b box) error {
	each := b.w / float64(len(lines))
	for i, l := range lines {
		f, err := p.fieldOf(l.refID, "")
		if err != nil {
			return err
		}
		v, x := l.points[0].F, b.x+(float64(i)+0.5)*each
		c.text(x, b.y+b.h*0.5+4, 32, colours[f.colour(v)], bold+middle, show(v, f), 0)
		name := strings.SplitAfter(l.name, ": ")
		for n, part := range name {
			c.text(x, b.y+b.h*0.5+24+float64(n)*13, 11, quiet, middle, strings.TrimSpace(part), each-4)
		}
	}
	return nil
}

// plot is where lines are drawn, with their scale: from zero, or logarithmic from above it.
type plot struct {
	box
	bottom, top float64
}

func (p *plot) xOf(at time.Time) float64 {
	return p.x + p.w*at.Sub(dayBegins).Minutes()/midnight
}

func (p *plot) yOf(v float64) float64 {
	share := v / p.top
	if p.bottom > 0 {
		share = math.Log(v/p.bottom) / math.Log(p.top/p.bottom)
	}
	return p.y + p.h - float64(p.h*share) // The conversion keeps a processor from fusing, and so rounding, otherwise than others.
}

// drawSeries draws lines, or bars on top of one another, from zero.
func drawSeries(c *canvas, p *panel, lines []line, b box) error {
	f := p.FieldConfig.Defaults
	bars := f.Custom.DrawStyle == "bars"
	colourOf := make([]string, len(lines))
	for i, l := range lines {
		colourOf[i] = palette[i%len(palette)]
		of, err := p.fieldOf(l.refID, "")
		if err != nil {
			return err
		}
		if of.Color.Mode == "fixed" {
			colourOf[i] = colours[of.Color.FixedColor]
		}
	}
	b.h -= drawLegend(c, lines, colourOf, b)
	area := plot{box: box{b.x + 50, b.y + 4, b.w - 58, b.h - 22}, bottom: math.Inf(1)}
	heap := map[int64]float64{}
	for _, l := range lines {
		for _, at := range l.points {
			if math.IsNaN(at.F) {
				continue
			}
			if !bars {
				heap[at.T] = 0
			}
			heap[at.T] += at.F
			area.top, area.bottom = max(area.top, heap[at.T]), min(area.bottom, heap[at.T])
		}
	}
	drawAxes(c, &area, f)
	clear(heap)
	interval, err := p.interval()
	if err != nil {
		return err
	}
	for i, l := range lines {
		if bars {
			drawBars(c, &area, l, colourOf[i], interval, heap)
		} else {
			drawLine(c, &area, l, colourOf[i], interval)
		}
	}
	if f.Custom.ThresholdsStyle.Mode == "dashed" {
		for _, s := range f.Thresholds.Steps[1:] {
			c.printf(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="%s" stroke-dasharray="6 4"/>`,
				area.x, area.x+area.w, area.yOf(*s.Value), area.yOf(*s.Value), colours[f.colour(*s.Value-1)])
		}
	}
	return nil
}

// drawLegend returns how high it is, at the bottom of the box.
func drawLegend(c *canvas, lines []line, colourOf []string, b box) float64 {
	const size, high = 10.5, 14.0
	type entry struct{ x, y float64 }
	var entries []entry
	x, y := 0.0, 0.0
	for _, l := range lines {
		wide := 16 + float64(len(l.name))*size*0.53 + 10
		if x > 0 && x+wide > b.w {
			x, y = 0, y+high
		}
		entries = append(entries, entry{x, y})
		x += wide
	}
	for i, e := range entries {
		base := b.y + b.h - y + e.y
		c.rect(box{b.x + e.x, base - 6, 11, 3}, colourOf[i])
		c.text(b.x+e.x+15, base-1, size, colours["text"], "", lines[i].name, 0)
	}
	return y + high + 4
}

func drawAxes(c *canvas, area *plot, f field) {
	var ticks []float64
	if f.Custom.ScaleDistribution.Type == "log" {
		for tick := math.Pow(10, math.Floor(math.Log10(area.bottom))); ; tick *= 10 {
			if ticks = append(ticks, tick); tick >= area.top {
				break
			}
		}
		area.bottom, area.top = ticks[0], ticks[len(ticks)-1]
	} else {
		ticks = linearTicks(area.top, f)
		area.bottom, area.top = 0, ticks[len(ticks)-1]
	}
	for _, v := range ticks {
		c.printf(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#eceef1"/>`, area.x, area.x+area.w, area.yOf(v), area.yOf(v))
		c.text(area.x-6, area.yOf(v)+3.5, 10, quiet, end, show(v, f), 0)
	}
	every := 4
	if area.w < 250 {
		every = 8
	}
	for hours := 0; hours <= 24; hours += every {
		at := dayBegins.Add(time.Duration(hours) * time.Hour)
		c.text(area.xOf(at), area.y+area.h+14, 10, quiet, middle, at.Format("15:04"), 0)
	}
}

// linearTicks are round numbers from zero to what is not less than the top.
func linearTicks(top float64, f field) []float64 {
	step := niceStep(top/4, f.Unit)
	if f.Decimals != nil && *f.Decimals == 0 {
		step = max(step, 1)
	}
	ticks := []float64{0, step}
	for ticks[len(ticks)-1] < top-1e-9 {
		ticks = append(ticks, float64(len(ticks))*step)
	}
	return ticks
}

// niceStep is a round number that is not less.
func niceStep(least float64, unit string) float64 {
	base := 10.0
	if unit == "bytes" {
		base = 2
	}
	magnitude := math.Pow(base, math.Floor(math.Log(max(least, 1e-3))/math.Log(base)))
	for _, n := range []float64{1, 2, 5} {
		if n*magnitude >= least {
			return n * magnitude
		}
	}
	return base * magnitude
}

// drawLine leaves a gap where a point is missing, and a dot where one stands alone.
func drawLine(c *canvas, area *plot, l line, colour string, interval time.Duration) {
	var path strings.Builder
	run, last := 0, time.Time{}
	var x, y float64
	dot := func() {
		if run == 1 {
			c.printf(`<circle cx="%.1f" cy="%.1f" r="2" fill="%s"/>`, x, y, colour)
		}
	}
	for _, p := range l.points {
		at := time.UnixMilli(p.T)
		if math.IsNaN(p.F) {
			continue
		}
		command := "L"
		if at.Sub(last) > interval {
			dot()
			run, command = 0, "M"
		}
		x, y = area.xOf(at), area.yOf(p.F)
		fmt.Fprintf(&path, "%s%.1f %.1f", command, x, y)
		run, last = run+1, at
	}
	dot()
	if path.Len() > 0 {
		c.printf(`<path d="%s" fill="none" stroke="%s" stroke-width="1.4" stroke-linejoin="round"/>`, path.String(), colour)
	}
}

// drawBars draws each over the time before its point, which it counts.
func drawBars(c *canvas, area *plot, l line, colour string, interval time.Duration, heap map[int64]float64) {
	for _, p := range l.points {
		begins := time.UnixMilli(p.T).Add(-interval)
		if begins.Before(dayBegins) || p.F == 0 || math.IsNaN(p.F) {
			continue
		}
		low := heap[p.T]
		heap[p.T] += p.F
		left, right := area.xOf(begins), area.xOf(time.UnixMilli(p.T))
		c.rect(box{left + 1.5, area.yOf(heap[p.T]), right - left - 3, area.yOf(low) - area.yOf(heap[p.T])}, colour)
	}
}

// drawStates draws a band for each line, in the colours of its states.
func drawStates(c *canvas, p *panel, lines []line, b box) error {
	const names = 120.0
	area := plot{box: box{b.x + names, b.y + 2, b.w - names - 16, b.h - 18}}
	each := area.h / float64(len(lines))
	for i, l := range lines {
		f, err := p.fieldOf(l.refID, "")
		if err != nil {
			return err
		}
		y, high := area.y+float64(i)*each+each*0.12, each*0.76
		c.text(area.x-8, y+high/2+4, 11, colours["text"], end, l.name, names)
		for n := 0; n < len(l.points); {
			m := n
			for m < len(l.points) && l.points[m].F == l.points[n].F {
				m++
			}
			state := f.Mappings[0].Options[strconv.FormatFloat(l.points[n].F, 'g', -1, 64)]
			left, right := area.xOf(time.UnixMilli(l.points[n].T)), area.xOf(time.UnixMilli(l.points[min(m, len(l.points)-1)].T))
			c.printf(`<g opacity="0.75">`)
			c.rect(box{left, y, right - left, high}, colours[state.Color])
			c.printf(`</g>`)
			if room := float64(len(state.Text)) * 6.5; right-left > room {
				c.text(left+6, y+high/2+4, 11, "#ffffff", "", state.Text, 0)
			}
			n = m
		}
	}
	for hours := 0; hours <= 24; hours += 4 {
		at := dayBegins.Add(time.Duration(hours) * time.Hour)
		c.text(area.xOf(at), b.y+b.h-1, 10, quiet, middle, at.Format("15:04"), 0)
	}
	return nil
}

// cell is a value of a table: a label's, or a number.
type cell struct {
	text, colour string
	number       float64
}

// tableOf does what Grafana's transformations merge and organize do, and sorts.
func tableOf(p *panel, lines []line) (columns []string, rows []map[string]cell, err error) {
	organize := p.Transformations[len(p.Transformations)-1].Options
	byLabels := map[string]map[string]cell{}
	for _, l := range lines {
		key := fmt.Sprint(l.labels) // In the order of their names.
		row := byLabels[key]
		if row == nil {
			row = map[string]cell{}
			byLabels[key] = row
			rows = append(rows, row)
		}
		for _, label := range keys(organize.RenameByName) {
			if text, ok := l.labels[label]; ok {
				row[organize.RenameByName[label]] = cell{text: text}
			}
		}
		value := "Value"
		if len(p.Targets) > 1 {
			value += " #" + l.refID
		}
		if organize.ExcludeByName[value] {
			continue
		}
		name := organize.RenameByName[value]
		f, err := p.fieldOf(l.refID, name)
		if err != nil {
			return nil, nil, err
		}
		v := l.points[0].F
		row[name] = cell{text: show(v, f), colour: f.colour(v), number: v}
	}
	columns = keys(organize.RenameByName)
	slices.SortFunc(columns, func(a, b string) int { return cmp.Compare(organize.IndexByName[a], organize.IndexByName[b]) })
	for i, source := range columns {
		columns[i] = organize.RenameByName[source]
	}
	for _, by := range p.Options.SortBy {
		slices.SortStableFunc(rows, func(a, b map[string]cell) int {
			order := cmp.Or(cmp.Compare(a[by.DisplayName].number, b[by.DisplayName].number), cmp.Compare(a[by.DisplayName].text, b[by.DisplayName].text))
			if by.Desc {
				return -order
			}
			return order
		})
	}
	return columns, rows, nil
}

func keys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

func drawTable(c *canvas, p *panel, lines []line, b box) error {
	columns, rows, err := tableOf(p, lines)
	if err != nil {
		return err
	}
	each, high := b.w/float64(len(columns)), 16.0
	y := b.y + 12
	for i, column := range columns {
		c.text(b.x+float64(i)*each, y, 11, quiet, bold, column, each-6)
	}
	for _, row := range rows {
		y += high
		if y > b.y+b.h {
			break // Grafana has a scroll bar here.
		}
		c.printf(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#eceef1"/>`, b.x, b.x+b.w, y-high+4.5, y-high+4.5)
		for i, column := range columns {
			c.text(b.x+float64(i)*each, y, 11, colours[cmp.Or(row[column].colour, "text")], "", row[column].text, each-6)
		}
	}
	return nil
}

// show writes a value as Grafana would, nearly.
func show(v float64, f field) string {
	number := func(v float64) string { return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64) }
	switch f.Unit {
	case "short":
		return number(v)
	case "bytes":
		return number(v/(1<<20)) + " MiB"
	case "reqps":
		return number(v) + " req/s"
	case "reqpm":
		return number(v) + " req/m"
	case "cpm":
		return number(v) + " c/m"
	case "s":
		return duration(v, f)
	}
	return number(v) + " " + f.Unit
}

func duration(seconds float64, f field) string {
	if seconds > 0 && seconds < 1 {
		return fmt.Sprintf("%.3g ms", seconds*1000)
	}
	name, unit := "s", 1.0
	for _, u := range []struct {
		name    string
		seconds float64
	}{{"min", 60}, {"hour", 3600}, {"day", 86400}, {"week", 7 * 86400}} {
		if math.Abs(seconds) >= u.seconds && f.Decimals != nil {
			name, unit = u.name, u.seconds
		}
	}
	n := strconv.FormatFloat(math.Round(seconds/unit*10)/10, 'f', -1, 64)
	if unit > 60 && n != "1" {
		name += "s"
	}
	return n + " " + name
}
