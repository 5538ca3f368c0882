package controllers_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// rule is what the API server itself says to a spec: nothing, or a text that the error must contain.
type rule struct{ kind, spec, says string }

const validProject = "project: {provider: gh, organization: acme, repository: web}\n"

func projectSpec(more string) string { return validProject + more }

func builtIn(more string) string { return "builtIn: {}\n" + more }

func codacy(more string) string {
	return "codacy:\n  credentialsSecretRef: {name: a}\n  " + more
}

func account(access string) string {
	return "builtIn: {accounts: [{name: alice, access: [" + access + "]}]}"
}

func TestTheAPIServerAcceptsAndRejects(t *testing.T) {
	f := newFixture(t)
	for name, test := range map[string]rule{
		// issuerRef
		"a token without an issuer has the default one": {"AccountToken", "account: alice", ""},
		"an issuer by name":                             {"AccountToken", "issuerRef: {name: other}", ""},
		"an issuer of another kind":                     {"AccountToken", "issuerRef: {kind: Issuer, name: x}", "spec.issuerRef.kind: Unsupported value"},
		"an issuer without a name has the default's":    {"AccountToken", "issuerRef: {kind: ClusterTokenIssuer}", ""},
		"an issuer with an empty name":                  {"AccountToken", "issuerRef: {name: ''}", "spec.issuerRef.name"},
		"an issuer with a name of 253 characters":       {"AccountToken", "issuerRef: {name: " + strings.Repeat("n", 253) + "}", ""},
		"an issuer with a name of 254 characters":       {"AccountToken", "issuerRef: {name: " + strings.Repeat("n", 254) + "}", "Too long"},
		// duration
		"an hour":                          {"AccountToken", "duration: 1h", ""},
		"a year":                           {"AccountToken", "duration: 8760h", ""},
		"an hour and a half":               {"AccountToken", "duration: 1h30m", ""},
		"less than an hour":                {"AccountToken", "duration: 59m59s", "must be between 1h and 8760h (a year)"},
		"more than a year":                 {"AccountToken", "duration: 8760h0m1s", "must be between 1h and 8760h (a year)"},
		"days":                             {"AccountToken", "duration: 90d", "write a duration in hours, minutes or seconds: 2160h, not 90d"},
		"a negative duration":              {"AccountToken", "duration: -90h", "write a duration in hours"},
		"a duration without a unit":        {"AccountToken", "duration: '2160'", "write a duration in hours"},
		"a number":                         {"AccountToken", "duration: 2160", "must be of type string"},
		"an empty duration":                {"AccountToken", "duration: ''", "write a duration in hours"},
		"a duration longer than any clock": {"AccountToken", "duration: 9999999999999999h", "spec.duration"},
		// secret
		"a Secret's name":                      {"AccountToken", "secret: {name: web.ci-token}", ""},
		"a Secret's name in capitals":          {"AccountToken", "secret: {name: Token}", "spec.secret.name"},
		"a Secret's name with two dots":        {"AccountToken", "secret: {name: a..b}", "spec.secret.name"},
		"a Secret's name in another namespace": {"AccountToken", "secret: {name: other/token}", "spec.secret.name"},
		"a Secret's name too long":             {"AccountToken", "secret: {name: " + strings.Repeat("n", 254) + "}", "Too long"},
		"a key":                                {"AccountToken", "secret: {tokenKey: .npm_TOKEN-1}", ""},
		"a key with a blank":                   {"AccountToken", "secret: {tokenKey: 'a b'}", "spec.secret.tokenKey"},
		"the key .":                            {"AccountToken", "secret: {tokenKey: .}", "a Secret's key can't be . and can't begin with .."},
		"a key that begins with ..":            {"AccountToken", "secret: {tokenKey: ..x}", "a Secret's key can't be . and can't begin with .."},
		"32 templated keys":                    {"AccountToken", "secret: {template: {data: {" + numbered(32) + "}}}", ""},
		"33 templated keys":                    {"AccountToken", "secret: {template: {data: {" + numbered(33) + "}}}", "Too many"},
		"a template of 8192 characters":        {"AccountToken", "secret: {template: {data: {k: " + strings.Repeat("x", 8192) + "}}}", ""},
		"a template of 8193 characters":        {"AccountToken", "secret: {template: {data: {k: " + strings.Repeat("x", 8193) + "}}}", "Too long"},
		"33 labels":                            {"AccountToken", "secret: {template: {metadata: {labels: {" + numbered(33) + "}}}}", "Too many"},
		"33 annotations":                       {"AccountToken", "secret: {template: {metadata: {annotations: {" + numbered(33) + "}}}}", "Too many"},
		"a label of 64 characters":             {"AccountToken", "secret: {template: {metadata: {labels: {k: " + strings.Repeat("x", 64) + "}}}}", "Too long"},
		// the rest that is shared
		"Retain":                    {"AccountToken", "deletionPolicy: Retain", ""},
		"another deletion policy":   {"AccountToken", "deletionPolicy: Orphan", "spec.deletionPolicy: Unsupported value"},
		"suspended":                 {"AccountToken", "suspend: true", ""},
		"suspended by a word":       {"AccountToken", "suspend: 'yes'", "must be of type boolean"},
		"an account of 254 letters": {"AccountToken", "account: " + strings.Repeat("a", 254), "Too long"},
		"an empty account":          {"AccountToken", "account: ''", "spec.account"},
		// project
		"a project":                            {"ProjectToken", projectSpec(""), ""},
		"a project with every character":       {"ProjectToken", "project: {provider: bbe, organization: ~user_1, repository: .github-a.b}", ""},
		"no project":                           {"ProjectToken", "duration: 1h", "spec.project: Required value"},
		"a project without a repository":       {"ProjectToken", "project: {provider: gh, organization: acme}", "spec.project.repository: Required value"},
		"a provider that does not exist":       {"ProjectToken", "project: {provider: svn, organization: a, repository: b}", "spec.project.provider: Unsupported value"},
		"a slash in the organization":          {"ProjectToken", "project: {provider: gl, organization: a/b, repository: c}", "spec.project.organization"},
		"the repository ..":                    {"ProjectToken", "project: {provider: gh, organization: a, repository: ..}", "can't be . or .."},
		"the organization .":                   {"ProjectToken", "project: {provider: gh, organization: ., repository: b}", "can't be . or .."},
		"an empty repository":                  {"ProjectToken", "project: {provider: gh, organization: a, repository: ''}", "spec.project.repository"},
		"a line break in the repository":       {"ProjectToken", `project: {provider: gh, organization: a, repository: "b\nX-Admin: 1"}`, "spec.project.repository"},
		"a repository of 254 characters":       {"ProjectToken", "project: {provider: gh, organization: a, repository: " + strings.Repeat("r", 254) + "}", "Too long"},
		"a project token with a bad duration":  {"ProjectToken", projectSpec("duration: 90d"), "write a duration in hours"},
		"a project token with an unknown kind": {"ProjectToken", projectSpec("issuerRef: {kind: X}"), "spec.issuerRef.kind: Unsupported value"},
		// ClusterTokenIssuer
		"an issuer that grants nothing":          {"ClusterTokenIssuer", builtIn(""), ""},
		"an issuer that is nothing":              {"ClusterTokenIssuer", "grants: []", "set exactly one of codacy and builtIn"},
		"an account that is not a DNS label":     {"ClusterTokenIssuer", "builtIn: {accounts: [{name: Alice}]}", "spec.builtIn.accounts[0].name"},
		"an account twice":                       {"ClusterTokenIssuer", "builtIn: {accounts: [{name: alice}, {name: alice}]}", "Duplicate value"},
		"an account without a name":              {"ClusterTokenIssuer", "builtIn: {accounts: [{access: []}]}", "name: Required value"},
		"access to an organization":              {"ClusterTokenIssuer", account("gh/acme"), ""},
		"access to a repository":                 {"ClusterTokenIssuer", account("gle/tools/.config"), ""},
		"access to a provider":                   {"ClusterTokenIssuer", account("gh"), "spec.builtIn.accounts[0].access[0]"},
		"access to four segments":                {"ClusterTokenIssuer", account("gh/a/b/c"), "spec.builtIn.accounts[0].access[0]"},
		"access to ..":                           {"ClusterTokenIssuer", account("gh/acme/.."), "spec.builtIn.accounts[0].access[0]"},
		"access to . of a provider":              {"ClusterTokenIssuer", account("gh/."), "spec.builtIn.accounts[0].access[0]"},
		"access by a pattern":                    {"ClusterTokenIssuer", account("gh/*"), "spec.builtIn.accounts[0].access[0]"},
		"access twice to the same":               {"ClusterTokenIssuer", account("gh/a, gh/a"), "Duplicate value"},
		"access to 257 organizations":            {"ClusterTokenIssuer", account(list("gh/org%d", 257)), "Too many"},
		"a grant to names and a selector":        {"ClusterTokenIssuer", builtIn("grants: [{namespaces: [a, b], namespaceSelector: {matchLabels: {team: a}}, accounts: ['*'], projects: ['gh/acme/*']}]"), ""},
		"a grant to everybody":                   {"ClusterTokenIssuer", builtIn("grants: [{namespaceSelector: {}}]"), ""},
		"a grant to an impossible namespace":     {"ClusterTokenIssuer", builtIn("grants: [{namespaces: ['*']}]"), "spec.grants[0].namespaces[0]"},
		"a grant of a project of two segments":   {"ClusterTokenIssuer", builtIn("grants: [{projects: ['gh/acme']}]"), "spec.grants[0].projects[0]"},
		"a grant of an empty account pattern":    {"ClusterTokenIssuer", builtIn("grants: [{accounts: ['']}]"), "spec.grants[0].accounts[0]"},
		"65 grants":                              {"ClusterTokenIssuer", builtIn("grants: [" + list("{accounts: [a%d]}", 65) + "]"), "Too many"},
		"a selector with an impossible operator": {"ClusterTokenIssuer", builtIn("grants: [{namespaceSelector: {matchExpressions: [{key: a, operator: Near}]}}]"), "Unsupported value"},
		"an issuer that is two":                  {"ClusterTokenIssuer", builtIn("codacy: {credentialsSecretRef: {name: a}}"), "set exactly one of codacy and builtIn"},
		"an issuer of Codacy":                    {"ClusterTokenIssuer", codacy(""), ""},
		"Codacy with grants":                     {"ClusterTokenIssuer", codacy("") + "\ngrants: [{namespaces: [a], projects: ['gh/acme/*']}]", ""},
		// TokenIssuer
		"a TokenIssuer":                     {"TokenIssuer", codacy(""), ""},
		"a TokenIssuer that is built in":    {"TokenIssuer", "builtIn: {}", "codacy is required: a TokenIssuer is a connection to Codacy"},
		"Codacy without a credential":       {"TokenIssuer", "codacy: {url: https://codacy.example}", "spec.codacy.credentialsSecretRef: Required value"},
		"a credential without a name":       {"TokenIssuer", "codacy: {credentialsSecretRef: {key: a}}", "spec.codacy.credentialsSecretRef.name: Required value"},
		"a credential in another namespace": {"TokenIssuer", "codacy: {credentialsSecretRef: {name: a/b}}", "spec.codacy.credentialsSecretRef.name"},
		"Codacy with a port and a path":     {"TokenIssuer", codacy("url: https://tools.example:8443/codacy"), ""},
		"Codacy without TLS":                {"TokenIssuer", codacy("url: http://codacy.example"), "spec.codacy.url"},
		"Codacy with a password":            {"TokenIssuer", codacy("url: https://a:b@codacy.example"), "spec.codacy.url"},
		"Codacy with a query":               {"TokenIssuer", codacy("url: https://codacy.example?x=y"), "spec.codacy.url"},
		"Codacy with a slash at the end":    {"TokenIssuer", codacy("url: https://codacy.example/"), "spec.codacy.url"},
		"Codacy with a line break":          {"TokenIssuer", codacy(`url: "https://codacy.example\nx"`), "spec.codacy.url"},
		"a CA that is not base64":           {"TokenIssuer", codacy("caBundle: '***'"), "spec.codacy.caBundle"},
		"a check every ten minutes":         {"TokenIssuer", codacy("") + "\ncheckInterval: 10m", ""},
		"no check":                          {"TokenIssuer", codacy("") + "\ncheckInterval: 0s", ""},
		"a check every second":              {"TokenIssuer", codacy("") + "\ncheckInterval: 1s", "must be 0s, or between 1m and 8760h"},
		"a check every day":                 {"TokenIssuer", codacy("") + "\ncheckInterval: 1d", "write a duration in hours, minutes or seconds"},
		"orphans that are revoked":          {"TokenIssuer", codacy("") + "\norphanPolicy: Revoke", ""},
		"orphans that are adopted":          {"TokenIssuer", codacy("") + "\norphanPolicy: Adopt", "spec.orphanPolicy: Unsupported value"},
		"a token of a TokenIssuer":          {"AccountToken", "issuerRef: {kind: TokenIssuer, name: codacy}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := k8s.Create(f.ctx, f.object(test.kind, "object", test.spec), client.DryRunAll)
			check(t, err, test.says)
		})
	}
}

func TestTheAPIServerGuardsWhatIsImmutable(t *testing.T) {
	f := newFixture(t)
	for name, test := range map[string]struct{ kind, before, after, says string }{
		"another issuer":                       {"AccountToken", "issuerRef: {name: a}", "issuerRef: {name: b}", "issuerRef is immutable: create another AccountToken"},
		"an issuer that is left out":           {"AccountToken", "issuerRef: {name: a}", "account: alice", "issuerRef is immutable"},
		"the default issuer, now written down": {"AccountToken", "account: alice", "{account: alice, issuerRef: {kind: ClusterTokenIssuer, name: default}}", ""},
		"an account that is set later":         {"AccountToken", "suspend: true", "account: alice", ""},
		"another account":                      {"AccountToken", "account: alice", "account: bob", "account is immutable once it is set"},
		"an account that is left out":          {"AccountToken", "account: alice", "suspend: true", "account is immutable once it is set"},
		"another Secret":                       {"AccountToken", "secret: {name: a}", "secret: {name: b}", "secret.name is immutable"},
		"a Secret that is left out":            {"AccountToken", "secret: {name: a}", "suspend: true", "secret.name is immutable"},
		"a Secret that is named later":         {"AccountToken", "suspend: true", "secret: {name: a}", "secret.name is immutable"},
		"another key in the same Secret":       {"AccountToken", "secret: {name: a}", "secret: {name: a, tokenKey: X}", ""},
		"a template in a nameless Secret":      {"AccountToken", "suspend: true", "secret: {template: {data: {a: b}}}", ""},
		"another duration":                     {"AccountToken", "duration: 1h", "duration: 2h", ""},
		"another project":                      {"ProjectToken", projectSpec(""), "project: {provider: gh, organization: acme, repository: api}", "project is immutable: create another ProjectToken"},
		"a project token's other issuer":       {"ProjectToken", projectSpec(""), projectSpec("issuerRef: {name: b}"), "issuerRef is immutable: create another ProjectToken"},
		"a project token's other Secret":       {"ProjectToken", projectSpec(""), projectSpec("secret: {name: b}"), "secret.name is immutable: create another ProjectToken"},
		"a project token that is suspended":    {"ProjectToken", projectSpec(""), projectSpec("suspend: true"), ""},
		"an issuer's other accounts":           {"ClusterTokenIssuer", account("gh/a"), account("gh/b"), ""},
		"an issuer that becomes one of Codacy": {"ClusterTokenIssuer", builtIn(""), codacy(""), "which service an issuer connects to is immutable"},
		"another Codacy":                       {"TokenIssuer", codacy(""), codacy("url: https://codacy.example"), "codacy.url is immutable: create another TokenIssuer"},
		"a Codacy that is left out":            {"TokenIssuer", codacy("url: https://codacy.example"), codacy(""), "codacy.url is immutable"},
		"another cluster's Codacy":             {"ClusterTokenIssuer", codacy(""), codacy("url: https://codacy.example"), "which service an issuer connects to is immutable"},
		"Codacy Cloud, now written down":       {"TokenIssuer", codacy(""), codacy("url: https://app.codacy.com"), ""},
		"another credential":                   {"TokenIssuer", codacy(""), "codacy: {credentialsSecretRef: {name: other}}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fixture{WithT: gomega.NewWithT(t), t: t, ctx: t.Context(), namespace: f.namespace}
			object := f.object(test.kind, strings.ToLower(strings.NewReplacer(" ", "-", ",", "", "'", "").Replace(name)), test.before)
			f.create(object)
			defer func() { f.Expect(k8s.Delete(f.ctx, object)).To(gomega.Succeed()) }()
			f.Eventually(func() error {
				latest := f.object(test.kind, "", test.after)
				latest.SetName(object.GetName())
				if err := k8s.Get(f.ctx, client.ObjectKeyFromObject(object), object); err != nil {
					return err
				}
				latest.SetResourceVersion(object.GetResourceVersion())
				err := k8s.Update(f.ctx, latest, client.DryRunAll)
				if apierrors.IsConflict(err) {
					return err // The operator was faster.
				}
				check(t, err, test.says)
				return nil
			}).Should(gomega.Succeed())
		})
	}
}

func TestNobodyButTheOperatorWritesAStatus(t *testing.T) {
	f := newFixture(t)
	alice := f.issuedAccountToken("alice")
	alice.Status.PreviousTokens = []v1alpha1.PreviousToken{{Revision: 9, SHA256: strings.Repeat("a", 64), ExpirationTime: alice.Status.Token.ExpirationTime}}
	f.Eventually(func() string { return fmt.Sprint(k8s.Status().Update(f.ctx, alice, client.DryRunAll)) }).
		Should(gomega.ContainSubstring("only the operator writes the status"))
	issuer := f.issuer.DeepCopy()
	f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(issuer), issuer)).To(gomega.Succeed())
	issuer.Status.Conditions = nil
	f.Expect(fmt.Sprint(k8s.Status().Update(f.ctx, issuer))).To(gomega.ContainSubstring("only the operator writes the status"))
	f.Expect(asOperator().Status().Update(f.ctx, alice, client.DryRunAll)).To(gomega.Succeed())
}

func TestNoTwoTokensInAStatusHaveOneRevision(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.issuedAccountToken("alice")
	current := alice.Status.Token.Revision
	pending := func(revision int64) *v1alpha1.PendingToken {
		return &v1alpha1.PendingToken{Revision: revision, StartTime: alice.Status.Token.IssueTime}
	}
	write := func(pending *v1alpha1.PendingToken, previous ...int64) string {
		status := alice.DeepCopy()
		status.Status.Pending = pending
		for _, revision := range previous {
			status.Status.PreviousTokens = append(status.Status.PreviousTokens, v1alpha1.PreviousToken{Revision: revision})
		}
		return fmt.Sprint(asOperator().Status().Patch(f.ctx, status, client.MergeFrom(alice), client.DryRunAll))
	}
	f.Expect(write(pending(current), current+1)).To(gomega.ContainSubstring("token and pending have the same revision"))
	f.Expect(write(pending(current+1), current)).To(gomega.ContainSubstring("a previous token has the revision of token or pending"))
	f.Expect(write(pending(current+1), current+1)).To(gomega.ContainSubstring("a previous token has the revision of token or pending"))
	f.Expect(write(pending(v1alpha1.MaxRevision + 1))).To(gomega.ContainSubstring("should be less than or equal to 1000000000"))
	f.Expect(write(pending(v1alpha1.MaxRevision), current+1, current+2)).To(gomega.Equal("<nil>"))
}

func TestTheRolesOfUsersIncludeNoStatusAndNoIssuerChange(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"tokensteward-view", "tokensteward-edit"} {
		var role rbacv1.ClusterRole
		f.Expect(k8s.Get(f.ctx, client.ObjectKey{Name: name}, &role)).To(gomega.Succeed())
		f.Expect(role.Labels).To(gomega.HaveKeyWithValue("rbac.authorization.k8s.io/aggregate-to-edit", "true"))
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				f.Expect(resource).NotTo(gomega.ContainSubstring("/"))
				if resource == "clustertokenissuers" {
					f.Expect(rule.Verbs).To(gomega.ConsistOf("get", "list", "watch"))
				}
			}
		}
	}
}

func check(t *testing.T, err error, says string) {
	t.Helper()
	switch {
	case says == "" && err != nil:
		t.Errorf("refused: %v", err)
	case says != "" && err == nil:
		t.Errorf("accepted, and should say %q", says)
	case says != "" && !strings.Contains(err.Error(), says):
		t.Errorf("says %q, and should say %q", err, says)
	}
}

// object is a resource with a spec in YAML.
func (f *fixture) object(kind, name, spec string) *unstructured.Unstructured {
	f.t.Helper()
	object := &unstructured.Unstructured{}
	f.Expect(yaml.Unmarshal([]byte("spec:\n  "+strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ")), &object.Object)).To(gomega.Succeed())
	object.SetAPIVersion(v1alpha1.GroupVersion.String())
	object.SetKind(kind)
	object.SetName(name)
	if kind == v1alpha1.KindClusterTokenIssuer {
		object.SetName(f.namespace + "-" + name)
	} else {
		object.SetNamespace(f.namespace)
	}
	return object
}

func numbered(n int) string { return list("k%d: x", n) }

func list(format string, n int) string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(items, ", ")
}
