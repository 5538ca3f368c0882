package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

const (
	// compared is the size of the burst that is held against the floor, and against which larger ones are held.
	compared = 1000
	// comparisons are how often it is held; the middle one counts.
	comparisons = 3
)

// pair is the operator, and the floor right before it.
type pair struct{ ours, lowest *burst }

func (p *pair) ratio() float64 { return p.ours.Seconds / p.lowest.Seconds }

// bursts are some of each size: the floor and the operator in turn, on one control plane.
func bursts(ctx context.Context, w *world, o *options) error {
	if err := w.prepare(ctx); err != nil {
		return err
	}
	var reference, largest *pair
	for _, n := range o.sizes {
		p, err := w.middlePair(ctx, n)
		if err != nil {
			return err
		}
		w.results.Bursts, w.results.Floors = append(w.results.Bursts, p.ours), append(w.results.Floors, p.lowest)
		w.tellBurst(p)
		if n == compared {
			reference = p
		}
		largest = p
	}
	if reference != nil && largest.ours.N > reference.ours.N {
		scenario, what := fmt.Sprintf("burst %d", largest.ours.N), fmt.Sprintf("time per token / time per token of %d", reference.ours.N)
		ours, lowest := largest.ours.perToken()/reference.ours.perToken(), largest.lowest.perToken()/reference.lowest.perToken()
		w.results.report(scenario, what, ours, "×")
		w.results.report(scenario, what+", the floor", lowest, "×")
		// Between the two bursts are minutes, in which the machine, and the API server with all its objects, get slower.
		w.results.hold(scenario, what+", / the floor's", ours/lowest, "×", 1.15)
	}
	return nil
}

func (b *burst) perToken() float64 { return b.Seconds / float64(b.N) }

func (w *world) middlePair(ctx context.Context, n int) (*pair, error) {
	times := 1
	if n == compared {
		times = comparisons
	}
	var pairs []*pair
	for i := range times {
		lowest, err := w.floorBurst(ctx, fmt.Sprintf("floor-%d-%d", n, i), n)
		if err != nil {
			return nil, fmt.Errorf("the floor with %d: %w", n, err)
		}
		ours, err := w.operatorBurst(ctx, fmt.Sprintf("burst-%d-%d", n, i), n)
		if err != nil {
			return nil, fmt.Errorf("the operator with %d: %w", n, err)
		}
		pairs = append(pairs, &pair{ours, lowest})
	}
	slices.SortFunc(pairs, func(a, b *pair) int { return cmp.Compare(a.ratio(), b.ratio()) })
	return pairs[len(pairs)/2], nil
}

func (w *world) floorBurst(ctx context.Context, namespace string, n int) (lowest *burst, err error) {
	err = w.withFloor(ctx, namespace, func(pid int) (err error) {
		lowest, err = w.burst(ctx, pid, namespace, "default", n)
		return err
	})
	if err != nil {
		return nil, err
	}
	return lowest, w.deleteAll(ctx, namespace, n, nil)
}

// operatorBurst starts the operator for a burst, and has the authority asked for each token when all are deleted.
func (w *world) operatorBurst(ctx context.Context, namespace string, n int) (*burst, error) {
	start := time.Now()
	operator, err := w.startOperator(ctx)
	if err != nil {
		return nil, err
	}
	started := time.Since(start)
	found, err := w.burstAndDelete(ctx, operator, namespace, n)
	if err = errors.Join(err, end(operator)); err != nil {
		return nil, err
	}
	found.Start = started.Seconds()
	return found, nil
}

func (w *world) burstAndDelete(ctx context.Context, operator *testenv.Operator, namespace string, n int) (*burst, error) {
	judge, err := newJudge(operator)
	if err != nil {
		return nil, err
	}
	if err := w.awaitIssuer(ctx, "default"); err != nil {
		return nil, err
	}
	found, err := w.burst(ctx, operator.PID(), namespace, "default", n)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var refused []float64
	err = w.deleteAll(ctx, namespace, n, func(value string, deleted time.Time) error {
		if err := judge.awaitRefusal(ctx, value); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		refused = append(refused, milliseconds(time.Since(deleted)))
		return nil
	})
	found.RefusedP50, found.RefusedP99 = percentiles(refused)
	return found, err
}

func (w *world) tellBurst(p *pair) {
	ours, lowest, r := p.ours, p.lowest, w.results
	scenario := fmt.Sprintf("burst %d", ours.N)
	r.aim(scenario, "start → ready, without tokens", ours.Start, "s", 2)
	r.report(scenario, "all ready", ours.Seconds, "s")
	r.report(scenario, "all ready, the floor", lowest.Seconds, "s")
	r.report(scenario, "apply → Ready, p50", ours.P50, "ms")
	r.report(scenario, "apply → Ready, p99", ours.P99, "ms")
	r.report(scenario, "apply → Ready, p99, the floor", lowest.P99, "ms")
	r.report(scenario, "CPU per token", ours.CPU, "ms")
	r.report(scenario, "CPU per token, the floor", lowest.CPU, "ms")
	if ours.N == compared {
		r.hold(scenario, "time / the floor's", p.ratio(), "×", 1.3)
		r.hold(scenario, "CPU / the floor's", ours.CPU/lowest.CPU, "×", 2)
	} else {
		r.report(scenario, "time / the floor's", p.ratio(), "×")
		r.report(scenario, "CPU / the floor's", ours.CPU/lowest.CPU, "×")
	}
	if ours.N >= compared { // Of fewer, what is written once counts.
		r.hold(scenario, "API writes per new token", ours.Writes, "", 5)
	} else {
		r.report(scenario, "API writes per new token", ours.Writes, "")
	}
	r.report(scenario, "API reads per new token", ours.Reads, "")
	r.report(scenario, "memory at the peak", ours.Peak, "MB")
	scenario = fmt.Sprintf("delete %d", ours.N)
	r.report(scenario, "delete accepted → token refused, p50", ours.RefusedP50, "ms")
	r.aim(scenario, "delete accepted → token refused, p99", ours.RefusedP99, "ms", 250)
}

// deleteAll deletes resources, and waits until they are gone. refused is called with the token of each, right after its
// deletion was accepted; nil where nobody looks after them, so that their finalizers are taken off.
func (w *world) deleteAll(ctx context.Context, namespace string, n int, refused func(value string, deleted time.Time) error) error {
	return workers(creators, n, func(i int) error {
		token := newToken(namespace, "default", i)
		var secret corev1.Secret
		if err := w.k8s.Get(ctx, client.ObjectKeyFromObject(token), &secret); err != nil {
			return err
		}
		if err := w.k8s.Delete(ctx, token); err != nil {
			return err
		}
		deleted := time.Now()
		if refused == nil {
			// Garbage collection would take the Secret.
			return errors.Join(w.k8s.Patch(ctx, token, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))), w.k8s.Delete(ctx, &secret))
		}
		if err := refused(string(secret.Data["API_TOKEN"]), deleted); err != nil {
			return err
		}
		for {
			switch err := w.k8s.Get(ctx, client.ObjectKeyFromObject(token), token); {
			case apierrors.IsNotFound(err):
				return nil
			case err != nil:
				return err
			}
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	})
}

// judge asks the authority about a token.
type judge struct {
	client *http.Client
	url    string
}

func newJudge(operator *testenv.Operator) (*judge, error) {
	caller, err := operator.Client()
	if err != nil {
		return nil, err
	}
	caller.Transport.(*http.Transport).MaxIdleConnsPerHost = 64
	return &judge{caller, operator.AuthorityURL + "/v1/issuers/default/authorize"}, nil
}

// awaitRefusal asks every ten milliseconds, until a token is refused.
func (j *judge) awaitRefusal(ctx context.Context, value string) error {
	for {
		status, err := j.ask(ctx, value)
		if err != nil || status == http.StatusUnauthorized {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

func (j *judge) ask(ctx context.Context, value string) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, j.url, http.NoBody)
	if err != nil {
		return 0, err
	}
	request.Header.Set("api-token", value)
	response, err := j.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// rotation is a wave: all are asked for at once, and the replaced tokens are revoked as soon as every kubelet knows the new.
func rotation(ctx context.Context, w *world, _ *options) error {
	const n, namespace, scenario = compared, "wave", "rotation 1000"
	return w.withOperator(ctx, func(operator *testenv.Operator) error {
		if _, err := w.burst(ctx, operator.PID(), namespace, "default", n); err != nil {
			return err
		}
		m, err := w.measure(ctx, operator.PID())
		if err != nil {
			return err
		}
		asked := make(chan error, 1)
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"now"}}}`, v1alpha1.RotateRequestAnnotation))
		go func() {
			asked <- workers(creators, n, func(i int) error { return w.k8s.Patch(ctx, newToken(namespace, "default", i), patch) })
		}()
		_, err = w.awaitAll(ctx, namespace, n, func(t *v1alpha1.AccountToken) bool {
			return t.Status.Token != nil && t.Status.Token.Revision == 2 && t.Status.Pending == nil
		})
		if err = errors.Join(err, <-asked); err != nil {
			return err
		}
		seconds := time.Since(m.began).Seconds()
		c, err := m.cost(ctx, "PATCH accounttokens", n)
		if err != nil {
			return err
		}
		w.results.report(scenario, "all replaced", seconds, "s")
		w.results.report(scenario, "CPU per token", c.CPU, "ms")
		w.results.hold(scenario, "API writes per rotation", c.Writes, "", 4)
		w.results.report(scenario, "API reads per rotation", c.Reads, "")

		if m, err = w.measure(ctx, operator.PID()); err != nil {
			return err
		}
		if _, err := w.awaitAll(ctx, namespace, n, func(t *v1alpha1.AccountToken) bool { return len(t.Status.PreviousTokens) == 0 }); err != nil {
			return err
		}
		if c, err = m.cost(ctx, "", n); err != nil {
			return err
		}
		w.results.hold(scenario, "API writes per revocation", c.Writes, "", 2)
		w.results.report(scenario, "API reads per revocation", c.Reads, "")
		return nil
	})
}
