package controllers

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/builtin"
)

func TestAScopeCoversTheNamespacesThatWereNamedAndWithoutNamesAll(t *testing.T) {
	whole, named, alone := Scope{}, Scope{Namespaces: []string{"team-a", "team-b"}}, Scope{WithoutClusterIssuers: true}
	for _, test := range []struct {
		name string
		got  bool
		want bool
	}{
		{"the whole cluster is limited", whole.Limited(), false},
		{"the whole cluster covers a namespace", whole.covers("team-c"), true},
		{"named namespaces are limited", named.Limited(), true},
		{"named namespaces cover one of them", named.covers("team-b"), true},
		{"named namespaces cover another one", named.covers("team-c"), false},
		{"named namespaces cover a part of a name", named.covers("team"), false},
		{"named namespaces are served by ClusterTokenIssuers", named.serves(v1alpha1.KindClusterTokenIssuer), true},
		{"TokenIssuers alone cover a namespace", alone.covers("team-c"), true},
		{"TokenIssuers alone serve TokenIssuers", alone.serves(v1alpha1.KindTokenIssuer), true},
		{"TokenIssuers alone serve ClusterTokenIssuers", alone.serves(v1alpha1.KindClusterTokenIssuer), false},
	} {
		if test.got != test.want {
			t.Errorf("%s: %t", test.name, test.got)
		}
	}
}

// A token that was made while ClusterTokenIssuers were served: a built-in one ends with its resource, one of a service
// waits until there is somebody to revoke it.
func TestWithoutClusterIssuersOnlyBuiltInTokensOfTheirsCanEnd(t *testing.T) {
	r := &TokenReconciler{BuiltIn: builtin.Issuer{}, Scope: Scope{WithoutClusterIssuers: true}} // A client would be asked for nothing.
	for name, test := range map[string]struct {
		recorded *v1alpha1.IssuedToken
		waits    bool
	}{
		"no token":          {nil, false},
		"a built-in token":  {&v1alpha1.IssuedToken{Revision: 1}, false},
		"a service's token": {&v1alpha1.IssuedToken{Revision: 1, URL: v1alpha1.CodacyCloud}, true},
	} {
		t.Run(name, func(t *testing.T) {
			token := &v1alpha1.ProjectToken{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "web"}}
			token.Spec.IssuerRef = v1alpha1.IssuerReference{Kind: v1alpha1.KindClusterTokenIssuer, Name: "default"}
			token.Status.Token = test.recorded
			s := &state{token: token}
			namespace, err := r.observeNamespace(t.Context(), s)
			if err != nil || namespace.Name != "team-a" || s.namespaceTerminating {
				t.Errorf("the namespace is %+v, terminating: %t, error: %v", namespace, s.namespaceTerminating, err)
			}
			if err := r.observeIssuer(t.Context(), s, namespace); err != nil {
				t.Fatal(err)
			}
			if s.refusal == nil || s.refusal.Reason != v1alpha1.ReasonIssuerNotServed || !s.refusal.Stalled {
				t.Errorf("refused for %+v", s.refusal)
			}
			if (s.serviceProblem != nil) != test.waits || (s.issuer == nil) != test.waits {
				t.Errorf("the issuer is %v, and its problem %+v", s.issuer, s.serviceProblem)
			}
		})
	}
}

func TestADryRunTellsOfANamespaceThatIsBeingDeleted(t *testing.T) {
	secrets := corev1.Resource("secrets")
	terminating := apierrors.NewForbidden(secrets, "", errors.New("being terminated"))
	terminating.ErrStatus.Details.Causes = append(terminating.ErrStatus.Details.Causes, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause})
	for name, test := range map[string]struct {
		answer       error
		refuses, err bool
	}{
		"it is":             {terminating, true, false},
		"it is not":         {nil, false, false},
		"a quota refuses":   {apierrors.NewForbidden(secrets, "", errors.New("exceeded quota")), false, false},
		"nobody can tell":   {apierrors.NewInternalError(errors.New("etcd")), false, true},
		"nobody can answer": {errors.New("connection refused"), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			r := &IssuerReconciler{Scope: Scope{WithoutClusterIssuers: true}, Client: fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
				Create: func(_ context.Context, _ client.WithWatch, o client.Object, options ...client.CreateOption) error {
					asked++
					if dry := (&client.CreateOptions{}).ApplyOptions(options).DryRun; len(dry) != 1 || dry[0] != metav1.DryRunAll {
						t.Error("it is no dry run")
					}
					if o.GetNamespace() != "team-a" {
						t.Errorf("asked in %q", o.GetNamespace())
					}
					return test.answer
				},
			}).Build()}
			refuses, err := r.terminating(t.Context(), "team-a")
			if refuses != test.refuses || (err != nil) != test.err || asked != 1 {
				t.Errorf("being deleted: %t, error: %v, asked %d times", refuses, err, asked)
			}
		})
	}
}

func TestAnIssuerThatMayOnlyReportOrphansSaysSoIfItWasToRevokeThem(t *testing.T) {
	codacy := &v1alpha1.CodacyIssuer{URL: v1alpha1.CodacyCloud}
	for name, test := range map[string]struct {
		spec  v1alpha1.IssuerSpec
		scope Scope
		says  bool
	}{
		"revoke, limited":           {v1alpha1.IssuerSpec{Codacy: codacy, OrphanPolicy: v1alpha1.OrphanPolicyRevoke}, Scope{Namespaces: []string{"team-a"}}, true},
		"report, limited":           {v1alpha1.IssuerSpec{Codacy: codacy, OrphanPolicy: v1alpha1.OrphanPolicyReport}, Scope{Namespaces: []string{"team-a"}}, false},
		"built in, limited":         {v1alpha1.IssuerSpec{OrphanPolicy: v1alpha1.OrphanPolicyRevoke}, Scope{Namespaces: []string{"team-a"}}, false},
		"revoke, the whole cluster": {v1alpha1.IssuerSpec{Codacy: codacy, OrphanPolicy: v1alpha1.OrphanPolicyRevoke}, Scope{}, false},
	} {
		if note := onlyReports(&test.spec, &test.scope); (note != "") != test.says {
			t.Errorf("%s: %q", name, note)
		}
	}
}
