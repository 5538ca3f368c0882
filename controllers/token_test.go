package controllers_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

func TestAResourceWaitsForWhatIsMissingAndCuresItself(t *testing.T) {
	for name, test := range map[string]struct {
		// spoil takes away what the token needs, cure gives it back.
		spoil, cure func(*fixture)
		reason      string
		message     string
	}{
		"the issuer is created later": {
			spoil: func(f *fixture) {
				f.Expect(k8s.Delete(f.ctx, f.issuer)).To(gomega.Succeed())
				f.eventuallyGone(f.issuer.DeepCopy())
			},
			cure: func(f *fixture) {
				f.issuer.ResourceVersion = ""
				f.create(f.issuer)
			},
			reason: v1alpha1.ReasonIssuerNotFound, message: "create it",
		},
		"the grant is added later": {
			spoil: func(f *fixture) { f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) { s.Grants = nil }) },
			cure: func(f *fixture) {
				f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) { s.Grants = f.issuer.Spec.Grants })
			},
			reason: v1alpha1.ReasonNotGranted, message: "add both to an entry of spec.grants",
		},
		"the account is added later": {
			spoil: func(f *fixture) {
				f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) { s.BuiltIn.Accounts = nil })
			},
			cure: func(f *fixture) {
				f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) { s.BuiltIn.Accounts = f.issuer.Spec.BuiltIn.Accounts })
			},
			reason: v1alpha1.ReasonUnknownAccount, message: "add it to spec.builtIn.accounts",
		},
		"the namespace is labelled later": {
			spoil: func(f *fixture) {
				f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) {
					s.Grants[0].Namespaces = nil
					s.Grants[0].NamespaceSelector = &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": v1alpha1.LabelValue(f.namespace)}}
				})
			},
			cure: func(f *fixture) {
				patch := []byte(`{"metadata":{"labels":{"team":"` + f.namespace + `"}}}`)
				namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.namespace}}
				f.Expect(k8s.Patch(f.ctx, namespace, client.RawPatch("application/merge-patch+json", patch))).To(gomega.Succeed())
			},
			reason: v1alpha1.ReasonNotGranted, message: "does not grant the account",
		},
		"the foreign Secret is still there": {
			spoil: func(f *fixture) {
				f.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "alice"}, StringData: map[string]string{"mine": "x"}})
			},
			cure: func(f *fixture) {
				f.Expect(k8s.Delete(f.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "alice"}})).To(gomega.Succeed())
			},
			reason: v1alpha1.ReasonSecretConflict, message: "it is left as it is",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			test.spoil(f)
			alice := f.accountToken("alice")
			f.create(alice)
			f.eventuallyReady(alice, metav1.ConditionFalse, test.reason)
			f.Expect(readyCondition(alice).Message).To(gomega.ContainSubstring(test.message))
			f.Expect(controllerutil.ContainsFinalizer(alice, v1alpha1.Finalizer)).To(gomega.BeFalse(), "a finalizer although nothing was minted")
			test.cure(f)
			f.eventuallyReady(alice, metav1.ConditionTrue, v1alpha1.ReasonIssued)
		})
	}
}

func TestAnAccountTokenWithoutAccountIsStalledUntilItHasOne(t *testing.T) {
	f := newFixture(t)
	token := f.accountToken("nobody")
	token.Spec.Account = ""
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionFalse, v1alpha1.ReasonAccountRequired)
	f.Expect(conditionTypes(token)).To(gomega.ConsistOf("Ready", "Stalled"))
	token.Spec.Account = "alice"
	f.Expect(k8s.Update(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	f.Expect(conditionTypes(token)).To(gomega.ConsistOf("Ready"))
}

func TestOfTwoResourcesThatNameOneSecretTheFirstKeepsIt(t *testing.T) {
	f := newFixture(t)
	first, second := f.accountToken("first"), f.accountToken("second")
	for _, token := range []*v1alpha1.AccountToken{first, second} {
		token.Spec.Secret = &v1alpha1.SecretTarget{Name: "shared"}
	}
	f.create(first)
	f.eventuallyReady(first, metav1.ConditionTrue, "")
	value := string(f.secret(first).Data["API_TOKEN"])
	f.create(second)
	f.eventuallyReady(second, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	f.Expect(k8s.Delete(f.ctx, second)).To(gomega.Succeed())
	f.eventuallyGone(second)
	if string(f.secret(first).Data["API_TOKEN"]) != value {
		t.Error("the second resource changed the first one's Secret")
	}
}

func TestASecretThatIsLostOrChangedGetsANewTokenAndTheOldOneItsGrace(t *testing.T) {
	for name, damage := range map[string]func(f *fixture, secret *corev1.Secret) error{
		"deleted": func(f *fixture, secret *corev1.Secret) error { return k8s.Delete(f.ctx, secret) },
		"edited": func(f *fixture, secret *corev1.Secret) error {
			secret.Data["API_TOKEN"] = []byte("nonsense")
			return k8s.Update(f.ctx, secret)
		},
		"emptied": func(f *fixture, secret *corev1.Secret) error {
			secret.Data = nil
			return k8s.Update(f.ctx, secret)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			alice := f.issuedAccountToken("alice")
			old := f.secret(alice).Data["API_TOKEN"]
			f.Expect(damage(f, f.secret(alice))).To(gomega.Succeed())
			f.eventuallyRevision(alice, 2)
			fresh := f.secret(alice).Data["API_TOKEN"]
			f.expectStatus(fresh, http.StatusOK)
			f.expectStatus(old, http.StatusOK)
			f.Expect(alice.Status.PreviousTokens).To(gomega.HaveLen(1))
			grace := alice.Status.PreviousTokens[0].RevokeTime.Sub(alice.Status.PreviousTokens[0].ReplacedTime.Time)
			f.Expect(grace).To(gomega.Equal(v1alpha1.DefaultGracePeriod))
		})
	}
}

// The operator may die after it wrote the Secret and before it wrote that down; then the Secret's annotation is all that tells.
func TestAValueThatWasReadBeforeItWasRecordedGetsItsGraceThoughTheSecretIsEdited(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var written atomic.Bool
	f.fault(func(r *http.Request) int {
		writes, dryRun := writesSecret(r)
		if writes && !dryRun {
			written.Store(true)
		}
		if written.Load() && strings.HasSuffix(r.URL.Path, "/status") {
			return http.StatusInternalServerError
		}
		return 0
	})
	alice := f.accountToken("alice")
	f.create(alice)
	var secret corev1.Secret
	f.Eventually(func() error { return k8s.Get(f.ctx, client.ObjectKeyFromObject(alice), &secret) }).Should(gomega.Succeed())
	old := secret.Data["API_TOKEN"]
	secret.Data["API_TOKEN"] = []byte("nonsense")
	f.Expect(k8s.Update(f.ctx, &secret)).To(gomega.Succeed())
	f.fault(func(*http.Request) int { return 0 })
	f.eventuallyRevision(alice, 2)
	f.expectStatus(f.secret(alice).Data["API_TOKEN"], http.StatusOK)
	f.expectStatus(old, http.StatusOK)
	f.Expect(alice.Status.PreviousTokens).To(gomega.HaveLen(1))
	f.Expect(alice.Status.PreviousTokens[0].RevokeTime.Sub(now.Now())).To(gomega.BeNumerically("~", v1alpha1.DefaultGracePeriod, time.Minute))
}

// Not parallel: it moves the clock of the whole suite.
func TestATokenIsRenewedBeforeItExpiresAndThePreviousOneRevokedAfterItsGrace(t *testing.T) {
	f := newFixture(t)
	alice := f.accountToken("alice")
	alice.Spec.Duration = &metav1.Duration{Duration: 240 * time.Hour}
	f.create(alice)
	f.eventuallyReady(alice, metav1.ConditionTrue, "")
	old := f.secret(alice).Data["API_TOKEN"]
	expires, renewal := alice.Status.Token.ExpirationTime.Time, alice.Status.RenewalTime.Time
	f.Expect(expires.Sub(alice.Status.Token.IssueTime.Time)).To(gomega.Equal(240 * time.Hour))
	f.Expect(renewal).To(gomega.BeTemporally("~", expires.Add(-80*time.Hour-12*time.Hour), 12*time.Hour))

	now.SetTime(renewal.Add(time.Second))
	f.touch(alice)
	f.eventuallyRevision(alice, 2)
	f.expectStatus(old, http.StatusOK)
	f.expectStatus(f.secret(alice).Data["API_TOKEN"], http.StatusOK)

	now.SetTime(renewal.Add(v1alpha1.DefaultGracePeriod + time.Minute))
	f.touch(alice)
	f.eventuallyNonePrevious(alice)
	f.Eventually(func() int {
		status, _ := f.authorize(f.issuer.Name, "api-token", old, "")
		return status
	}).Should(gomega.Equal(http.StatusUnauthorized))
	f.expectStatus(f.secret(alice).Data["API_TOKEN"], http.StatusOK)
}

func TestWithoutAChangeNothingIsWritten(t *testing.T) {
	f := newFixture(t)
	alice, api := f.accountToken("alice"), f.projectToken("api", "api")
	for _, token := range []v1alpha1.Token{alice, api} {
		f.create(token)
		f.eventuallyReady(token, metav1.ConditionTrue, "")
	}
	objects := func() []client.Object {
		return []client.Object{alice, api, f.issuer, f.secret(alice), f.secret(api)}
	}
	versions := func() (all []string) {
		for _, o := range objects() {
			f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(o), o)).To(gomega.Succeed())
			all = append(all, o.GetResourceVersion())
		}
		return all
	}
	before := versions()
	// A reconcile that finds nothing to do, which an edit that does not matter to the operator brings about.
	f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) {
		s.Grants = append(s.Grants, v1alpha1.Grant{Namespaces: []v1alpha1.NamespaceName{"elsewhere"}})
	})
	const issuerIndex = 2
	f.Consistently(func() []string {
		after := versions()
		after[issuerIndex] = before[issuerIndex]
		return after
	}, "1s", "50ms").Should(gomega.Equal(before))
}

func TestAnIssuerIsKeptUntilNothingRefersToIt(t *testing.T) {
	f := newFixture(t)
	alice := f.issuedAccountToken("alice")
	f.Expect(k8s.Delete(f.ctx, f.issuer)).To(gomega.Succeed())
	f.Eventually(f.issuerReason).Should(gomega.Equal(v1alpha1.ReasonInUse))
	f.expectStatus(f.secret(alice).Data["API_TOKEN"], http.StatusOK)
	f.Expect(k8s.Delete(f.ctx, alice)).To(gomega.Succeed())
	f.eventuallyGone(alice)
	f.eventuallyGone(f.issuer)
}

func TestAnIssuerWithASelectorThatNobodyUnderstandsSaysSo(t *testing.T) {
	f := newFixture(t)
	f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) {
		s.Grants[0].NamespaceSelector = &v1alpha1.NamespaceSelector{
			MatchExpressions: []v1alpha1.NamespaceSelectorRequirement{{Key: "tier", Operator: metav1.LabelSelectorOpIn}},
		}
	})
	f.Eventually(f.issuerReason).Should(gomega.Equal(v1alpha1.ReasonInvalidSelector))
}

func TestAStatusFromABackupIsNotBelieved(t *testing.T) {
	f := newFixture(t)
	alice := f.issuedAccountToken("alice")
	value := f.secret(alice).Data["API_TOKEN"]

	restored := f.accountToken("restored")
	restored.Spec.Secret = &v1alpha1.SecretTarget{Name: "restored"}
	f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) { s.Grants = nil }) // So that the operator leaves it alone.
	f.create(restored)
	f.eventuallyReady(restored, metav1.ConditionFalse, v1alpha1.ReasonNotGranted)
	restored.Status = alice.Status
	f.Expect(asOperator().Status().Update(f.ctx, restored)).To(gomega.Succeed())
	f.Expect(k8s.Delete(f.ctx, alice)).To(gomega.Succeed())
	f.eventuallyGone(alice)
	f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) { s.Grants = f.issuer.Spec.Grants })
	f.Eventually(func() types.UID {
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(restored), restored)).To(gomega.Succeed())
		return restored.Status.OwnerUID
	}).Should(gomega.Equal(restored.UID))
	f.eventuallyReady(restored, metav1.ConditionTrue, "")
	f.expectStatus(value, http.StatusUnauthorized)
}

func TestTheAPIServerFindsATokenByItsHash(t *testing.T) {
	f := newFixture(t)
	alice := f.issuedAccountToken("alice")
	var found v1alpha1.AccountTokenList
	f.Expect(k8s.List(f.ctx, &found, client.MatchingFields{"status.token.sha256": alice.Status.Token.SHA256})).To(gomega.Succeed())
	f.Expect(found.Items).To(gomega.HaveLen(1))
	f.Expect(k8s.List(f.ctx, &found, client.MatchingFields{"status.pending.sha256": alice.Status.Token.SHA256})).To(gomega.Succeed())
	f.Expect(found.Items).To(gomega.BeEmpty())
}

func TestEventsTellOfTheIssueAndTheRevocation(t *testing.T) {
	f := newFixture(t)
	alice := f.issuedAccountToken("alice")
	f.Expect(k8s.Delete(f.ctx, alice)).To(gomega.Succeed())
	f.Eventually(f.eventReasons).Should(gomega.ConsistOf("Issued", "Revoked"))
}

// touch makes the operator look at a resource.
func (f *fixture) touch(token v1alpha1.Token) {
	f.t.Helper()
	patch := []byte(`{"metadata":{"annotations":{"touched":"` + time.Now().String() + `"}}}`)
	f.Expect(k8s.Patch(f.ctx, token, client.RawPatch("application/merge-patch+json", patch))).To(gomega.Succeed())
}

// changeIssuer changes the issuer's spec and waits until the operator has seen that.
func (f *fixture) changeIssuer(change func(*v1alpha1.ClusterTokenIssuerSpec)) {
	f.t.Helper()
	var issuer v1alpha1.ClusterTokenIssuer
	f.Eventually(func() error {
		if err := k8s.Get(f.ctx, client.ObjectKeyFromObject(f.issuer), &issuer); err != nil {
			return err
		}
		change(&issuer.Spec)
		return k8s.Update(f.ctx, &issuer)
	}).Should(gomega.Succeed())
	f.Eventually(func() int64 { return f.issuerStatus().ObservedGeneration }).Should(gomega.Equal(issuer.Generation))
}

func (f *fixture) issuerStatus() v1alpha1.IssuerStatus {
	f.t.Helper()
	var issuer v1alpha1.ClusterTokenIssuer
	f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(f.issuer), &issuer)).To(gomega.Succeed())
	return issuer.Status
}

// issuerReason is the reason of the issuer's Ready condition that the operator goes by.
func (f *fixture) issuerReason() string {
	f.t.Helper()
	var issuer v1alpha1.ClusterTokenIssuer
	f.Expect(client.IgnoreNotFound(cached.Get(f.ctx, client.ObjectKeyFromObject(f.issuer), &issuer))).To(gomega.Succeed())
	for _, condition := range issuer.Status.Conditions {
		if condition.Type == v1alpha1.ConditionReady {
			return condition.Reason
		}
	}
	return ""
}

func (f *fixture) eventuallyRevision(t v1alpha1.Token, revision int64) {
	f.t.Helper()
	f.Eventually(func(g gomega.Gomega) {
		g.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(t), t)).To(gomega.Succeed())
		g.Expect(t.SharedStatus().Token).NotTo(gomega.BeNil())
		g.Expect(t.SharedStatus().Token.Revision).To(gomega.Equal(revision))
		g.Expect(t.SharedStatus().Pending).To(gomega.BeNil())
	}).Should(gomega.Succeed())
}

// expectStatus asks the authority about an account token.
func (f *fixture) expectStatus(value []byte, want int) {
	f.t.Helper()
	if got, _ := f.authorize(f.issuer.Name, "api-token", value, ""); got != want {
		f.t.Errorf("the authority answers %d, want %d", got, want)
	}
}

func conditionTypes(t v1alpha1.Token) (types []string) {
	for _, condition := range t.SharedStatus().Conditions {
		types = append(types, condition.Type)
	}
	return types
}
