package year_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

const (
	outages       = 12
	restarts      = 20
	longestOutage = 24 * time.Hour
	// longestAbsence is how long there may be no operator in a restart.
	longestAbsence = time.Hour
)

// occurrence is what happens to the operator or the service.
type occurrence string

const (
	serviceFails   occurrence = "the service fails"
	serviceIsBack  occurrence = "the service is back"
	operatorStops  occurrence = "the operator stops"
	operatorStarts occurrence = "the operator starts"
)

// incident is an occurrence at its time.
type incident struct {
	what occurrence
	at   time.Time
	// busy: not before tokens are being renewed.
	busy bool
	// lasts is how long the service or the operator is away, and fault how the service fails.
	lasts time.Duration
	fault codacytest.Fault
}

// plan is what is still to happen.
type plan struct{ incidents []incident }

// faults are the ways in which the service fails: with or without doing what it was asked for.
var faults = []codacytest.Fault{
	{Kind: codacytest.Refuse, Status: http.StatusServiceUnavailable},
	{Kind: codacytest.CutBeforeActing},
	{Kind: codacytest.CutAfterActing},
	{Kind: codacytest.TimeoutAfterActing},
}

func newPlan(chance *rand.Rand, began time.Time) *plan {
	p := &plan{}
	for i := range outages {
		const share = year / outages
		fails := incident{
			what: serviceFails, busy: i%2 == 0, fault: faults[chance.IntN(len(faults))],
			at: began.Add(time.Duration(i)*share + within(chance, share-2*longestOutage)), lasts: within(chance, longestOutage),
		}
		p.incidents = append(p.incidents, fails)
		if chance.IntN(3) == 0 {
			p.incidents = append(p.incidents, incident{what: operatorStops, at: fails.at.Add(within(chance, fails.lasts)), lasts: within(chance, longestAbsence)})
		}
	}
	for i := range restarts {
		const share = year / restarts
		at := began.Add(time.Duration(i)*share + within(chance, share))
		p.incidents = append(p.incidents, incident{what: operatorStops, busy: i%2 == 0, at: at, lasts: within(chance, longestAbsence)})
	}
	p.sort()
	return p
}

// within is some time up to a limit.
func within(chance *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(chance.Int64N(int64(limit))).Truncate(time.Second)
}

func (p *plan) sort() {
	slices.SortStableFunc(p.incidents, func(a, b incident) int { return a.at.Compare(b.at) })
}

func (p *plan) add(i incident) {
	p.incidents = append(p.incidents, i)
	p.sort()
}

// next is when something happens next that waits for nothing else; zero: not any more.
func (p *plan) next() time.Time {
	for _, i := range p.incidents {
		if !i.busy {
			return i.at
		}
	}
	return time.Time{}
}

// take is what happens now.
func (p *plan) take(now time.Time, busy bool) (happening []incident) {
	var later []incident
	for _, i := range p.incidents {
		if i.at.After(now) || (i.busy && !busy) {
			later = append(later, i)
		} else {
			happening = append(happening, i)
		}
	}
	p.incidents = later
	return happening
}

func (p *plan) describe(began time.Time) string {
	var text strings.Builder
	for _, i := range p.incidents {
		at := i.at.Sub(began)
		fmt.Fprintf(&text, "\n  day %d, %s: %s", at/day, (at % day).Round(time.Minute), i.what)
		if i.what == serviceFails {
			fmt.Fprintf(&text, " (%s)", i.fault.Kind)
		}
		fmt.Fprintf(&text, " for %s", i.lasts)
		if i.busy {
			text.WriteString(", as soon as tokens are being renewed")
		}
	}
	return text.String()
}
