package cli_test

import (
	"testing"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// value is what the Secret of a resource holds.
func (f *fixture) value(t v1alpha1.Token, key string) string {
	f.t.Helper()
	secret := &corev1.Secret{}
	secret.Namespace, secret.Name = t.GetNamespace(), v1alpha1.SecretName(t)
	f.Expect(k8s.Get(f.t.Context(), client.ObjectKeyFromObject(secret), secret)).To(gomega.Succeed())
	return string(secret.Data[key])
}

func TestRevokeEndsATokenAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.projectToken("ci", f.namespace, "web")
	f.eventuallyReady(token)
	revoked := f.run("revoke", "projecttoken/ci", f.here())
	f.Expect(revoked.err).NotTo(gomega.HaveOccurred())
	f.Expect(revoked.progress).To(gomega.And(gomega.ContainSubstring("projecttoken/ci: revision 1 is revoked\n"), gomega.ContainSubstring("the Secret ci holds revision 2")))
	f.Expect(revoked.out).To(gomega.BeEmpty())
	f.reload(token)
	f.Expect(token.Status.Token.Revision).To(gomega.Equal(int64(2)))
	f.Expect(token.Status.PreviousTokens).To(gomega.BeEmpty())
}

func TestRevokeFindsOutWhoseAValueIs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.eventuallyReady(f.projectToken("bystander", f.namespace, "web"))
	token := f.projectToken("ci", f.namespace, "web")
	f.eventuallyReady(token)
	leaked := f.value(token, "PROJECT_TOKEN")
	f.Expect(f.run("rotate", "ci", "--wait", f.here()).err).NotTo(gomega.HaveOccurred())

	// It is a previous one by now, and its namespace need not be named.
	revoked := f.answering(leaked+"\n", "revoke", "--found")
	f.Expect(revoked.err).NotTo(gomega.HaveOccurred())
	f.Expect(revoked.progress).To(gomega.ContainSubstring("It is revision 1 of projecttoken/ci in the namespace " + f.namespace + ".\n"))
	f.reload(token)
	f.Expect(token.Status.Token.Revision).To(gomega.Equal(int64(2)))
	f.Expect(token.Status.PreviousTokens).To(gomega.BeEmpty())

	again := f.answering(leaked, "revoke", "--found")
	f.Expect(again.err).To(gomega.MatchError(gomega.ContainSubstring("no resource has this token")))
}

func TestRevokeSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.projectToken("none", "no-such-issuer", "web")
	for _, test := range []struct {
		arguments []string
		input     string
		says      string
	}{
		{[]string{"revoke"}, "", "name one token"},
		{[]string{"revoke", "a", "b"}, "", "name one token"},
		{[]string{"revoke", "ci", "--found"}, "x", "name one token"},
		{[]string{"revoke", "--found"}, " \n", "no value on standard input"},
		{[]string{"revoke", "none", f.here()}, "", "projecttoken/none has no token"},
		{[]string{"revoke", "ci", "--timeout=0"}, "", "--timeout"},
	} {
		f.Expect(f.answering(test.input, test.arguments...).err).To(gomega.MatchError(gomega.ContainSubstring(test.says)))
	}
}
