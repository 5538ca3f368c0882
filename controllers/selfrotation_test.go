package controllers_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/testenv"
	"github.com/tokensteward/tokensteward/internal/token"
)

// newSelfRotating makes a stand-in and a TokenIssuer whose credential, that a person made, the AccountToken root takes over.
func newSelfRotating(t *testing.T, edition string, expires *time.Time) (f *codacyFixture, root v1alpha1.Token) {
	t.Helper()
	f = startCodacy(t, codacyEdition(t, edition), allowedHost)
	f.issuer = &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}
	f.credential = f.server.CreateAccountToken(f.account, expires)
	f.handmadeSecret("root", v1alpha1.DefaultCredentialsKey, f.credential.Value.Reveal())
	f.create(f.tokenIssuer("root"))
	root = ofTokenIssuer(f.adopting(v1alpha1.KindAccountToken, "root"))
	root.SharedSpec().Rotation = &v1alpha1.Rotation{GracePeriod: hours(1), WaitForConsumers: hours(0)}
	f.create(root)
	f.eventuallyReady(root, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	return f, root
}

// robotStatus is the status of the TokenIssuer.
func (f *codacyFixture) robotStatus() v1alpha1.IssuerStatus {
	f.t.Helper()
	var issuer v1alpha1.TokenIssuer
	f.Expect(k8s.Get(f.ctx, client.ObjectKey{Namespace: f.namespace, Name: "robot"}, &issuer)).To(gomega.Succeed())
	return issuer.Status
}

func TestTheCredentialOfAnIssuerRotatesItself(t *testing.T) {
	expires := now.Now().Add(80 * 24 * time.Hour)
	f, root := newSelfRotating(t, "cloud-2025-07", &expires)
	user := ofTokenIssuer(f.codacyToken(v1alpha1.KindProjectToken, "user"))
	f.create(user)
	f.eventuallyReady(user, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	f.Expect(root.SharedStatus().Token.ID).To(gomega.Equal(strconv.FormatInt(f.credential.ID, 10)))

	begin := now.Now()
	defer now.SetTime(begin)
	for revision := int64(2); revision <= 3; revision++ {
		now.SetTime(root.SharedStatus().RenewalTime.Add(time.Second))
		f.touch(root)
		f.eventuallyRevision(root, revision)
		f.Eventually(func() string { return f.robotStatus().CredentialSHA256 }).Should(gomega.Equal(root.SharedStatus().Token.SHA256), "the issuer did not take the new one up")
		f.Expect(meta.IsStatusConditionTrue(f.robotStatus().Conditions, v1alpha1.ConditionReady)).To(gomega.BeTrue())
		now.SetTime(now.Now().Add(2 * time.Hour))
		f.touch(root)
		f.eventuallyNonePrevious(root)
	}
	f.Expect(f.server.Accepts(f.credential.Value.Reveal())).To(gomega.BeFalse())
	secret := f.secret(root)
	f.Expect(string(secret.Data["UNRELATED"])).To(gomega.Equal("kept"))
	f.Expect(secret.Labels[v1alpha1.ManagedLabel]).To(gomega.Equal(v1alpha1.ManagedCredentials))
	f.Expect(token.SHA256(secret.Data[v1alpha1.DefaultCredentialsKey])).To(gomega.Equal(root.SharedStatus().Token.SHA256))
	f.rotate(user, "with the newest")
	f.Eventually(func() bool { return f.accepts(f.secret(user).Data["CODACY_PROJECT_TOKEN"]) }).Should(gomega.BeTrue())

	// Deleted in the wrong order, it outlives who needs it.
	f.Expect(k8s.Delete(f.ctx, root)).To(gomega.Succeed())
	f.Eventually(func() string {
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(root), root)).To(gomega.Succeed())
		return readyCondition(root).Message
	}).Should(gomega.ContainSubstring("kept while TokenIssuer \"robot\" asks Codacy with it for other resources: 1 left"))
	f.Expect(f.accepts(secret.Data[v1alpha1.DefaultCredentialsKey])).To(gomega.BeTrue())
	f.Expect(k8s.Delete(f.ctx, user)).To(gomega.Succeed())
	f.eventuallyGone(user)
	now.SetTime(now.Now().Add(10 * time.Second))
	f.eventuallyGone(root)
	f.Expect(f.minted()).To(gomega.BeEmpty(), "it did not revoke itself")
	f.expectKeys(root, "UNRELATED")
}

func TestTheCredentialIsNotRevokedBeforeTheIssuerHasTakenUpTheNextOne(t *testing.T) {
	expires := now.Now().Add(80 * 24 * time.Hour)
	f, root := newSelfRotating(t, "cloud-2025-07", &expires)
	f.server.Fault(codacytest.Times(1<<30, "getUser", codacytest.Fault{Kind: codacytest.Refuse, Status: 500}))
	f.rotate(root, "once")
	begin := now.Now()
	defer now.SetTime(begin)
	now.SetTime(begin.Add(2 * time.Hour)) // Its grace period is over.
	f.touch(root)
	f.eventuallyTouched(root)
	f.Expect(f.server.Accepts(f.credential.Value.Reveal())).To(gomega.BeTrue())

	f.server.Fault(nil)
	now.SetTime(now.Now().Add(10 * time.Minute))
	f.Eventually(func() string { return f.robotStatus().CredentialSHA256 }).Should(gomega.Equal(root.SharedStatus().Token.SHA256))
	f.touch(root)
	f.eventuallyNonePrevious(root)
	f.Expect(f.server.Accepts(f.credential.Value.Reveal())).To(gomega.BeFalse())
}

// The answer to its own revocation is lost: that the service refuses it since, and goes on to, is the proof.
func TestACredentialThatRevokedItselfUnheardIsLetGo(t *testing.T) {
	expires := now.Now().Add(80 * 24 * time.Hour)
	f, root := newSelfRotating(t, "cloud-2025-07", &expires)
	f.server.Fault(codacytest.Times(1, "deleteUserApiToken", codacytest.Fault{Kind: codacytest.CutAfterActing}))
	f.Expect(k8s.Delete(f.ctx, root)).To(gomega.Succeed())
	f.Eventually(func() bool { return f.server.Accepts(f.credential.Value.Reveal()) }).Should(gomega.BeFalse())
	f.Eventually(f.robotRefused).Should(gomega.BeTrue())
	f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(root), root)).To(gomega.Succeed(), "it was let go at the first refusal")

	begin := now.Now()
	defer now.SetTime(begin)
	now.SetTime(begin.Add(61 * time.Minute))
	f.touchRobot() // Time passes for the test alone; the issuer would come back by itself.
	f.eventuallyGone(root)
	f.Eventually(f.eventReasons).Should(gomega.ContainElement("Revoked"))
}

// touchRobot has the TokenIssuer looked at.
func (f *codacyFixture) touchRobot() {
	f.t.Helper()
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "robot"}}
	f.Expect(k8s.Patch(f.ctx, issuer, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"touched":"yes"}}}`)))).To(gomega.Succeed())
}

// Somebody pastes a wrong credential over the right one: that it is refused says nothing of the right one.
func TestAnotherCredentialThatIsRefusedProvesNothing(t *testing.T) {
	expires := now.Now().Add(80 * 24 * time.Hour)
	f, root := newSelfRotating(t, "cloud-2025-07", &expires)
	f.change(root, func() { root.SharedSpec().Suspend = true })
	f.eventuallyReady(root, metav1.ConditionTrue, "")
	secret := f.secret(root)
	f.change(secret, func() { secret.Data[v1alpha1.DefaultCredentialsKey] = []byte("ABCDEFGHIJKLMNOPQRST") })
	f.Eventually(f.robotRefused).Should(gomega.BeTrue())
	f.Expect(k8s.Delete(f.ctx, root)).To(gomega.Succeed())
	begin := now.Now()
	defer now.SetTime(begin)
	f.server.ResetRequests()
	now.SetTime(begin.Add(61 * time.Minute))
	f.touchRobot()
	f.Eventually(func() int { return f.server.Requests()["getUser"] }).Should(gomega.BeNumerically(">", 0), "it was not tried again")
	f.touch(root)
	f.Consistently(func() error { return k8s.Get(f.ctx, client.ObjectKeyFromObject(root), root) }, "500ms").Should(gomega.Succeed())
	f.Expect(f.server.Accepts(f.credential.Value.Reveal())).To(gomega.BeTrue())
	now.SetTime(begin)

	f.change(secret, func() { secret.Data[v1alpha1.DefaultCredentialsKey] = []byte(f.credential.Value.Reveal()) })
	f.eventuallyGone(root)
	f.Expect(f.server.Accepts(f.credential.Value.Reveal())).To(gomega.BeFalse())
}

func (f *codacyFixture) robotRefused() bool {
	f.t.Helper()
	stalled := meta.FindStatusCondition(f.robotStatus().Conditions, v1alpha1.ConditionStalled)
	return stalled != nil && stalled.Reason == v1alpha1.ReasonCredentialsRefused
}

// kubectl delete secret, kubectl create secret, with a credential that somebody made by hand.
func TestACredentialsSecretThatWasCreatedAnewIsTakenUp(t *testing.T) {
	expires := now.Now().Add(80 * 24 * time.Hour)
	f, root := newSelfRotating(t, "cloud-2025-07", &expires)
	f.takesUpWhatWasCreatedAnew(root, &expires)
}

// So it is if the first credential was not made by hand either: the issuer was pointed to the Secret of an AccountToken.
func TestTheSecretOfACredentialThatWasNotTakenOverCanBeCreatedAnew(t *testing.T) {
	expires := now.Now().Add(80 * 24 * time.Hour)
	f := startCodacy(t, codacyEdition(t, "cloud-2025-07"), allowedHost)
	f.issuer = &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}
	f.putCredential(f.namespace, "by-hand", f.credential)
	f.create(f.tokenIssuer("by-hand"))
	root := ofTokenIssuer(f.codacyToken(v1alpha1.KindAccountToken, "root"))
	f.create(root)
	f.eventuallyReady(root, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	robot := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "robot"}}
	f.change(robot, func() { robot.Spec.Codacy.CredentialsSecretRef.Name = "root" })
	f.Eventually(func() string { return f.robotStatus().CredentialSHA256 }).Should(gomega.Equal(root.SharedStatus().Token.SHA256))
	f.takesUpWhatWasCreatedAnew(root, &expires)
}

func (f *codacyFixture) takesUpWhatWasCreatedAnew(root v1alpha1.Token, expires *time.Time) {
	f.t.Helper()
	// Otherwise it is quicker: it makes another token with the credential that it still has.
	f.change(root, func() { root.SharedSpec().Suspend = true })
	f.Expect(k8s.Delete(f.ctx, f.secret(root))).To(gomega.Succeed())
	f.Eventually(func() bool {
		return apierrors.IsNotFound(k8s.Get(f.ctx, client.ObjectKey{Namespace: f.namespace, Name: "root"}, &corev1.Secret{}))
	}).Should(gomega.BeTrue())
	second := f.server.CreateAccountToken(f.account, expires)
	f.handmadeSecret("root", v1alpha1.DefaultCredentialsKey, second.Value.Reveal())
	f.Eventually(func() string { return f.robotStatus().CredentialSHA256 }).Should(gomega.Equal(second.Value.SHA256()))
	f.change(root, func() { root.SharedSpec().Suspend = false })
	f.eventuallyRevision(root, 2)
	f.Eventually(func() string { return f.robotStatus().CredentialSHA256 }).Should(gomega.Equal(root.SharedStatus().Token.SHA256))
	f.Expect(f.server.Accepts(second.Value.Reveal())).To(gomega.BeTrue(), "it is its maker's")
}

// Who has a copy of somebody's token, and an issuer in a namespace of theirs that uses it, does not keep it alive.
func TestACopyElsewhereDoesNotKeepATokenAlive(t *testing.T) {
	f := newCodacy(t, codacyEdition(t, "cloud-2025-07"))
	token := f.issuedCodacyToken(v1alpha1.KindAccountToken, "leaked")
	value := f.secret(token).Data["CODACY_API_TOKEN"]
	thief := startCodacy(t, codacyEdition(t, "cloud-2025-07"), "127.0.0.1:0")
	thief.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.Namespace, Name: thief.namespace},
		Data:       map[string][]byte{v1alpha1.DefaultCredentialsKey: value},
	})
	other := f.issuer.DeepCopy()
	other.ObjectMeta = metav1.ObjectMeta{Name: thief.namespace}
	other.Spec.Codacy.CredentialsSecretRef.Name = thief.namespace
	other.Spec.Grants[0].Namespaces = []v1alpha1.NamespaceName{v1alpha1.NamespaceName(thief.namespace)}
	thief.issuer = other
	thief.create(other)
	user := thief.issuedCodacyToken(v1alpha1.KindAccountToken, "user")
	f.Expect(user.SharedStatus().Token).NotTo(gomega.BeNil())
	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyGone(token)
	f.Expect(f.accepts(value)).To(gomega.BeFalse())
}

func TestASelfRotatingCredentialGoesWithEverythingElse(t *testing.T) {
	expires := now.Now().Add(80 * 24 * time.Hour)
	f, root := newSelfRotating(t, "cloud-2025-07", &expires)
	f.rotate(root, "once")
	user := ofTokenIssuer(f.codacyToken(v1alpha1.KindProjectToken, "user"))
	f.create(user)
	f.eventuallyReady(user, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	issuer := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "robot"}}
	credentials := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "root"}}
	for _, o := range []client.Object{issuer, root, user} {
		f.Expect(k8s.Delete(f.ctx, o)).To(gomega.Succeed())
	}
	f.eventuallyGone(user)
	begin := now.Now()
	defer now.SetTime(begin)
	now.SetTime(begin.Add(10 * time.Second))
	f.eventuallyGone(root)
	f.eventuallyGone(issuer)
	f.Expect(f.minted()).To(gomega.BeEmpty())
	f.Expect(f.server.Accepts(f.credential.Value.Reveal())).To(gomega.BeFalse())
	f.Expect(k8s.Delete(f.ctx, credentials)).To(gomega.Succeed())
	f.Eventually(func() bool {
		return apierrors.IsNotFound(k8s.Get(f.ctx, client.ObjectKeyFromObject(credentials), &corev1.Secret{}))
	}).Should(gomega.BeTrue())
}
