package lifecycle

import (
	"time"
)

var wrongSpecs = map[string]decision{
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
}

var rewrites = map[string]decision{
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
}
