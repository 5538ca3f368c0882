package secrettemplate_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/secrettemplate"
)

const secret = "tsa_the-value-that-nobody-may-see"

var data = secrettemplate.Data{
	Token: secret, TokenID: "id-1", Revision: 3, IssueTime: "2026-09-01T00:00:00Z", ExpirationTime: "2026-12-01T00:00:00Z",
	Account: "alice", Provider: "gh", Organization: "acme", Repository: "web",
}

func render(text string) (string, error) {
	set, err := secrettemplate.Parse(map[string]v1alpha1.TemplateText{"key": v1alpha1.TemplateText(text)}, "API_TOKEN")
	if err != nil {
		return "", err
	}
	rendered, err := set.Render(data)
	return string(rendered["key"]), err
}

func TestTemplatesThatRender(t *testing.T) {
	for text, want := range map[string]string{
		"{{ .Token }}":                                                  secret,
		"//registry/:_authToken={{.Token}}":                             "//registry/:_authToken=" + secret,
		"{{ .Revision }} {{ .TokenID }}":                                "3 id-1",
		"{{ .IssueTime }}/{{ .ExpirationTime }}":                        "2026-09-01T00:00:00Z/2026-12-01T00:00:00Z",
		"{{ .Provider }}/{{ .Organization | upper }}/{{ .Repository }}": "gh/ACME/web",
		`{"auth": {{ .Account | quote }}, "n": {{ toJson .Revision }}}`: `{"auth": "alice", "n": 3}`,
		`{{ b64enc "a:b" }}`:                                            "YTpi",
		`{{ "a\nb" | indent 2 }}`:                                       "  a\n  b",
		`{{ replace "a" "b" "banana" }}`:                                "bbnbnb",
		`{{ trimPrefix "al" .Account }}{{ trimSuffix "ce" .Account }}`:  "iceali",
		`{{ "" | default "none" }}{{ lower "A" }}{{ trim " x " }}`:      "noneax",
		`{{ if eq .Provider "gh" }}hub{{ else }}lab{{ end }}`:           "hub",
		`{{ with .Account }}{{ . }}{{ end }}`:                           "alice",
		`{{ $a := .Account }}{{ $a }}{{/* a comment */}}`:               "alice",
	} {
		if got, err := render(text); err != nil || got != want {
			t.Errorf("%s: %v; as wanted: %v", text, err, got == want)
		}
	}
}

func TestTemplatesThatAreRefusedNameTheKeyAndNeverTheValue(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"a syntax error":                 {"{{ .Token", "unclosed action"},
		"a function that is not there":   {"{{ env \"HOME\" }}", `function "env" not defined`},
		"printf, which can print a lot":  {`{{ printf "%9999999d" 1 }}`, `"printf" can't be used`},
		"print, which can double":        {`{{ print .Token .Token }}`, `"print" can't be used`},
		"call":                           {`{{ call .Token }}`, `"call" can't be used`},
		"index":                          {`{{ index .Token 1 }}`, `"index" can't be used`},
		"a loop":                         {"{{ range 1000000000 }}{{ end }}", "range can't be used"},
		"a definition":                   {`{{ define "x" }}{{ end }}{{ template "x" }}`, "can't be used"},
		"another template":               {`{{ template "key" }}`, "template can't be used"},
		"a field that is not there":      {"{{ .Password }}", "can't evaluate field Password"},
		"a field of a string":            {"{{ .Token.Length }}", "can't evaluate field Length"},
		"an empty value":                 {"", "the value is empty"},
		"a value that is empty by logic": {`{{ if eq .Account "bob" }}x{{ end }}`, "the value is empty"},
		"types that don't compare":       {`{{ if eq .Token 1 }}x{{ end }}`, "incompatible types"},
		"a huge value by nesting":        {"{{ .Token" + strings.Repeat(" | quote", 900) + " }}", "longer than 64 KiB"},
		"a huge value by replacing":      {`{{ $x := "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" }}` + strings.Repeat(`{{ $x = replace "a" $x $x }}`, 9) + `{{ $x }}`, "longer than 64 KiB"},
		"a deep indent":                  {`{{ indent 100000 .Token }}`, "0 to 64 spaces"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := render(test.text)
			var refused *secrettemplate.Error
			if !errors.As(err, &refused) {
				t.Fatalf("not refused with an Error: %v", err == nil)
			}
			if strings.Contains(err.Error(), secret) {
				t.Fatal("the error tells the value")
			}
			if refused.Key != "key" || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want something with %q", err, test.want)
			}
		})
	}
}

func TestAnErrorThatOnlyTheRealValueCausesSaysNothingOfIt(t *testing.T) {
	text := `{{ if eq .Token "` + strings.Repeat("x", 32) + `" }}placeholder{{ end }}`
	_, err := render(text)
	if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "with this token") {
		t.Errorf("want a plain refusal, got one: %v", err != nil)
	}
}

func TestKeysThatASecretCantHaveAreRefused(t *testing.T) {
	for key, want := range map[string]string{
		"API_TOKEN": "the key of the token itself", "a b": "not a key", "": "not a key", "..": "not a key", strings.Repeat("k", 254): "not a key",
	} {
		_, err := secrettemplate.Parse(map[string]v1alpha1.TemplateText{key: "x"}, "API_TOKEN")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func TestAllValuesTogetherAreBounded(t *testing.T) {
	templates := map[string]v1alpha1.TemplateText{}
	for _, key := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
		templates[key] = v1alpha1.TemplateText(`{{ $x := "` + strings.Repeat("a", 240) + `" }}{{ replace "a" $x $x }}`)
	}
	set, err := secrettemplate.Parse(templates, "API_TOKEN")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Render(data); err == nil || !strings.Contains(err.Error(), "longer than 512 KiB") {
		t.Errorf("%v", err)
	}
}
