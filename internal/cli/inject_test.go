package cli_test

import (
	"testing"

	"github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func podTemplate() corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyAlways, Containers: []corev1.Container{
			{Name: "web", Image: "web", Env: []corev1.EnvVar{{Name: "A", Value: "B"}}}, {Name: "proxy", Image: "proxy"},
		}},
	}
}

func (f *fixture) deployment() *appsv1.Deployment {
	f.t.Helper()
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "web"},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, Template: podTemplate()},
	}
	f.create(d)
	return d
}

// taken are the Secrets that the containers take with envFrom.
func taken(spec *corev1.PodSpec) (secrets [][]string) {
	for i := range spec.Containers {
		some := []string{}
		for _, source := range spec.Containers[i].EnvFrom {
			some = append(some, source.SecretRef.Name)
		}
		secrets = append(secrets, some)
	}
	return secrets
}

func TestInjectHasContainersTakeTheToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.eventuallyReady(f.projectToken("ci", f.namespace, "web"))
	f.eventuallyReady(f.accountToken("robot", f.namespace, "alice"))
	web := f.deployment()

	for _, dryRun := range []string{"client", "server"} {
		tried := f.run("inject", "deployment/web", "--token", "ci", "--dry-run="+dryRun, "-o", "yaml", f.here())
		f.Expect(tried.err).NotTo(gomega.HaveOccurred())
		f.Expect(tried.out).To(gomega.ContainSubstring("      - envFrom:\n        - secretRef:\n            name: ci\n"))
		f.reload(web)
		f.Expect(taken(&web.Spec.Template.Spec)).To(gomega.Equal([][]string{{}, {}}), "dry run")
	}
	injected := f.run("inject", "deployment/web", "--token", "ci", "--container=web", f.here())
	f.Expect(injected.err).NotTo(gomega.HaveOccurred())
	f.Expect(injected.out).To(gomega.Equal("deployment.apps/web token injected\n"))
	f.reload(web)
	f.Expect(taken(&web.Spec.Template.Spec)).To(gomega.Equal([][]string{{"ci"}, {}}))
	f.Expect(web.Spec.Template.Spec.Containers[0].Env).To(gomega.HaveLen(1), "what was there")

	f.Expect(f.run("inject", "deploy/web", "--token", "accounttoken/robot", f.here()).err).NotTo(gomega.HaveOccurred())
	f.reload(web)
	f.Expect(taken(&web.Spec.Template.Spec)).To(gomega.Equal([][]string{{"ci", "robot"}, {"robot"}}))

	version := web.ResourceVersion
	again := f.run("inject", "deployment/web", "--token", "accounttoken/robot", f.here())
	f.Expect(again.err).NotTo(gomega.HaveOccurred())
	f.Expect(again.progress).To(gomega.ContainSubstring("takes the Secret robot already"))
	f.reload(web)
	f.Expect(web.ResourceVersion).To(gomega.Equal(version))
}

func TestInjectDoesNotHideATokenBehindAnother(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.eventuallyReady(f.projectToken("ci", f.namespace, "web"))
	f.eventuallyReady(f.projectToken("second", f.namespace, "api"))
	web := f.deployment()
	f.Expect(f.run("inject", "deployment/web", "--token", "ci", "-c", "web", f.here()).err).NotTo(gomega.HaveOccurred())
	f.Expect(f.run("inject", "deployment/web", "--token", "second", f.here()).err).
		To(gomega.MatchError(gomega.ContainSubstring("the container web: it takes projecttoken/ci already, which sets the same variable, PROJECT_TOKEN")))
	f.Expect(f.run("inject", "deployment/web", "--token", "second", "--prefix=API_", f.here()).err).NotTo(gomega.HaveOccurred())
	f.reload(web)
	f.Expect(taken(&web.Spec.Template.Spec)).To(gomega.Equal([][]string{{"ci", "second"}, {"second"}}))
	f.Expect(web.Spec.Template.Spec.Containers[1].EnvFrom[0].Prefix).To(gomega.Equal("API_"))

	web.Spec.Template.Spec.Containers[1] = corev1.Container{Name: "proxy", Image: "proxy", Env: []corev1.EnvVar{{Name: "PROJECT_TOKEN", Value: "by hand"}}}
	web.Labels = map[string]string{"kustomize.toolkit.fluxcd.io/name": "apps"}
	web.Spec.Template.Spec.InitContainers = []corev1.Container{{Name: "migrate", Image: "web"}}
	f.Expect(k8s.Update(f.t.Context(), web)).To(gomega.Succeed())
	f.Expect(f.run("inject", "deployment/web", "--token", "ci", f.here()).err).
		To(gomega.MatchError(gomega.ContainSubstring("the container proxy: it sets PROJECT_TOKEN itself, and that counts")))
	injected := f.run("inject", "deployment/web", "--token", "ci", "-c", "migrate", f.here())
	f.Expect(injected.err).NotTo(gomega.HaveOccurred())
	f.Expect(injected.progress).To(gomega.ContainSubstring("is kept by Flux"))
	f.reload(web)
	f.Expect(web.Spec.Template.Spec.InitContainers[0].EnvFrom).To(gomega.HaveLen(1))
}

func TestInjectKnowsEveryWorkload(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.eventuallyReady(f.projectToken("ci", f.namespace, "web"))
	f.projectToken("not-yet", "no-such-issuer", "web")
	template := podTemplate()
	template.Spec.RestartPolicy = corev1.RestartPolicyNever
	nightly := &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "nightly"},
		Spec:       batchv1.CronJobSpec{Schedule: "@daily", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template}}},
	}
	f.create(nightly)
	f.Expect(f.run("inject", "cronjob/nightly", "--token", "not-yet", f.here()).err).To(gomega.MatchError(gomega.ContainSubstring("has no token yet")))
	tried := f.run("inject", "cronjob/nightly", "--token", "not-yet", "--dry-run=client", "-o", "name", f.here())
	f.Expect(tried.err).NotTo(gomega.HaveOccurred())
	f.Expect(tried.progress).To(gomega.ContainSubstring("has no token yet"))
	injected := f.run("inject", "cronjob/nightly", "--token", "ci", f.here())
	f.Expect(injected.err).NotTo(gomega.HaveOccurred())
	f.reload(nightly)
	f.Expect(taken(&nightly.Spec.JobTemplate.Spec.Template.Spec)).To(gomega.Equal([][]string{{"ci"}, {"ci"}}))

	f.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "no-workload"}})
	for arguments, complaint := range map[[3]string]string{
		{"configmap/no-workload", "ci"}:               "it has no pod template",
		{"deployment/none", "ci"}:                     `deployments.apps "none" not found`,
		{"cronjob/nightly", "none"}:                   `there is no AccountToken and no ProjectToken "none"`,
		{"cronjob/nightly", "ci", "--container=x"}:    `it has no container "x"`,
		{"cronjob/nightly", "ci", "--dry-run=always"}: "none, server or client",
		{"cronjob/nightly", "ci", "--dry-run"}:        "none, server or client",
		{"cronjob/nightly", "ci", "--filename=x"}:     "workloads or files, and not both",
	} {
		all := []string{"inject", arguments[0], "--token", arguments[1], f.here()}
		if arguments[2] != "" {
			all = append(all, arguments[2])
		}
		f.Expect(f.run(all...).err).To(gomega.MatchError(gomega.ContainSubstring(complaint)), "%v", arguments)
	}
	f.Expect(f.run("inject", "--token", "ci", f.here()).err).To(gomega.MatchError(gomega.ContainSubstring("name a workload")))
}

func TestInjectChangesAManifestThatIsInAFile(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.eventuallyReady(f.projectToken("ci", f.namespace, "web"))
	manifest := f.file("deployment.yaml", `apiVersion: apps/v1
kind: Deployment
metadata:
  name: not-in-the-cluster
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: web
---
apiVersion: v1
kind: Service
metadata:
  name: web
`)
	changed := f.run("inject", "-f", manifest, "--token", "ci", "--dry-run=client", "-o", "yaml", f.here())
	f.Expect(changed.err).NotTo(gomega.HaveOccurred())
	f.Expect(changed.out).To(gomega.Equal(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: not-in-the-cluster
spec:
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
      - envFrom:
        - secretRef:
            name: ci
        image: web
        name: web
---
apiVersion: v1
kind: Service
metadata:
  name: web
`), "what is no workload is passed on")
	f.Expect(f.run("inject", "-f", manifest, "--token", "ci", f.here()).err).To(gomega.MatchError(gomega.ContainSubstring(`"not-in-the-cluster" not found`)))
}
