package manager_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/manager"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// applier applies default issuers on a real API server, with the least permissions.
type applier struct {
	*testing.T
	controlPlane *testenv.ControlPlane
	k8s, limited client.Client
	file         string
}

func newApplier(t *testing.T) *applier {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	ctx, cancel := context.WithCancel(t.Context())
	controlPlane, err := testenv.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := controlPlane.Stop(); err != nil {
			t.Error(err)
		}
	})
	a := &applier{T: t, controlPlane: controlPlane, k8s: controlPlane.Client, file: filepath.Join(t.TempDir(), "issuer.yaml")}
	config := rest.CopyConfig(controlPlane.Admin)
	config.Impersonate = rest.ImpersonationConfig{UserName: "applier", Groups: []string{"system:authenticated"}}
	if a.limited, err = client.New(config, client.Options{Scheme: manager.Scheme()}); err != nil {
		t.Fatal(err)
	}
	return a
}

// permit gives the applier the permissions that a default issuer takes.
func (a *applier) permit() {
	a.Helper()
	for _, o := range []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "applier"}, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"clustertokenissuers"}, Verbs: []string{"create", "patch"},
		}}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "applier"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "applier"},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "applier"}},
		},
	} {
		if err := a.k8s.Create(a.Context(), o); err != nil {
			a.Fatal(err)
		}
	}
	if err := a.controlPlane.AwaitPermission(a.Context(), "applier", authorizationv1.ResourceAttributes{
		Verb: "patch", Group: v1alpha1.GroupVersion.Group, Resource: "clustertokenissuers",
	}, true); err != nil {
		a.Fatal(err)
	}
}

// apply writes the file and has it applied.
func (a *applier) apply(spec string) error {
	a.Helper()
	content := "apiVersion: tokensteward.io/v1alpha1\nkind: ClusterTokenIssuer\nmetadata: {name: default}\nspec: " + spec + "\n"
	if err := os.WriteFile(a.file, []byte(content), 0o600); err != nil {
		a.Fatal(err)
	}
	return manager.ApplyDefaultIssuer(a.Context(), a.limited, a.file, manager.DefaultIssuerPatience)
}

func (a *applier) mustApply(spec string) {
	a.Helper()
	if err := a.apply(spec); err != nil {
		a.Fatal(err)
	}
}

func (a *applier) issuer() *v1alpha1.ClusterTokenIssuer {
	a.Helper()
	var issuer v1alpha1.ClusterTokenIssuer
	if err := a.k8s.Get(a.Context(), client.ObjectKey{Name: "default"}, &issuer); err != nil {
		a.Fatal(err)
	}
	return &issuer
}

// refused wants an error that names the file and says more, and an issuer that is left as it is.
func (a *applier) refused(spec string, says ...string) {
	a.Helper()
	before := a.issuer().ResourceVersion
	err := a.apply(spec)
	if err == nil {
		a.Errorf("%s is accepted", spec)
		return
	}
	for _, words := range append(says, "--default-issuer", a.file) {
		if !strings.Contains(err.Error(), words) {
			a.Errorf("%q does not say %q", err, words)
		}
	}
	if a.issuer().ResourceVersion != before {
		a.Errorf("%s changed the issuer", spec)
	}
}

func TestTheDefaultIssuerIsCreatedChangedAndTakenOver(t *testing.T) {
	a := newApplier(t)
	const one, two = "{builtIn: {accounts: [{name: alice}]}}", "{builtIn: {accounts: [{name: bob}]}, grants: [{namespaces: [team-a], accounts: [bob]}]}"
	if err := a.apply(one); err == nil || !strings.Contains(err.Error(), "create and patch clustertokenissuers") {
		t.Fatalf("without permissions: %v", err)
	}
	a.permit()
	a.mustApply(one)
	created := a.issuer()
	if len(created.Spec.BuiltIn.Accounts) != 1 || created.Spec.BuiltIn.Accounts[0].Name != "alice" {
		t.Errorf("created as %+v", created.Spec)
	}

	// What the operator and people have added stays.
	created.Finalizers = []string{v1alpha1.Finalizer}
	created.Labels = map[string]string{"kept-by": "a-person"}
	if err := a.k8s.Update(t.Context(), created); err != nil {
		t.Fatal(err)
	}
	a.mustApply(two)
	changed := a.issuer()
	if len(changed.Spec.BuiltIn.Accounts) != 1 || changed.Spec.BuiltIn.Accounts[0].Name != "bob" || len(changed.Spec.Grants) != 1 {
		t.Errorf("changed to %+v", changed.Spec)
	}
	if len(changed.Finalizers) != 1 || changed.Labels["kept-by"] != "a-person" || changed.UID != created.UID {
		t.Errorf("changed to %+v", changed.ObjectMeta)
	}
	a.mustApply(two)
	if again := a.issuer(); again.ResourceVersion != changed.ResourceVersion {
		t.Error("an unchanged file wrote something")
	}
	for _, owner := range changed.ManagedFields {
		if owner.Manager == "tokensteward-default-issuer" && (strings.Contains(owner.FieldsV1.GetRawString(), "f:status") || strings.Contains(owner.FieldsV1.GetRawString(), "f:finalizers")) {
			t.Errorf("it owns %s", owner.FieldsV1.GetRawString())
		}
	}

	a.refused("{builtIn: {accounts: [{name: Not A Name}]}}", "spec.builtIn.accounts[0].name", "correct it in the file")
	a.refused("{codacy: {credentialsSecretRef: {name: codacy}}}", "immutable")
	a.refused("{builtIn: {account: []}}", `unknown field "spec.builtIn.account"`)

	// What an earlier installation, or a person, left behind is taken over, with all that the file says. What a person put
	// beside it into a list of entries stays, as docs/clustertokenissuer.md says.
	kept := a.issuer()
	kept.Finalizers = nil
	if err := a.k8s.Update(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	if err := a.k8s.Delete(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	left := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.ClusterTokenIssuerSpec{
		BuiltIn: &v1alpha1.BuiltInIssuer{Accounts: []v1alpha1.Account{{Name: "bob", Access: []v1alpha1.AccessPath{"gh/left-behind"}}}},
		Grants:  []v1alpha1.Grant{{Namespaces: []v1alpha1.NamespaceName{"team-z"}, Accounts: []v1alpha1.AccountPattern{"*"}}},
	}}
	if err := a.k8s.Create(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	a.mustApply(two)
	taken := a.issuer()
	if taken.UID != left.UID || len(taken.Spec.Grants) != 1 || taken.Spec.Grants[0].Namespaces[0] != "team-a" {
		t.Errorf("taken over as %+v", taken.Spec)
	}
	if access := taken.Spec.BuiltIn.Accounts[0].Access; len(access) != 1 || access[0] != "gh/left-behind" {
		t.Errorf("bob's access is %v", access)
	}
	if meta.FindStatusCondition(taken.Status.Conditions, v1alpha1.ConditionReady) != nil {
		t.Error("it wrote a status")
	}
}
