package load_test

import (
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// fastClock goes faster than the real one, and can be moved ahead.
type fastClock struct {
	clock.RealClock
	began  time.Time
	factor int
	ahead  atomic.Int64
}

func newFastClock(factor int) *fastClock { return &fastClock{began: time.Now(), factor: factor} }

// real is how long something takes on the real clock.
func (c *fastClock) real(d time.Duration) time.Duration { return d / time.Duration(c.factor) }

func (c *fastClock) Now() time.Time {
	return c.began.Add(time.Duration(c.factor)*time.Since(c.began) + time.Duration(c.ahead.Load()))
}
func (c *fastClock) Since(t time.Time) time.Duration        { return c.Now().Sub(t) }
func (c *fastClock) After(d time.Duration) <-chan time.Time { return c.RealClock.After(c.real(d)) }
func (c *fastClock) Sleep(d time.Duration)                  { c.RealClock.Sleep(c.real(d)) }
func (c *fastClock) Tick(d time.Duration) <-chan time.Time  { return c.RealClock.Tick(c.real(d)) }
func (c *fastClock) NewTimer(d time.Duration) clock.Timer {
	return fastTimer{c.RealClock.NewTimer(c.real(d)), c}
}
func (c *fastClock) NewTicker(d time.Duration) clock.Ticker { return c.RealClock.NewTicker(c.real(d)) }
func (c *fastClock) AfterFunc(d time.Duration, f func()) clock.Timer {
	return fastTimer{c.RealClock.AfterFunc(c.real(d), f), c}
}

func (c *fastClock) jump(d time.Duration) { c.ahead.Add(int64(d)) }

type fastTimer struct {
	clock.Timer
	clock *fastClock
}

func (t fastTimer) Reset(d time.Duration) bool { return t.Timer.Reset(t.clock.real(d)) }
