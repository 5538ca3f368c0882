package lifecycle

import (
	"reflect"
	"testing"
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
		Message: "The rotation that was asked for waits: three replaced tokens still have their time. It is done when the first of them is revoked.",
	}
	tooMany = &Problem{
		Reason:  v1alpha1.ReasonTooManyPrevious,
		Message: "Too many replaced tokens still have their grace period; another one is minted when the first of them is revoked.",
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

type decision struct {
	observed Observation
	change   func(*Observation)
	want     Plan
}

// decisions has the cases of every rule, under the rule's name.
var decisions = map[string]map[string]decision{
	"a resource that is being deleted takes its tokens with it": deletions,

	"in a namespace that is gone tokens are revoked, and nothing else is done": {
		"all of them": {
			healthy(), func(o *Observation) { o.NamespaceGone, o.Previous = true, []Token{replaced} },
			Plan{Action: Revoke, Revisions: []int64{replaced.Revision, 3}},
		},
		"once they are, nothing is released: that could not be written": {
			begun(), func(o *Observation) { o.NamespaceGone, o.Deleting = true, true },
			Plan{Action: Wait, Problem: leftBehind, Next: noon.Add(time.Hour)},
		},
		"but not what is to be retained": {
			healthy(), func(o *Observation) { o.NamespaceGone, o.Retain = true, true },
			Plan{Action: Wait, Problem: leftBehind, Next: noon.Add(time.Hour)},
		},
		"an open attempt stays open": {
			begun(), func(o *Observation) { o.NamespaceGone, o.Pending = true, &Token{Revision: 1} },
			Plan{Action: Wait, Problem: leftBehind, Next: noon.Add(time.Hour)},
		},
		"not while the service can't be asked": {
			healthy(), func(o *Observation) { o.NamespaceGone, o.ServiceProblem = true, roleMissing },
			Plan{Action: Wait, Problem: leftBehind, Next: noon.Add(time.Hour)},
		},
	},
	"nothing is minted into a namespace that is being deleted": {
		"not a first token": {
			begun(), func(o *Observation) { o.NamespaceTerminating = true },
			Plan{Action: Wait, Problem: dyingNamespace},
		},
		"not another one when it is due": {
			healthy(), func(o *Observation) { o.NamespaceTerminating, o.Now = true, renewal },
			Plan{Action: Wait, Problem: dyingNamespace, Next: expiry},
		},
		"not one for which a token made by hand would be taken over": {
			byHand(), func(o *Observation) { o.NamespaceTerminating = true },
			Plan{Action: Wait, Problem: dyingNamespace},
		},
		"and no workload is restarted": {
			healthy(), func(o *Observation) { o.NamespaceTerminating, o.RestartAt = true, noon },
			Plan{Action: Wait, Problem: dyingNamespace, Next: renewal},
		},
		"the Secret is not even read": {
			begun(), func(o *Observation) { o.NamespaceTerminating, o.Secret.Confirmed = true, false },
			Plan{Action: Wait, Problem: dyingNamespace},
		},
		"what failed at the service is not told before that": {
			healthy(), func(o *Observation) {
				o.NamespaceTerminating, o.Pending, o.ServiceProblem = true, openFourth, serviceDown
				o.Failures, o.LookAt = failing(Settle, ambiguous, soon), noon
			},
			Plan{Action: Wait, Problem: dyingNamespace, Next: soon},
		},
	},

	"whatever exists at the service is held by the finalizer": {
		"a token is": {
			healthy(), func(o *Observation) { o.Finalizer = false },
			Plan{Action: AddFinalizer},
		},
		"an open attempt is": {
			begun(), func(o *Observation) { o.Finalizer, o.Pending = false, openFourth },
			Plan{Action: AddFinalizer},
		},
		"a previous token is": {
			begun(), func(o *Observation) { o.Finalizer, o.Previous = false, []Token{neverSeen} },
			Plan{Action: AddFinalizer},
		},
		"also while the resource is suspended, its spec wrong, and neither issuer nor Secret to be had": {
			healthy(), func(o *Observation) {
				o.Finalizer, o.Suspended, o.SpecProblem, o.Storm = false, true, wrongSpec, oldStorm
				o.IssuerProblem, o.Refusal, o.Secret = notReady, notGranted, Secret{}
			},
			Plan{Action: AddFinalizer},
		},
	},

	"an open attempt is settled before anything else is begun": {
		"the Secret does not hold its token: it is settled": {
			healthy(), func(o *Observation) { o.Pending = openFourth },
			Plan{Action: Settle},
		},
		"there is no Secret: it is settled": {
			begun(), func(o *Observation) { o.Pending = openFourth },
			Plan{Action: Settle},
		},
		"the Secret holds its token: it is finished": {
			healthy(), func(o *Observation) { o.Pending, o.Secret.SHA256 = openFourth, "fourth" },
			Plan{Action: Finish},
		},
		"the cache does not show its token: the Secret is read, which may hold it": {
			healthy(), func(o *Observation) { o.Pending, o.Secret.Confirmed = openFourth, false },
			Plan{Action: ReadSecret},
		},
		"the cache shows its token: the Secret is read, which may have lost it": {
			healthy(), func(o *Observation) {
				o.Pending, o.Secret = openFourth, Secret{State: SecretOurs, SHA256: "fourth"}
			},
			Plan{Action: ReadSecret},
		},
		"somebody else's Secret holds its token: it is settled": {
			healthy(), func(o *Observation) {
				o.Pending, o.Secret = openFourth, foreign
				o.Secret.SHA256 = "fourth"
			},
			Plan{Action: Settle},
		},
		"no hash was recorded, and the Secret holds no value: that is no match": {
			healthy(), func(o *Observation) { o.Pending, o.Secret.SHA256 = &Token{Revision: 4}, "" },
			Plan{Action: Settle},
		},
		"it is settled also while the issuer is not ready and grants nothing": {
			healthy(), func(o *Observation) { o.Pending, o.IssuerProblem, o.Refusal = openFourth, notReady, notGranted },
			Plan{Action: Settle},
		},
		"it is settled though nothing may be written": {
			healthy(), func(o *Observation) {
				o.Pending, o.Suspended, o.SpecProblem, o.Storm = openFourth, true, wrongSpec, oldStorm
				o.Secret.Conflict, o.Secret.Refused = immutable, refused
			},
			Plan{Action: Settle},
		},
		"it is finished though nothing may be written: the token is in the Secret": {
			healthy(), func(o *Observation) {
				o.Pending, o.Suspended, o.SpecProblem, o.Storm = openFourth, true, wrongSpec, oldStorm
				o.Secret.SHA256, o.Secret.Conflict, o.Secret.Refused = "fourth", immutable, refused
			},
			Plan{Action: Finish},
		},
		"it is settled when the time for that is there, whatever else failed": {
			healthy(), func(o *Observation) { o.Pending, o.Failures = openFourth, allFailingBut(Settle) },
			Plan{Action: Settle},
		},
		"the Secret is read, and may hold its token, though the service can't be asked": {
			healthy(), func(o *Observation) { o.Pending, o.Secret.Confirmed, o.ServiceProblem = openFourth, false, serviceDown },
			Plan{Action: ReadSecret},
		},
		"it is finished though the service can't be asked: there is nothing to ask": {
			healthy(), func(o *Observation) {
				o.Pending, o.Secret.SHA256, o.ServiceProblem = openFourth, "fourth", serviceDown
				o.Failures = failing(Settle, ambiguous, soon)
			},
			Plan{Action: Finish},
		},
	},

	"a suspended resource is left as it is": {
		"until its token expires": {
			healthy(), func(o *Observation) { o.Suspended = true },
			Plan{Action: Wait, Next: expiry},
		},
		"for ever, with a token that lives for ever": {
			healthy(), func(o *Observation) { o.Suspended, o.Current.Expires = true, time.Time{} },
			Plan{Action: Wait},
		},
		"the Secret is not read while the cache shows it in order": {
			healthy(), func(o *Observation) { o.Suspended, o.Secret.Confirmed = true, false },
			Plan{Action: Wait, Next: expiry},
		},
		"its token is not renewed": {
			healthy(), func(o *Observation) { o.Suspended, o.Now = true, renewal },
			Plan{Action: Wait, Next: expiry},
		},
		"its Secret is not rewritten": {
			healthy(), func(o *Observation) { o.Suspended, o.Secret.Outdated = true, true },
			Plan{Action: Wait, Next: expiry},
		},
		"its previous tokens are not revoked": {
			healthy(), func(o *Observation) { o.Suspended, o.Previous = true, []Token{neverSeen, replaced} },
			Plan{Action: Wait, Next: expiry},
		},
		"nor, if they expired long ago and the service can't be asked, struck off": {
			healthy(), func(o *Observation) {
				o.Suspended, o.Previous, o.Failures = true, []Token{replacedLongAgo(2, day)}, failing(Revoke, nil, soon)
			},
			Plan{Action: Wait, Next: expiry},
		},
		"nor struck off, if the service refuses them": {
			healthy(), func(o *Observation) {
				o.Suspended, o.Previous, o.Now, o.ServiceProblem = true, []Token{gone(replaced)}, teaTime, serviceDown
			},
			Plan{Action: Wait, Next: expiry},
		},
		"its workloads are not restarted": {
			healthy(), func(o *Observation) { o.Suspended, o.RestartAt = true, noon },
			Plan{Action: Wait, Next: expiry},
		},
		"no token made by hand is taken over": {
			byHand(), func(o *Observation) { o.Suspended = true },
			Plan{Action: Wait, Problem: bare},
		},
		"its token is not looked for": {
			healthy(), func(o *Observation) { o.Suspended, o.LookAt = true, noon },
			Plan{Action: Wait, Next: expiry},
		},
		"one that the service lost is not replaced, and that is told": {
			healthy(), func(o *Observation) { o.Suspended, o.Missing = true, true },
			Plan{Action: Wait, Problem: bare},
		},
		"its open attempt waits for the service, and that is told": {
			healthy(), func(o *Observation) { o.Suspended, o.Pending, o.ServiceProblem = true, openFourth, serviceDown },
			Plan{Action: Wait, Next: renewal, Problem: serviceDown},
		},
		"or until it may be asked again what became of it": {
			healthy(), func(o *Observation) {
				o.Suspended, o.Pending, o.Failures = true, openFourth, failing(Settle, ambiguous, soon)
			},
			Plan{Action: Wait, Next: soon, Problem: ambiguous},
		},
		"also while its token is lost, which is told before that": {
			robbed(), func(o *Observation) {
				o.Suspended, o.Pending, o.Failures = true, openFourth, failing(Settle, ambiguous, soon)
			},
			Plan{Action: Wait, Next: soon, Problem: bare},
		},
		"what revoking and looking failed of is not told: neither is done": {
			healthy(), func(o *Observation) {
				o.Suspended, o.Previous, o.Failures = true, []Token{neverSeen}, allFailingBut(Mint)
			},
			Plan{Action: Wait, Next: expiry},
		},
		"its lost token is not replaced, and that is told": {
			robbed(), func(o *Observation) { o.Suspended = true },
			Plan{Action: Wait, Problem: bare},
		},
		"nor one that was changed": {
			healthy(), func(o *Observation) { o.Suspended, o.Secret.SHA256 = true, "edited" },
			Plan{Action: Wait, Problem: bare},
		},
		"nor one that expired": {
			healthy(), func(o *Observation) { o.Suspended, o.Now = true, expiry },
			Plan{Action: Wait, Problem: bare},
		},
		"it gets no first token, and no finalizer for nothing": {
			begun(), func(o *Observation) { o.Suspended, o.Finalizer = true, false },
			Plan{Action: Wait, Problem: bare},
		},
		"but it is told that the token is no longer granted": {
			healthy(), func(o *Observation) { o.Suspended, o.Refusal = true, notGranted },
			Plan{Action: Wait, Next: expiry, Problem: notGranted},
		},
		"that its token is lost is not told for the cache's word alone": {
			robbed(), func(o *Observation) { o.Suspended, o.Secret.Confirmed = true, false },
			Plan{Action: ReadSecret},
		},
		"that it expired is: no Secret makes it valid again": {
			robbed(), func(o *Observation) { o.Suspended, o.Secret.Confirmed, o.Now = true, false, expiry },
			Plan{Action: Wait, Problem: bare},
		},
		"that it never had one is, too": {
			begun(), func(o *Observation) { o.Suspended, o.Secret.Confirmed = true, false },
			Plan{Action: Wait, Problem: bare},
		},
	},

	"a previous token is not revoked before it is known who holds it": {
		"its grace period is over, and nobody looked yet": {
			healthy(), func(o *Observation) { o.Previous, o.Now = []Token{kept(day)}, teaTime },
			Plan{Action: SeekHolders, Revisions: []int64{2}},
		},
		"it was held the last time, and that is a while ago": {
			healthy(), func(o *Observation) {
				o.Previous, o.Now = []Token{kept(day)}, teaTime
				o.Previous[0].Held, o.Previous[0].SeekAt = true, teaTime
			},
			Plan{Action: SeekHolders, Revisions: []int64{2}},
		},
		"of several, those that have had their grace period and may be kept longer": {
			healthy(), func(o *Observation) {
				later, unkept, unheld := kept(day), replaced, kept(day)
				later.Revision, later.RevokeAt = 4, teaTime.Add(1)
				unkept.Revision = 5
				unheld.Revision, unheld.SeekAt = 6, noon
				o.Previous, o.Now = []Token{kept(day), later, unkept, unheld}, teaTime
			},
			Plan{Action: SeekHolders, Revisions: []int64{2}},
		},
	},

	"previous tokens that are due are revoked": {
		"it may be kept for who holds it, and nobody does": {
			healthy(), func(o *Observation) {
				o.Previous, o.Now = []Token{kept(day)}, teaTime
				o.Previous[0].SeekAt = teaTime
			},
			Plan{Action: Revoke, Revisions: []int64{2}},
		},
		"it is held, and the time for that is over": {
			healthy(), func(o *Observation) {
				o.Previous, o.Now = []Token{kept(0)}, teaTime
				o.Previous[0].Held, o.Previous[0].SeekAt = true, teaTime.Add(time.Minute)
			},
			Plan{Action: Revoke, Revisions: []int64{2}},
		},
		"the grace period is over": {
			healthy(), func(o *Observation) { o.Previous, o.Now = []Token{replaced}, teaTime },
			Plan{Action: Revoke, Revisions: []int64{2}},
		},
		"it expired within its grace period": {
			healthy(), func(o *Observation) {
				o.Previous = []Token{replaced}
				o.Previous[0].Expires = noon
			},
			Plan{Action: Revoke, Revisions: []int64{2}},
		},
		"it was never in the Secret, and the Secret was written with a later one": {
			healthy(), func(o *Observation) { o.Previous = []Token{neverSeen} },
			Plan{Action: Revoke, Revisions: []int64{1}},
		},
		"it was never in the Secret, may still be on its way there, and expired": {
			healthy(), func(o *Observation) { o.Previous = []Token{{Revision: 4, Expires: noon}} },
			Plan{Action: Revoke, Revisions: []int64{4}},
		},
		"of several, those that are due": {
			healthy(), func(o *Observation) {
				o.Previous = []Token{neverSeen, replaced, {Revision: 4, Replaced: noon.Add(-day), RevokeAt: noon}}
			},
			Plan{Action: Revoke, Revisions: []int64{1, 4}},
		},
		"but not the one that the Secret holds, though its grace period is over": {
			healthy(), func(o *Observation) {
				o.Previous, o.Secret.SHA256, o.Now = []Token{neverSeen, replaced}, "second", teaTime
			},
			Plan{Action: Revoke, Revisions: []int64{1}},
		},
		"nor one that the Secret holds after all, though a later one was in it": {
			healthy(), func(o *Observation) {
				o.Previous, o.Secret.SHA256, o.Now = []Token{neverSeen, replaced}, "first", teaTime
			},
			Plan{Action: Revoke, Revisions: []int64{2}},
		},
		"the Secret holds it, but it expired": {
			healthy(), func(o *Observation) {
				o.Previous, o.Secret.SHA256 = []Token{replaced}, "second"
				o.Previous[0].Expires = noon
			},
			Plan{Action: Revoke, Revisions: []int64{2}},
		},
		"it is somebody else's Secret that holds it": {
			healthy(), func(o *Observation) {
				o.Previous, o.Secret, o.Now = []Token{replaced}, foreign, teaTime
				o.Secret.SHA256 = "second"
			},
			Plan{Action: Revoke, Revisions: []int64{2}},
		},
		"no hash was recorded, and the Secret holds no value: that is no match": {
			healthy(), func(o *Observation) { o.Previous, o.Secret.SHA256 = []Token{{Revision: 1}}, "" },
			Plan{Action: Revoke, Revisions: []int64{1}},
		},
		"they are revoked also while the issuer is not ready and grants nothing": {
			healthy(), func(o *Observation) {
				o.Previous, o.IssuerProblem, o.Refusal = []Token{neverSeen}, notReady, notGranted
			},
			Plan{Action: Revoke, Revisions: []int64{1}},
		},
		"they are revoked also while nothing may be written": {
			healthy(), func(o *Observation) {
				o.Previous, o.SpecProblem, o.Storm = []Token{neverSeen}, wrongSpec, oldStorm
				o.Secret.Conflict, o.Secret.Refused = immutable, refused
			},
			Plan{Action: Revoke, Revisions: []int64{1}},
		},
		"not for the cache's word alone: the Secret may hold what is due": {
			healthy(), func(o *Observation) { o.Previous, o.Now, o.Secret.Confirmed = []Token{replaced}, teaTime, false },
			Plan{Action: ReadSecret},
		},
		"also one whose mint was closed just now: the Secret was written with a later one": {
			healthy(), func(o *Observation) {
				o.Previous = []Token{neverSeen}
				o.Previous[0].Closed = noon
			},
			Plan{Action: Revoke, Revisions: []int64{1}},
		},
		"without a later one, an hour after it was closed at a service": {
			healthy(), func(o *Observation) { o.Previous = []Token{{Revision: 4, Closed: noon.Add(-time.Hour)}} },
			Plan{Action: Revoke, Revisions: []int64{4}},
		},
		"the service had no token of it an hour ago, and may have one now": {
			robbed(), func(o *Observation) {
				o.Previous = []Token{absent}
				o.Previous[0].Closed = noon.Add(-time.Hour)
			},
			Plan{Action: Revoke, Revisions: []int64{4}},
		},
		"the service had no token of it just now, and it would have expired": {
			healthy(), func(o *Observation) {
				o.Previous = []Token{absent}
				o.Previous[0].Expires = noon
			},
			Plan{Action: Revoke, Revisions: []int64{4}},
		},
		"but not one that the Secret holds, though it was closed an hour ago": {
			healthy(), func(o *Observation) {
				o.Previous, o.Secret.SHA256 = []Token{neverSeen, {Revision: 4, SHA256: "fourth", Closed: noon.Add(-time.Hour)}}, "fourth"
			},
			Plan{Action: Revoke, Revisions: []int64{1}},
		},
		"nor the one that the operator asks the service with, though its grace period is over": {
			healthy(), func(o *Observation) { o.Previous, o.Now = []Token{neverSeen, inUse(replaced)}, teaTime },
			Plan{Action: Revoke, Revisions: []int64{1}},
		},
		"nor if it was seen in no Secret": {
			healthy(), func(o *Observation) {
				o.Previous = []Token{neverSeen, {Revision: 2, InUse: true}, {Revision: 4, InUse: true, Closed: noon.Add(-day)}}
			},
			Plan{Action: Revoke, Revisions: []int64{1}},
		},
		"the operator asks the service with it, but it expired": {
			healthy(), func(o *Observation) {
				o.Previous = []Token{inUse(replaced)}
				o.Previous[0].Expires = noon
			},
			Plan{Action: Revoke, Revisions: []int64{2}},
		},
		"somebody needs it, but it expired": {
			healthy(), func(o *Observation) {
				o.Needed, o.Previous = othersNeedIt, []Token{inUse(replaced)}
				o.Previous[0].Expires = noon
			},
			Plan{Action: Revoke, Revisions: []int64{2}},
		},
		"whoever wants tokens to outlive the resource does not mean these": {
			healthy(), func(o *Observation) {
				o.Retain, o.Abandon, o.Previous, o.Now = true, true, []Token{neverSeen, replaced}, teaTime
			},
			Plan{Action: Revoke, Revisions: []int64{1, 2}},
		},
		"while an open attempt waits for its time": {
			healthy(), func(o *Observation) {
				o.Pending, o.Previous, o.Failures = openFourth, []Token{neverSeen}, failing(Settle, ambiguous, soon)
			},
			Plan{Action: Revoke, Revisions: []int64{1}},
		},
		"when the time for that is there, whatever else failed": {
			healthy(), func(o *Observation) { o.Previous, o.Failures = []Token{neverSeen}, allFailingBut(Revoke) },
			Plan{Action: Revoke, Revisions: []int64{1}},
		},
		"while the service can't be asked, those that expired an hour ago are struck off": {
			healthy(), func(o *Observation) {
				o.ServiceProblem = serviceDown
				o.Previous = []Token{neverSeen, replacedLongAgo(4, time.Hour), replacedLongAgo(5, time.Hour-1)}
			},
			Plan{Action: StrikeOff, Revisions: []int64{4}},
		},
		"also while revoking them failed, and whatever else there is to do": {
			healthy(), func(o *Observation) {
				o.Previous, o.Now, o.Secret.Outdated = []Token{replaced}, renewal, true
				o.Failures = failing(Revoke, unproven, renewal.Add(1))
			},
			Plan{Action: StrikeOff, Revisions: []int64{2}},
		},
		"also while an open attempt waits for the service": {
			healthy(), func(o *Observation) {
				o.Pending, o.Previous, o.ServiceProblem = openFourth, []Token{replacedLongAgo(2, day)}, serviceDown
			},
			Plan{Action: StrikeOff, Revisions: []int64{2}},
		},
		"also those that the service refuses": {
			healthy(), func(o *Observation) {
				o.Previous, o.Now, o.ServiceProblem = []Token{neverSeen, gone(replaced)}, teaTime, serviceDown
			},
			Plan{Action: StrikeOff, Revisions: []int64{2}},
		},
		"also attempts of which it had none": {
			healthy(), func(o *Observation) {
				o.Previous, o.Now, o.Failures = []Token{gone(absent)}, noon.Add(time.Hour), failing(Revoke, unproven, noon.Add(day))
			},
			Plan{Action: StrikeOff, Revisions: []int64{4}},
		},
		"they are not struck off for the cache's word alone either": {
			healthy(), func(o *Observation) {
				o.Previous, o.ServiceProblem, o.Secret.Confirmed = []Token{replacedLongAgo(2, day)}, serviceDown, false
			},
			Plan{Action: ReadSecret},
		},
		"while the service can be asked, what expired is revoked as well": {
			healthy(), func(o *Observation) { o.Previous = []Token{replacedLongAgo(2, day)} },
			Plan{Action: Revoke, Revisions: []int64{2}},
		},
		"and what it refuses": {
			healthy(), func(o *Observation) { o.Previous, o.Now = []Token{gone(replaced)}, teaTime },
			Plan{Action: Revoke, Revisions: []int64{2}},
		},
	},

	"workloads are restarted once they would be given the token in the Secret": {
		"when it is time": {
			healthy(), func(o *Observation) { o.RestartAt = noon },
			Plan{Action: Restart},
		},
		"or past it": {
			healthy(), func(o *Observation) { o.RestartAt = noon.Add(-day) },
			Plan{Action: Restart},
		},
		"the Secret is not read for that": {
			healthy(), func(o *Observation) { o.RestartAt, o.Secret.Confirmed = noon, false },
			Plan{Action: Restart},
		},
		"the service is not needed for it": {
			healthy(), func(o *Observation) { o.RestartAt, o.ServiceProblem = noon, serviceDown },
			Plan{Action: Restart},
		},
		"when the time to try it again is there, whatever else failed": {
			healthy(), func(o *Observation) { o.RestartAt, o.Failures = noon.Add(-day), allFailingBut(Restart) },
			Plan{Action: Restart},
		},
		"also while no token could be minted, and no Secret written": {
			healthy(), func(o *Observation) {
				o.RestartAt, o.IssuerProblem, o.Refusal, o.Storm, o.SpecProblem = noon, notReady, notGranted, oldStorm, wrongSpec
				o.Previous, o.Secret.Conflict, o.Secret.Refused = severalReplaced(30), immutable, refused
			},
			Plan{Action: Restart},
		},
		"also while an open attempt waits for its time": {
			healthy(), func(o *Observation) {
				o.RestartAt, o.Pending, o.Failures = noon, openFourth, failing(Settle, ambiguous, soon)
			},
			Plan{Action: Restart},
		},
		"also while a previous token can't be revoked": {
			healthy(), func(o *Observation) {
				o.RestartAt, o.Previous, o.Failures = noon, []Token{neverSeen}, failing(Revoke, unproven, soon)
			},
			Plan{Action: Restart},
		},
	},

	"nothing is written for a spec that is wrong": {
		"not a first token, and no finalizer is added for nothing": {
			begun(), func(o *Observation) { o.SpecProblem, o.Finalizer = wrongSpec, false },
			Plan{Action: Wait, Problem: wrongSpec},
		},
		"not another token for one that is lost": {
			robbed(), func(o *Observation) { o.SpecProblem = wrongSpec },
			Plan{Action: Wait, Problem: wrongSpec, Next: renewal},
		},
		"not another token when it is due": {
			healthy(), func(o *Observation) { o.SpecProblem, o.Now = wrongSpec, renewal },
			Plan{Action: Wait, Problem: wrongSpec, Next: expiry},
		},
		"not the Secret's other keys": {
			healthy(), func(o *Observation) { o.SpecProblem, o.Secret.Outdated = wrongSpec, true },
			Plan{Action: Wait, Problem: wrongSpec, Next: renewal},
		},
		"and that is told though nothing needs to be": {
			healthy(), func(o *Observation) { o.SpecProblem = wrongSpec },
			Plan{Action: Wait, Problem: wrongSpec, Next: renewal},
		},
		"previous tokens go on having their grace period": {
			healthy(), func(o *Observation) { o.SpecProblem, o.Previous = wrongSpec, []Token{replaced} },
			Plan{Action: Wait, Problem: wrongSpec, Next: teaTime},
		},
		"it is told before what stands in the way besides": {
			begun(), func(o *Observation) {
				o.SpecProblem, o.Refusal, o.IssuerProblem, o.Storm, o.Secret = wrongSpec, notGranted, notReady, oldStorm, foreign
			},
			Plan{Action: Wait, Problem: wrongSpec},
		},
		"and before what can't be settled, minted, revoked or looked at": {
			healthy(), func(o *Observation) {
				o.SpecProblem, o.Pending, o.Previous, o.ServiceProblem = wrongSpec, openFourth, []Token{neverSeen}, serviceDown
				o.Failures, o.LookAt, o.Missing = failing(Settle, ambiguous, soon), noon, true
			},
			Plan{Action: Wait, Problem: wrongSpec, Next: soon},
		},
		"no token made by hand is taken over, and no finalizer added for that": {
			byHand(), func(o *Observation) { o.SpecProblem, o.Finalizer = wrongSpec, false },
			Plan{Action: Wait, Problem: wrongSpec},
		},
		"nothing is looked at": {
			healthy(), func(o *Observation) { o.SpecProblem, o.LookAt = wrongSpec, noon },
			Plan{Action: Wait, Problem: wrongSpec, Next: renewal},
		},
		"that the token is lost is not told for the cache's word alone": {
			robbed(), func(o *Observation) { o.SpecProblem, o.Secret.Confirmed = wrongSpec, false },
			Plan{Action: ReadSecret},
		},
		"the Secret is not read for a token that expired": {
			robbed(), func(o *Observation) { o.SpecProblem, o.Secret.Confirmed, o.Now = wrongSpec, false, expiry },
			Plan{Action: Wait, Problem: wrongSpec},
		},
		"nor while the cache shows it in order": {
			healthy(), func(o *Observation) { o.SpecProblem, o.Secret.Confirmed = wrongSpec, false },
			Plan{Action: Wait, Problem: wrongSpec, Next: renewal},
		},
	},

	"a token made by hand is taken over before any is minted": {
		"it is in the Secret that spec names": {
			byHand(), nil,
			Plan{Action: Adopt},
		},
		"whether it is there is found out by taking it over": {
			begun(), func(o *Observation) { o.Adopting = true },
			Plan{Action: Adopt},
		},
		"the finalizer comes first": {
			byHand(), func(o *Observation) { o.Finalizer = false },
			Plan{Action: AddFinalizer},
		},
		"the Secret is read before that": {
			byHand(), func(o *Observation) { o.Finalizer, o.Secret.Confirmed = false, false },
			Plan{Action: ReadSecret},
		},
		"and before a conflict is told": {
			byHand(), func(o *Observation) { o.Secret.Confirmed, o.Secret.Conflict = false, managedElsewhere },
			Plan{Action: ReadSecret},
		},
		"no other token is minted, though one is lost": {
			robbed(), func(o *Observation) { o.Adopting = true },
			Plan{Action: Adopt},
		},
		"or due, or asked for": {
			healthy(), func(o *Observation) { o.Adopting, o.Requested, o.Now = true, true, renewal },
			Plan{Action: Adopt},
		},
		"what would be in the way of a mint is not in the way": {
			byHand(), func(o *Observation) {
				o.Storm, o.Mints, o.Previous, o.Secret.Refused = oldStorm, minutesAgo(59, 40, 20, 10, 0), severalReplaced(30), refused
			},
			Plan{Action: Adopt},
		},
		"when the time to try it again is there, whatever else failed": {
			byHand(), func(o *Observation) { o.Failures = allFailingBut(Adopt) },
			Plan{Action: Adopt},
		},
		"not without a grant, and no finalizer is added for nothing": {
			byHand(), func(o *Observation) { o.Finalizer, o.Refusal = false, notGranted },
			Plan{Action: Wait, Problem: notGranted},
		},
		"not while the issuer is not ready, and no finalizer is added for nothing": {
			byHand(), func(o *Observation) { o.Finalizer, o.IssuerProblem = false, notReady },
			Plan{Action: Wait, Problem: notReady},
		},
		"not while the service can't be asked": {
			byHand(), func(o *Observation) { o.Finalizer, o.ServiceProblem = false, serviceDown },
			Plan{Action: Wait, Problem: serviceDown},
		},
		"nor before it may be asked again": {
			byHand(), func(o *Observation) { o.Finalizer, o.Failures = false, failing(Adopt, notTaken, soon) },
			Plan{Action: Wait, Problem: notTaken, Next: soon},
		},
		"of which there may be nothing to tell: nothing is minted meanwhile": {
			byHand(), func(o *Observation) { o.Failures = failing(Adopt, nil, soon) },
			Plan{Action: Wait, Next: soon},
		},
		"a refusal is told before all that: it stays when the service answers": {
			byHand(), func(o *Observation) {
				o.Refusal, o.IssuerProblem, o.ServiceProblem, o.Failures = notGranted, notReady, serviceDown, failing(Adopt, notTaken, soon)
			},
			Plan{Action: Wait, Problem: notGranted, Next: soon},
		},
		"then that the issuer is not ready": {
			byHand(), func(o *Observation) {
				o.IssuerProblem, o.ServiceProblem, o.Failures = notReady, serviceDown, failing(Adopt, notTaken, soon)
			},
			Plan{Action: Wait, Problem: notReady, Next: soon},
		},
		"then that the service can't be asked": {
			byHand(), func(o *Observation) { o.ServiceProblem, o.Failures = serviceDown, failing(Adopt, notTaken, soon) },
			Plan{Action: Wait, Problem: serviceDown, Next: soon},
		},
		"the Secret is not read as long as that is so": {
			byHand(), func(o *Observation) { o.ServiceProblem, o.Secret.Confirmed = serviceDown, false },
			Plan{Action: Wait, Problem: serviceDown},
		},
		"not from a Secret that may not be written: since nothing tells of that one it is read again in a moment": {
			byHand(), func(o *Observation) { o.Finalizer, o.Secret.Conflict = false, managedElsewhere },
			Plan{Action: Wait, Problem: managedElsewhere, Next: noon.Add(10 * time.Second)},
		},
		"or when something else is due earlier": {
			byHand(), func(o *Observation) { o.Secret.Conflict, o.RenewalTime = managedElsewhere, noon.Add(time.Second) },
			Plan{Action: Wait, Problem: managedElsewhere, Next: noon.Add(time.Second)},
		},
	},

	"a token is minted when there is none, it is lost or it is due": {
		"there never was one": {
			begun(), nil,
			Plan{Action: Mint, Revision: 1, Unscheduled: true},
		},
		"the finalizer comes first": {
			begun(), func(o *Observation) { o.Finalizer = false },
			Plan{Action: AddFinalizer},
		},
		"the Secret is gone": {
			robbed(), nil,
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"the Secret holds another value": {
			healthy(), func(o *Observation) { o.Secret.SHA256 = "edited" },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"the Secret holds another value, and is out of date besides": {
			healthy(), func(o *Observation) { o.Secret.SHA256, o.Secret.Outdated = "edited", true },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"the Secret holds no value": {
			healthy(), func(o *Observation) { o.Secret.SHA256 = "" },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"the Secret holds a previous token, which is not due for that": {
			healthy(), func(o *Observation) { o.Previous, o.Secret.SHA256, o.Now = []Token{replaced}, "second", teaTime },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"the token expired": {
			healthy(), func(o *Observation) { o.Now, o.RenewalTime = expiry, time.Time{} },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"its renewal is due": {
			healthy(), func(o *Observation) { o.Now = renewal },
			Plan{Action: Mint, Revision: 4},
		},
		"its renewal is overdue": {
			healthy(), func(o *Observation) { o.Now = expiry.Add(-1) },
			Plan{Action: Mint, Revision: 4},
		},
		"it is lost as well as due: that counts as lost": {
			robbed(), func(o *Observation) { o.Now = renewal },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"the service lost it: it is of no use that the Secret holds it": {
			healthy(), func(o *Observation) { o.Missing = true },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"the service lost it, and it is due besides: that counts as lost": {
			healthy(), func(o *Observation) { o.Missing, o.Now = true, renewal },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"the service lost it, and the Secret is out of date besides": {
			healthy(), func(o *Observation) { o.Missing, o.Secret.Outdated = true, true },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"it is lost, and workloads are to be restarted: they wait for the next one": {
			robbed(), func(o *Observation) { o.RestartAt = noon },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"the service lost it, and workloads are to be restarted": {
			healthy(), func(o *Observation) { o.Missing, o.RestartAt = true, noon },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"there never was one for which to look": {
			begun(), func(o *Observation) { o.LookAt = noon },
			Plan{Action: Mint, Revision: 1, Unscheduled: true},
		},
		"the new revision is above every previous one": {
			begun(), func(o *Observation) {
				o.Previous, o.Secret.Tried = []Token{{Revision: 7}, {Revision: 5}}, true
			},
			Plan{Action: Mint, Revision: 8, Unscheduled: true},
		},
		"and above the current one": {
			robbed(), func(o *Observation) { o.Previous = []Token{replaced} },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"and above a closed attempt that came after the current one": {
			robbed(), func(o *Observation) { o.Previous, o.Secret.Tried = []Token{{Revision: 4}}, true },
			Plan{Action: Mint, Revision: 5, Unscheduled: true},
		},
		"and above one of which nothing is left": {
			robbed(), func(o *Observation) { o.LastRevision, o.Previous = 7, []Token{replaced} },
			Plan{Action: Mint, Revision: 8, Unscheduled: true},
		},
		"even if nothing else ever was": {
			begun(), func(o *Observation) { o.LastRevision = 1 },
			Plan{Action: Mint, Revision: 2, Unscheduled: true},
		},
		"a status from before that was written down does not lead back": {
			robbed(), func(o *Observation) { o.LastRevision = 1 },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"up to the highest": {
			begun(), func(o *Observation) { o.LastRevision = v1alpha1.MaxRevision - 1 },
			Plan{Action: Mint, Revision: v1alpha1.MaxRevision, Unscheduled: true},
		},
		"above which there is none": {
			begun(), func(o *Observation) { o.LastRevision = v1alpha1.MaxRevision },
			Plan{Action: Wait, Problem: usedUp},
		},
		"after an attempt whose token never got into the Secret, not before a dry run": {
			begun(), func(o *Observation) { o.Previous = []Token{neverSeen} },
			Plan{Action: TryWrite},
		},
		"nor for a renewal, which then counts like a token that is lost": {
			healthy(), func(o *Observation) { o.Now, o.Previous = renewal, []Token{{Revision: 4}} },
			Plan{Action: TryWrite},
		},
		"and counts": {
			healthy(), func(o *Observation) {
				o.Now, o.Previous, o.Secret.Tried = renewal, []Token{{Revision: 4}}, true
			},
			Plan{Action: Mint, Revision: 5, Unscheduled: true},
		},
		"also if it was closed at a service that has its token": {
			healthy(), func(o *Observation) {
				o.RenewalTime, o.Previous = noon, []Token{{Revision: 4, Closed: noon}}
			},
			Plan{Action: TryWrite},
		},
		"but of what the service has no token nothing could be written: no dry run is needed": {
			begun(), func(o *Observation) { o.Previous = []Token{absent} },
			Plan{Action: Mint, Revision: 5, Unscheduled: true},
		},
		"nor does a renewal count for it": {
			healthy(), func(o *Observation) { o.RenewalTime, o.Previous = noon, []Token{absent} },
			Plan{Action: Mint, Revision: 5},
		},
		"that a token can't be revoked does not stop a renewal": {
			healthy(), func(o *Observation) {
				o.RenewalTime, o.Previous, o.Failures = noon, []Token{neverSeen}, failing(Revoke, unproven, soon)
			},
			Plan{Action: Mint, Revision: 4},
		},
		"nor the replacement of a lost one": {
			robbed(), func(o *Observation) { o.Previous, o.Failures = []Token{neverSeen}, failing(Revoke, unproven, soon) },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"when the time for that is there, whatever else failed": {
			begun(), func(o *Observation) { o.Failures = allFailingBut(Mint) },
			Plan{Action: Mint, Revision: 1, Unscheduled: true},
		},
		"an attempt that failed before the current token came does not matter any more": {
			healthy(), func(o *Observation) {
				o.Now, o.Previous = renewal, []Token{{Revision: 2, Replaced: noon, RevokeAt: expiry}}
			},
			Plan{Action: Mint, Revision: 4},
		},

		"not without a grant, and no finalizer is added for nothing": {
			begun(), func(o *Observation) { o.Finalizer, o.Refusal = false, notGranted },
			Plan{Action: Wait, Problem: notGranted},
		},
		"not while the issuer is not ready, and no finalizer is added for nothing": {
			begun(), func(o *Observation) { o.Finalizer, o.IssuerProblem = false, notReady },
			Plan{Action: Wait, Problem: notReady},
		},
		"of two problems the refusal is told: it stays when the issuer gets ready": {
			begun(), func(o *Observation) { o.IssuerProblem, o.Refusal = notReady, notGranted },
			Plan{Action: Wait, Problem: notGranted},
		},
		"a renewal that is refused is told, and thought over again when the token expires": {
			healthy(), func(o *Observation) { o.Now, o.Refusal = renewal, notGranted },
			Plan{Action: Wait, Problem: notGranted, Next: expiry},
		},
		"the Secret is not read for a first token that is not granted": {
			begun(), func(o *Observation) { o.Refusal, o.Secret.Confirmed = notGranted, false },
			Plan{Action: Wait, Problem: notGranted},
		},
		"nor for one that the issuer can't be asked for": {
			begun(), func(o *Observation) { o.IssuerProblem, o.Secret.Confirmed = notReady, false },
			Plan{Action: Wait, Problem: notReady},
		},
		"nor for one that expired while the issuer could not be asked": {
			robbed(), func(o *Observation) { o.IssuerProblem, o.Secret.Confirmed, o.Now = notReady, false, expiry },
			Plan{Action: Wait, Problem: notReady},
		},
		"nor is a write tried that was refused": {
			begun(), func(o *Observation) { o.IssuerProblem, o.Secret.Refused = notReady, refused },
			Plan{Action: Wait, Problem: notReady},
		},
		"that the token is lost while the issuer is not ready is not told for the cache's word alone": {
			robbed(), func(o *Observation) { o.IssuerProblem, o.Secret.Confirmed = notReady, false },
			Plan{Action: ReadSecret},
		},
		"a Secret that lost its token is not rewritten while the issuer is not ready": {
			healthy(), func(o *Observation) { o.IssuerProblem, o.Secret.SHA256, o.Secret.Outdated = notReady, "edited", true },
			Plan{Action: Wait, Problem: notReady, Next: renewal},
		},

		"not while the service can't be asked, and no finalizer is added for nothing": {
			begun(), func(o *Observation) { o.Finalizer, o.ServiceProblem = false, serviceDown },
			Plan{Action: Wait, Problem: serviceDown},
		},
		"nor before it may be asked again": {
			begun(), func(o *Observation) { o.Finalizer, o.Failures = false, failing(Mint, limitReached, soon) },
			Plan{Action: Wait, Problem: limitReached, Next: soon},
		},
		"of which there may be nothing to tell": {
			begun(), func(o *Observation) { o.Failures = failing(Mint, nil, soon) },
			Plan{Action: Wait, Next: soon},
		},
		"not for a renewal either": {
			healthy(), func(o *Observation) { o.RenewalTime, o.Failures = noon, failing(Mint, limitReached, soon) },
			Plan{Action: Wait, Problem: limitReached, Next: soon},
		},
		"nor for a token that the service lost": {
			healthy(), func(o *Observation) { o.Missing, o.ServiceProblem = true, serviceDown },
			Plan{Action: Wait, Problem: serviceDown, Next: renewal},
		},
		"that the service can't be asked is told before what it refused": {
			begun(), func(o *Observation) { o.ServiceProblem, o.Failures = serviceDown, failing(Mint, limitReached, soon) },
			Plan{Action: Wait, Problem: serviceDown, Next: soon},
		},
		"a refusal is told before that: it stays when the service answers": {
			begun(), func(o *Observation) { o.Refusal, o.ServiceProblem = notGranted, serviceDown },
			Plan{Action: Wait, Problem: notGranted},
		},
		"and so does an issuer that is not ready": {
			begun(), func(o *Observation) { o.IssuerProblem, o.Failures = notReady, failing(Mint, limitReached, soon) },
			Plan{Action: Wait, Problem: notReady, Next: soon},
		},
		"the Secret is neither read nor tried for a token that the service can't be asked for": {
			begun(), func(o *Observation) {
				o.ServiceProblem, o.Secret = serviceDown, foreign
				o.Secret.Confirmed, o.Secret.Refused = false, refused
			},
			Plan{Action: Wait, Problem: serviceDown},
		},
		"that the token is lost while the service can't be asked is not told for the cache's word alone": {
			robbed(), func(o *Observation) { o.ServiceProblem, o.Secret.Confirmed = serviceDown, false },
			Plan{Action: ReadSecret},
		},

		"nothing is minted beside an open attempt that waits for the service": {
			robbed(), func(o *Observation) { o.Pending, o.ServiceProblem = openFourth, serviceDown },
			Plan{Action: Wait, Problem: serviceDown, Next: renewal},
		},
		"nor beside one of which it may be asked again later": {
			begun(), func(o *Observation) { o.Pending, o.Failures = openFourth, failing(Settle, ambiguous, soon) },
			Plan{Action: Wait, Problem: ambiguous, Next: soon},
		},
		"also when there is nothing to tell of it": {
			begun(), func(o *Observation) { o.Pending, o.Failures = openFourth, failing(Settle, nil, soon) },
			Plan{Action: Wait, Next: soon},
		},
		"nor for a token that is due": {
			healthy(), func(o *Observation) {
				o.Pending, o.RenewalTime, o.Failures = openFourth, noon, failing(Settle, ambiguous, soon)
			},
			Plan{Action: Wait, Problem: ambiguous, Next: soon},
		},
		"nor for one that the service lost": {
			healthy(), func(o *Observation) {
				o.Pending, o.Missing, o.Failures = openFourth, true, failing(Settle, ambiguous, soon)
			},
			Plan{Action: Wait, Problem: ambiguous, Next: soon},
		},
		"that it waits is told also while the Secret holds the current token": {
			healthy(), func(o *Observation) { o.Pending, o.Failures = openFourth, failing(Settle, ambiguous, soon) },
			Plan{Action: Wait, Problem: ambiguous, Next: soon},
		},
		"and nothing else is done: the Secret is not rewritten, which may hold the attempt's token any moment": {
			healthy(), func(o *Observation) {
				o.Pending, o.Secret.Outdated, o.LookAt, o.Failures = openFourth, true, noon, failing(Settle, ambiguous, soon)
			},
			Plan{Action: Wait, Problem: ambiguous, Next: soon},
		},
		"but a refusal is told before that: it stays when the attempt is settled": {
			healthy(), func(o *Observation) {
				o.Pending, o.Refusal, o.Failures = openFourth, notGranted, failing(Settle, ambiguous, soon)
			},
			Plan{Action: Wait, Problem: notGranted, Next: soon},
		},
		"what is in the way of a mint besides is not told: none is begun": {
			robbed(), func(o *Observation) {
				o.Pending, o.ServiceProblem, o.IssuerProblem, o.Storm = openFourth, serviceDown, notReady, oldStorm
				o.Secret, o.Previous = foreign, severalReplaced(30)
			},
			Plan{Action: Wait, Problem: serviceDown, Next: teaTime},
		},

		"the Secret is read before a first token, since the cache shows only what carries our label": {
			begun(), func(o *Observation) { o.Secret.Confirmed, o.Finalizer = false, false },
			Plan{Action: ReadSecret},
		},
		"the Secret is read before a lost token is replaced, since the cache may be behind": {
			robbed(), func(o *Observation) { o.Secret.Confirmed = false },
			Plan{Action: ReadSecret},
		},
		"the Secret is read before a token is renewed": {
			healthy(), func(o *Observation) { o.Now, o.Secret.Confirmed = renewal, false },
			Plan{Action: ReadSecret},
		},
		"it is read before a conflict is told": {
			begun(), func(o *Observation) {
				o.Secret = foreign
				o.Secret.Confirmed, o.Secret.Refused, o.Secret.RefusedAgain = false, refused, true
			},
			Plan{Action: ReadSecret},
		},
		"it is read before a write is tried again": {
			begun(), func(o *Observation) { o.Secret.Confirmed, o.Secret.Refused = false, refused },
			Plan{Action: ReadSecret},
		},
		"a Secret of somebody else is in the way of the first token, and no finalizer is added for nothing": {
			begun(), func(o *Observation) { o.Secret, o.Finalizer = foreign, false },
			Plan{Action: Wait, Problem: conflict},
		},
		"it took the place of ours, even with the same value": {
			healthy(), func(o *Observation) {
				o.Secret = foreign
				o.Secret.SHA256 = "third"
			},
			Plan{Action: Wait, Problem: conflict, Next: renewal},
		},
		"an immutable Secret is in the way of a renewal": {
			healthy(), func(o *Observation) { o.Now, o.Secret.Conflict = renewal, immutable },
			Plan{Action: Wait, Problem: immutable, Next: expiry},
		},
		"a conflict is told before a refusal: nothing is tried with a Secret that is not to be written": {
			begun(), func(o *Observation) {
				o.Secret = foreign
				o.Secret.Refused = refused
			},
			Plan{Action: Wait, Problem: conflict},
		},
		"a conflict is told before a write that was refused just now": {
			healthy(), func(o *Observation) {
				o.Now, o.Secret.Conflict, o.Secret.Refused, o.Secret.RefusedAgain = renewal, immutable, refused, true
			},
			Plan{Action: Wait, Problem: immutable, Next: expiry},
		},
		"a write that was refused is tried first, so that no token is minted in vain": {
			begun(), func(o *Observation) { o.Secret.Refused = refused },
			Plan{Action: TryWrite},
		},
		"also for a renewal": {
			healthy(), func(o *Observation) { o.Now, o.Secret.Refused = renewal, refused },
			Plan{Action: TryWrite},
		},
		"if it is refused again that is told, and tried anew in two minutes; no finalizer is added for nothing": {
			begun(), func(o *Observation) { o.Secret.Refused, o.Secret.RefusedAgain, o.Finalizer = refused, true, false },
			Plan{Action: Wait, Problem: refused, Next: noon.Add(2 * time.Minute)},
		},
		"in two minutes though something else is due later": {
			robbed(), func(o *Observation) {
				o.Secret.Refused, o.Secret.RefusedAgain, o.RenewalTime = refused, true, noon.Add(2*time.Minute+1)
			},
			Plan{Action: Wait, Problem: refused, Next: noon.Add(2 * time.Minute)},
		},
		"or when something else is due earlier": {
			robbed(), func(o *Observation) {
				o.Secret.Refused, o.Secret.RefusedAgain, o.Current.Expires = refused, true, noon.Add(time.Minute)
			},
			Plan{Action: Wait, Problem: refused, Next: noon.Add(time.Minute)},
		},

		"a fifth unscheduled one within the hour": {
			robbed(), func(o *Observation) { o.Mints = minutesAgo(59, 40, 20, 0) },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"but not a sixth: that is a storm": {
			robbed(), func(o *Observation) { o.Mints = minutesAgo(59, 40, 20, 10, 0) },
			Plan{Action: Wait, Problem: newStorm, Next: renewal},
		},
		"nor a seventh": {
			robbed(), func(o *Observation) { o.Mints = minutesAgo(59, 40, 20, 10, 0, 0) },
			Plan{Action: Wait, Problem: newStorm, Next: renewal},
		},
		"a storm is one also before the first token got into the Secret; no finalizer is added for nothing": {
			begun(), func(o *Observation) { o.Mints, o.Finalizer = minutesAgo(59, 40, 20, 10, 0), false },
			Plan{Action: Wait, Problem: newStorm},
		},
		"one that was minted an hour ago does not count": {
			robbed(), func(o *Observation) { o.Mints = minutesAgo(60, 40, 20, 10, 0) },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"nor do those that were minted long ago": {
			robbed(), func(o *Observation) { o.Mints = minutesAgo(5000, 4000, 3000, 2000, 1000) },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"one that was minted a little later than now does count: two clocks differ": {
			robbed(), func(o *Observation) { o.Mints = minutesAgo(40, 20, 10, 0, -59) },
			Plan{Action: Wait, Problem: newStorm, Next: renewal},
		},
		"but not one that was minted far in the future: a clock was wrong": {
			robbed(), func(o *Observation) { o.Mints = minutesAgo(40, 20, 10, 0, -60) },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"a renewal that is due is no part of a storm": {
			healthy(), func(o *Observation) { o.Mints, o.RenewalTime = minutesAgo(59, 40, 20, 10, 0), noon },
			Plan{Action: Mint, Revision: 4},
		},
		"a storm lasts longer than its hour": {
			robbed(), func(o *Observation) { o.Storm = oldStorm },
			Plan{Action: Wait, Problem: oldStorm, Next: renewal},
		},
		"and is told as it was found": {
			robbed(), func(o *Observation) { o.Storm, o.Mints = oldStorm, minutesAgo(59, 40, 20, 10, 0) },
			Plan{Action: Wait, Problem: oldStorm, Next: renewal},
		},
		"it does not keep a token from being renewed that is there": {
			healthy(), func(o *Observation) { o.Storm, o.RenewalTime = oldStorm, noon },
			Plan{Action: Mint, Revision: 4},
		},
		"in a storm the Secret is read all the same: it may hold the token by now": {
			robbed(), func(o *Observation) { o.Storm, o.Secret.Confirmed = oldStorm, false },
			Plan{Action: ReadSecret},
		},

		"what is in the way of a write is told before a storm": {
			robbed(), func(o *Observation) { o.Storm, o.Secret = oldStorm, foreign },
			Plan{Action: Wait, Problem: conflict, Next: renewal},
		},

		"somebody asked for another one": {
			healthy(), func(o *Observation) { o.Requested, o.Previous = true, severalReplaced(2) },
			Plan{Action: Mint, Revision: 6},
		},
		"somebody asked, and three that were replaced are still accepted": {
			healthy(), func(o *Observation) { o.Requested, o.Previous = true, severalReplaced(3) },
			Plan{Action: Wait, Next: teaTime, Problem: threeLive},
		},
		"those that expired are not": {
			healthy(), func(o *Observation) {
				o.Requested, o.Previous, o.Failures = true, severalReplaced(3), failing(Revoke, unproven, soon)
				o.Previous[0].Expires = noon
			},
			Plan{Action: Mint, Revision: 7},
		},
		"somebody asked, and it is due anyway": {
			healthy(), func(o *Observation) { o.Requested, o.RenewalTime, o.Previous = true, noon, severalReplaced(3) },
			Plan{Action: Mint, Revision: 7},
		},
		"somebody asked, and it is lost": {
			robbed(), func(o *Observation) { o.Requested, o.Previous = true, severalReplaced(3) },
			Plan{Action: Mint, Revision: 7, Unscheduled: true},
		},
		"while 29 replaced ones have their grace period": {
			healthy(), func(o *Observation) { o.RenewalTime, o.Previous = noon, severalReplaced(29) },
			Plan{Action: Mint, Revision: 33},
		},
		"but not while 30 have": {
			healthy(), func(o *Observation) { o.RenewalTime, o.Previous = noon, severalReplaced(30) },
			Plan{Action: Wait, Problem: tooMany, Next: teaTime},
		},
		"nor while 31 have, though the token is lost": {
			robbed(), func(o *Observation) { o.Previous = severalReplaced(31) },
			Plan{Action: Wait, Problem: tooMany, Next: teaTime},
		},
		"a storm is told before them: it does not end by itself": {
			robbed(), func(o *Observation) { o.Storm, o.Previous = oldStorm, severalReplaced(30) },
			Plan{Action: Wait, Problem: oldStorm, Next: teaTime},
		},
	},

	"the Secret's other keys and metadata follow the spec": {
		"they are rewritten around the same token": {
			healthy(), func(o *Observation) { o.Secret.Outdated = true },
			Plan{Action: Rewrite},
		},
		"also while no token could be minted": {
			healthy(), func(o *Observation) {
				o.Secret.Outdated, o.IssuerProblem, o.Refusal, o.Storm = true, notReady, notGranted, oldStorm
				o.Mints, o.Previous = minutesAgo(59, 40, 20, 10, 0), severalReplaced(30)
			},
			Plan{Action: Rewrite},
		},
		"also while a renewal is due that waits for the issuer": {
			healthy(), func(o *Observation) { o.Secret.Outdated, o.Now, o.IssuerProblem = true, renewal, notReady },
			Plan{Action: Rewrite},
		},
		"or that is not granted": {
			healthy(), func(o *Observation) { o.Secret.Outdated, o.Now, o.Refusal = true, renewal, notGranted },
			Plan{Action: Rewrite},
		},
		"or that waits for previous tokens to be revoked": {
			healthy(), func(o *Observation) {
				o.Secret.Outdated, o.RenewalTime, o.Previous = true, noon, severalReplaced(30)
			},
			Plan{Action: Rewrite},
		},
		"or for the service": {
			healthy(), func(o *Observation) { o.Secret.Outdated, o.Now, o.ServiceProblem = true, renewal, serviceDown },
			Plan{Action: Rewrite},
		},
		"or until that may be asked again": {
			healthy(), func(o *Observation) {
				o.Secret.Outdated, o.RenewalTime, o.Failures = true, noon, failing(Mint, limitReached, soon)
			},
			Plan{Action: Rewrite},
		},
		"also while a previous token can't be revoked": {
			healthy(), func(o *Observation) {
				o.Secret.Outdated, o.Previous, o.Failures = true, []Token{neverSeen}, failing(Revoke, unproven, soon)
			},
			Plan{Action: Rewrite},
		},
		"the Secret is read first also while a renewal waits for the issuer": {
			healthy(), func(o *Observation) {
				o.Secret.Outdated, o.Secret.Confirmed, o.Now, o.IssuerProblem = true, false, renewal, notReady
			},
			Plan{Action: ReadSecret},
		},
		"the Secret is read first": {
			healthy(), func(o *Observation) { o.Secret.Outdated, o.Secret.Confirmed = true, false },
			Plan{Action: ReadSecret},
		},
		"before it is told that it is immutable": {
			healthy(), func(o *Observation) {
				o.Secret.Outdated, o.Secret.Confirmed, o.Secret.Conflict, o.Secret.Refused = true, false, immutable, refused
			},
			Plan{Action: ReadSecret},
		},
		"not while it is immutable, and nothing is tried": {
			healthy(), func(o *Observation) {
				o.Secret.Outdated, o.Secret.Conflict, o.Secret.Refused = true, immutable, refused
			},
			Plan{Action: Wait, Problem: immutable, Next: renewal},
		},
		"a write that was refused is tried first": {
			healthy(), func(o *Observation) { o.Secret.Outdated, o.Secret.Refused = true, refused },
			Plan{Action: TryWrite},
		},
		"not while it is refused: it is tried anew in two minutes": {
			healthy(), func(o *Observation) { o.Secret.Outdated, o.Secret.Refused, o.Secret.RefusedAgain = true, refused, true },
			Plan{Action: Wait, Problem: refused, Next: noon.Add(2 * time.Minute)},
		},
		"or when the token is due earlier": {
			healthy(), func(o *Observation) {
				o.Secret.Outdated, o.Secret.Refused, o.Secret.RefusedAgain = true, refused, true
				o.RenewalTime = noon.Add(time.Minute)
			},
			Plan{Action: Wait, Problem: refused, Next: noon.Add(time.Minute)},
		},
	},

	"the service is looked at now and then": {
		"when it is time": {
			healthy(), func(o *Observation) { o.LookAt = noon },
			Plan{Action: Look},
		},
		"or past it": {
			healthy(), func(o *Observation) { o.LookAt = noon.Add(-day) },
			Plan{Action: Look},
		},
		"the Secret is not read for that": {
			healthy(), func(o *Observation) { o.LookAt, o.Secret.Confirmed = noon, false },
			Plan{Action: Look},
		},
		"when the time to try it again is there, whatever else failed": {
			healthy(), func(o *Observation) { o.LookAt, o.Failures = noon, allFailingBut(Look) },
			Plan{Action: Look},
		},
		"also while no token could be minted, and no Secret written": {
			healthy(), func(o *Observation) {
				o.LookAt, o.IssuerProblem, o.Refusal, o.Storm = noon, notReady, notGranted, oldStorm
				o.Previous, o.Secret.Conflict, o.Secret.Refused = severalReplaced(30), immutable, refused
			},
			Plan{Action: Look},
		},
		"also while a previous token can't be revoked": {
			healthy(), func(o *Observation) {
				o.LookAt, o.Previous, o.Failures = noon, []Token{neverSeen}, failing(Revoke, unproven, soon)
			},
			Plan{Action: Look},
		},
	},

	"otherwise there is nothing to do": {
		"until the renewal": {
			healthy(), nil,
			Plan{Action: Wait, Next: renewal},
		},
		"even just before the renewal": {
			healthy(), func(o *Observation) { o.Now = renewal.Add(-1) },
			Plan{Action: Wait, Next: renewal},
		},
		"ever, with a token that lives for ever": {
			healthy(), func(o *Observation) { o.RenewalTime, o.Current.Expires = time.Time{}, time.Time{} },
			Plan{Action: Wait},
		},
		"but to say that the token is no longer granted": {
			healthy(), func(o *Observation) { o.Refusal = notGranted },
			Plan{Action: Wait, Next: renewal, Problem: notGranted},
		},
		"while the issuer is not ready but not needed either": {
			healthy(), func(o *Observation) { o.IssuerProblem = notReady },
			Plan{Action: Wait, Next: renewal},
		},
		"with a Secret that the cache shows in order: it is not read": {
			healthy(), func(o *Observation) { o.Secret.Confirmed = false },
			Plan{Action: Wait, Next: renewal},
		},
		"with a Secret that is immutable, and as it should be": {
			healthy(), func(o *Observation) { o.Secret.Conflict = immutable },
			Plan{Action: Wait, Next: renewal},
		},
		"with a Secret whose write was refused, and that is as it should be": {
			healthy(), func(o *Observation) { o.Secret.Refused = refused },
			Plan{Action: Wait, Next: renewal},
		},
		"after a storm, when the token is there again": {
			healthy(), func(o *Observation) { o.Storm, o.Mints = oldStorm, minutesAgo(59, 40, 20, 10, 0) },
			Plan{Action: Wait, Next: renewal},
		},
		"about a replaced token before its grace period is over": {
			healthy(), func(o *Observation) { o.Previous, o.Now = []Token{replaced}, teaTime.Add(-1) },
			Plan{Action: Wait, Next: teaTime},
		},
		"and the Secret is not read for it": {
			healthy(), func(o *Observation) { o.Previous, o.Secret.Confirmed = []Token{replaced}, false },
			Plan{Action: Wait, Next: teaTime},
		},
		"about many of them": {
			healthy(), func(o *Observation) { o.Previous = severalReplaced(32) },
			Plan{Action: Wait, Next: teaTime},
		},
		"about a closed attempt whose value may still be on its way into the Secret": {
			healthy(), func(o *Observation) { o.Previous = []Token{{Revision: 4, Expires: noon.Add(day)}} },
			Plan{Action: Wait, Next: noon.Add(day)},
		},
		"about a closed attempt, with a token at a service and no later one, before an hour is over": {
			healthy(), func(o *Observation) { o.Previous = []Token{{Revision: 4, Closed: noon.Add(-time.Hour + 1)}} },
			Plan{Action: Wait, Next: noon.Add(1)},
		},
		"about one of which the service had no token, though a later one is there": {
			healthy(), func(o *Observation) {
				o.Previous = []Token{absent}
				o.Previous[0].Revision, o.Previous[0].Closed = 2, noon.Add(-time.Hour+1)
			},
			Plan{Action: Wait, Next: noon.Add(1)},
		},
		"about one whose value was in the Secret after all: it has its grace period": {
			healthy(), func(o *Observation) {
				o.Previous = []Token{{Revision: 2, Closed: noon.Add(-day), Replaced: noon.Add(-time.Hour), RevokeAt: teaTime}}
			},
			Plan{Action: Wait, Next: teaTime},
		},

		"before it is time to restart workloads": {
			healthy(), func(o *Observation) { o.RestartAt = noon.Add(1) },
			Plan{Action: Wait, Next: noon.Add(1)},
		},
		"or to try that again, of which the resource says elsewhere what it failed of": {
			healthy(), func(o *Observation) { o.RestartAt, o.Failures = noon, failing(Restart, notRestarted, soon) },
			Plan{Action: Wait, Next: soon},
		},
		"about a replaced token that the operator asks the service with": {
			healthy(), func(o *Observation) { o.Previous, o.Now = []Token{inUse(replaced)}, teaTime },
			Plan{Action: Wait, Next: teaTime.Add(InUseRecheck)},
		},
		"nor to say, while the service can't be asked, that it waits for its revocation": {
			healthy(), func(o *Observation) {
				o.Previous, o.Now, o.ServiceProblem = []Token{inUse(replaced)}, teaTime, serviceDown
			},
			Plan{Action: Wait, Next: teaTime.Add(InUseRecheck)},
		},
		"about one that the service refuses, before its grace period is over": {
			healthy(), func(o *Observation) { o.Previous, o.ServiceProblem = []Token{gone(replaced)}, serviceDown },
			Plan{Action: Wait, Next: teaTime},
		},
		"about what becomes of the token once the resource is deleted": {
			healthy(), func(o *Observation) { o.Retain, o.Abandon, o.Needed, o.Current.InUse = true, true, othersNeedIt, true },
			Plan{Action: Wait, Next: renewal},
		},
		"before it is time for a look": {
			healthy(), func(o *Observation) { o.LookAt = noon.Add(1) },
			Plan{Action: Wait, Next: noon.Add(1)},
		},
		"while the service can't be asked but is not needed either": {
			healthy(), func(o *Observation) { o.ServiceProblem, o.LookAt = serviceDown, noon },
			Plan{Action: Wait, Next: renewal},
		},
		"but to say what a look failed of": {
			healthy(), func(o *Observation) { o.LookAt, o.Failures = noon, failing(Look, roleMissing, soon) },
			Plan{Action: Wait, Next: soon, Problem: roleMissing},
		},
		"which may be nothing": {
			healthy(), func(o *Observation) { o.LookAt, o.Failures = noon, failing(Look, nil, soon) },
			Plan{Action: Wait, Next: soon},
		},
		"and is not told any more once it may be tried again": {
			healthy(), func(o *Observation) { o.LookAt, o.Failures = soon, failing(Look, roleMissing, noon) },
			Plan{Action: Wait, Next: soon},
		},
		"nor while the service can't be asked: it may be different by then": {
			healthy(), func(o *Observation) {
				o.LookAt, o.Failures, o.ServiceProblem = noon, failing(Look, roleMissing, soon), serviceDown
			},
			Plan{Action: Wait, Next: soon},
		},
		"and to say what a revocation that is due failed of": {
			healthy(), func(o *Observation) { o.Previous, o.Failures = []Token{neverSeen}, failing(Revoke, unproven, soon) },
			Plan{Action: Wait, Next: soon, Problem: unproven},
		},
		"or that it waits for the service": {
			healthy(), func(o *Observation) { o.Previous, o.ServiceProblem = []Token{neverSeen}, serviceDown },
			Plan{Action: Wait, Next: noon.Add(day), Problem: serviceDown},
		},
		"but not if none is due": {
			healthy(), func(o *Observation) { o.Previous, o.Failures = []Token{replaced}, failing(Revoke, unproven, soon) },
			Plan{Action: Wait, Next: soon},
		},
		"not even while the service can't be asked": {
			healthy(), func(o *Observation) { o.Previous, o.ServiceProblem = []Token{replaced}, serviceDown },
			Plan{Action: Wait, Next: teaTime},
		},
		"nor what minting and settling failed of, when neither is to be done": {
			healthy(), func(o *Observation) {
				o.Failures = failing(Mint, limitReached, soon)
				o.Failures[Settle] = Failure{ambiguous, soon}
			},
			Plan{Action: Wait, Next: soon},
		},
		"about a token that expired less than an hour ago and can't be revoked": {
			healthy(), func(o *Observation) {
				o.Previous, o.Failures = []Token{replacedLongAgo(2, time.Hour-1)}, failing(Revoke, unproven, noon.Add(1))
			},
			Plan{Action: Wait, Next: noon.Add(1), Problem: unproven},
		},
		"nor about an attempt of which the service had no token and can't be asked again": {
			healthy(), func(o *Observation) {
				o.Previous, o.Now, o.Failures = []Token{absent}, noon.Add(2*day), failing(Revoke, unproven, noon.Add(3*day))
			},
			Plan{Action: Wait, Next: noon.Add(3 * day), Problem: unproven},
		},
		"of several problems the refusal is told": {
			healthy(), func(o *Observation) {
				o.Refusal, o.LookAt, o.Previous, o.Failures = notGranted, noon, []Token{neverSeen}, allFailingBut(Mint)
			},
			Plan{Action: Wait, Next: soon, Problem: notGranted},
		},
		"then what a revocation failed of": {
			healthy(), func(o *Observation) { o.LookAt, o.Previous, o.Failures = noon, []Token{neverSeen}, allFailingBut(Mint) },
			Plan{Action: Wait, Next: soon, Problem: unproven},
		},
		"then what a look did": {
			healthy(), func(o *Observation) {
				o.LookAt, o.Previous, o.Failures = noon, []Token{neverSeen}, allFailingBut(Mint)
				o.Failures[Revoke] = Failure{nil, soon}
			},
			Plan{Action: Wait, Next: soon, Problem: roleMissing},
		},
	},
}

func TestEveryRuleDecidesItsCases(t *testing.T) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			if len(decisions[rule.name]) == 0 {
				t.Fatal("no case of this rule")
			}
			for name, test := range decisions[rule.name] {
				t.Run(name, func(t *testing.T) {
					observed := clone(test.observed)
					if test.change != nil {
						test.change(&observed)
					}
					test.want.Rule = rule.name
					if got := Decide(observed); !reflect.DeepEqual(got, test.want) {
						t.Errorf("%s\nwant %s", show(got), show(test.want))
					}
				})
			}
		})
	}
	if len(decisions) != len(rules) {
		t.Errorf("cases of %d rules, but there are %d rules", len(decisions), len(rules))
	}
}

func TestWhereTwoRulesApplyTheEarlierOneIsFollowed(t *testing.T) {
	type rule = func(*Observation) *Plan
	compared := map[[2]string]bool{}
	for name, test := range map[string]struct {
		change         func(*Observation)
		earlier, later rule
	}{
		"a namespace that is gone before deletion: what that would write can't be written": {
			func(o *Observation) { o.NamespaceGone, o.Deleting, o.Current = true, true, nil }, namespaceGone, deleting,
		},
		"deletion before the namespace's": {
			func(o *Observation) { o.Deleting, o.NamespaceTerminating = true, true }, deleting, namespaceTerminating,
		},
		"deletion before a finalizer that was taken away: none can be added any more": {
			func(o *Observation) { o.Deleting, o.Finalizer = true, false }, deleting, finalizer,
		},
		"deletion before an open attempt that could be finished": {
			func(o *Observation) { o.Deleting, o.Pending, o.Secret.SHA256 = true, openFourth, "fourth" }, deleting, openAttempt,
		},
		"deletion before suspension": {
			func(o *Observation) { o.Deleting, o.Suspended = true, true }, deleting, suspended,
		},
		"deletion before previous tokens that are due: all are": {
			func(o *Observation) { o.Deleting, o.Previous = true, []Token{neverSeen} }, deleting, previousDue,
		},
		"deletion before a spec that is wrong": {
			func(o *Observation) { o.Deleting, o.SpecProblem = true, wrongSpec }, deleting, specProblem,
		},
		"deletion before a foreign Secret": {
			func(o *Observation) { o.Deleting, o.Current, o.Secret = true, nil, foreign }, deleting, mint,
		},
		"deletion before a token that is due": {
			func(o *Observation) { o.Deleting, o.Now = true, renewal }, deleting, mint,
		},
		"deletion before a Secret that is out of date": {
			func(o *Observation) { o.Deleting, o.Secret.Outdated = true, true }, deleting, rewrite,
		},
		"deletion that waits for the service before previous tokens to strike off: it strikes off all": {
			func(o *Observation) {
				o.Deleting, o.ServiceProblem, o.Previous = true, serviceDown, []Token{replacedLongAgo(2, day)}
				o.Current.Expires = noon.Add(-day)
			}, deleting, previousDue,
		},
		"deletion before workloads that are to be restarted": {
			func(o *Observation) { o.Deleting, o.RestartAt = true, noon }, deleting, restart,
		},
		"deletion before a token made by hand": {
			func(o *Observation) { o.Deleting, o.Adopting = true, true }, deleting, adopt,
		},
		"deletion before a look": {
			func(o *Observation) { o.Deleting, o.LookAt = true, noon }, deleting, look,
		},
		"the namespace's deletion before a finalizer that was taken away": {
			func(o *Observation) { o.NamespaceTerminating, o.Finalizer = true, false }, namespaceTerminating, finalizer,
		},
		"the namespace's deletion before an open attempt": {
			func(o *Observation) { o.NamespaceTerminating, o.Pending = true, openFourth }, namespaceTerminating, openAttempt,
		},
		"the namespace's deletion before suspension": {
			func(o *Observation) { o.NamespaceTerminating, o.Suspended = true, true }, namespaceTerminating, suspended,
		},
		"the namespace's deletion before previous tokens that are due": {
			func(o *Observation) { o.NamespaceTerminating, o.Previous = true, []Token{neverSeen} }, namespaceTerminating, previousDue,
		},
		"the namespace's deletion before a spec that is wrong": {
			func(o *Observation) { o.NamespaceTerminating, o.SpecProblem = true, wrongSpec }, namespaceTerminating, specProblem,
		},
		"the namespace's deletion before a foreign Secret": {
			func(o *Observation) { o.NamespaceTerminating, o.Secret = true, foreign }, namespaceTerminating, mint,
		},
		"the namespace's deletion before workloads that are to be restarted": {
			func(o *Observation) { o.NamespaceTerminating, o.RestartAt = true, noon }, namespaceTerminating, restart,
		},
		"the namespace's deletion before a token made by hand": {
			func(o *Observation) { o.NamespaceTerminating, o.Adopting = true, true }, namespaceTerminating, adopt,
		},
		"the namespace's deletion before a look": {
			func(o *Observation) { o.NamespaceTerminating, o.LookAt = true, noon }, namespaceTerminating, look,
		},
		"the finalizer before an open attempt that could be finished": {
			func(o *Observation) { o.Finalizer, o.Pending, o.Secret.SHA256 = false, openFourth, "fourth" }, finalizer, openAttempt,
		},
		"the finalizer before suspension": {
			func(o *Observation) { o.Finalizer, o.Suspended = false, true }, finalizer, suspended,
		},
		"the finalizer before previous tokens that are due": {
			func(o *Observation) { o.Finalizer, o.Previous = false, []Token{neverSeen} }, finalizer, previousDue,
		},
		"the finalizer before a spec that is wrong": {
			func(o *Observation) { o.Finalizer, o.SpecProblem = false, wrongSpec }, finalizer, specProblem,
		},
		"the finalizer before workloads that are to be restarted": {
			func(o *Observation) { o.Finalizer, o.RestartAt = false, noon }, finalizer, restart,
		},
		"the finalizer before a look": {
			func(o *Observation) { o.Finalizer, o.LookAt = false, noon }, finalizer, look,
		},
		"an open attempt before suspension": {
			func(o *Observation) { o.Pending, o.Suspended = openFourth, true }, openAttempt, suspended,
		},
		"an open attempt before previous tokens that are due": {
			func(o *Observation) { o.Pending, o.Previous = openFourth, []Token{neverSeen} }, openAttempt, previousDue,
		},
		"an open attempt before a spec that is wrong": {
			func(o *Observation) { o.Pending, o.SpecProblem = openFourth, wrongSpec }, openAttempt, specProblem,
		},
		"an open attempt before a foreign Secret": {
			func(o *Observation) { o.Pending, o.Secret = openFourth, foreign }, openAttempt, mint,
		},
		"an open attempt before a token that is due": {
			func(o *Observation) { o.Pending, o.Now = openFourth, renewal }, openAttempt, mint,
		},
		"an open attempt before workloads that are to be restarted": {
			func(o *Observation) { o.Pending, o.RestartAt = openFourth, noon }, openAttempt, restart,
		},
		"an open attempt before a token made by hand": {
			func(o *Observation) { o.Pending, o.Adopting = openFourth, true }, openAttempt, adopt,
		},
		"an open attempt before a look": {
			func(o *Observation) { o.Pending, o.LookAt = openFourth, noon }, openAttempt, look,
		},
		"suspension before previous tokens that are due": {
			func(o *Observation) { o.Suspended, o.Previous = true, []Token{neverSeen} }, suspended, previousDue,
		},
		"suspension before a spec that is wrong": {
			func(o *Observation) { o.Suspended, o.SpecProblem = true, wrongSpec }, suspended, specProblem,
		},
		"suspension before a token that is due": {
			func(o *Observation) { o.Suspended, o.Now = true, renewal }, suspended, mint,
		},
		"suspension before a Secret that is out of date": {
			func(o *Observation) { o.Suspended, o.Secret.Outdated = true, true }, suspended, rewrite,
		},
		"suspension before an open attempt that waits for the service": {
			func(o *Observation) {
				o.Suspended, o.Missing, o.Pending, o.ServiceProblem = true, true, openFourth, serviceDown
			}, suspended, mint,
		},
		"suspension before workloads that are to be restarted": {
			func(o *Observation) { o.Suspended, o.RestartAt = true, noon }, suspended, restart,
		},
		"suspension before a token made by hand": {
			func(o *Observation) { o.Suspended, o.Adopting = true, true }, suspended, adopt,
		},
		"suspension before a look": {
			func(o *Observation) { o.Suspended, o.LookAt = true, noon }, suspended, look,
		},
		"suspension before a search for who holds a token": {
			func(o *Observation) { o.Suspended, o.Previous, o.Now = true, []Token{kept(day)}, teaTime }, suspended, seekHolders,
		},
		"a search for who holds one token before another one is revoked": {
			func(o *Observation) { o.Previous, o.Now = []Token{neverSeen, kept(day)}, teaTime }, seekHolders, previousDue,
		},
		"a search for who holds one token before workloads that are to be restarted": {
			func(o *Observation) { o.Previous, o.Now, o.RestartAt = []Token{kept(day)}, teaTime, noon }, seekHolders, restart,
		},
		"previous tokens that are due before workloads that are to be restarted": {
			func(o *Observation) { o.Previous, o.RestartAt = []Token{neverSeen}, noon }, previousDue, restart,
		},
		"previous tokens that are due before a token made by hand": {
			func(o *Observation) { o.Previous, o.Adopting = []Token{neverSeen}, true }, previousDue, adopt,
		},
		"previous tokens that are due before a spec that is wrong": {
			func(o *Observation) { o.Previous, o.SpecProblem = []Token{neverSeen}, wrongSpec }, previousDue, specProblem,
		},
		"previous tokens that are due before a foreign Secret": {
			func(o *Observation) { o.Previous, o.Secret = []Token{neverSeen}, foreign }, previousDue, mint,
		},
		"previous tokens that are due before a token that is": {
			func(o *Observation) { o.Previous, o.Now = []Token{neverSeen}, renewal }, previousDue, mint,
		},
		"previous tokens that are due before too many of them": {
			func(o *Observation) { o.Previous, o.Now = append(severalReplaced(29), neverSeen), renewal }, previousDue, mint,
		},
		"previous tokens that are due before a Secret that is out of date": {
			func(o *Observation) { o.Previous, o.Secret.Outdated = []Token{neverSeen}, true }, previousDue, rewrite,
		},
		"previous tokens that are due before an open attempt that waits for its time": {
			func(o *Observation) {
				o.Previous, o.Pending, o.Failures = []Token{neverSeen}, openFourth, failing(Settle, ambiguous, soon)
			}, previousDue, mint,
		},
		"previous tokens to strike off before a token that waits for the service": {
			func(o *Observation) {
				o.Previous, o.ServiceProblem, o.Now = []Token{replacedLongAgo(2, day)}, serviceDown, renewal
			}, previousDue, mint,
		},
		"previous tokens that are due before a look": {
			func(o *Observation) { o.Previous, o.LookAt = []Token{neverSeen}, noon }, previousDue, look,
		},
		"workloads that are to be restarted before a spec that is wrong": {
			func(o *Observation) { o.RestartAt, o.SpecProblem = noon, wrongSpec }, restart, specProblem,
		},
		"workloads that are to be restarted before a token made by hand": {
			func(o *Observation) { o.RestartAt, o.Adopting = noon, true }, restart, adopt,
		},
		"workloads that are to be restarted before a token that is due": {
			func(o *Observation) { o.RestartAt, o.Now = noon, renewal }, restart, mint,
		},
		"workloads that are to be restarted before a Secret that is out of date": {
			func(o *Observation) { o.RestartAt, o.Secret.Outdated = noon, true }, restart, rewrite,
		},
		"workloads that are to be restarted before a look": {
			func(o *Observation) { o.RestartAt, o.LookAt = noon, noon }, restart, look,
		},
		"workloads that are to be restarted before nothing": {
			func(o *Observation) { o.RestartAt = noon }, restart, rest,
		},
		"a spec that is wrong before a token made by hand": {
			func(o *Observation) { o.SpecProblem, o.Adopting = wrongSpec, true }, specProblem, adopt,
		},
		"a token made by hand before one that is due": {
			func(o *Observation) { o.Adopting, o.Now = true, renewal }, adopt, mint,
		},
		"a token made by hand that waits for the service before a first one": {
			func(o *Observation) {
				o.Adopting, o.Current, o.Failures = true, nil, failing(Adopt, notTaken, soon)
			}, adopt, mint,
		},
		"a token made by hand before a Secret that is out of date": {
			func(o *Observation) { o.Adopting, o.Secret.Outdated = true, true }, adopt, rewrite,
		},
		"a token made by hand before a look": {
			func(o *Observation) { o.Adopting, o.LookAt = true, noon }, adopt, look,
		},
		"a spec that is wrong before a token that is due": {
			func(o *Observation) { o.SpecProblem, o.Now = wrongSpec, renewal }, specProblem, mint,
		},
		"a spec that is wrong before a foreign Secret": {
			func(o *Observation) { o.SpecProblem, o.Secret = wrongSpec, foreign }, specProblem, mint,
		},
		"a spec that is wrong before a Secret that is out of date": {
			func(o *Observation) { o.SpecProblem, o.Secret.Outdated = wrongSpec, true }, specProblem, rewrite,
		},
		"a spec that is wrong before an open attempt that waits for the service": {
			func(o *Observation) {
				o.SpecProblem, o.Pending, o.ServiceProblem = wrongSpec, openFourth, serviceDown
			}, specProblem, mint,
		},
		"a spec that is wrong before a look": {
			func(o *Observation) { o.SpecProblem, o.LookAt = wrongSpec, noon }, specProblem, look,
		},
		"a token that is due before a Secret that is out of date: both are written at once": {
			func(o *Observation) { o.Now, o.Secret.Outdated = renewal, true }, mint, rewrite,
		},
		"a token that is due before a look": {
			func(o *Observation) { o.Now, o.LookAt = renewal, renewal }, mint, look,
		},
		"a token that the service lost before another look": {
			func(o *Observation) { o.Missing, o.LookAt = true, noon }, mint, look,
		},
		"an open attempt that waits for its time before a look": {
			func(o *Observation) {
				o.Pending, o.LookAt, o.Failures = openFourth, noon, failing(Settle, ambiguous, soon)
			}, mint, look,
		},
		"a Secret that is out of date before a look": {
			func(o *Observation) { o.Secret.Outdated, o.LookAt = true, noon }, rewrite, look,
		},
		"a Secret that is out of date before nothing": {
			func(o *Observation) { o.Secret.Outdated = true }, rewrite, rest,
		},
		"a look before nothing": {
			func(o *Observation) { o.LookAt = noon }, look, rest,
		},
	} {
		t.Run(name, func(t *testing.T) {
			observed := healthy()
			test.change(&observed)
			earlier, later := test.earlier(&observed), test.later(&observed)
			if earlier == nil || later == nil || reflect.DeepEqual(earlier, later) {
				t.Fatalf("not two rules that differ: %s and %s", show(earlier), show(later))
			}
			got := Decide(observed)
			for _, other := range rules {
				if other.judge(&observed) != nil {
					compared[[2]string{got.Rule, other.name}] = true
				}
			}
			got.Rule = ""
			if !reflect.DeepEqual(got, *earlier) {
				t.Errorf("%s\nwant %s", show(got), show(earlier))
			}
		})
	}
	for i, rule := range rules[1:] {
		if before := rules[i].name; !compared[[2]string{before, rule.name}] {
			t.Errorf("no case in which both apply: %q and %q", before, rule.name)
		}
	}
}

func TestNextIsTheEarliestTimeThatChangesAnything(t *testing.T) {
	at := func(hours int) time.Time { return noon.Add(time.Duration(hours) * time.Hour) }
	for name, test := range map[string]struct {
		change func(*Observation)
		want   time.Time
	}{
		"the renewal":                         {func(o *Observation) { o.RenewalTime = at(1) }, at(1)},
		"the token's expiry":                  {func(o *Observation) { o.Current.Expires = at(1) }, at(1)},
		"a previous token's expiry":           {func(o *Observation) { o.Previous[1].Expires = at(1) }, at(1)},
		"the end of a previous token's grace": {func(o *Observation) { o.Previous[1].RevokeAt = at(1) }, at(1)},
		"the first of two previous tokens":    {func(o *Observation) { o.Previous[0].RevokeAt, o.Previous[1].RevokeAt = at(2), at(1) }, at(1)},
		"the end of waiting for who holds one": {func(o *Observation) {
			o.Previous[1].RevokeAt, o.Previous[1].HeldUntil = at(-1), at(2)
			o.Previous[1].Held, o.Previous[1].SeekAt = true, at(3)
		}, at(2)},
		"another search for who holds one": {func(o *Observation) {
			o.Previous[1].RevokeAt, o.Previous[1].HeldUntil = at(-1), at(2)
			o.Previous[1].Held, o.Previous[1].SeekAt = true, at(1)
		}, at(1)},
		"a look":                             {func(o *Observation) { o.LookAt = at(1) }, at(1)},
		"a restart of workloads":             {func(o *Observation) { o.RestartAt = at(1) }, at(1)},
		"the end of a closed attempt's hour": {func(o *Observation) { o.Previous = append(o.Previous, absent) }, at(1)},
		"not one that is over": {func(o *Observation) {
			o.Previous, o.ServiceProblem = append(o.Previous, absent), serviceDown
			o.Previous[2].Closed = at(-1)
		}, at(10)},
		"the hour after the expiry of a token that can't be revoked": {func(o *Observation) {
			o.Previous[0].Expires, o.ServiceProblem = at(0), serviceDown
		}, at(1)},
		"also of the current one, while the resource is being deleted": {func(o *Observation) {
			o.Deleting, o.Current.Expires, o.Failures = true, at(0), failing(Revoke, unproven, at(2))
		}, at(1)},
		"when a failed action may be tried again": {func(o *Observation) { o.Failures = failing(Revoke, unproven, at(1)) }, at(1)},
		"the first of several of them": {func(o *Observation) {
			o.Failures = map[Action]Failure{Mint: {nil, at(4)}, Settle: {nil, at(3)}, Revoke: {nil, at(2)}, Look: {nil, at(1)}}
		}, at(1)},
		"not one that may be tried already": {func(o *Observation) {
			o.Failures = map[Action]Failure{Mint: {nil, at(-1)}, Look: {nil, at(0)}}
		}, at(10)},
		"the time to try again what keeps a resource that is being deleted": {func(o *Observation) {
			o.Deleting, o.Failures = true, failing(Revoke, unproven, at(1))
		}, at(1)},
		"never the present, which is decided upon": {func(o *Observation) { o.Refusal, o.Now, o.RenewalTime = notGranted, at(9), at(9) }, at(20)},
		"never the past":                         {func(o *Observation) { o.Refusal, o.RenewalTime = notGranted, at(-1) }, at(20)},
		"for what is suspended its expiry alone": {func(o *Observation) { o.Suspended = true }, at(20)},
		"the time to try a refused write again": {func(o *Observation) {
			o.Secret = Secret{Confirmed: true, Refused: refused, RefusedAgain: true}
		}, noon.Add(RefusedRetry)},
		"the time to see again whether a token is needed": {func(o *Observation) {
			o.Deleting, o.Previous, o.Current.InUse, o.Needed = true, nil, true, othersNeedIt
		}, noon.Add(NeededRecheck)},
		"the time to read again a Secret from which no token can be taken over": {func(o *Observation) {
			o.Adopting, o.Secret.Conflict = true, managedElsewhere
		}, noon.Add(AdoptRecheck)},
		"the end of waiting for a token to be written down that is left behind": {func(o *Observation) {
			o.Deleting, o.Retain, o.Secret.State, o.Failures = true, true, SecretAbsent, failing(LeaveBehind, listFull, at(1))
		}, at(1)},
		"not the end of a storm, which has none": {func(o *Observation) {
			o.Secret, o.Mints = Secret{Confirmed: true}, minutesAgo(59, 40, 20, 10, 0)
		}, at(10)},
	} {
		t.Run(name, func(t *testing.T) {
			o := healthy()
			o.RenewalTime, o.Current.Expires = at(10), at(20)
			o.Previous = []Token{
				{Revision: 1, Replaced: at(-2), RevokeAt: at(30), Expires: at(40)},
				{Revision: 2, Replaced: at(-1), RevokeAt: at(50), Expires: at(60)},
			}
			test.change(&o)
			if plan := Decide(o); plan.Action != Wait || !plan.Next.Equal(test.want) {
				t.Errorf("%s, want to wait until %s", show(plan), test.want)
			}
		})
	}
}

func TestHoldsCurrentOnlyWithTheUnexpiredTokenInOurSecret(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Observation)
		want   bool
	}{
		"all is well":                             {func(*Observation) {}, true},
		"a token that never expires":              {func(o *Observation) { o.Current.Expires = time.Time{} }, true},
		"a moment before it expires":              {func(o *Observation) { o.Now = expiry.Add(-1) }, true},
		"the moment it expires":                   {func(o *Observation) { o.Now = expiry }, false},
		"there is no token":                       {func(o *Observation) { o.Current = nil }, false},
		"there is no Secret":                      {func(o *Observation) { o.Secret.State = SecretAbsent }, false},
		"the Secret is somebody else's":           {func(o *Observation) { o.Secret.State = SecretForeign }, false},
		"the Secret holds another value":          {func(o *Observation) { o.Secret.SHA256 = "edited" }, false},
		"the service was seen not to have it":     {func(o *Observation) { o.Missing = true }, false},
		"neither grant nor issuer matters for it": {func(o *Observation) { o.Refusal, o.IssuerProblem = notGranted, notReady }, true},
		"nor do suspension, spec and storm":       {func(o *Observation) { o.Suspended, o.SpecProblem, o.Storm = true, wrongSpec, oldStorm }, true},
		"nor whether the Secret could be written": {func(o *Observation) {
			o.Secret.Conflict, o.Secret.Refused, o.Secret.Outdated = immutable, refused, true
		}, true},
		"nor what becomes of it later, and of workloads": {func(o *Observation) {
			o.Retain, o.Abandon, o.Needed, o.RestartAt, o.Current.InUse = true, true, othersNeedIt, noon, true
		}, true},
		"nor whether the service can be asked for it now, or was": {func(o *Observation) {
			o.ServiceProblem, o.Failures, o.LookAt = serviceDown, failing(Look, roleMissing, soon), noon
		}, true},
		"the cache's word is enough": {func(o *Observation) { o.Secret.Confirmed = false }, true},
	} {
		o := healthy()
		test.change(&o)
		if got := o.HoldsCurrent(); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRenewalTimeLeavesRenewBeforeUntilTheExpiry(t *testing.T) {
	for name, test := range map[string]struct {
		life, duration, renewBefore time.Duration // life is 0 if the service names no expiry
		share                       float64
		want                        time.Duration // after the token was issued
	}{
		"no share: just renewBefore ahead of the expiry":   {90 * day, 90 * day, 30 * day, 0, 60 * day},
		"the whole share: a tenth of the duration earlier": {90 * day, 90 * day, 30 * day, 1, 51 * day},
		"half the share": {90 * day, 90 * day, 30 * day, 0.5, 55*day + 12*time.Hour},
		"the service granted less: still renewBefore ahead":                        {50 * day, 90 * day, 30 * day, 0, 20 * day},
		"exactly a tenth of the granted life is left: still renewBefore ahead":     {40 * day, 40 * day, 36 * day, 0, 4 * day},
		"less than a tenth of the granted life is left: two thirds of it":          {39 * day, 40 * day, 36 * day, 0, 26 * day},
		"the share leaves less than a tenth: two thirds of the granted life":       {39 * day, 90 * day, 30 * day, 1, 26 * day},
		"the service granted less than renewBefore: two thirds of what it granted": {time.Hour, 90 * day, 30 * day, 0, 40 * time.Minute},
		"no expiry: as if it ended with the duration":                              {0, 90 * day, 30 * day, 0, 60 * day},
		"no expiry: earlier by the share, too":                                     {0, 90 * day, 30 * day, 1, 51 * day},
		"no expiry, and less than a tenth is left: two thirds of the duration":     {0, 90 * day, 85 * day, 0, 60 * day},
		"the service granted more: as if it ended with the duration":               {365 * day, 90 * day, 30 * day, 0.5, 55*day + 12*time.Hour},
		"more, and less than a tenth is left: two thirds of the duration":          {365 * day, 90 * day, 85 * day, 0, 60 * day},
		"a moment more: no later than with the duration":                           {90*day + 1, 90 * day, 30 * day, 0, 60 * day},
	} {
		var expires time.Time
		if test.life > 0 {
			expires = noon.Add(test.life)
		}
		if got := RenewalTime(noon, expires, test.duration, test.renewBefore, test.share).Sub(noon); got != test.want {
			t.Errorf("%s: after %s, want %s", name, got, test.want)
		}
	}
}

func TestAdoptedRenewalTimeIsNoLaterThanRenewBefore(t *testing.T) {
	for name, test := range map[string]struct {
		life, duration, renewBefore time.Duration // life is 0 if the service names no expiry
		share                       float64
		want                        time.Duration // after the token was taken over
	}{
		"no share: just renewBefore ahead of the expiry":                     {90 * day, 90 * day, 30 * day, 0, 60 * day},
		"the whole share: a tenth of the duration earlier":                   {90 * day, 90 * day, 30 * day, 1, 51 * day},
		"no expiry: at once":                                                 {0, 90 * day, 30 * day, 1, 0},
		"less than renewBefore is left: at once":                             {20 * day, 90 * day, 30 * day, 0, 0},
		"just renewBefore is left: at once":                                  {30 * day, 90 * day, 30 * day, 0, 0},
		"it expired: at once":                                                {-day, 90 * day, 30 * day, 0, 0},
		"a moment more than renewBefore is left: not later than that":        {30*day + 1, 90 * day, 30 * day, 0, 1},
		"the share leaves less than a tenth: not later than renewBefore":     {33 * day, 90 * day, 30 * day, 1, 3 * day},
		"it lives longer than a token that was minted: as if it were such":   {365 * day, 90 * day, 30 * day, 0.5, 55*day + 12*time.Hour},
		"much longer, and renewBefore leaves less than a tenth of a new one": {365 * day, 90 * day, 85 * day, 0, 60 * day},
	} {
		var expires time.Time
		if test.life != 0 {
			expires = noon.Add(test.life)
		}
		if got := AdoptedRenewalTime(noon, expires, test.duration, test.renewBefore, test.share).Sub(noon); got != test.want {
			t.Errorf("%s: after %s, want %s", name, got, test.want)
		}
	}
}

func TestOnlyAMatterOfALittleTimePasses(t *testing.T) {
	for _, problem := range []*Problem{progressing, waitingForTurn, stillSettling} {
		if !problem.Passes() {
			t.Errorf("%s does not pass", problem.Reason)
		}
	}
	for _, problem := range []*Problem{
		serviceDown, notReady, limitReached, ambiguous, unproven, roleMissing, notTaken, listFull, othersNeedIt, refused, dyingNamespace,
	} {
		if problem.Passes() {
			t.Errorf("%s passes", problem.Reason)
		}
	}
}

// As long as the attempt can't be settled, nothing else tells when the credential is gone by itself.
func TestADeletionGoesOnWhenTheCredentialHasExpiredForSure(t *testing.T) {
	plan := Decide(Observation{
		Now: noon, Deleting: true, Finalizer: true, Current: &Token{Revision: 1, InUse: true, Expires: noon.Add(-30 * time.Minute)},
		Pending: &Token{Revision: 2}, Failures: map[Action]Failure{Settle: {Problem: ambiguous, Until: noon.Add(5 * time.Hour)}},
	})
	if want := noon.Add(30 * time.Minute); plan.Action != Wait || !plan.Next.Equal(want) {
		t.Errorf("the plan is to %s until %s, want to wait until %s", plan.Action, plan.Next, want)
	}
}
