package guides_test

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// backup are objects as Velero keeps them, in the order in which it restores them: namespaces, Secrets and ConfigMaps before
// all others, which come in the order of their names.
type backup []unstructured.Unstructured

// backUp takes the namespaces, the issuers and what is in team-a, and of the operator's namespace the Secrets and ConfigMaps.
func (g *guide) backUp() (taken backup) {
	g.Helper()
	core := schema.GroupVersion{Version: "v1"}
	for _, of := range []struct {
		schema.GroupVersion
		kind, namespace string
	}{
		{core, "Namespace", ""},
		{core, "Secret", "team-a"}, {core, "Secret", testenv.Namespace}, {core, "ConfigMap", testenv.Namespace},
		{v1alpha1.GroupVersion, v1alpha1.KindAccountToken, "team-a"}, {v1alpha1.GroupVersion, v1alpha1.KindClusterTokenIssuer, ""},
		{v1alpha1.GroupVersion, v1alpha1.KindProjectToken, "team-a"}, {v1alpha1.GroupVersion, v1alpha1.KindTokenIssuer, "team-a"},
	} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(of.WithKind(of.kind + "List"))
		if err := g.cluster.controlPlane.Client.List(g.Context(), list, client.InNamespace(of.namespace)); err != nil {
			g.Fatal(err)
		}
		taken = append(taken, list.Items...)
	}
	return taken
}

// restore does what Velero does with a backup: labels, annotations and finalizers come back; UIDs, owners and the status do
// not; and what exists is left as it is. With restoreStatus in a Restore it writes the status after it has created an object,
// and only warns if it may not.
func (g *guide) restore(taken backup, withStatus bool) (warned bool) {
	g.Helper()
	for _, kept := range taken {
		object := kept.DeepCopy()
		// managedFields come back by a patch, which makes no difference here.
		for _, field := range []string{"generateName", "uid", "resourceVersion", "generation", "creationTimestamp",
			"deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences", "managedFields"} {
			unstructured.RemoveNestedField(object.Object, "metadata", field)
		}
		unstructured.RemoveNestedField(object.Object, "status")
		labels := object.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels["velero.io/backup-name"], labels["velero.io/restore-name"] = "tokens", "tokens-again"
		object.SetLabels(labels)
		err := g.cluster.controlPlane.Client.Create(g.Context(), object)
		if apierrors.IsAlreadyExists(err) {
			continue
		}
		if err != nil {
			g.Fatal(err)
		}
		status, found := kept.Object["status"]
		if found && withStatus && object.GroupVersionKind().Group == v1alpha1.GroupVersion.Group {
			err := retry.RetryOnConflict(retry.DefaultRetry, func() error { // The operator writes it, too.
				if err := g.cluster.controlPlane.Client.Get(g.Context(), client.ObjectKeyFromObject(object), object); err != nil {
					return err
				}
				object.Object["status"] = status
				return g.cluster.controlPlane.Client.Status().Update(g.Context(), object)
			})
			if err != nil && !apierrors.IsForbidden(err) {
				g.Fatal(err)
			}
			warned = warned || err != nil
		}
	}
	return warned
}
