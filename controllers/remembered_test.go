package controllers_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// remembered says what the operator remembers of a resource.
func remembered(t v1alpha1.Token) (where []string) {
	for _, r := range reconcilers {
		where = append(where, r.Remembered(t.GetUID())...)
	}
	return where
}

func TestNothingIsRememberedOfAResourceThatIsGone(t *testing.T) {
	t.Run("one that was rotated", func(t *testing.T) {
		f := newFixture(t)
		token := f.rotating("rotated", nil)
		f.rotate(token, "now")
		begin := now.Now()
		defer now.SetTime(begin)
		now.SetTime(token.Status.PreviousTokens[0].RevokeTime.Add(time.Second))
		f.touch(token)
		f.eventuallyNonePrevious(token) // Holders were looked for.
		f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
		f.eventuallyGone(token)
		f.Eventually(func() []string { return remembered(token) }).Should(gomega.BeEmpty())
	})
	t.Run("one that failed, and that somebody took the finalizer off", func(t *testing.T) {
		f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
		token := f.projectToken("nowhere", "nowhere")
		f.create(token)
		f.eventuallyReady(token, metav1.ConditionFalse, "")
		f.Eventually(func() []string { return remembered(token) }).Should(gomega.ContainElement("failures"))
		f.Expect(k8s.Patch(f.ctx, token, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`)))).To(gomega.Succeed())
		f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
		f.eventuallyGone(token)
		f.Eventually(func() []string { return remembered(token) }).Should(gomega.BeEmpty())
	})
}

func TestNoSeriesIsKeptOfAnIssuerThatIsGone(t *testing.T) {
	f := newFixture(t)
	token := f.issuedAccountToken("counted")
	f.Eventually(func() int {
		status, _ := f.authorize(f.issuer.Name, "api-token", f.secret(token).Data["API_TOKEN"], "")
		return status
	}).Should(gomega.Equal(http.StatusOK))
	f.Expect(gatherMetrics()).To(gomega.ContainSubstring(f.issuer.Name))
	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyGone(token)
	f.Expect(k8s.Delete(f.ctx, f.issuer)).To(gomega.Succeed())
	f.Eventually(gatherMetrics).ShouldNot(gomega.ContainSubstring(f.issuer.Name))
}
