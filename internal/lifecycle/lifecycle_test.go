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
	conflict   = &Problem{Reason: v1alpha1.ReasonSecretConflict, Message: "Somebody else's.", Stalled: true}

	dyingNamespace = &Problem{
		Reason:  v1alpha1.ReasonNamespaceTerminating,
		Message: "The namespace is being deleted, and this token with it; nothing is minted any more.",
	}
)

// healthy is a resource that lacks nothing: revision 3 is in the Secret, and not due for a month.
func healthy() Observation {
	return Observation{
		Now: noon, Finalizer: true, RenewalTime: renewal,
		Secret:  Secret{State: SecretOurs, SHA256: "third"},
		Current: &Token{Revision: 3, SHA256: "third", Expires: expiry},
	}
}

// begun is a resource that never had a token.
func begun() Observation { return Observation{Now: noon, Finalizer: true} }

var (
	openFourth = &Token{Revision: 4, SHA256: "fourth", Expires: expiry}
	// replaced was in the Secret until an hour ago and is due at tea-time.
	teaTime  = noon.Add(4 * time.Hour)
	replaced = Token{Revision: 2, SHA256: "second", Expires: noon.Add(day), Replaced: noon.Add(-time.Hour), RevokeAt: teaTime}
	// neverSeen is an attempt that was closed before its token was in the Secret.
	neverSeen = Token{Revision: 1, SHA256: "first", Expires: noon.Add(day)}
)

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
		"tokens are revoked whatever becomes of the namespace, the issuer and the grant": {
			healthy(), func(o *Observation) {
				o.Deleting, o.NamespaceTerminating, o.IssuerProblem, o.Refusal = true, true, notReady, notGranted
			},
			Plan{Action: Revoke, Revisions: []int64{3}},
		},
		"then the Secret is deleted": {
			begun(), func(o *Observation) { o.Deleting, o.Secret.State = true, SecretOurs },
			Plan{Action: DeleteSecret},
		},
		"a Secret of somebody else stays": {
			begun(), func(o *Observation) { o.Deleting, o.Secret.State = true, SecretForeign },
			Plan{Action: Release},
		},
		"in the end the finalizer is released": {
			begun(), func(o *Observation) { o.Deleting = true },
			Plan{Action: Release},
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
		"somebody else's Secret holds its token: it is settled": {
			healthy(), func(o *Observation) {
				o.Pending, o.Secret = openFourth, Secret{State: SecretForeign, SHA256: "fourth", Problem: conflict}
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
		"they are revoked also while the issuer is not ready and grants nothing": {
			healthy(), func(o *Observation) {
				o.Previous, o.IssuerProblem, o.Refusal = []Token{neverSeen}, notReady, notGranted
			},
			Plan{Action: Revoke, Revisions: []int64{1}},
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
	},

	"a Secret of somebody else is never written": {
		"it is in the way of the first token": {
			begun(), func(o *Observation) { o.Secret = Secret{State: SecretForeign, Problem: conflict} },
			Plan{Action: Wait, Problem: conflict},
		},
		"it took the place of ours, even with the same value": {
			healthy(), func(o *Observation) { o.Secret.State, o.Secret.Problem = SecretForeign, conflict },
			Plan{Action: Wait, Problem: conflict, Next: renewal},
		},
	},

	"a token is minted when there is none, it is lost or it is due": {
		"there never was one": {
			begun(), nil,
			Plan{Action: Mint, Revision: 1},
		},
		"the finalizer comes first": {
			begun(), func(o *Observation) { o.Finalizer = false },
			Plan{Action: AddFinalizer},
		},
		"the Secret is gone": {
			healthy(), func(o *Observation) { o.Secret = Secret{} },
			Plan{Action: Mint, Revision: 4},
		},
		"the Secret holds another value": {
			healthy(), func(o *Observation) { o.Secret.SHA256 = "edited" },
			Plan{Action: Mint, Revision: 4},
		},
		"the Secret holds no value": {
			healthy(), func(o *Observation) { o.Secret.SHA256 = "" },
			Plan{Action: Mint, Revision: 4},
		},
		"the token expired": {
			healthy(), func(o *Observation) { o.Now, o.RenewalTime = expiry, time.Time{} },
			Plan{Action: Mint, Revision: 4},
		},
		"its renewal is due": {
			healthy(), func(o *Observation) { o.Now = renewal },
			Plan{Action: Mint, Revision: 4},
		},
		"the new revision is above every previous one": {
			begun(), func(o *Observation) { o.Previous = []Token{{Revision: 7}, {Revision: 5}} },
			Plan{Action: Mint, Revision: 8},
		},
		"and above the current one": {
			healthy(), func(o *Observation) { o.Secret, o.Previous = Secret{}, []Token{replaced} },
			Plan{Action: Mint, Revision: 4},
		},
		"and above a closed attempt that came after the current one": {
			healthy(), func(o *Observation) { o.Secret, o.Previous = Secret{}, []Token{{Revision: 4}} },
			Plan{Action: Mint, Revision: 5},
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
		"about a replaced token before its grace period is over": {
			healthy(), func(o *Observation) { o.Previous, o.Now = []Token{replaced}, teaTime.Add(-1) },
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
	for name, test := range map[string]struct {
		change func(*Observation)
		want   Action
	}{
		"deletion before an open attempt that could be finished": {
			func(o *Observation) { o.Deleting, o.Pending, o.Secret.SHA256 = true, openFourth, "fourth" }, Settle,
		},
		"deletion before the namespace's": {
			func(o *Observation) { o.Deleting, o.NamespaceTerminating = true, true }, Revoke,
		},
		"deletion before a foreign Secret": {
			func(o *Observation) { o.Deleting, o.Current, o.Secret.State = true, nil, SecretForeign }, Release,
		},
		"deletion before a token that is due": {
			func(o *Observation) { o.Deleting, o.Now = true, renewal }, Revoke,
		},
		"an open attempt before previous tokens that are due": {
			func(o *Observation) { o.Pending, o.Previous = openFourth, []Token{neverSeen} }, Settle,
		},
		"an open attempt before the namespace's deletion": {
			func(o *Observation) { o.Pending, o.NamespaceTerminating = openFourth, true }, Settle,
		},
		"an open attempt before a foreign Secret": {
			func(o *Observation) { o.Pending, o.Secret.State = openFourth, SecretForeign }, Settle,
		},
		"an open attempt before a token that is due": {
			func(o *Observation) { o.Pending, o.Now = openFourth, renewal }, Settle,
		},
		"previous tokens that are due before the namespace's deletion": {
			func(o *Observation) { o.Previous, o.NamespaceTerminating = []Token{neverSeen}, true }, Revoke,
		},
		"previous tokens that are due before a foreign Secret": {
			func(o *Observation) { o.Previous, o.Secret.State = []Token{neverSeen}, SecretForeign }, Revoke,
		},
		"previous tokens that are due before a token that is": {
			func(o *Observation) { o.Previous, o.Now = []Token{neverSeen}, renewal }, Revoke,
		},
	} {
		t.Run(name, func(t *testing.T) {
			observed := healthy()
			test.change(&observed)
			if got := Decide(observed); got.Action != test.want {
				t.Errorf("%s, want %s", show(got), test.want)
			}
		})
	}
	both := healthy()
	both.NamespaceTerminating, both.Secret = true, Secret{State: SecretForeign, Problem: conflict}
	if got := Decide(both); !reflect.DeepEqual(got.Problem, dyingNamespace) {
		t.Errorf("the namespace's deletion is to be told before a foreign Secret; got %s", show(got))
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
	mostSteps    = 10
)

func TestPlansKeepTheirPromisesWhateverIsObserved(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	for n := range uint64(observations) {
		random := rand.New(rand.NewPCG(*seed, n))
		m := model{Rand: random, observed: randomObservation(random), crashes: random.IntN(2)}
		begin := show(m.observed)
		if broken := m.run(); broken != "" {
			t.Fatalf("%s\nobserved first: %s\nobserved then: %s\nplans: %s\nrepeat it with: go test ./internal/lifecycle -args -seed=%d (observation %d)",
				broken, begin, show(m.observed), show(m.plans), *seed, n)
		}
	}
}

// model is a world in which plans are carried out, now and then by a process that is killed in the middle.
type model struct {
	*rand.Rand
	observed Observation
	crashes  int
	plans    []Plan
}

// run decides and acts until there is nothing to do, and says which promise a plan broke.
func (m *model) run() (broken string) {
	for range mostSteps {
		before := clone(m.observed)
		plan := Decide(m.observed)
		m.plans = append(m.plans, plan)
		if !reflect.DeepEqual(before, m.observed) {
			return "a decision changed what it judges"
		}
		if broken := forbidden(&m.observed, &plan); broken != "" {
			return broken
		}
		if plan.Action == Wait {
			return m.waits(&plan)
		}
		m.apply(&plan)
	}
	return "no rest after " + strconv.Itoa(mostSteps) + " steps"
}

// forbidden says what a plan does that none may ever do.
func forbidden(o *Observation, plan *Plan) string {
	switch plan.Action {
	case Mint:
		switch {
		case o.Pending != nil:
			return "minted while an attempt is open"
		case o.NamespaceTerminating:
			return "minted into a namespace that is being deleted"
		case o.Deleting:
			return "minted for a resource that is being deleted"
		case o.Secret.State == SecretForeign:
			return "minted for somebody else's Secret"
		case !o.Finalizer:
			return "minted without the finalizer"
		case o.Refusal != nil || o.IssuerProblem != nil:
			return "minted though the issuer does not give it"
		case o.Current != nil && plan.Revision <= o.Current.Revision,
			slices.ContainsFunc(o.Previous, func(p Token) bool { return plan.Revision <= p.Revision }):
			return "minted under a revision that is not new"
		}
	case Revoke:
		if len(plan.Revisions) == 0 {
			return "revoked nothing"
		}
		for _, revision := range plan.Revisions {
			at := slices.IndexFunc(o.Previous, func(p Token) bool { return p.Revision == revision })
			switch {
			case at < 0 && (o.Current == nil || o.Current.Revision != revision):
				return "revoked a token that is not there"
			case o.Deleting:
			case at < 0:
				return "revoked the current token"
			case !o.Previous[at].Replaced.IsZero() && o.Previous[at].RevokeAt.After(o.Now) && !o.Previous[at].expired(o.Now):
				return "revoked a token within its grace period"
			}
		}
	case Finish:
		if o.Deleting || o.Secret.State != SecretOurs || o.Secret.SHA256 != o.Pending.SHA256 {
			return "finished an attempt whose token is not in the Secret"
		}
	case DeleteSecret:
		if !o.Deleting || o.Secret.State != SecretOurs {
			return "deleted a Secret that is not ours or is needed"
		}
	case Release:
		if !o.Deleting || o.Pending != nil || o.Current != nil || len(o.Previous) > 0 {
			return "released the finalizer while tokens live"
		}
	}
	return ""
}

// waits says what is wrong with a plan to wait: a time that is past, or one by which a change would be missed.
func (m *model) waits(plan *Plan) string {
	o := &m.observed
	if !plan.Next.IsZero() && !plan.Next.After(o.Now) {
		return "waits for what is past"
	}
	longest := 400 * day
	if !plan.Next.IsZero() {
		longest = plan.Next.Sub(o.Now)
	}
	later := clone(*o)
	later.Now = o.Now.Add(time.Duration(m.Int64N(int64(longest))))
	then := Decide(later)
	if then.Action != Wait || !reflect.DeepEqual(then.Problem, plan.Problem) {
		return "missed by waiting: " + show(then)
	}
	if !o.Deleting && later.HoldsCurrent() != o.HoldsCurrent() {
		return "missed by waiting: the token's expiry"
	}
	return ""
}

// apply carries out a plan as the engine does.
func (m *model) apply(plan *Plan) {
	o := &m.observed
	switch plan.Action {
	case AddFinalizer:
		o.Finalizer = true
	case Mint:
		value := "revision " + strconv.FormatInt(plan.Revision, 10)
		o.Pending = &Token{Revision: plan.Revision, SHA256: value, Expires: o.Now.Add(90 * day)}
		if m.killed() {
			return
		}
		o.Secret = Secret{State: SecretOurs, SHA256: value}
		if m.killed() {
			return
		}
		m.finish()
	case Finish:
		m.finish()
	case Settle:
		if shown := m.IntN(2) == 0; shown && !o.Deleting && !o.NamespaceTerminating && o.Secret.State != SecretForeign {
			o.Secret = Secret{State: SecretOurs, SHA256: o.Pending.SHA256}
			m.finish()
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
		o.Secret = Secret{}
	case Release:
		o.Finalizer = false
	}
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

// killed says whether the process ends here; some runs have one such end.
func (m *model) killed() bool {
	if m.crashes == 0 || m.IntN(2) == 0 {
		return false
	}
	m.crashes--
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
	revisions := random.Perm(12)
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
		Now: noon, Deleting: chance(20), Finalizer: chance(80), NamespaceTerminating: chance(15),
		Secret: Secret{State: SecretState(random.IntN(3))},
	}
	if chance(15) {
		o.IssuerProblem = notReady
	}
	if chance(15) {
		o.Refusal = notGranted
	}
	values := []string{"", "edited"}
	if chance(70) {
		o.Current = newToken()
		values = append(values, o.Current.SHA256, o.Current.SHA256)
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
		values = append(values, previous.SHA256)
	}
	if chance(30) {
		o.Pending = newToken()
		values = append(values, o.Pending.SHA256)
	}
	switch o.Secret.State {
	case SecretOurs:
		o.Secret.SHA256 = values[random.IntN(len(values))]
	case SecretForeign:
		o.Secret.SHA256, o.Secret.Problem = values[random.IntN(len(values))], conflict
	case SecretAbsent:
	}
	return o
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
	o.Previous = slices.Clone(o.Previous)
	return o
}

func show(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
