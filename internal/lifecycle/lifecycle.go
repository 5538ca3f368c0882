// Package lifecycle decides what to do next for one token resource. It is pure: it sees an Observation and answers
// with a Plan; it reads no cluster, no clock and no random numbers. docs/architecture.md, One reconcile.
package lifecycle

import (
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// Observation is all that a decision may depend on.
type Observation struct {
	Now time.Time

	// Deleting: the resource has a deletion timestamp.
	Deleting bool
	// Finalizer: the resource carries the operator's finalizer.
	Finalizer bool
	// NamespaceTerminating: the resource's namespace has a deletion timestamp.
	NamespaceTerminating bool

	// IssuerProblem says why the issuer can't be asked for anything now; nil if it can.
	IssuerProblem *Problem
	// Refusal says why the issuer does not give this resource a token; nil if it does. It stops minting only.
	Refusal *Problem

	Secret Secret

	// Current is the token that status names as the one in the Secret.
	Current *Token
	// RenewalTime is when Current is due to be replaced.
	RenewalTime time.Time
	// Pending is an attempt to mint that was recorded and not closed.
	Pending *Token
	// Previous are replaced tokens and closed attempts that are not revoked.
	Previous []Token
}

// Token is what a decision needs to know of a token, or of an attempt to mint one.
type Token struct {
	Revision int64
	SHA256   string
	// Expires is zero if the token does not expire.
	Expires time.Time
	// Replaced is when the Secret ceased to hold it; zero if it was never seen in the Secret.
	Replaced time.Time
	// RevokeAt is when a replaced token is due to be revoked; zero for an attempt.
	RevokeAt time.Time
}

// SecretState says whose the Secret is that spec names.
type SecretState int

// The states of a Secret.
const (
	// SecretAbsent: there is none.
	SecretAbsent SecretState = iota
	// SecretOurs: its owner annotation names this very resource.
	SecretOurs
	// SecretForeign: somebody else's. It is never written.
	SecretForeign
)

// Secret is what a decision needs to know of the Secret.
type Secret struct {
	State SecretState
	// SHA256 of the value under the token's key; empty if there is none.
	SHA256 string
	// Problem says why a foreign Secret is in the way.
	Problem *Problem
}

// Problem is a reason and a sentence for the resource's condition.
type Problem struct {
	Reason  string
	Message string
	// Stalled: nothing gets better before a person acts.
	Stalled bool
}

// Action is what to do next.
type Action string

// The actions. All but Wait are followed by another decision within the same reconcile.
const (
	// Wait for Plan.Next, or a change.
	Wait Action = "Wait"
	// AddFinalizer before anything exists at the service.
	AddFinalizer Action = "AddFinalizer"
	// Mint a token of Plan.Revision and write it into the Secret.
	Mint Action = "Mint"
	// Finish the open attempt: the Secret holds its token already.
	Finish Action = "Finish"
	// Settle the open attempt: find out at the service what became of it, and close it.
	Settle Action = "Settle"
	// Revoke the tokens of Plan.Revisions.
	Revoke Action = "Revoke"
	// DeleteSecret of a resource that is being deleted.
	DeleteSecret Action = "DeleteSecret"
	// Release the finalizer.
	Release Action = "Release"
)

// Plan is the outcome of a decision.
type Plan struct {
	// Rule is the name of the rule that made it.
	Rule   string
	Action Action
	// Revision is the one that Mint gives to the new token.
	Revision int64
	// Revisions are the ones that Revoke revokes.
	Revisions []int64
	// Problem says what Wait waits for, if anything is amiss.
	Problem *Problem
	// Next is when to decide again without a change; zero: never.
	Next time.Time
}

// rules are asked in this order; the first that has a plan is followed. Each has a test of its name.
var rules = []struct {
	name  string
	judge func(*Observation) *Plan
}{
	{"a resource that is being deleted takes its tokens with it", deleting},
	{"an open attempt is settled before anything else is begun", openAttempt},
	{"previous tokens that are due are revoked", previousDue},
	{"nothing is minted into a namespace that is being deleted", namespaceTerminating},
	{"a Secret of somebody else is never written", secretConflict},
	{"a token is minted when there is none, it is lost or it is due", mint},
	{"otherwise there is nothing to do", rest},
}

// Decide is the next step for what was observed.
func Decide(o Observation) Plan {
	for _, rule := range rules {
		if plan := rule.judge(&o); plan != nil {
			plan.Rule = rule.name
			return *plan
		}
	}
	panic("lifecycle: the last rule always has a plan")
}

// HoldsCurrent says whether the Secret holds the current token, unexpired.
func (o *Observation) HoldsCurrent() bool {
	return o.Current != nil && !o.Current.expired(o.Now) &&
		o.Secret.State == SecretOurs && o.Secret.SHA256 == o.Current.SHA256
}

// RenewalTime is when a token is due to be replaced: renewBefore ahead of its expiry, and earlier by a share, from 0
// to 1, of a tenth of the duration, so that tokens made together are not all renewed together. Where that leaves less
// than a tenth of the life that the service granted, it is two thirds of that life instead.
func RenewalTime(issued, expires time.Time, duration, renewBefore time.Duration, share float64) time.Time {
	at := expires.Add(-renewBefore - time.Duration(share*float64(duration)/10))
	if earliest := issued.Add(expires.Sub(issued) / 10); at.Before(earliest) {
		at = issued.Add(expires.Sub(issued) * 2 / 3)
	}
	return at
}

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
	default:
		return &Plan{Action: Release}
	}
}

func openAttempt(o *Observation) *Plan {
	switch {
	case o.Pending == nil:
		return nil
	case o.Secret.State == SecretOurs && o.Pending.SHA256 != "" && o.Secret.SHA256 == o.Pending.SHA256:
		return &Plan{Action: Finish}
	default:
		return &Plan{Action: Settle}
	}
}

func previousDue(o *Observation) *Plan {
	plan := &Plan{Action: Revoke}
	for i := range o.Previous {
		if o.due(&o.Previous[i]) {
			plan.Revisions = append(plan.Revisions, o.Previous[i].Revision)
		}
	}
	if plan.Revisions == nil {
		return nil
	}
	return plan
}

// due says whether a previous token has had its time. A closed attempt has it once the Secret was written with a
// later revision: from then on no write of that attempt which is still under way can succeed.
func (o *Observation) due(previous *Token) bool {
	if previous.expired(o.Now) {
		return true
	}
	if previous.Replaced.IsZero() {
		return o.Current != nil && o.Current.Revision > previous.Revision
	}
	return !o.Now.Before(previous.RevokeAt)
}

func namespaceTerminating(o *Observation) *Plan {
	if !o.NamespaceTerminating {
		return nil
	}
	return &Plan{Action: Wait, Next: o.next(), Problem: &Problem{
		Reason:  v1alpha1.ReasonNamespaceTerminating,
		Message: "The namespace is being deleted, and this token with it; nothing is minted any more.",
	}}
}

func secretConflict(o *Observation) *Plan {
	if o.Secret.State != SecretForeign {
		return nil
	}
	return &Plan{Action: Wait, Next: o.next(), Problem: o.Secret.Problem}
}

func mint(o *Observation) *Plan {
	renewalDue := !o.RenewalTime.IsZero() && !o.Now.Before(o.RenewalTime)
	switch {
	case o.HoldsCurrent() && !renewalDue:
		return nil
	case o.Refusal != nil:
		return &Plan{Action: Wait, Next: o.next(), Problem: o.Refusal}
	case o.IssuerProblem != nil:
		return &Plan{Action: Wait, Next: o.next(), Problem: o.IssuerProblem}
	case !o.Finalizer:
		return &Plan{Action: AddFinalizer}
	default:
		return &Plan{Action: Mint, Revision: o.nextRevision()}
	}
}

func rest(o *Observation) *Plan {
	return &Plan{Action: Wait, Next: o.next(), Problem: o.Refusal}
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
