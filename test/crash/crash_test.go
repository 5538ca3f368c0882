// Package crash_test kills a real operator process at every one of its requests, and looks from outside whether the
// promises of docs/architecture.md hold.
package crash_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/authority"
	"github.com/tokensteward/tokensteward/internal/leakcheck"
	"github.com/tokensteward/tokensteward/internal/manager"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

const (
	namespace = "crash"
	patience  = 30 * time.Second
	// quiet is how long a finished resource must go without a fatal request for the scenario to count as complete:
	// the Events come last, and come late.
	quiet = 500 * time.Millisecond
)

// scene is a control plane, a killer in front of it, an operator behind that, and beside it a replica of the authority
// that is never killed and is connected directly.
type scene struct {
	t          *testing.T
	k8s        client.Client
	killer     *killer
	kubeconfig string
	binary     string
	// namespace of the resources, and flags of the operator.
	namespace string
	flags     []string
	replica   *httptest.Server
	operator  *testenv.Operator
	logs      strings.Builder
}

func TestKilledAtEveryRequest(t *testing.T) {
	ctx, controlPlane := startControlPlane(t)
	values := &leakcheck.Values{}
	s := newScene(ctx, t, controlPlane, values)
	s.start(ctx)

	var total int
	for _, scenario := range []struct {
		name string
		run  func(ctx context.Context, name string, at int, when moment) (requests []string, fatal bool)
	}{{"mint", s.killInMint}, {"rotation", s.killInRotation}, {"deletion", s.killInDeletion}} {
		for _, when := range []moment{before, after} {
			for at := 1; ; at++ {
				name := fmt.Sprintf("%s-%s-%d", scenario.name, when, at)
				requests, fatal := scenario.run(ctx, name, at, when)
				if t.Failed() {
					t.Fatalf("killed %s request %d of a %s; the requests were:\n%s", when, at, scenario.name, strings.Join(requests, "\n"))
				}
				if !fatal {
					t.Logf("a %s makes %d requests; killed %s each of them:\n%s", scenario.name, len(requests), when, strings.Join(requests, "\n"))
					if len(requests) < 3 {
						t.Fatalf("a %s in %d requests: the killer does not see them", scenario.name, len(requests))
					}
					break
				}
				total++
			}
		}
	}
	t.Logf("killed %d times", total)

	metrics := s.get(http.DefaultClient, s.operator.MetricsURL)
	s.end()
	places, err := leakcheck.Cluster(ctx, s.k8s)
	if err != nil {
		t.Fatal(err)
	}
	places["the logs"], places["the metrics"] = s.logs.String(), metrics
	if err := values.Check(places); err != nil {
		t.Error(err)
	}
}

// startControlPlane starts one that ends with the test, and its context before it.
func startControlPlane(t *testing.T) (context.Context, *testenv.ControlPlane) {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	ctx, cancel := context.WithCancel(t.Context())
	controlPlane, err := testenv.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := controlPlane.Stop(); err != nil {
			t.Error(err)
		}
	})
	return ctx, controlPlane
}

func newScene(ctx context.Context, t *testing.T, controlPlane *testenv.ControlPlane, values *leakcheck.Values) *scene {
	t.Helper()
	s := &scene{t: t, k8s: controlPlane.Client, namespace: namespace, flags: []string{"--leader-elect=false", "--zap-devel"}}
	var err error
	if s.killer, err = newKiller(controlPlane.Operator, values); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.killer.server.Close)
	t.Cleanup(s.killer.server.CloseClientConnections)

	s.build(ctx, t)

	freshness := authority.NewFreshness(clock.RealClock{})
	informers, err := cache.New(controlPlane.Admin, cache.Options{Scheme: manager.Scheme(), NewInformer: freshness.NewInformer})
	if err != nil {
		t.Fatal(err)
	}
	judge, err := authority.New(ctx, clock.RealClock{}, informers, s.k8s, freshness, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if err := informers.Start(ctx); err != nil {
			t.Error(err)
		}
	}()
	s.eventually("the replica of the authority is ready", func() bool { return judge.Ready() == nil })
	s.replica = httptest.NewServer(judge.Handler())
	t.Cleanup(s.replica.Close)

	s.create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	s.create(ctx, &v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec: v1alpha1.ClusterTokenIssuerSpec{
			BuiltIn: &v1alpha1.BuiltInIssuer{},
			Grants:  []v1alpha1.Grant{{NamespaceSelector: &v1alpha1.NamespaceSelector{}, Projects: []v1alpha1.ProjectPattern{"*/*/*"}}},
		},
	})
	return s
}

// binaries is the directory of what was built for the tests of this package.
var binaries string

func TestMain(m *testing.M) {
	var err error
	if binaries, err = os.MkdirTemp("", "tokensteward-crash-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(binaries) // Of no consequence.
	os.Exit(code)
}

// builtOperator builds the operator, once for all tests.
func builtOperator(ctx context.Context) (string, error) {
	binary := filepath.Join(binaries, "manager")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	return testenv.BuildOperator(ctx, binaries)
}

// build builds the operator, and the kubeconfig with which it goes through the killer.
func (s *scene) build(ctx context.Context, t *testing.T) {
	t.Helper()
	var err error
	if s.binary, err = builtOperator(ctx); err != nil {
		t.Fatal(err)
	}
	s.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := s.killer.writeKubeconfig(s.kubeconfig); err != nil {
		t.Fatal(err)
	}
}

func (s *scene) start(ctx context.Context) {
	s.t.Helper()
	started, err := testenv.StartOperator(ctx, s.binary, s.kubeconfig, s.flags...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.operator = started
}

func (s *scene) end() {
	s.operator.Stop()
	s.keepLog()
}

func (s *scene) keepLog() {
	s.logs.WriteString(s.operator.Log())
	if err := s.operator.Remove(); err != nil {
		s.t.Error(err)
	}
}

// killInMint kills the operator while it mints a new token, and checks what the next one makes of it.
func (s *scene) killInMint(ctx context.Context, name string, at int, when moment) ([]string, bool) {
	killed := s.arm(at, when)
	token := newToken(name)
	poller := s.poll(ctx, token)
	s.create(ctx, token)
	requests, fatal := s.await(ctx, killed, func() bool { return s.isReady(ctx, token) })
	s.eventually("it is ready", func() bool { return s.isReady(ctx, token) })
	s.eventually("the poller saw a value, without which it checks nothing", func() bool { return poller.seen.Load() > 0 })
	poller.stop()
	s.checkAccepted(ctx, name)
	s.delete(ctx, token)
	s.eventually("it is gone", func() bool { return s.isGone(ctx, token) })
	time.Sleep(quiet) // The Events of the deletion must not be counted as the next mint's.
	return requests, fatal
}

// killInRotation kills the operator while it replaces a token because somebody asks for that, and checks what the next one
// makes of it.
func (s *scene) killInRotation(ctx context.Context, name string, at int, when moment) ([]string, bool) {
	token := newToken(name)
	token.Spec.Rotation = atOnce()
	poller := s.poll(ctx, token)
	s.create(ctx, token)
	s.eventually("it is ready", func() bool { return s.isReady(ctx, token) })
	time.Sleep(quiet) // The Events of the mint must not be counted as the rotation's.
	replaced := s.valueIn(ctx, token, "PROJECT_TOKEN")
	killed := s.arm(at, when)
	s.askToRotate(ctx, token)
	rotated := func() bool { return s.isRotated(ctx, token) }
	requests, fatal := s.await(ctx, killed, rotated)
	s.eventually("it is rotated", rotated)
	s.eventuallySees(poller)
	poller.stop()
	s.checkRotated(ctx, token, "PROJECT_TOKEN", replaced, fatal)
	current := s.valueIn(ctx, token, "PROJECT_TOKEN")
	for url, caller := range s.authorities() {
		for _, value := range append(s.killer.valuesOf(namespace, name), replaced) {
			s.eventually("the authority knows of the revocation", func() bool {
				return value == current || s.ask(caller, url, value) == http.StatusUnauthorized
			})
		}
	}
	s.checkAccepted(ctx, name)
	s.delete(ctx, token)
	s.eventually("it is gone", func() bool { return s.isGone(ctx, token) })
	s.checkRefused(ctx, name)
	time.Sleep(quiet) // The Events of the deletion must not be counted as the next mint's.
	return requests, fatal
}

// killInDeletion kills the operator while it deletes a resource, and checks what the next one makes of it.
func (s *scene) killInDeletion(ctx context.Context, name string, at int, when moment) ([]string, bool) {
	token := newToken(name)
	s.create(ctx, token)
	s.eventually("it is ready", func() bool { return s.isReady(ctx, token) })
	time.Sleep(quiet) // The Events of the mint must not be counted as the deletion's.
	killed := s.arm(at, when)
	s.delete(ctx, token)
	requests, fatal := s.await(ctx, killed, func() bool { return s.isGone(ctx, token) })
	s.eventually("it is gone", func() bool { return s.isGone(ctx, token) })
	s.checkRefused(ctx, name)
	return requests, fatal
}

func (s *scene) arm(at int, when moment) (killed chan struct{}) {
	killed = make(chan struct{})
	s.killer.arm(at, when, func() { s.operator.Kill(); close(killed) })
	return killed
}

// await waits until the operator was killed, and starts another; or until it is done and has been quiet for a while.
func (s *scene) await(ctx context.Context, killed chan struct{}, done func() bool) (requests []string, fatal bool) {
	s.t.Helper()
	if requests, fatal = s.awaitFatal(killed, done); fatal {
		s.keepLog()
		s.start(ctx)
	}
	return requests, fatal
}

// awaitFatal waits until the fatal request came, or until all is done and has been quiet for a while without one.
func (s *scene) awaitFatal(came chan struct{}, done func() bool) (requests []string, fatal bool) {
	s.t.Helper()
	var doneSince time.Time
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		select {
		case <-came:
			requests, _ = s.killer.disarm()
			return requests, true
		default:
		}
		switch {
		case !done():
			doneSince = time.Time{}
		case doneSince.IsZero():
			doneSince = time.Now()
		case time.Since(doneSince) > quiet:
			return s.killer.disarm()
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("neither stopped nor done; its log:\n%s", s.operator.Log())
		}
	}
}

// checkAccepted: of all values that were ever on their way into the Secret, the one that is in it is accepted, and no
// other.
func (s *scene) checkAccepted(ctx context.Context, name string) {
	s.t.Helper()
	var secret corev1.Secret
	if err := s.k8s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &secret); err != nil {
		s.t.Fatal(err)
	}
	current := string(secret.Data["PROJECT_TOKEN"])
	values := s.killer.valuesOf(namespace, name)
	if len(values) == 0 || current == "" {
		s.t.Fatal("no value was seen, so nothing is checked")
	}
	var token v1alpha1.ProjectToken
	if err := s.k8s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &token); err != nil {
		s.t.Fatal(err)
	}
	if len(token.Status.PreviousTokens) > 0 || token.Status.Pending != nil {
		s.t.Errorf("%s: accepted beside the current token: pending %v, previous %v", name, token.Status.Pending, token.Status.PreviousTokens)
	}
	for url, caller := range s.authorities() {
		accepted := 0
		s.eventually("the authority knows the token", func() bool { return s.ask(caller, url, current) == http.StatusOK })
		for _, value := range values {
			if s.ask(caller, url, value) == http.StatusOK {
				accepted++
			}
		}
		if accepted != 1 {
			s.t.Errorf("%s: %d of %d values are accepted, want exactly 1", name, accepted, len(values))
		}
	}
}

// checkRefused: no value that was ever on its way into the Secret is accepted.
func (s *scene) checkRefused(ctx context.Context, name string) {
	s.t.Helper()
	err := s.k8s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &corev1.Secret{})
	if !apierrors.IsNotFound(err) {
		s.t.Errorf("%s: the Secret outlives its resource: %v", name, err)
	}
	values := s.killer.valuesOf(namespace, name)
	if len(values) == 0 {
		s.t.Fatal("no value was seen, so nothing is checked")
	}
	for url, caller := range s.authorities() {
		for _, value := range values {
			status := s.ask(caller, url, value)
			for range 40 { // A replica that has only just begun, or was starved, can't tell.
				if status != http.StatusServiceUnavailable {
					break
				}
				time.Sleep(250 * time.Millisecond)
				status = s.ask(caller, url, value)
			}
			if status != http.StatusUnauthorized {
				s.t.Errorf("%s: a token outlives its resource: %d", name, status)
			}
		}
	}
}

// authorities are the one of the operator process and the replica beside it.
func (s *scene) authorities() map[string]*http.Client {
	caller, err := s.operator.Client()
	if err != nil {
		s.t.Fatal(err)
	}
	return map[string]*http.Client{s.operator.AuthorityURL: caller, s.replica.URL: http.DefaultClient}
}

// ask returns the status with which an authority answers, 0 if it does not.
func (s *scene) ask(caller *http.Client, url, value string) int {
	request, err := http.NewRequest(http.MethodGet, url+"/v1/issuers/default/authorize/gh/acme/api", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("project-token", value)
	response, err := caller.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

func (s *scene) get(caller *http.Client, url string) string {
	response, err := caller.Get(url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s: %d, %v", url, response.StatusCode, err)
	}
	return string(body)
}

// poller reads a Secret all the time and asks the replica about what it finds there.
type poller struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	// seen counts the values that were read, and of which it is known whether they are accepted.
	seen atomic.Int64
}

func (s *scene) poll(ctx context.Context, token v1alpha1.Token) *poller {
	ctx, cancel := context.WithCancel(ctx)
	p := &poller{cancel: cancel}
	key, graced := client.ObjectKeyFromObject(token), token.SharedSpec().GracePeriod() > 0
	p.done.Go(func() {
		for ctx.Err() == nil {
			var secret corev1.Secret
			if s.k8s.Get(ctx, key, &secret) != nil {
				continue // It is not there yet.
			}
			value := string(secret.Data["PROJECT_TOKEN"])
			if s.ask(http.DefaultClient, s.replica.URL, value) == http.StatusUnauthorized && (graced || s.holds(ctx, key, "PROJECT_TOKEN", value)) {
				s.t.Errorf("%s: a value was in the Secret and was refused", key.Name)
				return
			}
			p.seen.Add(1)
		}
	})
	return p
}

func (p *poller) stop() {
	p.cancel()
	p.done.Wait()
}

func (s *scene) isReady(ctx context.Context, token *v1alpha1.ProjectToken) bool {
	var found v1alpha1.ProjectToken
	if s.k8s.Get(ctx, client.ObjectKeyFromObject(token), &found) != nil {
		return false
	}
	for _, condition := range found.Status.Conditions {
		if condition.Type == v1alpha1.ConditionReady {
			return condition.Status == metav1.ConditionTrue
		}
	}
	return false
}

func (s *scene) isGone(ctx context.Context, token *v1alpha1.ProjectToken) bool {
	return apierrors.IsNotFound(s.k8s.Get(ctx, client.ObjectKeyFromObject(token), &v1alpha1.ProjectToken{}))
}

func (s *scene) create(ctx context.Context, o client.Object) {
	s.t.Helper()
	if err := s.k8s.Create(ctx, o); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) delete(ctx context.Context, o client.Object) {
	s.t.Helper()
	if err := s.k8s.Delete(ctx, o); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) eventually(what string, condition func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			log := ""
			if s.operator != nil {
				log = s.operator.Log()
			}
			s.t.Fatalf("waited in vain until %s; the operator's log:\n%s", what, log)
		}
	}
}

func newToken(name string) *v1alpha1.ProjectToken {
	return &v1alpha1.ProjectToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.ProjectTokenSpec{Project: v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: "api"}},
	}
}
