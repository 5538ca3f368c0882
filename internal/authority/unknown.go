package authority

import (
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// unknownHashes are those that the API server did not know, or that a resource had and has no more. They are remembered for a
// minute or two, so that the bound of lookups is not used up by who goes on to ask with a revoked token. That can't refuse a
// token that is made later: nobody can present 256 random bits before they are chosen.
type unknownHashes struct {
	clock clock.PassiveClock

	mu sync.Mutex
	// A generation is followed by the next when it is full or a minute old, and forgotten with the one after that.
	young, old map[hash]struct{}
	began      time.Time
}

const (
	generationSize     = 10_000
	generationLifetime = time.Minute
)

func newUnknown(clk clock.PassiveClock) *unknownHashes { return &unknownHashes{clock: clk} }

func (u *unknownHashes) add(h hash) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.age()
	if u.young == nil {
		u.young, u.began = map[hash]struct{}{}, u.clock.Now()
	}
	u.young[h] = struct{}{}
}

func (u *unknownHashes) has(h hash) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.age()
	_, young := u.young[h]
	_, old := u.old[h]
	return young || old
}

func (u *unknownHashes) age() {
	switch age := u.clock.Since(u.began); {
	case age >= 2*generationLifetime:
		u.young, u.old = nil, nil
	case age >= generationLifetime || len(u.young) >= generationSize:
		u.young, u.old, u.began = nil, u.young, u.clock.Now()
	}
}
