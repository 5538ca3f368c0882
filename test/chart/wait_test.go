package chart_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// TestHelmWaitsForATokenInATeamsOwnChart: docs/gitops.md says so. Helm reads the conditions by kstatus, as Flux does.
func TestHelmWaitsForATokenInATeamsOwnChart(t *testing.T) {
	cp := startAPIServer(t)
	binary, err := testenv.BuildOperator(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	operator, err := testenv.StartOperator(t.Context(), binary, cp.OperatorKubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		operator.Stop()
		if err := operator.Remove(); err != nil {
			t.Error(err)
		}
	})

	directory := t.TempDir()
	for name, text := range map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: website\nversion: 1.0.0\n",
		"templates/token.yaml": `apiVersion: tokensteward.io/v1alpha1
kind: ProjectToken
metadata: {name: ci}
spec:
  issuerRef: {name: late}
  project: {provider: gh, organization: acme, repository: website}
`,
	} {
		path := filepath.Join(directory, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	install := func(timeout string) ([]byte, error) {
		command := exec.CommandContext(t.Context(), filepath.Join(testenv.Root(), "bin", "helm"),
			"upgrade", "--install", "website", directory, "--namespace", "team-a", "--wait", "--timeout", timeout)
		command.Env = cp.Environ()
		return command.CombinedOutput()
	}
	if output, err := install("4s"); err == nil {
		t.Fatalf("helm does not wait for a token whose issuer does not exist: %s", output)
	}
	issuer := &v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "late"},
		Spec: v1alpha1.ClusterTokenIssuerSpec{
			BuiltIn: &v1alpha1.BuiltInIssuer{},
			Grants:  []v1alpha1.Grant{{Namespaces: []v1alpha1.NamespaceName{"team-a"}, Projects: []v1alpha1.ProjectPattern{"gh/acme/*"}}},
		},
	}
	if err := cp.Client.Create(t.Context(), issuer); err != nil {
		t.Fatal(err)
	}
	if output, err := install("1m"); err != nil {
		t.Fatalf("helm: %v: %s", err, output)
	}
	var secret corev1.Secret
	if err := cp.Client.Get(t.Context(), client.ObjectKey{Namespace: "team-a", Name: "ci"}, &secret); err != nil {
		t.Errorf("helm did not wait until the Secret was there: %v", err)
	}
}
