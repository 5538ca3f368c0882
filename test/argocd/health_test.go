// Package argocd asks Argo CD's own engine what it makes of Tokensteward's resources. It is a module of its own, so that
// Argo CD's dependencies stay out of the operator's.
package argocd

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/gitops-engine/pkg/health"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// Without a health check of its own for a kind, Argo CD does not hold a sync up for it and never calls it degraded. The
// objects in testdata are what the operator wrote: `go test ./controllers -run States -update` writes them anew.
func TestArgoCDsDefaultHealthOfATokenNeverBlocksASync(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d objects in testdata: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			object := &unstructured.Unstructured{}
			if err := yaml.Unmarshal(content, &object.Object); err != nil {
				t.Fatal(err)
			}
			status, err := health.GetResourceHealth(object, lua.ResourceHealthOverrides{})
			if err != nil {
				t.Fatal(err)
			}
			if status != nil {
				t.Errorf("%s: %s", status.Status, status.Message)
			}
			now := metav1.Now()
			object.SetDeletionTimestamp(&now)
			status, err = health.GetResourceHealth(object, lua.ResourceHealthOverrides{})
			if err != nil {
				t.Fatal(err)
			}
			if status == nil || status.Status != health.HealthStatusProgressing {
				t.Errorf("while it is being deleted: %v", status)
			}
		})
	}
}
