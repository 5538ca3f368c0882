package manager

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/tokensteward/tokensteward/internal/docpage"
)

var update = flag.Bool("update", false, "write the table of docs/flags.md anew")

const chart = "../../charts/tokensteward/"

// The flags, and the chart's values that its template makes them of, are the table of the page: make generate writes it.
func TestThePageHasTheFlags(t *testing.T) {
	const file = "../../docs/flags.md"
	text := read(t, file)
	page, err := docpage.Put(text, "make generate", flagsTable(t))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if page != text {
		t.Error("the table of docs/flags.md is not what the code and the chart say; run: make generate")
	}
}

func flagsTable(t *testing.T) string {
	t.Helper()
	t.Setenv("POD_NAMESPACE", "") // It would be a default.
	flags := pflag.NewFlagSet("manager", pflag.ContinueOnError)
	new(Options).AddFlags(flags)
	inChart := chartValues(t)
	table := docpage.Row("flag", "default", "meaning", "value of the chart") + "|---|---|---|---|\n"
	flags.VisitAll(func(f *pflag.Flag) {
		if strings.HasPrefix(f.Name, "test.") || f.Name == "update" {
			return // The test's own.
		}
		value, set := inChart[f.Name]
		delete(inChart, f.Name)
		switch {
		case set:
			value = "`" + value + "`"
		case f.Name == "namespace":
			value = "none: it is the release's namespace"
		case f.Name == "kubeconfig":
			value = "none: a pod needs none"
		default:
			value = "`extraArgs`"
		}
		initial := strings.Trim(f.DefValue, "[]") // Of a list.
		if initial != "" {
			initial = "`" + initial + "`"
		}
		table += docpage.Row("`--"+f.Name+"`", initial, f.Usage, value)
	})
	for name := range inChart {
		t.Errorf("the chart sets --%s, which is no flag", name)
	}
	return table
}

// behindHelpers are the values that the chart's helpers make flags of, where the template itself does not name a value.
var behindHelpers = map[string]string{
	"authority-cert-dir":  "authority.certificate.source",
	"authority-dns-names": "authority.certificate.dnsNames",
}

// chartValues are the values of the chart by the flag that they set: in the template, a flag's line names its value, or else
// the innermost if or with around it does.
func chartValues(t *testing.T) map[string]string {
	t.Helper()
	_, args, _ := strings.Cut(read(t, chart+"templates/deployment.yaml"), " args:\n")
	args, _, found := strings.Cut(args, " env:\n")
	if !found {
		t.Fatal("the Deployment in the chart has no args before its env")
	}
	var defaults map[string]any
	if err := yaml.Unmarshal([]byte(read(t, chart+"values.yaml")), &defaults); err != nil {
		t.Fatal(err)
	}
	helpers, helped := read(t, chart+"templates/_helpers.tpl"), 0
	valueIn := regexp.MustCompile(`\.Values\.([A-Za-z.]+)`)
	values, around := map[string]string{}, []string{""}
	for line := range strings.Lines(args) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "{{- if ") || strings.HasPrefix(line, "{{- with ") {
			around = append(around, line)
		} else if line == "{{- end }}" {
			around = around[:len(around)-1]
		}
		name, set, isFlag := strings.Cut(strings.TrimPrefix(line, "- --"), "=")
		if !isFlag || !strings.HasPrefix(line, "- --") {
			continue
		}
		if m := valueIn.FindStringSubmatch(set); m != nil {
			values[name] = m[1]
		} else if m := valueIn.FindStringSubmatch(around[len(around)-1]); m != nil {
			values[name] = m[1]
		} else if value := behindHelpers[name]; value != "" && strings.Contains(helpers, ".Values."+value+" ") {
			values[name] = value
			helped++
		} else {
			t.Errorf("the template does not say by which value the chart sets --%s; name the one of its helper in behindHelpers", name)
		}
	}
	if helped != len(behindHelpers) {
		t.Errorf("%d of %v are helpers' values in the template; take out the others", helped, behindHelpers)
	}
	for name, value := range values {
		if !exists(defaults, strings.Split(value, ".")) {
			t.Errorf("the chart sets --%s by %s, which is none of its values", name, value)
		}
	}
	return values
}

func exists(values map[string]any, path []string) bool {
	value, there := values[path[0]]
	if len(path) == 1 || !there {
		return there
	}
	below, _ := value.(map[string]any)
	return exists(below, path[1:])
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
