package controllers

import (
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/grant"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
)

// +kubebuilder:rbac:groups=tokensteward.io,resources=projecttokens,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=tokensteward.io,resources=projecttokens/status,verbs=patch

// SetupProjectTokens adds the controller of ProjectTokens to a manager.
func SetupProjectTokens(mgr ctrl.Manager, r TokenReconciler) error {
	return r.setup(mgr, kind{
		newToken:       func() v1alpha1.Token { return &v1alpha1.ProjectToken{} },
		newList:        func() client.ObjectList { return &v1alpha1.ProjectTokenList{} },
		builtInRefusal: projectRefusal,
		codacyRefusal: func(issuer v1alpha1.Issuer, namespace grant.Namespace, t v1alpha1.Token) *lifecycle.Problem {
			cluster, ok := issuer.(*v1alpha1.ClusterTokenIssuer)
			if !ok {
				return nil // A TokenIssuer serves its whole namespace.
			}
			return projectRefusal(cluster, namespace, t)
		},
	})
}

func projectRefusal(issuer *v1alpha1.ClusterTokenIssuer, namespace grant.Namespace, t v1alpha1.Token) *lifecycle.Problem {
	if grant.Project(issuer, namespace, t.(*v1alpha1.ProjectToken).Spec.Project) {
		return nil
	}
	return &lifecycle.Problem{
		Reason: v1alpha1.ReasonNotGranted,
		Message: fmt.Sprintf("ClusterTokenIssuer %q does not grant the project %s to the namespace %q: add both to an entry of spec.grants there.",
			issuer.Name, t.Subject(), namespace.Name),
	}
}
