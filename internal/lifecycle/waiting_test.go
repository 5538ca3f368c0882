package lifecycle

import (
	"time"
)

var looks = map[string]decision{
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
}

var waits = map[string]decision{
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
}
