package main

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

const (
	root = "../../../"
	file = root + "charts/tokensteward/files/dashboard.json"
)

func read(t *testing.T) *dashboard {
	t.Helper()
	d, err := load(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Panels) == 0 {
		t.Fatal("a dashboard without panels")
	}
	return d
}

// documented are our metrics in docs/metrics.md, which is generated from the code, by their type.
func documented(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile(root + "docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(tokensteward_\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(string(page), -1) {
		metrics[row[1]] = row[2]
	}
	if len(metrics) < 14 {
		t.Fatalf("%d metrics in docs/metrics.md", len(metrics))
	}
	return metrics
}

// metricOf is the metric that a series belongs to.
func metricOf(series string, metrics map[string]string) string {
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		if metric := strings.TrimSuffix(series, suffix); metrics[metric] == "histogram" {
			return metric
		}
	}
	return series
}

// expression is a query as Prometheus reads it.
func expression(t *testing.T, d *dashboard, of target) parser.Expr {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(d.query(of, time.Minute))
	if err != nil {
		t.Fatalf("%s: %v", of.Expr, err)
	}
	return e
}

func TestItAsksForMetricsThatThereAreAndForAllOfOurs(t *testing.T) {
	d, metrics := read(t), documented(t)
	shown := map[string]bool{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			parser.Inspect(expression(t, d, target), func(n parser.Node, _ []parser.Node) error {
				if selector, ok := n.(*parser.VectorSelector); ok {
					shown[metricOf(selector.Name, metrics)] = true
				}
				return nil
			})
		}
	}
	// What the variables ask for is no query of Prometheus.
	for _, v := range d.Templating.List {
		if name := regexp.MustCompile(`^label_values\((\w+), ` + v.Name + `\)$`).FindStringSubmatch(v.Definition); name != nil {
			shown[name[1]] = true
		} else if v.Type != "datasource" {
			t.Errorf("the variable %s asks for %q", v.Name, v.Definition)
		}
	}
	for name := range shown {
		if strings.HasPrefix(name, "tokensteward_") && metrics[name] == "" {
			t.Errorf("%s is not in docs/metrics.md", name)
		}
	}
	for name := range metrics {
		if !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// The labels of the made day are the operator's, as docs/metrics.md has them.
func TestItAsksForLabelsThatThereAre(t *testing.T) {
	names := map[string][]string{}
	for _, s := range makeDay() {
		names[s.labels.Get(nameLabel)] = s.names
	}
	d := read(t)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			var grouping, ofSeries []string
			parser.Inspect(expression(t, d, target), func(n parser.Node, _ []parser.Node) error {
				switch n := n.(type) {
				case *parser.AggregateExpr:
					grouping = append(grouping, n.Grouping...)
				case *parser.VectorSelector:
					ofSeries = append(ofSeries, names[n.Name]...)
					ofOperator := false
					for _, m := range n.LabelMatchers {
						ofOperator = ofOperator || m.Name == "job"
						if !slices.Contains(names[n.Name], m.Name) {
							t.Errorf("panel %q: %s has no label %s", p.Title, n.Name, m.Name)
						}
					}
					if !ofOperator {
						t.Errorf("panel %q: %s is asked for of any operator: narrow it to $job", p.Title, n.Name)
					}
				}
				return nil
			})
			for _, label := range grouping {
				if !slices.Contains(ofSeries, label) {
					t.Errorf("panel %q: nothing has the label %s", p.Title, label)
				}
			}
			for _, label := range inLegend.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !slices.Contains(grouping, label[1]) {
					t.Errorf("panel %q: %s in the legend is not in the query", p.Title, label[1])
				}
			}
		}
	}
}

func TestTheMadeDayHasAllOfOurMetricsAndNoOther(t *testing.T) {
	metrics, made := documented(t), map[string]bool{}
	for _, s := range makeDay() {
		if name := s.labels.Get(nameLabel); strings.HasPrefix(name, "tokensteward_") {
			made[metricOf(name, metrics)] = true
		}
	}
	if want, got := slices.Sorted(maps.Keys(metrics)), slices.Sorted(maps.Keys(made)); !slices.Equal(want, got) {
		t.Errorf("the made day has %v, want %v", got, want)
	}
}

func TestEveryQueryHasAnAnswerAndEveryColumnAValue(t *testing.T) {
	d := read(t)
	w, err := newWorld(t.Context(), makeDay())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	for i := range d.Panels {
		p := &d.Panels[i]
		lines, err := w.ask(t.Context(), d, p)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, target := range p.Targets {
			if !slices.ContainsFunc(lines, func(l line) bool { return l.refID == target.RefID }) {
				t.Errorf("panel %q: nothing comes of %s", p.Title, target.Expr)
			}
		}
		if p.Type != "table" {
			continue
		}
		columns, rows, err := tableOf(p, lines)
		if err != nil {
			t.Error(err)
		}
		for _, column := range columns {
			// A ClusterTokenIssuer is in no namespace.
			if column != "Namespace" && slices.ContainsFunc(rows, func(row map[string]cell) bool { return row[column].text == "" }) {
				t.Errorf("panel %q: the column %q has gaps", p.Title, column)
			}
		}
	}
	if _, err := draw(t.Context(), d, w); err != nil {
		t.Error(err)
	}
}

func TestPanelsAreDescribedAndStandBesideOneAnother(t *testing.T) {
	d := read(t)
	if d.ID != nil {
		t.Error("the dashboard has an id, which is for Grafana to give")
	}
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("the id %d is given twice", p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, is := taken[[2]int{x, y}]; is || x >= 24 {
					t.Fatalf("panel %q is over %q, or over the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || !strings.HasSuffix(p.Description, ".") {
			t.Errorf("panel %d %q: its description is %q", p.ID, p.Title, p.Description)
		}
		for _, uid := range []string{p.Datasource.UID, p.Targets[0].Datasource.UID} {
			if uid != "${datasource}" {
				t.Errorf("panel %q asks the data source %q", p.Title, uid)
			}
		}
	}
}
