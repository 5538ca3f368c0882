package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

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
		if err := w.awaitIssuer(ctx, s.name); err != nil {
			return err
		}
		// From the first token the operator learns what the service tells of tokens; until then one is minted at a time.
		if _, err := w.burst(ctx, operator.PID(), "first-"+s.name, s.name, 1); err != nil {
			return err
		}
		before := asked(server)
		found, err := w.burst(ctx, operator.PID(), "burst-"+s.name, s.name, s.n)
		if err != nil {
			return err
		}
		scenario := fmt.Sprintf("%s %d", s.name, s.n)
		w.results.report(scenario, "all ready", found.Seconds, "s")
		w.results.report(scenario, "apply → Ready, p99", found.P99, "ms")
		w.results.report(scenario, "CPU per token", found.CPU, "ms")
		w.results.hold(scenario, "API writes per new token", found.Writes, "", 5)
		w.results.report(scenario, "requests to the service per token", float64(asked(server)-before)/float64(s.n), "")
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
	if err := w.awaitIssuer(ctx, "codacy"); err != nil {
		return err
	}
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
	if err := errors.Join(w.awaitIssuer(ctx, "quiet"), w.awaitIssuer(ctx, "noisy")); err != nil {
		return err
	}
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
