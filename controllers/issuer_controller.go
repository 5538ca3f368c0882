package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/grant"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/metrics"
)

// +kubebuilder:rbac:groups=tokensteward.io,resources=clustertokenissuers;tokenissuers,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=tokensteward.io,resources=clustertokenissuers/status;tokenissuers/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=list
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create
// +kubebuilder:rbac:groups=apps,resources=deployments;statefulsets;daemonsets,verbs=get;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups="",resources=events,namespace=tokensteward-system,verbs=create;patch
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,namespace=tokensteward-system,verbs=get;create;update
// +kubebuilder:rbac:groups="",resources=configmaps,namespace=tokensteward-system,verbs=get;create;update

// IssuerReconciler says whether an issuer can be used, connects it to its service, and keeps it as long as a token refers
// to it. Each kind of issuer has an instance of its own.
type IssuerReconciler struct {
	// Client reads from the cache and writes; Live reads from the API server itself.
	Client client.Client
	Live   client.Reader
	Clock  clock.PassiveClock
	// Services are the connections that it makes.
	Services *codacy.Services
	// Namespace is the operator's own, where ClusterTokenIssuers have their credentials.
	Namespace string
	// AllowedHosts are those that a TokenIssuer may connect to.
	AllowedHosts []string
	// Scope is what the installation looks after.
	Scope Scope

	kind  string
	tries *tries
}

// credentialsIndex finds the issuers that name a credentials Secret.
const credentialsIndex = "credentialsSecretRef"

// SetupIssuers adds the controllers of the kinds of issuers that are served to a manager. SetupAccountTokens and
// SetupProjectTokens must have been called before: it uses their indexes.
func SetupIssuers(mgr ctrl.Manager, r IssuerReconciler) error {
	for _, kind := range r.Scope.issuerKinds() {
		err := mgr.GetFieldIndexer().IndexField(context.Background(), newIssuer(kind), credentialsIndex, func(o client.Object) []string {
			if spec := o.(v1alpha1.Issuer).SharedSpec(); spec.Codacy != nil {
				return []string{spec.Codacy.CredentialsSecretRef.Name}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("indexing %ss by their credentials Secrets: %w", kind, err)
		}
		if err := r.setup(mgr, kind); err != nil {
			return err
		}
	}
	return nil
}

func (r IssuerReconciler) setup(mgr ctrl.Manager, kind string) error {
	r.kind, r.tries = kind, newTries(r.Clock)
	released := builder.WithPredicates(gone)
	return ctrl.NewControllerManagedBy(mgr).
		For(newIssuer(kind)).
		Watches(&v1alpha1.AccountToken{}, handler.EnqueueRequestsFromMapFunc(r.issuerOf), released).
		Watches(&v1alpha1.ProjectToken{}, handler.EnqueueRequestsFromMapFunc(r.issuerOf), released).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.issuersOfSecret)).
		WatchesRawSource(source.Channel(changedConnections(r.Services), handler.EnqueueRequestsFromMapFunc(r.self))).
		WithOptions(controller.Options{NewQueue: queueOn(r.Clock)}).
		Complete(&r)
}

func (r *IssuerReconciler) issuerOf(_ context.Context, o client.Object) []reconcile.Request {
	key := issuerKey(o.(v1alpha1.Token))
	if key.Kind != r.kind {
		return nil
	}
	return []reconcile.Request{{NamespacedName: key.NamespacedName}}
}

func (r *IssuerReconciler) self(_ context.Context, o client.Object) []reconcile.Request {
	if o.(v1alpha1.Issuer).Kind() != r.kind {
		return nil
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(o)}}
}

// Reconcile implements reconcile.Reconciler.
func (r *IssuerReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	issuer := newIssuer(r.kind)
	if err := r.Client.Get(ctx, request.NamespacedName, issuer); err != nil {
		if apierrors.IsNotFound(err) { // Somebody may have taken the finalizer off.
			r.forget(codacy.Key{Kind: r.kind, NamespacedName: request.NamespacedName})
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	verdict, err := r.judge(ctx, issuer)
	switch {
	case err != nil && !apierrors.IsConflict(err) && ctx.Err() == nil && r.isNotInUse(issuer):
		err = errors.Join(err, r.report(ctx, issuer, unjudged(err)))
	case err == nil && verdict != nil:
		err = r.report(ctx, issuer, verdict)
	}
	switch {
	case apierrors.IsConflict(err):
		return later(conflictRetry), nil
	case err != nil || verdict == nil:
		return reconcile.Result{}, err
	default:
		now := r.Clock.Now()
		return requeueAfter(earlier(verdict.again, prune(issuer.SharedStatus(), now)), now), nil
	}
}

// isNotInUse says whether no token can be asked for, whatever the conditions say. While there is a connection, an error that passes
// changes nothing for anybody. That a credential was refused is still to be known after the next start.
func (r *IssuerReconciler) isNotInUse(i v1alpha1.Issuer) bool {
	ready := meta.FindStatusCondition(i.SharedStatus().Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil:
		return true
	case i.SharedSpec().Codacy == nil:
		return ready.Status != metav1.ConditionTrue
	default:
		return ready.Reason != v1alpha1.ReasonCredentialsRefused && r.Services.Get(keyOf(i)) == nil
	}
}

// unjudged is what there is to tell of an issuer that could not be looked at.
func unjudged(err error) *verdict {
	return &verdict{reason: v1alpha1.ReasonProgressing, message: fmt.Sprintf("Trying again: %s.", err)}
}

// earlier is the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// verdict is what there is to tell of an issuer.
type verdict struct {
	ready           bool
	reason, message string
	// stalled: nothing gets better before a person acts.
	stalled bool
	// refused is the hash of the credential if the service refuses it, and triedAt when that was asked.
	refused string
	triedAt time.Time
	// again is when to judge again without a change; zero: never.
	again time.Time
}

// judge finds out whether an issuer can be used; nil if it was released, and is gone.
func (r *IssuerReconciler) judge(ctx context.Context, issuer v1alpha1.Issuer) (*verdict, error) {
	deleting := !issuer.GetDeletionTimestamp().IsZero()
	users := 0
	if deleting {
		var err error
		if users, err = countUsers(ctx, r.Client, issuer); err != nil {
			return nil, err
		}
		if users == 0 {
			return nil, r.letGo(ctx, issuer)
		}
	} else if err := patchFinalizers(ctx, r.Client, issuer, controllerutil.AddFinalizer, v1alpha1.Finalizer); err != nil {
		return nil, err // Before Ready, so that no token can exist whose issuer could vanish.
	}
	found := &verdict{ready: true, reason: v1alpha1.ReasonAvailable, message: "Tokens can be asked for."}
	if issuer.SharedSpec().Codacy != nil {
		var err error
		if found, err = r.connect(ctx, issuer); err != nil {
			return nil, err
		}
	}
	if deleting {
		message := fmt.Sprintf("Being deleted, and kept until the resources that refer to it are deleted: %d left.", users)
		if found.ready {
			return &verdict{reason: v1alpha1.ReasonInUse, message: message}, nil
		}
		found.message = message + " " + found.message
		return found, nil
	}
	if cluster, ok := issuer.(*v1alpha1.ClusterTokenIssuer); ok && found.ready {
		if err := grant.ValidateSelectors(cluster); err != nil {
			return &verdict{
				reason: v1alpha1.ReasonInvalidSelector, stalled: true,
				message: fmt.Sprintf("A namespaceSelector in spec.grants is not valid: %s. Correct it.", err),
			}, nil
		}
	}
	if found.ready {
		found.message += onlyReports(issuer.SharedSpec(), &r.Scope)
	}
	return found, nil
}

// letGo gives up an issuer that nobody uses, and its credentials.
func (r *IssuerReconciler) letGo(ctx context.Context, issuer v1alpha1.Issuer) error {
	r.forget(keyOf(issuer))
	for _, name := range issuer.SharedStatus().CredentialsSecretNames {
		if err := r.releaseCredentials(ctx, issuer, string(name)); err != nil {
			return err
		}
	}
	return patchFinalizers(ctx, r.Client, issuer, controllerutil.RemoveFinalizer, v1alpha1.Finalizer)
}

// forget drops what this process has of an issuer.
func (r *IssuerReconciler) forget(key codacy.Key) {
	r.Services.Disconnect(key)
	r.tries.forget(key)
	metrics.Forget(key.Kind, key.Namespace, key.Name)
}

// patchFinalizers changes the finalizers of an object, which is up to date then.
func patchFinalizers(ctx context.Context, writer client.Writer, o client.Object, change func(client.Object, string) bool, name string) error {
	stored := o.DeepCopyObject().(client.Object)
	if !change(o, name) {
		return nil
	}
	err := writer.Patch(ctx, o, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("changing the finalizer: %w", err)
	}
	return nil
}

// report writes the status, if there is something new to tell.
func (r *IssuerReconciler) report(ctx context.Context, issuer v1alpha1.Issuer, found *verdict) error {
	before := ""
	if ready := meta.FindStatusCondition(issuer.SharedStatus().Conditions, v1alpha1.ConditionReady); ready != nil {
		before = ready.Reason
	}
	err := r.patchStatus(ctx, issuer, func(status *v1alpha1.IssuerStatus) {
		status.ObservedGeneration = issuer.GetGeneration()
		prune(status, r.Clock.Now())
		condition := metav1.Condition{
			Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: found.reason, Message: truncate(found.message),
			ObservedGeneration: issuer.GetGeneration(), LastTransitionTime: metav1.NewTime(r.Clock.Now()),
		}
		if found.ready {
			condition.Status = metav1.ConditionTrue
		}
		meta.SetStatusCondition(&status.Conditions, condition)
		if found.stalled {
			condition.Type, condition.Status = v1alpha1.ConditionStalled, metav1.ConditionTrue
			meta.SetStatusCondition(&status.Conditions, condition)
		} else {
			meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionStalled)
		}
		noteRefusal(status, found)
		if c := r.Services.Get(keyOf(issuer)); c != nil {
			account, capabilities := c.Account(), c.Capabilities()
			status.Account, status.CredentialSHA256 = &account, c.CredentialSHA256()
			if capabilities != (v1alpha1.Capabilities{}) {
				status.Capabilities = &capabilities
			}
		}
	})
	if err == nil && before != found.reason {
		what := "The issuer can't be used"
		if found.ready {
			what = "The issuer is ready"
		}
		ctrl.LoggerFrom(ctx).Info(what, "reason", found.reason, "message", truncate(found.message))
	}
	return err
}

// noteRefusal records which credential was refused, from when until when. Of what was never found in order it records nothing:
// that may be any Secret, which who made the issuer can't read, and a hash can be guessed from if the value is short.
func noteRefusal(status *v1alpha1.IssuerStatus, found *verdict) {
	last := metav1.NewTime(found.triedAt)
	switch known := status.CredentialRefusal; {
	case found.ready:
		status.CredentialRefusal = nil
	case found.refused == "":
	case found.refused != status.CredentialSHA256:
		status.CredentialRefusal = nil
	case known == nil || known.SHA256 != found.refused:
		status.CredentialRefusal = &v1alpha1.CredentialRefusal{SHA256: found.refused, FirstTime: last, LastTime: last}
	default:
		known.LastTime = last
	}
}

func (r *IssuerReconciler) patchStatus(ctx context.Context, issuer v1alpha1.Issuer, change func(*v1alpha1.IssuerStatus)) error {
	return patchIssuerStatus(ctx, r.Client, issuer, change)
}

// patchIssuerStatus changes the status of an issuer, which is up to date then.
func patchIssuerStatus(ctx context.Context, writer client.StatusClient, issuer v1alpha1.Issuer, change func(*v1alpha1.IssuerStatus)) error {
	stored := issuer.DeepCopyObject().(v1alpha1.Issuer)
	change(issuer.SharedStatus())
	if equality.Semantic.DeepEqual(stored.SharedStatus(), issuer.SharedStatus()) {
		return nil
	}
	if err := writer.Status().Patch(ctx, issuer, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	return nil
}
