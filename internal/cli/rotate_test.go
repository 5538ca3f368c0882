package cli_test

import (
	"testing"

	"github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// mayView lets a user see what is in the fixture's namespace, as the built-in role view does.
func (f *fixture) mayView(user string) {
	f.t.Helper()
	f.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "view"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "tokensteward-view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	})
	f.Expect(controlPlane.AwaitPermission(f.t.Context(), user, authorizationv1.ResourceAttributes{
		Namespace: f.namespace, Verb: "list", Group: v1alpha1.GroupVersion.Group, Resource: "accounttokens",
	}, true)).To(gomega.Succeed())
}

// mayReadSecrets lets a user get the Secrets of the fixture's namespace by their names.
func (f *fixture) mayReadSecrets(user string) {
	f.t.Helper()
	f.create(&rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "secrets"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}},
	})
	f.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "secrets"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "secrets"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	})
	f.Expect(controlPlane.AwaitPermission(f.t.Context(), user, authorizationv1.ResourceAttributes{Namespace: f.namespace, Verb: "get", Resource: "secrets"}, true)).
		To(gomega.Succeed())
}

func TestRotateWaitsUntilTheSecretHoldsTheNewToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.projectToken("ci", f.namespace, "web")
	f.eventuallyReady(token)
	rotated := f.run("rotate", "projecttoken/ci", "--wait", f.here())
	f.Expect(rotated.err).NotTo(gomega.HaveOccurred())
	f.reload(token)
	f.Expect(token.Status.Token.Revision).To(gomega.Equal(int64(2)))
	f.Expect(rotated.progress).To(gomega.ContainSubstring("projecttoken/ci: asked for a new token in place of revision 1\n"))
	f.Expect(rotated.progress).To(gomega.MatchRegexp(`the Secret ci holds revision 2\nprojecttoken/ci: revision 1 stays valid until \d{4}-`))
	f.Expect(rotated.out).To(gomega.BeEmpty())

	f.projectToken("other", f.namespace, "web")
	all := f.run("rotate", "--all", "--wait", "-o", "name", f.here())
	f.Expect(all.err).NotTo(gomega.HaveOccurred())
	f.Expect(lines(all.out)).To(gomega.ConsistOf("projecttoken.tokensteward.io/ci", "projecttoken.tokensteward.io/other"))
	f.reload(token)
	f.Expect(token.Status.Token.Revision).To(gomega.Equal(int64(3)))
	f.Expect(f.run("rotate", "-l", "name=other", "--wait", f.here()).err).NotTo(gomega.HaveOccurred())
	f.reload(token)
	f.Expect(token.Status.Token.Revision).To(gomega.Equal(int64(3)), "it has another label")
}

func TestRotateSaysWhatItWaitsForAndThatItGaveUp(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.projectToken("ci", "no-such-issuer", "web")
	late := f.run("rotate", "ci", "--wait", "--timeout=2s", f.here())
	f.Expect(late.err).To(gomega.MatchError(gomega.And(gomega.ContainSubstring("has no new token yet"), gomega.ContainSubstring("kubectl describe projecttoken/ci --namespace "+f.namespace))))
	f.Expect(late.progress).To(gomega.ContainSubstring("projecttoken/ci: waiting: "))

	f.suspended("paused")
	f.Expect(f.run("rotate", "paused", f.here()).progress).To(gomega.ContainSubstring("is suspended"))
	f.Expect(f.run("rotate", "paused", "--wait", "--timeout=0", f.here()).err).To(gomega.MatchError(gomega.ContainSubstring("--timeout")))
	f.Expect(f.run("rotate", "paused", "--wait", f.here()).err).To(gomega.MatchError(gomega.ContainSubstring("nothing to wait for")))
}

func TestATokenIsNamedAsUsersOfKubectlWould(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.accountToken("both", f.namespace, "alice")
	f.projectToken("both", f.namespace, "web")
	for _, name := range []string{"accounttoken/both", "accounttokens/both", "atok/both", "AccountToken/both", "accounttoken.tokensteward.io/both", "ptok/both"} {
		f.Expect(f.run("rotate", name, f.here()).err).NotTo(gomega.HaveOccurred(), name)
	}
	for name, complaint := range map[string]string{
		"both":             `say accounttoken/both or projecttoken/both`,
		"none":             `there is no AccountToken and no ProjectToken "none"`,
		"projecttoken/x":   `projecttokens.tokensteward.io "x" not found`,
		"deployment/both":  `"deployment" is no kind of token`,
		"accounttoken/a/b": "that is no name of a token",
	} {
		f.Expect(f.run("rotate", name, f.here()).err).To(gomega.MatchError(gomega.ContainSubstring(complaint)), name)
	}
	mistaken := f.run("rotate", "eyJhbGciOiJIUzI1NiJ9.A_bearer", f.here())
	f.Expect(mistaken.err).To(gomega.MatchError(gomega.Not(gomega.ContainSubstring("eyJ"))), "what may be a credential is not repeated")
	f.Expect(f.run("rotate", "projecttoken", "both", f.here()).err).To(gomega.MatchError("write projecttoken/NAME"))
	f.Expect(f.run("rotate", "atok/both", "-A").err).To(gomega.MatchError(gomega.ContainSubstring("--all-namespaces needs")))
	f.Expect(f.run("rotate", f.here()).err).To(gomega.MatchError(gomega.ContainSubstring("--selector or --all")))
	f.Expect(f.run("rotate", "both", "--all", f.here()).err).To(gomega.MatchError(gomega.ContainSubstring("--selector or --all")))
	f.Expect(f.run("rotate", "-l", "no=such", f.here()).err).To(gomega.MatchError(gomega.ContainSubstring("no such token")))
	completed := f.run("__complete", "rotate", f.here(), "")
	f.Expect(lines(completed.out)).To(gomega.ContainElements("accounttoken/both", "projecttoken/both"))
}
