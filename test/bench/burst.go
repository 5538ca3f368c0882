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
	// CPU per resource in milliseconds; MB at rest afterwards, and at the peak.
	CPU  float64 `json:"cpuMilliseconds"`
	RSS  float64 `json:"restMB"`
	Peak float64 `json:"peakMB"`
	// Requests to the API server per resource.
	Requests map[string]float64 `json:"requests"`
	Writes   float64            `json:"writes"`
	Reads    float64            `json:"reads"`
}

// burst applies n resources of an issuer, and measures a process that makes them ready.
func (w *world) burst(ctx context.Context, pid int, namespace, issuer string, n int) (*burst, error) {
	if err := w.namespace(ctx, namespace); err != nil {
		return nil, err
	}
	before, err := w.requests(ctx)
	if err != nil {
		return nil, err
	}
	cpuBefore, err := cpu(pid)
	if err != nil {
		return nil, err
	}
	began := make([]time.Time, n)
	created := make(chan error, 1)
	start := time.Now()
	go func() {
		created <- workers(creators, n, func(i int) error {
			token := newToken(namespace, issuer, i)
			began[i] = time.Now()
			return w.k8s.Create(ctx, token)
		})
	}()
	at := map[int]time.Time{}
	err = w.await(ctx, namespace, func(t *v1alpha1.AccountToken) bool {
		i := numberOf(t)
		if _, known := at[i]; !known && meta.IsStatusConditionTrue(t.Status.Conditions, v1alpha1.ConditionReady) {
			at[i] = time.Now()
		}
		return len(at) == n
	})
	if err = errors.Join(err, <-created); err != nil {
		return nil, err
	}
	found := &burst{N: n, Seconds: time.Since(start).Seconds()}
	var took []float64
	for i, when := range at {
		took = append(took, float64(when.Sub(began[i]).Microseconds())/1000)
	}
	found.P50, found.P99 = percentiles(took)
	if err := pause(ctx, 3*time.Second); err != nil { // Events come late.
		return nil, err
	}
	cpuAfter, err := cpu(pid)
	if err != nil {
		return nil, err
	}
	found.CPU = float64((cpuAfter - cpuBefore).Microseconds()) / 1000 / float64(n)
	if found.RSS, found.Peak, err = memory(pid); err != nil {
		return nil, err
	}
	found.Requests, found.Writes, found.Reads, err = w.perResource(ctx, before, "POST accounttokens", n)
	return found, err
}

// perResource divides what was asked of the API server since, apart from what the benchmark itself did.
func (w *world) perResource(ctx context.Context, before counts, own string, n int) (each map[string]float64, writes, reads float64, err error) {
	after, err := w.requests(ctx)
	if err != nil {
		return nil, 0, 0, err
	}
	asked := after.since(before).without(own, n)
	each = map[string]float64{}
	for what, count := range asked {
		each[what] = count / float64(n)
	}
	return each, asked.writes() / float64(n), asked.reads() / float64(n), nil
}

// await looks at each resource, and then at each change, until something is so.
func (w *world) await(ctx context.Context, namespace string, done func(*v1alpha1.AccountToken) bool) error {
	ctx, cancel := context.WithTimeout(ctx, mostWait)
	defer cancel()
	for {
		changes, err := w.k8s.Watch(ctx, &v1alpha1.AccountTokenList{}, client.InNamespace(namespace))
		if err != nil {
			return err
		}
		if is, err := awaitIn(ctx, changes, done); is || err != nil {
			return err
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
