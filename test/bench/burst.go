package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

const (
	// creators apply resources at the same time.
	creators = 20
	// mostWait is how long all may take to become what is waited for.
	mostWait = 30 * time.Minute
)

// burst is what came of applying many resources at once.
type burst struct {
	N int `json:"n"`
	// Seconds until all were ready; of each, from the begin of its creation to when a watch saw it ready, in milliseconds.
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50Milliseconds"`
	P99     float64 `json:"p99Milliseconds"`
	// MB at the peak.
	Peak float64 `json:"peakMB"`
	*cost
	// Of each, from when its deletion was accepted to when the authority refused its token, in milliseconds; nothing for the floor.
	RefusedP50 float64 `json:"refusedP50Milliseconds,omitempty"`
	RefusedP99 float64 `json:"refusedP99Milliseconds,omitempty"`
	// Start is how many seconds the process took to get ready, when there were no tokens; nothing for the floor.
	Start float64 `json:"startSeconds,omitempty"`
}

// burst applies n resources of an issuer, and measures a process that makes them ready.
func (w *world) burst(ctx context.Context, pid int, namespace, issuer string, n int) (*burst, error) {
	if err := w.namespace(ctx, namespace); err != nil {
		return nil, err
	}
	m, err := w.measure(ctx, pid)
	if err != nil {
		return nil, err
	}
	began := make([]time.Time, n)
	created := make(chan error, 1)
	go func() {
		created <- workers(creators, n, func(i int) error {
			token := newToken(namespace, issuer, i)
			began[i] = time.Now()
			return w.k8s.Create(ctx, token)
		})
	}()
	at, err := w.awaitAll(ctx, namespace, n, func(t *v1alpha1.AccountToken) bool {
		return meta.IsStatusConditionTrue(t.Status.Conditions, v1alpha1.ConditionReady)
	})
	if err = errors.Join(err, <-created); err != nil {
		return nil, err
	}
	found := &burst{N: n, Seconds: time.Since(m.began).Seconds()}
	var took []float64
	for i, when := range at {
		took = append(took, milliseconds(when.Sub(began[i])))
	}
	found.P50, found.P99 = percentiles(took)
	if found.cost, err = m.cost(ctx, "POST accounttokens", n); err != nil {
		return nil, err
	}
	_, found.Peak, err = memory(pid)
	return found, err
}

// awaitAll looks at each resource, and then at each change, until something was so of all n, and says when it was seen of each.
func (w *world) awaitAll(ctx context.Context, namespace string, n int, so func(*v1alpha1.AccountToken) bool) (at map[int]time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, mostWait)
	defer cancel()
	at = map[int]time.Time{}
	see := func(t *v1alpha1.AccountToken) (done bool) {
		i := numberOf(t)
		if _, known := at[i]; !known && so(t) {
			at[i] = time.Now()
		}
		return len(at) == n
	}
	for {
		changes, err := w.k8s.Watch(ctx, &v1alpha1.AccountTokenList{}, client.InNamespace(namespace))
		if err != nil {
			return nil, err
		}
		if is, err := awaitIn(ctx, changes, see); is || err != nil {
			return at, err
		}
	}
}

// awaitIn is false if the watch has ended before it was so. An API server ends it when it likes.
func awaitIn(ctx context.Context, changes watch.Interface, done func(*v1alpha1.AccountToken) bool) (is bool, err error) {
	defer changes.Stop()
	for {
		select {
		case change, open := <-changes.ResultChan():
			if !open {
				return false, nil
			}
			if t, is := change.Object.(*v1alpha1.AccountToken); is && done(t) {
				return true, nil
			}
		case <-ctx.Done():
			return false, fmt.Errorf("waited in vain: %w", ctx.Err())
		}
	}
}

func numberOf(t *v1alpha1.AccountToken) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(t.Name, "token-"))
	return n
}

func percentiles(values []float64) (p50, p99 float64) {
	if len(values) == 0 {
		return 0, 0
	}
	slices.Sort(values)
	return values[len(values)/2], values[len(values)*99/100]
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
