package controllers

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
	"github.com/tokensteward/tokensteward/internal/metrics"
)

// Reasons and actions of Events.
const (
	eventIssued  = "Issued"
	eventRevoked = "Revoked"
	eventExpired = "Expired"
	eventMissing = "RevokedElsewhere"
	eventHeld    = "Held"

	eventAdopted   = "Adopted"
	eventRestarted = "Restarted"
	eventLeft      = "LeftBehind"
)

// report writes what is so into the status, once per reconcile and only if it changed, and tells the Events.
func (r *TokenReconciler) report(ctx context.Context, s *state, plan lifecycle.Plan, failure error) error {
	if s.namespaceGone { // Then neither a status nor an Event can be written.
		if failure == nil {
			ctrl.LoggerFrom(ctx).Info("Left behind", "revoked", s.revoked, "message", plan.Problem.Message)
		}
		return nil
	}
	// A resource on its way out keeps its last status, unless it is held up: its Events and the log tell the rest.
	if apierrors.IsConflict(failure) || (!s.token.GetDeletionTimestamp().IsZero() && failure == nil && plan.Problem == nil) {
		return nil
	}
	now := r.Clock.Now()
	status := s.token.SharedStatus()
	if plan.Problem != nil && plan.Problem.Reason == v1alpha1.ReasonMintStorm && len(status.Mints) <= lifecycle.MaxUnscheduledMints {
		status.Mints = append(status.Mints, metav1.NewTime(now)) // The one that was not made marks the storm.
	}
	status.ObservedGeneration = s.token.GetGeneration()
	s.token.ReportSubject(s.account)
	before := problemOf(s.stored)
	r.setConditions(s, plan, failure, now)
	if err := r.patchStatus(ctx, s); err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}

	r.announce(ctx, s)
	switch after := problemOf(s.token); {
	case after == nil && before != nil && s.minted == nil && len(s.revoked) == 0: // Else what was done has a line of its own.
		ctrl.LoggerFrom(ctx).Info("No longer waiting", "reason", before.Reason)
	case after != nil && (before == nil || before.Reason != after.Reason):
		ctrl.LoggerFrom(ctx).Info("Waiting", "reason", after.Reason, "message", after.Message)
		r.Recorder.Eventf(s.token, nil, corev1.EventTypeWarning, after.Reason, "Wait", "%s", truncate(after.Message))
	}
	return nil
}

// problemOf is the condition that an Event should tell of; nil if all is well or on its way.
func problemOf(t v1alpha1.Token) *metav1.Condition {
	conditions := t.SharedStatus().Conditions
	if stalled := meta.FindStatusCondition(conditions, v1alpha1.ConditionStalled); stalled != nil {
		return stalled
	}
	ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status == metav1.ConditionTrue {
		return nil
	}
	switch ready.Reason {
	case v1alpha1.ReasonProgressing, v1alpha1.ReasonWaitingForTurn:
		return nil // They pass by themselves.
	default:
		return ready
	}
}

// announce tells the log and the Events what was done.
func (r *TokenReconciler) announce(ctx context.Context, s *state) {
	log := ctrl.LoggerFrom(ctx)
	if s.missing > 0 && s.minted != nil {
		log.Info("The service does not have the token any more: it was revoked there", "revision", s.missing)
		r.Recorder.Eventf(s.token, nil, corev1.EventTypeWarning, eventMissing, "Issue",
			"Revision %d was revoked at the service, and not by the operator: another token takes its place", s.missing)
	}
	key := issuerKey(s.token)
	if revoked := len(s.revoked); revoked > 0 {
		metrics.RevokedTokens.WithLabelValues(s.token.Kind(), key.Kind, key.Namespace, key.Name).Add(float64(revoked))
	}
	if minted := s.minted; minted != nil {
		metrics.MintedTokens.WithLabelValues(s.token.Kind(), s.mintCause(), key.Kind, key.Namespace, key.Name).Inc()
		name := v1alpha1.SecretName(s.token)
		log.Info("Issued a token", "revision", minted.Revision, "reason", s.mintCause(), "secret", name, "expires", timeOf(minted.ExpirationTime))
		expires := "does not expire"
		if minted.ExpirationTime != nil {
			expires = "expires at " + minted.ExpirationTime.UTC().Format(time.RFC3339)
		}
		r.Recorder.Eventf(s.token, nil, corev1.EventTypeNormal, eventIssued, "Issue", "Revision %d is in the Secret %q and %s%s", minted.Revision, name, expires, s.replacedNote())
	}
	for _, revision := range s.heldSince {
		if previous := previousOf(s.token.SharedStatus(), revision); previous != nil {
			until := heldUntil(s.token.SharedSpec(), previous).UTC().Format(time.RFC3339)
			log.Info("Keeping a replaced token for pods that started with it", "revision", revision, "pods", previous.HeldBy, "until", until)
			r.Recorder.Eventf(s.token, nil, corev1.EventTypeNormal, eventHeld, "Keep",
				"Revision %d is kept, until %s at most, for pods that started with it: %s. Restart them to have it revoked earlier", revision, until, podNames(previous.HeldBy))
		}
	}
	for i := range s.left {
		r.announceLeft(ctx, s, &s.left[i])
	}
	if len(s.revoked) > 0 {
		reason := "replaced"
		if s.token.GetDeletionTimestamp() != nil {
			reason = "deleted"
		}
		log.Info("Revoked tokens", "revisions", s.revoked, "reason", reason)
		r.Recorder.Eventf(s.token, nil, corev1.EventTypeNormal, eventRevoked, "Revoke", "Revoked %s", revisions(s.revoked))
	}
	if len(s.expired) > 0 {
		log.Info("Struck off tokens that have expired", "revisions", s.expired)
		r.Recorder.Eventf(s.token, nil, corev1.EventTypeNormal, eventExpired, "Revoke",
			"%s expired more than an hour ago, and the service can't be asked to revoke them", revisions(s.expired))
	}
	if len(s.refused) > 0 {
		log.Info("Struck off tokens that the service refuses", "revisions", s.refused)
		r.Recorder.Eventf(s.token, nil, corev1.EventTypeNormal, eventRevoked, "Revoke",
			"%s, the issuer's credential, is refused by the service again and again, which proves that it is gone", revisions(s.refused))
	}
}

// mintCause is why a token was minted, in the words of the metric.
func (s *state) mintCause() string {
	switch {
	case s.replaced == nil:
		return metrics.CauseFirst
	case s.cause == "":
		return metrics.CauseDue
	default:
		return s.cause
	}
}

// causes of a rotation in an Event's words.
var causes = map[string]string{
	metrics.CauseDue:       "which was due",
	metrics.CauseRequested: "as was asked for",
	metrics.CauseLost:      "which was not in the Secret any more",
}

// replacedNote tells which token another has taken the place of, why, and how long it stays valid.
func (s *state) replacedNote() string {
	if s.replaced == nil {
		return ""
	}
	if s.replaced.RevokeTime.Equal(s.replaced.ReplacedTime) {
		return fmt.Sprintf(". It replaces revision %d, which is revoked at once", s.replaced.Revision)
	}
	cause := cmp.Or(causes[s.cause], "as was begun before") // By an earlier process.
	return fmt.Sprintf(". It replaces revision %d, %s; that stays valid until %s", s.replaced.Revision, cause, s.replaced.RevokeTime.UTC().Format(time.RFC3339))
}

func revisions(numbers []int64) string {
	if len(numbers) == 1 {
		return fmt.Sprintf("revision %d", numbers[0])
	}
	return "revisions " + strings.Trim(strings.ReplaceAll(fmt.Sprint(numbers), " ", ", "), "[]")
}

// setConditions says what is so (docs/tokens.md, Conditions). Ready speaks of the token in the Secret alone, so a problem that
// leaves that in order shows in Stalled, or in Ready's message.
func (r *TokenReconciler) setConditions(s *state, plan lifecycle.Plan, failure error, now time.Time) {
	o := s.observation(now)
	// A built-in token that is not granted is refused at once. Elsewhere a token works until it ends.
	usable := o.HoldsCurrent() && (o.Refusal == nil || s.url != "")
	problem := plan.Problem
	if problem != nil && !s.token.GetDeletionTimestamp().IsZero() && !problem.Passes() && problem.Reason != v1alpha1.ReasonInUse {
		told := *problem
		told.Message += fmt.Sprintf(" To have the deletion finish all the same, and whatever can't be revoked live on, set the annotation %s to \"true\".", v1alpha1.AbandonAnnotation)
		problem = &told
	}
	if failure != nil {
		problem = &lifecycle.Problem{Reason: v1alpha1.ReasonProgressing, Message: truncate(fmt.Sprintf("Trying again: %s.", failure))}
	}

	ready, status := lifecycle.Problem{Reason: v1alpha1.ReasonProgressing, Message: "The token is being minted."}, metav1.ConditionFalse
	switch {
	case usable:
		status = metav1.ConditionTrue
		ready = lifecycle.Problem{Reason: v1alpha1.ReasonIssued, Message: fmt.Sprintf("The Secret %q holds revision %d.", v1alpha1.SecretName(s.token), o.Current.Revision)}
		if o.Suspended {
			ready.Message += " Suspended: it is not renewed."
		} else if problem != nil {
			ready.Message += " " + problem.Message
		}
		ready.Message = truncate(ready.Message + r.renewalNote(s) + r.keptNote(s, &o) + compromisedNote(s.token))
	case problem != nil:
		ready = *problem
	}
	r.setCondition(s, v1alpha1.ConditionReady, status, ready, now)
	r.setOrDropCondition(s, v1alpha1.ConditionReconciling, !usable && (failure != nil || problem == nil), ready, now)
	if problem == nil {
		problem = &ready
	}
	r.setOrDropCondition(s, v1alpha1.ConditionStalled, problem.Stalled, *problem, now)
	if len(s.token.SharedSpec().RolloutRestartTargets) == 0 {
		meta.RemoveStatusCondition(&s.token.SharedStatus().Conditions, v1alpha1.ConditionRestarted)
	}
}

// renewalNote tells that the token is renewed later than spec asks for.
func (r *TokenReconciler) renewalNote(s *state) string {
	spec, status := s.token.SharedSpec(), s.token.SharedStatus()
	expires, renewal := timeOf(status.Token.ExpirationTime), timeOf(status.RenewalTime)
	if spec.RenewBefore == nil || expires.IsZero() || !renewal.After(expires.Add(-spec.RenewBefore.Duration)) {
		return ""
	}
	if issued := status.Token.IssueTime; !expires.Add(-spec.RenewBefore.Duration - spec.TokenDuration()/10).Before(issued.Add(expires.Sub(issued.Time) / 10)) {
		return fmt.Sprintf(" spec.renewBefore was changed since, which applies from the next token on: this one is renewed at %s.", renewal.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf(" spec.renewBefore does not fit into the life of this token, which is renewed at %s, two thirds through it.", renewal.UTC().Format(time.RFC3339))
}

// compromisedNote tells that an annotation is not understood.
func compromisedNote(t v1alpha1.Token) string {
	if _, ok := v1alpha1.CompromisedRevision(t); ok {
		return ""
	}
	return fmt.Sprintf(" The annotation %s is %q, which is no revision that there was.", v1alpha1.CompromisedAnnotation, foreign(t.GetAnnotations()[v1alpha1.CompromisedAnnotation]))
}

// truncate bounds a message: conditions and Events hold only so much, and nobody reads more.
func truncate(message string) string { return cut(message, 800) }

// foreign is what somebody else wrote, such as an annotation, as a message may show it. An owner has room in it.
func foreign(text string) string { return cut(text, 400) }

func cut(text string, most int) string {
	if text = printable(text); len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + " …"
}

// printable is a text without what could write lines of its own into a log, or drive the terminal of whoever reads it.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		default:
			return unicode.ReplacementChar
		}
	}, text)
}

func (r *TokenReconciler) setOrDropCondition(s *state, conditionType string, present bool, why lifecycle.Problem, now time.Time) {
	if present {
		r.setCondition(s, conditionType, metav1.ConditionTrue, why, now)
	} else {
		meta.RemoveStatusCondition(&s.token.SharedStatus().Conditions, conditionType)
	}
}

func (r *TokenReconciler) setCondition(s *state, conditionType string, value metav1.ConditionStatus, why lifecycle.Problem, now time.Time) {
	meta.SetStatusCondition(&s.token.SharedStatus().Conditions, metav1.Condition{
		Type: conditionType, Status: value, Reason: why.Reason, Message: printable(why.Message),
		ObservedGeneration: s.token.GetGeneration(), LastTransitionTime: metav1.NewTime(now),
	})
}

// patchStatus writes the draft of the status if it differs from what is stored, and fails with a conflict if the
// resource changed since it was read. Nothing else writes a token's status.
func (r *TokenReconciler) patchStatus(ctx context.Context, s *state) error {
	s.token.SharedStatus().OwnerUID = s.token.GetUID()
	if equality.Semantic.DeepEqual(s.token, s.stored) {
		return nil
	}
	patched := s.token.DeepCopyObject().(v1alpha1.Token)
	if err := r.Client.Status().Patch(ctx, patched, client.MergeFromWithOptions(s.stored, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	s.refresh(patched)
	r.written.note(patched)
	return nil
}

func isReady(conditions []metav1.Condition) bool {
	return meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionReady)
}
