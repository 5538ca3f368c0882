package authority

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/token"
)

func TestAReplicaThatIsCutOffStopsAnswering(t *testing.T) {
	r := newReplica(t)
	w := newWorld(t, r.clock.Now())
	r.knows(r.cached, w.namespace, w.issuer, w.alice)
	clock := clocktesting.NewFakePassiveClock(time.Now()) // Of connections; r.clock is that of tokens.
	r.freshness = NewFreshness(clock)

	var streams []*watch.FakeWatcher
	cutOff := false
	lw := &toolscache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			return &v1alpha1.AccountTokenList{}, nil
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
			if cutOff {
				return nil, errors.New("no route")
			}
			streams = append(streams, watch.NewFake())
			return streams[len(streams)-1], nil
		},
	}
	if r.freshness.NewInformer(lw, &v1alpha1.AccountToken{}, 0, nil) == nil {
		t.Fatal("no informer")
	}
	var followed *watched
	for w := range r.freshness.watches {
		followed = w
	}
	ask := func(moment string, want int) {
		t.Helper()
		if status, _ := r.ask("api-token", w.aliceValue, "main/authorize"); status != want {
			t.Errorf("%s: %d, want %d", moment, status, want)
		}
	}
	open := func() watch.Interface {
		t.Helper()
		stream, err := followed.Watch(metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}

	first := open()
	clock.SetTime(clock.Now().Add(time.Hour))
	ask("with a watch that stands for an hour", http.StatusOK)

	// A watch that ends in order is followed by another one.
	second := open()
	first.Stop()
	first.Stop()
	clock.SetTime(clock.Now().Add(time.Hour))
	ask("after the next watch took over", http.StatusOK)

	cutOff = true
	second.Stop()
	if _, err := followed.Watch(metav1.ListOptions{}); err == nil {
		t.Fatal("a watch although cut off")
	}
	clock.SetTime(clock.Now().Add(30 * time.Second))
	ask("cut off for 30 seconds", http.StatusOK)
	clock.SetTime(clock.Now().Add(time.Second))
	ask("cut off for longer", http.StatusServiceUnavailable)
	if r.Ready() == nil {
		t.Error("it says that it is ready")
	}
	cutOff = false
	open()
	ask("when the watch is back", http.StatusOK)
}

// A replica whose cache is behind may have missed that a token was minted and that it was replaced. The API server can't be
// asked for a replaced token by its hash, so until the replica has caught up it can't tell.
func TestAReplicaThatIsBehindDoesNotRefuseWhatItDoesNotKnow(t *testing.T) {
	for name, test := range map[string]struct {
		behind func(clock *clocktesting.FakePassiveClock, f *Freshness, w *watched)
		want   int
	}{
		"a watch stands": {func(*clocktesting.FakePassiveClock, *Freshness, *watched) {}, http.StatusUnauthorized},
		"it is lost": {func(_ *clocktesting.FakePassiveClock, _ *Freshness, w *watched) {
			w.ended()
		}, http.StatusServiceUnavailable},
		"it was lost, and has just come back": {func(clock *clocktesting.FakePassiveClock, _ *Freshness, w *watched) {
			w.ended()
			clock.SetTime(clock.Now().Add(5 * time.Second))
			openWatch(w)
		}, http.StatusServiceUnavailable},
		"it has been back for a while": {func(clock *clocktesting.FakePassiveClock, _ *Freshness, w *watched) {
			w.ended()
			clock.SetTime(clock.Now().Add(5 * time.Second))
			openWatch(w)
			clock.SetTime(clock.Now().Add(catchUp))
		}, http.StatusUnauthorized},
		"another took over at once": {func(clock *clocktesting.FakePassiveClock, _ *Freshness, w *watched) {
			w.ended()
			clock.SetTime(clock.Now().Add(time.Second))
			openWatch(w)
		}, http.StatusUnauthorized},
		"the process was frozen": {func(clock *clocktesting.FakePassiveClock, f *Freshness, _ *watched) {
			f.beat = clock.Now()
			clock.SetTime(clock.Now().Add(5 * time.Second))
		}, http.StatusServiceUnavailable},
		"the process runs": {func(clock *clocktesting.FakePassiveClock, f *Freshness, _ *watched) {
			f.beat = clock.Now()
			clock.SetTime(clock.Now().Add(beats))
		}, http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t)
			w := newWorld(t, r.clock.Now())
			r.knows(r.cached, w.namespace, w.issuer)
			r.knows(r.server, w.namespace, w.issuer)
			clock := clocktesting.NewFakePassiveClock(time.Now())
			r.freshness = NewFreshness(clock)
			r.freshness.NewInformer(&toolscache.ListWatch{
				WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return watch.NewFake(), nil },
			}, &v1alpha1.AccountToken{}, 0, nil)
			for followed := range r.freshness.watches {
				openWatch(followed)
				test.behind(clock, r.freshness, followed)
			}
			if status, _ := r.ask("api-token", w.aliceValue, "main/authorize"); status != test.want {
				t.Errorf("an unknown token: %d, want %d", status, test.want)
			}
			if known := r.unknown.has(hash(token.NewValue(w.aliceValue).Sum())); known != (test.want == http.StatusUnauthorized) {
				t.Errorf("remembered as unknown: %t", known)
			}
			// What came in meanwhile is believed, and what is known is judged all the same.
			r.knows(r.cached, w.alice)
			if status, _ := r.ask("api-token", w.aliceValue, "main/authorize"); status != http.StatusOK {
				t.Errorf("a known token: %d", status)
			}
		})
	}
}

func openWatch(w *watched) { _, _ = w.Watch(metav1.ListOptions{}) }
