package controllers

import (
	"fmt"

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
		newToken: func() v1alpha1.Token { return &v1alpha1.AccountToken{} },
		newList:  func() client.ObjectList { return &v1alpha1.AccountTokenList{} },
		builtInRefusal: func(issuer *v1alpha1.ClusterTokenIssuer, namespace grant.Namespace, t v1alpha1.Token) *lifecycle.Problem {
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
			case !grant.Account(issuer, namespace, account):
				return &lifecycle.Problem{
					Reason: v1alpha1.ReasonNotGranted,
					Message: fmt.Sprintf("ClusterTokenIssuer %q does not grant the account %q to the namespace %q: add both to an entry of spec.grants there.",
						issuer.Name, account, namespace.Name),
				}
			}
			return nil
		},
		codacyRefusal: func(issuer v1alpha1.Issuer, namespace grant.Namespace, t v1alpha1.Token) *lifecycle.Problem {
			account := issuer.SharedStatus().Account
			if account == nil {
				return nil // The issuer was never ready, which is told already.
			}
			if wanted := t.Subject(); wanted != "" && wanted != account.ID && wanted != account.Name && wanted != account.Email {
				return &lifecycle.Problem{
					Reason: v1alpha1.ReasonAccountMismatch, Stalled: true,
					Message: fmt.Sprintf("spec.account is %q, and the credential of %s %q belongs to the account %s, whose tokens are all that it can make: use an issuer with a credential of %q.",
						wanted, issuer.Kind(), issuer.GetName(), accountName(account), wanted),
				}
			}
			if current := t.SharedStatus().Token; current != nil && current.AccountID != account.ID {
				return &lifecycle.Problem{
					Reason: v1alpha1.ReasonAccountChanged, Stalled: true,
					Message: fmt.Sprintf("The token belongs to the account %s, and the credential of %s %q now to %s: put a credential of the former into the credentials Secret, or create another resource.",
						current.AccountID, issuer.Kind(), issuer.GetName(), accountName(account)),
				}
			}
			cluster, ok := issuer.(*v1alpha1.ClusterTokenIssuer)
			if !ok || grant.Account(cluster, namespace, account.ID, account.Name, account.Email) {
				return nil
			}
			return &lifecycle.Problem{
				Reason: v1alpha1.ReasonNotGranted,
				Message: fmt.Sprintf("ClusterTokenIssuer %q does not grant the account %q to the namespace %q: add both to an entry of spec.grants there.",
					cluster.Name, accountName(account), namespace.Name),
			}
		},
	})
}
