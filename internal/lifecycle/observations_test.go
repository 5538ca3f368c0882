package lifecycle

import (
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

const day = 24 * time.Hour

var (
	noon    = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	expiry  = noon.Add(60 * day)
	renewal = noon.Add(30 * day)

	notReady   = &Problem{Reason: v1alpha1.ReasonIssuerNotReady, Message: "The issuer is not ready."}
	notGranted = &Problem{Reason: v1alpha1.ReasonNotGranted, Message: "Not granted."}
	wrongSpec  = &Problem{Reason: v1alpha1.ReasonInvalidTemplate, Message: "No such function.", Stalled: true}
	conflict   = &Problem{Reason: v1alpha1.ReasonSecretConflict, Message: "Somebody else's.", Stalled: true}
	immutable  = &Problem{Reason: v1alpha1.ReasonSecretConflict, Message: "Immutable.", Stalled: true}
	refused    = &Problem{Reason: v1alpha1.ReasonSecretRefused, Message: "Over the quota.", Stalled: true}
	oldStorm   = &Problem{Reason: v1alpha1.ReasonMintStorm, Message: "Found earlier.", Stalled: true}

	serviceDown = &Problem{Reason: v1alpha1.ReasonServiceUnavailable, Message: "The service does not answer."}
	// What the actions fail of that need the service.
	limitReached = &Problem{Reason: v1alpha1.ReasonTokenLimitReached, Message: "No more tokens.", Stalled: true}
	ambiguous    = &Problem{Reason: v1alpha1.ReasonAmbiguousToken, Message: "One of these two.", Stalled: true}
	unproven     = &Problem{Reason: v1alpha1.ReasonRevocationUnproven, Message: "Not there, it says.", Stalled: true}
	roleMissing  = &Problem{Reason: v1alpha1.ReasonRoleMissing, Message: "Nothing to be seen.", Stalled: true}
	notTaken     = &Problem{Reason: v1alpha1.ReasonAdoptionRefused, Message: "Not the one in the Secret.", Stalled: true}
	// What others fail of.
	notRestarted = &Problem{Reason: v1alpha1.ReasonRestartRefused, Message: "May not be restarted."}
	listFull     = &Problem{Reason: v1alpha1.ReasonRetainedListFull, Message: "No more can be recorded.", Stalled: true}
	// What passes by itself.
	progressing    = &Problem{Reason: v1alpha1.ReasonProgressing, Message: "Getting ready."}
	waitingForTurn = &Problem{Reason: v1alpha1.ReasonWaitingForTurn, Message: "Others are before this one."}
	stillSettling  = &Problem{Reason: v1alpha1.ReasonSettling, Message: "It may still come in."}

	othersNeedIt     = &Problem{Reason: v1alpha1.ReasonInUse, Message: "It is the credential by which others are revoked."}
	managedElsewhere = &Problem{Reason: v1alpha1.ReasonSecretManagedElsewhere, Message: "Helm would put it back.", Stalled: true}

	leftBehind = &Problem{
		Reason:  v1alpha1.ReasonNamespaceTerminating,
		Message: "The namespace does not exist any more, and nothing can be written in it: create it again, and delete it once more.",
	}
	dyingNamespace = &Problem{
		Reason:  v1alpha1.ReasonNamespaceTerminating,
		Message: "The namespace is being deleted, and this token with it; nothing is minted any more.",
	}
	bare = &Problem{
		Reason:  v1alpha1.ReasonSuspended,
		Message: "Suspended, and the Secret holds no token that is valid: set spec.suspend to false to have one minted.",
	}
	usedUp = &Problem{
		Reason:  v1alpha1.ReasonRevisionsUsedUp,
		Message: "The status has the highest revision that there can be, which the operator never wrote: delete this resource and create it anew, and see who may write the status.",
		Stalled: true,
	}
	newStorm  = MintStorm()
	threeLive = &Problem{
		Reason:  v1alpha1.ReasonTooManyPrevious,
		Message: "The rotation that was asked for waits: three replaced tokens are not revoked yet. It is done when the first of them is. Those with heldBy in status.previousTokens are kept for pods: restart these to have it sooner.",
	}
	tooMany = &Problem{
		Reason:  v1alpha1.ReasonTooManyPrevious,
		Message: "Too many replaced tokens are not revoked yet; another one is minted when the first of them is. Those with heldBy in status.previousTokens are kept for pods: restart these to have it sooner.",
	}
)

// healthy is a resource that lacks nothing: revision 3 is in the Secret, and not due for a month.
func healthy() Observation {
	return Observation{
		Now: noon, Finalizer: true, RenewalTime: renewal,
		Secret:  Secret{State: SecretOurs, Confirmed: true, SHA256: "third"},
		Current: &Token{Revision: 3, SHA256: "third", Expires: expiry},
	}
}

// robbed is one whose Secret was deleted.
func robbed() Observation {
	o := healthy()
	o.Secret = Secret{Confirmed: true}
	return o
}

// begun is a resource that never had a token.
func begun() Observation {
	return Observation{Now: noon, Finalizer: true, Secret: Secret{Confirmed: true}}
}

var (
	openFourth = &Token{Revision: 4, SHA256: "fourth", Expires: expiry}
	// replaced was in the Secret until an hour ago and is due at tea-time.
	teaTime  = noon.Add(4 * time.Hour)
	replaced = Token{Revision: 2, SHA256: "second", Expires: noon.Add(day), Replaced: noon.Add(-time.Hour), RevokeAt: teaTime}
	// neverSeen is an attempt that was closed before its token was in the Secret.
	neverSeen = Token{Revision: 1, SHA256: "first", Expires: noon.Add(day)}
	// absent is an attempt that was closed at noon, and of which the service had no token then.
	absent = Token{Revision: 4, Absent: true, Closed: noon, Expires: noon.Add(day)}
	// soon is when what failed is tried again.
	soon = noon.Add(10 * time.Minute)
	// foreign is somebody else's Secret.
	foreign = Secret{State: SecretForeign, Confirmed: true, Conflict: conflict}
)

// kept is replaced, if it may be kept for who holds it, for so long after its grace period.
func kept(longer time.Duration) Token {
	token := replaced
	token.HeldUntil = teaTime.Add(longer)
	return token
}

// inUse is a token with which the operator itself asks the service, and gone one that the service refuses.
func inUse(token Token) Token {
	token.InUse = true
	return token
}

func gone(token Token) Token {
	token.Refused = true
	return token
}

// byHand is a resource that is to take over a token which was made by hand.
func byHand() Observation {
	o := begun()
	o.Adopting, o.Secret.State = true, SecretForeign
	return o
}

// severalReplaced are tokens of the revisions from 4 on; the first is due at tea-time, and then one every hour.
func severalReplaced(count int) []Token {
	tokens := make([]Token, count)
	for i := range tokens {
		tokens[i] = Token{Revision: int64(4 + i), Replaced: noon.Add(-day), RevokeAt: teaTime.Add(time.Duration(i) * time.Hour)}
	}
	return tokens
}

// replacedLongAgo is a token that expired so long before noon. Its grace period ended then, too.
func replacedLongAgo(revision int64, expired time.Duration) Token {
	at := noon.Add(-expired)
	return Token{Revision: revision, Expires: at, Replaced: at.Add(-time.Hour), RevokeAt: at}
}

// failing is what is known of an action that failed.
func failing(action Action, problem *Problem, until time.Time) map[Action]Failure {
	return map[Action]Failure{action: {Problem: problem, Until: until}}
}

// allFailingBut is what is known when every action that can fail did but one, which may be tried again now.
func allFailingBut(action Action) map[Action]Failure {
	failures := map[Action]Failure{
		Mint: {limitReached, soon}, Settle: {ambiguous, soon}, Revoke: {unproven, soon}, Look: {roleMissing, soon},
		Adopt: {notTaken, soon}, Restart: {notRestarted, soon}, LeaveBehind: {listFull, soon},
	}
	failures[action] = Failure{serviceDown, noon}
	return failures
}

// minutesAgo are times before noon.
func minutesAgo(minutes ...int) []time.Time {
	times := make([]time.Time, len(minutes))
	for i := range times {
		times[i] = noon.Add(-time.Duration(minutes[i]) * time.Minute)
	}
	return times
}
