package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/grant"
)

// +kubebuilder:rbac:groups=tokensteward.io,resources=clustertokenissuers,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=tokensteward.io,resources=clustertokenissuers/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups="",resources=events,namespace=tokensteward-system,verbs=create;patch
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,namespace=tokensteward-system,verbs=get;create;update
// +kubebuilder:rbac:groups="",resources=configmaps,namespace=tokensteward-system,verbs=get;create;update

// IssuerReconciler says whether an issuer can be used, and keeps it as long as a token refers to it.
type IssuerReconciler struct {
	Client client.Client
	Clock  clock.PassiveClock
}

// SetupIssuers adds the controller of issuers to a manager. SetupAccountTokens and SetupProjectTokens must have been
// called before: it uses their indexes.
func SetupIssuers(mgr ctrl.Manager, r IssuerReconciler) error {
	released := builder.WithPredicates(gone)
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.ClusterTokenIssuer{}).
		Watches(&v1alpha1.AccountToken{}, handler.EnqueueRequestsFromMapFunc(issuerOf), released).
		Watches(&v1alpha1.ProjectToken{}, handler.EnqueueRequestsFromMapFunc(issuerOf), released).
		Complete(&r)
}

func issuerOf(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Name: o.(v1alpha1.Token).SharedSpec().IssuerRef.Name}}}
}

// Reconcile implements reconcile.Reconciler.
func (r *IssuerReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var issuer v1alpha1.ClusterTokenIssuer
	if err := r.Client.Get(ctx, request.NamespacedName, &issuer); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	err := r.reconcile(ctx, &issuer)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: conflictRetry}, nil
	}
	return reconcile.Result{}, err
}

func (r *IssuerReconciler) reconcile(ctx context.Context, issuer *v1alpha1.ClusterTokenIssuer) error {
	if issuer.DeletionTimestamp.IsZero() {
		// Before Ready, so that no token can exist whose issuer could vanish.
		if err := r.patchFinalizers(ctx, issuer, controllerutil.AddFinalizer); err != nil {
			return err
		}
		if err := grant.ValidateSelectors(issuer); err != nil {
			return r.report(ctx, issuer, metav1.ConditionFalse, v1alpha1.ReasonInvalidSelector,
				fmt.Sprintf("A namespaceSelector in spec.grants is not valid: %s. Correct it.", err))
		}
		return r.report(ctx, issuer, metav1.ConditionTrue, v1alpha1.ReasonAvailable, "Tokens can be asked for.")
	}
	users := 0
	for _, list := range []client.ObjectList{&v1alpha1.AccountTokenList{}, &v1alpha1.ProjectTokenList{}} {
		tokens, err := listTokens(ctx, r.Client, list, client.MatchingFields{issuerIndex: issuer.Name})
		if err != nil {
			return err
		}
		users += len(tokens)
	}
	if users > 0 {
		return r.report(ctx, issuer, metav1.ConditionFalse, v1alpha1.ReasonInUse,
			fmt.Sprintf("Being deleted, and kept until the resources that refer to it are deleted: %d left.", users))
	}
	return r.patchFinalizers(ctx, issuer, controllerutil.RemoveFinalizer)
}

func (r *IssuerReconciler) patchFinalizers(ctx context.Context, issuer *v1alpha1.ClusterTokenIssuer, change func(client.Object, string) bool) error {
	stored := issuer.DeepCopy()
	if !change(issuer, v1alpha1.Finalizer) {
		return nil
	}
	err := r.Client.Patch(ctx, issuer, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("changing the finalizer: %w", err)
	}
	return nil
}

func (r *IssuerReconciler) report(ctx context.Context, issuer *v1alpha1.ClusterTokenIssuer, ready metav1.ConditionStatus, reason, message string) error {
	stored := issuer.DeepCopy()
	issuer.Status.ObservedGeneration = issuer.Generation
	condition := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: ready, Reason: reason, Message: message,
		ObservedGeneration: issuer.Generation, LastTransitionTime: metav1.NewTime(r.Clock.Now()),
	}
	meta.SetStatusCondition(&issuer.Status.Conditions, condition)
	if reason == v1alpha1.ReasonInvalidSelector {
		condition.Type, condition.Status = v1alpha1.ConditionStalled, metav1.ConditionTrue
		meta.SetStatusCondition(&issuer.Status.Conditions, condition)
	} else {
		meta.RemoveStatusCondition(&issuer.Status.Conditions, v1alpha1.ConditionStalled)
	}
	if equality.Semantic.DeepEqual(stored.Status, issuer.Status) {
		return nil
	}
	if err := r.Client.Status().Patch(ctx, issuer, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	return nil
}
