package controllers_test

import (
	"bytes"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

func hours(n int) *metav1.Duration { return &metav1.Duration{Duration: time.Duration(n) * time.Hour} }

// rotating is an account token with a life of 90 days, and how it is replaced.
func (f *fixture) rotating(name string, rotation *v1alpha1.Rotation) *v1alpha1.AccountToken {
	f.t.Helper()
	token := f.accountToken(name)
	token.Spec.Rotation = rotation
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	return token
}

// rotate asks for a rotation and waits for it.
func (f *fixture) rotate(t v1alpha1.Token, request string) {
	f.t.Helper()
	revision := t.SharedStatus().Token.Revision
	f.annotate(t, v1alpha1.RotateRequestAnnotation, request)
	f.eventuallyRevision(t, revision+1)
}

// eventuallyNonePrevious waits until all replaced tokens are revoked.
func (f *fixture) eventuallyNonePrevious(t v1alpha1.Token) {
	f.t.Helper()
	f.Eventually(func() []v1alpha1.PreviousToken {
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(t), t)).To(gomega.Succeed())
		return t.SharedStatus().PreviousTokens
	}).Should(gomega.BeEmpty())
}

// eventuallyRefused waits until the authority has seen that a token was struck off.
func (f *fixture) eventuallyRefused(value []byte) {
	f.t.Helper()
	f.Eventually(func() int {
		status, _ := f.authorize(f.issuer.Name, "api-token", value, "")
		return status
	}).Should(gomega.Equal(http.StatusUnauthorized))
}

func TestATokenIsReplacedRenewBeforeItsExpiry(t *testing.T) {
	f := newFixture(t)
	token := f.accountToken("early")
	token.Spec.Duration, token.Spec.RenewBefore = hours(1000), hours(400)
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	expires := token.Status.Token.ExpirationTime.Time
	// Earlier by up to a tenth of the duration.
	f.Expect(token.Status.RenewalTime.Time).To(gomega.And(
		gomega.BeTemporally(">=", expires.Add(-500*time.Hour)), gomega.BeTemporally("<=", expires.Add(-400*time.Hour))))

	late := f.accountToken("late")
	late.Spec.Duration, late.Spec.RenewBefore = hours(1000), hours(990)
	f.create(late)
	f.eventuallyReady(late, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	f.Expect(readyCondition(late).Message).To(gomega.ContainSubstring("renewBefore does not fit"))

	f.change(token, func() { token.Spec.RenewBefore = hours(700) })
	f.Eventually(func() string {
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(token), token)).To(gomega.Succeed())
		return readyCondition(token).Message
	}).Should(gomega.And(gomega.ContainSubstring("applies from the next token on"), gomega.Not(gomega.ContainSubstring("does not fit"))))
}

func TestARotationThatIsAskedForIsDoneOnce(t *testing.T) {
	f := newFixture(t)
	token := f.rotating("asked", &v1alpha1.Rotation{GracePeriod: hours(1), WaitForConsumers: hours(0)})
	first := f.secret(token).Data["API_TOKEN"]
	f.rotate(token, "monday")
	f.Expect(token.Status.LastRotateRequest).To(gomega.Equal("monday"))
	second := f.secret(token).Data["API_TOKEN"]
	f.Expect(bytes.Equal(first, second)).To(gomega.BeFalse(), "the same value twice")
	previous := token.Status.PreviousTokens[0]
	f.Expect(previous.RevokeTime.Sub(previous.ReplacedTime.Time)).To(gomega.Equal(time.Hour))
	f.expectStatus(first, http.StatusOK)

	f.touch(token)
	f.eventuallyTouched(token)
	f.Expect(token.Status.Token.Revision).To(gomega.Equal(int64(2)), "the same request twice")

	begin := now.Now()
	defer now.SetTime(begin)
	now.SetTime(previous.RevokeTime.Add(time.Second))
	f.touch(token)
	f.eventuallyNonePrevious(token)
	f.eventuallyRefused(first)
	f.expectStatus(second, http.StatusOK)
}

func TestARotationThatIsAskedForWaitsWhileThreeTokensLive(t *testing.T) {
	f := newFixture(t)
	token := f.rotating("eager", nil)
	for _, request := range []string{"1", "2", "3"} {
		f.rotate(token, request)
	}
	f.annotate(token, v1alpha1.RotateRequestAnnotation, "4")
	f.Eventually(func() string {
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(token), token)).To(gomega.Succeed())
		return readyCondition(token).Message
	}).Should(gomega.ContainSubstring("three replaced tokens are not revoked yet"))
	f.Expect(token.Status.Token.Revision).To(gomega.Equal(int64(4)))

	begin := now.Now()
	defer now.SetTime(begin)
	now.SetTime(token.Status.PreviousTokens[2].RevokeTime.Add(time.Second))
	f.touch(token)
	f.eventuallyRevision(token, 5)
}

func TestAReplacedTokenIsKeptForAPodThatHoldsIt(t *testing.T) {
	f := newFixture(t)
	token := f.rotating("held", &v1alpha1.Rotation{GracePeriod: hours(1)})
	first := f.secret(token).Data["API_TOKEN"]
	pod := f.runPod("web", "held", now.Now().Add(-time.Minute))
	f.runPod("bystander", "another", now.Now().Add(-time.Minute))
	f.rotate(token, "once")
	f.runPod("younger", "held", now.Now().Add(time.Hour))

	begin := now.Now()
	defer now.SetTime(begin)
	now.SetTime(token.Status.PreviousTokens[0].RevokeTime.Add(time.Second))
	f.touch(token)
	f.Eventually(func() []v1alpha1.PodName {
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(token), token)).To(gomega.Succeed())
		return token.Status.PreviousTokens[0].HeldBy
	}).Should(gomega.Equal([]v1alpha1.PodName{"web"}))
	f.Expect(readyCondition(token).Message).To(gomega.And(gomega.ContainSubstring("Revision 1 is kept"), gomega.ContainSubstring("web")))
	f.Expect(conditionTypes(token)).To(gomega.Equal([]string{v1alpha1.ConditionReady}))
	f.expectStatus(first, http.StatusOK)
	f.Eventually(f.eventReasons).Should(gomega.ContainElement("Held"))

	// Its container restarts, and takes the new value.
	f.setStarted(pod, now.Now())
	now.SetTime(now.Now().Add(3 * time.Minute))
	f.touch(token)
	f.eventuallyNonePrevious(token)
	f.eventuallyRefused(first)
	f.Expect(readyCondition(token).Message).NotTo(gomega.ContainSubstring("kept"))
}

func TestAReplacedTokenIsKeptNoLongerThanSpecSays(t *testing.T) {
	f := newFixture(t)
	token := f.rotating("bounded", &v1alpha1.Rotation{GracePeriod: hours(1), WaitForConsumers: hours(2)})
	first := f.secret(token).Data["API_TOKEN"]
	f.runPod("web", "bounded", now.Now().Add(-time.Minute))
	f.rotate(token, "once")
	begin := now.Now()
	defer now.SetTime(begin)
	for _, test := range []struct {
		at   time.Duration // after the grace period
		want int
	}{{time.Minute, http.StatusOK}, {2*time.Hour + time.Minute, http.StatusUnauthorized}} {
		now.SetTime(begin.Add(time.Hour + test.at))
		f.touch(token)
		f.eventuallyTouched(token)
		f.Eventually(func() int {
			status, _ := f.authorize(f.issuer.Name, "api-token", first, "")
			return status
		}).Should(gomega.Equal(test.want))
	}
}

func TestATokenThatLeakedIsReplacedAndRevokedAtOnceWhoeverHoldsIt(t *testing.T) {
	f := newFixture(t)
	token := f.rotating("leaked", &v1alpha1.Rotation{GracePeriod: hours(24)})
	first := f.secret(token).Data["API_TOKEN"]
	f.runPod("web", "leaked", now.Now().Add(-time.Minute))
	f.rotate(token, "before that")
	second := f.secret(token).Data["API_TOKEN"]
	for _, nonsense := range []string{"-1", "all", "7"} {
		f.annotate(token, v1alpha1.CompromisedAnnotation, nonsense)
		f.Eventually(func() string {
			f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(token), token)).To(gomega.Succeed())
			return readyCondition(token).Message
		}).Should(gomega.ContainSubstring("compromised-revision is \"" + nonsense + "\", which is no revision"))
	}
	f.Expect(token.Status.Token.Revision).To(gomega.Equal(int64(2)))

	// The current one.
	f.annotate(token, v1alpha1.CompromisedAnnotation, "2")
	f.eventuallyRevision(token, 3)
	f.eventuallyRefused(second)
	f.expectStatus(f.secret(token).Data["API_TOKEN"], http.StatusOK)
	f.expectStatus(first, http.StatusOK) // It is another one, and has its grace period.
	f.Eventually(func() []string { return f.notesOn("leaked") }).Should(gomega.ContainElement(gomega.ContainSubstring("It replaces revision 2, which is revoked at once")))

	// A previous one.
	f.annotate(token, v1alpha1.CompromisedAnnotation, "1")
	f.eventuallyNonePrevious(token)
	f.eventuallyRefused(first)
	f.Expect(token.Status.Token.Revision).To(gomega.Equal(int64(3)))
}

func TestWithoutThePermissionToListPodsTheWholeTimeIsWaited(t *testing.T) {
	f := newFixture(t)
	token := f.rotating("blind", &v1alpha1.Rotation{GracePeriod: hours(1), WaitForConsumers: hours(2)})
	first := f.secret(token).Data["API_TOKEN"]
	f.rotate(token, "once")
	restore := f.forbidPods()
	defer restore()
	begin := now.Now()
	defer now.SetTime(begin)
	now.SetTime(begin.Add(time.Hour + time.Minute))
	f.touch(token)
	f.Eventually(func() string {
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(token), token)).To(gomega.Succeed())
		return readyCondition(token).Message
	}).Should(gomega.ContainSubstring("may not list pods"))
	f.expectStatus(first, http.StatusOK)
	now.SetTime(begin.Add(3*time.Hour + time.Minute))
	f.touch(token)
	f.eventuallyNonePrevious(token)
}

// forbidPods takes the permission to list pods from the operator, until the function that it returns is called.
func (f *fixture) forbidPods() (restore func()) {
	f.t.Helper()
	var role rbacv1.ClusterRole
	f.Expect(k8s.Get(f.ctx, client.ObjectKey{Name: "tokensteward"}, &role)).To(gomega.Succeed())
	rules := slices.Clone(role.Rules)
	role.Rules = slices.DeleteFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "pods") })
	f.Expect(role.Rules).NotTo(gomega.HaveLen(len(rules)))
	listPods := authorizationv1.ResourceAttributes{Namespace: f.namespace, Verb: "list", Resource: "pods"}
	f.Expect(k8s.Update(f.ctx, &role)).To(gomega.Succeed())
	f.Expect(controlPlane.AwaitPermission(f.ctx, testenv.OperatorUser, listPods, false)).To(gomega.Succeed())
	return func() {
		role.Rules = rules
		f.Expect(k8s.Update(f.ctx, &role)).To(gomega.Succeed())
		f.Expect(controlPlane.AwaitPermission(f.ctx, testenv.OperatorUser, listPods, true)).To(gomega.Succeed())
	}
}

// runPod makes a pod with a Secret as its environment, whose container runs since a time as far as the API server knows.
func (f *fixture) runPod(name, secretName string, since time.Time) *corev1.Pod {
	f.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "main", Image: "image",
			EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: secretName}}}},
		}}},
	}
	f.create(pod)
	f.setStarted(pod, since)
	return pod
}

func (f *fixture) setStarted(pod *corev1.Pod, since time.Time) {
	f.t.Helper()
	pod.Status.Phase = corev1.PodRunning
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "main", Image: "image", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(since)}},
	}}
	f.Expect(k8s.Status().Update(f.ctx, pod)).To(gomega.Succeed())
}

func (f *fixture) eventReasons() (reasons []string) {
	f.t.Helper()
	var events eventsv1.EventList
	f.Expect(k8s.List(f.ctx, &events, client.InNamespace(f.namespace))).To(gomega.Succeed())
	for _, event := range events.Items {
		reasons = append(reasons, event.Reason)
	}
	return reasons
}

func TestASuspendedTokenIsNotRenewedAndTellsWhenItHasExpired(t *testing.T) {
	f := newFixture(t)
	token := f.rotating("suspended", nil)
	f.change(token, func() { token.Spec.Suspend = true })
	f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	begin := now.Now()
	defer now.SetTime(begin)
	now.SetTime(token.Status.RenewalTime.Add(time.Hour))
	f.touch(token)
	f.eventuallyTouched(token)
	f.Expect(token.Status.Token.Revision).To(gomega.Equal(int64(1)))
	f.Expect(readyCondition(token).Status).To(gomega.Equal(metav1.ConditionTrue))

	now.SetTime(token.Status.Token.ExpirationTime.Add(time.Second))
	f.touch(token)
	f.eventuallyReady(token, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
	f.Expect(token.Status.Token.Revision).To(gomega.Equal(int64(1)))
	f.change(token, func() { token.Spec.Suspend = false })
	f.eventuallyRevision(token, 2)
	f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
}
