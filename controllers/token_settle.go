package controllers

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
	"github.com/tokensteward/tokensteward/internal/token"
)

// settle closes an attempt that another process, or an earlier reconcile, began and whose value is not in the Secret.
// What it made stays among the previous tokens, and valid, until the Secret holds a later revision: its own write of the
// Secret may still be under way, and no value may be seen there that is refused. docs/architecture.md, Settling.
func (r *TokenReconciler) settle(ctx context.Context, s *state) error {
	status := s.token.SharedStatus()
	pending := status.Pending
	known, failed := r.knower(ctx, pending.URL)
	settlement, err := s.issuer.Settle(ctx, issuer.Inquiry{
		Kind: s.token.Kind(), Subject: s.token.Subject(), UID: s.token.GetUID(), Record: *pending, Now: r.Clock.Now(),
		Known: known, Disowned: s.disowned, InSecret: s.inSecretFor(pending.Revision),
	})
	if err == nil {
		err = failed()
	}
	if err != nil {
		return fmt.Errorf("finding out what became of an attempt to mint: %w", err)
	}
	r.failures.succeeded(s, lifecycle.Settle)
	closed := previousFrom(pending.Record())
	if pending.URL != "" {
		now := metav1.NewTime(r.Clock.Now())
		closed.ClosedTime = &now
	}
	if s.writtenFor(pending.Revision) { // And changed by somebody else since: whoever read it before gets the grace period.
		r.startGrace(s, &closed)
	}
	switch found := settlement.Token; {
	case !settlement.NotBefore.IsZero():
		return &issuer.Error{
			Reason: v1alpha1.ReasonSettling, RetryAfter: settlement.NotBefore.Sub(r.Clock.Now()),
			Message: "An attempt to mint had no answer. Whether it made a token is known once it can't come in late any more.",
		}
	case settlement.Ambiguous != nil:
		pending.AmbiguousIDs = nil
		for _, id := range settlement.Ambiguous {
			pending.AmbiguousIDs = append(pending.AmbiguousIDs, v1alpha1.ServiceID(id))
		}
		return issuer.Ambiguous(s.place(), settlement.Ambiguous)
	case found != nil && s.mayWrite():
		if err := r.recordTakenOut(ctx, s); err != nil {
			return err
		}
		return r.writeAndFinish(ctx, s, *found)
	case found != nil:
		closed.ID, closed.SHA256, closed.ExpirationTime = found.ID, found.Value.SHA256(), expiration(found.ExpirationTime)
	case settlement.Lost != "":
		// When it expires was asked for, and not told by the service.
		closed.ID, closed.ExpirationTime = settlement.Lost, nil
	case closed.ID == "" && !settlement.Recognizable:
		s.dropAttempt()
		return nil
	case closed.ID == "":
		s.dropAttempt()
		status.PreviousTokens = append(status.PreviousTokens, closed)
		return nil
	}
	status.PreviousTokens = append(status.PreviousTokens, closed)
	status.Pending = nil
	return nil
}

// mayWrite says whether the token of an attempt that was found again may be written into the Secret.
func (s *state) mayWrite() bool {
	return s.token.GetDeletionTimestamp().IsZero() && !s.namespaceTerminating && !s.namespaceGone && !s.token.SharedSpec().Suspend && s.specProblem == nil &&
		s.observedSecret().Conflict == nil && s.secretRefused == nil
}

// inSecretFor is what the Secret holds, if it was written for a revision.
func (s *state) inSecretFor(revision int64) token.Value {
	if !s.writtenFor(revision) {
		return token.Value{}
	}
	return token.NewValue(string(s.inSecret()))
}

// writtenFor says whether the Secret was written for a revision, whatever it holds now.
func (s *state) writtenFor(revision int64) bool {
	return s.secret != nil && s.observedSecret().State == lifecycle.SecretOurs &&
		s.secret.Annotations[v1alpha1.RevisionAnnotation] == strconv.FormatInt(revision, 10)
}

// place is where the resource's tokens are at the service, for people.
func (s *state) place() string {
	if s.token.Kind() == v1alpha1.KindProjectToken {
		return "the repository " + s.token.Subject()
	}
	return "the account"
}

// dropAttempt forgets an attempt of which there is no token, and that it was made.
func (s *state) dropAttempt() {
	status := s.token.SharedStatus()
	status.Mints = slices.DeleteFunc(status.Mints, func(at metav1.Time) bool { return at.Equal(&status.Pending.StartTime) })
	status.Pending = nil
}
