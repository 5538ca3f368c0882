package grant_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/grant"
)

func issuerWith(grants ...v1alpha1.Grant) *v1alpha1.ClusterTokenIssuer {
	return &v1alpha1.ClusterTokenIssuer{Spec: v1alpha1.ClusterTokenIssuerSpec{
		BuiltIn: &v1alpha1.BuiltInIssuer{Accounts: []v1alpha1.Account{
			{Name: "alice", Access: []v1alpha1.AccessPath{"gh/acme", "gle/Tools/cli"}},
			{Name: "nothing"},
		}},
		Grants: grants,
	}}
}

func TestNamespacesOfAGrant(t *testing.T) {
	teamA := grant.Namespace{Name: "team-a", Labels: map[string]string{"tier": "ci"}}
	for name, test := range map[string]struct {
		grants []v1alpha1.Grant
		want   bool
	}{
		"no grant at all grants nothing":             {nil, false},
		"a grant without namespaces selects none":    {[]v1alpha1.Grant{{}}, false},
		"a namespace is granted by its name":         {[]v1alpha1.Grant{{Namespaces: []v1alpha1.NamespaceName{"team-b", "team-a"}}}, true},
		"another name is not granted":                {[]v1alpha1.Grant{{Namespaces: []v1alpha1.NamespaceName{"team"}}}, false},
		"an empty selector selects every namespace":  {[]v1alpha1.Grant{{NamespaceSelector: &v1alpha1.NamespaceSelector{}}}, true},
		"a selector compares labels":                 {[]v1alpha1.Grant{{NamespaceSelector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"tier": "ci"}}}}, true},
		"a label of another value is not selected":   {[]v1alpha1.Grant{{NamespaceSelector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"tier": "web"}}}}, false},
		"an expression is understood":                {[]v1alpha1.Grant{{NamespaceSelector: selector("tier", metav1.LabelSelectorOpIn, "web", "ci")}}, true},
		"an expression that excludes":                {[]v1alpha1.Grant{{NamespaceSelector: selector("tier", metav1.LabelSelectorOpNotIn, "ci")}}, false},
		"a selector nobody understands grants none":  {[]v1alpha1.Grant{{NamespaceSelector: selector("tier", "Near", "ci")}}, false},
		"names and selector add up":                  {[]v1alpha1.Grant{{Namespaces: []v1alpha1.NamespaceName{"team-a"}, NamespaceSelector: selector("tier", metav1.LabelSelectorOpNotIn, "ci")}}, true},
		"the second grant counts as much as a first": {[]v1alpha1.Grant{{}, {Namespaces: []v1alpha1.NamespaceName{"team-a"}}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range test.grants {
				test.grants[i].Accounts = []v1alpha1.AccountPattern{"alice"}
				test.grants[i].Projects = []v1alpha1.ProjectPattern{"gh/acme/api"}
			}
			issuer := issuerWith(test.grants...)
			if got := grant.Account(issuer, teamA, "alice"); got != test.want {
				t.Errorf("Account: %v, want %v", got, test.want)
			}
			if got := grant.Project(issuer, teamA, v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: "api"}); got != test.want {
				t.Errorf("Project: %v, want %v", got, test.want)
			}
		})
	}
}

func TestValidateSelectorsNamesWhatTheSchemaCantSee(t *testing.T) {
	if err := grant.ValidateSelectors(issuerWith(v1alpha1.Grant{NamespaceSelector: selector("tier", metav1.LabelSelectorOpIn)})); err == nil {
		t.Error("In without values was accepted")
	}
	if err := grant.ValidateSelectors(issuerWith(v1alpha1.Grant{}, v1alpha1.Grant{NamespaceSelector: selector("tier", metav1.LabelSelectorOpExists)})); err != nil {
		t.Errorf("a good selector was refused: %v", err)
	}
}

func selector(key string, operator metav1.LabelSelectorOperator, values ...v1alpha1.LabelValue) *v1alpha1.NamespaceSelector {
	return &v1alpha1.NamespaceSelector{MatchExpressions: []v1alpha1.NamespaceSelectorRequirement{{Key: key, Operator: operator, Values: values}}}
}

func TestPatterns(t *testing.T) {
	namespace := grant.Namespace{Name: "team-a"}
	for _, test := range []struct {
		pattern  v1alpha1.AccountPattern
		account  string
		accepted bool
	}{
		{"alice", "alice", true},
		{"alice", "alicia", false},
		{"*", "alice", true},
		{"ci-*", "ci-", true},
		{"ci-*", "xci-web", false},
		{"*-bot", "web-bot", true},
		{"*-bot", "web-bots", false},
		{"a*b*c", "a-b-c", true},
		{"a*b*c", "abc", true},
		{"a*b*c", "acb", false},
		{"a*a", "a", false},
		{"*b*b*", "ab", false},
		{"a.ice", "alice", false},
	} {
		issuer := issuerWith(v1alpha1.Grant{Namespaces: []v1alpha1.NamespaceName{"team-a"}, Accounts: []v1alpha1.AccountPattern{test.pattern}})
		if got := grant.Account(issuer, namespace, test.account); got != test.accepted {
			t.Errorf("%q on %q: %v, want %v", test.pattern, test.account, got, test.accepted)
		}
	}
	for _, test := range []struct {
		pattern  v1alpha1.ProjectPattern
		project  v1alpha1.Project
		accepted bool
	}{
		{"gh/acme/*", v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: "api"}, true},
		{"gh/acme/*", v1alpha1.Project{Provider: "gl", Organization: "acme", Repository: "api"}, false},
		{"gh/acme/*", v1alpha1.Project{Provider: "gh", Organization: "acme2", Repository: "api"}, false},
		{"*/*/*", v1alpha1.Project{Provider: "bbe", Organization: "x", Repository: "y"}, true},
		{"gh/ACME/Api", v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: "aPI"}, true},
		{"gle/ACME/Api", v1alpha1.Project{Provider: "gle", Organization: "acme", Repository: "Api"}, false},
		{"gh/*", v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: "api"}, false},
	} {
		issuer := issuerWith(v1alpha1.Grant{Namespaces: []v1alpha1.NamespaceName{"team-a"}, Projects: []v1alpha1.ProjectPattern{test.pattern}})
		if got := grant.Project(issuer, namespace, test.project); got != test.accepted {
			t.Errorf("%q on %q: %v, want %v", test.pattern, test.project, got, test.accepted)
		}
	}
}

func TestReach(t *testing.T) {
	issuer := issuerWith()
	project := v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: "api"}
	for _, test := range []struct {
		name    string
		target  grant.Target
		alice   bool
		project bool
	}{
		{"nothing in particular", grant.Target{}, true, true},
		{"the organization", grant.Target{Provider: "gh", Organization: "acme"}, true, false},
		{"the repository", grant.Target{Provider: "gh", Organization: "acme", Repository: "api"}, true, true},
		{"the repository in capitals at a provider that folds", grant.Target{Provider: "gh", Organization: "Acme", Repository: "API"}, true, true},
		{"another repository of the organization", grant.Target{Provider: "gh", Organization: "acme", Repository: "web"}, true, false},
		{"another organization", grant.Target{Provider: "gh", Organization: "other", Repository: "api"}, false, false},
		{"the same names at another provider", grant.Target{Provider: "gl", Organization: "acme", Repository: "api"}, false, false},
		{"one repository of an organization", grant.Target{Provider: "gle", Organization: "Tools", Repository: "cli"}, true, false},
		{"its case, where case counts", grant.Target{Provider: "gle", Organization: "tools", Repository: "cli"}, false, false},
		{"the organization of which only one repository is in reach", grant.Target{Provider: "gle", Organization: "Tools"}, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := grant.AccountReaches(issuer, "alice", test.target); got != test.alice {
				t.Errorf("alice: %v, want %v", got, test.alice)
			}
			if got := grant.ProjectReaches(project, test.target); got != test.project {
				t.Errorf("project: %v, want %v", got, test.project)
			}
		})
	}
	if grant.AccountReaches(issuer, "nothing", grant.Target{Provider: "gh", Organization: "acme"}) {
		t.Error("an account without access reaches an organization")
	}
	if grant.AccountReaches(issuer, "stranger", grant.Target{}) {
		t.Error("an account that the issuer does not list reaches something")
	}
}
