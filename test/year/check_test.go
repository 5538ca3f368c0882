package year_test

import (
	"slices"
	"strconv"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

// longestDelay is how much longer than expected a replaced value may be kept. The grace period begins when the status tells
// of the next one, and that is not before operator and service are back, if they went just when the Secret was written.
const longestDelay = longestOutage + longestAbsence + longestStep + 4*grain

// refused notes that a value was refused which must not be.
func (w *world) refused(name, when string) {
	w.figures.refused()
	w.Errorf("day %d: the value of %s was refused %s", w.today(), name, when)
}

// check asks about every value that somebody may use now, and counts the tokens that there are.
func (w *world) check() {
	w.Helper()
	o, now := w.observer, w.clock.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	living, owned := w.livingTokens()
	for _, r := range o.resources {
		if !r.value.IsEmpty() {
			w.figures.asked()
			if r.ofService && !living[r.sha256] || !r.ofService && !o.accepts(false, r.value) {
				w.refused(r.name, "though it is in the Secret")
			}
		}
		r.replaced = slices.DeleteFunc(r.replaced, func(v replacedValue) bool {
			if now.Before(v.until) {
				w.figures.asked()
				if r.ofService && !living[v.sha256] || !r.ofService && !o.accepts(false, v.value) {
					w.refused(r.name, "in its grace period")
				}
				return false
			}
			if r.keeps(v) && now.Before(v.until.Add(longestDelay)) || w.isAway(r) {
				return false
			}
			w.checkRevoked(r, v)
			return true
		})
		if count := r.countLiving(now, owned); count > mostLive {
			w.Errorf("day %d: %s has %d tokens that are accepted", w.today(), r.name, count)
		} else {
			w.figures.live(count)
		}
	}
	if w.stop != nil && !w.failing {
		w.checkNobodys(owned)
	}
}

// isAway says whether who has to revoke the tokens of a resource is away, or the service where that has to be done.
func (w *world) isAway(r *resource) bool { return w.stop == nil || (w.failing && r.ofService) }

// keeps says whether a replaced value has not had its time by the resource's own account.
func (r *resource) keeps(v replacedValue) bool {
	return slices.ContainsFunc(r.status.PreviousTokens, func(p v1alpha1.PreviousToken) bool { return p.SHA256 == v.sha256 })
}

// checkRevoked: a replaced value is refused in the end. The authority learns of it by a watch.
func (w *world) checkRevoked(r *resource, v replacedValue) {
	w.Helper()
	for deadline := time.Now().Add(patience); w.observer.accepts(r.ofService, v.value); time.Sleep(idle) {
		if time.Now().After(deadline) {
			w.Errorf("day %d: a value of %s is still accepted %s after its grace period", w.today(), r.name, w.clock.Since(v.until))
			return
		}
	}
}

// livingTokens are the hashes of all tokens that the service accepts, and the tokens by id.
func (w *world) livingTokens() (living map[string]bool, byID map[string]*codacytest.Token) {
	living, byID = map[string]bool{}, map[string]*codacytest.Token{}
	for _, t := range w.server.Tokens() {
		living[t.Value.SHA256()] = true
		if t.ID != w.observer.credential {
			byID[strconv.FormatInt(t.ID, 10)] = &t
		}
	}
	return living, byID
}

// countLiving counts the tokens of a resource that are accepted, and strikes them off those of the service. Of a built-in
// one these are the hashes in its status.
func (r *resource) countLiving(now time.Time, atService map[string]*codacytest.Token) (count int) {
	var ids []string
	if current := r.status.Token; current != nil {
		ids = append(ids, current.ID)
		if !r.ofService && now.Before(current.ExpirationTime.Time) {
			count++
		}
	}
	for i := range r.status.PreviousTokens {
		previous := &r.status.PreviousTokens[i]
		ids = append(ids, previous.ID)
		if !r.ofService && now.Before(previous.ExpirationTime.Time) {
			count++
		}
	}
	if !r.ofService && r.status.Pending != nil {
		count++
	}
	if r.ofService {
		for _, id := range ids {
			if atService[id] != nil {
				count++
				delete(atService, id)
			}
		}
		if pending := r.status.Pending; pending != nil {
			for id, t := range atService {
				if (pending.Name != "" && t.Name == pending.Name) || (t.Name == "" && t.Expires != nil && t.Expires.Equal(pending.ExpirationTime.Time)) {
					count++
					delete(atService, id)
				}
			}
		}
	}
	return count
}

// checkNobodys: no token is left at the service that no resource knows.
func (w *world) checkNobodys(left map[string]*codacytest.Token) {
	w.Helper()
	if len(left) > 0 {
		w.Errorf("day %d: %d tokens at the service are nobody's", w.today(), len(left))
	}
}
