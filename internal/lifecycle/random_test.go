package lifecycle

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// randomObservation is any observation in which no two tokens share a revision. outside: of a service outside of the cluster.
func randomObservation(random *rand.Rand, outside bool) Observation {
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
		made := &Token{Revision: revision, SHA256: valueOf(revision)}
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
	o.Requested = chance(15)
	o.Compromised = o.Current != nil && chance(10)
	if o.Current != nil && chance(20) {
		o.RestartAt = when()
	}
	for range random.IntN(4) {
		previous := newToken()
		if chance(60) {
			previous.Replaced, previous.RevokeAt = noon.Add(-time.Hour), when()
			if chance(50) {
				previous.HeldUntil = when()
			}
			if previous.Held = chance(40); previous.Held || chance(50) {
				previous.SeekAt = when()
			}
		} else if outside {
			previous.Closed = noon.Add(-time.Duration(random.IntN(120)) * time.Minute)
			if previous.Absent = chance(50); previous.Absent {
				previous.SHA256 = ""
			}
		}
		o.Previous = append(o.Previous, *previous)
	}
	if chance(30) {
		if o.Pending = newToken(); outside && chance(50) {
			o.Pending.SHA256 = "" // The service is yet to choose it.
		}
	}
	if chance(70) {
		o.LastRevision = int64(random.IntN(50))
	}
	if chance(10) { // A crowd that is not due.
		for len(o.Previous) < 26+random.IntN(6) {
			previous := newToken()
			previous.Expires, previous.Replaced, previous.RevokeAt = time.Time{}, noon.Add(-time.Hour), noon.Add(day)
			o.Previous = append(o.Previous, *previous)
		}
	}
	if outside {
		if chance(15) {
			o.ServiceProblem = randomServiceProblem(random)
		}
		o.Retain, o.Abandon = chance(30), chance(30)
		for i := range o.Previous {
			o.Previous[i].Refused = chance(5)
		}
		if o.Current != nil {
			o.Current.Refused = chance(5)
		}
		credential := random.IntN(5) // What is a credential was in a Secret.
		if credential == 0 && o.Current != nil {
			o.Current.InUse = true
		} else if credential < len(o.Previous) && !o.Previous[credential].Replaced.IsZero() {
			o.Previous[credential].InUse = true
		}
		if o.inUse() && chance(50) {
			o.Needed = othersNeedIt
		}
		o.Failures = randomFailures(random, noon)
		o.Missing = o.Current != nil && chance(15)
		if chance(70) {
			o.LookAt = when()
		}
	}
	if outside && chance(10) { // Nothing is there yet but what was made by hand.
		o.Adopting, o.Current, o.Pending, o.Previous, o.Needed = true, nil, nil, nil, nil
		o.RenewalTime, o.RestartAt, o.LookAt, o.Missing, o.LastRevision = time.Time{}, time.Time{}, time.Time{}, false, 0
	}
	o.Secret = randomSecret(random, &o)
	o.Secret.Confirmed = chance(50)
	if chance(20) {
		o.Secret.Refused, o.Secret.RefusedAgain = refused, chance(30)
	}
	return o
}

// randomServiceProblem may be one that passes.
func randomServiceProblem(random *rand.Rand) *Problem {
	return []*Problem{serviceDown, serviceDown, progressing}[random.IntN(3)]
}

// randomFailures are any of the actions that can fail, some of which may be tried again by now.
func randomFailures(random *rand.Rand, now time.Time) map[Action]Failure {
	failures := map[Action]Failure{}
	for _, failed := range []struct {
		action  Action
		problem *Problem
	}{
		{Mint, limitReached}, {Settle, ambiguous}, {Settle, stillSettling}, {Revoke, unproven}, {Revoke, waitingForTurn}, {Look, roleMissing},
		{Adopt, notTaken}, {Restart, notRestarted}, {LeaveBehind, listFull},
	} {
		if random.IntN(4) > 0 {
			continue
		}
		failure := Failure{Problem: failed.problem, Until: now.Add(time.Duration(random.IntN(120)-30) * time.Minute)}
		if random.IntN(3) == 0 {
			failure.Problem = nil
		}
		failures[failed.action] = failure
	}
	return failures
}

// randomSecret is any Secret that may be there beside these tokens.
func randomSecret(random *rand.Rand, o *Observation) Secret {
	secret := Secret{State: SecretState(random.IntN(3))}
	if secret.State == SecretAbsent {
		return secret
	}
	if o.Adopting { // It is nobody's yet.
		secret.State = SecretForeign
		if random.IntN(4) == 0 {
			secret.Conflict = managedElsewhere
		}
		return secret
	}
	values := []string{"", "edited"}
	if o.Current != nil {
		values = append(values, o.Current.SHA256, o.Current.SHA256, o.Current.SHA256)
	}
	if o.Pending != nil {
		values = append(values, valueOf(o.Pending.Revision))
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
	o.Previous, o.Mints, o.Failures = slices.Clone(o.Previous), slices.Clone(o.Mints), maps.Clone(o.Failures)
	return o
}

func show(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
