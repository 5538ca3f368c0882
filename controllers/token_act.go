package controllers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
)

// errFrozen ends an attempt that this process was too slow, or too long asleep, to carry on.
var errFrozen = errors.New("the attempt to mint took longer than the leader's renew deadline; it is begun anew")

// act does what was decided, and nothing else in this package creates or revokes anything at a service.
func (r *TokenReconciler) act(ctx context.Context, s *state, plan lifecycle.Plan) error {
	switch plan.Action {
	case lifecycle.AddFinalizer:
		return r.patchFinalizers(ctx, s, controllerutil.AddFinalizer)
	case lifecycle.Mint:
		return r.mint(ctx, s, plan)
	case lifecycle.ReadSecret:
		return r.readSecret(ctx, s)
	case lifecycle.TryWrite:
		return r.tryWriteSecret(ctx, s)
	case lifecycle.Rewrite:
		return r.rewriteSecret(ctx, s)
	case lifecycle.Finish:
		pending := s.token.SharedStatus().Pending
		r.finish(s, pending.ID, pending.SHA256, timeOf(pending.ExpirationTime))
		return nil
	case lifecycle.Settle:
		return r.settle(ctx, s)
	case lifecycle.Revoke:
		return r.revoke(ctx, s, plan.Revisions)
	case lifecycle.DeleteSecret:
		return r.deleteSecret(ctx, s)
	case lifecycle.Release:
		err := r.patchFinalizers(ctx, s, controllerutil.RemoveFinalizer)
		s.released = client.IgnoreNotFound(err) == nil
		r.written.forget(s.token)
		return client.IgnoreNotFound(err)
	default:
		return fmt.Errorf("no way to do %q", plan.Action)
	}
}

// mint makes a token: record the intent → create at the service → write the Secret. After each of these steps the
// process may die, and the next one finds in status what it needs to go on (docs/architecture.md, Minting).
func (r *TokenReconciler) mint(ctx context.Context, s *state, plan lifecycle.Plan) error {
	attempt, err := s.issuer.Prepare(ctx, issuer.Request{
		Kind: s.token.Kind(), Subject: s.token.Subject(), UID: s.token.GetUID(),
		Revision: plan.Revision, Now: r.Clock.Now(), Lifetime: s.token.SharedSpec().TokenDuration(),
	})
	if err != nil {
		return fmt.Errorf("preparing to mint: %w", err)
	}

	status := s.token.SharedStatus()
	r.takesOutOfSecret(status, s.observedSecret().SHA256)
	status.Pending = &attempt.Record
	if plan.Unscheduled {
		status.Mints = append(status.Mints, attempt.Record.StartTime)
		status.Mints = status.Mints[max(0, len(status.Mints)-lifecycle.MaxUnscheduledMints):]
	}
	began := time.Now() //nolint:forbidigo // The monotonic clock, whatever r.Clock says: this is about the process being frozen.
	if err := r.patchStatus(ctx, s); err != nil {
		return fmt.Errorf("recording the intent to mint: %w", err)
	}
	if time.Since(began) > r.RenewDeadline { //nolint:forbidigo // As above.
		return errFrozen
	}
	minted, err := s.issuer.Mint(ctx, attempt)
	if err != nil {
		return fmt.Errorf("minting: %w", err)
	}
	return r.writeAndFinish(ctx, s, minted)
}

// writeAndFinish writes the token of the open attempt into the Secret. If the API server refuses that, the attempt is
// left open, to be settled by the next decision.
func (r *TokenReconciler) writeAndFinish(ctx context.Context, s *state, minted issuer.Token) error {
	pending := s.token.SharedStatus().Pending
	err := r.writeSecret(ctx, s, secretContent{
		value: minted.Value, id: minted.ID, revision: pending.Revision, issued: pending.StartTime.Time, expires: minted.ExpirationTime,
	})
	s.secretTried = false
	if errors.Is(err, errSecretRefused) {
		return r.explainRefusal(ctx, s)
	}
	if err != nil {
		return err
	}
	r.finish(s, minted.ID, minted.Value.SHA256(), minted.ExpirationTime)
	return nil
}

// finish closes the open attempt: the Secret holds its token, which thereby is the current one.
func (r *TokenReconciler) finish(s *state, id, sha256 string, expires time.Time) {
	status := s.token.SharedStatus()
	now := metav1.NewTime(r.Clock.Now())
	if current := status.Token; current != nil {
		status.PreviousTokens = append(status.PreviousTokens, v1alpha1.PreviousToken{
			ID: current.ID, Revision: current.Revision, SHA256: current.SHA256, ExpirationTime: current.ExpirationTime,
			ReplacedTime: &now, RevokeTime: graceEnd(now, current.ExpirationTime),
		})
	}
	issued, expiration := status.Pending.StartTime, metav1.NewTime(expires)
	duration := expires.Sub(issued.Time)
	share := rand.Float64() //nolint:gosec // A spread, not a secret.
	renewal := metav1.NewTime(lifecycle.RenewalTime(issued.Time, expires, duration, duration/3, share))
	status.Token = &v1alpha1.IssuedToken{
		ID: id, Revision: status.Pending.Revision, SHA256: sha256, IssueTime: issued, ExpirationTime: &expiration,
	}
	status.RenewalTime = &renewal
	status.SecretRef = &v1alpha1.SecretReference{Name: v1alpha1.SecretName(s.token)}
	status.Pending = nil
	s.minted = status.Token
}

// settle closes an attempt that another process, or an earlier reconcile, began and whose value is not in the Secret.
// It stays among the previous tokens, and valid, until the Secret holds a later revision: its own write of the Secret
// may still be under way, and no value may be seen there that is refused.
func (r *TokenReconciler) settle(ctx context.Context, s *state) error {
	status := s.token.SharedStatus()
	pending := status.Pending
	settlement, err := s.issuer.Settle(ctx, issuer.Inquiry{Kind: s.token.Kind(), Subject: s.token.Subject(), Record: *pending})
	if err != nil {
		return fmt.Errorf("finding out what became of an attempt to mint: %w", err)
	}
	if found := settlement.Token; found != nil && s.token.GetDeletionTimestamp().IsZero() && !s.namespaceTerminating &&
		s.observedSecret().Conflict == nil && s.secretRefused == nil {
		return r.writeAndFinish(ctx, s, *found)
	}
	status.PreviousTokens = append(status.PreviousTokens, v1alpha1.PreviousToken{
		ID: pending.ID, Revision: pending.Revision, SHA256: pending.SHA256, ExpirationTime: pending.ExpirationTime,
	})
	status.Pending = nil
	return nil
}

// revoke ends the tokens of these revisions at the service and strikes them off the status.
func (r *TokenReconciler) revoke(ctx context.Context, s *state, revisions []int64) error {
	status := s.token.SharedStatus()
	for _, revision := range revisions {
		at := slices.IndexFunc(status.PreviousTokens, func(p v1alpha1.PreviousToken) bool { return p.Revision == revision })
		if at >= 0 {
			previous := status.PreviousTokens[at]
			if err := s.issuer.Revoke(ctx, issuer.Reference{ID: previous.ID, SHA256: previous.SHA256}); err != nil {
				return fmt.Errorf("revoking revision %d: %w", revision, err)
			}
			status.PreviousTokens = slices.Delete(status.PreviousTokens, at, at+1)
			if previous.ReplacedTime != nil {
				s.revoked = append(s.revoked, revision)
			}
			continue
		}
		if current := status.Token; current != nil && current.Revision == revision {
			if err := s.issuer.Revoke(ctx, issuer.Reference{ID: current.ID, SHA256: current.SHA256}); err != nil {
				return fmt.Errorf("revoking revision %d: %w", revision, err)
			}
			status.Token, status.RenewalTime = nil, nil
			s.revoked = append(s.revoked, revision)
		}
	}
	return nil
}

// sawInSecret notes that the value of a closed attempt was found in the Secret: whoever read it there gets the grace
// period of any other replaced token.
func (r *TokenReconciler) sawInSecret(status *v1alpha1.TokenStatus, sha256 string) {
	if previous := previousWith(status, sha256); previous != nil && previous.ReplacedTime == nil {
		r.startGrace(previous)
	}
}

// takesOutOfSecret notes that what the Secret holds is about to be replaced. If that is a previous token, because nothing
// could be minted since, its grace period begins only now.
func (r *TokenReconciler) takesOutOfSecret(status *v1alpha1.TokenStatus, sha256 string) {
	if previous := previousWith(status, sha256); previous != nil {
		r.startGrace(previous)
	}
}

func previousWith(status *v1alpha1.TokenStatus, sha256 string) *v1alpha1.PreviousToken {
	at := slices.IndexFunc(status.PreviousTokens, func(p v1alpha1.PreviousToken) bool { return sha256 != "" && p.SHA256 == sha256 })
	if at < 0 {
		return nil
	}
	return &status.PreviousTokens[at]
}

func (r *TokenReconciler) startGrace(previous *v1alpha1.PreviousToken) {
	now := metav1.NewTime(r.Clock.Now())
	previous.ReplacedTime, previous.RevokeTime = &now, graceEnd(now, previous.ExpirationTime)
}

func graceEnd(replaced metav1.Time, expires *metav1.Time) *metav1.Time {
	end := metav1.NewTime(replaced.Add(v1alpha1.DefaultGracePeriod))
	if expires != nil && expires.Before(&end) {
		return expires.DeepCopy()
	}
	return &end
}

func (r *TokenReconciler) patchFinalizers(ctx context.Context, s *state, change func(client.Object, string) bool) error {
	patched := s.stored.DeepCopyObject().(v1alpha1.Token)
	change(patched, v1alpha1.Finalizer)
	if err := r.Client.Patch(ctx, patched, client.MergeFromWithOptions(s.stored, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("changing the finalizer: %w", err)
	}
	s.adopt(patched)
	r.written.note(patched)
	return nil
}

// adopt takes over what the API server answered to a write, but for the draft of the status.
func (s *state) adopt(written v1alpha1.Token) {
	// As from the cache: without managed fields and TypeMeta, which otherwise would differ from the draft's.
	written.SetManagedFields(nil)
	written.GetObjectKind().SetGroupVersionKind(s.token.GetObjectKind().GroupVersionKind())
	s.stored = written
	s.token.SetResourceVersion(written.GetResourceVersion())
	s.token.SetFinalizers(written.GetFinalizers())
}
