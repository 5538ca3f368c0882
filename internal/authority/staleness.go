package authority

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// Freshness knows for how long the cache has been without a watch. A replica that is cut off from the API server would
// otherwise go on to accept what was revoked long ago. docs/authority.md, When it can't tell, and docs/adr/0028.
type Freshness struct {
	clock clock.PassiveClock

	mu      sync.Mutex
	watches map[*watched]struct{}
	// beat is when the process was last seen to run; catchingUp is when it will have taken in what it missed.
	beat       time.Time
	catchingUp time.Time
}

const (
	// beats are how often it is looked whether the process runs.
	beats = 500 * time.Millisecond
	// stall is a pause of the process, or of a watch, after which the cache may be behind; catchUp is how long it may stay so.
	stall, catchUp = 2 * time.Second, 3 * time.Second
)

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*Freshness) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable: it notices when the process stands still, as one that is frozen or starved does, until the
// context ends.
func (f *Freshness) Start(ctx context.Context) error {
	ticker := time.NewTicker(beats)
	defer ticker.Stop()
	for {
		f.mu.Lock()
		f.noteStall()
		f.beat = f.clock.Now()
		f.mu.Unlock()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Behind says whether the cache may lack what happened lately: a watch is lost, or it or the process has only just come back.
func (f *Freshness) Behind() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noteStall() // A request may be the first that a thawed process sees.
	for w := range f.watches {
		if w.open == 0 {
			return true
		}
	}
	return f.clock.Now().Before(f.catchingUp)
}

func (f *Freshness) noteStall() {
	if !f.beat.IsZero() && f.clock.Since(f.beat) > stall {
		f.catchingUp = f.clock.Now().Add(catchUp)
	}
}

// NewFreshness makes a Freshness; its NewInformer must be given to the cache whose watches it is to follow. The clock
// must tell real time: this is about connections, not about the lives of tokens.
func NewFreshness(clk clock.PassiveClock) *Freshness {
	return &Freshness{clock: clk, watches: map[*watched]struct{}{}}
}

// NewInformer makes an informer whose watch is followed.
func (f *Freshness) NewInformer(lw toolscache.ListerWatcher, o runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
	w := &watched{ListerWatcherWithContext: toolscache.ToListerWatcherWithContext(lw), original: lw, freshness: f, brokenSince: f.clock.Now()}
	f.mu.Lock()
	f.watches[w] = struct{}{}
	f.mu.Unlock()
	return toolscache.NewSharedIndexInformerWithOptions(w, o, toolscache.SharedIndexInformerOptions{ResyncPeriod: resync, Indexers: indexers})
}

// Age is how long the watch that was lost first has been lost; zero while all watches stand.
func (f *Freshness) Age() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var age time.Duration
	for w := range f.watches {
		if w.open == 0 {
			age = max(age, f.clock.Since(w.brokenSince))
		}
	}
	return age
}

// watched is a ListerWatcher that tells when its watches begin and end.
type watched struct {
	toolscache.ListerWatcherWithContext
	original  toolscache.ListerWatcher
	freshness *Freshness

	// Under freshness.mu.
	open        int
	opened      bool
	brokenSince time.Time
}

// List implements toolscache.ListerWatcher.
func (w *watched) List(options metav1.ListOptions) (runtime.Object, error) {
	return w.ListWithContext(context.Background(), options)
}

// Watch implements toolscache.ListerWatcher.
func (w *watched) Watch(options metav1.ListOptions) (watch.Interface, error) {
	return w.WatchWithContext(context.Background(), options)
}

// WatchWithContext implements toolscache.ListerWatcherWithContext.
func (w *watched) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	stream, err := w.ListerWatcherWithContext.WatchWithContext(ctx, options)
	if err != nil {
		return nil, err
	}
	w.freshness.mu.Lock()
	defer w.freshness.mu.Unlock()
	// Before the first watch there was a list.
	if lost := w.freshness.clock.Since(w.brokenSince); w.open == 0 && w.opened && lost > stall {
		w.freshness.catchingUp = w.freshness.clock.Now().Add(catchUp)
	}
	w.open++
	w.opened = true
	return &watchStream{Interface: stream, ended: sync.OnceFunc(w.ended)}, nil
}

// IsWatchListSemanticsUnSupported passes on what the wrapped ListerWatcher says of itself to the reflector.
func (w *watched) IsWatchListSemanticsUnSupported() bool {
	unsupported, ok := w.original.(interface{ IsWatchListSemanticsUnSupported() bool })
	return ok && unsupported.IsWatchListSemanticsUnSupported()
}

func (w *watched) ended() {
	w.freshness.mu.Lock()
	defer w.freshness.mu.Unlock()
	if w.open--; w.open == 0 {
		w.brokenSince = w.freshness.clock.Now()
	}
}

// watchStream is a watch whose end is noticed: the reflector stops every watch that it is done with.
type watchStream struct {
	watch.Interface
	ended func()
}

func (s *watchStream) Stop() {
	s.ended()
	s.Interface.Stop()
}
