package lifecycle

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

type decision struct {
	observed Observation
	change   func(*Observation)
	want     Plan
}

// decisions has the cases of every rule, under the rule's name.
var decisions = map[string]map[string]decision{
	"a resource that is being deleted takes its tokens with it":                deletions,
	"in a namespace that is gone tokens are revoked, and nothing else is done": goneNamespaces,
	"nothing is minted into a namespace that is being deleted":                 dyingNamespaces,
	"whatever exists at the service is held by the finalizer":                  finalizers,
	"an open attempt is settled before anything else is begun":                 openAttempts,
	"a suspended resource is left as it is":                                    suspensions,
	"a previous token is not revoked before it is known who holds it":          holders,
	"previous tokens that are due are revoked":                                 revocations,
	"workloads are restarted once they would be given the token in the Secret": restarts,
	"nothing is written for a spec that is wrong":                              wrongSpecs,
	"a token made by hand is taken over before any is minted":                  adoptions,
	"a token is minted when there is none, it is lost or it is due":            mints,
	"the Secret's other keys and metadata follow the spec":                     rewrites,
	"the service is looked at now and then":                                    looks,
	"otherwise there is nothing to do":                                         waits,
}

func TestThePageHasTheRulesInTheirOrder(t *testing.T) {
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(page), "The rules, in their order:\n\n")
	list, _, _ = strings.Cut(list, "\n\n")
	var numbered []string
	for line := range strings.Lines(list) {
		if !strings.HasPrefix(line, " ") {
			numbered = append(numbered, strings.TrimSpace(line))
		}
	}
	if len(numbered) != len(rules) {
		t.Fatalf("docs/architecture.md has %d rules, but there are %d", len(numbered), len(rules))
	}
	for i, rule := range rules {
		if want := fmt.Sprintf("%d. %s", i+1, rule.name); !strings.HasPrefix(numbered[i], want) {
			t.Errorf("docs/architecture.md has %q, want %q", numbered[i], want)
		}
	}
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
