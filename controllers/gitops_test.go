package controllers_test

import (
	"reflect"
	"testing"

	"github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// fromGit are resources with every field that a user may set, some of them written in another way than they are stored.
func (f *codacyFixture) fromGit() []*unstructured.Unstructured {
	shared := map[string]any{
		"issuerRef": map[string]any{"name": f.issuer.Name}, "duration": "36h", "renewBefore": "600m",
		"rotation":              map[string]any{"gracePeriod": "90m", "waitForConsumers": "0s"},
		"rolloutRestartTargets": []any{map[string]any{"kind": "Deployment", "name": "web"}},
		"secret": map[string]any{
			"tokenKey": "TOKEN",
			"template": map[string]any{
				"metadata": map[string]any{"labels": map[string]any{"team": "a"}, "annotations": map[string]any{"note": "kept"}},
				"data":     map[string]any{"url": "{{ .URL }}"},
			},
		},
		"deletionPolicy": "Retain", "suspend": false,
	}
	object := func(kind, name string, spec map[string]any) *unstructured.Unstructured {
		for key, value := range shared {
			spec[key] = value
		}
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "tokensteward.io/v1alpha1", "kind": kind, "spec": spec,
			"metadata": map[string]any{"namespace": f.namespace, "name": name, "labels": map[string]any{"app": "git"}, "annotations": map[string]any{"from": "git"}},
		}}
	}
	return []*unstructured.Unstructured{
		object("AccountToken", "account", map[string]any{"account": "Robot"}),
		object("ProjectToken", "project", map[string]any{"project": map[string]any{"provider": "gh", "organization": "acme", "repository": "api"}}),
		{Object: map[string]any{
			"apiVersion": "tokensteward.io/v1alpha1", "kind": "TokenIssuer",
			"metadata": map[string]any{"namespace": f.namespace, "name": "issuer"},
			"spec": map[string]any{
				"codacy":        map[string]any{"url": f.running.URL, "credentialsSecretRef": map[string]any{"name": "codacy"}},
				"checkInterval": "90m", "orphanPolicy": "Revoke",
			},
		}},
	}
}

// What Argo CD and Flux apply from Git again and again stays as it is: the operator changes nothing that they would set back, and
// the API server stores nothing in another way than it is written.
func TestWhatIsAppliedFromGitStaysInSync(t *testing.T) {
	f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
	for _, manager := range []string{"argocd-controller", "kustomize-controller"} {
		for _, desired := range f.fromGit() {
			apply := func(options ...client.ApplyOption) *unstructured.Unstructured {
				t.Helper()
				applied := desired.DeepCopy()
				options = append(options, client.FieldOwner(manager), client.ForceOwnership)
				f.Expect(k8s.Apply(f.ctx, client.ApplyConfigurationFromUnstructured(applied), options...)).To(gomega.Succeed())
				return applied
			}
			apply()
			live := desired.DeepCopy()
			f.Eventually(func() bool {
				f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(desired), live)).To(gomega.Succeed())
				observed, _, _ := unstructured.NestedInt64(live.Object, "status", "observedGeneration")
				return observed == live.GetGeneration()
			}).Should(gomega.BeTrue())
			generation := live.GetGeneration()
			spec, _, err := unstructured.NestedMap(live.Object, "spec")
			f.Expect(err).NotTo(gomega.HaveOccurred())
			// What is in Git is there, word by word.
			for key, value := range desired.Object["spec"].(map[string]any) {
				f.Expect(contains(spec[key], value)).To(gomega.BeTrue(), "%s %s: %v is stored as %v", desired.GetKind(), key, value, spec[key])
			}
			again := apply(client.DryRunAll)
			f.Expect(again.GetGeneration()).To(gomega.Equal(generation), "%s is out of sync for %s", desired.GetKind(), manager)
			apply()
			f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(desired), live)).To(gomega.Succeed())
			f.Expect(live.GetGeneration()).To(gomega.Equal(generation))
			f.Expect(live.GetLabels()).To(gomega.Equal(desired.GetLabels()))
			f.Expect(live.GetAnnotations()).To(gomega.Equal(desired.GetAnnotations()))
		}
	}
}

// contains says whether all that is wanted is there; defaults may be there besides.
func contains(there, wanted any) bool {
	want, ok := wanted.(map[string]any)
	if !ok {
		return reflect.DeepEqual(there, wanted)
	}
	got, ok := there.(map[string]any)
	if !ok {
		return false
	}
	for key, value := range want {
		if !contains(got[key], value) {
			return false
		}
	}
	return true
}
