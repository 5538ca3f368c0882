package argocd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/gitops-engine/pkg/health"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// customizations are those of config/argocd, as Argo CD reads them from its ConfigMap.
func customizations(t *testing.T) map[string]v1alpha1.ResourceOverride {
	t.Helper()
	content, err := os.ReadFile("../../config/argocd/argocd-cm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var configMap struct{ Data map[string]string }
	if err := yaml.UnmarshalStrict(content, &configMap); err != nil {
		t.Fatal(err)
	}
	overrides := map[string]v1alpha1.ResourceOverride{}
	for key, text := range configMap.Data {
		parts := strings.SplitN(strings.TrimPrefix(key, "resource.customizations."), ".", 2)
		group, kind, ok := strings.Cut(parts[1], "_")
		if !ok {
			t.Fatalf("the key %q names no kind", key)
		}
		override := overrides[group+"/"+kind]
		switch parts[0] {
		case "health":
			override.HealthLua = text
		case "actions":
			override.Actions = text
		default:
			t.Fatalf("the key %q is none of Argo CD's", key)
		}
		overrides[group+"/"+kind] = override
	}
	if len(overrides) != 4 {
		t.Fatalf("customizations of %d kinds, want those of all four", len(overrides))
	}
	return overrides
}

func written(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(content, &object.Object); err != nil {
		t.Fatal(err)
	}
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for i := range conditions {
		conditions[i].(map[string]any)["message"] = "The operator says why."
	}
	if len(conditions) == 0 || unstructured.SetNestedSlice(object.Object, conditions, "status", "conditions") != nil {
		t.Fatalf("%s has no conditions", name)
	}
	return object
}

func suspended(o *unstructured.Unstructured, suspend bool) *unstructured.Unstructured {
	_ = unstructured.SetNestedField(o.Object, suspend, "spec", "suspend")
	return o
}

func TestArgoCDToldOfTheHealthOfResources(t *testing.T) {
	overrides := lua.ResourceHealthOverrides(customizations(t))
	changed := written(t, "ready")
	changed.SetGeneration(2)
	unseen := written(t, "ready")
	delete(unseen.Object, "status")
	for name, test := range map[string]struct {
		object *unstructured.Unstructured
		want   health.HealthStatusCode
		says   string
	}{
		"ready":                   {written(t, "ready"), health.HealthStatusHealthy, "says why"},
		"stalled":                 {written(t, "stalled"), health.HealthStatusDegraded, "says why"},
		"waiting":                 {written(t, "waiting"), health.HealthStatusProgressing, "says why"},
		"suspended":               {suspended(written(t, "ready"), true), health.HealthStatusSuspended, "says why"},
		"suspended and stalled":   {suspended(written(t, "stalled"), true), health.HealthStatusDegraded, "says why"},
		"changed, and not seen":   {changed, health.HealthStatusProgressing, "has not seen it"},
		"new, without any status": {unseen, health.HealthStatusProgressing, "has not seen it"},
	} {
		for _, kind := range []string{"AccountToken", "ProjectToken", "TokenIssuer", "ClusterTokenIssuer"} {
			if strings.Contains(name, "suspended") && strings.HasSuffix(kind, "Issuer") {
				continue // They can't be.
			}
			object := test.object.DeepCopy()
			object.SetKind(kind)
			got, err := health.GetResourceHealth(object, overrides)
			switch {
			case err != nil:
				t.Errorf("%s %s: %v", kind, name, err)
			case got == nil || got.Status != test.want || !strings.Contains(got.Message, test.says) || got.Message == "":
				t.Errorf("%s %s: %+v, want %s", kind, name, got, test.want)
			}
		}
	}
}

func TestArgoCDsActions(t *testing.T) {
	vm := lua.VM{ResourceOverrides: customizations(t)}
	run := func(object *unstructured.Unstructured, name string) *unstructured.Unstructured {
		t.Helper()
		action, err := vm.GetResourceAction(object, name)
		if err != nil {
			t.Fatal(err)
		}
		impacted, err := vm.ExecuteResourceAction(object, action.ActionLua, nil)
		if err != nil || len(impacted) != 1 {
			t.Fatalf("%s: %d resources, %v", name, len(impacted), err)
		}
		return impacted[0].UnstructuredObj
	}
	offered := func(object *unstructured.Unstructured) map[string]bool {
		t.Helper()
		scripts, err := vm.GetResourceActionDiscovery(object)
		if err != nil {
			t.Fatal(err)
		}
		actions, err := vm.ExecuteResourceActionDiscovery(object, scripts)
		if err != nil {
			t.Fatal(err)
		}
		enabled := map[string]bool{}
		for _, action := range actions {
			enabled[action.Name] = !action.Disabled
		}
		return enabled
	}
	for _, kind := range []string{"AccountToken", "ProjectToken"} {
		object := written(t, "ready")
		object.SetKind(kind)
		if got := offered(object); !got["rotate"] || !got["suspend"] || got["resume"] || len(got) != 3 {
			t.Errorf("%s: offered %v", kind, got)
		}
		if run(object, "rotate").GetAnnotations()["tokensteward.io/rotate-requested-at"] == "" {
			t.Errorf("%s: rotate asks for nothing", kind)
		}
		stopped := run(object, "suspend")
		if suspend, _, _ := unstructured.NestedBool(stopped.Object, "spec", "suspend"); !suspend {
			t.Errorf("%s: suspend does not", kind)
		}
		if got := offered(stopped); got["rotate"] || got["suspend"] || !got["resume"] {
			t.Errorf("%s: offered %v while suspended", kind, got)
		}
		if suspend, _, _ := unstructured.NestedBool(run(stopped, "resume").Object, "spec", "suspend"); suspend {
			t.Errorf("%s: resume does not", kind)
		}
	}
}
