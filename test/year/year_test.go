// Package year_test lets a year go by for the operator, on a clock of its own and a real API server, with restarts and with
// outages of the service, and looks from outside whether anybody would have noticed.
package year_test

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// Outages and restarts are drawn from this seed, or a new one each time if it is 0.
var seed = flag.Uint64("seed", 0, "of outages and restarts; 0: a new one")

const (
	day  = 24 * time.Hour
	year = 365 * day
	// grain is how finely the year goes by: what falls due within one is done at its end.
	grain = time.Hour
	// longestStep is how long nothing may happen. The operator looks at the service once a day.
	longestStep = 6 * time.Hour

	duration    = v1alpha1.DefaultDuration
	renewBefore = duration / 3
	gracePeriod = v1alpha1.DefaultGracePeriod
	// spread is how much earlier than renewBefore a token may be renewed.
	spread = duration / 10

	// mostLive is how many tokens a resource may have: one in the Secret, and one in its grace period, or of an attempt
	// whose answer was lost. There are no pods here that one would be kept for.
	mostLive = 2
	// leastRotations of a resource in the year. At the latest each is due 60 days after the one before.
	leastRotations = 5
)

// The clock of the operator, of the stand-in for Codacy and of the authority stands still, but for when it is moved to what
// falls due next: a renewal, the end of a grace period, an outage, a restart; and by moments while the operator has to wait
// for one. So the year takes as long as the operator needs to do its work, and the clock moves on only when all is done that
// was due. Half of the restarts and outages come while tokens are being renewed.
//
// Whoever reads a Secret must get a value that is accepted. The service itself is asked about it, whenever a Secret changes
// and each time that the clock was moved; for built-in tokens that is a replica of the authority that is never restarted.
// Who read the Secret before must have the grace period to read it again, so each replaced value is asked about until that
// is over, and once more after it: then it must be refused.
//
// The spare time of a renewal is what the replaced token still had to live when the status named the next one.
//
// No minute may be much busier than others. With 300 resources a minute has 0.004 renewals in the mean, and the busiest one
// has two by mere chance, so minutes say nothing. All 300 are made together, which is the worst case: their first renewals
// fall into the spread of a tenth of duration, nine days. So slots of a fifteenth of that, 14.4 hours, are looked at, for
// which the mean is 20 renewals. No slot of the year may have more than three times that, nor one of the later renewals,
// which drift further apart. Chance does not make it 60; a spread that is lost, or much shorter, does. What an outage or
// a restart has held up is left out: it is made up for as fast as the limit of requests allows, which the summary tells.
func TestAYear(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	chance := rand.New(rand.NewPCG(*seed, 0))
	w := newWorld(t)
	future := newPlan(chance, w.began)
	t.Logf("-args -seed=%d: a year for %d resources, with these outages and restarts:%s", *seed, resources, future.describe(w.began))

	w.start()
	w.addResources()
	w.rest()
	w.observer.catchUp()
	w.check()
	for w.clock.Now().Before(w.began.Add(year)) && !t.Failed() {
		w.moveTo(nextTime(w.began, w.clock.Now(), future.next(), w.observer.next(w.clock.Now())))
		for _, e := range future.take(w.clock.Now(), len(w.waiting()) > 0) {
			w.happen(e, future, chance)
		}
		w.rest()
		w.observer.catchUp()
		w.check()
	}
	w.summarize()
}

// nextTime is the end of the grain in which the first of these times is.
func nextTime(began, now time.Time, times ...time.Time) time.Time {
	next := now.Add(longestStep)
	for _, at := range times {
		if at.After(now) && at.Before(next) {
			next = at
		}
	}
	return began.Add((next.Sub(began) + grain - 1).Truncate(grain))
}
