package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// output is how a command prints what it found.
type output struct{ format string }

func (o *output) addFlag(flags *pflag.FlagSet) {
	flags.StringVarP(&o.format, "output", "o", "", "Output format: json, yaml, name or wide. By default a table.")
}

// check refuses a format that is not known, before anything is done.
func (o *output) check() error {
	switch o.format {
	case "", "wide", "json", "yaml", "name":
		return nil
	default:
		return fmt.Errorf("--output=%q is not one of json, yaml, name and wide", o.format)
	}
}

// table is what is printed for people. The names of columns that only -o wide shows begin with a plus.
type table struct {
	columns []string
	rows    [][]any
}

// print shows what was found: in full, by name, or as a table.
func (o *output) print(to io.Writer, full any, names []string, t table) error {
	switch o.format {
	case "json", "yaml":
		text, err := json.MarshalIndent(full, "", "    ")
		text = []byte(Visible(string(text))) // Which is the same JSON, and all of it can be written as YAML.
		if err == nil && o.format == "yaml" {
			text, err = yaml.JSONToYAML(text)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(to, strings.TrimSuffix(string(text), "\n"))
		return err
	case "name":
		for _, name := range names {
			if _, err := fmt.Fprintln(to, name); err != nil {
				return err
			}
		}
		return nil
	}
	return t.print(to, o.format == "wide")
}

// print shows a table.
func (t table) print(to io.Writer, wide bool) error {
	shown := &metav1.Table{}
	for _, column := range t.columns {
		name, more := strings.CutPrefix(column, "+")
		definition := metav1.TableColumnDefinition{Name: name, Type: "string"}
		if more {
			definition.Priority = 1
		}
		shown.ColumnDefinitions = append(shown.ColumnDefinitions, definition)
	}
	for _, row := range t.rows {
		cells := slices.Clone(row)
		for i := range cells {
			if text, ok := cells[i].(string); ok {
				cells[i] = Visible(text)
			}
		}
		shown.Rows = append(shown.Rows, metav1.TableRow{Cells: cells})
	}
	return printers.NewTablePrinter(printers.PrintOptions{Wide: wide}).PrintObj(shown, to)
}

// Visible is a text in which nothing drives a terminal: what would, whoever wrote it, is shown as JSON writes it. kubectl's
// printers know of escape characters alone.
func Visible(text string) string {
	var shown strings.Builder
	for _, r := range text {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			fmt.Fprintf(&shown, `\u%04x`, r)
		} else {
			shown.WriteRune(r)
		}
	}
	return shown.String()
}

// listOf is a list of tokens as `kubectl get -o json` gives it.
func listOf(tokens []v1alpha1.Token) (*metav1.List, error) {
	list := &metav1.List{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "List"}, Items: []runtime.RawExtension{}}
	for _, t := range tokens {
		kind, err := apiutil.GVKForObject(t, scheme)
		if err != nil {
			return nil, err
		}
		shown := t.DeepCopyObject().(v1alpha1.Token)
		shown.GetObjectKind().SetGroupVersionKind(kind)
		shown.SetManagedFields(nil)
		list.Items = append(list.Items, runtime.RawExtension{Object: shown})
	}
	return list, nil
}

// namesOf are tokens by name, as `kubectl get -o name` gives them.
func namesOf(tokens []v1alpha1.Token) (names []string) {
	for _, t := range tokens {
		names = append(names, fmt.Sprintf("%s.%s/%s", strings.ToLower(t.Kind()), v1alpha1.GroupVersion.Group, t.GetName()))
	}
	return names
}
