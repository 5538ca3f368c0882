package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// compared is the size of the burst that is held against the floor, and against which larger ones are held.
const compared = 1000

// bursts are some of each size: the operator and the floor in turn, on one control plane.
func bursts(ctx context.Context, w *world, o *options) error {
	if err := w.prepare(ctx); err != nil {
		return err
	}
	var reference, largest *burst
	for _, n := range o.sizes {
		var lowest *burst
		namespace := fmt.Sprintf("floor-%d", n)
		if err := w.withFloor(ctx, namespace, func(pid int) (err error) {
			lowest, err = w.burst(ctx, pid, namespace, "default", n)
			return err
		}); err != nil {
			return fmt.Errorf("the floor with %d: %w", n, err)
		}
		if err := w.deleteAll(ctx, namespace, n, nil); err != nil {
			return err
		}
		namespace = fmt.Sprintf("burst-%d", n)
		operator, err := w.startOperator(ctx)
		if err != nil {
			return err
		}
		ours, err := w.burst(ctx, operator.PID(), namespace, "default", n)
		if err != nil {
			return errors.Join(fmt.Errorf("the operator with %d: %w", n, err), end(operator))
		}
		w.results.Bursts, w.results.Floors = append(w.results.Bursts, ours), append(w.results.Floors, lowest)
		w.tellBurst(ours, lowest)
		var refused []float64
		var watched sync.Mutex
		judge := newJudge(operator)
		err = w.deleteAll(ctx, namespace, n, func(value string, deleted time.Time) error {
			for {
				status, err := judge.ask(ctx, value)
				if err != nil {
					return err
				}
				if status == http.StatusUnauthorized {
					watched.Lock()
					defer watched.Unlock()
					refused = append(refused, float64(time.Since(deleted).Microseconds())/1000)
					return nil
				}
			}
		})
		if err = errors.Join(err, end(operator)); err != nil {
			return err
		}
		p50, p99 := percentiles(refused)
		scenario := fmt.Sprintf("delete %d", n)
		w.results.report(scenario, "delete accepted → token refused, p50", p50, "ms")
		w.results.aim(scenario, "delete accepted → token refused, p99", p99, "ms", 250)
		if n == compared {
			reference = ours
		}
		largest = ours
	}
	if reference != nil && largest.N > reference.N {
		w.results.hold(fmt.Sprintf("burst %d", largest.N), fmt.Sprintf("time per token / time per token of %d", reference.N),
			largest.Seconds/float64(largest.N)*float64(reference.N)/reference.Seconds, "×", 1.15)
	}
	return nil
}

func (w *world) tellBurst(ours, lowest *burst) {
	scenario, r := fmt.Sprintf("burst %d", ours.N), w.results
	r.report(scenario, "all ready", ours.Seconds, "s")
	r.report(scenario, "all ready, the floor", lowest.Seconds, "s")
	r.report(scenario, "apply → Ready, p50", ours.P50, "ms")
	r.report(scenario, "apply → Ready, p99", ours.P99, "ms")
	r.report(scenario, "apply → Ready, p99, the floor", lowest.P99, "ms")
	r.report(scenario, "CPU per token", ours.CPU, "ms")
	r.report(scenario, "CPU per token, the floor", lowest.CPU, "ms")
	if ours.N == compared {
		r.hold(scenario, "time / the floor's", ours.Seconds/lowest.Seconds, "×", 1.3)
		r.hold(scenario, "CPU / the floor's", ours.CPU/lowest.CPU, "×", 2)
	} else {
		r.report(scenario, "time / the floor's", ours.Seconds/lowest.Seconds, "×")
		r.report(scenario, "CPU / the floor's", ours.CPU/lowest.CPU, "×")
	}
	if ours.N >= compared { // Of fewer, what is written once counts.
		r.hold(scenario, "API writes per new token", ours.Writes, "", 5)
	} else {
		r.report(scenario, "API writes per new token", ours.Writes, "")
	}
	r.report(scenario, "API reads per new token", ours.Reads, "")
	if ours.N == 10_000 {
		r.aim(scenario, "memory at rest", ours.RSS, "MB", 150)
	} else {
		r.report(scenario, "memory at rest", ours.RSS, "MB")
	}
	r.report(scenario, "memory at the peak", ours.Peak, "MB")
}

func end(operator *testenv.Operator) error {
	operator.Stop()
	return operator.Remove()
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
			return errors.Join(w.k8s.Patch(ctx, token, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))), w.k8s.Delete(ctx, &secret))
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

func newJudge(operator *testenv.Operator) *judge {
	caller, err := operator.Client()
	if err != nil {
		caller = http.DefaultClient // It says itself that it does not trust the authority.
	}
	caller.Transport.(*http.Transport).MaxIdleConnsPerHost = 64
	return &judge{caller, operator.AuthorityURL + "/v1/issuers/default/authorize"}
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
	if err := w.prepare(ctx); err != nil {
		return err
	}
	operator, err := w.startOperator(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = end(operator) }()
	if _, err := w.burst(ctx, operator.PID(), namespace, "default", n); err != nil {
		return err
	}
	before, err := w.requests(ctx)
	if err != nil {
		return err
	}
	cpuBefore, err := cpu(operator.PID())
	if err != nil {
		return err
	}
	start, asked := time.Now(), make(chan error, 1)
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"now"}}}`, v1alpha1.RotateRequestAnnotation))
	go func() {
		asked <- workers(creators, n, func(i int) error { return w.k8s.Patch(ctx, newToken(namespace, "default", i), patch) })
	}()
	second := map[int]bool{}
	err = w.await(ctx, namespace, func(t *v1alpha1.AccountToken) bool {
		if t.Status.Token != nil && t.Status.Token.Revision == 2 && t.Status.Pending == nil {
			second[numberOf(t)] = true
		}
		return len(second) == n
	})
	if err = errors.Join(err, <-asked); err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	if err := pause(ctx, 3*time.Second); err != nil { // Events come late.
		return err
	}
	cpuAfter, err := cpu(operator.PID())
	if err != nil {
		return err
	}
	_, writes, reads, err := w.perResource(ctx, before, "PATCH accounttokens", n)
	if err != nil {
		return err
	}
	w.results.report(scenario, "all replaced", seconds, "s")
	w.results.report(scenario, "CPU per token", float64((cpuAfter-cpuBefore).Microseconds())/1000/n, "ms")
	w.results.hold(scenario, "API writes per rotation", writes, "", 4)
	w.results.report(scenario, "API reads per rotation", reads, "")

	if before, err = w.requests(ctx); err != nil {
		return err
	}
	revoked := map[int]bool{}
	if err := w.await(ctx, namespace, func(t *v1alpha1.AccountToken) bool {
		if len(t.Status.PreviousTokens) == 0 {
			revoked[numberOf(t)] = true
		}
		return len(revoked) == n
	}); err != nil {
		return err
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	_, writes, reads, err = w.perResource(ctx, before, "", n)
	if err != nil {
		return err
	}
	w.results.hold(scenario, "API writes per revocation", writes, "", 2)
	w.results.report(scenario, "API reads per revocation", reads, "")
	return nil
}

// connect makes an issuer of a stand-in for Codacy.
func (w *world) connect(ctx context.Context, name string, limited bool) (*codacytest.Server, *codacytest.Running, error) {
	behaviour, err := codacytest.Edition("cloud-2026-08")
	if err != nil {
		return nil, nil, err
	}
	if !limited {
		behaviour.RateLimit = nil
	}
	server := codacytest.New(clock.RealClock{}, behaviour)
	credential := server.CreateAccountToken(server.AddAccount("Robot", "robot@acme.example"), nil)
	running, err := codacytest.StartTLS(server, "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.Namespace, Name: name},
		Data:       map[string][]byte{v1alpha1.DefaultCredentialsKey: []byte(credential.Value.Reveal())},
	}
	issuer := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ClusterTokenIssuerSpec{
		IssuerSpec: v1alpha1.IssuerSpec{Codacy: &v1alpha1.CodacyIssuer{
			URL: running.URL, CABundle: running.CAPEM, CredentialsSecretRef: v1alpha1.SecretKeyReference{Name: name},
		}},
		Grants: []v1alpha1.Grant{{NamespaceSelector: &v1alpha1.NamespaceSelector{}, Accounts: []v1alpha1.AccountPattern{"Robot"}}},
	}}
	return server, running, errors.Join(w.k8s.Create(ctx, secret), w.k8s.Create(ctx, issuer))
}

func asked(server *codacytest.Server) (total int) {
	for operation, count := range server.Requests() {
		if !strings.Contains(operation, ":") {
			total += count
		}
	}
	return total
}

// codacyBurst is a burst against a stand-in for Codacy, without and with Codacy's limit of requests.
func codacyBurst(ctx context.Context, w *world, _ *options) error {
	operator, err := w.startOperator(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = end(operator) }()
	for _, s := range []struct {
		name    string
		limited bool
		n       int
	}{{"codacy", false, compared}, {"codacy-limited", true, 100}} {
		server, running, err := w.connect(ctx, s.name, s.limited)
		if err != nil {
			return err
		}
		found, err := w.burst(ctx, operator.PID(), "burst-"+s.name, s.name, s.n)
		if err != nil {
			return err
		}
		scenario := fmt.Sprintf("%s %d", s.name, s.n)
		w.results.report(scenario, "all ready", found.Seconds, "s")
		w.results.report(scenario, "apply → Ready, p99", found.P99, "ms")
		w.results.report(scenario, "CPU per token", found.CPU, "ms")
		w.results.hold(scenario, "API writes per new token", found.Writes, "", 5)
		w.results.report(scenario, "requests to the service per token", float64(asked(server))/float64(s.n), "")
		_ = running.Close()
	}
	return nil
}

// atRest is with many resources that need nothing: at rest, and when the operator starts anew.
func atRest(ctx context.Context, w *world, o *options) error {
	n := o.sizes[len(o.sizes)-1]
	scenario := fmt.Sprintf("at rest %d", n)
	server, running, err := w.connect(ctx, "codacy", false)
	if err != nil {
		return err
	}
	defer func() { _ = running.Close() }()
	operator, err := w.startOperator(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = end(operator) }()
	if _, err := w.burst(ctx, operator.PID(), "rest", "codacy", n); err != nil {
		return err
	}
	if err := pause(ctx, 30*time.Second); err != nil { // Until what was minted last is looked for no more.
		return err
	}
	writes, reads, requests, err := w.watched(ctx, server, o.idle)
	if err != nil {
		return err
	}
	now, _, err := memory(operator.PID())
	if err != nil {
		return err
	}
	w.results.hold(scenario, fmt.Sprintf("API writes in %s", o.idle), writes, "", 0)
	w.results.report(scenario, fmt.Sprintf("API reads in %s", o.idle), reads, "")
	// Once in an interval of an hour the account is looked at.
	w.results.hold(scenario, fmt.Sprintf("requests to the service in %s", o.idle), requests, "", float64(n/100+2))
	w.results.aim(scenario, "memory", now, "MB", 150)

	operator.Stop()
	start := time.Now()
	if operator, err = w.startOperator(ctx); err != nil {
		return err
	}
	w.results.aim(fmt.Sprintf("restart %d", n), "start → ready", time.Since(start).Seconds(), "s", 10)
	if writes, reads, requests, err = w.watched(ctx, server, time.Minute-time.Since(start)); err != nil {
		return err
	}
	w.results.hold(fmt.Sprintf("restart %d", n), "API writes in the first minute", writes, "", 0)
	w.results.report(fmt.Sprintf("restart %d", n), "API reads in the first minute", reads, "")
	w.results.hold(fmt.Sprintf("restart %d", n), "requests to the service in the first minute", requests, "", 0)
	return nil
}

// watched counts what is asked within a time.
func (w *world) watched(ctx context.Context, server *codacytest.Server, duration time.Duration) (writes, reads, service float64, err error) {
	before, err := w.requests(ctx)
	if err != nil {
		return 0, 0, 0, err
	}
	askedBefore := asked(server)
	if err := pause(ctx, duration); err != nil {
		return 0, 0, 0, err
	}
	after, err := w.requests(ctx)
	if err != nil {
		return 0, 0, 0, err
	}
	later := after.since(before)
	return later.writes(), later.reads(), float64(asked(server) - askedBefore), nil
}

// noisyTenant has many resources of one issuer fail, and looks whether those of another are held up.
func noisyTenant(ctx context.Context, w *world, _ *options) error {
	const failing, n, scenario = 2000, 300, "noisy tenant"
	_, quiet, err := w.connect(ctx, "quiet", false)
	if err != nil {
		return err
	}
	defer func() { _ = quiet.Close() }()
	noisy, running, err := w.connect(ctx, "noisy", false)
	if err != nil {
		return err
	}
	defer func() { _ = running.Close() }()
	noisy.Fault(func(operation string, _ *http.Request) codacytest.Fault {
		if operation == "createUserApiToken" {
			return codacytest.Fault{Kind: codacytest.Refuse, Status: http.StatusForbidden}
		}
		return codacytest.Fault{}
	})
	operator, err := w.startOperator(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = end(operator) }()
	alone, err := w.burst(ctx, operator.PID(), "alone", "quiet", n)
	if err != nil {
		return err
	}
	if err := w.namespace(ctx, "noisy"); err != nil {
		return err
	}
	begun := make(chan error, 1)
	go func() {
		begun <- workers(creators, failing, func(i int) error { return w.k8s.Create(ctx, newToken("noisy", "noisy", i)) })
	}()
	beside, err := w.burst(ctx, operator.PID(), "beside", "quiet", n)
	if err = errors.Join(err, <-begun); err != nil {
		return err
	}
	after, err := w.burst(ctx, operator.PID(), "after", "quiet", n)
	if err != nil {
		return err
	}
	w.results.report(scenario, "apply → Ready, p99, undisturbed", alone.P99, "ms")
	w.results.report(scenario, "p99 while they are applied / undisturbed", beside.P99/alone.P99, "×")
	w.results.hold(scenario, "p99 while they fail / undisturbed", after.P99/alone.P99, "×", 2)
	return nil
}
