package lifecycle

import (
	"flag"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"
)

// The property test draws its observations from this seed, or a new one each time if it is 0.
var seed = flag.Uint64("seed", 0, "of the property test; 0: a new one")

const (
	observations = 20_000
	// mostSteps is how many decisions one reconcile may take. The engine gives up after as many.
	mostSteps = 12
	// mostPrevious is how many previous tokens the schema of the status allows.
	mostPrevious = 32
)

func TestPlansKeepTheirPromisesWhateverIsObserved(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	for n := range uint64(observations) {
		m := newModel(rand.New(rand.NewPCG(*seed, n)))
		if broken := m.run(); broken != "" {
			t.Fatalf("%s\nobserved first: %s\nobserved then: %s\nplans: %s\nrepeat it with: go test ./internal/lifecycle -args -seed=%d (observation %d)",
				broken, show(m.began), show(m.observed), show(m.plans), *seed, n)
		}
	}
}

// model is a world in which plans are carried out, now and then by a process that is killed in the middle, and in which
// others do this and that between one reconcile and the next.
type model struct {
	*rand.Rand
	observed Observation
	// live is the Secret that the API server has, before the one that it had; unlabeled: the cache does not show it.
	live, before Secret
	unlabeled    bool
	// refuses: the API server does not let the Secret be written.
	refuses bool
	// outside: the tokens are made by a service outside of the cluster, which chooses their values, fails now and then, and
	// forgets tokens; forgot: it did so with the current one.
	outside, forgot bool
	// thief: all that others do is to take the token out of the Secret, or to put another one there.
	thief bool
	// minted is when tokens were minted that were not due, since the spec changed; counted: the open attempt is one of them.
	minted  []time.Time
	counted bool
	// restarts: workloads are restarted for every token that replaces another one; restarted are the revisions for which
	// they were.
	restarts  bool
	restarted map[int64]bool

	// leftInSecret is what the Secret held when it was let go.
	leftInSecret string

	crashes, reconciles int
	// began is what the reconcile observed first, and plans are what it decided.
	began Observation
	plans []Plan
}

func newModel(random *rand.Rand) *model {
	m := &model{Rand: random, crashes: random.IntN(2), reconciles: 1 + random.IntN(4), outside: random.IntN(2) == 0}
	m.restarts, m.restarted = random.IntN(2) == 0, map[int64]bool{}
	m.observed = randomObservation(random, m.outside)
	m.live, m.forgot = m.observed.Secret, m.observed.Missing
	if m.refuses = m.chance(25); m.chance(10) {
		m.thief, m.reconciles = true, 10
	}
	if !m.observed.Secret.Confirmed && m.chance(50) { // The cache is behind.
		m.live = randomSecret(random, &m.observed)
	}
	m.began = clone(m.observed)
	return m
}

func (m *model) chance(percent int) bool { return m.IntN(100) < percent }

// run decides and acts until there is nothing to do, several times, and says which promise a plan broke.
func (m *model) run() (broken string) {
	for {
		before, spare := clone(m.observed), slices.Clone(spareOf(m.observed.Previous))
		plan := Decide(m.observed)
		m.plans = append(m.plans, plan)
		if !reflect.DeepEqual(before, m.observed) || !slices.Equal(spare, spareOf(m.observed.Previous)) {
			return "a decision changed what it judges"
		}
		if broken := m.forbidden(&plan); broken != "" {
			return broken
		}
		if plan.Action == Wait {
			broken := m.waits(&plan)
			if m.reconciles--; broken != "" || m.reconciles == 0 {
				return broken
			}
			m.others(&plan)
			continue
		}
		if len(m.plans) == mostSteps {
			return "no rest after " + strconv.Itoa(mostSteps) + " steps"
		}
		m.apply(&plan)
		if len(m.observed.Previous) > mostPrevious {
			return "more previous tokens than the status can hold"
		}
	}
}

// spareOf is the room behind a slice, into which a careless append writes.
func spareOf(tokens []Token) []Token { return tokens[len(tokens):cap(tokens)] }
