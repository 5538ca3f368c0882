package codacy

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
)

// Limit is how many requests may be made to a host: so many in each period, and so many of them at once.
type Limit struct {
	Requests int
	Period   time.Duration
	Burst    int
}

// String is the limit in words.
func (l Limit) String() string { return fmt.Sprintf("%d requests in %s", l.Requests, l.Period) }

// lookShare is the part of the limit that looking tokens up may use.
const lookShare = 5

// slotLifetime is how long a turn is kept for a resource that does not come to take it.
const slotLifetime = time.Minute

// limiter hands out turns at a host, first come, first served. It never makes anybody wait: who has no turn yet learns
// when it is. It begins empty, so that an operator that restarts again and again exceeds no limit. docs/codacy.md, Limits.
type limiter struct {
	limit Limit

	mu    sync.Mutex
	all   *rate.Limiter
	looks *rate.Limiter
	slots map[types.UID]slot
	// debt are requests that had to be made without a turn: whoever has a turn pays for them with it, and queues again.
	debt int
}

// slot is a place in the queue.
type slot struct {
	at       time.Time
	requests int
}

func newLimiter(limit Limit, now time.Time) *limiter {
	perSecond := rate.Limit(float64(limit.Requests) / limit.Period.Seconds())
	l := &limiter{
		limit: limit, slots: map[types.UID]slot{},
		all:   rate.NewLimiter(perSecond, limit.Burst),
		looks: rate.NewLimiter(perSecond/lookShare, max(1, limit.Burst/lookShare)),
	}
	l.all.AllowN(now, limit.Burst)
	return l
}

// left is how many requests may be made now; never below 0.
func (l *limiter) left(now time.Time) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(0, l.all.TokensAt(now))
}

// turn says how long a resource has to wait until it may make so many requests; 0: it may make them now. The place in
// the queue is kept for it.
func (l *limiter) turn(key types.UID, requests int, now time.Time) time.Duration {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for other, kept := range l.slots {
		if now.Sub(kept.at) > slotLifetime {
			delete(l.slots, other)
		}
	}
	mine := l.slots[key]
	if missing := min(requests, l.limit.Burst) - mine.requests; missing > 0 {
		mine = slot{l.reserve(missing, now), mine.requests + missing}
	}
	if pays := min(l.debt, mine.requests); pays > 0 && !mine.at.After(now) {
		l.debt -= pays
		mine.at = l.reserve(pays, now)
	}
	if wait := mine.at.Sub(now); wait > 0 {
		l.slots[key] = mine
		return wait
	}
	delete(l.slots, key)
	return 0
}

// reserve takes so many requests, and says from when on they may be made. The caller holds mu.
func (l *limiter) reserve(requests int, now time.Time) time.Time {
	for ; l.debt > 0 && len(l.slots) == 0; l.debt-- { // Nobody is there to pay for it.
		l.all.ReserveN(now, 1)
	}
	return now.Add(l.all.ReserveN(now, requests).DelayFrom(now))
}

// look says whether there is room for looking a token up. Minting and revoking go first.
func (l *limiter) look(now time.Time) bool {
	if l == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.TokensAt(now) >= 1 && l.looks.AllowN(now, 1) && l.all.AllowN(now, 1)
}

// spend takes a request off that nobody waited for: it has to be made now.
func (l *limiter) spend(now time.Time) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.all.AllowN(now, 1) {
		l.debt++
	}
}

// looked charges the looks with requests that one of them took beyond the first.
func (l *limiter) looked(more int, now time.Time) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for range more {
		l.looks.ReserveN(now, 1)
	}
}

// permits are the requests that somebody has a turn for.
type permits struct{ left, more int }

type permitsKey struct{}

// withPermits lets so many requests be made with a context without being counted again. more counts those beyond.
func withPermits(ctx context.Context, requests int) (context.Context, *permits) {
	p := &permits{left: requests}
	return context.WithValue(ctx, permitsKey{}, p), p
}

// use takes a permit that a context has, or else one of the limiter.
func (l *limiter) use(ctx context.Context, now time.Time) {
	if p, ok := ctx.Value(permitsKey{}).(*permits); ok {
		if p.left--; p.left >= 0 {
			return
		}
		p.more++
	}
	l.spend(now)
}
