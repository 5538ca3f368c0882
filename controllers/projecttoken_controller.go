package controllers

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
		newToken:   func() v1alpha1.Token { return &v1alpha1.ProjectToken{} },
		newList:    func() client.ObjectList { return &v1alpha1.ProjectTokenList{} },
		defaultKey: "PROJECT_TOKEN",
		refusal: func(issuer *v1alpha1.ClusterTokenIssuer, namespace *metav1.PartialObjectMetadata, t v1alpha1.Token) *lifecycle.Problem {
			if grant.Project(issuer, namespaceOf(namespace), t.(*v1alpha1.ProjectToken).Spec.Project) {
				return nil
			}
			return &lifecycle.Problem{
				Reason: v1alpha1.ReasonNotGranted,
				Message: fmt.Sprintf("ClusterTokenIssuer %q does not grant the project %s to the namespace %q: add both to an entry of spec.grants there.",
					issuer.Name, t.Subject(), namespace.Name),
			}
		},
	})
}
