package authority

import (
	"encoding/binary"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

func TestUnknownHashesAreRememberedForAMinuteAndNotForever(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC))
	u := newUnknown(clock)
	pass := func(d time.Duration) { clock.SetTime(clock.Now().Add(d)) }
	u.add(hash{1})
	pass(50 * time.Second)
	u.add(hash{2})
	pass(59 * time.Second)
	if !u.has(hash{1}) || !u.has(hash{2}) || u.has(hash{3}) {
		t.Error("within a minute it knows something else than it was told")
	}
	pass(time.Minute)
	u.add(hash{3})
	pass(time.Minute)
	if u.has(hash{1}) || u.has(hash{2}) || !u.has(hash{3}) {
		t.Error("what is older than two minutes is remembered, or what is younger is not")
	}
	pass(time.Hour)
	u.has(hash{3})
	if u.young != nil || u.old != nil {
		t.Error("it keeps what nobody will ask for")
	}
}

func TestUnknownHashesAreBounded(t *testing.T) {
	u := newUnknown(clocktesting.NewFakePassiveClock(time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)))
	var last hash
	for i := range 10 * generationSize {
		binary.BigEndian.PutUint64(last[:], uint64(i))
		u.add(last)
	}
	if n := len(u.young) + len(u.old); n > 2*generationSize || !u.has(last) {
		t.Errorf("of very many it remembers %d, or not the last one", n)
	}
}
