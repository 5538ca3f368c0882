// Package load_test runs the operator against a stand-in for Codacy with many resources, and counts what it asks. Operator
// and stand-in share a clock that goes faster than the real one.
package load_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/manager"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

const patience = 5 * time.Minute

// bench is a control plane, a stand-in for Codacy, and an operator between them.
type bench struct {
	*testing.T
	ctx          context.Context
	controlPlane *testenv.ControlPlane
	clock        *fastClock
	server       *codacytest.Server
	running      *codacytest.Running
	limits       []string
	pause        time.Duration
	stop         func()
}

func newBench(t *testing.T, factor int, behaviour codacytest.Behaviour) *bench {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	ctx, cancel := context.WithCancel(t.Context())
	controlPlane, err := testenv.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, ctx: ctx, controlPlane: controlPlane, clock: newFastClock(factor), pause: time.Second, stop: func() {}}
	b.server = codacytest.New(b.clock, behaviour)
	if b.running, err = codacytest.StartTLS(b.server, "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.stop()
		_ = b.running.Close()
		cancel()
		if err := controlPlane.Stop(); err != nil {
			t.Error(err)
		}
	})
	b.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "load"}})
	return b
}

// start starts an operator in this process.
func (b *bench) start() {
	b.Helper()
	options := &manager.Options{
		Namespace: testenv.Namespace, LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		ServiceTimeout: 5 * time.Second, ServicePause: b.pause, RateLimits: b.limits,
		AuthorityAddress: testenv.FreeAddress(), AuthorityMaxStaleness: 30 * time.Second, MetricsAddress: "0", ProbeAddress: "0",
	}
	ctx, cancel := context.WithCancel(b.ctx)
	mgr, err := manager.New(ctx, b.controlPlane.Operator, options, b.clock)
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
}

// addIssuer makes an account, and an issuer with its credential that grants everything to everybody.
func (b *bench) addIssuer(name string) {
	b.Helper()
	account := b.server.AddAccount(name, name+"@acme.example")
	credential := b.server.CreateAccountToken(account, nil)
	b.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.Namespace, Name: name},
		Data:       map[string][]byte{v1alpha1.DefaultCredentialsKey: []byte(credential.Value.Reveal())},
	})
	b.create(&v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.ClusterTokenIssuerSpec{
			IssuerSpec: v1alpha1.IssuerSpec{Codacy: &v1alpha1.CodacyIssuer{
				URL: b.running.URL, CABundle: b.running.CAPEM, CredentialsSecretRef: v1alpha1.SecretKeyReference{Name: name},
			}},
			Grants: []v1alpha1.Grant{{
				NamespaceSelector: &v1alpha1.NamespaceSelector{}, Accounts: []v1alpha1.AccountPattern{"*"}, Projects: []v1alpha1.ProjectPattern{"*/*/*"},
			}},
		},
	})
}

// addTokens makes so many ProjectTokens of each of an issuer's repositories.
func (b *bench) addTokens(issuer string, repositories, each int) {
	b.Helper()
	for r := range repositories {
		repository := fmt.Sprintf("%s-%d", issuer, r)
		b.server.AddRepository("gh", "acme", repository)
		for i := range each {
			b.create(&v1alpha1.ProjectToken{
				ObjectMeta: metav1.ObjectMeta{Namespace: "load", Name: fmt.Sprintf("%s-%d", repository, i)},
				Spec: v1alpha1.ProjectTokenSpec{
					TokenSpec: v1alpha1.TokenSpec{IssuerRef: v1alpha1.IssuerReference{Name: issuer}},
					Project:   v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: v1alpha1.PathSegment(repository)},
				},
			})
		}
	}
}

func (b *bench) create(o client.Object) {
	b.Helper()
	if err := b.controlPlane.Client.Create(b.ctx, o); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) tokens() (all []v1alpha1.Token) {
	b.Helper()
	var projects v1alpha1.ProjectTokenList
	var accounts v1alpha1.AccountTokenList
	for _, list := range []client.ObjectList{&projects, &accounts} {
		if err := b.controlPlane.Client.List(b.ctx, list); err != nil {
			b.Fatal(err)
		}
	}
	for i := range projects.Items {
		all = append(all, &projects.Items[i])
	}
	for i := range accounts.Items {
		all = append(all, &accounts.Items[i])
	}
	return all
}

// count counts the resources of which something is true.
func (b *bench) count(so func(ready metav1.Condition, t v1alpha1.Token) bool) (count int) {
	b.Helper()
	for _, t := range b.tokens() {
		if ready := meta.FindStatusCondition(t.SharedStatus().Conditions, v1alpha1.ConditionReady); ready != nil && so(*ready, t) {
			count++
		}
	}
	return count
}

func isReady(ready metav1.Condition, _ v1alpha1.Token) bool {
	return ready.Status == metav1.ConditionTrue
}

func (b *bench) eventually(what string, so func() bool) {
	b.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("waited in vain until %s; requests: %v", what, b.server.Requests())
		}
	}
}

// rateLimited counts the requests that were too many.
func (b *bench) rateLimited() (count int) {
	for operation, requests := range b.server.Requests() {
		if strings.HasSuffix(operation, codacytest.RateLimited) {
			count += requests
		}
	}
	return count
}

// requests counts all.
func (b *bench) requests() (count int) {
	for operation, requests := range b.server.Requests() {
		if !strings.Contains(operation, ":") {
			count += requests
		}
	}
	return count
}

func cloud(t *testing.T) codacytest.Behaviour {
	t.Helper()
	behaviour, err := codacytest.Edition("cloud-2026-08")
	if err != nil {
		t.Fatal(err)
	}
	behaviour.RateLimit = nil
	return behaviour
}

func TestHealthyTokensCostOneListAnIntervalAndNothingAfterARestart(t *testing.T) {
	const factor, repositories, each, accounts = 120, 11, 10, 90
	b := newBench(t, factor, cloud(t))
	b.addIssuer("codacy")
	b.start()
	b.addTokens("codacy", repositories, each)
	for i := range accounts {
		b.create(&v1alpha1.AccountToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: "load", Name: fmt.Sprintf("robot-%d", i)},
			Spec:       v1alpha1.AccountTokenSpec{TokenSpec: v1alpha1.TokenSpec{IssuerRef: v1alpha1.IssuerReference{Name: "codacy"}}},
		})
	}
	b.eventually("all are ready", func() bool { return b.count(isReady) == repositories*each+accounts })
	// The first of each kind, until it was seen how tokens can be told apart: its mint takes a list more.
	t.Logf("requests for %d mints: %v", repositories*each+accounts, b.server.Requests())

	b.stop()
	versions := b.versions()
	looks := b.watchRequests()
	restarted := b.clock.Now()
	b.start()
	places := repositories + 1
	b.eventually("every place was looked at twice", func() bool {
		seen := looks()
		for _, at := range seen {
			if len(at) < 2 {
				return false
			}
		}
		return len(seen) >= places
	})
	for place, at := range looks() {
		if !strings.HasPrefix(place, "listRepositoryApiTokens ") && !strings.HasPrefix(place, "getUserApiTokens ") {
			t.Errorf("something else than a list was asked for: %s", place)
		}
		if early := at[0].Sub(restarted); early < time.Minute {
			t.Errorf("%s was asked for %s after a restart, want nothing in the first minute", place, early)
		}
		// The first look is spread over an interval from when the operator has begun.
		if late := at[0].Sub(restarted); late > 2*time.Hour {
			t.Errorf("%s was looked at after %s", place, late)
		}
		// It is an hour and more from look to look. A request may be on its way for seconds, which are minutes of the fast clock.
		if apart := at[1].Sub(at[0]); apart < 45*time.Minute {
			t.Errorf("%s was asked for twice within %s, want one list an hour", place, apart)
		}
	}
	if got := len(looks()); got != places {
		t.Errorf("%d places were looked at, want %d repositories and the account", got, repositories)
	}
	if after := b.versions(); after != versions {
		t.Error("with every token healthy something was written")
	}
	t.Logf("requests with %d healthy resources from a restart until each place was looked at twice, which took %s: %v",
		repositories*each+accounts, b.clock.Since(restarted).Round(time.Minute), b.server.Requests())
}

// watchRequests begins to count anew, and notes when each place is asked for.
func (b *bench) watchRequests() (soFar func() map[string][]time.Time) {
	var mu sync.Mutex
	at := map[string][]time.Time{}
	b.server.ResetRequests()
	b.server.Fault(func(operation string, r *http.Request) codacytest.Fault {
		mu.Lock()
		defer mu.Unlock()
		place := operation + " " + r.URL.Path
		at[place] = append(at[place], b.clock.Now())
		return codacytest.Fault{}
	})
	return func() map[string][]time.Time {
		mu.Lock()
		defer mu.Unlock()
		seen := make(map[string][]time.Time, len(at))
		for place, times := range at {
			seen[place] = slices.Clone(times)
		}
		return seen
	}
}

// versions are those of all resources.
func (b *bench) versions() string {
	var all strings.Builder
	for _, t := range b.tokens() {
		all.WriteString(t.GetName() + "=" + t.GetResourceVersion() + " ")
	}
	return all.String()
}

func TestAServiceThatIsDownIsLeftAloneAndEverybodyIsToldWhy(t *testing.T) {
	const factor, repositories, each = 20, 10, 50
	b := newBench(t, factor, cloud(t))
	b.pause = b.clock.real(30 * time.Second)
	b.addIssuer("codacy")
	b.start()
	b.addTokens("codacy", repositories, each)
	const all = repositories * each
	b.eventually("all are ready", func() bool { return b.count(isReady) == all })

	// All are due for a renewal, which none can have.
	b.server.Fault(func(string, *http.Request) codacytest.Fault {
		return codacytest.Fault{Kind: codacytest.CutBeforeActing}
	})
	b.clock.jump(61 * 24 * time.Hour)
	b.wake()
	down := b.clock.Now()
	b.server.ResetRequests()
	b.eventually("the first minute is over", func() bool { return b.clock.Since(down) > time.Minute })
	first := b.requests()
	b.eventually("ten minutes are over", func() bool { return b.clock.Since(down) > 10*time.Minute })
	total := b.requests()
	told := b.count(func(ready metav1.Condition, _ v1alpha1.Token) bool {
		return ready.Status == metav1.ConditionTrue && strings.Contains(ready.Message, "can't be asked")
	})
	if told != all {
		t.Errorf("%d of %d resources are ready and say why they wait", told, all)
	}
	t.Logf("requests in ten minutes without the service: %d, of them %d in the first minute", total, first)
	if perMinute := float64(total-first) / 9; perMinute > 5 {
		t.Errorf("%.1f requests a minute to a service that is down", perMinute)
	}
	if first > 40 {
		t.Errorf("%d requests until it was found to be down", first)
	}

	b.server.Fault(nil)
	up := b.clock.Now()
	b.eventually("all are renewed", func() bool {
		return b.count(func(ready metav1.Condition, t v1alpha1.Token) bool {
			return isReady(ready, t) && t.SharedStatus().Token.Revision >= 2 && t.SharedStatus().Pending == nil
		}) == all
	})
	t.Logf("all %d were renewed %s after the service came back", all, b.clock.Since(up).Round(time.Second))
}

// wake has the operator look at every resource of the issuer.
func (b *bench) wake() {
	b.Helper()
	patch := []byte(`{"spec":{"checkInterval":"59m"}}`)
	issuer := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "codacy"}}
	if err := b.controlPlane.Client.Patch(b.ctx, issuer, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		b.Fatal(err)
	}
}

func TestTwentyIssuersOnOneHostStayWithinItsLimit(t *testing.T) {
	const factor, issuers, repositories, each = 5, 20, 2, 75
	behaviour := cloud(t)
	behaviour.RateLimit = &codacytest.RateLimit{Requests: 250, Period: 30 * time.Second, Status: http.StatusServiceUnavailable}
	b := newBench(t, factor, behaviour)
	b.limits = []string{strings.TrimPrefix(b.running.URL, "https://") + "=200/30s/30"}
	for i := range issuers {
		b.addIssuer(fmt.Sprintf("codacy-%d", i))
	}
	b.start()
	began := b.clock.Now()
	for i := range issuers {
		b.addTokens(fmt.Sprintf("codacy-%d", i), repositories, each)
	}
	const all = issuers * repositories * each
	b.eventually("all are ready", func() bool { return b.count(isReady) == all })
	t.Logf("%d mints of %d issuers in %s, %d requests, %d too many: %v", all, issuers, b.clock.Since(began).Round(time.Second), b.requests(), b.rateLimited(), b.server.Requests())
	if limited := b.rateLimited(); limited > 0 {
		t.Errorf("%d requests were refused for exceeding the limit", limited)
	}
	if creates := b.server.Requests()["createRepositoryApiToken"]; creates != all {
		t.Errorf("%d requests for %d tokens", creates, all)
	}
}
