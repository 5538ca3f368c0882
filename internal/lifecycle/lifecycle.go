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
	// NamespaceGone: the namespace does not exist any more, and left the resource behind. The API server lets nothing be written
	// in it, the removal of the finalizer included.
	NamespaceGone bool
	// Suspended: the user asked to leave everything as it is.
	Suspended bool
	// Retain: the user wants the tokens that were in the Secret to outlive the resource. Abandon: those that can't be revoked
	// may do so.
	Retain  bool
	Abandon bool
	// Adopting: a token that was made by hand is to be taken over before any is minted.
	Adopting bool

	// IssuerProblem says why the issuer gives nobody a token now; nil if it does. It stops minting only.
	IssuerProblem *Problem
	// ServiceProblem says why the issuer's service can't be asked for anything now; nil if it can, or if there is none to be
	// asked. It stops whatever needs the service.
	ServiceProblem *Problem
	// Failures are the actions that the service refused or did not answer lately, each to be tried again at its time.
	Failures map[Action]Failure
	// Refusal says why the issuer does not give this resource a token; nil if it does. It stops minting only.
	Refusal *Problem
	// SpecProblem says what is wrong with the spec itself; nothing is written before it changes.
	SpecProblem *Problem
	// Storm says why nothing may be minted that is not due, found earlier and for this very spec.
	Storm *Problem
	// Mints are the times of the latest mints that were not due.
	Mints []time.Time

	Secret Secret

	// Current is the token that status names as the one in the Secret.
	Current *Token
	// Missing: the service was seen not to have Current any more.
	Missing bool
	// LookAt is when to look at the service whether it still has Current; zero: never.
	LookAt time.Time
	// RenewalTime is when Current is due to be replaced; Requested: somebody asked for that to be done now. Compromised: it is in
	// wrong hands, and is replaced however many others still have their time, since it is to have none.
	RenewalTime time.Time
	Requested   bool
	Compromised bool
	// LastRevision is the latest of which a mint was begun.
	LastRevision int64
	// RestartAt is when the workloads that the user named are to be restarted; zero: they were, or need not be.
	RestartAt time.Time
	// Needed says why the token that the operator itself asks the service with has to live on; nil if it need not.
	Needed *Problem
	// Pending is an attempt to mint that was recorded and not closed.
	Pending *Token
	// Previous are replaced tokens and closed attempts that are not revoked.
	Previous []Token
}

// Token is what a decision needs to know of a token, or of an attempt to mint one.
type Token struct {
	Revision int64
	SHA256   string
	// InUse: the operator itself asks the service with it.
	InUse bool
	// Refused: the service has refused this very token for a while, which proves that it is gone.
	Refused bool
	// Absent: of this attempt the service had no token when it was closed, and its id is not known.
	Absent bool
	// Expires is zero if the token does not expire.
	Expires time.Time
	// Replaced is when the Secret ceased to hold it; zero if it was never seen in the Secret.
	Replaced time.Time
	// RevokeAt is when a replaced token is due to be revoked, if nobody holds it; zero for an attempt.
	RevokeAt time.Time
	// HeldUntil is how long it is kept at most for a container that holds it; not after RevokeAt: for none.
	HeldUntil time.Time
	// Held: such a container was found when the pods were last looked at. SeekAt is when to do that again, and zero if it was
	// not done yet.
	Held   bool
	SeekAt time.Time
	// Closed is when an attempt was closed of which a service outside of the cluster may still have a token.
	Closed time.Time
}

// Failure is an action that came to nothing.
type Failure struct {
	// Problem is what to tell of it; nil: nothing.
	Problem *Problem
	// Until is when the action is tried again.
	Until time.Time
}

// SecretState says whose the Secret is that spec names.
type SecretState int

// The states of a Secret.
const (
	// SecretAbsent: there is none.
	SecretAbsent SecretState = iota
	// SecretOurs: its owner annotation names this very resource, or it was handed over to it.
	SecretOurs
	// SecretForeign: somebody else's. It is never written.
	SecretForeign
)

// Secret is what a decision needs to know of the Secret.
type Secret struct {
	State SecretState
	// Confirmed: it was read from the API server and not from a cache that may be behind.
	Confirmed bool
	// SHA256 of the value under the token's key; empty if there is none.
	SHA256 string
	// Outdated: its other keys or its metadata are not what the spec asks for.
	Outdated bool
	// Conflict says why the Secret can't be written: it is somebody else's, or immutable.
	Conflict *Problem
	// Refused says why the API server did not let it be written the last time; RefusedAgain: it was tried just now.
	Refused      *Problem
	RefusedAgain bool
	// Tried: a dry run just now showed that it can be written.
	Tried bool
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
	// AddFinalizer before anything exists at the service, or when it was taken away.
	AddFinalizer Action = "AddFinalizer"
	// ReadSecret from the API server itself.
	ReadSecret Action = "ReadSecret"
	// TryWrite finds out with a dry run whether the Secret can be written by now.
	TryWrite Action = "TryWrite"
	// Rewrite the Secret's other keys and metadata around the same token.
	Rewrite Action = "Rewrite"
	// Mint a token of Plan.Revision and write it into the Secret.
	Mint Action = "Mint"
	// Finish the open attempt: the Secret holds its token already.
	Finish Action = "Finish"
	// Settle the open attempt: find out at the service what became of it, and close it.
	Settle Action = "Settle"
	// SeekHolders looks for containers that hold the tokens of Plan.Revisions.
	SeekHolders Action = "SeekHolders"
	// Revoke the tokens of Plan.Revisions.
	Revoke Action = "Revoke"
	// StrikeOff the tokens of Plan.Revisions, which have expired and which the service can't be asked to revoke.
	StrikeOff Action = "StrikeOff"
	// Look at the service whether it still has the current token.
	Look Action = "Look"
	// Adopt the token that was made by hand.
	Adopt Action = "Adopt"
	// Restart the workloads that the user named.
	Restart Action = "Restart"
	// DeleteSecret of a resource that is being deleted.
	DeleteSecret Action = "DeleteSecret"
	// LetGoSecret has the Secret outlive the resource.
	LetGoSecret Action = "LetGoSecret"
	// LeaveBehind the tokens, or the open attempt, of Plan.Revisions at the service, and write that down.
	LeaveBehind Action = "LeaveBehind"
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
	// Unscheduled: no usable token is in the Secret, or the attempt before failed; such mints are counted.
	Unscheduled bool
	// Revisions are the ones that Revoke revokes, StrikeOff strikes off, LeaveBehind leaves, or SeekHolders looks for.
	Revisions []int64
	// Problem says what Wait waits for, if anything is amiss.
	Problem *Problem
	// Next is when to decide again without a change; zero: never.
	Next time.Time
}

// Bounds that keep a loop from filling a service, or the status, with tokens.
const (
	// MaxUnscheduledMints in MintStormWindow; one more is a storm.
	MaxUnscheduledMints = 5
	MintStormWindow     = time.Hour
	// MaxPrevious is how many previous tokens there may be when a mint begins. The schema allows two more.
	MaxPrevious = 30
	// MaxPreviousToRotate is how many previous tokens may live when one is replaced only because somebody asked for it.
	MaxPreviousToRotate = 3
	// RefusedRetry is how long to wait before a refused write of the Secret is tried again.
	RefusedRetry = 2 * time.Minute
	// AdoptRecheck is how soon a Secret is looked at again that is to be taken over and can't be.
	AdoptRecheck = 10 * time.Second
	// NeededRecheck is how soon to see again whether a token is still needed to ask the service with.
	NeededRecheck = 5 * time.Second
	// GoneRecheck is how soon to see again to tokens in a namespace that does not exist: that they were revoked can't be written.
	GoneRecheck = time.Hour
	// InUseRecheck is how soon to see again whether the operator has ceased to ask a service with a token that is due.
	InUseRecheck = time.Minute
)

const (
	// ClosedAttemptCheck is how long after it was closed the service is asked once more for a token of an attempt.
	ClosedAttemptCheck = time.Hour
	// ExpiryMargin is how long past its expiry, by the service's word, a token is held for dead without being revoked.
	ExpiryMargin = time.Hour
)

// rules are asked in this order; the first that has a plan is followed. Each has a test of its name. They are in rules.go and
// rules_deleting.go. docs/architecture.md, One reconcile.
var rules = []struct {
	name  string
	judge func(*Observation) *Plan
}{
	{"in a namespace that is gone tokens are revoked, and nothing else is done", namespaceGone},
	{"a resource that is being deleted takes its tokens with it", deleting},
	{"nothing is minted into a namespace that is being deleted", namespaceTerminating},
	{"whatever exists at the service is held by the finalizer", finalizer},
	{"an open attempt is settled before anything else is begun", openAttempt},
	{"a suspended resource is left as it is", suspended},
	{"a previous token is not revoked before it is known who holds it", seekHolders},
	{"previous tokens that are due are revoked", previousDue},
	{"workloads are restarted once they would be given the token in the Secret", restart},
	{"nothing is written for a spec that is wrong", specProblem},
	{"a token made by hand is taken over before any is minted", adopt},
	{"a token is minted when there is none, it is lost or it is due", mint},
	{"the Secret's other keys and metadata follow the spec", rewrite},
	{"the service is looked at now and then", look},
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

// MintStorm is the problem of a resource for which too many tokens were minted. It lasts until the spec changes, or somebody
// asks for a rotation.
func MintStorm() *Problem {
	return &Problem{
		Reason: v1alpha1.ReasonMintStorm, Stalled: true,
		Message: "Five tokens were minted within an hour, and each was lost, or changed in the Secret, or could not be written there. " +
			"Find out what does that; then change the spec, or the annotation tokensteward.io/rotate-requested-at, to go on.",
	}
}

// HoldsCurrent says whether the Secret holds the current token, unexpired and not seen to be gone.
func (o *Observation) HoldsCurrent() bool {
	return o.Current != nil && !o.Current.expired(o.Now) && !o.Missing &&
		o.Secret.State == SecretOurs && o.Secret.SHA256 == o.Current.SHA256
}

// AdoptedRenewalTime is when a token that was made by hand is due to be replaced: as any other, but at once if it never
// expires, or within renewBefore, and never later than renewBefore ahead of its expiry.
func AdoptedRenewalTime(now, expires time.Time, duration, renewBefore time.Duration, share float64) time.Time {
	if expires.IsZero() || !now.Before(expires.Add(-renewBefore)) {
		return now
	}
	at := RenewalTime(now, expires, duration, renewBefore, share)
	if latest := expires.Add(-renewBefore); at.After(latest) {
		return latest
	}
	return at
}

// RenewalTime is when a token is due to be replaced: renewBefore ahead of its expiry, and earlier by a share, from 0
// to 1, of a tenth of the duration, so that tokens made together are not all renewed together. Where that leaves less
// than a tenth of the life that the service granted, it is two thirds of that life instead. A token that outlives duration
// by the service's word, or has no expiry there, is replaced as if it ended with it.
func RenewalTime(issued, expires time.Time, duration, renewBefore time.Duration, share float64) time.Time {
	if ends := issued.Add(duration); expires.IsZero() || expires.After(ends) {
		expires = ends
	}
	at := expires.Add(-renewBefore - time.Duration(share*float64(duration)/10))
	if earliest := issued.Add(expires.Sub(issued) / 10); at.Before(earliest) {
		at = issued.Add(expires.Sub(issued) * 2 / 3)
	}
	return at
}
