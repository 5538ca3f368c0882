package controllers_test

import (
	"strings"
	"testing"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// restored is an object as it comes out of a backup: with a UID of its own, without owners, and without a status, since the
// API server takes none at creation.
func restored[T client.Object](o T) T {
	backup := o.DeepCopyObject().(T)
	backup.SetUID("")
	backup.SetResourceVersion("")
	backup.SetOwnerReferences(nil)
	backup.SetFinalizers(nil)
	backup.SetManagedFields(nil)
	return backup
}

// elsewhere is a Secret of another cluster: its owner is of another installation.
func elsewhere(secret *corev1.Secret) *corev1.Secret {
	_, rest, _ := strings.Cut(secret.Annotations[v1alpha1.OwnerAnnotation], "/")
	secret.Annotations[v1alpha1.OwnerAnnotation] = "another/" + rest
	return secret
}

// handOver takes the owner off a Secret, as the message of the conflict says.
func (f *fixture) handOver(name string) {
	f.t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name}}
	patch := `{"metadata":{"annotations":{"` + v1alpha1.OwnerAnnotation + `":null}}}`
	f.Expect(k8s.Patch(f.ctx, secret, client.RawPatch("application/merge-patch+json", []byte(patch)))).To(gomega.Succeed())
}

func TestAResourceFromABackupMintsAnewAndRevokesNothing(t *testing.T) {
	for name, from := range map[string]func(*corev1.Secret) *corev1.Secret{
		"of this cluster":    func(s *corev1.Secret) *corev1.Secret { return s },
		"of another cluster": elsewhere,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
			token := f.issuedCodacyToken(v1alpha1.KindProjectToken, "lost")
			kept := f.server.CreateRepositoryToken("gh", "acme", "api", "ts-another-0123-1", nil) // Another cluster's.
			backupOfToken, backupOfSecret := restored(token), from(restored(f.secret(token)))
			f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
			f.eventuallyGone(token)
			before := f.minted()

			f.create(backupOfSecret)
			backupOfToken.SharedStatus().Token = &v1alpha1.IssuedToken{ID: "1"}
			f.create(backupOfToken)
			f.eventuallyStalled(backupOfToken, v1alpha1.ReasonSecretConflict)
			f.Expect(readyCondition(backupOfToken).Message).To(gomega.ContainSubstring("annotate secret lost tokensteward.io/owner-"))
			f.expectSame(f.secret(backupOfToken).Data["CODACY_PROJECT_TOKEN"], backupOfSecret.Data["CODACY_PROJECT_TOKEN"])
			f.Expect(f.minted()).To(gomega.HaveLen(len(before)))

			f.handOver("lost")
			f.eventuallyReady(backupOfToken, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			f.Expect(backupOfToken.SharedStatus().PreviousTokens).To(gomega.BeEmpty())
			f.Expect(f.accepts(f.secret(backupOfToken).Data["CODACY_PROJECT_TOKEN"])).To(gomega.BeTrue())
			f.Expect(f.server.Accepts(kept.Value.Reveal())).To(gomega.BeTrue())
		})
	}
}

// A token that still lives, as that of a cluster that is no more, is taken over if its resource says so.
func TestTheTokenOfABackupIsTakenOverIfItsUserSaysSo(t *testing.T) {
	t.Parallel()
	f := newCodacy(t, codacyEdition(t, "cloud-2025-07"))
	token := f.codacyToken(v1alpha1.KindAccountToken, "moved").(*v1alpha1.AccountToken)
	token.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	id := token.Status.Token.ID
	backup := elsewhere(restored(f.secret(token)))
	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyGone(token)
	f.Expect(k8s.Delete(f.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "moved"}})).To(gomega.Succeed())
	f.create(backup)

	again := f.adopting(v1alpha1.KindAccountToken, "moved")
	f.create(again)
	f.eventuallyStalled(again, v1alpha1.ReasonSecretConflict)
	f.handOver("moved")
	f.eventuallyReady(again, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	f.Expect(again.SharedStatus().Token.ID).To(gomega.Equal(id))
	f.Expect(f.minted()).To(gomega.HaveLen(1))
}

// Who takes the owner off the Secret of a resource that lives gets the same token back.
func TestASecretThatLostItsOwnerIsMarkedAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.issuedAccountToken("ours")
	value := f.secret(token).Data["API_TOKEN"]
	f.handOver("ours")
	f.Eventually(func() string { return f.secret(token).Annotations[v1alpha1.OwnerAnnotation] }).ShouldNot(gomega.BeEmpty())
	f.expectSame(f.secret(token).Data["API_TOKEN"], value)
	f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(token), token)).To(gomega.Succeed())
	f.Expect(token.Status.Token.Revision).To(gomega.Equal(int64(1)))
}
