package secrettemplate_test

import (
	"errors"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/template/parse"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/secrettemplate"
)

const (
	// mostTemplate is how long the schema lets a template be, and mostField what a spec may say of an account or project.
	mostTemplate = 8192
	mostField    = 253
	// What two templates of that length may take: a hundred times what the slowest of the seeds takes, and what only something
	// that grows with every step would need.
	mostTime = 10 * time.Second
	mostHeap = 1 << 30
)

// documented is all that docs/secrets.md lets a template call.
var documented = strings.Fields("upper lower trim trimPrefix trimSuffix replace indent b64enc quote toJson default and or not eq ne lt le gt ge len")

// What a template is given by the service must not show in an error, in whatever form, so each is rendered with two tokens.
func FuzzATemplateIsRenderedWholeOrRefusedWithoutAWordOfTheToken(f *testing.F) {
	for _, text := range []string{
		"//registry/:_authToken={{.Token}}", `{"auth": {{ .Account | quote }}, "n": {{ toJson .Revision }}}`,
		`{{ "a\nb" | indent 2 }}{{ replace "a" "b" "banana" }}`, `{{ if eq .Provider "gh" }}hub{{ else }}lab{{ end }}`,
		`{{ with $a := .Account }}{{ $a }}{{ end }}{{/* a comment */}}`, `{{ range 1000000000 }}{{ end }}`,
		`{{ define "x" }}{{ end }}{{ template "x" }}`, `{{ block "x" . }}{{ end }}`, `{{ printf "%9999999d" 1 }}`, `{{ call .Token }}`, `{{ print .Token .Token }}`, `{{ html .Token }}`,
		`{{ index .Token 1 }}`, `{{ slice .Token 1 }}`, `{{ (.Token).Length }}`, `{{ eq .Token 1 }}`, `{{ toJson . | b64enc | indent .Revision }}`,
		"{{ .Token" + strings.Repeat(" | quote", 900) + " }}", "{{ .Token" + strings.Repeat(" | upper | lower", 450) + " }}",
		`{{ $x := "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" }}` + strings.Repeat(`{{ $x = replace "a" $x $x }}`, 9) + `{{ $x }}`,
		`{{ if eq .Token "` + strings.Repeat("x", 32) + `" }}placeholder{{ end }}`, strings.Repeat("(", 4000), "{{" + strings.Repeat("(", 4000),
		"{{ .Token", "{{ nil }}", "{{ 1e999999999 }}", "{{ $ }}", "{{ break }}", "", "\x00",
	} {
		f.Add("key", text, "other", "{{ .TokenID }}", "API_TOKEN", "alice")
	}
	f.Add("API_TOKEN", "x", "other", "x", "API_TOKEN", "")
	f.Add("..", "x", "other", "x", "API_TOKEN", "")
	f.Add("a b", "x", strings.Repeat("k", 254), "x", "", "")
	f.Fuzz(func(t *testing.T, key, text, otherKey, otherText, tokenKey, account string) {
		templates := map[string]v1alpha1.TemplateText{
			key: v1alpha1.TemplateText(text[:min(len(text), mostTemplate)]), otherKey: v1alpha1.TemplateText(otherText[:min(len(otherText), mostTemplate)]),
		}
		given := data
		given.Account = account[:min(len(account), mostField)]
		isOrdinary := func(text string) bool { return !strings.Contains(text, secret) }
		if !isOrdinary(key+text+otherKey+otherText) || !isOrdinary(tokenKey+account) {
			t.Skip("a user who writes the token into the template shows it to whoever reads that")
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		set, err := secrettemplate.Parse(templates, tokenKey)
		var rendered map[string][]byte
		if err == nil {
			rendered, err = set.Render(given)
		}
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		if took > mostTime || after.TotalAlloc-before.TotalAlloc > mostHeap {
			t.Fatalf("it took %s and %d bytes", took, after.TotalAlloc-before.TotalAlloc)
		}
		if err != nil {
			wantRefusal(t, err, templates)
		}
		if set == nil {
			return
		}
		for _, text := range templates {
			for _, function := range called(string(text)) {
				if !slices.Contains(documented, function) {
					t.Errorf("the function %q is taken", function)
				}
			}
		}
		if err == nil {
			wantWhole(t, rendered, templates, tokenKey)
		}

		// With another token, of which everything is different.
		another := given
		another.Token, another.TokenID, another.Revision = strings.Repeat("Another-0123456_", 40), "99", 99
		another.IssueTime, another.ExpirationTime = "1999-01-01T00:00:00Z", "never"
		if _, anotherErr := set.Render(another); anotherErr != nil {
			wantRefusal(t, anotherErr, templates)
		}
		checked := set.Check(given)
		for _, failed := range []secrettemplate.Data{given, another} {
			_, err := set.Render(failed)
			switch {
			case err == nil:
			case checked != nil && err.Error() == checked.Error():
			case checked == nil && strings.HasSuffix(err.Error(), ": it can't be rendered with this token"):
			default:
				t.Error("an error depends on the token, and says more than that")
			}
		}
	})
}

// wantRefusal: an error names one of the keys, says something, and tells nothing of a token.
func wantRefusal(t *testing.T, err error, templates map[string]v1alpha1.TemplateText) {
	t.Helper()
	if strings.Contains(err.Error(), secret) {
		t.Fatal("the error tells the value")
	}
	var refused *secrettemplate.Error
	if !errors.As(err, &refused) || refused.Cause == "" {
		t.Fatalf("the error is a %T, or has no cause", err)
	}
	if _, ok := templates[refused.Key]; !ok {
		t.Errorf("the error is about the key %q", refused.Key)
	}
}

// wantWhole: what is rendered are all keys and no other, each one that a Secret can have, and within its bounds.
func wantWhole(t *testing.T, rendered map[string][]byte, templates map[string]v1alpha1.TemplateText, tokenKey string) {
	t.Helper()
	if !slices.Equal(slices.Sorted(maps.Keys(rendered)), slices.Sorted(maps.Keys(templates))) {
		t.Errorf("%d keys came of %d templates", len(rendered), len(templates))
	}
	total := 0
	for key, value := range rendered {
		total += len(value)
		switch {
		case key == tokenKey:
			t.Errorf("a template has taken the token's own key %q", key)
		case len(validation.IsConfigMapKey(key)) > 0:
			t.Errorf("a Secret can't have the key %q", key)
		case len(value) == 0 || len(value) > secrettemplate.MaxValueBytes:
			t.Errorf("the value of %q has %d bytes", key, len(value))
		}
	}
	if total > secrettemplate.MaxTotalBytes {
		t.Errorf("all values have %d bytes", total)
	}
}

// called are all functions that a template names anywhere, and the statements that are more than a condition. It goes through
// whatever a node has, so that it finds what a list of kinds of nodes may have forgotten.
func called(text string) (names []string) {
	tree := parse.New("key")
	tree.Mode = parse.SkipFuncCheck
	trees := map[string]*parse.Tree{}
	if _, err := tree.Parse(text, "", "", trees); err != nil {
		return nil
	}
	var walk func(reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Interface, reflect.Pointer:
			if v.IsNil() || v.Type() == reflect.TypeFor[*parse.Tree]() {
				return
			}
			if v.CanInterface() {
				switch n := v.Interface().(type) {
				case *parse.IdentifierNode:
					names = append(names, n.Ident)
				case *parse.RangeNode, *parse.TemplateNode, *parse.BreakNode, *parse.ContinueNode:
					names = append(names, reflect.TypeOf(n).String())
				}
			}
			walk(v.Elem())
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i))
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		default:
		}
	}
	walk(reflect.ValueOf(tree.Root))
	return names
}
