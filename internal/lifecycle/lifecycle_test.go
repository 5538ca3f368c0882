package lifecycle

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
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

	dyingNamespace = &Problem{
		Reason:  v1alpha1.ReasonNamespaceTerminating,
		Message: "The namespace is being deleted, and this token with it; nothing is minted any more.",
	}
	bare = &Problem{
		Reason:  v1alpha1.ReasonSuspended,
		Message: "Suspended, and the Secret holds no token that is valid: set spec.suspend to false to have one minted.",
	}
	newStorm = &Problem{
		Reason: v1alpha1.ReasonMintStorm, Stalled: true,
		Message: "Five tokens were minted within an hour because the one in the Secret was lost or changed each time. " +
			"Find out what changes the Secret; then change the spec, or recreate this resource, to go on.",
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
	// foreign is somebody else's Secret.
	foreign = Secret{State: SecretForeign, Confirmed: true, Conflict: conflict}
)

// severalReplaced are tokens of the revisions from 4 on; the first is due at tea-time, and then one every hour.
func severalReplaced(count int) []Token {
	tokens := make([]Token, count)
	for i := range tokens {
		tokens[i] = Token{Revision: int64(4 + i), Replaced: noon.Add(-day), RevokeAt: teaTime.Add(time.Duration(i) * time.Hour)}
	}
	return tokens
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
	"a resource that is being deleted takes its tokens with it": {
		"nothing is left to do once the finalizer is released": {
			healthy(), func(o *Observation) { o.Deleting, o.Finalizer = true, false },
			Plan{Action: Wait},
		},
		"an open attempt is settled first": {
			healthy(), func(o *Observation) { o.Deleting, o.Pending = true, openFourth },
			Plan{Action: Settle},
		},
		"an open attempt is not finished, though the Secret holds its token": {
			healthy(), func(o *Observation) { o.Deleting, o.Pending, o.Secret.SHA256 = true, openFourth, "fourth" },
			Plan{Action: Settle},
		},
		"an open attempt is settled whatever the Secret holds: it is not read for that": {
			healthy(), func(o *Observation) { o.Deleting, o.Pending, o.Secret.Confirmed = true, openFourth, false },
			Plan{Action: Settle},
		},
		"then every token is revoked, also one that has its grace period": {
			healthy(), func(o *Observation) { o.Deleting, o.Previous = true, []Token{neverSeen, replaced} },
			Plan{Action: Revoke, Revisions: []int64{1, 2, 3}},
		},
		"a current token without previous ones is revoked": {
			healthy(), func(o *Observation) { o.Deleting = true },
			Plan{Action: Revoke, Revisions: []int64{3}},
		},
		"previous tokens without a current one are revoked": {
			begun(), func(o *Observation) { o.Deleting, o.Previous = true, []Token{neverSeen} },
			Plan{Action: Revoke, Revisions: []int64{1}},
		},
		"a previous token is revoked, though the Secret holds it": {
			healthy(), func(o *Observation) { o.Deleting, o.Previous, o.Secret.SHA256 = true, []Token{replaced}, "second" },
			Plan{Action: Revoke, Revisions: []int64{2, 3}},
		},
		"tokens are revoked before anything is asked about the Secret": {
			healthy(), func(o *Observation) { o.Deleting, o.Secret = true, Secret{} },
			Plan{Action: Revoke, Revisions: []int64{3}},
		},
		"tokens are revoked whatever becomes of the namespace, the issuer and the grant": {
			healthy(), func(o *Observation) {
				o.Deleting, o.NamespaceTerminating, o.IssuerProblem, o.Refusal = true, true, notReady, notGranted
			},
			Plan{Action: Revoke, Revisions: []int64{3}},
		},
		"tokens are revoked though the resource is suspended, its spec wrong and its Secret not to be written": {
			healthy(), func(o *Observation) {
				o.Deleting, o.Suspended, o.SpecProblem, o.Storm = true, true, wrongSpec, oldStorm
				o.Secret.Conflict, o.Secret.Refused = immutable, refused
			},
			Plan{Action: Revoke, Revisions: []int64{3}},
		},
		"then the Secret is deleted": {
			begun(), func(o *Observation) { o.Deleting, o.Secret.State = true, SecretOurs },
			Plan{Action: DeleteSecret},
		},
		"the Secret is deleted as the cache shows it: the deletion finds out whether that is so": {
			begun(), func(o *Observation) { o.Deleting, o.Secret = true, Secret{State: SecretOurs} },
			Plan{Action: DeleteSecret},
		},
		"an immutable Secret is deleted, also of a suspended resource": {
			begun(), func(o *Observation) {
				o.Deleting, o.Suspended, o.Secret.State, o.Secret.Conflict = true, true, SecretOurs, immutable
			},
			Plan{Action: DeleteSecret},
		},
		"that the cache shows no Secret does not mean that there is none": {
			begun(), func(o *Observation) { o.Deleting, o.Secret.Confirmed = true, false },
			Plan{Action: ReadSecret},
		},
		"that the cache shows somebody else's Secret does not mean that it is": {
			begun(), func(o *Observation) {
				o.Deleting, o.Secret = true, foreign
				o.Secret.Confirmed = false
			},
			Plan{Action: ReadSecret},
		},
		"a Secret of somebody else stays": {
			begun(), func(o *Observation) { o.Deleting, o.Secret = true, foreign },
			Plan{Action: Release},
		},
		"in the end the finalizer is released": {
			begun(), func(o *Observation) { o.Deleting = true },
			Plan{Action: Release},
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
		"the Secret is not even read": {
			begun(), func(o *Observation) { o.NamespaceTerminating, o.Secret.Confirmed = true, false },
			Plan{Action: Wait, Problem: dyingNamespace},
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

	"previous tokens that are due are revoked": {
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
		"the new revision is above every previous one": {
			begun(), func(o *Observation) { o.Previous = []Token{{Revision: 7}, {Revision: 5}} },
			Plan{Action: Mint, Revision: 8, Unscheduled: true},
		},
		"and above the current one": {
			robbed(), func(o *Observation) { o.Previous = []Token{replaced} },
			Plan{Action: Mint, Revision: 4, Unscheduled: true},
		},
		"and above a closed attempt that came after the current one": {
			robbed(), func(o *Observation) { o.Previous = []Token{{Revision: 4}} },
			Plan{Action: Mint, Revision: 5, Unscheduled: true},
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
		"an open attempt before a Secret that is out of date": {
			func(o *Observation) { o.Pending, o.Secret.Outdated = openFourth, true }, openAttempt, rewrite,
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
		"a spec that is wrong before a token that is due": {
			func(o *Observation) { o.SpecProblem, o.Now = wrongSpec, renewal }, specProblem, mint,
		},
		"a spec that is wrong before a foreign Secret": {
			func(o *Observation) { o.SpecProblem, o.Secret = wrongSpec, foreign }, specProblem, mint,
		},
		"a spec that is wrong before a Secret that is out of date": {
			func(o *Observation) { o.SpecProblem, o.Secret.Outdated = wrongSpec, true }, specProblem, rewrite,
		},
		"a token that is due before a Secret that is out of date: both are written at once": {
			func(o *Observation) { o.Now, o.Secret.Outdated = renewal, true }, mint, rewrite,
		},
		"a Secret that is out of date before nothing": {
			func(o *Observation) { o.Secret.Outdated = true }, rewrite, rest,
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
		"the renewal":                              {func(o *Observation) { o.RenewalTime = at(1) }, at(1)},
		"the token's expiry":                       {func(o *Observation) { o.Current.Expires = at(1) }, at(1)},
		"a previous token's expiry":                {func(o *Observation) { o.Previous[1].Expires = at(1) }, at(1)},
		"the end of a previous token's grace":      {func(o *Observation) { o.Previous[1].RevokeAt = at(1) }, at(1)},
		"the first of two previous tokens":         {func(o *Observation) { o.Previous[0].RevokeAt, o.Previous[1].RevokeAt = at(2), at(1) }, at(1)},
		"never the present, which is decided upon": {func(o *Observation) { o.Refusal, o.Now, o.RenewalTime = notGranted, at(9), at(9) }, at(20)},
		"never the past":                           {func(o *Observation) { o.Refusal, o.RenewalTime = notGranted, at(-1) }, at(20)},
		"for what is suspended its expiry alone":   {func(o *Observation) { o.Suspended = true }, at(20)},
		"the time to try a refused write again": {func(o *Observation) {
			o.Secret = Secret{Confirmed: true, Refused: refused, RefusedAgain: true}
		}, noon.Add(RefusedRetry)},
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
		"neither grant nor issuer matters for it": {func(o *Observation) { o.Refusal, o.IssuerProblem = notGranted, notReady }, true},
		"nor do suspension, spec and storm":       {func(o *Observation) { o.Suspended, o.SpecProblem, o.Storm = true, wrongSpec, oldStorm }, true},
		"nor whether the Secret could be written": {func(o *Observation) {
			o.Secret.Conflict, o.Secret.Refused, o.Secret.Outdated = immutable, refused, true
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
		life, duration, renewBefore time.Duration
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
	} {
		expires := noon.Add(test.life)
		if got := RenewalTime(noon, expires, test.duration, test.renewBefore, test.share).Sub(noon); got != test.want {
			t.Errorf("%s: after %s, want %s", name, got, test.want)
		}
	}
}

// The property test draws its observations from this seed, or a new one each time if it is 0.
var seed = flag.Uint64("seed", 0, "of the property test; 0: a new one")

const (
	observations = 20_000
	// mostSteps is how many decisions one reconcile may take. The engine gives up after as many.
	mostSteps = 12
	// mostPrevious is how many previous tokens the schema of the status allows.
	mostPrevious = 32
)

func TestPlansKeepTheirPromisesWhateverIsObserved(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	for n := range uint64(observations) {
		m := newModel(rand.New(rand.NewPCG(*seed, n)))
		if broken := m.run(); broken != "" {
			t.Fatalf("%s\nobserved first: %s\nobserved then: %s\nplans: %s\nrepeat it with: go test ./internal/lifecycle -args -seed=%d (observation %d)",
				broken, show(m.began), show(m.observed), show(m.plans), *seed, n)
		}
	}
}

// model is a world in which plans are carried out, now and then by a process that is killed in the middle, and in which
// others do this and that between one reconcile and the next.
type model struct {
	*rand.Rand
	observed Observation
	// live is the Secret that the API server has, before the one that it had; unlabeled: the cache does not show it.
	live, before Secret
	unlabeled    bool
	// refuses: the API server does not let the Secret be written.
	refuses bool
	// thief: all that others do is to take the token out of the Secret, or to put another one there.
	thief bool
	// minted is when tokens were minted that were not due, since the spec changed.
	minted []time.Time

	crashes, reconciles int
	// began is what the reconcile observed first, and plans are what it decided.
	began Observation
	plans []Plan
}

func newModel(random *rand.Rand) *model {
	m := &model{Rand: random, observed: randomObservation(random), crashes: random.IntN(2), reconciles: 1 + random.IntN(4)}
	m.live = m.observed.Secret
	if m.refuses = m.chance(25); m.chance(10) {
		m.thief, m.reconciles = true, 10
	}
	if !m.observed.Secret.Confirmed && m.chance(50) { // The cache is behind.
		m.live = randomSecret(random, &m.observed)
	}
	m.began = clone(m.observed)
	return m
}

func (m *model) chance(percent int) bool { return m.IntN(100) < percent }

// run decides and acts until there is nothing to do, several times, and says which promise a plan broke.
func (m *model) run() (broken string) {
	for {
		before := clone(m.observed)
		plan := Decide(m.observed)
		m.plans = append(m.plans, plan)
		if !reflect.DeepEqual(before, m.observed) {
			return "a decision changed what it judges"
		}
		if broken := m.forbidden(&plan); broken != "" {
			return broken
		}
		if plan.Action == Wait {
			broken := m.waits(&plan)
			if m.reconciles--; broken != "" || m.reconciles == 0 {
				return broken
			}
			m.others(&plan)
			continue
		}
		if len(m.plans) == mostSteps {
			return "no rest after " + strconv.Itoa(mostSteps) + " steps"
		}
		m.apply(&plan)
		if len(m.observed.Previous) > mostPrevious {
			return "more previous tokens than the status can hold"
		}
	}
}

// forbidden says what a plan does that none may ever do.
func (m *model) forbidden(plan *Plan) string {
	o := &m.observed
	switch plan.Action {
	case Mint:
		switch due := !o.RenewalTime.IsZero() && !o.Now.Before(o.RenewalTime); {
		case o.HoldsCurrent() && !due:
			return "minted for nothing"
		case plan.Unscheduled == o.HoldsCurrent():
			return "took a lost token for one that is due, or the other way round"
		case !o.Finalizer:
			return "minted without the finalizer"
		case o.Refusal != nil || o.IssuerProblem != nil:
			return "minted though the issuer does not give it"
		case plan.Unscheduled && o.Storm != nil:
			return "minted in a storm"
		case plan.Unscheduled && max(within(o.Now, o.Mints), within(o.Now, m.minted)) >= MaxUnscheduledMints:
			return "minted too often within an hour"
		case len(o.Previous) >= MaxPrevious:
			return "minted beside too many previous tokens"
		case o.Current != nil && plan.Revision <= o.Current.Revision,
			slices.ContainsFunc(o.Previous, func(p Token) bool { return plan.Revision <= p.Revision }):
			return "minted under a revision that is not new"
		}
		return m.mayWrite()
	case Rewrite:
		if !o.HoldsCurrent() || !o.Secret.Outdated {
			return "rewrote a Secret that was up to date, or to be replaced"
		}
		return m.mayWrite()
	case TryWrite:
		if o.Secret.Refused == nil || o.Secret.RefusedAgain {
			return "tried what was not refused, or was tried before"
		}
		unrefused := *m
		unrefused.observed.Secret.Refused = nil
		return unrefused.mayWrite()
	case ReadSecret:
		if o.Secret.Confirmed {
			return "read the Secret again"
		}
	case AddFinalizer:
		if o.Finalizer || o.Deleting {
			return "added a finalizer that is there, or can't be"
		}
	case Revoke:
		return m.mayRevoke(plan.Revisions)
	case Settle:
		if o.Pending == nil || (!o.Secret.Confirmed && !o.Deleting) {
			return "settled what is not open, or may be finished"
		}
	case Finish:
		if o.Deleting || !o.Secret.Confirmed || o.Secret.State != SecretOurs || o.Secret.SHA256 != o.Pending.SHA256 {
			return "finished an attempt whose token is not in the Secret"
		}
	case DeleteSecret:
		if !o.Deleting || o.Secret.State != SecretOurs || o.exists() {
			return "deleted a Secret that is not ours or is needed"
		}
	case Release:
		if !o.Deleting || o.exists() || m.live.State == SecretOurs {
			return "released the finalizer while tokens live, or their Secret"
		}
	}
	return ""
}

// mayWrite says why the Secret may not be written now, with whatever token.
func (m *model) mayWrite() string {
	switch o := &m.observed; {
	case o.Pending != nil:
		return "wrote while an attempt is open"
	case o.NamespaceTerminating:
		return "wrote into a namespace that is being deleted"
	case o.Deleting:
		return "wrote for a resource that is being deleted"
	case o.Suspended:
		return "wrote for a resource that is suspended"
	case o.SpecProblem != nil:
		return "wrote for a spec that is wrong"
	case !o.Secret.Confirmed:
		return "wrote before the Secret was read"
	case o.Secret.State == SecretForeign || o.Secret.Conflict != nil:
		return "wrote a Secret that is somebody else's or immutable"
	case o.Secret.Refused != nil:
		return "wrote what is refused"
	}
	return ""
}

// mayRevoke says why one of these tokens may not be revoked now.
func (m *model) mayRevoke(revisions []int64) string {
	o := &m.observed
	switch {
	case len(revisions) == 0:
		return "revoked nothing"
	case o.Suspended && !o.Deleting:
		return "revoked while suspended"
	}
	for _, revision := range revisions {
		at := slices.IndexFunc(o.Previous, func(p Token) bool { return p.Revision == revision })
		if at < 0 && (o.Current == nil || o.Current.Revision != revision) {
			return "revoked a token that is not there"
		}
		if o.Deleting || at >= 0 && o.Previous[at].expired(o.Now) {
			continue
		}
		if at < 0 {
			return "revoked the current token"
		}
		switch previous := o.Previous[at]; {
		case m.live.State == SecretOurs && m.live.SHA256 == previous.SHA256:
			return "revoked what the Secret holds"
		case previous.Replaced.IsZero() && (o.Current == nil || o.Current.Revision < revision):
			return "revoked an attempt that may still be on its way into the Secret"
		case previous.RevokeAt.After(o.Now):
			return "revoked a token within its grace period"
		}
	}
	return ""
}

// within counts the times that are less than an hour from now.
func within(now time.Time, times []time.Time) int {
	count := 0
	for _, at := range times {
		if now.Sub(at).Abs() < time.Hour {
			count++
		}
	}
	return count
}

// exists says whether there is a token, or may be one.
func (o *Observation) exists() bool {
	return o.Current != nil || o.Pending != nil || len(o.Previous) > 0
}

// waits says what is wrong with a plan to wait: a cause that is none, a time that is past, or one by which a change
// would be missed.
func (m *model) waits(plan *Plan) string {
	o := &m.observed
	if o.Deleting {
		if o.Finalizer {
			return "keeps a resource that is to go"
		}
		return ""
	}
	if !m.because(plan.Problem) {
		return "waits without cause"
	}
	if there := o.Current != nil && !o.Current.expired(o.Now); there && !o.HoldsCurrent() && !o.Secret.Confirmed && !o.NamespaceTerminating {
		return "says that the token is lost before the Secret was read"
	}
	if !plan.Next.IsZero() && !plan.Next.After(o.Now) {
		return "waits for what is past"
	}
	if plan.Problem == o.Secret.Refused && o.Secret.Refused != nil && (plan.Next.IsZero() || plan.Next.After(o.Now.Add(RefusedRetry))) {
		return "waits too long with a write that is refused"
	}
	longest := 400 * day
	if !plan.Next.IsZero() {
		longest = plan.Next.Sub(o.Now)
	}
	later := clone(*o)
	later.Storm = storm(plan)
	later.Now = o.Now.Add(time.Duration(m.Int64N(int64(longest))))
	then := Decide(later)
	if then.Action != Wait || !reflect.DeepEqual(then.Problem, plan.Problem) {
		return "missed by waiting: " + show(then)
	}
	if later.HoldsCurrent() != o.HoldsCurrent() {
		return "missed by waiting: the token's expiry"
	}
	return ""
}

// because says whether a problem, or none, is what keeps a token from being minted, or from being as it should be.
func (m *model) because(problem *Problem) bool {
	o := &m.observed
	unblocked := !o.Suspended && !o.NamespaceTerminating && o.SpecProblem == nil
	outdated := o.HoldsCurrent() && o.Secret.Outdated
	if problem == nil {
		return o.HoldsCurrent() && (o.Suspended || unblocked && !outdated)
	}
	switch problem.Reason {
	case v1alpha1.ReasonNamespaceTerminating:
		return o.NamespaceTerminating
	case v1alpha1.ReasonSuspended:
		return o.Suspended && !o.HoldsCurrent()
	case v1alpha1.ReasonInvalidTemplate:
		return problem == o.SpecProblem && !o.Suspended
	case v1alpha1.ReasonNotGranted:
		return problem == o.Refusal && (unblocked && !outdated || o.Suspended)
	case v1alpha1.ReasonIssuerNotReady:
		return problem == o.IssuerProblem && unblocked && !outdated
	case v1alpha1.ReasonSecretConflict:
		return problem == o.Secret.Conflict && o.Secret.Confirmed && unblocked
	case v1alpha1.ReasonSecretRefused:
		return problem == o.Secret.Refused && o.Secret.RefusedAgain && unblocked
	case v1alpha1.ReasonMintStorm:
		return !o.HoldsCurrent() && (problem == o.Storm || within(o.Now, o.Mints) >= MaxUnscheduledMints) && unblocked
	case v1alpha1.ReasonTooManyPrevious:
		return len(o.Previous) >= MaxPrevious && unblocked && !outdated
	default:
		return false
	}
}

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
	switch {
	case m.thief:
		deed = 0
	case !plan.Next.IsZero() && m.chance(50):
		o.Now = plan.Next
	}
	switch deed {
	case 0, 1: // Somebody takes the token away, and perhaps puts one there that is an older one.
		stolen := Secret{State: SecretState(m.IntN(2))}
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
		o.Storm, o.Mints, m.minted = nil, nil, nil
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
	m.observed.Secret.RefusedAgain = false
	m.began, m.plans = clone(m.observed), nil
}

func (m *model) see(secret Secret, confirmed bool) {
	o := &m.observed
	secret.Confirmed, secret.Refused, secret.RefusedAgain = confirmed, o.Secret.Refused, o.Secret.RefusedAgain
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
			if seen := &o.Previous[i]; o.Secret.State == SecretOurs && o.Secret.SHA256 == seen.SHA256 && seen.Replaced.IsZero() {
				seen.Replaced, seen.RevokeAt = o.Now, o.Now.Add(day)
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
	case Mint:
		value := "revision " + strconv.FormatInt(plan.Revision, 10)
		o.Pending = &Token{Revision: plan.Revision, SHA256: value, Expires: o.Now.Add(90 * day)}
		if plan.Unscheduled {
			o.Mints = append(o.Mints, o.Now)
			o.Mints = o.Mints[max(0, len(o.Mints)-MaxUnscheduledMints):]
			m.minted = append(m.minted, o.Now)
		}
		if m.killed() {
			return
		}
		m.write()
	case Finish:
		m.finish()
	case Settle:
		shown := m.chance(50)
		if shown && !o.Deleting && !o.NamespaceTerminating && o.Secret.Conflict == nil && o.Secret.Refused == nil {
			m.write()
			return
		}
		o.Previous = append(o.Previous, Token{Revision: o.Pending.Revision, SHA256: o.Pending.SHA256, Expires: o.Pending.Expires})
		o.Pending = nil
	case Revoke:
		revoked := func(p Token) bool { return slices.Contains(plan.Revisions, p.Revision) }
		o.Previous = slices.DeleteFunc(o.Previous, revoked)
		if o.Current != nil && revoked(*o.Current) {
			o.Current, o.RenewalTime = nil, time.Time{}
		}
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

// tryWrite is a dry run.
func (m *model) tryWrite() {
	o := &m.observed
	if o.Secret.Refused = nil; m.refuses {
		o.Secret.Refused, o.Secret.RefusedAgain = refused, true
	}
}

// write puts the token of the open attempt into the Secret, unless that is refused.
func (m *model) write() {
	if m.refuses {
		m.tryWrite()
		return
	}
	m.put(Secret{State: SecretOurs, SHA256: m.observed.Pending.SHA256})
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
		previous := *o.Current
		previous.Replaced, previous.RevokeAt = o.Now, o.Now.Add(day)
		o.Previous = append(o.Previous, previous)
	}
	o.Current, o.Pending = o.Pending, nil
	if o.RenewalTime = (time.Time{}); !o.Current.Expires.IsZero() {
		o.RenewalTime = RenewalTime(o.Now, o.Current.Expires, 90*day, 30*day, m.Float64())
	}
}

// killed says whether the process ends here; some runs have one such end. Another process begins anew.
func (m *model) killed() bool {
	if m.crashes == 0 || m.IntN(2) == 0 {
		return false
	}
	m.crashes--
	m.begin()
	return true
}

// randomObservation is any observation in which no two tokens share a revision.
func randomObservation(random *rand.Rand) Observation {
	chance := func(percent int) bool { return random.IntN(100) < percent }
	when := func() time.Time {
		if chance(10) {
			return noon
		}
		return noon.Add(time.Duration(random.IntN(200)-100) * time.Hour)
	}
	revisions := random.Perm(40)
	newToken := func() *Token {
		revision := int64(revisions[0]) + 1
		revisions = revisions[1:]
		made := &Token{Revision: revision, SHA256: "revision " + strconv.FormatInt(revision, 10)}
		if chance(80) {
			made.Expires = when()
		}
		return made
	}

	o := Observation{
		Now: noon, Deleting: chance(15), Finalizer: chance(80), NamespaceTerminating: chance(10), Suspended: chance(10),
	}
	if chance(15) {
		o.IssuerProblem = notReady
	}
	if chance(15) {
		o.Refusal = notGranted
	}
	if chance(10) {
		o.SpecProblem = wrongSpec
	}
	if chance(10) {
		o.Storm = oldStorm
	}
	for range random.IntN(6) {
		o.Mints = append(o.Mints, noon.Add(-time.Duration(random.IntN(100))*time.Minute))
	}
	if chance(10) {
		o.Mints = append(o.Mints, noon.Add(365*day))
	}
	if chance(70) {
		o.Current = newToken()
	}
	if chance(70) {
		o.RenewalTime = when()
	}
	for range random.IntN(4) {
		previous := newToken()
		if chance(60) {
			previous.Replaced, previous.RevokeAt = noon.Add(-time.Hour), when()
		}
		o.Previous = append(o.Previous, *previous)
	}
	if chance(30) {
		o.Pending = newToken()
	}
	if chance(10) { // A crowd that is not due.
		for len(o.Previous) < 26+random.IntN(6) {
			previous := newToken()
			previous.Expires, previous.Replaced, previous.RevokeAt = time.Time{}, noon.Add(-time.Hour), noon.Add(day)
			o.Previous = append(o.Previous, *previous)
		}
	}
	o.Secret = randomSecret(random, &o)
	o.Secret.Confirmed = chance(50)
	if chance(20) {
		o.Secret.Refused, o.Secret.RefusedAgain = refused, chance(30)
	}
	return o
}

// randomSecret is any Secret that may be there beside these tokens.
func randomSecret(random *rand.Rand, o *Observation) Secret {
	secret := Secret{State: SecretState(random.IntN(3))}
	if secret.State == SecretAbsent {
		return secret
	}
	values := []string{"", "edited"}
	if o.Current != nil {
		values = append(values, o.Current.SHA256, o.Current.SHA256, o.Current.SHA256)
	}
	if o.Pending != nil {
		values = append(values, o.Pending.SHA256)
	}
	for i := range min(3, len(o.Previous)) {
		values = append(values, o.Previous[i].SHA256)
	}
	secret.SHA256, secret.Outdated = values[random.IntN(len(values))], random.IntN(3) == 0
	switch {
	case secret.State == SecretForeign:
		secret.Conflict = conflict
	case random.IntN(10) == 0:
		secret.Conflict = immutable
	}
	return secret
}

func clone(o Observation) Observation {
	if o.Current != nil {
		current := *o.Current
		o.Current = &current
	}
	if o.Pending != nil {
		pending := *o.Pending
		o.Pending = &pending
	}
	o.Previous, o.Mints = slices.Clone(o.Previous), slices.Clone(o.Mints)
	return o
}

func show(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
