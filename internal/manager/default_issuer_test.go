package manager

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

const defaultIssuerFile = `# what a chart renders begins with a comment
---
apiVersion: tokensteward.io/v1alpha1
kind: ClusterTokenIssuer
metadata:
  name: default
  labels: {app: tokensteward}
spec:
  builtIn:
    accounts: [{name: alice, access: [gh/acme]}]
  grants:
    - {namespaces: [team-a], accounts: [alice]}
`

func TestTheFileOfTheDefaultIssuerHoldsOneAndNothingElse(t *testing.T) {
	issuer, err := parseDefaultIssuer([]byte(defaultIssuerFile))
	if err != nil {
		t.Fatal(err)
	}
	if issuer.GetName() != "default" || issuer.GetKind() != v1alpha1.KindClusterTokenIssuer || issuer.Object["spec"] == nil {
		t.Errorf("read %v", issuer.Object)
	}
	for name, test := range map[string]struct{ content, says string }{
		"empty":               {"# nothing\n", "0 documents"},
		"two documents":       {defaultIssuerFile + "---\n" + defaultIssuerFile, "2 documents"},
		"not YAML":            {"a: [", "YAML"},
		"no object":           {"- a\n", "ClusterTokenIssuer"},
		"an unknown field":    {strings.Replace(defaultIssuerFile, "  grants:", "  grant:", 1), `unknown field "spec.grant"`},
		"a field deep within": {strings.Replace(defaultIssuerFile, "namespaces:", "nameSpaces:", 1), `unknown field "spec.grants[0].nameSpaces"`},
		"a field twice":       {defaultIssuerFile + "kind: ClusterTokenIssuer\n", "already set"},
		"another kind":        {strings.Replace(defaultIssuerFile, "kind: ClusterTokenIssuer", "kind: TokenIssuer", 1), `its kind "TokenIssuer"`},
		"another group":       {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: default}\n", `its apiVersion is "v1"`},
		"another version":     {strings.Replace(defaultIssuerFile, "v1alpha1", "v1", 1), `must be "tokensteward.io/v1alpha1"`},
		"no kind":             {strings.Replace(defaultIssuerFile, "kind: ClusterTokenIssuer", "", 1), `its kind ""`},
		"a list for a name":   {strings.Replace(defaultIssuerFile, "[team-a]", "team-a", 1), "correct it"},
		"no name":             {strings.Replace(defaultIssuerFile, "name: default", "", 1), "metadata.name"},
		"a uid":               {strings.Replace(defaultIssuerFile, "name: default", "name: default\n  uid: a", 1), "metadata.uid"},
		"a finalizer":         {strings.Replace(defaultIssuerFile, "name: default", "name: default\n  finalizers: [a/b]", 1), "metadata.finalizers"},
		"a status":            {defaultIssuerFile + "status: {}\n", "status"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parseDefaultIssuer([]byte(test.content)); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("the error is %v, and should say %s", err, test.says)
			}
		})
	}
}

// impatient asks as often as the operator does, and waits for nothing.
var impatient = wait.Backoff{Duration: time.Microsecond, Steps: defaultIssuerPatience.Steps}

func TestTheDefaultIssuerIsTriedAgainOnlyAfterWhatMayPass(t *testing.T) {
	file := filepath.Join(t.TempDir(), "issuer.yaml")
	if err := os.WriteFile(file, []byte(defaultIssuerFile), 0o600); err != nil {
		t.Fatal(err)
	}
	resource := schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "clustertokenissuers"}
	for name, test := range map[string]struct {
		failure error
		passes  bool
		says    string
	}{
		"connection refused": {&url.Error{Op: "Patch", URL: "https://127.0.0.1", Err: &net.OpError{Op: "dial", Err: errors.New("connection refused")}}, true, "connection refused"},
		"a timeout":          {context.DeadlineExceeded, true, "deadline"},
		"unavailable":        {apierrors.NewServiceUnavailable("starting"), true, "starting"},
		"an internal error":  {apierrors.NewInternalError(errors.New("etcd")), true, "etcd"},
		"too many requests":  {apierrors.NewTooManyRequests("slow down", 1), true, "slow down"},
		"no CRD":             {apierrors.NewNotFound(resource, ""), true, "CRDs"},
		"no kind":            {&meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: v1alpha1.KindClusterTokenIssuer}}, true, "CRDs"},
		"another replica":    {apierrors.NewConflict(resource, "default", errors.New("modified")), true, "modified"},
		"invalid":            {apierrors.NewInvalid(schema.GroupKind{Kind: v1alpha1.KindClusterTokenIssuer}, "default", nil), false, "correct it in the file"},
		"not understood":     {apierrors.NewBadRequest("what?"), false, "correct it in the file"},
		"forbidden":          {apierrors.NewForbidden(resource, "default", errors.New("no Role")), false, "create and patch clustertokenissuers"},
	} {
		t.Run(name, func(t *testing.T) {
			tries, failures := 0, 3
			c := fake.NewClientBuilder().WithScheme(Scheme()).WithInterceptorFuncs(interceptor.Funcs{
				Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
					if tries++; tries <= failures {
						return test.failure
					}
					return nil
				},
			}).Build()
			err := applyDefaultIssuer(t.Context(), c, file, impatient)
			if test.passes && (err != nil || tries != 4) {
				t.Errorf("after %d tries: %v", tries, err)
			}
			if !test.passes && (err == nil || tries != 1) {
				t.Errorf("after %d tries: %v", tries, err)
			}

			tries, failures = 0, 1000
			err = applyDefaultIssuer(t.Context(), c, file, impatient)
			if err == nil {
				t.Fatal("no error")
			}
			for _, words := range []string{"--default-issuer", file, `"default"`, test.says} {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("%q does not say %q", err, words)
				}
			}
		})
	}
}

func TestTheDefaultIssuerIsWaitedForNotQuiteAMinute(t *testing.T) {
	patience, total := defaultIssuerPatience, time.Duration(0)
	patience.Jitter = 0
	for patience.Steps > 1 { // The last try is followed by nothing.
		total += patience.Step()
	}
	longest := time.Duration(float64(total) * (1 + defaultIssuerPatience.Jitter))
	if total < 40*time.Second || longest > defaultIssuerTimeout {
		t.Errorf("it is waited for %s to %s", total, longest)
	}
}

func TestAFileThatIsNotThereIsNamed(t *testing.T) {
	err := applyDefaultIssuer(t.Context(), fake.NewFakeClient(), "/nowhere/issuer.yaml", impatient)
	if err == nil || !strings.Contains(err.Error(), "--default-issuer") || !strings.Contains(err.Error(), "/nowhere/issuer.yaml") {
		t.Errorf("the error is %v", err)
	}
}
