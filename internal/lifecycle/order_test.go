package lifecycle

import (
	"reflect"
	"testing"
)

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
