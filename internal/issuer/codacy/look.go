package codacy

import (
	"context"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

const (
	// firstLook is how long after its start the operator does not look tokens up.
	firstLook = time.Minute
	// confirmAfter is how soon a second list is asked for when the first one lacks a token, and how long a list waits
	// for room in the limit.
	confirmAfter = time.Minute
)

// watched is a place whose tokens are looked up.
type watched struct {
	next    time.Time
	looking bool
	// lists are the latest two, the newest last.
	lists []snapshot
}

// snapshot is what a list had.
type snapshot struct {
	begun time.Time
	ids   map[string]bool
}

func (s *snapshot) lacks(id string, issued time.Time) bool {
	return s.begun.After(issued) && !s.ids[id]
}

// Sight is what the latest lists say of a token: whether it is missing from two of them, both begun after it was issued,
// and when to look next; never, if that is zero.
func (c *Connection) Sight(kind, subject, id string, issued time.Time) (missing bool, next time.Time) {
	p, err := placeOf(kind, subject)
	if err != nil || c.config.Interval == 0 {
		return false, time.Time{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.watch(p)
	c.dropFuture(w)
	lacking := 0
	for i := range w.lists {
		if w.lists[i].lacks(id, issued) {
			lacking++
		}
	}
	switch {
	case lacking == 2:
		return true, w.next
	case lacking == 1 && w.lists[len(w.lists)-1].lacks(id, issued):
		if confirm := w.lists[len(w.lists)-1].begun.Add(confirmAfter); confirm.Before(w.next) {
			return false, confirm
		}
	}
	return false, w.next
}

// dropFuture forgets lists that were begun later than it is now, since the clock was set back: what was issued meanwhile would be
// missing from them. By the clock's face, which the times in a status are of, and not by how long ago it was. The caller holds mu.
func (c *Connection) dropFuture(w *watched) {
	now := c.options.Clock.Now()
	if n := len(w.lists); n > 0 && w.lists[n-1].begun.Round(0).After(now.Round(0)) {
		w.lists, w.next = nil, now.Add(confirmAfter)
	}
}

// watch is the place's entry, which is made when it is first asked for. The caller holds mu.
func (c *Connection) watch(p place) *watched {
	w := c.places[p]
	if w == nil {
		if len(c.places) >= c.prunePlacesAt {
			c.forgetPlaces()
		}
		spread := max(0, c.config.Interval-firstLook)
		w = &watched{next: c.options.Clock.Now().Add(firstLook + time.Duration(rand.Float64()*float64(spread)))} //nolint:gosec // A spread, not a secret.
		c.places[p] = w
	}
	return w
}

// forgetPlaces drops those where nobody has a token any more: nobody has come to look though it was due a whole interval,
// and at least an hour, ago. Should one be needed again, it is looked at anew. The caller holds mu.
func (c *Connection) forgetPlaces() {
	now, patience := c.options.Clock.Now(), max(time.Hour, c.config.Interval)
	maps.DeleteFunc(c.places, func(_ place, w *watched) bool { return !w.looking && now.Sub(w.next) > patience })
	c.prunePlacesAt = max(minPrune, 2*len(c.places))
}

// Named is a token that carries a name of this installation.
type Named struct{ ID, Name string }

// Look lists the tokens of a place, once for all that have one there. It gives those with a name of this installation.
// It is not done if somebody else is just looking, or has looked since it was due, or if minting and revoking leave no room
// for it. known is what resources have. docs/codacy.md, Looking.
func (c *Connection) Look(ctx context.Context, kind, subject string, due time.Time, known func(id string) (sha256 string, known bool)) (ours []Named, done bool, err error) {
	p, err := placeOf(kind, subject)
	if err != nil {
		return nil, false, err
	}
	begun := c.options.Clock.Now()
	if !c.beginLook(p, due, begun) {
		return nil, false, nil
	}
	ctx, used := withPermits(ctx, 1)
	all, err := c.list(ctx, p)
	c.client.limiter.looked(used.more, c.options.Clock.Now())
	c.endLook(p, begun, all, err)
	if err != nil {
		return nil, true, c.failed(ctx, p, err)
	}
	c.learnFromList(p, all, known)
	for _, t := range all {
		if c.options.isOurs(t.name) {
			ours = append(ours, Named{ID: t.id, Name: t.name})
		}
	}
	return ours, true, nil
}

func (c *Connection) beginLook(p place, due, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.watch(p)
	if w.looking || (len(w.lists) > 0 && w.lists[len(w.lists)-1].begun.After(due)) {
		return false
	}
	if !c.client.limiter.look(now) {
		w.next = now.Add(confirmAfter + time.Duration(rand.Float64()*float64(confirmAfter))) //nolint:gosec // A spread, not a secret.
		return false
	}
	w.looking = true
	return true
}

func (c *Connection) endLook(p place, begun time.Time, all []listed, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.watch(p)
	w.looking = false
	w.next = begun.Add(c.config.Interval + time.Duration(rand.Float64()*float64(c.config.Interval)/10)) //nolint:gosec // A spread, not a secret.
	if err != nil {
		return
	}
	s := snapshot{begun: begun, ids: make(map[string]bool, len(all))}
	for _, t := range all {
		s.ids[t.id] = true
	}
	w.lists = append(w.lists, s)
	w.lists = w.lists[max(0, len(w.lists)-2):]
}

// learnFromList notes what a list shows of a token of which the hash is known.
func (c *Connection) learnFromList(p place, all []listed, known func(id string) (sha256 string, known bool)) {
	for i := range all {
		sha256, _ := known(all[i].id)
		if sha256 == "" {
			continue
		}
		shown := sha256 == all[i].value.SHA256()
		c.learn(p.kind, func(seen *v1alpha1.TokenCapabilities) bool { return setTo(&seen.ListedValues, shown) })
		return
	}
}
