package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
	"github.com/tokensteward/tokensteward/internal/token"
)

// state is what one reconcile knows. observe fills it, act keeps it up to date with what it did.
type state struct {
	// token is the resource; its status is a draft that report writes.
	token v1alpha1.Token
	// stored is the resource as the API server has it, to tell what changed.
	stored v1alpha1.Token

	issuer               issuer.Issuer
	issuerProblem        *lifecycle.Problem
	refusal              *lifecycle.Problem
	namespaceTerminating bool

	// secret is the one that spec names; nil if there is none. secretIsLive: it was read from the API server, not the
	// cache, or written there.
	secret       *corev1.Secret
	secretIsLive bool
	// tokenKey is the key of the token in it, and owner the annotation that makes it ours.
	tokenKey string
	owner    string

	// minted and revoked are what act did, for the Events.
	minted  *v1alpha1.IssuedToken
	revoked []int64
	// released: the finalizer is gone, and the resource with it.
	released bool
}

// observe reads everything that a decision may depend on; nil if the resource is gone.
func (r *TokenReconciler) observe(ctx context.Context, key types.NamespacedName) (*state, error) {
	stored := r.kind.newToken()
	if err := r.Client.Get(ctx, key, stored); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	stored.SetManagedFields(nil)
	s := &state{stored: stored, token: stored.DeepCopyObject().(v1alpha1.Token), issuer: r.BuiltIn}
	s.owner = fmt.Sprintf("%s/%s/%s/%s/%s", r.InstallationID, stored.Kind(), stored.GetNamespace(), stored.GetName(), stored.GetUID())
	s.tokenKey = r.kind.defaultKey
	if target := stored.SharedSpec().Secret; target != nil && target.TokenKey != "" {
		s.tokenKey = target.TokenKey
	}
	// A status of another uid came with a backup or a copy; what it says is not about this resource.
	if status := s.token.SharedStatus(); status.OwnerUID != stored.GetUID() {
		*status = v1alpha1.TokenStatus{}
	}

	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	switch err := r.Client.Get(ctx, types.NamespacedName{Name: key.Namespace}, namespace); {
	case apierrors.IsNotFound(err):
		s.namespaceTerminating = true
	case err != nil:
		return nil, fmt.Errorf("reading the namespace: %w", err)
	default:
		s.namespaceTerminating = !namespace.DeletionTimestamp.IsZero()
	}
	if err := r.observeIssuer(ctx, s, namespace); err != nil {
		return nil, err
	}
	return s, r.observeSecret(ctx, s)
}

func (r *TokenReconciler) observeIssuer(ctx context.Context, s *state, namespace *metav1.PartialObjectMetadata) error {
	name := s.token.SharedSpec().IssuerRef.Name
	var found v1alpha1.ClusterTokenIssuer
	switch err := r.Client.Get(ctx, types.NamespacedName{Name: name}, &found); {
	case apierrors.IsNotFound(err):
		s.issuerProblem = &lifecycle.Problem{
			Reason:  v1alpha1.ReasonIssuerNotFound,
			Message: fmt.Sprintf("There is no ClusterTokenIssuer %q: create it, or name another one in spec.issuerRef of a new resource.", name),
		}
		s.refusal = s.issuerProblem
		return nil
	case err != nil:
		return fmt.Errorf("reading the issuer: %w", err)
	}
	if !isReady(found.Status.Conditions) || !found.DeletionTimestamp.IsZero() {
		s.issuerProblem = &lifecycle.Problem{
			Reason:  v1alpha1.ReasonIssuerNotReady,
			Message: fmt.Sprintf("ClusterTokenIssuer %q is not ready; kubectl describe clustertokenissuer %s says why.", name, name),
		}
	}
	s.refusal = r.kind.refusal(&found, namespace, s.token)
	return nil
}

// observeSecret takes the Secret from the cache if that shows it in order, and else from the API server: the cache
// holds only labelled Secrets and may be behind, and neither must pass for a lost token.
func (r *TokenReconciler) observeSecret(ctx context.Context, s *state) error {
	key := types.NamespacedName{Namespace: s.token.GetNamespace(), Name: v1alpha1.SecretName(s.token)}
	var cached corev1.Secret
	if err := r.Client.Get(ctx, key, &cached); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading the Secret: %w", err)
	} else if err == nil {
		s.secret = &cached
		if o := s.observation(r.Clock.Now()); o.HoldsCurrent() {
			return nil
		}
	}
	return r.observeSecretLive(ctx, s)
}

func (r *TokenReconciler) observeSecretLive(ctx context.Context, s *state) error {
	key := types.NamespacedName{Namespace: s.token.GetNamespace(), Name: v1alpha1.SecretName(s.token)}
	s.secret, s.secretIsLive = nil, true
	var live corev1.Secret
	if err := r.Live.Get(ctx, key, &live); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading the Secret: %w", err)
	} else if err == nil {
		s.secret = &live
		if observed := s.observedSecret(); observed.State == lifecycle.SecretOurs {
			r.sawInSecret(s.token.SharedStatus(), observed.SHA256)
		}
	}
	return nil
}

// observation is the state in the words of the decision.
func (s *state) observation(now time.Time) lifecycle.Observation {
	status := s.token.SharedStatus()
	o := lifecycle.Observation{
		Now:                  now,
		Deleting:             !s.token.GetDeletionTimestamp().IsZero(),
		Finalizer:            controllerutil.ContainsFinalizer(s.token, v1alpha1.Finalizer),
		NamespaceTerminating: s.namespaceTerminating,
		IssuerProblem:        s.issuerProblem,
		Refusal:              s.refusal,
		RenewalTime:          timeOf(status.RenewalTime),
		Secret:               s.observedSecret(),
	}
	if current := status.Token; current != nil {
		o.Current = &lifecycle.Token{Revision: current.Revision, SHA256: current.SHA256, Expires: timeOf(current.ExpirationTime)}
	}
	if pending := status.Pending; pending != nil {
		o.Pending = &lifecycle.Token{Revision: pending.Revision, SHA256: pending.SHA256, Expires: timeOf(pending.ExpirationTime)}
	}
	for _, previous := range status.PreviousTokens {
		o.Previous = append(o.Previous, lifecycle.Token{
			Revision: previous.Revision, SHA256: previous.SHA256, Expires: timeOf(previous.ExpirationTime),
			Replaced: timeOf(previous.ReplacedTime), RevokeAt: timeOf(previous.RevokeTime),
		})
	}
	return o
}

func (s *state) observedSecret() lifecycle.Secret {
	switch {
	case s.secret == nil:
		return lifecycle.Secret{State: lifecycle.SecretAbsent}
	case s.secret.Annotations[v1alpha1.OwnerAnnotation] != s.owner:
		return lifecycle.Secret{State: lifecycle.SecretForeign, Problem: conflictProblem(s.secret)}
	}
	observed := lifecycle.Secret{State: lifecycle.SecretOurs}
	if value := s.secret.Data[s.tokenKey]; len(value) > 0 {
		observed.SHA256 = token.SHA256(value)
	}
	return observed
}

func conflictProblem(secret *corev1.Secret) *lifecycle.Problem {
	holder := "somebody else"
	if owner := secret.Annotations[v1alpha1.OwnerAnnotation]; owner != "" {
		holder = owner
	}
	return &lifecycle.Problem{
		Reason: v1alpha1.ReasonSecretConflict,
		Message: fmt.Sprintf("The Secret %q exists and belongs to %s; it is left as it is. "+
			"Delete it, or name another one in spec.secret.name of a new resource.", secret.Name, holder),
		Stalled: true,
	}
}

func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}
