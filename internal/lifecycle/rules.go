package lifecycle

import (
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

func deleting(o *Observation) *Plan {
	switch {
	case !o.Deleting:
		return nil
	case !o.Finalizer:
		return &Plan{Action: Wait}
	case o.Pending != nil:
		return &Plan{Action: Settle}
	case o.Current != nil || len(o.Previous) > 0:
		plan := &Plan{Action: Revoke}
		for _, previous := range o.Previous {
			plan.Revisions = append(plan.Revisions, previous.Revision)
		}
		if o.Current != nil {
			plan.Revisions = append(plan.Revisions, o.Current.Revision)
		}
		return plan
	case o.Secret.State == SecretOurs:
		return &Plan{Action: DeleteSecret}
	case !o.Secret.Confirmed:
		return &Plan{Action: ReadSecret}
	default:
		return &Plan{Action: Release}
	}
}

func namespaceTerminating(o *Observation) *Plan {
	if !o.NamespaceTerminating {
		return nil
	}
	return o.wait(&Problem{
		Reason:  v1alpha1.ReasonNamespaceTerminating,
		Message: "The namespace is being deleted, and this token with it; nothing is minted any more.",
	})
}

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
	case o.Secret.State == SecretOurs && o.Pending.SHA256 != "" && o.Secret.SHA256 == o.Pending.SHA256:
		return &Plan{Action: Finish}
	default:
		return &Plan{Action: Settle}
	}
}

func suspended(o *Observation) *Plan {
	switch {
	case !o.Suspended:
		return nil
	case o.HoldsCurrent():
		return &Plan{Action: Wait, Next: o.Current.Expires, Problem: o.Refusal}
	case o.lossUnconfirmed():
		return &Plan{Action: ReadSecret}
	default:
		return &Plan{Action: Wait, Problem: &Problem{
			Reason:  v1alpha1.ReasonSuspended,
			Message: "Suspended, and the Secret holds no token that is valid: set spec.suspend to false to have one minted.",
		}}
	}
}

func previousDue(o *Observation) *Plan {
	plan := &Plan{Action: Revoke}
	for i := range o.Previous {
		if o.due(&o.Previous[i]) {
			plan.Revisions = append(plan.Revisions, o.Previous[i].Revision)
		}
	}
	switch {
	case plan.Revisions == nil:
		return nil
	case !o.Secret.Confirmed:
		return &Plan{Action: ReadSecret} // It may hold what is due.
	default:
		return plan
	}
}

// due says whether a previous token has had its time. A closed attempt has it once the Secret was written with a
// later revision: from then on no write of that attempt which is still under way can succeed. What the Secret holds,
// for want of anything newer, is never due before it expires.
func (o *Observation) due(previous *Token) bool {
	switch {
	case previous.expired(o.Now):
		return true
	case o.Secret.State == SecretOurs && previous.SHA256 != "" && o.Secret.SHA256 == previous.SHA256:
		return false
	case previous.Replaced.IsZero():
		return o.Current != nil && o.Current.Revision > previous.Revision
	default:
		return !o.Now.Before(previous.RevokeAt)
	}
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

func mint(o *Observation) *Plan {
	plan := mintOrWait(o)
	if plan != nil && plan.Action == Wait && o.HoldsCurrent() && o.Secret.Outdated {
		return nil // What a renewal waits for, a rewrite need not wait for.
	}
	return plan
}

func mintOrWait(o *Observation) *Plan {
	due := !o.RenewalTime.IsZero() && !o.Now.Before(o.RenewalTime)
	if o.HoldsCurrent() && !due {
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
	case len(o.Previous) >= MaxPrevious:
		return o.wait(&Problem{
			Reason:  v1alpha1.ReasonTooManyPrevious,
			Message: "Too many replaced tokens still have their grace period; another one is minted when the first of them is revoked.",
		})
	case !o.Finalizer:
		return &Plan{Action: AddFinalizer}
	default:
		return &Plan{Action: Mint, Revision: o.nextRevision(), Unscheduled: unscheduled}
	}
}

func rewrite(o *Observation) *Plan {
	if !o.HoldsCurrent() || !o.Secret.Outdated {
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

// attemptFailed says whether the latest attempt to mint was closed before its token was in the Secret. The write may
// fail again, so no other token is made before a dry run shows that it can succeed.
func (o *Observation) attemptFailed() bool {
	for i := range o.Previous {
		if closed := &o.Previous[i]; closed.Replaced.IsZero() && (o.Current == nil || closed.Revision > o.Current.Revision) {
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
	case o.Secret.Conflict != nil:
		return o.wait(o.Secret.Conflict)
	case o.Secret.Refused == nil:
		return nil
	case !o.Secret.RefusedAgain:
		return &Plan{Action: TryWrite}
	default:
		plan := o.wait(o.Secret.Refused)
		if retry := o.Now.Add(RefusedRetry); plan.Next.IsZero() || retry.Before(plan.Next) {
			plan.Next = retry
		}
		return plan
	}
}

func rest(o *Observation) *Plan { return o.wait(o.Refusal) }

func (o *Observation) wait(problem *Problem) *Plan {
	return &Plan{Action: Wait, Next: o.next(), Problem: problem}
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
	var last int64
	if o.Current != nil {
		last = o.Current.Revision
	}
	for _, previous := range o.Previous {
		last = max(last, previous.Revision)
	}
	return last + 1
}

// next is the earliest time at which this observation, unchanged, would lead to another decision or condition.
func (o *Observation) next() time.Time {
	var next time.Time
	consider := func(at time.Time) {
		if at.After(o.Now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	consider(o.RenewalTime)
	if o.Current != nil {
		consider(o.Current.Expires)
	}
	for _, previous := range o.Previous {
		consider(previous.Expires)
		consider(previous.RevokeAt)
	}
	return next
}

func (t *Token) expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }
