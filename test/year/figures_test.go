package year_test

import (
	"sync"
	"time"
)

const (
	slots = 15
	slot  = spread / slots
	// mean is that of the renewals in a slot, in the days in which all resources are renewed for the first time.
	mean    = resources / slots
	busiest = 3 * mean
)

// rotation is one token that took the place of another.
type rotation struct {
	ofService bool
	// due is when it was, at when it was done, and spare how long the replaced token would have lived.
	due, at time.Time
	spare   time.Duration
}

// away is a time in which the service, or the operator, was.
type away struct {
	service  bool
	from, to time.Time
}

// figures are what is counted in the year.
type figures struct {
	mu        sync.Mutex
	rotations []rotation
	aways     []away
	restarts  int
	questions int
	refusals  int
	mostLive  int
	unready   int

	// backlog is how many resources waited when the service was back, since when; the largest one is kept.
	backlog, largestBacklog int
	since                   time.Time
	madeUp                  time.Duration
}

func (f *figures) change(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
}

func (f *figures) rotated(r rotation) { f.change(func() { f.rotations = append(f.rotations, r) }) }
func (f *figures) asked()             { f.change(func() { f.questions++ }) }
func (f *figures) refused()           { f.change(func() { f.refusals++ }) }
func (f *figures) ceasedToBeReady()   { f.change(func() { f.unready++ }) }
func (f *figures) live(count int)     { f.change(func() { f.mostLive = max(f.mostLive, count) }) }

func (f *figures) fails(now time.Time) {
	f.change(func() { f.aways = append(f.aways, away{service: true, from: now}) })
}

func (f *figures) stops(now time.Time) {
	f.change(func() { f.aways = append(f.aways, away{from: now}) })
}

func (f *figures) starts(now time.Time) {
	f.change(func() { f.restarts++; f.ends(false, now) })
}

func (f *figures) isBack(now time.Time, waiting int) {
	f.change(func() { f.ends(true, now); f.backlog, f.since = waiting, now })
}

func (f *figures) ends(service bool, now time.Time) {
	for i := range f.aways {
		if a := &f.aways[i]; a.service == service && a.to.IsZero() {
			a.to = now
		}
	}
}

// rests: the operator has done all that it could.
func (f *figures) rests(now time.Time) {
	f.change(func() {
		if f.backlog > f.largestBacklog {
			f.largestBacklog, f.madeUp = f.backlog, now.Sub(f.since)
		}
		f.backlog = 0
	})
}

// heldUp says whether a renewal fell due while nobody could do it.
func (f *figures) heldUp(r rotation) bool {
	for _, a := range f.aways {
		if (r.ofService || !a.service) && !r.due.Before(a.from.Add(-grain)) && (a.to.IsZero() || r.due.Before(a.to)) {
			return true
		}
	}
	return false
}

// summarize judges the year.
func (w *world) summarize() {
	w.Helper()
	w.observer.mu.Lock()
	defer w.observer.mu.Unlock()
	for name, r := range w.observer.resources {
		if r.rotations < leastRotations && !w.Failed() {
			w.Errorf("%s was rotated only %d times", name, r.rotations)
		}
	}
	f := &w.figures
	f.mu.Lock()
	defer f.mu.Unlock()
	most := f.busiestSlot()
	if most > busiest {
		w.Errorf("%d renewals in %s, want at most three times %d", most, slot, mean)
	}
	outages, hours := f.outages()
	heldUp, inAMinute := f.madeUpFor()
	w.Logf("%d rotations of %d resources, %d restarts, %d outages (%.0f hours)", len(f.rotations), resources, f.restarts, outages, hours)
	w.Logf("%d values asked about, %d refused; at most %d tokens of a resource; at least %.2f of renewBefore to spare",
		f.questions, f.refusals, f.mostLive, float64(f.leastSpare())/float64(renewBefore))
	w.Logf("the busiest %s had %d renewals, %.1f times the mean of %d", slot, most, float64(most)/mean, mean)
	w.Logf("%d renewals were held up; at most %d of them were made up for in a minute; the largest backlog after an outage, %d resources, was worked off in %s",
		heldUp, inAMinute, f.largestBacklog, f.madeUp)
	w.Logf("%d times a resource said for a while that it was not ready", f.unready)
}

func (f *figures) outages() (count int, hours float64) {
	for _, a := range f.aways {
		if a.service && !a.to.IsZero() {
			count++
			hours += a.to.Sub(a.from).Hours()
		}
	}
	return count, hours
}

func (f *figures) leastSpare() time.Duration {
	least := duration
	for _, r := range f.rotations {
		least = min(least, r.spare)
	}
	return least
}

// busiestSlot is the most renewals in a slot, without those that were held up.
func (f *figures) busiestSlot() (most int) {
	counts := map[time.Duration]int{}
	for _, r := range f.rotations {
		if !f.heldUp(r) {
			at := r.at.Sub(f.rotations[0].at) / slot
			counts[at]++
			most = max(most, counts[at])
		}
	}
	return most
}

// madeUpFor counts the renewals that were held up, and the most of them that were done in one minute.
func (f *figures) madeUpFor() (heldUp, inAMinute int) {
	counts := map[time.Time]int{}
	for _, r := range f.rotations {
		if f.heldUp(r) {
			heldUp++
			minute := r.at.Truncate(time.Minute)
			counts[minute]++
			inAMinute = max(inAMinute, counts[minute])
		}
	}
	return heldUp, inAMinute
}
