package year_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/manager"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

const (
	namespace = "year"
	builtIn   = "default"
	service   = "codacy"
	tokenKey  = "TOKEN"

	builtInTokens      = 150
	repositories       = 3
	tokensOfRepository = 40
	accountTokens      = 30
	resources          = builtInTokens + repositories*tokensOfRepository + accountTokens

	// patience is how long, on the real clock, the operator may take to come to rest.
	patience = 2 * time.Minute
	// Whenever nothing has changed for idle, the clock is moved by a moment: what the operator waits for may be that.
	idle   = 20 * time.Millisecond
	moment = 2 * time.Second
	// servicePause goes by the real clock.
	servicePause = 100 * time.Millisecond
	// midway is how far on the operator may be with what has fallen due when something happens to it.
	midway = 50 * time.Millisecond
)

// world is a control plane, a stand-in for Codacy, an operator between them, and who observes it all.
type world struct {
	*testing.T
	ctx          context.Context
	controlPlane *testenv.ControlPlane
	clock        *steppedClock
	began        time.Time
	server       *codacytest.Server
	running      *codacytest.Running
	// underWay are requests to the stand-in that are not answered.
	underWay atomic.Int64
	observer *observer
	figures  figures

	// stop ends the operator; nil while there is none.
	stop func()
	// failing: the service does.
	failing bool
}

// steppedClock stands still until it is moved. It spares whoever ticks often most of the ticks of a year.
type steppedClock struct{ *clocktesting.FakeClock }

func (c *steppedClock) NewTicker(d time.Duration) clock.Ticker {
	const often = 10 * time.Second
	return c.FakeClock.NewTicker(max(d, often))
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	behaviour, err := codacytest.Edition("cloud-2026-08")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	controlPlane, err := testenv.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now().Truncate(time.Second)
	w := &world{T: t, ctx: ctx, controlPlane: controlPlane, clock: &steppedClock{clocktesting.NewFakeClock(began)}, began: began}
	w.server = codacytest.New(w.clock, behaviour)
	w.running, err = codacytest.StartTLS(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.underWay.Add(1)
		defer w.underWay.Add(-1)
		w.server.ServeHTTP(rw, r)
	}), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	observed := make(chan struct{})
	t.Cleanup(func() {
		if w.stop != nil {
			w.stop()
		}
		_ = w.running.Close()
		cancel()
		<-observed
		if err := controlPlane.Stop(); err != nil {
			t.Error(err)
		}
	})
	w.observer = w.observe(observed)
	return w
}

func (w *world) create(o client.Object) {
	w.Helper()
	if err := w.controlPlane.Client.Create(w.ctx, o); err != nil {
		w.Fatal(err)
	}
}

// start starts an operator in this process.
func (w *world) start() {
	w.Helper()
	options := &manager.Options{
		Namespace: testenv.Namespace, LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		ServiceTimeout: 30 * time.Second, ServicePause: servicePause,
		RateLimits:       []string{strings.TrimPrefix(w.running.URL, "https://") + "=1000/5m/50"},
		AuthorityAddress: testenv.FreeAddress(), AuthorityMaxStaleness: 30 * time.Second, MetricsAddress: "0", ProbeAddress: "0",
	}
	ctx, cancel := context.WithCancel(w.ctx)
	mgr, err := manager.New(ctx, w.controlPlane.Operator, options, w.clock)
	if err != nil {
		w.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.Error(err)
		}
	})
}

// addResources makes the issuers and all resources.
func (w *world) addResources() {
	w.Helper()
	account := w.server.AddAccount("robot", "robot@acme.example")
	credential := w.server.CreateAccountToken(account, nil)
	w.observer.credential = credential.ID
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	w.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.Namespace, Name: service},
		Data:       map[string][]byte{v1alpha1.DefaultCredentialsKey: []byte(credential.Value.Reveal())},
	})
	grants := []v1alpha1.Grant{{
		NamespaceSelector: &v1alpha1.NamespaceSelector{}, Accounts: []v1alpha1.AccountPattern{"*"}, Projects: []v1alpha1.ProjectPattern{"*/*/*"},
	}}
	w.create(&v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: builtIn},
		Spec:       v1alpha1.ClusterTokenIssuerSpec{BuiltIn: &v1alpha1.BuiltInIssuer{Accounts: []v1alpha1.Account{{Name: "robot"}}}, Grants: grants},
	})
	w.create(&v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: service},
		Spec: v1alpha1.ClusterTokenIssuerSpec{
			IssuerSpec: v1alpha1.IssuerSpec{
				Codacy: &v1alpha1.CodacyIssuer{
					URL: w.running.URL, CABundle: w.running.CAPEM, CredentialsSecretRef: v1alpha1.SecretKeyReference{Name: service},
				},
				CheckInterval: &metav1.Duration{Duration: day},
			},
			Grants: grants,
		},
	})
	spec := func(issuer string) v1alpha1.TokenSpec {
		return v1alpha1.TokenSpec{IssuerRef: v1alpha1.IssuerReference{Name: issuer}, Secret: &v1alpha1.SecretTarget{TokenKey: tokenKey}}
	}
	for i := range builtInTokens {
		w.addResource(&v1alpha1.AccountToken{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("builtin-%d", i)},
			Spec:       v1alpha1.AccountTokenSpec{TokenSpec: spec(builtIn), Account: "robot"},
		})
	}
	for i := range accountTokens {
		w.addResource(&v1alpha1.AccountToken{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("account-%d", i)}, Spec: v1alpha1.AccountTokenSpec{TokenSpec: spec(service)},
		})
	}
	for r := range repositories {
		repository := fmt.Sprintf("repository-%d", r)
		w.server.AddRepository("gh", "acme", repository)
		for i := range tokensOfRepository {
			w.addResource(&v1alpha1.ProjectToken{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", repository, i)},
				Spec: v1alpha1.ProjectTokenSpec{
					TokenSpec: spec(service),
					Project:   v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: v1alpha1.PathSegment(repository)},
				},
			})
		}
	}
}

func (w *world) addResource(t v1alpha1.Token) {
	w.Helper()
	t.SetNamespace(namespace)
	w.observer.expect(t)
	w.create(t)
}

// today is the day that it is.
func (w *world) today() int { return int(w.clock.Since(w.began) / day) }

// moveTo moves the clock.
func (w *world) moveTo(at time.Time) {
	if at.After(w.clock.Now()) {
		w.clock.SetTime(at)
	}
}

// happen has an incident happen, and plans what follows from it.
func (w *world) happen(i incident, future *plan, chance *rand.Rand) {
	w.Helper()
	if i.busy {
		time.Sleep(time.Duration(chance.Int64N(int64(midway))))
	}
	now := w.clock.Now()
	switch i.what {
	case serviceFails:
		w.server.Fault(func(string, *http.Request) codacytest.Fault { return i.fault })
		w.failing = true
		w.figures.fails(now)
		future.add(incident{what: serviceIsBack, at: now.Add(i.lasts)})
	case serviceIsBack:
		w.server.Fault(nil)
		w.failing = false
		w.figures.isBack(now, len(w.waiting()))
	case operatorStops:
		if w.stop == nil {
			return // It has stopped already.
		}
		w.stop()
		w.stop = nil
		w.figures.stops(now)
		future.add(incident{what: operatorStarts, at: now.Add(i.lasts)})
	case operatorStarts:
		w.start()
		w.figures.starts(now)
	}
}

// waiting are the resources for which there is something to do that can be done.
func (w *world) waiting() []string { return w.observer.waiting(w.clock.Now(), w.failing) }

// rest waits until the operator has done all that has fallen due, if there is one.
func (w *world) rest() {
	w.Helper()
	if w.stop == nil {
		return
	}
	for deadline := time.Now().Add(patience); ; {
		waiting := w.waiting()
		if len(waiting) == 0 && (w.failing || w.underWay.Load() == 0) {
			w.figures.rests(w.clock.Now())
			return
		}
		if time.Now().After(deadline) {
			w.Fatalf("waited in vain for %d resources, such as %q; requests: %v", len(waiting), waiting[:min(3, len(waiting))], w.server.Requests())
		}
		select {
		case <-w.observer.changed:
		case <-time.After(idle):
			w.clock.Step(moment)
		}
	}
}
