package codacy

import (
	"context"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
)

var start = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// sixty a minute are one each second.
var sixty = Limit{Requests: 60, Period: time.Minute, Burst: 10}

func TestALimiterBeginsEmpty(t *testing.T) {
	for _, requests := range []int{1, 2} {
		l := newLimiter(sixty, start)
		if got, want := l.turn("a", requests, start), time.Duration(requests)*time.Second; got != want {
			t.Errorf("%d requests wait for %s, want %s", requests, got, want)
		}
	}
	if newLimiter(sixty, start).look(start) {
		t.Error("there is room for a look at once")
	}
}

func TestSoManyRequestsArePossibleInEachPeriod(t *testing.T) {
	for name, limit := range map[string]Limit{
		"sixty a minute": sixty,
		"as by default":  {Requests: 1000, Period: 5 * time.Minute, Burst: 50},
		"no burst":       {Requests: 7, Period: time.Minute, Burst: 1},
	} {
		for _, each := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, %d at once", name, each), func(t *testing.T) {
				each := min(each, limit.Burst)
				l := newLimiter(limit, start)
				now, made := start, 0
				for i := 0; now.Sub(start) < time.Hour; i++ {
					// A new resource each time, as soon as the one before had its turn.
					key := types.UID(fmt.Sprint(i))
					for wait := l.turn(key, each, now); wait > 0; wait = l.turn(key, each, now) {
						now = now.Add(wait)
					}
					made += each
				}
				want := int(time.Hour/limit.Period) * limit.Requests
				if made < want-each || made > want+2*each {
					t.Errorf("%d requests in an hour, want %d", made, want)
				}
			})
		}
	}
}

func TestAfterAPauseABurstIsPossibleAndNoMore(t *testing.T) {
	l := newLimiter(sixty, start)
	now := start.Add(time.Hour)
	made := 0
	for ; l.turn(types.UID(fmt.Sprint(made)), 1, now) == 0; made++ {
		if made > 1000 {
			t.Fatal("there is no limit")
		}
	}
	if made != sixty.Burst {
		t.Errorf("%d requests are possible at once, want %d", made, sixty.Burst)
	}
}

func TestWhoAsksForMoreThanABurstHasATurnToo(t *testing.T) {
	l := newLimiter(Limit{Requests: 60, Period: time.Minute, Burst: 1}, start)
	wait := l.turn("a", 2, start)
	if wait <= 0 || wait > 2*time.Second {
		t.Errorf("it waits for %s", wait)
	}
	if got := l.turn("a", 2, start.Add(wait)); got != 0 {
		t.Errorf("it waits for another %s", got)
	}
}

func TestATurnIsKeptForWhoCameFirst(t *testing.T) {
	l := newLimiter(sixty, start)
	for i, key := range []types.UID{"a", "b", "c"} {
		if got, want := l.turn(key, 1, start), time.Duration(i+1)*time.Second; got != want {
			t.Errorf("%s waits for %s, want %s", key, got, want)
		}
	}
	now := start.Add(2 * time.Second)
	for range 3 { // Asking again changes nothing.
		if got := l.turn("c", 1, now); got != time.Second {
			t.Errorf("c waits for %s, want 1s", got)
		}
	}
	if got := l.turn("d", 1, now); got != 2*time.Second {
		t.Errorf("d waits for %s, want 2s", got)
	}
	for _, key := range []types.UID{"b", "a"} { // In whichever order they come now.
		if got := l.turn(key, 1, now); got != 0 {
			t.Errorf("%s waits for %s, and its turn has come", key, got)
		}
	}
	if got := l.turn("a", 1, now); got != 3*time.Second {
		t.Errorf("a second request of a waits for %s, want 3s: it has to queue again", got)
	}
}

func TestATurnIsKeptForAMinute(t *testing.T) {
	for late, kept := range map[time.Duration]bool{0: true, time.Minute: true, time.Minute + time.Nanosecond: false} {
		l := newLimiter(sixty, start)
		at := start.Add(l.turn("a", 1, start))
		for i := range 200 { // So that a new place in the queue is none at once.
			l.turn(types.UID(fmt.Sprint(i)), 1, start)
		}
		if got := l.turn("a", 1, at.Add(late)); (got == 0) != kept {
			t.Errorf("who comes %s late waits for %s", late, got)
		}
	}
}

func TestTurnsThatNobodyTakesAreForgotten(t *testing.T) {
	l := newLimiter(sixty, start)
	for i := range 100 {
		l.turn(types.UID(fmt.Sprint(i)), 1, start)
	}
	l.turn("last", 1, start.Add(time.Hour))
	if got := len(l.slots); got != 0 { // The last one had its turn at once.
		t.Errorf("%d turns are kept", got)
	}
}

// Who has a turn for one request, and then needs two, has to wait for the other one.
func TestATurnForOneRequestIsNoTurnForTwo(t *testing.T) {
	l := newLimiter(sixty, start)
	now := start.Add(l.turn("a", 1, start))
	wait := l.turn("a", 2, now)
	if next := l.turn("b", 1, now.Add(wait)); wait == 0 && next < 2*time.Second {
		t.Errorf("of three requests in the first second one is made at once, and the next one after %s", next)
	}
}

func TestLooksUseAFifthAtMost(t *testing.T) {
	limit := Limit{Requests: 1000, Period: 5 * time.Minute, Burst: 50}
	l := newLimiter(limit, start)
	looks := 0
	for now := start; now.Sub(start) < time.Hour; now = now.Add(100 * time.Millisecond) {
		if l.look(now) {
			looks++
		}
	}
	if want := 12 * limit.Requests / 5; looks > want+limit.Burst/5 || looks < want-1 {
		t.Errorf("%d looks in an hour, want %d", looks, want)
	}
}

func TestMintingAndRevokingGoBeforeLooking(t *testing.T) {
	l := newLimiter(sixty, start)
	now := start.Add(time.Hour)
	for i := range sixty.Burst + 5 {
		l.turn(types.UID(fmt.Sprint(i)), 1, now)
	}
	for _, after := range []time.Duration{0, time.Second, 5 * time.Second} {
		if l.look(now.Add(after)) {
			t.Errorf("%s later somebody looks while others wait for a turn", after)
		}
	}
	if !l.look(now.Add(6 * time.Second)) {
		t.Error("nobody may look when all have had their turns")
	}
	// A look is counted.
	if got := l.turn("next", 1, now.Add(6*time.Second)); got != time.Second {
		t.Errorf("after a look the next turn is in %s, want 1s", got)
	}
}

func TestWhatNobodyWaitedForIsWaitedForByTheNext(t *testing.T) {
	l := newLimiter(sixty, start)
	ctx, _ := withPermits(t.Context(), 2)
	for range 5 {
		l.use(ctx, start)
	}
	if got := l.turn("a", 1, start); got != 4*time.Second {
		t.Errorf("after three requests without a permit the next turn is in %s, want 4s", got)
	}
}

func TestPermitsAreThoseOfOneContext(t *testing.T) {
	l := newLimiter(sixty, start)
	first, _ := withPermits(t.Context(), 1)
	second, _ := withPermits(t.Context(), 1)
	child, end := context.WithCancel(first)
	defer end()
	l.use(child, start)
	l.use(second, start)
	if got := l.turn("a", 1, start); got != time.Second {
		t.Errorf("requests with permits are counted: the next turn is in %s", got)
	}
	l.use(first, start)
	// It is paid for with the next turn: that of a, who queues again behind b.
	if got := l.turn("b", 1, start); got != 2*time.Second {
		t.Errorf("the next turn is in %s, want 2s", got)
	}
	if got := l.turn("a", 1, start.Add(time.Second)); got != 2*time.Second {
		t.Errorf("a permit was used twice: a waits for %s more, want 2s", got)
	}
}

func TestWithoutALimitEverythingIsAllowed(t *testing.T) {
	var none *limiter
	none.spend(start)
	none.use(t.Context(), start)
	for range 1000 {
		if none.turn("a", 100, start) != 0 || !none.look(start) {
			t.Fatal("there is a limit")
		}
	}
}

func TestALimitIsThatOfAHostAndSharedByItsConnections(t *testing.T) {
	s := NewServices(Options{Clock: clocktesting.NewFakePassiveClock(start), Limits: map[string]Limit{"app.codacy.com": sixty, "codacy.example": sixty}})
	one := s.limiterOf("app.codacy.com")
	if one == nil || one != s.limiterOf("app.codacy.com") {
		t.Error("a host has two limiters")
	}
	if one == s.limiterOf("codacy.example") {
		t.Error("two hosts have one limiter")
	}
	if s.limiterOf("localhost") != nil {
		t.Error("a host without a limit has a limiter")
	}
	if got := sixty.String(); got != "60 requests in 1m0s" {
		t.Errorf("the limit is %q", got)
	}
}

func TestAPlaceIsTakenByOne(t *testing.T) {
	s := NewServices(Options{})
	end, ok := s.begin("here")
	if !ok {
		t.Fatal("a place that nobody has is taken")
	}
	if _, ok := s.begin("here"); ok {
		t.Error("two have the same place")
	}
	elsewhere, ok := s.begin("there")
	if !ok {
		t.Fatal("another place is taken, too")
	}
	elsewhere()
	if _, ok := s.begin("here"); ok {
		t.Error("to leave one place gives back another")
	}
	end()
	if _, ok := s.begin("here"); !ok {
		t.Error("a place that was given back is taken")
	}
}
