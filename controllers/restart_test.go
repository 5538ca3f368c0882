package controllers_test

import (
	"testing"
	"time"

	"github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

const restartedAt = "kubectl.kubernetes.io/restartedAt"

// applyWorkload applies a workload as Flux does from Git, over and over.
func (f *fixture) applyWorkload(kind, name string) {
	f.t.Helper()
	labels := map[string]any{"app": name}
	workload := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": kind,
		"metadata": map[string]any{"name": name, "namespace": f.namespace},
		"spec": map[string]any{
			"selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{
				"metadata": map[string]any{"labels": labels},
				"spec":     map[string]any{"containers": []any{map[string]any{"name": "main", "image": "image"}}},
			},
		},
	}}
	f.Expect(k8s.Apply(f.ctx, client.ApplyConfigurationFromUnstructured(workload), client.FieldOwner("kustomize-controller"), client.ForceOwnership)).To(gomega.Succeed())
}

// permitRestarts gives the operator, in the fixture's namespace, what the chart's permissions.restartWorkloads gives it.
func (f *fixture) permitRestarts() {
	f.t.Helper()
	name := metav1.ObjectMeta{Namespace: f.namespace, Name: "restart"}
	f.create(&rbacv1.Role{ObjectMeta: name, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"apps"}, Resources: []string{"deployments", "statefulsets", "daemonsets"}, Verbs: []string{"get", "patch"},
	}}})
	f.create(&rbacv1.RoleBinding{
		ObjectMeta: name, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "restart"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: testenv.Namespace, Name: "tokensteward"}},
	})
	f.Expect(controlPlane.AwaitPermission(f.ctx, testenv.OperatorUser,
		authorizationv1.ResourceAttributes{Namespace: f.namespace, Verb: "patch", Group: "apps", Resource: "deployments"}, true)).To(gomega.Succeed())
}

func (f *fixture) deployment(name string) *appsv1.Deployment {
	f.t.Helper()
	deployment := &appsv1.Deployment{}
	f.Expect(k8s.Get(f.ctx, client.ObjectKey{Namespace: f.namespace, Name: name}, deployment)).To(gomega.Succeed())
	return deployment
}

// restarting is an account token with restart targets that was rotated once, half a minute ago.
func (f *fixture) restarting(targets ...v1alpha1.RolloutRestartTarget) *v1alpha1.AccountToken {
	f.t.Helper()
	token := f.accountToken("restarting")
	token.Spec.RolloutRestartTargets = targets
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	f.Expect(token.Status.RestartTime).To(gomega.BeNil(), "nobody has an earlier token")
	f.rotate(token, "once")
	begin := now.Now()
	f.t.Cleanup(func() { now.SetTime(begin) })
	f.Expect(token.Status.RestartTime.Time).To(gomega.Equal(token.Status.PreviousTokens[0].ReplacedTime.Add(30 * time.Second)))
	for _, target := range targets {
		if target.Kind == "Deployment" && target.Name == "web" {
			f.Expect(f.deployment("web").Spec.Template.Annotations).To(gomega.BeEmpty(), "restarted before every kubelet has seen the new Secret")
		}
	}
	now.SetTime(token.Status.RestartTime.Add(time.Second))
	f.touch(token)
	return token
}

func (f *fixture) eventuallyRestarted(t v1alpha1.Token, reason string) *metav1.Condition {
	f.t.Helper()
	var condition *metav1.Condition
	f.Eventually(func() string {
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(t), t)).To(gomega.Succeed())
		if condition = meta.FindStatusCondition(t.SharedStatus().Conditions, v1alpha1.ConditionRestarted); condition == nil {
			return ""
		}
		return condition.Reason
	}).Should(gomega.Equal(reason))
	f.Expect(readyCondition(t).Status).To(gomega.Equal(metav1.ConditionTrue), "a restart says nothing of the token")
	return condition
}

func TestWorkloadsAreRestartedOnceForARevision(t *testing.T) {
	f := newFixture(t)
	f.permitRestarts()
	for _, kind := range []string{"Deployment", "StatefulSet", "DaemonSet"} {
		f.applyWorkload(kind, "web")
	}
	f.applyWorkload("Deployment", "bystander")
	token := f.restarting(v1alpha1.RolloutRestartTarget{Kind: "Deployment", Name: "web"},
		v1alpha1.RolloutRestartTarget{Kind: "StatefulSet", Name: "web"}, v1alpha1.RolloutRestartTarget{Kind: "DaemonSet", Name: "web"})
	f.eventuallyRestarted(token, v1alpha1.ReasonRestarted)
	f.Expect(token.Status.RestartTime).To(gomega.BeNil())
	f.Eventually(f.eventReasons).Should(gomega.ContainElement("Restarted"))

	key := client.ObjectKey{Namespace: f.namespace, Name: "web"}
	var stateful appsv1.StatefulSet
	var daemon appsv1.DaemonSet
	f.Expect(k8s.Get(f.ctx, key, &stateful)).To(gomega.Succeed())
	f.Expect(k8s.Get(f.ctx, key, &daemon)).To(gomega.Succeed())
	web := f.deployment("web")
	mine := v1alpha1.RestartAnnotationPrefix + string(token.UID)
	for _, annotations := range []map[string]string{web.Spec.Template.Annotations, stateful.Spec.Template.Annotations, daemon.Spec.Template.Annotations} {
		f.Expect(annotations).To(gomega.And(gomega.HaveKeyWithValue(mine, "2"), gomega.HaveKey(restartedAt)))
	}
	f.Expect(f.deployment("bystander").Generation).To(gomega.Equal(int64(1)))

	// Git is applied again: what was not in it stays, and nothing is rolled out.
	f.applyWorkload("Deployment", "web")
	f.Expect(f.deployment("web").Generation).To(gomega.Equal(web.Generation))
	f.Expect(f.deployment("web").Spec.Template.Annotations).To(gomega.Equal(web.Spec.Template.Annotations))
	var owner string
	for _, entry := range web.ManagedFields {
		if entry.Manager == "tokensteward-restart" {
			owner = entry.FieldsV1.GetRawString()
		}
	}
	f.Expect(owner).To(gomega.And(gomega.ContainSubstring(restartedAt), gomega.Not(gomega.ContainSubstring("containers"))))

	// An operator that lost the answer, or an older leader, does it again: nothing is rolled out.
	f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(token), token)).To(gomega.Succeed())
	again := metav1.NewTime(now.Now())
	token.Status.RestartTime = &again
	f.Expect(asOperator().Status().Update(f.ctx, token)).To(gomega.Succeed())
	f.touch(token)
	f.Eventually(func() *metav1.Time {
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(token), token)).To(gomega.Succeed())
		return token.Status.RestartTime
	}).Should(gomega.BeNil())
	f.Expect(f.deployment("web").Generation).To(gomega.Equal(web.Generation))
}

func TestAMissingRestartTargetDoesNotFailTheRotation(t *testing.T) {
	f := newFixture(t)
	f.permitRestarts()
	f.applyWorkload("Deployment", "web")
	token := f.restarting(v1alpha1.RolloutRestartTarget{Kind: "StatefulSet", Name: "ghost"}, v1alpha1.RolloutRestartTarget{Kind: "Deployment", Name: "web"})
	condition := f.eventuallyRestarted(token, v1alpha1.ReasonTargetNotFound)
	f.Expect(condition.Message).To(gomega.And(gomega.ContainSubstring("StatefulSet/ghost"), gomega.Not(gomega.ContainSubstring("Deployment/web"))))
	f.Expect(token.Status.RestartTime).To(gomega.BeNil())
	f.Expect(f.deployment("web").Spec.Template.Annotations).To(gomega.HaveKey(restartedAt))
	f.Eventually(f.eventReasons).Should(gomega.ContainElement(v1alpha1.ReasonTargetNotFound))

	f.change(token, func() { token.Spec.RolloutRestartTargets = nil })
	f.Eventually(func() []string {
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(token), token)).To(gomega.Succeed())
		return conditionTypes(token)
	}).Should(gomega.Equal([]string{v1alpha1.ConditionReady}))
}

func TestARestartThatIsNotPermittedIsTriedAgain(t *testing.T) {
	f := newFixture(t)
	f.applyWorkload("Deployment", "web")
	token := f.restarting(v1alpha1.RolloutRestartTarget{Kind: "Deployment", Name: "web"})
	condition := f.eventuallyRestarted(token, v1alpha1.ReasonRestartRefused)
	f.Expect(condition.Message).To(gomega.ContainSubstring("permissions.restartWorkloads"))
	f.Expect(f.deployment("web").Spec.Template.Annotations).To(gomega.BeEmpty())

	f.permitRestarts()
	now.SetTime(now.Now().Add(11 * time.Minute))
	f.touch(token)
	f.eventuallyRestarted(token, v1alpha1.ReasonRestarted)
	f.Expect(f.deployment("web").Spec.Template.Annotations).To(gomega.HaveKey(restartedAt))
}

// The status that tells of a refusal may meet with a change of the resource.
func TestARestartThatIsNotPermittedIsToldThoughTheResourceChangesMeanwhile(t *testing.T) {
	for range 5 {
		f := newFixture(t)
		f.applyWorkload("Deployment", "web")
		token := f.restarting(v1alpha1.RolloutRestartTarget{Kind: "Deployment", Name: "web"})
		for range 30 {
			f.touch(token)
		}
		f.eventuallyRestarted(token, v1alpha1.ReasonRestartRefused)
	}
}

// applySecret applies a Secret as Flux does.
func (f *fixture) applySecret(name, value string) {
	f.t.Helper()
	secret := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name, "namespace": f.namespace},
		"stringData": map[string]any{"CODACY_API_TOKEN": value}, "type": "Opaque",
	}}
	f.Expect(k8s.Apply(f.ctx, client.ApplyConfigurationFromUnstructured(secret), client.FieldOwner("kustomize-controller"), client.ForceOwnership)).To(gomega.Succeed())
}
