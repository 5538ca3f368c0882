package controllers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
	"github.com/tokensteward/tokensteward/internal/metrics"
)

// errFrozen ends an attempt that this process was too slow, or too long asleep, to carry on.
var errFrozen = errors.New("writing down the intent to mint took longer than the leader's renew deadline; the service is not asked, and the attempt is settled")

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
		r.finish(s, mintedToken{id: pending.ID, name: pending.Name, sha256: pending.SHA256, expires: timeOf(pending.ExpirationTime)})
		return nil
	case lifecycle.Settle:
		return r.settle(ctx, s)
	case lifecycle.SeekHolders:
		return r.seekHolders(ctx, s, plan.Revisions)
	case lifecycle.Revoke:
		return r.revoke(ctx, s, plan.Revisions)
	case lifecycle.StrikeOff:
		s.noteDead(plan.Revisions)
		s.strikeOff(plan.Revisions...)
		return nil
	case lifecycle.Look:
		return r.look(ctx, s)
	case lifecycle.Adopt:
		return r.adopt(ctx, s)
	case lifecycle.Restart:
		return r.restart(ctx, s)
	case lifecycle.DeleteSecret:
		return r.deleteSecret(ctx, s)
	case lifecycle.LetGoSecret:
		return r.letGoSecret(ctx, s)
	case lifecycle.LeaveBehind:
		return r.leaveBehind(ctx, s, plan.Revisions)
	case lifecycle.Release:
		err := r.patchFinalizers(ctx, s, controllerutil.RemoveFinalizer)
		if s.released = client.IgnoreNotFound(err) == nil; s.released {
			r.forget(s.token.GetUID())
			r.written.noteGone(s.token.GetUID())
		}
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
	if attempt.Release != nil {
		s.mintLocks = append(s.mintLocks, attempt.Release)
	}

	status := s.token.SharedStatus()
	if missing, _ := s.lookedUp(); missing {
		s.missing = status.Token.Revision
	}
	r.takesOutOfSecret(s)
	s.cause = s.rotationCause(plan)
	if asked := v1alpha1.RotateRequest(s.token); asked != "" {
		status.LastRotateRequest = asked
		if now := metav1.NewTime(r.Clock.Now()); status.RenewalTime != nil && now.Before(status.RenewalTime) {
			status.RenewalTime = &now // Should nothing come of this attempt, the token is still due.
		}
	}
	status.Pending, status.LastRevision = &attempt.Record, plan.Revision
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
	if failed := new(issuer.Error); errors.As(err, &failed) {
		if failed.NothingMinted {
			s.dropAttempt()
			return err
		}
		s.unlockMints() // Its record tells what there was before; it is settled as any other.
		ctrl.LoggerFrom(ctx).Info("A mint had no answer; finding out what became of it", "revision", plan.Revision, "reason", failed.Reason, "message", failed.Message)
		return nil
	}
	if err != nil {
		return fmt.Errorf("minting: %w", err)
	}
	r.failures.succeeded(s, lifecycle.Mint)
	r.recordMinted(ctx, s, minted)
	return r.writeAndFinish(ctx, s, minted)
}

// rotationCause is why another token takes the place of the one in the Secret.
func (s *state) rotationCause(plan lifecycle.Plan) string {
	switch {
	case s.currentIsCompromised() || v1alpha1.RotateRequest(s.token) != "":
		return metrics.CauseRequested
	case plan.Unscheduled:
		return metrics.CauseLost
	default:
		return metrics.CauseDue
	}
}

// recordMinted writes down which token came of an attempt whose token nothing else tells from others, before anybody sees
// it: from then on no crash makes it ambiguous. If that fails the token is written into the Secret all the same.
func (r *TokenReconciler) recordMinted(ctx context.Context, s *state, minted issuer.Token) {
	status := s.token.SharedStatus()
	attempt := status.Pending
	if !attempt.Listed {
		return
	}
	known := attempt.DeepCopy()
	known.ID, known.Name, known.SHA256, known.ExpirationTime = minted.ID, minted.Name, minted.Value.SHA256(), expiration(minted.ExpirationTime)
	known.Listed, known.ListedIDs = false, nil
	status.Pending = known
	if err := r.patchStatus(ctx, s); err != nil {
		ctrl.LoggerFrom(ctx).Info("Which token was minted could not be recorded; going on", "cause", err.Error())
		status.Pending = attempt
	}
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
	r.finish(s, mintedToken{id: minted.ID, name: minted.Name, sha256: minted.Value.SHA256(), expires: minted.ExpirationTime})
	return nil
}

// mintedToken is what status records of a token, beside what the attempt to mint it does.
type mintedToken struct {
	id, name, sha256 string
	// expires is zero if the token does not, or the service does not tell.
	expires time.Time
}

// finish closes the open attempt: the Secret holds its token, which thereby is the current one.
func (r *TokenReconciler) finish(s *state, minted mintedToken) {
	status := s.token.SharedStatus()
	now := metav1.NewTime(r.Clock.Now())
	if current := status.Token; current != nil {
		previous := previousFrom(current.Record())
		previous.ReplacedTime, previous.RevokeTime = &now, graceEnd(s.token.SharedSpec(), now, current.ExpirationTime)
		if s.currentIsCompromised() {
			previous.RevokeTime = &now
		}
		status.PreviousTokens = append(status.PreviousTokens, previous)
		s.replaced = previous.DeepCopy()
		if status.RestartTime = nil; len(s.token.SharedSpec().RolloutRestartTargets) > 0 {
			restart := metav1.NewTime(now.Add(secretLag))
			status.RestartTime = &restart
		}
	}
	pending := status.Pending
	spec := s.token.SharedSpec()
	share := rand.Float64() //nolint:gosec // A spread, not a secret.
	renewal := metav1.NewTime(lifecycle.RenewalTime(pending.StartTime.Time, minted.expires, spec.TokenDuration(), spec.TokenRenewBefore(), share))
	status.Token = &v1alpha1.IssuedToken{
		ID: minted.id, Name: minted.name, Revision: pending.Revision, SHA256: minted.sha256, IssueTime: pending.StartTime,
		ExpirationTime: expiration(minted.expires), URL: pending.URL, AccountID: pending.AccountID,
	}
	status.RenewalTime = &renewal
	status.SecretRef = &v1alpha1.SecretReference{Name: v1alpha1.SecretName(s.token)}
	status.Pending = nil
	s.minted = status.Token
}

// expiration is an expiry as the status has it; nil if there is none.
func expiration(at time.Time) *metav1.Time {
	if at.IsZero() {
		return nil
	}
	t := metav1.NewTime(at)
	return &t
}

// revoke ends the tokens of these revisions at the service and strikes them off the status. One that can't be revoked does
// not hold up the others.
func (r *TokenReconciler) revoke(ctx context.Context, s *state, revisions []int64) error {
	var first error
	for _, revision := range revisions {
		reference, seen, ok := s.referenceTo(revision)
		if !ok {
			continue
		}
		known, failed := r.knower(ctx, reference.URL)
		reference.Known, reference.Disowned = known, s.disowned
		err := s.issuer.Revoke(ctx, reference)
		if err == nil {
			err = failed()
		}
		if err != nil {
			if first == nil {
				first = fmt.Errorf("revoking revision %d: %w", revision, err)
			}
			continue
		}
		lastCredential := s.inUse(reference.SHA256)
		s.strikeOff(revision)
		if seen {
			s.revoked = append(s.revoked, revision)
		}
		if lastCredential && !s.token.GetDeletionTimestamp().IsZero() {
			// With it the service can't be asked again whether this was done.
			if err := r.patchStatus(ctx, s); err != nil {
				return fmt.Errorf("recording that the issuer's credential was revoked: %w", err)
			}
		}
	}
	if first == nil {
		r.failures.succeeded(s, lifecycle.Revoke)
	}
	return first
}

// referenceTo is what the status records of a token or a closed attempt, and whether anybody can have seen the token. If somebody
// made a status up in which two tokens have one revision it is the current one.
func (s *state) referenceTo(revision int64) (reference issuer.Reference, seen, ok bool) {
	status := s.token.SharedStatus()
	var record v1alpha1.TokenRecord
	if current := status.Token; current != nil && current.Revision == revision {
		record, seen = current.Record(), true
	} else if previous := previousOf(status, revision); previous != nil {
		record, seen = previous.Record(), previous.ReplacedTime != nil
	} else {
		return issuer.Reference{}, false, false
	}
	return issuer.Reference{
		Kind: s.token.Kind(), Subject: s.token.Subject(), UID: s.token.GetUID(),
		ID: record.ID, SHA256: record.SHA256, Name: record.Name, ExpirationTime: timeOf(record.ExpirationTime),
		URL: record.URL, AccountID: record.AccountID,
	}, seen, true
}

// noteDead notes for the Events which tokens are struck off, and how it is known that they are gone.
func (s *state) noteDead(revisions []int64) {
	for _, revision := range revisions {
		if reference, _, ok := s.referenceTo(revision); ok && s.isRefused(reference.SHA256) {
			s.refused = append(s.refused, revision)
		} else {
			s.expired = append(s.expired, revision)
		}
	}
}

// strikeOff forgets the tokens of these revisions.
func (s *state) strikeOff(revisions ...int64) {
	status := s.token.SharedStatus()
	status.PreviousTokens = slices.DeleteFunc(status.PreviousTokens, func(p v1alpha1.PreviousToken) bool { return slices.Contains(revisions, p.Revision) })
	if current := status.Token; current != nil && slices.Contains(revisions, current.Revision) {
		status.Token, status.RenewalTime = nil, nil
	}
}

// revokeOrphans ends tokens of this installation that no resource has, unless a Secret names them.
func (r *TokenReconciler) revokeOrphans(ctx context.Context, s *state, orphaned []codacy.Named) error {
	kept, err := r.inSomeSecret(ctx)
	if err != nil {
		return err
	}
	for _, orphan := range orphaned {
		if kept[orphan.ID] {
			continue
		}
		err := s.issuer.Revoke(ctx, issuer.Reference{
			Kind: s.token.Kind(), Subject: s.token.Subject(), UID: s.token.GetUID(), ID: orphan.ID, URL: s.url, AccountID: s.codacy.Account().ID,
		})
		if err != nil {
			return fmt.Errorf("revoking the orphaned token %s: %w", orphan.ID, err)
		}
		ctrl.LoggerFrom(ctx).Info("Revoked an orphaned token", "id", orphan.ID, "name", orphan.Name)
		r.orphans.gone(issuerKey(s.token), s.token.Subject(), orphan.ID)
	}
	return nil
}

func (r *TokenReconciler) patchFinalizers(ctx context.Context, s *state, change func(client.Object, string) bool) error {
	patched := s.stored.DeepCopyObject().(v1alpha1.Token)
	change(patched, v1alpha1.Finalizer)
	if err := r.Client.Patch(ctx, patched, client.MergeFromWithOptions(s.stored, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("changing the finalizer: %w", err)
	}
	s.refresh(patched)
	r.written.note(patched)
	return nil
}

// refresh takes over what the API server answered to a write, but for the draft of the status.
func (s *state) refresh(written v1alpha1.Token) {
	// As from the cache: without managed fields and TypeMeta, which otherwise would differ from the draft's.
	written.SetManagedFields(nil)
	written.GetObjectKind().SetGroupVersionKind(s.token.GetObjectKind().GroupVersionKind())
	s.stored = written
	s.token.SetResourceVersion(written.GetResourceVersion())
	s.token.SetFinalizers(written.GetFinalizers())
}
