package controllers

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// writtenLifetime is for how long a write may be missing from the cache. Past that, the API server was set back to an
// older state, and what it says counts.
const writtenLifetime = time.Minute

const minPrune = 1000

// written remembers the last version of each resource that this process wrote. A decision on an older one, from a cache
// that is behind, would at best be refused by the API server, and at worst find that there is nothing to do.
type written struct {
	clock clock.PassiveClock

	mu       sync.Mutex
	versions map[types.UID]version
	// pruneAt is how many there are when those that the cache will not show any more are looked for.
	pruneAt int
}

type version struct {
	// number is empty for a resource that was released, and is gone.
	number string
	at     time.Time
}

func newWritten(clk clock.PassiveClock) *written {
	return &written{clock: clk, versions: map[types.UID]version{}, pruneAt: minPrune}
}

// note remembers a version that the API server answered to a write.
func (w *written) note(o client.Object) { w.put(o.GetUID(), o.GetResourceVersion()) }

// noteGone remembers that a resource was released, and is gone.
func (w *written) noteGone(uid types.UID) { w.put(uid, "") }

func (w *written) put(uid types.UID, number string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.Now()
	w.versions[uid] = version{number, now}
	if len(w.versions) < w.pruneAt {
		return
	}
	maps.DeleteFunc(w.versions, func(_ types.UID, v version) bool { return now.Sub(v.at) > writtenLifetime })
	w.pruneAt = max(minPrune, 2*len(w.versions))
}

// forget a resource that is gone from the cache too.
func (w *written) forget(uid types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.versions, uid)
}

// isAhead says whether what was written last is newer than the cache's version. Once the cache has caught up there is
// nothing to remember any more.
func (w *written) isAhead(cached client.Object) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	last, ok := w.versions[cached.GetUID()]
	if !ok {
		return false
	}
	if age := w.clock.Since(last.at); age < writtenLifetime && age > -writtenLifetime {
		if last.number == "" {
			return true
		}
		if order, err := resourceversion.CompareResourceVersion(cached.GetResourceVersion(), last.number); err == nil && order < 0 {
			return true
		}
	}
	delete(w.versions, cached.GetUID())
	return false
}
