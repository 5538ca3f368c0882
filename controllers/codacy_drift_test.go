package controllers_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// every has tokens looked up in an interval.
func every(interval time.Duration) func(*v1alpha1.ClusterTokenIssuerSpec) {
	return func(s *v1alpha1.ClusterTokenIssuerSpec) { s.CheckInterval = &metav1.Duration{Duration: interval} }
}

// eventuallyLooked moves the clock a minute at a time, and has the resources looked at, until something is so. For tests
// that are not parallel.
func (f *codacyFixture) eventuallyLooked(tokens []v1alpha1.Token, so func() bool) {
	f.t.Helper()
	for range 300 {
		now.SetTime(now.Now().Add(time.Minute))
		for _, token := range tokens {
			f.touch(token)
		}
		for range 10 {
			if so() {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	f.t.Fatal("waited for hours in vain")
}

// A namespace can be gone before all that was in it: the namespace controller asks an API server that has just started which
// kinds there are, and those of CRDs may not be among them yet.
func TestTheTokensInANamespaceThatIsGoneAreRevoked(t *testing.T) {
	t.Parallel()
	f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
	token := f.issuedCodacyToken(v1alpha1.KindProjectToken, "web")
	value := f.secret(token).Data["CODACY_PROJECT_TOKEN"]
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.namespace}}
	f.Expect(k8s.Delete(f.ctx, namespace)).To(gomega.Succeed())
	f.Expect(k8s.Delete(f.ctx, f.secret(token))).To(gomega.Succeed())
	f.Expect(f.accepts(value)).To(gomega.BeTrue())
	f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(namespace), namespace)).To(gomega.Succeed())
	namespace.Spec.Finalizers = nil
	f.Expect(k8s.SubResource("finalize").Update(f.ctx, namespace)).To(gomega.Succeed())

	f.Eventually(func() bool { return f.accepts(value) }).Should(gomega.BeFalse())
	f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(token), token)).To(gomega.Succeed())
	f.Expect(token.GetFinalizers()).To(gomega.ContainElement(v1alpha1.Finalizer), "it can't be removed")

	// Somebody follows the log's advice.
	f.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.namespace}})
	f.eventuallyRevision(token, 2)
	f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	f.Expect(f.accepts(f.secret(token).Data["CODACY_PROJECT_TOKEN"])).To(gomega.BeTrue())
	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyGone(token)
	f.Expect(f.minted()).To(gomega.BeEmpty())
}

func TestATokenThatWasRevokedInTheWebUIIsReplaced(t *testing.T) {
	f := newCodacy(t, codacyEdition(t, "cloud-2026-08"), every(time.Hour))
	revoked, healthy := f.issuedCodacyToken(v1alpha1.KindProjectToken, "revoked"), f.issuedCodacyToken(v1alpha1.KindProjectToken, "healthy")
	stranger := f.server.CreateRepositoryToken("gh", "acme", "api", "ci", nil)
	value := string(f.secret(revoked).Data["CODACY_PROJECT_TOKEN"])
	for _, token := range f.minted() {
		if token.Value.Reveal() == value {
			f.server.RevokeInWebUI(token.ID)
		}
	}
	f.server.ResetRequests()
	both := []v1alpha1.Token{revoked, healthy}
	f.eventuallyLooked(both, func() bool {
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(revoked), revoked)).To(gomega.Succeed())
		return revoked.SharedStatus().Token.Revision == 2 && revoked.SharedStatus().Pending == nil
	})
	f.Expect(f.server.Requests()["listRepositoryApiTokens"]).To(gomega.BeNumerically(">=", 2))
	f.eventuallyReady(revoked, metav1.ConditionTrue, "")
	f.Expect(f.server.Accepts(string(f.secret(revoked).Data["CODACY_PROJECT_TOKEN"]))).To(gomega.BeTrue())
	f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(healthy), healthy)).To(gomega.Succeed())
	f.Expect(healthy.SharedStatus().Token.Revision).To(gomega.Equal(int64(1)))

	// After its grace period what is gone is struck off, by the proof that it is.
	now.SetTime(now.Now().Add(v1alpha1.DefaultGracePeriod + time.Hour))
	f.touch(revoked)
	f.eventuallyNonePrevious(revoked)
	f.Expect(f.minted()).To(gomega.HaveLen(2))
	f.Expect(f.server.Accepts(stranger.Value.Reveal())).To(gomega.BeTrue())
}

func TestAnEditedOrDeletedSecretGetsANewTokenAndTheOldOneItsGrace(t *testing.T) {
	for name, rob := range map[string]func(*codacyFixture, *corev1.Secret){
		"edited": func(f *codacyFixture, secret *corev1.Secret) {
			secret.Data["CODACY_API_TOKEN"] = []byte("edited-by-hand-and-wrong")
			f.Expect(k8s.Update(f.ctx, secret)).To(gomega.Succeed())
		},
		"deleted": func(f *codacyFixture, secret *corev1.Secret) {
			f.Expect(k8s.Delete(f.ctx, secret)).To(gomega.Succeed())
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newCodacy(t, codacyEdition(t, "cloud-2025-07"))
			token := f.issuedCodacyToken(v1alpha1.KindAccountToken, "robot")
			old := string(f.secret(token).Data["CODACY_API_TOKEN"])
			rob(f, f.secret(token))
			f.eventuallyRevision(token, 2)
			f.Expect(f.server.Accepts(old)).To(gomega.BeTrue())
			f.Expect(f.server.Accepts(string(f.secret(token).Data["CODACY_API_TOKEN"]))).To(gomega.BeTrue())
			now.SetTime(now.Now().Add(v1alpha1.DefaultGracePeriod + time.Minute))
			f.touch(token)
			f.Eventually(func() bool { return f.server.Accepts(old) }).Should(gomega.BeFalse())
			f.Expect(f.server.Accepts(string(f.secret(token).Data["CODACY_API_TOKEN"]))).To(gomega.BeTrue())
			f.Expect(f.server.Accepts(f.credential.Value.Reveal())).To(gomega.BeTrue())
		})
	}
}

func TestATokenWithoutExpiryIsRenewedByTheOperatorsClock(t *testing.T) {
	f := newCodacy(t, codacyEdition(t, "self-hosted-16"))
	token := f.projectToken("api", "api")
	token.Spec.Duration = &metav1.Duration{Duration: 240 * time.Hour}
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionTrue, "")
	f.Expect(token.Status.Token.ExpirationTime).To(gomega.BeNil())
	f.Expect(token.Status.RenewalTime.Sub(token.Status.Token.IssueTime.Time)).To(gomega.BeNumerically("~", 148*time.Hour, 13*time.Hour))
	old := string(f.secret(token).Data["CODACY_PROJECT_TOKEN"])
	now.SetTime(token.Status.RenewalTime.Add(time.Second))
	f.touch(token)
	f.eventuallyRevision(token, 2)
	f.Expect(f.server.Accepts(old)).To(gomega.BeTrue())
	now.SetTime(now.Now().Add(v1alpha1.DefaultGracePeriod + time.Minute))
	f.touch(token)
	f.Eventually(func() bool { return f.server.Accepts(old) }).Should(gomega.BeFalse())
	f.Expect(f.minted()).To(gomega.HaveLen(1))
}

func TestWithoutProofARevocationIsNotBelieved(t *testing.T) {
	t.Parallel()
	f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
	token := f.issuedCodacyToken(v1alpha1.KindProjectToken, "api")
	value := string(f.secret(token).Data["CODACY_PROJECT_TOKEN"])
	f.server.SetRole(f.account, "gh", "acme", "api", codacytest.Read)
	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyStalled(token, v1alpha1.ReasonRoleMissing)
	f.Expect(f.server.Accepts(value)).To(gomega.BeTrue())

	f.server.RemoveRepository("gh", "acme", "api")
	f.annotate(token, v1alpha1.ReconcileRequestAnnotation, "1")
	f.eventuallyStalled(token, v1alpha1.ReasonRevocationUnproven)
	f.server.AddRepository("gh", "acme", "api")
	f.annotate(token, v1alpha1.ReconcileRequestAnnotation, "2")
	f.eventuallyGone(token)
}

// installation is the id that the operator gave itself.
func (f *codacyFixture) installation() string {
	var kept corev1.ConfigMap
	f.Expect(k8s.Get(f.ctx, client.ObjectKey{Namespace: testenv.Namespace, Name: "tokensteward-installation"}, &kept)).To(gomega.Succeed())
	return kept.Data["in-use"]
}

// secondAddress makes an issuer like the fixture's, with localhost for the address in its URL.
func (f *codacyFixture) secondAddress() (name string) {
	second := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: f.issuer.Name + "-localhost"}, Spec: *f.issuer.Spec.DeepCopy()}
	second.Spec.Codacy.URL = strings.Replace(f.running.URL, "127.0.0.1", "localhost", 1)
	second.Spec.OrphanPolicy = v1alpha1.OrphanPolicyReport
	f.create(second)
	return second.Name
}

func TestOrphansAreReportedOrRevokedAndNothingElseIs(t *testing.T) {
	for _, policy := range []v1alpha1.OrphanPolicy{v1alpha1.OrphanPolicyReport, v1alpha1.OrphanPolicyRevoke} {
		t.Run(string(policy), func(t *testing.T) {
			f := newCodacy(t, codacyEdition(t, "cloud-2026-08"), every(30*time.Minute), func(s *v1alpha1.ClusterTokenIssuerSpec) { s.OrphanPolicy = policy })
			living := f.issuedCodacyToken(v1alpha1.KindProjectToken, "living")
			prefix := "ts-" + f.installation() + "-"
			// Of a resource whose finalizer somebody took away.
			lost := f.server.CreateRepositoryToken("gh", "acme", "api", prefix+"01234567-89ab-cdef-0-1", nil)
			// Of a process that was frozen in the middle of a request, and woke up long after.
			late := f.server.CreateRepositoryToken("gh", "acme", "api", fmt.Sprintf("%s%.20s-9", prefix, living.GetUID()), nil)
			// In a Secret from a backup, of which nobody said yet whose it is.
			restored := f.server.CreateRepositoryToken("gh", "acme", "api", prefix+"76543210-fedc-ba98-0-1", nil)
			f.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{
				Namespace: f.namespace, Name: "restored", Labels: map[string]string{v1alpha1.ManagedLabel: v1alpha1.ManagedTokens},
				Annotations: map[string]string{v1alpha1.OwnerAnnotation: "gone", v1alpha1.TokenIDAnnotation: strconv.FormatInt(restored.ID, 10)},
			}})
			// Left on purpose, by a resource whose issuer is gone, and with it what recorded that.
			retained := f.server.CreateRepositoryToken("gh", "acme", "api", prefix+"89abcdef-0123-4567-8-1", nil)
			f.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{
				Namespace: f.namespace, Name: "retained", Labels: map[string]string{v1alpha1.ManagedLabel: v1alpha1.ManagedRetained},
				Annotations: map[string]string{v1alpha1.TokenIDAnnotation: strconv.FormatInt(retained.ID, 10)},
			}})
			// Of a resource whose issuer knows the same Codacy by another name.
			elsewhere := f.secondAddress()
			cousin := f.projectToken("cousin", "api")
			cousin.Spec.IssuerRef.Name = elsewhere
			f.create(cousin)
			f.eventuallyReady(cousin, metav1.ConditionTrue, "")
			strangers := []codacytest.Token{
				restored, retained,
				f.server.CreateRepositoryToken("gh", "acme", "api", "ci", nil),
				f.server.CreateRepositoryToken("gh", "acme", "api", "ts-otherone-"+strings.TrimPrefix(late.Name, prefix), nil),
			}
			f.eventuallyLooked([]v1alpha1.Token{living}, func() bool {
				if policy == v1alpha1.OrphanPolicyRevoke {
					return !f.server.Accepts(lost.Value.Reveal()) && !f.server.Accepts(late.Value.Reveal())
				}
				text, err := gatherMetrics()
				f.Expect(err).NotTo(gomega.HaveOccurred())
				return orphansIn(text, f.issuer.Name) == "4"
			})
			for _, stranger := range strangers {
				f.Expect(f.server.Accepts(stranger.Value.Reveal())).To(gomega.BeTrue())
			}
			for _, t := range []v1alpha1.Token{living, cousin} {
				f.Expect(f.server.Accepts(string(f.secret(t).Data["CODACY_PROJECT_TOKEN"]))).To(gomega.BeTrue(), t.GetName())
			}
			f.Expect(f.server.Accepts(lost.Value.Reveal())).To(gomega.Equal(policy == v1alpha1.OrphanPolicyReport))
		})
	}
}

// orphansIn is the number of orphans of an issuer in the text of all metrics.
func orphansIn(text, issuer string) string {
	_, text, _ = strings.Cut(text, `name:"tokensteward_orphaned_tokens"`)
	found := regexp.MustCompile(`value:"` + issuer + `"\}.*?gauge:\{\s*value:\s*(\d+)`).FindStringSubmatch(text)
	if found == nil {
		return ""
	}
	return found[1]
}

func TestTheNamespacesOfCredentialsAndResourcesMayGoTogether(t *testing.T) {
	f := startCodacy(t, codacyEdition(t, "cloud-2026-08"), allowedHost)
	f.putCredential(f.namespace, "codacy", f.credential)
	issuer := &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "codacy"},
		Spec: v1alpha1.TokenIssuerSpec{IssuerSpec: v1alpha1.IssuerSpec{Codacy: &v1alpha1.CodacyIssuer{
			URL: "https://" + allowedHost, CABundle: f.running.CAPEM, CredentialsSecretRef: v1alpha1.SecretKeyReference{Name: "codacy"},
		}}},
	}
	f.create(issuer)
	token := &v1alpha1.AccountToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "robot"},
		Spec:       v1alpha1.AccountTokenSpec{TokenSpec: v1alpha1.TokenSpec{IssuerRef: v1alpha1.IssuerReference{Kind: v1alpha1.KindTokenIssuer, Name: "codacy"}}},
	}
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionTrue, "")

	// As the namespace controller does, in an order that hurts: credentials, issuer, resources.
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.namespace}}
	f.Expect(k8s.Delete(f.ctx, namespace)).To(gomega.Succeed())
	credentials := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "codacy"}}
	f.Expect(k8s.Delete(f.ctx, credentials)).To(gomega.Succeed())
	f.Expect(k8s.Delete(f.ctx, issuer)).To(gomega.Succeed())
	f.Eventually(func() string {
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(issuer), issuer)).To(gomega.Succeed())
		return meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady).Reason
	}).Should(gomega.Equal(v1alpha1.ReasonInUse))
	f.Consistently(func() error { return k8s.Get(f.ctx, client.ObjectKeyFromObject(credentials), credentials) }, "500ms").Should(gomega.Succeed())
	f.Expect(f.minted()).To(gomega.HaveLen(1))

	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	for _, o := range []client.Object{token, issuer, credentials} {
		f.eventuallyGone(o)
	}
	f.Expect(f.minted()).To(gomega.BeEmpty())
}
