package controllers_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

func TestATemplatedSecretFollowsItsTemplateAroundTheSameToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	api := f.projectToken("api", "api")
	api.Spec.Secret = &v1alpha1.SecretTarget{
		TokenKey: "TOKEN",
		Template: &v1alpha1.SecretTemplate{
			Metadata: &v1alpha1.SecretMetadata{
				Labels:      map[string]v1alpha1.LabelValue{"app": "web", "tier": "ci"},
				Annotations: map[string]v1alpha1.AnnotationValue{"example.com/note": "made"},
			},
			Data: map[string]v1alpha1.TemplateText{
				".npmrc": "//npm.example/:_authToken={{ .Token }}\n",
				"where":  "{{ .Provider }}/{{ .Organization }}/{{ .Repository }} r{{ .Revision }}",
			},
		},
	}
	f.create(api)
	f.eventuallyReady(api, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	secret := f.secret(api)
	value := string(secret.Data["TOKEN"])
	f.Expect(secret.Labels).To(gomega.HaveKeyWithValue("tier", "ci"))
	f.Expect(secret.Annotations).To(gomega.HaveKeyWithValue("example.com/note", "made"))
	f.Expect(secret.Data).To(gomega.HaveLen(3))
	f.Expect(string(secret.Data["where"])).To(gomega.Equal("gh/acme/api r1"))
	if string(secret.Data[".npmrc"]) != "//npm.example/:_authToken="+value+"\n" {
		t.Error("the template was not rendered with the token")
	}

	// Others add metadata of their own, and the template changes.
	f.change(secret, func() { secret.Labels["theirs"], secret.Annotations["theirs"] = "x", "y" })
	f.change(api, func() {
		delete(api.Spec.Secret.Template.Metadata.Labels, "tier")
		api.Spec.Secret.Template.Metadata.Annotations = nil
		delete(api.Spec.Secret.Template.Data, ".npmrc")
		api.Spec.Secret.Template.Data["account"] = `{{ .Account | default "none" }}`
	})
	f.Eventually(func(g gomega.Gomega) {
		secret := f.secret(api)
		g.Expect(secret.Labels).To(gomega.Equal(map[string]string{"app": "web", "theirs": "x", v1alpha1.ManagedLabel: "true"}))
		g.Expect(secret.Annotations).NotTo(gomega.HaveKey("example.com/note"))
		g.Expect(secret.Annotations).To(gomega.HaveKeyWithValue("theirs", "y"))
		g.Expect(secret.Data).To(gomega.HaveLen(3))
		g.Expect(string(secret.Data["account"])).To(gomega.Equal("none"))
		g.Expect(string(secret.Data["TOKEN"]) == value).To(gomega.BeTrue(), "a template's change made a new token")
	}).Should(gomega.Succeed())
	f.eventuallyRevision(api, 1)
}

func TestWhatIsTakenFromASecretIsPutBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.issuedAccountToken("alice")
	value := string(f.secret(alice).Data["API_TOKEN"])
	for name, damage := range map[string]func(*corev1.Secret){
		"the label, without which the cache does not hold it": func(s *corev1.Secret) { s.Labels = nil },
		"the owner reference":  func(s *corev1.Secret) { s.OwnerReferences = nil },
		"the token's id":       func(s *corev1.Secret) { delete(s.Annotations, v1alpha1.TokenIDAnnotation) },
		"a key that was added": func(s *corev1.Secret) { s.Data["MORE"] = []byte("x") },
	} {
		whole := f.secret(alice)
		secret := whole.DeepCopy()
		f.change(secret, func() { damage(secret) })
		f.Eventually(func(g gomega.Gomega) {
			now := f.secret(alice)
			g.Expect(now.Labels).To(gomega.Equal(whole.Labels))
			g.Expect(now.Annotations).To(gomega.Equal(whole.Annotations))
			g.Expect(now.OwnerReferences).To(gomega.Equal(whole.OwnerReferences))
			g.Expect(now.Data).To(gomega.HaveLen(1))
			g.Expect(string(now.Data["API_TOKEN"]) == value).To(gomega.BeTrue(), "another token")
		}).Should(gomega.Succeed(), name)
	}
}

func TestASecretThatIsReplacedByAForeignOneIsLeftAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.issuedAccountToken("alice")
	secret := f.secret(alice)
	f.change(secret, func() { secret.Annotations[v1alpha1.OwnerAnnotation] = "somebody else" })
	f.eventuallyReady(alice, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	f.Expect(k8s.Delete(f.ctx, secret)).To(gomega.Succeed())
	f.eventuallyReady(alice, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	f.eventuallyRevision(alice, 2)
}

func TestAnImmutableSecretIsToldAndReplacedOnceItIsDeleted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.issuedAccountToken("alice")
	secret := f.secret(alice)
	yes := true
	f.change(secret, func() { secret.Immutable = &yes })
	f.change(alice, func() {
		alice.Spec.Secret = &v1alpha1.SecretTarget{Template: &v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{"who": "{{ .Account }}"}}}
	})
	f.Eventually(func() []string {
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(alice), alice)).To(gomega.Succeed())
		return conditionTypes(alice)
	}).Should(gomega.ConsistOf("Ready", "Stalled"))
	// The token in it is as good as ever.
	f.Expect(readyCondition(alice).Status).To(gomega.Equal(metav1.ConditionTrue))
	f.Expect(readyCondition(alice).Message).To(gomega.ContainSubstring("is immutable: delete it, and it is written anew"))
	f.Expect(k8s.Delete(f.ctx, secret)).To(gomega.Succeed())
	f.eventuallyRevision(alice, 2)
	f.Expect(string(f.secret(alice).Data["who"])).To(gomega.Equal("alice"))
}

func TestASuspendedResourceIsLeftAsItIsAndStillDeleted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.issuedAccountToken("alice")
	value := f.secret(alice).Data["API_TOKEN"]
	f.change(alice, func() { alice.Spec.Suspend = true })
	f.eventuallyReady(alice, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	f.Expect(readyCondition(alice).Message).To(gomega.ContainSubstring("Suspended"))
	f.Expect(k8s.Delete(f.ctx, f.secret(alice))).To(gomega.Succeed())
	f.eventuallyReady(alice, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
	f.expectStatus(value, http.StatusOK)
	f.Expect(k8s.Delete(f.ctx, alice)).To(gomega.Succeed())
	f.eventuallyGone(alice)
	f.expectStatus(value, http.StatusUnauthorized)
}

func TestALoopWithAnotherControllerEndsInAMintStorm(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.accountToken("alice")
	f.create(alice)
	for revision := int64(1); revision <= 5; revision++ {
		f.eventuallyRevision(alice, revision)
		f.Expect(k8s.Delete(f.ctx, f.secret(alice))).To(gomega.Succeed())
	}
	f.eventuallyReady(alice, metav1.ConditionFalse, v1alpha1.ReasonMintStorm)
	f.touch(alice)
	f.Consistently(func() bool {
		err := k8s.Get(f.ctx, client.ObjectKey{Namespace: f.namespace, Name: "alice"}, &corev1.Secret{})
		return apierrors.IsNotFound(err)
	}, "500ms", "50ms").Should(gomega.BeTrue(), "minted in the storm")
	f.change(alice, func() { alice.Spec.Duration = &metav1.Duration{Duration: 100 * time.Hour} })
	f.eventuallyReady(alice, metav1.ConditionTrue, v1alpha1.ReasonIssued)
}

func TestWritesThatFailInPassingCostOneTokenAndNoStorm(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.fault(func(request *http.Request) int {
		if writes, _ := writesSecret(request); writes {
			return http.StatusInternalServerError
		}
		return 0
	})
	alice := f.accountToken("alice")
	f.create(alice)
	f.Eventually(func() (failed int) {
		for _, request := range f.requests() {
			if strings.HasPrefix(request, "POST") && strings.HasSuffix(request, "/secrets") {
				failed++
			}
		}
		return failed
	}).Should(gomega.BeNumerically(">", 7), "it gave up")
	f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(alice), alice)).To(gomega.Succeed())
	f.Expect(alice.Status.Mints).To(gomega.HaveLen(1))
	f.Expect(conditionTypes(alice)).To(gomega.ConsistOf("Ready", "Reconciling"))
	f.Expect(readyCondition(alice).Message).To(gomega.ContainSubstring("Trying again"))
	f.fault(func(*http.Request) int { return 0 })
	f.eventuallyReady(alice, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	f.Expect(alice.Status.PreviousTokens).To(gomega.BeEmpty())
	f.expectStatus(f.secret(alice).Data["API_TOKEN"], http.StatusOK)
}

func TestAnAdmissionThatMindsOnlyTheTokenItselfEndsInAMintStorm(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.fault(func(request *http.Request) int {
		if writes, dryRun := writesSecret(request); writes && !dryRun {
			return http.StatusForbidden
		}
		return 0
	})
	alice := f.accountToken("alice")
	f.create(alice)
	f.eventuallyReady(alice, metav1.ConditionFalse, v1alpha1.ReasonMintStorm)
	f.Expect(alice.Status.Mints).To(gomega.HaveLen(6))
	f.fault(func(*http.Request) int { return 0 })
	f.change(alice, func() { alice.Spec.Duration = &metav1.Duration{Duration: 100 * time.Hour} })
	f.eventuallyReady(alice, metav1.ConditionTrue, v1alpha1.ReasonIssued)
}

func TestNothingIsMintedIntoANamespaceThatIsBeingDeleted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) { s.Grants = nil })
	alice := f.accountToken("alice")
	f.create(alice)
	f.eventuallyReady(alice, metav1.ConditionFalse, v1alpha1.ReasonNotGranted)
	// Without a namespace controller it stays in this state.
	f.Expect(k8s.Delete(f.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.namespace}})).To(gomega.Succeed())
	f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) { s.Grants = f.issuer.Spec.Grants })
	f.eventuallyReady(alice, metav1.ConditionFalse, v1alpha1.ReasonNamespaceTerminating)
	f.Expect(alice.Status.Mints).To(gomega.BeEmpty())
	f.Expect(k8s.Delete(f.ctx, alice)).To(gomega.Succeed())
	f.eventuallyGone(alice)
}

// Not parallel: the other tests would wait behind it.
func TestAThousandTokensOfOneAccountAreEachTheirOwn(t *testing.T) {
	f := newFixture(t)
	const count = 1000
	var creators sync.WaitGroup
	for creator := range 10 {
		creators.Go(func() {
			for i := creator; i < count; i += 10 {
				if err := k8s.Create(f.ctx, f.accountToken(fmt.Sprintf("token-%d", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	creators.Wait()
	var secrets corev1.SecretList
	f.Eventually(func() int {
		f.Expect(k8s.List(f.ctx, &secrets, client.InNamespace(f.namespace), client.HasLabels{v1alpha1.ManagedLabel})).To(gomega.Succeed())
		return len(secrets.Items)
	}, "2m", "500ms").Should(gomega.Equal(count))
	values := map[string]bool{}
	for i := range secrets.Items {
		values[string(secrets.Items[i].Data["API_TOKEN"])] = true
	}
	f.Expect(values).To(gomega.HaveLen(count))
	f.Expect(k8s.Delete(f.ctx, f.accountToken("token-7"))).To(gomega.Succeed())
	f.eventuallyGone(f.accountToken("token-7"))
	f.expectStatus(secrets.Items[0].Data["API_TOKEN"], http.StatusOK)
}

// Not parallel: it moves the clock of the whole suite.
func TestAClockThatJumpsNeitherLosesNorMultipliesTokens(t *testing.T) {
	f := newFixture(t)
	begin := now.Now()
	alice := f.issuedAccountToken("alice")

	now.SetTime(begin.Add(-1000 * time.Hour))
	f.touch(alice)
	f.expectStatus(f.secret(alice).Data["API_TOKEN"], http.StatusOK)
	f.eventuallyRevision(alice, 1)

	now.SetTime(begin.Add(2 * 8760 * time.Hour)) // Two years on, everything has expired.
	f.touch(alice)
	f.eventuallyRevision(alice, 2)
	fresh := f.secret(alice).Data["API_TOKEN"]
	f.expectStatus(fresh, http.StatusOK)

	now.SetTime(begin)
	f.touch(alice)
	f.eventuallyReady(alice, metav1.ConditionTrue, "")
	f.expectStatus(fresh, http.StatusOK)
	f.eventuallyRevision(alice, 2)
	f.Expect(alice.Status.PreviousTokens).To(gomega.BeEmpty())
}
