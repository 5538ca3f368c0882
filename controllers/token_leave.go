package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
	"github.com/tokensteward/tokensteward/internal/metrics"
)

// maxRetained is how many tokens left behind an issuer's status has room for; the schema has the same bound.
const maxRetained = 1000

// retains says whether tokens are to outlive the resource. Built-in ones can't.
func (s *state) retains() bool {
	return s.token.SharedSpec().DeletionPolicy == v1alpha1.DeletionPolicyRetain && s.url != ""
}

// leaveBehind leaves tokens at the service, and writes down in the issuer's status that it did, so that nobody takes them for
// lost. docs/tokens.md, Deletion.
func (r *TokenReconciler) leaveBehind(ctx context.Context, s *state, revisions []int64) error {
	left := s.remainsOf(revisions, metav1.NewTime(r.Clock.Now()))
	if s.url != "" { // What the built-in authority knows is gone with the resource.
		if err := r.recordLeft(ctx, s, left); err != nil {
			return err
		}
		s.left = append(s.left, left...)
	}
	status := s.token.SharedStatus()
	if status.Pending != nil && slices.Contains(revisions, status.Pending.Revision) {
		status.Pending = nil
	}
	s.strikeOff(revisions...)
	r.failures.succeeded(s, lifecycle.LeaveBehind)
	return nil
}

// remainsOf is what the status records of tokens, or the open attempt, in the words of the issuer's.
func (s *state) remainsOf(revisions []int64, now metav1.Time) (left []v1alpha1.RetainedToken) {
	owner := fmt.Sprintf("%s/%s/%s", s.token.Kind(), s.token.GetNamespace(), s.token.GetName())
	records := s.token.SharedStatus().Records()
	slices.SortStableFunc(records, func(a, b v1alpha1.TokenRecord) int { return cmp.Compare(a.Revision, b.Revision) })
	for _, record := range records {
		if slices.Contains(revisions, record.Revision) {
			left = append(left, v1alpha1.RetainedToken{
				Owner: owner, ID: record.ID, Name: record.Name, SHA256: record.SHA256, ExpirationTime: record.ExpirationTime, RetainedTime: now,
			})
		}
	}
	return left
}

// recordLeft adds to the issuer's status what is left behind. An issuer may be gone, though its finalizer should have kept it.
func (r *TokenReconciler) recordLeft(ctx context.Context, s *state, left []v1alpha1.RetainedToken) error {
	key := issuerKey(s.token)
	if !r.Scope.serves(key.Kind) {
		return nil
	}
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		found := newIssuer(key.Kind)
		if err := r.Live.Get(ctx, key.NamespacedName, found); err != nil {
			return err
		}
		if len(found.SharedStatus().Retained)+len(left) > maxRetained {
			return &issuer.Error{
				Reason: v1alpha1.ReasonRetainedListFull, Stalled: true,
				Message: fmt.Sprintf("So many tokens were left behind that %s %q has no room to record more: set spec.deletionPolicy to Revoke, or wait until some have expired.", key.Kind, key.Name),
			}
		}
		return patchIssuerStatus(ctx, r.Client, found, func(status *v1alpha1.IssuerStatus) {
			for _, entry := range left {
				known := slices.ContainsFunc(status.Retained, func(t v1alpha1.RetainedToken) bool {
					return t.ID == entry.ID && t.Name == entry.Name && t.Owner == entry.Owner && t.ExpirationTime.Equal(entry.ExpirationTime)
				})
				if !known {
					status.Retained = append(status.Retained, entry)
				}
			}
		})
	})
	full := new(issuer.Error)
	switch {
	case apierrors.IsNotFound(err) || errors.As(err, &full) && v1alpha1.Abandoned(s.token):
		return nil // The log and the Event have to do.
	case full.Reason != "":
		return full
	case err != nil:
		return fmt.Errorf("recording what is left behind in the issuer's status: %w", err)
	}
	return nil
}

// announceLeft tells the log, the metrics and the Events of a token that lives on without its resource.
func (r *TokenReconciler) announceLeft(ctx context.Context, s *state, left *v1alpha1.RetainedToken) {
	key := issuerKey(s.token)
	metrics.LeftTokens.WithLabelValues(key.Kind, key.Namespace, key.Name).Inc()
	which, until := "The token "+left.ID, "it has no expiry"
	if left.ID == "" {
		which = "Whatever came of an attempt to mint"
		if left.Name != "" {
			which += " the token " + left.Name
		}
	}
	if left.ExpirationTime != nil {
		until = "it expires at " + left.ExpirationTime.UTC().Format(time.RFC3339)
	}
	kind, why := corev1.EventTypeNormal, "as spec.deletionPolicy says"
	if !s.retains() {
		kind, why = corev1.EventTypeWarning, "since it could not be revoked and the annotation "+v1alpha1.AbandonAnnotation+" allows that"
	}
	ctrl.LoggerFrom(ctx).Info("Left a token at the service", "id", left.ID, "name", left.Name, "expires", timeOf(left.ExpirationTime), "because", why)
	r.Recorder.Eventf(s.token, nil, kind, eventLeft, "Leave", "%s was left at %s, %s; %s", which, s.url, why, until)
}

// prune drops from an issuer's status the tokens left behind that have expired, and after a year those that don't. It says when
// the next one is due; zero: none.
func prune(status *v1alpha1.IssuerStatus, now time.Time) (next time.Time) {
	status.Retained = slices.DeleteFunc(status.Retained, func(t v1alpha1.RetainedToken) bool {
		gone := t.RetainedTime.Add(issuer.MaxLifetime) // Of a token without an expiry nothing more is known; it has no name, either.
		if t.ExpirationTime != nil {
			gone = t.ExpirationTime.Add(lifecycle.ExpiryMargin)
		}
		if now.Before(gone) && (next.IsZero() || gone.Before(next)) {
			next = gone
		}
		return !now.Before(gone)
	})
	return next
}
