package cli_test

import (
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
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

// keepTokens has Codacy refuse to delete tokens of repositories.
func (f *codacyFixture) keepTokens() {
	f.server.Fault(func(operation string, _ *http.Request) codacytest.Fault {
		if operation == "deleteRepositoryApiToken" {
			return codacytest.Fault{Kind: codacytest.Refuse, Status: http.StatusForbidden}
		}
		return codacytest.Fault{}
	})
}

// letTokensGo has Codacy delete tokens again, and the operator try to for one that it could not revoke.
func (f *codacyFixture) letTokensGo(t v1alpha1.Token) {
	f.t.Helper()
	f.server.Fault(nil)
	f.change(t, func() {
		annotations := maps.Clone(t.GetAnnotations())
		annotations[v1alpha1.ReconcileRequestAnnotation] = "now"
		t.SetAnnotations(annotations)
	})
}

func TestRevokeGoesOnWaitingForWhatIsStillToBeRevoked(t *testing.T) {
	t.Parallel()
	f := newCodacy(t)
	token := f.projectToken("ci", f.issuer, "web")
	f.eventuallyReady(token)
	f.keepTokens()
	late := f.run("revoke", "ci", "--timeout=2s", f.here())
	f.Expect(late.err).To(gomega.MatchError(gomega.And(gomega.ContainSubstring("projecttoken/ci still has revision 1: "), gomega.ContainSubstring("It is not given up"))))
	f.Eventually(func() int64 { f.reload(token); return token.Status.Token.Revision }).Should(gomega.Equal(int64(2)))

	current := f.value(token, "CODACY_PROJECT_TOKEN")
	refused := f.answering(current, "revoke", "--found", "--timeout=2s")
	f.Expect(refused.err).To(gomega.MatchError(gomega.ContainSubstring("projecttoken/ci: revision 1 is still to be revoked, and only one is at a time")))
	f.reload(token)
	f.Expect(token.Annotations).To(gomega.HaveKeyWithValue(v1alpha1.CompromisedAnnotation, "1"), "the first would get its time back")

	resumed := make(chan result, 1)
	go func() { resumed <- f.run("revoke", "ci", f.here()) }()
	f.Consistently(resumed, time.Second).ShouldNot(gomega.Receive(), "revision 1 is still there")
	f.letTokensGo(token)
	var r result
	f.Eventually(resumed).Should(gomega.Receive(&r))
	f.Expect(r.err).To(gomega.MatchError("projecttoken/ci: that was revision 1, which was asked for before: if revision 2 is to end, too, say this again"))
	f.Expect(r.progress).To(gomega.HavePrefix("projecttoken/ci: revision 1 is still to be revoked; waiting for that, and leaving revision 2 alone\n"))
	f.Expect(r.progress).To(gomega.And(gomega.ContainSubstring("projecttoken/ci: revision 1 is revoked\n"), gomega.ContainSubstring("the Secret ci holds revision 2;")))
	f.reload(token)
	f.Expect(token.Status.Token.Revision).To(gomega.Equal(int64(2)))
	f.Expect(token.Status.PreviousTokens).To(gomega.BeEmpty())
	f.Expect(f.value(token, "CODACY_PROJECT_TOKEN") == current).To(gomega.BeTrue(), "the current token was replaced")
}

func TestRevokeTellsOfATokenThatMayOutliveItsResource(t *testing.T) {
	t.Parallel()
	f := newCodacy(t)
	retained, abandoned, deleted := f.projectToken("retained", f.issuer, "web"), f.projectToken("abandoned", f.issuer, "web"), f.projectToken("deleted", f.issuer, "web")
	all := []*v1alpha1.ProjectToken{retained, abandoned, deleted}
	ids, results := map[string]string{}, map[string]chan result{}
	for _, token := range all {
		f.eventuallyReady(token)
		ids[token.Name], results[token.Name] = token.Status.Token.ID, make(chan result, 1)
	}
	f.change(retained, func() { retained.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain })
	f.change(abandoned, func() { abandoned.Annotations = map[string]string{v1alpha1.AbandonAnnotation: "true"} })
	f.keepTokens()
	for _, token := range all {
		name := token.Name
		go func() { results[name] <- f.run("revoke", name, f.here()) }()
		f.Eventually(func() int64 { f.reload(token); return token.Status.Token.Revision }).Should(gomega.Equal(int64(2)), name)
		f.Expect(k8s.Delete(f.t.Context(), token)).To(gomega.Succeed())
	}
	var r result
	for _, name := range []string{"retained", "abandoned"} {
		f.Eventually(results[name]).Should(gomega.Receive(&r), name)
		f.Expect(r.err).To(gomega.MatchError(
			"projecttoken/" + name + " was deleted meanwhile, and may have left its token at the service: revoke it there. Its id is " + ids[name]))
		f.Expect(r.progress).NotTo(gomega.ContainSubstring("is revoked"))
		f.Expect(f.ids()).To(gomega.ContainElement(ids[name]))
	}
	f.Consistently(results["deleted"], time.Second).ShouldNot(gomega.Receive(), "it can't be revoked")
	f.letTokensGo(deleted)
	f.Eventually(results["deleted"]).Should(gomega.Receive(&r))
	f.Expect(r.err).NotTo(gomega.HaveOccurred())
	f.Expect(r.progress).To(gomega.HaveSuffix("projecttoken/deleted: revision 1 is revoked, and the resource is deleted\n"))
	f.Expect(f.ids()).NotTo(gomega.ContainElement(ids["deleted"]))
}

func TestRevokeKnowsThatABuiltInTokenDoesNotOutliveItsResource(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.projectToken("ci", f.namespace, "web")
	f.eventuallyReady(token)
	f.change(token, func() { token.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain }) // The operator mints nothing until that is put right.
	ended := make(chan result, 1)
	go func() { ended <- f.run("revoke", "ci", f.here()) }()
	f.Eventually(func() map[string]string { f.reload(token); return token.Annotations }).Should(gomega.HaveKey(v1alpha1.CompromisedAnnotation))
	f.Consistently(ended, time.Second).ShouldNot(gomega.Receive())
	f.Expect(k8s.Delete(f.t.Context(), token)).To(gomega.Succeed())
	var r result
	f.Eventually(ended).Should(gomega.Receive(&r))
	f.Expect(r.err).NotTo(gomega.HaveOccurred())
	f.Expect(r.progress).To(gomega.HaveSuffix("projecttoken/ci: revision 1 is revoked, and the resource is deleted\n"))
}

// change updates a resource, whatever the operator writes to it meanwhile.
func (f *fixture) change(o client.Object, how func()) {
	f.t.Helper()
	f.Eventually(func() error {
		f.reload(o)
		how()
		return k8s.Update(f.t.Context(), o)
	}).Should(gomega.Succeed())
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
