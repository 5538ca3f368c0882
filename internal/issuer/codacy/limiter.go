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
// when it is. It begins empty, so that an operator that restarts again and again exceeds no limit.
type limiter struct {
	limit Limit

	mu    sync.Mutex
	all   *rate.Limiter
	looks *rate.Limiter
	slots map[types.UID]time.Time
}

func newLimiter(limit Limit, now time.Time) *limiter {
	perSecond := rate.Limit(float64(limit.Requests) / limit.Period.Seconds())
	l := &limiter{
		limit: limit, slots: map[types.UID]time.Time{},
		all:   rate.NewLimiter(perSecond, limit.Burst),
		looks: rate.NewLimiter(perSecond/lookShare, max(1, limit.Burst/lookShare)),
	}
	l.all.AllowN(now, limit.Burst)
	return l
}

// turn says how long a resource has to wait until it may make so many requests; 0: it may make them now. The place in
// the queue is kept for it.
func (l *limiter) turn(key types.UID, requests int, now time.Time) time.Duration {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for other, at := range l.slots {
		if now.Sub(at) > slotLifetime {
			delete(l.slots, other)
		}
	}
	at, ok := l.slots[key]
	if !ok {
		reservation := l.all.ReserveN(now, min(requests, l.limit.Burst))
		at = now.Add(reservation.DelayFrom(now))
		l.slots[key] = at
	}
	if wait := at.Sub(now); wait > 0 {
		return wait
	}
	delete(l.slots, key)
	return 0
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

// spend takes a request off that nobody waited for: it has to be made now, and who comes next waits longer.
func (l *limiter) spend(now time.Time) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.ReserveN(now, 1)
}

// permits are the requests that a resource has a turn for.
type permits struct{ left int }

type permitsKey struct{}

// withPermits lets so many requests be made with a context without being counted again.
func withPermits(ctx context.Context, requests int) context.Context {
	return context.WithValue(ctx, permitsKey{}, &permits{left: requests})
}

// use takes a permit that a context has, or else one of the limiter.
func (l *limiter) use(ctx context.Context, now time.Time) {
	if p, ok := ctx.Value(permitsKey{}).(*permits); ok && p.left > 0 {
		p.left--
		return
	}
	l.spend(now)
}
