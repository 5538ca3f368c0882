package versions_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// laterField is what a later version has more than today's, in spec and in status, beside what today's knows and within it.
const laterField = "later"

// laterCRDs are today's CRDs with that field.
func laterCRDs(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(testenv.Root(), "config", "crd", "bases", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	folder := t.TempDir()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd map[string]any
		if err := yaml.Unmarshal(text, &crd); err != nil {
			t.Fatal(err)
		}
		for _, path := range [][]string{{"spec"}, {"status"}, {"spec", "rotation"}, {"status", "secretRef"}} {
			within := crd["spec"].(map[string]any)["versions"].([]any)[0].(map[string]any)["schema"].(map[string]any)["openAPIV3Schema"].(map[string]any)
			for _, name := range path {
				within, _ = within["properties"].(map[string]any)[name].(map[string]any)
				if within == nil {
					break // An issuer's has none.
				}
			}
			if within != nil {
				within["properties"].(map[string]any)[laterField] = map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
			}
		}
		if text, err = yaml.Marshal(crd); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(file)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// fromLater writes the fields of a later version into an object's status, with the operator's name.
func (s *scene) fromLater(o *unstructured.Unstructured, status map[string]any) {
	s.Helper()
	patch, err := json.Marshal(map[string]any{"status": status})
	s.Expect(err).NotTo(gomega.HaveOccurred())
	s.Expect(s.operator.Status().Patch(s.ctx, o, client.RawPatch(types.MergePatchType, patch))).To(gomega.Succeed())
}

// expectKept looks for the fields of the later version.
func (s *scene) expectKept(when, kind, namespace, name string, paths ...[]string) {
	s.Helper()
	o := s.read(kind, namespace, name)
	for _, path := range paths {
		kept, found, err := unstructured.NestedString(o.Object, append(path[:len(path):len(path)], laterField, "says")...)
		s.Expect(err).NotTo(gomega.HaveOccurred())
		s.Expect(found && kept == "so").To(gomega.BeTrue(), "%s: %s %s lost %v of a later version", when, kind, name, path)
	}
}

// Whoever goes back to this version, or rolls out a later one while this one still leads, loses nothing: all that it writes
// of a resource are merge patches of what it changed itself. That does not hold for fields within the items of a list, since
// a merge patch replaces a list as a whole: CONTRIBUTING.md, What a change needs.
func TestFieldsOfALaterVersionAreKept(t *testing.T) {
	s := newScene(t)
	s.applyCRDs(laterCRDs(t), laterField, true)
	later := func() map[string]any { return map[string]any{"says": "so"} }
	issuer := object(v1alpha1.KindClusterTokenIssuer, "", "default")
	issuer.Object["spec"] = map[string]any{
		laterField: later(),
		"builtIn":  map[string]any{"accounts": []any{map[string]any{"name": "alice", "access": []any{"gh/acme"}}}},
		"grants":   []any{map[string]any{"namespaces": []any{namespace}, "accounts": []any{"alice"}, "projects": []any{"gh/acme/*"}}},
	}
	account := object(v1alpha1.KindAccountToken, namespace, "alice")
	account.Object["spec"] = map[string]any{"account": "alice", laterField: later(), "rotation": map[string]any{"gracePeriod": "1h", laterField: later()}}
	project := object(v1alpha1.KindProjectToken, namespace, "website")
	project.Object["spec"] = map[string]any{
		"project":  map[string]any{"provider": "gh", "organization": "acme", "repository": "website"},
		laterField: later(), "rotation": map[string]any{"gracePeriod": "1h", laterField: later()},
	}
	for _, o := range []*unstructured.Unstructured{issuer, account, project} {
		s.Expect(s.k8s.Create(s.ctx, o)).To(gomega.Succeed())
		s.fromLater(o, map[string]any{laterField: later()})
	}
	expectKept := func(when string) {
		s.Helper()
		s.expectKept(when, v1alpha1.KindClusterTokenIssuer, "", "default", []string{"spec"}, []string{"status"})
		for kind, name := range map[string]string{v1alpha1.KindAccountToken: "alice", v1alpha1.KindProjectToken: "website"} {
			paths := [][]string{{"spec"}, {"spec", "rotation"}, {"status"}}
			if when != "written" { // Then there is one.
				paths = append(paths, []string{"status", "secretRef"})
			}
			s.expectKept(when, kind, namespace, name, paths...)
		}
	}
	expectKept("written")

	s.start()
	tokens := []v1alpha1.Token{&v1alpha1.AccountToken{}, &v1alpha1.ProjectToken{}}
	for i, o := range []*unstructured.Unstructured{account, project} {
		tokens[i].SetNamespace(namespace)
		tokens[i].SetName(o.GetName())
		s.eventuallyRevision(tokens[i], 1) // A finalizer, an intent and a report were written.
		s.fromLater(o, map[string]any{"secretRef": map[string]any{laterField: later()}})
	}
	expectKept("minted")
	for _, t := range tokens {
		s.patch(t, `{"metadata":{"annotations":{"`+v1alpha1.RotateRequestAnnotation+`":"today"}}}`)
		s.eventuallyRevision(t, 2)
	}
	expectKept("rotated")
	s.clock.SetTime(s.clock.Now().Add(2 * time.Hour))
	for _, t := range tokens {
		s.touch(t)
		s.Eventually(func() int { s.refresh(t); return len(t.SharedStatus().PreviousTokens) }).Should(gomega.BeZero(), "a replaced token is not revoked")
	}
	expectKept("revoked")

	// A refusal is written into the conditions.
	s.patch(issuer, `{"spec":{"grants":[{"namespaces":["`+namespace+`"],"accounts":["alice"]}]}}`)
	s.Eventually(func() string {
		s.refresh(tokens[1])
		for _, condition := range tokens[1].SharedStatus().Conditions {
			if condition.Type == v1alpha1.ConditionReady {
				return condition.Reason
			}
		}
		return ""
	}).Should(gomega.Equal(v1alpha1.ReasonNotGranted))
	expectKept("refused")

	for _, t := range tokens {
		s.Expect(s.k8s.Delete(s.ctx, t)).To(gomega.Succeed())
		s.eventuallyGone(t)
	}
	s.expectKept("without tokens", v1alpha1.KindClusterTokenIssuer, "", "default", []string{"spec"}, []string{"status"})
	s.Expect(s.k8s.Delete(s.ctx, issuer)).To(gomega.Succeed())
	s.eventuallyGone(issuer)
}
