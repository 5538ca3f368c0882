package lifecycle

import (
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

var adoptions = map[string]decision{
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
}

var mints = map[string]decision{
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
	"but not if it is in wrong hands": {
		healthy(), func(o *Observation) { o.Compromised, o.Requested, o.Previous = true, true, severalReplaced(3) },
		Plan{Action: Mint, Revision: 7},
	},
	"it is in wrong hands, and nobody asked": {
		healthy(), func(o *Observation) { o.Compromised, o.Previous = true, severalReplaced(29) },
		Plan{Action: Mint, Revision: 33},
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
}
