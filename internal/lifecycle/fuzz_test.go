package lifecycle

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// chosen is a source of random numbers that are not: as long as there are bytes, each decides one draw.
type chosen struct {
	bytes []byte
	rest  *rand.PCG
}

func newChosen(bytes []byte) *rand.Rand {
	return rand.New(&chosen{bytes, rand.NewPCG(uint64(len(bytes)), 0)})
}

// Uint64 implements rand.Source. The byte is where a draw out of 2, of 100 and of 40 alike looks; the rest is never the same
// twice, since a draw that is not uniform is repeated.
func (c *chosen) Uint64() uint64 {
	drawn := c.rest.Uint64()
	if len(c.bytes) == 0 {
		return drawn
	}
	b := uint64(c.bytes[0])
	c.bytes = c.bytes[1:]
	return drawn&^(0xff<<56|0xff) | b<<56 | b
}

// The promises are the property test's, and so is the world in which plans are carried out; here it is led where there is
// something new.
func FuzzPlansKeepTheirPromisesWhereverTheWorldIsLed(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 20 {
		script := make([]byte, 40*n)
		for i := range script {
			script[i] = byte(random.UintN(256))
		}
		f.Add(script)
	}
	f.Add(make([]byte, 400))
	f.Fuzz(func(t *testing.T, script []byte) {
		const most = 4096 // No run draws more.
		m := newModel(newChosen(script[:min(len(script), most)]))
		if broken := m.run(); broken != "" {
			t.Fatalf("%s\nobserved first: %s\nobserved then: %s\nplans: %s", broken, show(m.began), show(m.observed), show(m.plans))
		}
	})
}

// serviceActions are those that need the service.
var serviceActions = []Action{Mint, Settle, Revoke, Look, Adopt}

// An observation may be anything: a status of another version, or one that somebody has made up. What is decided on it is
// still one of the actions, with what belongs to it, and breaks none of the promises that don't depend on a status that makes
// sense; and carried out step by step it comes to rest.
func FuzzADecisionOnWhateverIsObservedIsHarmless(f *testing.F) {
	random := rand.New(rand.NewPCG(3, 4))
	for n := range 60 {
		f.Add([]byte(show(randomObservation(random, n%2 == 0))))
	}
	for _, text := range []string{
		`{"Now":"2026-08-01T12:00:00Z"}`, `{"Now":"9999-12-31T23:59:59Z","Finalizer":true,"Current":{"Revision":9223372036854775806,"Expires":"9999-12-31T23:59:59Z"}}`,
		`{"Now":"2026-08-01T12:00:00Z","Finalizer":true,"LastRevision":-9223372036854775808,"Previous":[{"Revision":-1},{"Revision":0}],"Secret":{"Confirmed":true}}`,
		`{"Now":"2026-08-01T12:00:00Z","Finalizer":true,"Current":{"Revision":1,"SHA256":"a"},"Previous":[{"Revision":1,"SHA256":"b","Replaced":"2026-01-01T00:00:00Z"}],"Secret":{"State":1,"SHA256":"a","Confirmed":true}}`,
		`{"Now":"2026-08-01T12:00:00Z","Finalizer":true,"Previous":[{"Revision":1,"SHA256":"a","Replaced":"2026-01-01T00:00:00Z","RevokeAt":"2026-01-02T00:00:00Z"}],"Secret":{"State":1,"SHA256":"a","Confirmed":true}}`,
		`{"Now":"2026-08-01T12:00:00Z","Finalizer":true,"NamespaceGone":true,"Current":{"Revision":1,"SHA256":"a"},"Pending":{"Revision":2},"Secret":{"State":1,"SHA256":"a","Confirmed":true}}`,
		`{"Now":"2026-08-01T12:00:00Z","Finalizer":true,"LastRevision":1000000000,"Secret":{"Confirmed":true}}`,
		`{"Now":"2026-08-01T12:00:00Z","Finalizer":true,"Secret":{"State":2,"Confirmed":true}}`, // Somebody else's, and nobody said so.
		`{"Now":"2026-08-01T12:00:00Z","Finalizer":true,"Current":{"Revision":2,"SHA256":""},"Pending":{"Revision":2},"Secret":{"State":1,"SHA256":""}}`,
		`{"Now":"2026-08-01T12:00:00Z","Deleting":true,"Finalizer":true,"Retain":true,"Pending":{"Revision":1,"SHA256":"a"},"Secret":{"State":1,"SHA256":"a"}}`,
		`{"Now":"2026-08-01T12:00:00Z","Failures":{"Mint":{"Until":"2027-08-01T12:00:00Z"},"Nonsense":{"Until":"2027-08-01T12:00:00Z"}},"Secret":{"State":7,"Confirmed":true}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var o Observation
		if json.Unmarshal(text, &o) != nil || len(o.Previous) > mostPrevious {
			t.Skip("no observation, or one with more previous tokens than the schema lets be")
		}
		if o.Secret.Refused == nil {
			o.Secret.RefusedAgain = false // The operator, and nobody else, says both.
		}
		if o.Now.Year() < 1970 {
			t.Skip("the zero time means that something never was, and no clock shows it")
		}
		m := &model{Rand: rand.New(rand.NewPCG(5, 6)), observed: o, live: o.Secret, outside: true, restarted: map[int64]bool{}}
		m.live.Confirmed, m.live.Refused, m.live.RefusedAgain, m.live.Tried = false, nil, false, false
		for range mostSteps {
			before, spare := clone(m.observed), slices.Clone(spareOf(m.observed.Previous))
			plan := Decide(m.observed)
			m.plans = append(m.plans, plan)
			if !reflect.DeepEqual(before, m.observed) || !slices.Equal(spare, spareOf(m.observed.Previous)) {
				t.Fatal("a decision changed what it judges")
			}
			if !reflect.DeepEqual(Decide(clone(m.observed)), plan) {
				t.Fatal("two decisions on the same differ")
			}
			if broken := harm(&m.observed, &plan); broken != "" {
				t.Fatalf("%s\nobserved: %s\nplans: %s", broken, show(m.observed), show(m.plans))
			}
			if plan.Action == Wait {
				return
			}
			if !sensible(&m.observed) {
				return // The API server lets no such status be written, so nothing can come of it.
			}
			if broken := m.forbidden(&plan); broken != "" {
				t.Fatalf("%s\nobserved: %s\nplans: %s", broken, show(m.observed), show(m.plans))
			}
			m.apply(&plan)
		}
		t.Fatalf("no rest after %d steps\nobserved: %s\nplans: %s", mostSteps, show(m.observed), show(m.plans))
	})
}

// sensible is what the schema lets be: no two tokens share a revision, and all count from 1 to the highest.
func sensible(o *Observation) bool {
	revisions := map[int64]bool{}
	tokens := o.tokens()
	if o.Pending != nil {
		tokens = append(slices.Clone(tokens), *o.Pending)
	}
	for i := range tokens {
		r := tokens[i].Revision
		if r < 1 || r > v1alpha1.MaxRevision || revisions[r] {
			return false
		}
		revisions[r] = true
	}
	return o.LastRevision >= 0 && o.LastRevision <= v1alpha1.MaxRevision
}

// harm says what a plan does that none may do, whatever was observed.
func harm(o *Observation, plan *Plan) string {
	lives := !o.Deleting
	_, failed := o.failed(plan.Action)
	switch {
	case plan.Rule == "":
		return "no rule says so"
	case plan.Action != Wait && (!plan.Next.IsZero() || plan.Problem != nil):
		return "did something and waits"
	case plan.Action == Wait && !plan.Next.IsZero() && !plan.Next.After(o.Now):
		return "waits for what is past"
	case o.ServiceProblem != nil && slices.Contains(serviceActions, plan.Action):
		return "asked a service that can't be asked"
	case plan.Action != Wait && failed:
		return "did again what failed, before its time"
	case o.NamespaceGone && plan.Action != Wait && plan.Action != Revoke:
		return "did something in a namespace that does not exist"
	case lives && !o.NamespaceGone && o.NamespaceTerminating && plan.Action != Wait:
		return "did something in a namespace that is being deleted"
	case lives && !o.NamespaceGone && o.Suspended && !slices.Contains([]Action{Wait, AddFinalizer, ReadSecret, Finish, Settle}, plan.Action):
		return "did something for a resource that is suspended"
	case o.Deleting && !o.NamespaceGone && !o.Finalizer && plan.Action != Wait:
		return "did something for a resource that is gone"
	}
	switch plan.Action {
	case Wait:
		return ""
	case Mint, Rewrite, Adopt, TryWrite:
		switch {
		case !lives || o.Pending != nil || o.SpecProblem != nil || !o.Secret.Confirmed || o.Secret.Conflict != nil:
			return "was about to write what must not be written"
		case (plan.Action == Mint || plan.Action == Adopt) && (!o.Finalizer || o.Refusal != nil || o.IssuerProblem != nil):
			return "was about to make a token without the finalizer, or the issuer's leave"
		case (plan.Action == Mint || plan.Action == Rewrite) && o.Secret.Refused != nil:
			return "was about to write what is refused"
		case plan.Action == Mint && (o.Adopting || len(o.Previous) >= MaxPrevious):
			return "was about to make a token too many"
		case plan.Action == Mint && plan.Unscheduled && (o.Storm != nil || within(o.Now, o.Mints) >= MaxUnscheduledMints):
			return "was about to make a token in a storm"
		case plan.Action == Mint && o.HoldsCurrent() && !o.Requested && !o.Compromised && (o.RenewalTime.IsZero() || o.RenewalTime.After(o.Now)):
			return "was about to replace a token that is in order"
		}
	case Revoke, StrikeOff, LeaveBehind, SeekHolders:
		return harmTo(o, plan)
	case Finish, Settle:
		if o.Pending == nil {
			return "settled what is not open"
		}
	case DeleteSecret, LetGoSecret:
		if lives || o.Secret.State != SecretOurs || o.Retain != (plan.Action == LetGoSecret) || o.Pending != nil {
			return "took away a Secret that is needed, or is not ours"
		}
	case Release:
		if lives || o.exists() || o.Secret.State == SecretOurs {
			return "let a resource go that has tokens, or a Secret"
		}
	case AddFinalizer:
		if o.Finalizer || !lives {
			return "added a finalizer that is there, or can't be"
		}
	case ReadSecret:
		if o.Secret.Confirmed {
			return "read the Secret again"
		}
	case Look, Restart:
		if !lives || !o.HoldsCurrent() {
			return "looked for a token that is not in order, or restarted who would not be given it"
		}
	default:
		return "did what is no action"
	}
	return ""
}

// harmTo says what a plan does to a token that it may not do.
func harmTo(o *Observation, plan *Plan) string {
	if len(plan.Revisions) == 0 {
		return "did something to no token"
	}
	if plan.Action == LeaveBehind && (!o.Deleting || !o.Retain && !o.Abandon) {
		return "left behind what nobody wants to live on"
	}
	for _, revision := range plan.Revisions {
		of := func(t Token) bool { return t.Revision == revision }
		switch {
		case o.Pending != nil && plan.Action == LeaveBehind && of(*o.Pending):
			continue
		case !slices.ContainsFunc(o.tokens(), of):
			return "did something to a token that is not there"
		case o.Deleting, o.NamespaceGone:
			continue
		}
		// Of those that share a revision, by a status that makes no sense, one must have been meant that is due.
		if !slices.ContainsFunc(o.Previous, func(p Token) bool { return of(p) && (!o.inSecret(&p) || p.expired(o.Now)) }) {
			return "ended the current token, or one that the Secret holds"
		}
		if !sensible(o) {
			continue
		}
		at := slices.IndexFunc(o.Previous, of)
		p := &o.Previous[at]
		held := p.Replaced.IsZero() || !o.Now.Before(p.RevokeAt) // Its grace period is over.
		if plan.Action != SeekHolders && !p.expired(o.Now) && (!held || p.InUse) {
			return "ended a token before its time"
		}
		if plan.Action == StrikeOff && !p.Refused && (p.Absent || p.Expires.IsZero() || o.Now.Sub(p.Expires) < time.Hour) {
			return "struck off a token that may live"
		}
	}
	return ""
}
