package controllers_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

var update = flag.Bool("update", false, "write test/argocd/testdata anew")

// What other tools are shown in their own tests must be what the operator writes.
func TestStatesThatOtherToolsAreShownAreReal(t *testing.T) {
	f := newFixture(t)
	ready, waiting, stalled := f.accountToken("ready"), f.accountToken("waiting"), f.accountToken("stalled")
	waiting.Spec.Account, stalled.Spec.Account = "mallory", ""
	for _, token := range []*v1alpha1.AccountToken{ready, waiting, stalled} {
		f.create(token)
	}
	f.eventuallyReady(ready, metav1.ConditionTrue, "")
	f.eventuallyReady(waiting, metav1.ConditionFalse, v1alpha1.ReasonUnknownAccount)
	f.eventuallyReady(stalled, metav1.ConditionFalse, v1alpha1.ReasonAccountRequired)
	for _, token := range []*v1alpha1.AccountToken{ready, waiting, stalled} {
		file := filepath.Join(testenv.Root(), "test", "argocd", "testdata", token.Name+".yaml")
		shown, err := yaml.Marshal(withoutChance(token))
		f.Expect(err).NotTo(gomega.HaveOccurred())
		if *update {
			f.Expect(os.WriteFile(file, shown, 0o600)).To(gomega.Succeed())
		}
		kept, err := os.ReadFile(file)
		f.Expect(err).NotTo(gomega.HaveOccurred())
		f.Expect(string(shown)).To(gomega.Equal(string(kept)), "run: go test ./controllers -run States -update")
	}
}

// withoutChance is a resource without what is different each time.
func withoutChance(token *v1alpha1.AccountToken) *v1alpha1.AccountToken {
	shown := &v1alpha1.AccountToken{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: token.Kind()},
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: token.Name, Generation: token.Generation},
		Spec:       *token.Spec.DeepCopy(),
		Status: v1alpha1.AccountTokenStatus{
			Account:     token.Status.Account,
			TokenStatus: v1alpha1.TokenStatus{ObservedGeneration: token.Status.ObservedGeneration},
		},
	}
	shown.Spec.IssuerRef.Name = "default"
	for _, condition := range token.Status.Conditions {
		shown.Status.Conditions = append(shown.Status.Conditions, metav1.Condition{
			Type: condition.Type, Status: condition.Status, Reason: condition.Reason, ObservedGeneration: condition.ObservedGeneration,
		})
	}
	return shown
}
