package metrics_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/prometheus/client_golang/prometheus"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/yaml"

	"github.com/tokensteward/tokensteward/internal/docpage"
	"github.com/tokensteward/tokensteward/internal/metrics"
)

var update = flag.Bool("update", false, "write the tables of docs/metrics.md anew")

// What Prometheus is told of the metrics, and the chart's alerts, are the tables of the page: make generate writes them.
func TestThePageHasTheMetricsAndTheAlerts(t *testing.T) {
	const file = "../../docs/metrics.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for name, table := range map[string]string{"metrics": metricsTable(t), "alerts": alertsTable(t)} {
		if page, err = docpage.Put(page, "make generate, "+name, table); err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if page != string(text) {
		t.Error("the tables of docs/metrics.md are not what the code and the chart say; run: make generate")
	}
}

// metricsTable is made of a scrape, where every metric has a series: descriptions alone have no type.
func metricsTable(t *testing.T) string {
	t.Helper()
	leads := make(chan struct{})
	close(leads)
	ofResources := prometheus.NewRegistry()
	ofResources.MustRegister(&metrics.Collector{Source: populated(), Leads: leads})
	count(t, "robot")
	metrics.AuthorityDecisions.WithLabelValues("robot", "accepted").Inc()
	t.Cleanup(func() { metrics.ForgetDecisions("robot") })
	families, err := prometheus.Gatherers{ofResources, ctrlmetrics.Registry}.Gather()
	if err != nil {
		t.Fatal(err)
	}
	table, listed := docpage.Row("metric", "type", "labels", "meaning")+"|---|---|---|---|\n", 0
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "tokensteward_") {
			continue
		}
		names := map[string]bool{}
		for _, l := range f.GetMetric()[0].GetLabel() {
			names[l.GetName()] = true
		}
		table += docpage.Row("`"+f.GetName()+"`", strings.ToLower(f.GetType().String()), labelsOf(names), linked(f.GetHelp()))
		listed++
	}
	described, descriptions := 0, make(chan *prometheus.Desc, 1000)
	ofResources.Describe(descriptions)
	ctrlmetrics.Registry.(prometheus.Collector).Describe(descriptions)
	close(descriptions)
	for d := range descriptions {
		if strings.Contains(d.String(), `fqName: "tokensteward_`) {
			described++
		}
	}
	if listed != described {
		t.Fatalf("%d of %d metrics have a series here, and so get into the table: make one of each", listed, described)
	}
	return table
}

// labelsOf are the labels of a metric: those of a resource and of an issuer, which the page lists, and others by name.
func labelsOf(names map[string]bool) string {
	var labels []string
	for _, set := range []struct {
		what  string
		names []string
	}{{"the resource's", []string{"kind", "namespace", "name"}}, {"the issuer's", []string{"issuer_kind", "issuer_namespace", "issuer"}}} {
		if !slices.ContainsFunc(set.names, func(name string) bool { return !names[name] }) {
			labels = append(labels, set.what)
			for _, name := range set.names {
				delete(names, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		labels = append(labels, "`"+name+"`")
	}
	return strings.Join(labels, ", ")
}

// alertsTable says with which words an alert fires, for a token and an issuer that there might be.
func alertsTable(t *testing.T) string {
	t.Helper()
	const prefix = `{{ $value := "3" }}{{ $labels := . }}`
	labels := map[string]string{
		"kind": "ProjectToken", "namespace": "team-a", "name": "website",
		"issuer_kind": "TokenIssuer", "issuer_namespace": "team-a", "issuer": "robot",
	}
	functions := template.FuncMap{"humanizeDuration": func(string) string { return "8d 0h 0m 0s" }}
	text, err := os.ReadFile("../../charts/tokensteward/files/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	table := docpage.Row("alert", "severity", "fires when", "says, for example") + "|---|---|---|---|\n"
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			says, err := template.New(r.Alert).Funcs(functions).Option("missingkey=error").
				Parse(prefix + r.Annotations["summary"] + " " + r.Annotations["description"])
			if err != nil {
				t.Fatal(err)
			}
			var said bytes.Buffer
			if err := says.Execute(&said, labels); err != nil {
				t.Fatal(err)
			}
			when := fmt.Sprintf("`%s`, for %s", strings.Join(strings.Fields(r.Expr), " "), r.For)
			table += docpage.Row("`"+r.Alert+"`", r.Labels["severity"], when, linked(said.String()))
		}
	}
	return table
}

// linked is a text whose docs/page.md#heading are links of the page. make site looks whether they lead somewhere.
func linked(text string) string {
	return regexp.MustCompile(`docs/(([a-z-]+)\.md(#[a-z-]+)?)`).ReplaceAllString(text, "[$2]($1)")
}
