// Package chart_test holds the Helm chart to a real API server, to config/default, to what the code asks for, and to
// docs/security.md.
package chart_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tokensteward/tokensteward/internal/testenv"
)

// values are lines of a values file.
type values string

const builtInIssuer = `
defaultIssuer:
  enabled: true
  spec:
    builtIn:
      accounts: [{name: alice, access: [gh/acme]}]
    grants: [{namespaces: [team-a], accounts: [alice], projects: [gh/acme/*]}]
`

// noClusterScope is for who may create nothing that belongs to the cluster.
const noClusterScope = `
namespaces: [team-a]
clusterIssuers: {enabled: false}
crds: {enabled: false}
userRoles: {enabled: false}
statusGuard: {enabled: false}
metrics: {authentication: false}
`

// switches are all choices that the chart offers.
var switches = map[string]values{
	"defaults":                       "",
	"another image":                  "image: {repository: example.test/tokensteward, tag: v9, pullPolicy: Always}\nimagePullSecrets: [{name: registry}]",
	"an image by its digest":         values("image: {digest: 'sha256:" + strings.Repeat("0a", 32) + "'}"),
	"another name":                   "fullnameOverride: tokens",
	"one replica":                    "replicas: 1",
	"no budget":                      "podDisruptionBudget: {enabled: false}",
	"names like numbers":             "namespaces: ['123456']\nserviceAccount: {name: '1e3'}\nauthority: {certificate: {source: Secret, secretName: '0123'}}\npriorityClassName: '2000'",
	"no CRDs":                        "crds: {enabled: false}",
	"CRDs that go":                   "crds: {keep: false}",
	"two namespaces":                 "namespaces: [team-a, team-b]",
	"two namespaces and no cluster":  "namespaces: [team-a, team-b]\nclusterIssuers: {enabled: false}",
	"all namespaces and no cluster":  "clusterIssuers: {enabled: false}",
	"nothing of the cluster":         noClusterScope,
	"a built-in default issuer":      builtInIssuer,
	"a default issuer of Codacy":     "defaultIssuer: {enabled: true, spec: {codacy: {credentialsSecretRef: {name: codacy}}, checkInterval: 1h, orphanPolicy: Revoke, grants: [{namespaces: [team-a], projects: ['gh/acme/*']}]}}",
	"no pods":                        "permissions: {listPods: false}",
	"restart workloads":              "permissions: {restartWorkloads: true}",
	"list pods of one namespace":     "namespaces: [team-a]\npermissions: {listPods: true, restartWorkloads: true}",
	"no metrics":                     "metrics: {enabled: false}",
	"monitors and alerts":            "metrics: {serviceMonitor: {enabled: true, labels: {release: prometheus}}, prometheusRule: {enabled: true, labels: {release: prometheus}}}",
	"a dashboard":                    "metrics: {dashboard: {enabled: true, labels: {grafana_dashboard: '1', team: platform}}}",
	"metrics for everybody":          "metrics: {authentication: false}\nnetworkPolicy: {metricsFrom: [{namespaceSelector: {matchLabels: {name: monitoring}}}]}",
	"an installation id":             "installationID: abcdef0123",
	"other hosts and limits":         "allowedHosts: [codacy.example.com, 'other.example.com:8443']\nserviceRateLimits: [codacy.example.com=10/1s/5]",
	"a load balancer":                "authority: {maxStaleness: 1m30s, service: {type: LoadBalancer, annotations: {example.com/internal: 'true'}}}",
	"more names":                     "authority: {certificate: {dnsNames: [tokens.example.com]}}",
	"a certificate of cert-manager":  "authority: {certificate: {source: CertManager, dnsNames: [tokens.example.com], certManager: {issuerRef: {name: ca, kind: Issuer}}}}",
	"a certificate in a Secret":      "authority: {certificate: {source: Secret, secretName: authority-tls}}",
	"certificate and default issuer": "authority: {certificate: {source: Secret, secretName: authority-tls}}" + builtInIssuer,
	"no guard of the status":         "statusGuard: {enabled: false}",
	"no roles for users":             "userRoles: {enabled: false}",
	"a service account":              "serviceAccount: {name: steward, annotations: {example.com/role: tokens}}",
	"a debug log":                    "log: {level: debug, format: console}",
	"a budget in percent":            "podDisruptionBudget: {minAvailable: 50%}",
	"no network policy":              "networkPolicy: {enabled: false}",
	"a narrow network policy":        "networkPolicy: {authorityFrom: [{namespaceSelector: {matchLabels: {tier: ci}}}], egressPorts: [443, 8443], extraEgress: [{to: [{ipBlock: {cidr: 192.0.2.0/24}}]}]}",
	"resources":                      "resources: {requests: {cpu: 1, memory: 1Gi}, limits: {memory: 1Gi}}",
	"a place":                        "nodeSelector: {disk: ssd}\ntolerations: [{key: ci, operator: Exists}]\npriorityClassName: system-cluster-critical\naffinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: disk, operator: Exists}]}]}}}",
	"another spread":                 "topologySpreadConstraints: [{maxSkew: 1, topologyKey: rack, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app.kubernetes.io/name: tokensteward}}}]",
	"labels and annotations":         "commonLabels: {team: platform}\npodLabels: {mesh: 'on'}\npodAnnotations: {example.com/scrape: 'true'}",
	"flags and environment":          "extraArgs: [--service-timeout=1m]\nextraEnv: [{name: HTTPS_PROXY, value: 'http://proxy.example.com:3128'}]",
}

// wrong are values that the schema refuses, and what it says.
var wrong = map[string]struct {
	values  values
	message string
}{
	"a misspelled value":                   {"replica: 2", "'replica'"},
	"a misspelled value within":            {"authority: {certificat: {}}", "'certificat'"},
	"no replicas":                          {"replicas: 0", "/replicas"},
	"replicas in words":                    {"replicas: two", "/replicas"},
	"a pull policy that is none":           {"image: {pullPolicy: Sometimes}", "/image/pullPolicy"},
	"a digest that is none":                {"image: {digest: latest}", "/image/digest"},
	"a namespace that is none":             {"namespaces: [Team_A]", "/namespaces/0"},
	"a namespace twice":                    {"namespaces: [team-a, team-a]", "/namespaces"},
	"an installation id that is too short": {"installationID: abc", "/installationID"},
	"a host with a scheme":                 {"allowedHosts: ['https://codacy.example.com']", "/allowedHosts/0"},
	"a limit without a burst":              {"serviceRateLimits: [app.codacy.com=10/1s]", "/serviceRateLimits/0"},
	"a staleness without a unit":           {"authority: {maxStaleness: '30'}", "/authority/maxStaleness"},
	"a source that is none":                {"authority: {certificate: {source: Vault}}", "/authority/certificate/source"},
	"cert-manager without an issuer":       {"authority: {certificate: {source: CertManager}}", "/authority/certificate/certManager/issuerRef/name"},
	"a Secret without a name":              {"authority: {certificate: {source: Secret}}", "/authority/certificate/secretName"},
	"a default issuer without a spec":      {"defaultIssuer: {enabled: true}", "/defaultIssuer/spec"},
	"a default issuer that is two":         {"defaultIssuer: {enabled: true, spec: {builtIn: {}, codacy: {}}}", "/defaultIssuer/spec"},
	"a default issuer with a misspelling":  {"defaultIssuer: {enabled: true, spec: {builtIn: {}, grant: []}}", "'grant'"},
	"a default issuer that nobody serves":  {"clusterIssuers: {enabled: false}" + builtInIssuer, "/clusterIssuers/enabled"},
	"a scrape interval that is none":       {"metrics: {serviceMonitor: {interval: often}}", "/metrics/serviceMonitor/interval"},
	"a label that is a number":             {"metrics: {dashboard: {labels: {grafana_dashboard: 1}}}", "/metrics/dashboard/labels/grafana_dashboard"},
	"a log level that is none":             {"log: {level: loud}", "/log/level"},
	"a port that is none":                  {"networkPolicy: {egressPorts: [70000]}", "/networkPolicy/egressPorts/0"},
	"a flag that is none":                  {"extraArgs: [service-timeout]", "/extraArgs/0"},
	"a budget that is none":                {"podDisruptionBudget: {minAvailable: half}", "/podDisruptionBudget/minAvailable"},
	"a switch in words that YAML reads so": {"permissions: {listPods: 'false'}", "/permissions/listPods"},
}

const namespace = testenv.Namespace

var chart = filepath.Join(testenv.Root(), "charts", "tokensteward")

// helm runs Helm with the chart and a values file. No cluster is in its reach.
func helm(t *testing.T, v values, arguments ...string) (stdout string, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if strings.Contains(file, ",") {
		t.Fatal("Helm takes a comma in --values for two files: name the test without")
	}
	if err := os.WriteFile(file, []byte(v), 0o600); err != nil {
		t.Fatal(err)
	}
	program := os.Getenv("HELM")
	if program == "" {
		program = filepath.Join(testenv.Root(), "bin", "helm")
	}
	command := exec.CommandContext(t.Context(), program, append(arguments, "--values", file)...)
	command.Env = append(os.Environ(), "KUBECONFIG="+os.DevNull)
	var out, messages bytes.Buffer
	command.Stdout, command.Stderr = &out, &messages
	if err = command.Run(); err != nil {
		err = fmt.Errorf("helm %s: %w: %s%s", arguments[0], err, out.String(), messages.String())
	}
	return out.String(), err
}

func render(t *testing.T, v values) []*unstructured.Unstructured {
	t.Helper()
	text, err := helm(t, v, "template", "tokensteward", chart, "--namespace", namespace)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, text)
}

func parse(t *testing.T, text string) (objects []*unstructured.Unstructured) {
	t.Helper()
	for _, document := range strings.Split("\n"+text, "\n---") {
		o := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(document), &o.Object); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
	if len(objects) == 0 {
		t.Fatal("nothing was rendered")
	}
	return objects
}

func TestEverySwitchOnARealAPIServer(t *testing.T) {
	cp := startAPIServer(t)
	refusesCareless(t, cp)
	for name, v := range switches {
		t.Run(name, func(t *testing.T) {
			if _, err := helm(t, v, "lint", "--strict", chart, "--namespace", namespace); err != nil {
				t.Error(err)
			}
			for _, o := range render(t, v) {
				dryRun(t, cp, o)
				if pod := podOf(t, o); pod != nil {
					dryRun(t, cp, pod) // The namespace admits only what is restricted.
				}
				if issuer := issuerIn(t, o); issuer != nil {
					dryRun(t, cp, issuer)
				}
			}
		})
	}
}

func startAPIServer(t *testing.T) *testenv.ControlPlane {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	cp, err := testenv.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"team-a", "team-b", "123456"} {
		if err := cp.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	installCRDs(t, cp, "cert-manager", "github.com/cert-manager/cert-manager", "deploy/crds/cert-manager.io_certificates.yaml")
	const crds = "example/prometheus-operator-crd/monitoring.coreos.com_"
	installCRDs(t, cp, "prometheus-operator", "github.com/prometheus-operator/prometheus-operator", crds+"servicemonitors.yaml", crds+"prometheusrules.yaml")
	// A pod names its service account and its priority, which must be there.
	for _, name := range []string{"tokens", "steward", "1e3"} {
		if err := cp.Client.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := cp.Client.Create(t.Context(), &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "2000"}, Value: 2000}); err != nil {
		t.Fatal(err)
	}
	return cp
}

// installCRDs installs CRDs that a Go module comes with, which a module of our own under hack/tools pins.
func installCRDs(t *testing.T, cp *testenv.ControlPlane, pinnedBy, module string, files ...string) {
	t.Helper()
	download := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module)
	download.Dir = filepath.Join(testenv.Root(), "hack", "tools", pinnedBy)
	output, err := download.Output()
	var downloaded struct{ Dir string }
	if err == nil {
		err = json.Unmarshal(output, &downloaded)
	}
	if err != nil {
		t.Fatalf("finding the module %s: %v", module, err)
	}
	for _, file := range files {
		path := filepath.Join(downloaded.Dir, filepath.FromSlash(file))
		for _, arguments := range [][]string{{"apply", "--server-side", "-f", path}, {"wait", "--for=condition=Established", "--timeout=60s", "-f", path}} {
			if output, err := cp.Kubectl(t.Context(), arguments...).CombinedOutput(); err != nil {
				t.Fatalf("kubectl %s: %v: %s", arguments[0], err, output)
			}
		}
	}
}

// dryRun applies an object as Helm would, strictly, and keeps nothing.
func dryRun(t *testing.T, cp *testenv.ControlPlane, o *unstructured.Unstructured) {
	t.Helper()
	err := cp.Client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o.DeepCopy()), client.FieldOwner("helm"), client.ForceOwnership, client.DryRunAll)
	if err != nil {
		t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
}

// podOf is the pod that a Deployment makes.
func podOf(t *testing.T, o *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	if o.GetKind() != "Deployment" {
		return nil
	}
	template, found, err := unstructured.NestedMap(o.Object, "spec", "template")
	if err != nil || !found {
		t.Fatalf("a Deployment without a template: %v", err)
	}
	pod := &unstructured.Unstructured{Object: template}
	pod.SetAPIVersion("v1")
	pod.SetKind("Pod")
	pod.SetNamespace(o.GetNamespace())
	pod.SetName("probe")
	return pod
}

// issuerIn is the default issuer in a ConfigMap.
func issuerIn(t *testing.T, o *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	text, found, err := unstructured.NestedString(o.Object, "data", "issuer.yaml")
	if err != nil || !found {
		return nil
	}
	return parse(t, text)[0]
}

// refusesCareless: without this the pods of the chart would prove nothing.
func refusesCareless(t *testing.T, cp *testenv.ControlPlane) {
	t.Helper()
	err := cp.Client.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "careless"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "image"}}},
	}, client.DryRunAll)
	if !apierrors.IsForbidden(err) {
		t.Errorf("a pod that is not restricted: %v", err)
	}
}

func TestWrongValuesAreRefusedWithAMessage(t *testing.T) {
	for name, test := range wrong {
		t.Run(name, func(t *testing.T) {
			_, err := helm(t, test.values, "template", "tokensteward", chart, "--namespace", namespace)
			if err == nil || !strings.Contains(err.Error(), test.message) {
				t.Errorf("got %v, want a message with %q", err, test.message)
			}
		})
	}
}

func TestUninstallingLeavesTheCRDs(t *testing.T) {
	found := 0
	for _, o := range render(t, "") {
		if o.GetKind() == "CustomResourceDefinition" {
			found++
			if o.GetAnnotations()["helm.sh/resource-policy"] != "keep" {
				t.Errorf("%s would be deleted with the chart", o.GetName())
			}
		}
	}
	if found != 4 {
		t.Errorf("%d CRDs, want 4", found)
	}
}

func TestATeamCanInstallWithoutAnythingOfTheCluster(t *testing.T) {
	for _, o := range render(t, noClusterScope) {
		if o.GetNamespace() != namespace && o.GetNamespace() != "team-a" {
			t.Errorf("%s %s is in the namespace %q", o.GetKind(), o.GetName(), o.GetNamespace())
		}
	}
}

func TestAReleaseAndItsNamespaceMayBeNumbers(t *testing.T) {
	everything := switches["a certificate of cert-manager"] + builtInIssuer + `
namespaces: ['123456']
metrics: {serviceMonitor: {enabled: true}, prometheusRule: {enabled: true}, dashboard: {enabled: true}}
crds: {enabled: false}
` // CRDs have properties that are called so.
	text, err := helm(t, everything, "template", "654321", chart, "--namespace", "123456")
	if err != nil {
		t.Fatal(err)
	}
	var look func(o *unstructured.Unstructured, within any)
	look = func(o *unstructured.Unstructured, within any) {
		switch within := within.(type) {
		case map[string]any:
			for key, value := range within {
				if _, ok := value.(string); !ok && slices.Contains([]string{"name", "namespace", "app.kubernetes.io/instance"}, key) {
					t.Errorf("%s: %s is %v, and no text", o.GetKind(), key, value)
				}
				look(o, value)
			}
		case []any:
			for _, value := range within {
				look(o, value)
			}
		}
	}
	for _, o := range parse(t, text) {
		look(o, o.Object)
	}
}

// A budget for one replica would keep its node from being drained.
func TestABudgetTakesTwoReplicas(t *testing.T) {
	for v, want := range map[values]int{"": 1, "replicas: 2": 1, "replicas: 1": 0, "podDisruptionBudget: {enabled: false}": 0} {
		found := 0
		for _, o := range render(t, v) {
			if o.GetKind() == "PodDisruptionBudget" {
				found++
			}
		}
		if found != want {
			t.Errorf("%d budgets with the values %q, want %d", found, v, want)
		}
	}
}

func TestTheDashboardIsWhereGrafanasSidecarLooks(t *testing.T) {
	want, err := os.ReadFile(filepath.Join(chart, "files", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	find := func(v values) (maps []*unstructured.Unstructured) {
		for _, o := range render(t, v) {
			if o.GetKind() == "ConfigMap" && o.GetName() == "tokensteward-dashboard" {
				maps = append(maps, o)
			}
		}
		return maps
	}
	for _, v := range []values{"", "metrics: {enabled: false, dashboard: {enabled: true}}"} {
		if found := find(v); len(found) > 0 {
			t.Errorf("a dashboard with the values %q", v)
		}
	}
	found := find("metrics: {dashboard: {enabled: true}}")
	if len(found) != 1 {
		t.Fatalf("%d dashboards", len(found))
	}
	if label := found[0].GetLabels()["grafana_dashboard"]; label != "1" {
		t.Errorf("the label grafana_dashboard is %q", label)
	}
	text, _, err := unstructured.NestedString(found[0].Object, "data", "tokensteward.json")
	if err != nil || strings.TrimSpace(text) != strings.TrimSpace(string(want)) {
		t.Errorf("the ConfigMap does not have files/dashboard.json: %v", err)
	}
}

func TestKustomizeIsTheChartWithItsDefaults(t *testing.T) {
	command := exec.CommandContext(t.Context(), filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), "kustomize", filepath.Join(testenv.Root(), "config", "default"))
	output, err := command.Output()
	if err != nil {
		t.Fatalf("kubectl kustomize: %v", err)
	}
	ofKustomize := inEffect(t, parse(t, string(output)))
	delete(ofKustomize, "Namespace  "+namespace) // Helm makes it, if it is told to.
	ofChart := inEffect(t, render(t, ""))
	for key, text := range ofChart {
		if ofKustomize[key] != text {
			t.Errorf("%s is not the same: run make generate.\nThe chart:\n%s\nconfig/default:\n%s", key, text, ofKustomize[key])
		}
	}
	for key := range ofKustomize {
		if ofChart[key] == "" {
			t.Errorf("%s is not in the chart", key)
		}
	}
}

// inEffect are objects without what only their installers look at.
func inEffect(t *testing.T, objects []*unstructured.Unstructured) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, o := range objects {
		for _, path := range [][]string{{"metadata"}, {"spec", "template", "metadata"}} {
			unstructured.RemoveNestedField(o.Object, append(slices.Clone(path), "labels", "helm.sh/chart")...)
			unstructured.RemoveNestedField(o.Object, append(slices.Clone(path), "labels", "app.kubernetes.io/managed-by")...)
		}
		unstructured.RemoveNestedField(o.Object, "metadata", "annotations", "helm.sh/resource-policy")
		if o.GetKind() == "CustomResourceDefinition" {
			o.SetLabels(nil)
		}
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		texts[strings.Join([]string{o.GetKind(), o.GetNamespace(), o.GetName()}, " ")] = string(text)
	}
	return texts
}

func TestTheImageHasItsNameInOnePlace(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Image struct{ Repository string } }
	if err := yaml.Unmarshal(content, &v); err != nil || v.Image.Repository == "" {
		t.Fatalf("no image.repository in values.yaml: %v", err)
	}
	host, _, _ := strings.Cut(v.Image.Repository, "/")
	generated := "config/default/manifests.yaml"
	found := grep(t.Context(), t, host)
	if slices.Sort(found); !slices.Equal(found, []string{"charts/tokensteward/values.yaml", generated}) {
		t.Errorf("%s is in %v", host, found)
	}
}

// grep lists the files of the repository that contain a text.
func grep(ctx context.Context, t *testing.T, text string) []string {
	t.Helper()
	command := exec.CommandContext(ctx, "git", "grep", "--files-with-matches", "--untracked", "--fixed-strings", text)
	command.Dir = testenv.Root()
	output, err := command.Output()
	if err != nil {
		t.Fatalf("git grep: %v", err)
	}
	return strings.Fields(string(output))
}
