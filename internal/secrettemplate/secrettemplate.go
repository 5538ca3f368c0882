// Package secrettemplate renders what a Secret holds besides the token. Templates are a user's input: they can reach no
// environment, file, network or clock, can't loop, and can't grow without bound. docs/secrets.md lists what they may use.
package secrettemplate

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// MaxValueBytes is how long one rendered value may be.
const MaxValueBytes = 64 << 10

// MaxTotalBytes is how long all rendered values of a Secret may be together. Kubernetes allows a Secret 1 MiB.
const MaxTotalBytes = 512 << 10

// Data is what a template may use. Times are in RFC 3339.
type Data struct {
	Token          string
	TokenID        string
	Revision       int64
	IssueTime      string
	ExpirationTime string
	Account        string
	Provider       string
	Organization   string
	Repository     string
	// URL is the service that the token is for; empty for a built-in one.
	URL string
}

// Error says which key can't be rendered and why, without any value.
type Error struct {
	Key   string
	Cause string
}

func (e *Error) Error() string {
	return fmt.Sprintf("spec.secret.template.data[%q]: %s", e.Key, e.Cause)
}

// Set is a set of parsed templates.
type Set struct {
	templates map[string]*template.Template
}

var errTooLong = errors.New("a value would be longer than 64 KiB")

// functions is all that templates may call besides and, or, not, eq, ne, lt, le, gt, ge and len. Each bounds what it
// gives, so that none can be nested into something huge.
var functions = template.FuncMap{
	"upper":      func(s string) (string, error) { return bounded(strings.ToUpper(s)) },
	"lower":      func(s string) (string, error) { return bounded(strings.ToLower(s)) },
	"trim":       strings.TrimSpace,
	"trimPrefix": func(prefix, s string) string { return strings.TrimPrefix(s, prefix) },
	"trimSuffix": func(suffix, s string) string { return strings.TrimSuffix(s, suffix) },
	"replace": func(old, replacement, s string) (string, error) {
		if strings.Count(s, old)*len(replacement)+len(s) > MaxValueBytes {
			return "", errTooLong
		}
		return strings.ReplaceAll(s, old, replacement), nil
	},
	"indent": func(spaces int, s string) (string, error) {
		if spaces < 0 || spaces > 64 {
			return "", errors.New("indent takes 0 to 64 spaces")
		}
		padding := strings.Repeat(" ", spaces)
		return bounded(padding + strings.ReplaceAll(s, "\n", "\n"+padding))
	},
	"b64enc": func(s string) (string, error) { return bounded(base64.StdEncoding.EncodeToString([]byte(s))) },
	"toJson": func(v any) (string, error) {
		encoded, err := json.Marshal(v)
		if err != nil {
			return "", err
		}
		return bounded(string(encoded))
	},
	"quote": func(v any) (string, error) { return bounded(fmt.Sprintf("%q", fmt.Sprint(v))) },
	"default": func(fallback, s string) string {
		if s == "" {
			return fallback
		}
		return s
	},
}

func bounded(s string) (string, error) {
	if len(s) > MaxValueBytes {
		return "", errTooLong
	}
	return s, nil
}

var builtins = []string{"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len"}

// Parse parses the templates of a Secret. tokenKey is the key of the token itself, which no template may take.
func Parse(data map[string]v1alpha1.TemplateText, tokenKey string) (*Set, error) {
	set := &Set{templates: make(map[string]*template.Template, len(data))}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if problems := validation.IsConfigMapKey(key); len(problems) > 0 {
			return nil, &Error{key, "not a key that a Secret can have: " + strings.Join(problems, ", ")}
		}
		if key == tokenKey {
			return nil, &Error{key, "this is the key of the token itself; set spec.secret.tokenKey to another one, or drop the template"}
		}
		parsed, err := template.New(key).Funcs(functions).Option("missingkey=error").Parse(string(data[key]))
		if err != nil {
			return nil, &Error{key, strings.TrimPrefix(err.Error(), "template: ")}
		}
		if len(parsed.Templates()) > 1 {
			return nil, &Error{key, "define and block can't be used"}
		}
		if parsed.Tree != nil {
			if err := check(parsed.Root); err != nil {
				return nil, &Error{key, err.Error()}
			}
		}
		set.templates[key] = parsed
	}
	return set, nil
}

// check refuses what could run for ever or grow without bound.
func check(node parse.Node) error {
	switch n := node.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		return checkAll(n.Nodes)
	case *parse.ActionNode:
		return check(n.Pipe)
	case *parse.IfNode:
		return errors.Join(check(n.Pipe), check(n.List), check(n.ElseList))
	case *parse.WithNode:
		return errors.Join(check(n.Pipe), check(n.List), check(n.ElseList))
	case *parse.PipeNode:
		if n == nil {
			return nil
		}
		for _, command := range n.Cmds {
			if err := checkAll(command.Args); err != nil {
				return err
			}
		}
		return nil
	case *parse.ChainNode:
		return check(n.Node)
	case *parse.IdentifierNode:
		if _, ok := functions[n.Ident]; !ok && !slices.Contains(builtins, n.Ident) {
			return fmt.Errorf("the function %q can't be used", n.Ident)
		}
		return nil
	case *parse.TextNode, *parse.CommentNode, *parse.FieldNode, *parse.VariableNode, *parse.DotNode, *parse.StringNode,
		*parse.NumberNode, *parse.BoolNode, *parse.NilNode:
		return nil
	default:
		return fmt.Errorf("%s can't be used", strings.SplitN(strings.Trim(node.String(), "{}"), " ", 2)[0])
	}
}

func checkAll(nodes []parse.Node) error {
	for _, node := range nodes {
		if err := check(node); err != nil {
			return err
		}
	}
	return nil
}

// Render renders all templates. Its error tells no value, nor anything that comes from one: it was made by rendering
// the same templates with placeholders, or is a constant.
func (s *Set) Render(data Data) (map[string][]byte, error) {
	rendered, key, err := s.render(data)
	if err == nil {
		return rendered, nil
	}
	if err := s.Check(data); err != nil {
		return nil, err
	}
	return nil, &Error{key, "it can't be rendered with this token"}
}

// Check renders the templates with placeholders in the place of the token and all that comes from the service. Its
// error can be shown.
func (s *Set) Check(data Data) error {
	data.Token, data.TokenID = strings.Repeat("x", 32), "0"
	data.IssueTime, data.ExpirationTime, data.Revision = "2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z", 1
	_, key, err := s.render(data)
	if err != nil {
		return &Error{key, err.Error()}
	}
	return nil
}

func (s *Set) render(data Data) (rendered map[string][]byte, failed string, err error) {
	rendered = make(map[string][]byte, len(s.templates))
	total := 0
	for _, key := range slices.Sorted(maps.Keys(s.templates)) {
		var value limitedWriter
		if err := s.templates[key].Execute(&value, data); err != nil {
			return nil, key, errors.New(strings.TrimPrefix(err.Error(), "template: "))
		}
		if len(value.bytes) == 0 {
			return nil, key, errors.New("the value is empty, and tools fail on a variable that is set but empty")
		}
		if total += len(value.bytes); total > MaxTotalBytes {
			return nil, key, errors.New("all values together are longer than 512 KiB")
		}
		rendered[key] = value.bytes
	}
	return rendered, "", nil
}

type limitedWriter struct{ bytes []byte }

var _ io.Writer = (*limitedWriter)(nil)

func (w *limitedWriter) Write(p []byte) (int, error) {
	if len(w.bytes)+len(p) > MaxValueBytes {
		return 0, errTooLong
	}
	w.bytes = append(w.bytes, p...)
	return len(p), nil
}
