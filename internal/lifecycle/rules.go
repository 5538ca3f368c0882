package lifecycle

import (
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// The rules, in the order of their list in lifecycle.go; the first three are in rules_deleting.go. docs/architecture.md, One
// reconcile.

func finalizer(o *Observation) *Plan {
	if o.Finalizer || (o.Current == nil && o.Pending == nil && len(o.Previous) == 0) {
		return nil
	}
	return &Plan{Action: AddFinalizer}
}

func openAttempt(o *Observation) *Plan {
	switch {
	case o.Pending == nil:
		return nil
	case !o.Secret.Confirmed:
		return &Plan{Action: ReadSecret}
	case o.inSecret(o.Pending):
		return &Plan{Action: Finish}
	}
	if _, blocked := o.blocked(Settle); blocked {
		return nil // Minting waits for it; the rest need not.
	}
	return &Plan{Action: Settle}
}

// blocked says whether an action that needs the service has to wait, and for what, if there is something to tell.
func (o *Observation) blocked(action Action) (problem *Problem, blocked bool) {
	if o.ServiceProblem != nil {
		return o.ServiceProblem, true
	}
	failure, failed := o.failed(action)
	return failure.Problem, failed
}

// failed says whether an action came to nothing lately, and is not to be tried again yet.
func (o *Observation) failed(action Action) (Failure, bool) {
	failure, failed := o.Failures[action]
	return failure, failed && o.Now.Before(failure.Until)
}

// revoke is the plan to revoke tokens: as soon as the service can be asked; nil until then. Those that are dead anyway, by
// the service's own word, need not wait for it.
func (o *Observation) revoke(tokens []Token) *Plan {
	_, blocked := o.blocked(Revoke)
	plan := &Plan{Action: Revoke}
	if blocked {
		plan.Action = StrikeOff
	}
	for i := range tokens {
		if t := &tokens[i]; !blocked || t.dead(o.Now) {
			plan.Revisions = append(plan.Revisions, t.Revision)
		}
	}
	if plan.Revisions == nil {
		return nil
	}
	return plan
}

// dead says whether a token is known to be gone without asking for it: by the expiry that the service itself told, or since the
// service refuses it.
func (t *Token) dead(now time.Time) bool {
	return t.Refused || (!t.Absent && !t.Expires.IsZero() && !now.Before(t.Expires.Add(ExpiryMargin)))
}

func suspended(o *Observation) *Plan {
	switch {
	case !o.Suspended:
		return nil
	case o.HoldsCurrent():
		if o.Pending != nil { // It goes on to be settled.
			return o.wait(o.openProblem())
		}
		return &Plan{Action: Wait, Next: o.Current.Expires, Problem: o.Refusal}
	case o.lossUnconfirmed():
		return &Plan{Action: ReadSecret}
	}
	plan := &Plan{Action: Wait, Problem: &Problem{
		Reason:  v1alpha1.ReasonSuspended,
		Message: "Suspended, and the Secret holds no token that is valid: set spec.suspend to false to have one minted.",
	}}
	if o.Pending != nil {
		plan.Next = o.next()
	}
	return plan
}

func seekHolders(o *Observation) *Plan {
	plan := &Plan{Action: SeekHolders}
	for i := range o.Previous {
		if p := &o.Previous[i]; o.hadItsGrace(p) && !p.unheld(o.Now) && !o.Now.Before(p.SeekAt) {
			plan.Revisions = append(plan.Revisions, p.Revision)
		}
	}
	if plan.Revisions == nil {
		return nil
	}
	return plan
}

// hadItsGrace says whether a replaced token has had its grace period, and has not expired.
func (o *Observation) hadItsGrace(p *Token) bool {
	return !p.Replaced.IsZero() && !o.Now.Before(p.RevokeAt) && !p.expired(o.Now) && !o.inSecret(p)
}

// inSecret says whether the Secret holds a token, for want of anything newer.
func (o *Observation) inSecret(p *Token) bool {
	return o.Secret.State == SecretOurs && p.SHA256 != "" && o.Secret.SHA256 == p.SHA256
}

// unheld says whether a token need not be kept for a container that holds it. A container that starts from now on has
// the next one, so who was not found once is not looked for again.
func (t *Token) unheld(now time.Time) bool {
	return !now.Before(t.HeldUntil) || (!t.Held && !t.SeekAt.IsZero())
}

func previousDue(o *Observation) *Plan {
	plan := o.revoke(o.allDue())
	switch {
	case plan == nil:
		return nil
	case !o.Secret.Confirmed:
		return &Plan{Action: ReadSecret} // It may hold what is due.
	default:
		return plan
	}
}

func (o *Observation) allDue() (due []Token) {
	for i := range o.Previous {
		if o.due(&o.Previous[i]) {
			due = append(due, o.Previous[i])
		}
	}
	return due
}

// due says whether a previous token has had its time. A closed attempt with a token has it once the Secret was written with
// a later revision: from then on no write of that attempt which is still under way can succeed. A service is asked for what
// may have come of a closed attempt after a while. What a container holds is kept for it. What the Secret holds, for want of
// anything newer, is never due before it expires.
func (o *Observation) due(previous *Token) bool {
	switch {
	case previous.expired(o.Now):
		return true
	case o.inSecret(previous) || previous.InUse:
		return false
	case previous.RevokeAt.After(o.Now):
		return false
	case previous.Replaced.IsZero():
		if !previous.Absent && o.Current != nil && o.Current.Revision > previous.Revision {
			return true
		}
		return !previous.Closed.IsZero() && !o.Now.Before(previous.Closed.Add(ClosedAttemptCheck))
	default:
		return previous.unheld(o.Now)
	}
}

func restart(o *Observation) *Plan {
	if _, failed := o.failed(Restart); failed || o.RestartAt.IsZero() || o.Now.Before(o.RestartAt) || !o.HoldsCurrent() {
		return nil
	}
	return &Plan{Action: Restart}
}

func specProblem(o *Observation) *Plan {
	switch {
	case o.SpecProblem == nil:
		return nil
	case o.lossUnconfirmed():
		return &Plan{Action: ReadSecret}
	default:
		return o.wait(o.SpecProblem)
	}
}

func adopt(o *Observation) *Plan {
	if !o.Adopting {
		return nil
	}
	problem, blocked := o.blocked(Adopt)
	switch {
	case o.Refusal != nil:
		return o.wait(o.Refusal)
	case o.IssuerProblem != nil:
		return o.wait(o.IssuerProblem)
	case blocked:
		return o.wait(problem)
	case !o.Secret.Confirmed:
		return &Plan{Action: ReadSecret}
	case o.Secret.Conflict != nil:
		return o.waitAtMost(o.Secret.Conflict, AdoptRecheck)
	case !o.Finalizer:
		return &Plan{Action: AddFinalizer}
	default:
		return &Plan{Action: Adopt}
	}
}

func mint(o *Observation) *Plan {
	plan := mintOrWait(o)
	if plan != nil && plan.Action == Wait && o.Pending == nil && o.HoldsCurrent() && o.Secret.Outdated {
		return nil // What a renewal waits for, a rewrite need not wait for.
	}
	return plan
}

func mintOrWait(o *Observation) *Plan {
	if o.Pending != nil {
		return o.wait(o.openProblem())
	}
	due := !o.RenewalTime.IsZero() && !o.Now.Before(o.RenewalTime)
	if o.HoldsCurrent() && !due && !o.Requested && !o.Compromised {
		return nil
	}
	unscheduled := !o.HoldsCurrent() || o.attemptFailed()
	switch {
	case o.lossUnconfirmed():
		return &Plan{Action: ReadSecret}
	case o.Refusal != nil:
		return o.wait(o.Refusal)
	case o.IssuerProblem != nil:
		return o.wait(o.IssuerProblem)
	}
	if problem, blocked := o.blocked(Mint); blocked {
		return o.wait(problem)
	}
	if plan := o.writeBlocked(); plan != nil {
		return plan
	}
	switch {
	case o.attemptFailed() && !o.Secret.Tried:
		return &Plan{Action: TryWrite}
	case unscheduled && o.Storm != nil:
		return o.wait(o.Storm)
	case unscheduled && o.recentMints() >= MaxUnscheduledMints:
		return o.wait(MintStorm())
	case o.nextRevision() > v1alpha1.MaxRevision:
		return o.wait(&Problem{
			Reason:  v1alpha1.ReasonRevisionsUsedUp,
			Message: "The status has the highest revision that there can be, which the operator never wrote: delete this resource and create it anew, and see who may write the status.",
			Stalled: true,
		})
	case len(o.Previous) >= MaxPrevious:
		return o.wait(&Problem{
			Reason:  v1alpha1.ReasonTooManyPrevious,
			Message: "Too many replaced tokens are not revoked yet; another one is minted when the first of them is. Those with heldBy in status.previousTokens are kept for pods: restart these to have it sooner.",
		})
	case !unscheduled && !due && !o.Compromised && o.livePrevious() >= MaxPreviousToRotate:
		return o.wait(&Problem{
			Reason:  v1alpha1.ReasonTooManyPrevious,
			Message: "The rotation that was asked for waits: three replaced tokens are not revoked yet. It is done when the first of them is. Those with heldBy in status.previousTokens are kept for pods: restart these to have it sooner.",
		})
	case !o.Finalizer:
		return &Plan{Action: AddFinalizer}
	default:
		return &Plan{Action: Mint, Revision: o.nextRevision(), Unscheduled: unscheduled}
	}
}

// livePrevious counts the previous tokens that are still accepted.
func (o *Observation) livePrevious() (count int) {
	for i := range o.Previous {
		if p := &o.Previous[i]; !p.Absent && !p.expired(o.Now) {
			count++
		}
	}
	return count
}

func rewrite(o *Observation) *Plan {
	if !o.HoldsCurrent() || !o.Secret.Outdated || o.Pending != nil {
		return nil
	}
	if plan := o.writeBlocked(); plan != nil {
		return plan
	}
	return &Plan{Action: Rewrite}
}

// lossUnconfirmed says whether the current token is missing from the Secret by the word of the cache alone.
func (o *Observation) lossUnconfirmed() bool {
	return o.Current != nil && !o.Current.expired(o.Now) && !o.HoldsCurrent() && !o.Secret.Confirmed
}

// attemptFailed says whether the latest attempt to mint was closed with a token, before that was in the Secret. The write
// may fail again, so no other token is made before a dry run shows that it can succeed.
func (o *Observation) attemptFailed() bool {
	for i := range o.Previous {
		if closed := &o.Previous[i]; !closed.Absent && closed.Replaced.IsZero() && (o.Current == nil || closed.Revision > o.Current.Revision) {
			return true
		}
	}
	return false
}

// writeBlocked is what must be done, or waited for, before the Secret can be written; nil if it can be.
func (o *Observation) writeBlocked() *Plan {
	switch {
	case !o.Secret.Confirmed:
		return &Plan{Action: ReadSecret}
	case o.Secret.Conflict != nil || o.Secret.State == SecretForeign: // Whether or not it was said why.
		return o.wait(o.Secret.Conflict)
	case o.Secret.Refused == nil:
		return nil
	case !o.Secret.RefusedAgain:
		return &Plan{Action: TryWrite}
	default:
		return o.waitAtMost(o.Secret.Refused, RefusedRetry)
	}
}

func look(o *Observation) *Plan {
	if _, blocked := o.blocked(Look); blocked || o.Current == nil || o.LookAt.IsZero() || o.Now.Before(o.LookAt) {
		return nil
	}
	return &Plan{Action: Look}
}

func rest(o *Observation) *Plan { return o.wait(o.openProblem()) }

// openProblem is what is amiss while nothing has to be minted; nil if nothing is.
func (o *Observation) openProblem() *Problem {
	if o.Refusal != nil {
		return o.Refusal
	}
	if o.Pending != nil {
		problem, _ := o.blocked(Settle)
		return problem
	}
	for _, action := range []Action{Revoke, Look} {
		problem, blocked := o.blocked(action)
		if blocked && problem != nil && (action == Look && o.ServiceProblem == nil || action == Revoke && len(o.allDue()) > 0) {
			return problem
		}
	}
	return nil
}

func (o *Observation) recentMints() int {
	recent := 0
	for _, at := range o.Mints {
		if age := o.Now.Sub(at); age > -MintStormWindow && age < MintStormWindow { // Clocks jump.
			recent++
		}
	}
	return recent
}

func (o *Observation) nextRevision() int64 {
	last := o.LastRevision
	if o.Current != nil {
		last = max(last, o.Current.Revision)
	}
	for _, previous := range o.Previous {
		last = max(last, previous.Revision)
	}
	return last + 1
}
