package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// sawInSecret notes that the value of a closed attempt was found in the Secret: whoever read it there gets the grace
// period of any other replaced token.
func (r *TokenReconciler) sawInSecret(s *state) {
	if previous := s.previousInSecret(); previous != nil && previous.ReplacedTime == nil {
		r.startGrace(s, previous)
	}
}

// takesOutOfSecret notes that what the Secret holds is about to be replaced. If that is a previous token, because nothing
// could be minted since, its grace period begins only now.
func (r *TokenReconciler) takesOutOfSecret(s *state) {
	if previous := s.previousInSecret(); previous != nil {
		r.startGrace(s, previous)
	}
}

// recordTakenOut is takesOutOfSecret for a Secret that is written long after the intent to mint was, or was found to hold something
// else since. It writes the grace period down: when the Secret holds another value nothing tells any more that this one was there.
// Not each time if the write fails again and again, since every status wakes the resource.
func (r *TokenReconciler) recordTakenOut(ctx context.Context, s *state) error {
	previous := s.previousInSecret()
	if previous == nil || previous.ReplacedTime != nil && r.Clock.Since(previous.ReplacedTime.Time) < time.Minute {
		return nil
	}
	r.startGrace(s, previous)
	if err := r.patchStatus(ctx, s); err != nil {
		return fmt.Errorf("recording which token the Secret held: %w", err)
	}
	return nil
}

// previousInSecret is the previous token that the Secret holds; nil if there is none. Of one whose value was never known, since
// the answer to its mint was lost, the Secret says so by its revision: who asked for it may have written it late.
func (s *state) previousInSecret() *v1alpha1.PreviousToken {
	held := s.observedSecret().SHA256
	return findPrevious(s.token.SharedStatus(), func(p v1alpha1.PreviousToken) bool {
		return held != "" && (p.SHA256 == held || p.SHA256 == "" && p.ID != "" && s.writtenFor(p.Revision))
	})
}

// previousOf is the previous token of a revision; nil if there is none.
func previousOf(status *v1alpha1.TokenStatus, revision int64) *v1alpha1.PreviousToken {
	return findPrevious(status, func(p v1alpha1.PreviousToken) bool { return p.Revision == revision })
}

func findPrevious(status *v1alpha1.TokenStatus, matches func(v1alpha1.PreviousToken) bool) *v1alpha1.PreviousToken {
	at := slices.IndexFunc(status.PreviousTokens, matches)
	if at < 0 {
		return nil
	}
	return &status.PreviousTokens[at]
}

// previousFrom is a token, or an attempt, as it goes among the previous ones.
func previousFrom(record v1alpha1.TokenRecord) v1alpha1.PreviousToken {
	return v1alpha1.PreviousToken{
		ID: record.ID, Revision: record.Revision, SHA256: record.SHA256, ExpirationTime: record.ExpirationTime,
		Name: record.Name, URL: record.URL, AccountID: record.AccountID,
	}
}

func (r *TokenReconciler) startGrace(s *state, previous *v1alpha1.PreviousToken) {
	now := metav1.NewTime(r.Clock.Now())
	previous.ReplacedTime, previous.RevokeTime, previous.HeldBy = &now, graceEnd(s.token.SharedSpec(), now, previous.ExpirationTime), nil
}

// graceEnd is when a token that was replaced may be revoked. If it is to be kept for who holds it, that is not before it can
// be known: a container that starts a moment after the Secret changed may still be given the old value. docs/rotation.md, Fields.
func graceEnd(spec *v1alpha1.TokenSpec, replaced metav1.Time, expires *metav1.Time) *metav1.Time {
	grace := spec.GracePeriod()
	if wait, limited := spec.WaitForConsumers(); !limited || wait > 0 {
		grace = max(grace, secretLag+subPathLag)
	}
	end := metav1.NewTime(replaced.Add(grace))
	if expires != nil && expires.Before(&end) {
		return expires.DeepCopy()
	}
	return &end
}
