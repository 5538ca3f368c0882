package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/grant"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
	"github.com/tokensteward/tokensteward/internal/secrettemplate"
	"github.com/tokensteward/tokensteward/internal/token"
)

// state is what one reconcile knows. observe fills it, act keeps it up to date with what it did.
type state struct {
	// token is the resource; its status is a draft that report writes.
	token v1alpha1.Token
	// stored is the resource as the API server has it, to tell what changed.
	stored v1alpha1.Token

	// issuer is whom to ask for tokens; nil as long as there is no connection to it, which serviceProblem explains then.
	// codacy is the same if it is a connection to Codacy. url, account and checkInterval are what the issuer says; url is
	// empty for a built-in one.
	issuer        issuer.Issuer
	codacy        *codacy.Connection
	url           string
	account       string
	checkInterval time.Duration
	orphanPolicy  v1alpha1.OrphanPolicy

	issuerProblem        *lifecycle.Problem
	serviceProblem       *lifecycle.Problem
	failures             map[lifecycle.Action]lifecycle.Failure
	refusal              *lifecycle.Problem
	specProblem          *lifecycle.Problem
	storm                *lifecycle.Problem
	namespaceTerminating bool
	namespaceGone        bool

	// secret is the one that spec names; nil if there is none. secretIsLive: it was read from the API server, not the
	// cache, or written there.
	secret       *corev1.Secret
	secretIsLive bool
	// secretRefused says why the API server did not let it be written; secretRefusedAgain: in this very reconcile.
	secretRefused      *lifecycle.Problem
	secretRefusedAgain bool
	// secretTried: a dry run in this reconcile showed that it can be written.
	secretTried bool
	// tokenKey is the key of the token in it, owner the annotation that makes it ours, and templates its other keys.
	tokenKey        string
	owner           string
	templates       *secrettemplate.Set
	holderSightings *holderSightings
	// builtIn: the issuer is.
	builtIn bool
	// takers are the issuers that take their credential from the Secret, asking are the hashes of what they ask their services
	// with, and needed says why it has to live on.
	takers []v1alpha1.Issuer
	asking []string
	needed *lifecycle.Problem

	// minted, revoked, expired and left are what act did, for the Events. replaced is the token that minted took the place of,
	// if there was one, and cause why.
	minted   *v1alpha1.IssuedToken
	replaced *v1alpha1.PreviousToken
	cause    string
	revoked  []int64
	expired  []int64
	// refused are tokens that are gone because the service refuses them.
	refused []int64
	left    []v1alpha1.RetainedToken
	// heldSince are the revisions that were found to be held, and were not before.
	heldSince []int64
	// missing is the revision that is replaced because the service does not have it any more; 0: none.
	missing int64
	// mintLocks are to be given back, each by its call, once the status is written.
	mintLocks []func()
	// released: the finalizer is gone, and the resource with it.
	released bool
}

// observe reads everything that a decision may depend on; nil if the resource is gone, or the cache is behind.
func (r *TokenReconciler) observe(ctx context.Context, key types.NamespacedName) (*state, error) {
	stored := r.kind.newToken()
	if err := r.Client.Get(ctx, key, stored); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if r.written.isAhead(stored) {
		return nil, nil // What the cache lacks is on its way, and comes with an event of its own.
	}
	stored.SetManagedFields(nil)
	s := &state{stored: stored, token: stored.DeepCopyObject().(v1alpha1.Token), holderSightings: r.holderSightings}
	s.owner = fmt.Sprintf("%s/%s/%s/%s/%s", r.InstallationID, stored.Kind(), stored.GetNamespace(), stored.GetName(), stored.GetUID())
	r.observeStatus(s)

	namespace, err := r.observeNamespace(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := r.observeIssuer(ctx, s, namespace); err != nil {
		return nil, err
	}
	s.tokenKey = v1alpha1.TokenKey(stored, s.url != "")
	r.observeSpec(s)
	s.failures = r.failures.of(s)
	if err := r.observeUse(ctx, s); err != nil {
		return nil, err
	}
	return s, r.observeSecret(ctx, s)
}

// observeNamespace finds out whether the resource's namespace is being deleted or is gone, and what a grant may go by.
//
// Without ClusterTokenIssuers no Namespace is read. A TokenIssuer has no grants, so nobody asks for labels. And that the
// namespace is being deleted is not needed to keep a token from leaking: the resource is deleted with it, and its finalizer
// holds it until its tokens are revoked, as the TokenIssuer's and the credential's do. All that may happen before is a mint in
// vain, since the Secret is refused: that attempt stays open, no other is begun after it without a dry run, and it is settled
// and revoked with the resource.
func (r *TokenReconciler) observeNamespace(ctx context.Context, s *state) (grant.Namespace, error) {
	name := s.token.GetNamespace()
	if r.Scope.WithoutClusterIssuers {
		return grant.Namespace{Name: name}, nil
	}
	namespace := grant.NamespaceMetadata()
	err := r.Client.Get(ctx, types.NamespacedName{Name: name}, namespace)
	if apierrors.IsNotFound(err) {
		err = r.Live.Get(ctx, types.NamespacedName{Name: name}, namespace)
	}
	switch {
	case apierrors.IsNotFound(err):
		s.namespaceGone = true
	case err != nil:
		return grant.Namespace{}, fmt.Errorf("reading the namespace: %w", err)
	default:
		s.namespaceTerminating = !namespace.DeletionTimestamp.IsZero()
	}
	return grant.Namespace{Name: name, Labels: namespace.Labels}, nil
}

// unlockMints lets others mint where this reconcile has minted.
func (s *state) unlockMints() {
	for _, unlock := range s.mintLocks {
		unlock()
	}
	s.mintLocks = nil
}

// observeStatus takes from the status what outlasts a reconcile.
func (r *TokenReconciler) observeStatus(s *state) {
	status := s.token.SharedStatus()
	// A status of another uid came with a backup or a copy; what it says is not about this resource.
	if status.OwnerUID != s.token.GetUID() {
		*status = v1alpha1.TokenStatus{}
	}
	for _, record := range status.Records() {
		status.LastRevision = max(status.LastRevision, record.Revision) // Only a status that somebody made up says less.
	}
	if status.ObservedGeneration != s.token.GetGeneration() || v1alpha1.RotateRequest(s.token) != "" {
		status.Mints = nil
	}
	if len(status.Mints) > lifecycle.MaxUnscheduledMints {
		s.storm = lifecycle.MintStorm()
	}
	if stalled := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionStalled); stalled != nil && stalled.Reason == v1alpha1.ReasonSecretRefused {
		s.secretRefused = &lifecycle.Problem{Reason: stalled.Reason, Message: stalled.Message, Stalled: true}
	}
}

// observeSpec finds what is wrong with the spec that its schema can't see.
func (r *TokenReconciler) observeSpec(s *state) {
	spec := s.token.SharedSpec()
	switch {
	case spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain && s.builtIn && s.url == "":
		s.specProblem = &lifecycle.Problem{
			Reason: v1alpha1.ReasonRetainUnsupported, Stalled: true,
			Message: "A built-in token is gone with its resource: set spec.deletionPolicy to Revoke.",
		}
	case s.adopting():
		s.specProblem = s.observeAdoption()
	}
	var err error
	if s.templates, err = s.parseSecretTemplate(); err != nil {
		s.specProblem = &lifecycle.Problem{
			Reason: v1alpha1.ReasonInvalidTemplate, Stalled: true,
			Message: truncate(err.Error()) + ". Correct it; the Secret is left as it is until then.",
		}
	}
}

// observeSecret takes the Secret from the cache. That holds only labelled Secrets and may be behind, so what it does not
// show in order is read from the API server before anything is done about it.
func (r *TokenReconciler) observeSecret(ctx context.Context, s *state) error {
	var cached corev1.Secret
	switch err := r.Client.Get(ctx, s.secretKey(), &cached); {
	case err == nil:
		s.secret = &cached
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("reading the Secret: %w", err)
	}
	return nil
}

func (r *TokenReconciler) readSecret(ctx context.Context, s *state) error {
	s.secret, s.secretIsLive = nil, true
	var live corev1.Secret
	if err := r.Live.Get(ctx, s.secretKey(), &live); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading the Secret: %w", err)
	} else if err == nil {
		s.secret = &live
		if s.observedSecret().State == lifecycle.SecretOurs {
			r.sawInSecret(s)
		}
	}
	return nil
}

func (s *state) secretKey() types.NamespacedName {
	return types.NamespacedName{Namespace: s.token.GetNamespace(), Name: v1alpha1.SecretName(s.token)}
}

// observation is the state in the words of the decision.
func (s *state) observation(now time.Time) lifecycle.Observation {
	status := s.token.SharedStatus()
	o := lifecycle.Observation{
		Now:                  now,
		Deleting:             !s.token.GetDeletionTimestamp().IsZero(),
		Finalizer:            controllerutil.ContainsFinalizer(s.token, v1alpha1.Finalizer),
		NamespaceTerminating: s.namespaceTerminating,
		NamespaceGone:        s.namespaceGone,
		IssuerProblem:        s.issuerProblem,
		ServiceProblem:       s.serviceProblem,
		Failures:             s.failures,
		LastRevision:         status.LastRevision,
		Refusal:              s.refusal,
		SpecProblem:          s.specProblem,
		Storm:                s.storm,
		Suspended:            s.token.SharedSpec().Suspend,
		Retain:               s.retains(),
		Abandon:              v1alpha1.Abandoned(s.token),
		Adopting:             s.adopting(),
		Needed:               s.needed,
		RestartAt:            timeOf(status.RestartTime),
		RenewalTime:          timeOf(status.RenewalTime),
		Requested:            v1alpha1.RotateRequest(s.token) != "",
		Compromised:          s.currentIsCompromised(),
		Secret:               s.observedSecret(),
	}
	if current := status.Token; current != nil {
		o.Current = &lifecycle.Token{
			Revision: current.Revision, SHA256: current.SHA256, Expires: timeOf(current.ExpirationTime),
			InUse: s.inUse(current.SHA256), Refused: s.isRefused(current.SHA256),
		}
		o.Missing, o.LookAt = s.lookedUp()
	}
	if pending := status.Pending; pending != nil {
		o.Pending = &lifecycle.Token{Revision: pending.Revision, SHA256: pending.SHA256, Expires: timeOf(pending.ExpirationTime)}
	}
	for _, at := range status.Mints {
		o.Mints = append(o.Mints, at.Time)
	}
	compromised, _ := v1alpha1.CompromisedRevision(s.token)
	for i := range status.PreviousTokens {
		previous := &status.PreviousTokens[i]
		seen := s.holderSightings.of(s.token.GetUID(), previous)
		observed := lifecycle.Token{
			Revision: previous.Revision, SHA256: previous.SHA256, Expires: timeOf(previous.ExpirationTime),
			Replaced: timeOf(previous.ReplacedTime), RevokeAt: timeOf(previous.RevokeTime),
			HeldUntil: heldUntil(s.token.SharedSpec(), previous), Held: seen.held, SeekAt: seen.again,
			Absent: previous.ID == "", Closed: timeOf(previous.ClosedTime),
			InUse: s.inUse(previous.SHA256), Refused: s.isRefused(previous.SHA256),
		}
		if previous.Revision == compromised {
			observed.RevokeAt, observed.HeldUntil = observed.Replaced, observed.Replaced
		}
		o.Previous = append(o.Previous, observed)
	}
	return o
}

// currentIsCompromised says whether the token in the Secret is to be replaced because it is in wrong hands.
func (s *state) currentIsCompromised() bool {
	current := s.token.SharedStatus().Token
	compromised, _ := v1alpha1.CompromisedRevision(s.token)
	return current != nil && current.Revision == compromised
}

func (s *state) observedSecret() lifecycle.Secret {
	observed := lifecycle.Secret{Confirmed: s.secretIsLive, Refused: s.secretRefused, RefusedAgain: s.secretRefusedAgain, Tried: s.secretTried}
	switch {
	case s.adopting():
		if observed.Conflict = s.adoptionConflict(); s.secret != nil {
			observed.State = lifecycle.SecretForeign
		}
		return observed
	case s.secret == nil:
		return observed
	case s.secret.Annotations[v1alpha1.OwnerAnnotation] != s.owner && !s.handedOver():
		observed.State, observed.Conflict = lifecycle.SecretForeign, s.foreignSecret()
		return observed
	}
	observed.State = lifecycle.SecretOurs
	if s.secret.Immutable != nil && *s.secret.Immutable {
		observed.Conflict = immutableSecret(s.secret)
	}
	if s.wouldOverwrite() {
		observed.Conflict = &lifecycle.Problem{
			Reason: v1alpha1.ReasonSecretConflict, Stalled: true,
			Message: fmt.Sprintf("The Secret %q has something under the key %q that is not the operator's: name another one in spec.secret.tokenKey, or take it out.", s.secret.Name, s.tokenKey),
		}
	}
	if value := s.inSecret(); len(value) > 0 {
		observed.SHA256 = token.SHA256(value)
		observed.Outdated = s.outdated(token.NewValue(string(value)))
	}
	return observed
}

// handedOver says whether a Secret that names no owner is this resource's to write: somebody took the owner off one that the
// operator wrote, or it holds the token that was just taken over, or it is that of an issuer's credential, which this resource
// wrote before or took over, and was created anew.
func (s *state) handedOver() bool {
	if s.secret.Annotations[v1alpha1.OwnerAnnotation] != "" || !s.token.GetDeletionTimestamp().IsZero() {
		return false
	}
	current := s.token.SharedStatus().Token
	managed := s.secret.Labels[v1alpha1.ManagedLabel]
	return managed == v1alpha1.ManagedTokens || managed == v1alpha1.ManagedCredentials && (s.hasAdopted() || current != nil && len(s.takers) > 0) ||
		s.hasAdopted() && current != nil && token.SHA256(s.inSecret()) == current.SHA256
}

// foreignSecret says whose the Secret is, and what its user can do.
func (s *state) foreignSecret() *lifecycle.Problem {
	secret := s.secret
	problem := &lifecycle.Problem{
		Reason: v1alpha1.ReasonSecretConflict, Stalled: true,
		Message: fmt.Sprintf("The Secret %q exists and belongs to somebody else; it is left as it is. "+
			"Delete it, or name another one in spec.secret.name of a new resource.", secret.Name),
	}
	if owner := secret.Annotations[v1alpha1.OwnerAnnotation]; owner != "" {
		problem.Message = fmt.Sprintf("The Secret %q exists and belongs to %s; it is left as it is. If that is gone, as after a restore from a backup, "+
			"hand the Secret over with `kubectl -n %s annotate secret %s %s-`, and its token is replaced, or with spec.adopt taken over. "+
			"Otherwise name another one in spec.secret.name of a new resource.", secret.Name, foreign(owner), secret.Namespace, secret.Name, v1alpha1.OwnerAnnotation)
	}
	return problem
}

func immutableSecret(secret *corev1.Secret) *lifecycle.Problem {
	return &lifecycle.Problem{
		Reason: v1alpha1.ReasonSecretConflict, Stalled: true,
		Message: fmt.Sprintf("The Secret %q is immutable: delete it, and it is written anew.", secret.Name),
	}
}

func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}
