package lifecycle

import (
	"slices"
	"strconv"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// storm is what the resource's condition remembers of a storm.
func storm(plan *Plan) *Problem {
	if plan.Problem == nil || plan.Problem.Reason != v1alpha1.ReasonMintStorm {
		return nil
	}
	return plan.Problem
}

// others let time pass until the next reconcile, and do something in the meantime.
func (m *model) others(plan *Plan) {
	o := &m.observed
	o.Storm = storm(plan)
	if plan.Problem != o.Secret.Refused { // The condition forgets it.
		o.Secret.Refused = nil
	}
	o.Now = o.Now.Add(time.Duration(m.IntN(15)) * time.Minute)
	deed := m.IntN(12)
	if m.outside {
		deed = m.IntN(20)
	}
	switch {
	case m.thief:
		deed = 0
	case !plan.Next.IsZero() && m.chance(50):
		o.Now = plan.Next
	}
	switch deed {
	case 0, 1: // Somebody takes the token away, and perhaps puts one there that is an older one.
		stolen := Secret{State: SecretState(m.IntN(2))}
		if o.Adopting {
			stolen.State = SecretAbsent
		}
		if stolen.State == SecretOurs && len(o.Previous) > 0 {
			stolen.SHA256 = o.Previous[m.IntN(len(o.Previous))].SHA256
		}
		m.put(stolen)
	case 2:
		m.put(randomSecret(m.Rand, o))
	case 3:
		m.unlabeled = true
	case 4, 5, 6: // The spec changes.
		o.Suspended, o.SpecProblem = m.chance(30), nil
		if m.chance(30) {
			o.SpecProblem = wrongSpec
		}
		o.Requested, o.Retain = m.chance(30), m.outside && m.chance(50)
		o.Compromised = o.Current != nil && m.chance(10)
		if o.Adopting && m.chance(30) {
			o.Adopting = false
			for _, made := range []*Secret{&m.live, &m.before} {
				if made.State == SecretForeign { // It is to be left alone from now on.
					made.Conflict = conflict
				}
			}
		}
		o.Storm, o.Mints, m.minted, o.Failures = nil, nil, nil, nil
		m.counted = false
		m.live.Outdated = m.live.State == SecretOurs
	case 7, 8: // The issuer does.
		if o.IssuerProblem, o.Refusal = nil, nil; m.chance(30) {
			o.IssuerProblem = notReady
		} else if m.chance(30) {
			o.Refusal = notGranted
		}
	case 9:
		m.refuses = !m.refuses
	case 10: // Somebody takes the finalizer away.
		o.Finalizer = o.Finalizer && o.Deleting
	case 11:
		o.Deleting = true
	case 12, 13: // The service goes down, or comes back.
		if o.ServiceProblem != nil {
			o.ServiceProblem = nil
		} else {
			o.ServiceProblem = randomServiceProblem(m.Rand)
		}
	case 14: // It loses the token, and somebody else's look may have shown that.
		m.forgot = o.Current != nil
		o.Missing = m.forgot && m.chance(30)
	case 15:
		o.Failures = randomFailures(m.Rand, o.Now)
	case 16:
		o.Abandon = !o.Abandon
	case 17: // The operator asks the service with the token in the Secret, or with another one, from now on.
		use(o, m.chance(70))
	case 18:
		if o.Needed = nil; o.inUse() && m.chance(50) {
			o.Needed = othersNeedIt
		}
	case 19: // Somebody else ends a token, and it takes a while to be proven.
		if o.Current != nil && m.chance(50) {
			o.Current.Refused = true
		} else if len(o.Previous) > 0 {
			o.Previous[m.IntN(len(o.Previous))].Refused = true
		}
	}
	m.begin()
}

// put is a write of the Secret.
func (m *model) put(secret Secret) { m.before, m.live = m.live, secret }

// begin is the beginning of another reconcile: it sees of the Secret what the cache shows, which may be behind and has
// nothing without our label.
func (m *model) begin() {
	switch {
	case m.unlabeled:
		m.see(Secret{}, false)
	case m.chance(20) && !m.observed.Deleting:
		m.see(m.before, false)
	default:
		m.see(m.live, false)
	}
	m.observed.Secret.RefusedAgain, m.observed.Secret.Tried = false, false
	m.began, m.plans = clone(m.observed), nil
}

func (m *model) see(secret Secret, confirmed bool) {
	o := &m.observed
	secret.Confirmed, secret.Refused, secret.RefusedAgain = confirmed, o.Secret.Refused, o.Secret.RefusedAgain
	secret.Tried = o.Secret.Tried
	o.Secret = secret
}

// apply carries out a plan as the engine does.
func (m *model) apply(plan *Plan) {
	o := &m.observed
	switch plan.Action {
	case AddFinalizer:
		o.Finalizer = true
	case ReadSecret:
		m.see(m.live, true)
		for i := range o.Previous {
			seen := &o.Previous[i]
			if o.Secret.State == SecretOurs && seen.SHA256 != "" && o.Secret.SHA256 == seen.SHA256 && seen.Replaced.IsZero() {
				seen.Replaced, seen.RevokeAt, seen.HeldUntil = o.Now, o.Now.Add(day), o.Now.Add(time.Duration(m.IntN(3))*day)
			}
		}
	case TryWrite:
		m.tryWrite()
	case Rewrite:
		if m.refuses {
			m.tryWrite()
			return
		}
		m.live.Outdated, m.unlabeled = false, false
		m.see(m.live, true)
	case SeekHolders:
		for i := range o.Previous {
			if p := &o.Previous[i]; slices.Contains(plan.Revisions, p.Revision) {
				p.Held, p.SeekAt = m.chance(50), o.Now.Add(time.Minute)
			}
		}
	case Mint:
		o.LastRevision = plan.Revision
		if o.Requested && o.RenewalTime.After(o.Now) {
			o.RenewalTime = o.Now
		}
		o.Requested, o.Compromised = false, false
		o.Pending = &Token{Revision: plan.Revision, Expires: m.expiry()}
		if !m.outside {
			o.Pending.SHA256 = valueOf(plan.Revision)
		}
		if m.counted = plan.Unscheduled; m.counted {
			o.Mints = append(o.Mints, o.Now)
			o.Mints = o.Mints[max(0, len(o.Mints)-MaxUnscheduledMints):]
			m.minted = append(m.minted, o.Now)
		}
		if m.killed() {
			return
		}
		if m.fails(Mint, limitReached) {
			if m.chance(50) { // It is sure that nothing was made.
				m.dropAttempt()
			}
			return
		}
		m.write()
	case Finish:
		m.finish()
	case Settle:
		if m.fails(Settle, ambiguous) {
			return
		}
		shown := m.chance(50) || m.live.State == SecretOurs && m.live.SHA256 == valueOf(o.Pending.Revision)
		if shown && !o.Deleting && !o.NamespaceTerminating && o.Secret.Conflict == nil && o.Secret.Refused == nil {
			m.write()
			return
		}
		closed := Token{Revision: o.Pending.Revision, SHA256: o.Pending.SHA256, Expires: o.Pending.Expires}
		if m.outside {
			closed.Closed, closed.Absent = o.Now, !shown && m.chance(50)
		}
		if closed.Absent {
			m.dropAttempt()
			if m.chance(50) { // Its token would not be recognized, should it come up late.
				return
			}
		}
		o.Previous, o.Pending = append(o.Previous, closed), nil
	case Revoke:
		revisions := plan.Revisions
		if m.fails(Revoke, unproven) { // Of one or another.
			revisions = slices.DeleteFunc(slices.Clone(revisions), func(int64) bool { return m.chance(50) })
		}
		m.drop(revisions)
	case StrikeOff:
		m.drop(plan.Revisions)
	case Adopt:
		if m.live.State == SecretAbsent {
			m.fail(Adopt, notTaken)
			return
		}
		if m.fails(Adopt, notTaken) {
			return
		}
		o.Adopting, o.LastRevision = false, 1
		o.Current = &Token{Revision: 1, SHA256: valueOf(1), Expires: m.expiry()}
		o.RenewalTime = AdoptedRenewalTime(o.Now, o.Current.Expires, 90*day, 30*day, m.Float64())
		m.put(Secret{State: SecretOurs, SHA256: valueOf(1), Outdated: true})
		m.see(m.live, true)
	case Restart:
		if m.chance(30) {
			m.fail(Restart, notRestarted)
			return
		}
		o.RestartAt, m.restarted[o.Current.Revision] = time.Time{}, true
		delete(o.Failures, Restart)
	case Look:
		o.LookAt = o.Now.Add(time.Duration(1+m.IntN(60)) * time.Minute)
		if !m.fails(Look, roleMissing) {
			o.Missing = m.forgot
		}
	case LeaveBehind:
		if m.fails(LeaveBehind, listFull) || m.killed() {
			return // In the second case they are written down twice.
		}
		if m.drop(plan.Revisions); o.Pending != nil && slices.Contains(plan.Revisions, o.Pending.Revision) {
			o.Pending = nil
		}
	case LetGoSecret:
		if m.live.State == SecretOurs {
			for i := range o.Previous { // It is written down before.
				if p := &o.Previous[i]; p.Replaced.IsZero() && p.SHA256 != "" && p.SHA256 == m.live.SHA256 {
					p.Replaced = o.Now
				}
			}
			letGo := m.live
			m.leftInSecret = letGo.SHA256
			letGo.State, letGo.Conflict = SecretForeign, conflict
			m.put(letGo)
		}
		m.see(m.live, true)
		m.killed()
	case DeleteSecret:
		if m.live.State != SecretAbsent && (m.live.State != o.Secret.State || m.live.SHA256 != o.Secret.SHA256) {
			m.begin() // A conflict: the cache was behind.
			return
		}
		m.put(Secret{})
		m.see(m.live, true)
	case Release:
		o.Finalizer = false
	}
}

// fails says whether an action at the service comes to nothing, and records that as the engine does.
func (m *model) fails(action Action, problem *Problem) bool {
	o := &m.observed
	if !m.outside || !m.chance(30) {
		delete(o.Failures, action)
		return false
	}
	m.fail(action, problem)
	return true
}

// fail records that an action came to nothing.
func (m *model) fail(action Action, problem *Problem) {
	o := &m.observed
	failure := Failure{Problem: problem, Until: o.Now.Add(time.Duration(1+m.IntN(3000)) * time.Second)}
	if m.chance(30) {
		failure.Problem = nil
	}
	if o.Failures == nil {
		o.Failures = map[Action]Failure{}
	}
	o.Failures[action] = failure
}

// dropAttempt forgets an attempt of which there is no token, and that it was made.
func (m *model) dropAttempt() {
	o := &m.observed
	if m.counted {
		o.Mints, m.minted = o.Mints[:len(o.Mints)-1], m.minted[:len(m.minted)-1]
	}
	o.Pending, m.counted = nil, false
}

// expiry is what the service says of a new token: a service outside of the cluster may say nothing, or what it likes.
func (m *model) expiry() time.Time {
	says := m.IntN(100)
	switch {
	case m.outside && says < 20:
		return time.Time{}
	case m.outside && says < 40:
		return m.observed.Now.Add(time.Duration(1+m.IntN(400)) * day)
	default:
		return m.observed.Now.Add(90 * day)
	}
}

func valueOf(revision int64) string { return "revision " + strconv.FormatInt(revision, 10) }

// drop strikes tokens off the status.
func (m *model) drop(revisions []int64) {
	o := &m.observed
	dropped := func(p Token) bool { return slices.Contains(revisions, p.Revision) }
	o.Previous = slices.DeleteFunc(o.Previous, dropped)
	if o.Current != nil && dropped(*o.Current) {
		o.Current, o.RenewalTime = nil, time.Time{}
	}
	if !o.inUse() {
		o.Needed = nil
	}
}

// inUse says whether the operator asks the service with a token of this resource.
func (o *Observation) inUse() bool {
	return o.Current != nil && o.Current.InUse || slices.ContainsFunc(o.Previous, func(p Token) bool { return p.InUse })
}

// use has the operator ask the service with the current token, or with none of this resource any more.
func use(o *Observation, current bool) {
	for i := range o.Previous {
		o.Previous[i].InUse = false
	}
	if o.Current != nil {
		o.Current.InUse = current
	}
	if !o.inUse() {
		o.Needed = nil
	}
}

// tryWrite is a dry run.
func (m *model) tryWrite() {
	o := &m.observed
	o.Secret.Refused, o.Secret.Tried = nil, true
	if m.refuses {
		o.Secret.Refused, o.Secret.RefusedAgain, o.Secret.Tried = refused, true, false
	}
}

// write puts the token of the open attempt into the Secret, unless that is refused.
func (m *model) write() {
	if m.refuses {
		m.tryWrite()
		return
	}
	m.put(Secret{State: SecretOurs, SHA256: valueOf(m.observed.Pending.Revision)})
	m.unlabeled = false
	if m.killed() {
		return
	}
	m.see(m.live, true)
	m.finish()
}

func (m *model) finish() {
	o := &m.observed
	if o.Current != nil {
		if m.restarts {
			o.RestartAt = o.Now.Add(30 * time.Second)
		}
		previous := *o.Current
		previous.Replaced, previous.RevokeAt, previous.HeldUntil = o.Now, o.Now.Add(day), o.Now.Add(time.Duration(m.IntN(3))*day)
		o.Previous = append(o.Previous, previous)
	}
	o.Current, o.Pending = o.Pending, nil
	o.Current.SHA256 = valueOf(o.Current.Revision)
	o.Missing, m.forgot = false, false
	o.RenewalTime = RenewalTime(o.Now, o.Current.Expires, 90*day, 30*day, m.Float64())
}

// killed says whether the process ends here; some runs have one such end. Another process begins anew, and knows of no
// failure and of no holder.
func (m *model) killed() bool {
	if m.crashes == 0 || m.IntN(2) == 0 {
		return false
	}
	m.crashes--
	m.observed.Failures = nil
	for i := range m.observed.Previous {
		m.observed.Previous[i].Held, m.observed.Previous[i].SeekAt = false, time.Time{}
	}
	m.begin()
	return true
}
