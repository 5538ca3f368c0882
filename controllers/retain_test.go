package controllers_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

func (f *codacyFixture) accepts(value []byte) bool { return f.server.Accepts(string(value)) }

// retained is what the issuer's status tells of tokens left behind, by id.
func (f *codacyFixture) retained() map[string]v1alpha1.RetainedToken {
	f.t.Helper()
	found := map[string]v1alpha1.RetainedToken{}
	for _, t := range f.issuerStatus().Retained {
		found[t.ID] = t
	}
	return found
}

func TestRetainedTokensOutliveTheirResource(t *testing.T) {
	for _, edition := range []string{"cloud-2026-08", "self-hosted-16"} {
		t.Run(edition, func(t *testing.T) {
			f := newCodacy(t, codacyEdition(t, edition))
			token := f.projectToken("kept", "api")
			token.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
			f.create(token)
			f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			first := f.secret(token).Data["CODACY_PROJECT_TOKEN"]
			f.Expect(f.secret(token).OwnerReferences).To(gomega.BeEmpty(), "garbage collection would take the Secret along")
			f.rotate(token, "once")
			second := f.secret(token).Data["CODACY_PROJECT_TOKEN"]

			f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
			f.eventuallyGone(token)
			f.Expect(f.accepts(first)).To(gomega.BeTrue(), "who has the token that was replaced still has its time")
			f.Expect(f.accepts(second)).To(gomega.BeTrue())
			secret := f.secret(token)
			f.expectSame(secret.Data["CODACY_PROJECT_TOKEN"], second)
			f.Expect(secret.Annotations).NotTo(gomega.HaveKey(v1alpha1.OwnerAnnotation))
			f.Expect(secret.Labels).To(gomega.HaveKeyWithValue(v1alpha1.ManagedLabel, v1alpha1.ManagedRetained))
			retained := f.retained()
			f.Expect(retained).To(gomega.HaveLen(2))
			for _, minted := range f.minted() {
				entry := retained[strconv.FormatInt(minted.ID, 10)]
				f.Expect(entry.Owner).To(gomega.Equal("ProjectToken/" + f.namespace + "/kept"))
				f.Expect(entry.Name).To(gomega.Equal(minted.Name))
			}
			f.Eventually(f.eventReasons).Should(gomega.ContainElement("LeftBehind"))

			// A resource of the same name leaves the Secret alone.
			another := f.projectToken("kept", "api")
			f.create(another)
			f.eventuallyStalled(another, v1alpha1.ReasonSecretConflict)
			f.expectSame(f.secret(token).Data["CODACY_PROJECT_TOKEN"], second)
		})
	}
}

func TestWhatIsRetainedIsNoOrphanAndIsForgottenWhenItHasExpired(t *testing.T) {
	f := newCodacy(t, codacyEdition(t, "cloud-2026-08"), func(spec *v1alpha1.ClusterTokenIssuerSpec) {
		spec.OrphanPolicy = v1alpha1.OrphanPolicyRevoke
	})
	bystander := f.issuedCodacyToken(v1alpha1.KindProjectToken, "bystander")
	token := f.projectToken("kept", "api")
	token.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	value, expires := f.secret(token).Data["CODACY_PROJECT_TOKEN"], token.Status.Token.ExpirationTime.Time
	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyGone(token)

	begin := now.Now()
	defer now.SetTime(begin)
	for hour := range 4 { // It would be revoked at the second look, an hour after the first.
		now.SetTime(begin.Add(time.Duration(hour+1) * 70 * time.Minute))
		f.server.ResetRequests()
		f.touch(bystander)
		f.Eventually(func() int { return f.server.Requests()["listRepositoryApiTokens"] }).Should(gomega.BeNumerically(">", 0))
		f.eventuallyTouched(bystander)
	}
	f.Expect(f.accepts(value)).To(gomega.BeTrue())
	f.Expect(f.retained()).To(gomega.HaveLen(1))

	now.SetTime(expires.Add(61 * time.Minute))
	f.changeIssuer(func(spec *v1alpha1.ClusterTokenIssuerSpec) { spec.CheckInterval = hours(2) })
	f.Eventually(f.retained).Should(gomega.BeEmpty())
}

func TestTheDeletionPolicyMayChange(t *testing.T) {
	f := newCodacy(t, codacyEdition(t, "cloud-2025-07"))
	token := f.codacyToken(v1alpha1.KindAccountToken, "changing").(*v1alpha1.AccountToken)
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	owners := func() int { return len(f.secret(token).OwnerReferences) }
	f.Expect(owners()).To(gomega.Equal(1))
	f.change(token, func() { token.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain })
	f.Eventually(owners).Should(gomega.Equal(0))
	f.change(token, func() { token.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRevoke })
	f.Eventually(owners).Should(gomega.Equal(1))

	// Changed and deleted before the operator sees either.
	value := f.secret(token).Data["CODACY_API_TOKEN"]
	f.change(token, func() { token.Spec.Suspend, token.Spec.DeletionPolicy = true, v1alpha1.DeletionPolicyRetain })
	f.Expect(owners()).To(gomega.Equal(1))
	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyGone(token)
	f.Expect(f.accepts(value)).To(gomega.BeTrue())
	f.Expect(owners()).To(gomega.Equal(0))
}

// The process that wrote the Secret did not get so far as to say so in the status.
func TestWhatTheSecretHoldsIsRetainedThoughTheStatusDoesNotKnow(t *testing.T) {
	f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
	f.issuedCodacyToken(v1alpha1.KindProjectToken, "bystander") // From which it is learned how attempts are found again.
	var written atomic.Bool
	f.fault(func(request *http.Request) int {
		if writes, dryRun := writesSecret(request); writes && !dryRun {
			written.Store(true)
		}
		if written.Load() && strings.HasSuffix(request.URL.Path, "/projecttokens/late/status") {
			return http.StatusInternalServerError
		}
		return 0
	})
	token := f.projectToken("late", "api")
	token.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
	f.create(token)
	f.Eventually(func() error { return k8s.Get(f.ctx, client.ObjectKeyFromObject(token), &corev1.Secret{}) }).Should(gomega.Succeed())
	value := f.secret(token).Data["CODACY_PROJECT_TOKEN"]
	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.fault(func(*http.Request) int { return 0 })
	f.eventuallyGone(token)
	f.Expect(f.accepts(value)).To(gomega.BeTrue(), "it was revoked, and is in the Secret")
	f.expectSame(f.secret(token).Data["CODACY_PROJECT_TOKEN"], value)
	f.Expect(f.retained()).To(gomega.HaveLen(1))

	// Who has its value may have it managed again, though Codacy shows no values.
	again := f.adopting(v1alpha1.KindProjectToken, "late")
	f.create(again)
	f.eventuallyReady(again, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	f.Expect(f.retained()).To(gomega.HaveKey(again.SharedStatus().Token.ID))
}

// stuck is a project token whose deletion is held up, since its repository is not there any more.
func (f *codacyFixture) stuck() (t v1alpha1.Token, value []byte) {
	f.t.Helper()
	t = f.issuedCodacyToken(v1alpha1.KindProjectToken, "stuck")
	value = f.secret(t).Data["CODACY_PROJECT_TOKEN"]
	f.server.RemoveRepository("gh", "acme", "api")
	f.Expect(k8s.Delete(f.ctx, t)).To(gomega.Succeed())
	f.eventuallyStalled(t, v1alpha1.ReasonRevocationUnproven)
	return t, value
}

func TestADeletionThatIsStuckCanBeGivenUp(t *testing.T) {
	f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
	token, _ := f.stuck()
	f.Expect(readyCondition(token).Message).To(gomega.ContainSubstring(v1alpha1.AbandonAnnotation), "nothing says how to go on")
	id := token.SharedStatus().Token.ID

	f.server.ResetRequests()
	f.annotate(token, v1alpha1.AbandonAnnotation, "true")
	f.eventuallyGone(token)
	f.Expect(f.server.Requests()["deleteRepositoryApiToken"]).To(gomega.Equal(1), "it was not tried once more")
	f.Expect(f.retained()).To(gomega.HaveKey(id))
	f.Expect(client.IgnoreNotFound(k8s.Get(f.ctx, client.ObjectKeyFromObject(token), &corev1.Secret{}))).To(gomega.Succeed())
	f.Eventually(f.eventReasons).Should(gomega.ContainElement("LeftBehind"))
}

func TestWhatCanBeRevokedIsNotAbandoned(t *testing.T) {
	f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
	token := f.issuedCodacyToken(v1alpha1.KindProjectToken, "fine")
	value := f.secret(token).Data["CODACY_PROJECT_TOKEN"]
	f.annotate(token, v1alpha1.AbandonAnnotation, "true")
	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyGone(token)
	f.Expect(f.accepts(value)).To(gomega.BeFalse())
	f.Expect(f.retained()).To(gomega.BeEmpty())
}

func TestAnAttemptThatCanNotBeSettledCanBeGivenUp(t *testing.T) {
	f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
	f.issuedCodacyToken(v1alpha1.KindProjectToken, "bystander") // From which it is learned how attempts are found again.
	f.server.Fault(func(operation string, _ *http.Request) codacytest.Fault {
		switch operation {
		case "createRepositoryApiToken":
			return codacytest.Fault{Kind: codacytest.CutAfterActing}
		case "listRepositoryApiTokens":
			return codacytest.Fault{Kind: codacytest.Refuse, Status: http.StatusInternalServerError}
		default:
			return codacytest.Fault{}
		}
	})
	token := f.codacyToken(v1alpha1.KindProjectToken, "open")
	f.create(token)
	f.Eventually(func() *v1alpha1.PendingToken {
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(token), token)).To(gomega.Succeed())
		return token.SharedStatus().Pending
	}).ShouldNot(gomega.BeNil())
	name := token.SharedStatus().Pending.Name
	f.annotate(token, v1alpha1.AbandonAnnotation, "true")
	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyGone(token)
	retained := f.issuerStatus().Retained
	f.Expect(retained).To(gomega.HaveLen(1))
	f.Expect(retained[0].Name).To(gomega.Equal(name))
}
