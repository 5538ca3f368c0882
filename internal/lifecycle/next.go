package lifecycle

import "time"

func (o *Observation) wait(problem *Problem) *Plan {
	return &Plan{Action: Wait, Next: o.next(), Problem: problem}
}

// waitAtMost waits for what nothing tells of.
func (o *Observation) waitAtMost(problem *Problem, most time.Duration) *Plan {
	plan := o.wait(problem)
	if again := o.Now.Add(most); plan.Next.IsZero() || again.Before(plan.Next) {
		plan.Next = again
	}
	return plan
}

// next is the earliest time at which this observation, unchanged, would lead to another decision or condition.
func (o *Observation) next() time.Time {
	var next time.Time
	consider := func(at time.Time) {
		if at.After(o.Now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	_, unrevoked := o.blocked(Revoke)
	ends := func(t *Token) {
		consider(t.Expires)
		if unrevoked || t.InUse { // Then it is struck off, or need not be the last one to end.
			consider(t.Expires.Add(ExpiryMargin))
		}
	}
	consider(o.RenewalTime)
	consider(o.LookAt)
	consider(o.RestartAt)
	if o.Current != nil {
		ends(o.Current)
	}
	for _, previous := range o.Previous {
		ends(&previous)
		consider(previous.RevokeAt)
		consider(previous.HeldUntil)
		if previous.InUse && !previous.RevokeAt.After(o.Now) {
			consider(o.Now.Add(InUseRecheck))
		}
		if previous.Held {
			consider(previous.SeekAt)
		}
		if !previous.Closed.IsZero() {
			consider(previous.Closed.Add(ClosedAttemptCheck))
		}
	}
	for _, failure := range o.Failures {
		consider(failure.Until)
	}
	return next
}

func (t *Token) expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }
