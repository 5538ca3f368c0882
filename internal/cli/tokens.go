package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/resources"
)

// kinds are the ways to write the kinds of tokens before the slash, as kubectl takes them.
var kinds = map[string]func() v1alpha1.Token{
	"accounttoken": newAccountToken, "accounttokens": newAccountToken, "atok": newAccountToken,
	"projecttoken": newProjectToken, "projecttokens": newProjectToken, "ptok": newProjectToken,
}

func newAccountToken() v1alpha1.Token { return &v1alpha1.AccountToken{} }
func newProjectToken() v1alpha1.Token { return &v1alpha1.ProjectToken{} }

// selection says which tokens a command is about.
type selection struct {
	names         []string
	selector      string
	all           bool
	allNamespaces bool
}

func (s *selection) addFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&s.selector, "selector", "l", "", "The tokens with these labels, as kubectl takes them.")
	flags.BoolVar(&s.all, "all", false, "All tokens of the namespace.")
	flags.BoolVarP(&s.allNamespaces, "all-namespaces", "A", false, "With --selector or --all: in all namespaces.")
}

// of lists the tokens that are selected.
func (s *selection) of(ctx context.Context, c client.Reader, namespace string) ([]v1alpha1.Token, error) {
	ways := 0
	for _, used := range []bool{len(s.names) > 0, s.selector != "", s.all} {
		if used {
			ways++
		}
	}
	switch {
	case ways != 1:
		return nil, errors.New("name tokens, as in projecttoken/ci, or else use --selector or --all")
	case len(s.names) > 0 && s.allNamespaces:
		return nil, errors.New("a name is one in a namespace: --all-namespaces needs --selector or --all")
	case len(s.names) > 1 && kinds[strings.ToLower(s.names[0])] != nil:
		return nil, fmt.Errorf("write %s/NAME", s.names[0])
	case len(s.names) > 0:
		var tokens []v1alpha1.Token
		for _, name := range s.names {
			t, err := getToken(ctx, c, namespace, name)
			if err != nil {
				return nil, err
			}
			tokens = append(tokens, t)
		}
		return tokens, nil
	}
	selector, err := labels.Parse(s.selector)
	if err != nil {
		return nil, fmt.Errorf("--selector: %w", err)
	}
	options, where := []client.ListOption{client.MatchingLabelsSelector{Selector: selector}}, "any namespace"
	if !s.allNamespaces {
		options, where = append(options, client.InNamespace(namespace)), "the namespace "+namespace
	}
	tokens, err := resources.Tokens(ctx, c, options...)
	if err == nil && len(tokens) == 0 {
		err = fmt.Errorf("no such token in %s", where)
	}
	return tokens, err
}

// getToken finds a token by kind/name, or by its name alone if no token of the other kind has the same.
func getToken(ctx context.Context, c client.Reader, namespace, name string) (v1alpha1.Token, error) {
	kind, plain, ok := strings.Cut(name, "/")
	if !ok {
		kind, plain = "", name
	}
	// What is no name is not repeated, nor sent to anybody: it may be a credential that got into the wrong place.
	if len(validation.IsDNS1123Subdomain(plain)) > 0 {
		return nil, errors.New("that is no name of a token: say NAME or KIND/NAME, as in projecttoken/ci")
	}
	key := client.ObjectKey{Namespace: namespace, Name: plain}
	if ok {
		kind = strings.TrimSuffix(strings.ToLower(kind), "."+v1alpha1.GroupVersion.Group)
		if kinds[kind] == nil {
			return nil, fmt.Errorf("%q is no kind of token: say accounttoken/%s or projecttoken/%s", kind, plain, plain)
		}
		t := kinds[kind]()
		return t, c.Get(ctx, key, t)
	}
	var found []v1alpha1.Token
	for _, t := range []v1alpha1.Token{newAccountToken(), newProjectToken()} {
		switch err := c.Get(ctx, key, t); {
		case err == nil:
			found = append(found, t)
		case !apierrors.IsNotFound(err):
			return nil, err
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("there is no AccountToken and no ProjectToken %q in the namespace %s", name, namespace)
	default:
		return nil, fmt.Errorf("%q is the name of an AccountToken and of a ProjectToken: say accounttoken/%s or projecttoken/%s", name, name, name)
	}
}

// listIssuers lists the issuers of both kinds, TokenIssuers as the options say.
func listIssuers(ctx context.Context, c client.Reader, options ...client.ListOption) ([]v1alpha1.Issuer, error) {
	issuers, err := resources.Issuers(ctx, c, v1alpha1.KindClusterTokenIssuer)
	if err != nil {
		return nil, err
	}
	namespaced, err := resources.Issuers(ctx, c, v1alpha1.KindTokenIssuer, options...)
	return append(issuers, namespaced...), err
}

// reference names a token within its namespace, in a way that commands take.
func reference(t v1alpha1.Token) string { return strings.ToLower(t.Kind()) + "/" + t.GetName() }

// issuerName names the issuer of a token: a ClusterTokenIssuer by its name, a TokenIssuer as namespace/name.
func issuerName(t v1alpha1.Token) string { return withoutSlash(v1alpha1.IssuerName(t)) }

// nameOf is the same of an issuer itself.
func nameOf(i v1alpha1.Issuer) string { return withoutSlash(client.ObjectKeyFromObject(i)) }

func withoutSlash(name types.NamespacedName) string { return strings.TrimPrefix(name.String(), "/") }

// ready is the Ready condition of a resource, or what there is to say if it has none.
func ready(o client.Object, conditions []metav1.Condition) metav1.Condition {
	if c := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady); c != nil {
		return *c
	}
	return metav1.Condition{
		Status: metav1.ConditionUnknown, Reason: "NotSeen", LastTransitionTime: o.GetCreationTimestamp(),
		Message: "The operator has not seen it yet. Is it running, and does it look after this namespace?",
	}
}

// readyToken is the Ready condition of a token.
func readyToken(t v1alpha1.Token) metav1.Condition { return ready(t, t.SharedStatus().Conditions) }

// from says how far a time is from now, for people.
func from(now time.Time, at *metav1.Time) string {
	switch {
	case at == nil:
		return "-"
	case at.After(now):
		return "in " + duration.HumanDuration(at.Sub(now))
	default:
		return duration.HumanDuration(now.Sub(at.Time)) + " ago"
	}
}

// stamp is a time in full.
func stamp(at *metav1.Time) string {
	if at == nil {
		return "-"
	}
	return at.UTC().Format(time.RFC3339)
}
