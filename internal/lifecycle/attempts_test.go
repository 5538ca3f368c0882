package lifecycle

import (
	"time"
)

var goneNamespaces = map[string]decision{
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
}

var dyingNamespaces = map[string]decision{
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
}

var finalizers = map[string]decision{
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
}

var openAttempts = map[string]decision{
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
}

var suspensions = map[string]decision{
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
}
