package lifecycle

import (
	"time"
)

var holders = map[string]decision{
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
}

var revocations = map[string]decision{
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
}

var restarts = map[string]decision{
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
}
