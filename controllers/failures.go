package controllers

import (
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
)

// How long to wait after a failure, where the service does not say.
const (
	// stalledRetry is the least time between tries of what needs a person outside of the cluster.
	stalledRetry = 10 * time.Minute
	firstRetry   = 5 * time.Second
	longestRetry = 5 * time.Minute
	// firstTurn and longestTurn are for who waits for others, which is no failure: the last of two thousand need not ask each
	// second.
	firstTurn   = time.Second
	longestTurn = 16 * time.Second
)

// failures remembers, for each resource, what the service refused or did not answer, so that it is not asked again before
// it makes sense: at a later time, or when the spec, an annotation for it, or the connection changed. It is forgotten with
// the process, which costs a request.
type failures struct {
	clock clock.PassiveClock

	mu   sync.Mutex
	last map[types.UID]map[lifecycle.Action]failure
	// troubled are the resources of which a problem is remembered, with their issuers, and crowds how many an issuer has.
	troubled map[types.UID]types.NamespacedName
	crowds   map[types.NamespacedName]int
}

type failure struct {
	lifecycle.Failure
	circumstances circumstances
	// count is how often it failed, and turns how often it had to wait for others since.
	count, turns int
}

// circumstances are what a failure depends on. Once they change the action is tried again at once.
type circumstances struct {
	generation         int64
	requested, notMine string
	abandoned          bool
	connection         *codacy.Connection
	epoch              int64
}

func newFailures(clk clock.PassiveClock) *failures {
	return &failures{
		clock: clk, last: map[types.UID]map[lifecycle.Action]failure{},
		troubled: map[types.UID]types.NamespacedName{}, crowds: map[types.NamespacedName]int{},
	}
}

func (s *state) circumstances() circumstances {
	annotations := s.token.GetAnnotations()
	c := circumstances{
		generation: s.token.GetGeneration(), connection: s.codacy,
		requested: annotations[v1alpha1.ReconcileRequestAnnotation], notMine: annotations[v1alpha1.NotMineAnnotation],
		abandoned: v1alpha1.Abandoned(s.token),
	}
	if s.codacy != nil {
		c.epoch = s.codacy.Epoch()
	}
	return c
}

// note remembers that an action of a resource failed.
func (f *failures) note(s *state, action lifecycle.Action, err *issuer.Error) {
	f.put(s, action, problemFrom(err), func(next *failure) time.Duration {
		switch {
		case err.Stalled:
			return max(stalledRetry, s.checkInterval)
		case err.Reason == v1alpha1.ReasonWaitingForTurn:
			turn := jittered(min(longestTurn, firstTurn<<min(next.turns, 10)))
			next.turns++
			return max(err.RetryAfter, turn)
		case err.RetryAfter > 0:
			return err.RetryAfter
		default:
			retry := jittered(min(longestRetry, firstRetry<<min(next.count, 10)))
			next.count, next.turns = next.count+1, 0
			return retry
		}
	})
}

// postpone remembers that an action of a resource has to wait a moment, of which there is nothing to tell.
func (f *failures) postpone(s *state, action lifecycle.Action, wait time.Duration) {
	f.put(s, action, nil, func(*failure) time.Duration { return jittered(wait) })
}

func (f *failures) put(s *state, action lifecycle.Action, problem *lifecycle.Problem, wait func(next *failure) time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	uid := s.token.GetUID()
	if f.last[uid] == nil {
		f.last[uid] = map[lifecycle.Action]failure{}
	}
	next := failure{circumstances: s.circumstances()}
	if before, ok := f.last[uid][action]; ok && before.circumstances == next.circumstances {
		next.count, next.turns = before.count, before.turns
	}
	next.Failure = lifecycle.Failure{Problem: problem, Until: f.clock.Now().Add(wait(&next))}
	f.last[uid][action] = next
	f.recount(uid, v1alpha1.IssuerName(s.token))
}

// recount says anew whether a resource is troubled. The lock is held.
func (f *failures) recount(uid types.UID, issuer types.NamespacedName) {
	if before, was := f.troubled[uid]; was {
		delete(f.troubled, uid)
		if f.crowds[before]--; f.crowds[before] == 0 {
			delete(f.crowds, before)
		}
	}
	for _, last := range f.last[uid] {
		if last.Problem != nil {
			f.troubled[uid] = issuer
			f.crowds[issuer]++
			return
		}
	}
}

// crowd is how many resources of an issuer fail, or wait for others of it.
func (f *failures) crowd(issuer types.NamespacedName) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crowds[issuer]
}

// of are the failures that still stand.
func (f *failures) of(s *state) map[lifecycle.Action]lifecycle.Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	standing := map[lifecycle.Action]lifecycle.Failure{}
	for action, last := range f.last[s.token.GetUID()] {
		if last.circumstances == s.circumstances() {
			standing[action] = last.Failure
		}
	}
	return standing
}

// succeeded forgets what an action failed of.
func (f *failures) succeeded(s *state, action lifecycle.Action) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.last[s.token.GetUID()], action)
	f.recount(s.token.GetUID(), v1alpha1.IssuerName(s.token))
}

// forget a resource that is gone.
func (f *failures) forget(uid types.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.last, uid)
	f.recount(uid, types.NamespacedName{})
}

// jittered spreads what would otherwise all come at once.
func jittered(d time.Duration) time.Duration {
	return d/2 + time.Duration(rand.Float64()*float64(d)/2) //nolint:gosec // A spread, not a secret.
}
