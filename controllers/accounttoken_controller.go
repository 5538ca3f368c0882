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

// +kubebuilder:rbac:groups=tokensteward.io,resources=accounttokens,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=tokensteward.io,resources=accounttokens/status,verbs=patch

// SetupAccountTokens adds the controller of AccountTokens to a manager.
func SetupAccountTokens(mgr ctrl.Manager, r TokenReconciler) error {
	return r.setup(mgr, kind{
		newToken:   func() v1alpha1.Token { return &v1alpha1.AccountToken{} },
		newList:    func() client.ObjectList { return &v1alpha1.AccountTokenList{} },
		defaultKey: "API_TOKEN",
		refusal: func(issuer *v1alpha1.ClusterTokenIssuer, namespace *metav1.PartialObjectMetadata, t v1alpha1.Token) *lifecycle.Problem {
			account := t.Subject()
			switch {
			case account == "":
				return &lifecycle.Problem{
					Reason:  v1alpha1.ReasonAccountRequired,
					Message: fmt.Sprintf("ClusterTokenIssuer %q is built in: set spec.account to one of its accounts.", issuer.Name),
					Stalled: true,
				}
			case !grant.AccountKnown(issuer, account):
				return &lifecycle.Problem{
					Reason:  v1alpha1.ReasonUnknownAccount,
					Message: fmt.Sprintf("ClusterTokenIssuer %q has no account %q: add it to spec.builtIn.accounts there.", issuer.Name, account),
				}
			case !grant.Account(issuer, namespaceOf(namespace), account):
				return &lifecycle.Problem{
					Reason: v1alpha1.ReasonNotGranted,
					Message: fmt.Sprintf("ClusterTokenIssuer %q does not grant the account %q to the namespace %q: add both to an entry of spec.grants there.",
						issuer.Name, account, namespace.Name),
				}
			}
			return nil
		},
	})
}

func namespaceOf(namespace *metav1.PartialObjectMetadata) grant.Namespace {
	return grant.Namespace{Name: namespace.Name, Labels: namespace.Labels}
}
