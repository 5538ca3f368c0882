package authority

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/builtin"
	"github.com/tokensteward/tokensteward/internal/token"
)

// replica is an authority whose cache and API server can be told apart.
type replica struct {
	*Authority
	t     *testing.T
	clock *clocktesting.FakePassiveClock
	// cached and server are what the cache and the API server know.
	cached, server client.WithWatch
	// requests counts the API server's requests; failure makes them fail.
	requests int
	failure  error
}

func newReplica(t *testing.T) *replica {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	hashIndex := func(pick func(*v1alpha1.TokenStatus) string) client.IndexerFunc {
		return func(o client.Object) []string { return []string{pick(o.(v1alpha1.Token).SharedStatus())} }
	}
	newStore := func() client.WithWatch {
		builder := fake.NewClientBuilder().WithScheme(scheme)
		for _, o := range []client.Object{&v1alpha1.AccountToken{}, &v1alpha1.ProjectToken{}} {
			builder.WithIndex(o, "status.token.sha256", hashIndex(func(s *v1alpha1.TokenStatus) string {
				if s.Token == nil {
					return ""
				}
				return s.Token.SHA256
			}))
			builder.WithIndex(o, "status.pending.sha256", hashIndex(func(s *v1alpha1.TokenStatus) string {
				if s.Pending == nil {
					return ""
				}
				return s.Pending.SHA256
			}))
		}
		return builder.Build()
	}
	r := &replica{t: t, clock: clocktesting.NewFakePassiveClock(time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)), cached: newStore(), server: newStore()}
	live := interceptor.NewClient(r.server, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			r.requests++
			if r.failure != nil {
				return r.failure
			}
			return c.Get(ctx, key, o, options...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			r.requests++
			if r.failure != nil {
				return r.failure
			}
			return c.List(ctx, list, options...)
		},
	})
	unknown := newUnknown(r.clock)
	r.Authority = &Authority{
		clock: r.clock, cached: read{r.cached}, live: live,
		index: emptyIndex(unknown.add), limiter: rate.NewLimiter(0, 3), unknown: unknown,
		freshness: NewFreshness(r.clock), maxStaleness: 30 * time.Second,
	}
	return r
}

// knows puts objects into a store; the index follows the cache's.
func (r *replica) knows(store client.Client, objects ...client.Object) {
	r.t.Helper()
	for _, o := range objects {
		o = o.DeepCopyObject().(client.Object)
		if err := store.Create(r.t.Context(), o); err != nil {
			r.t.Fatal(err)
		}
		if t, ok := o.(v1alpha1.Token); ok && store == r.cached {
			r.index.put(t)
		}
	}
}

func (r *replica) ask(header, value, path string) (int, string) {
	request := httptest.NewRequest(http.MethodGet, "/v1/issuers/"+path, nil)
	request.Header.Set(header, value)
	return r.serve(request)
}

func (r *replica) serve(request *http.Request) (int, string) {
	recorder := httptest.NewRecorder()
	r.Handler().ServeHTTP(recorder, request)
	body, _ := io.ReadAll(recorder.Body)
	return recorder.Code, string(body)
}

// A world: the namespace team-a, the issuer main that grants it everything of alice and gh/acme, an AccountToken and
// a ProjectToken.
type world struct {
	namespace  *corev1.Namespace
	issuer     *v1alpha1.ClusterTokenIssuer
	alice      *v1alpha1.AccountToken
	api        *v1alpha1.ProjectToken
	aliceValue string
	apiValue   string
	expires    time.Time
}

func newWorld(t *testing.T, now time.Time) *world {
	t.Helper()
	w := &world{expires: now.Add(24 * time.Hour)}
	w.namespace = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-a"}}
	w.issuer = &v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "main"},
		Spec: v1alpha1.ClusterTokenIssuerSpec{
			BuiltIn: &v1alpha1.BuiltInIssuer{Accounts: []v1alpha1.Account{{Name: "alice", Access: []v1alpha1.AccessPath{"gh/acme"}}}},
			Grants:  []v1alpha1.Grant{{Namespaces: []v1alpha1.NamespaceName{"team-a"}, Accounts: []v1alpha1.AccountPattern{"*"}, Projects: []v1alpha1.ProjectPattern{"gh/acme/*"}}},
		},
	}
	shared := v1alpha1.TokenSpec{IssuerRef: v1alpha1.IssuerReference{Kind: "ClusterTokenIssuer", Name: "main"}}
	w.alice = &v1alpha1.AccountToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "alice", UID: "uid-alice"},
		Spec:       v1alpha1.AccountTokenSpec{TokenSpec: shared, Account: "alice"},
	}
	w.api = &v1alpha1.ProjectToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "api", UID: "uid-api"},
		Spec:       v1alpha1.ProjectTokenSpec{TokenSpec: shared, Project: v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: "api"}},
	}
	w.aliceValue, w.apiValue = w.mint(t, w.alice, now), w.mint(t, w.api, now)
	return w
}

// mint puts a token into a resource's status and returns its value.
func (w *world) mint(t *testing.T, resource v1alpha1.Token, now time.Time) string {
	t.Helper()
	attempt, err := builtin.Issuer{}.Prepare(t.Context(), issuer.Request{
		Kind: resource.Kind(), UID: resource.GetUID(), Revision: 1, Now: now, Lifetime: w.expires.Sub(now),
	})
	if err != nil {
		t.Fatal(err)
	}
	record := attempt.Record
	status := resource.SharedStatus()
	status.OwnerUID = resource.GetUID()
	status.Token = &v1alpha1.IssuedToken{
		ID: record.ID, Revision: 1, SHA256: record.SHA256, IssueTime: record.StartTime, ExpirationTime: record.ExpirationTime,
	}
	return attempt.Value.Reveal()
}

func TestWhatIsAcceptedAndWhatIsNot(t *testing.T) {
	r := newReplica(t)
	w := newWorld(t, r.clock.Now())
	r.knows(r.cached, w.namespace, w.issuer, w.alice, w.api)
	other := w.issuer.DeepCopy()
	other.Name = "other"
	r.knows(r.cached, other)

	for _, test := range []struct {
		name, header, value, path string
		want                      int
	}{
		{"an account token", "api-token", w.aliceValue, "main/authorize", 200},
		{"an account token as a bearer", "Authorization", "bearer " + w.aliceValue, "main/authorize", 200},
		{"an account token in reach", "api-token", w.aliceValue, "main/authorize/gh/acme/web", 200},
		{"an account token out of reach", "api-token", w.aliceValue, "main/authorize/gl/acme/web", 401},
		{"a project token", "project-token", w.apiValue, "main/authorize/gh/acme/api", 200},
		{"a project token of another project", "project-token", w.apiValue, "main/authorize/gh/acme/web", 401},
		{"a project token as a bearer", "Authorization", "Bearer " + w.apiValue, "main/authorize", 200},
		{"the wrong kind under api-token", "api-token", w.apiValue, "main/authorize", 401},
		{"the wrong kind under project-token", "project-token", w.aliceValue, "main/authorize", 401},
		{"another scheme", "Authorization", "Basic " + w.aliceValue, "main/authorize", 401},
		{"another issuer", "api-token", w.aliceValue, "other/authorize", 401},
		{"an issuer that does not exist", "api-token", w.aliceValue, "nobody/authorize", 401},
		{"no token", "api-token", "", "main/authorize", 401},
		{"a typo", "api-token", w.aliceValue[:20] + "?" + w.aliceValue[21:], "main/authorize", 401},
		{"two dots in the path", "api-token", w.aliceValue, "main/authorize/gh/acme/..", 401},
		{"encoded dots in the path", "api-token", w.aliceValue, "main/authorize/gh/acme/%2e%2e", 401},
		{"an encoded slash in the path", "api-token", w.aliceValue, "main/authorize/gh/acme%2Fweb", 401},
		{"an empty segment", "api-token", w.aliceValue, "main/authorize/gh//web", 401},
		{"a provider without an organization", "api-token", w.aliceValue, "main/authorize/gh", 401},
		{"a longer path", "api-token", w.aliceValue, "main/authorize/gh/acme/web/x", 401},
		{"another endpoint", "api-token", w.aliceValue, "main/mint", 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, body := r.ask(test.header, test.value, test.path)
			if status != test.want {
				t.Errorf("%d, want %d", status, test.want)
			}
			if status == http.StatusUnauthorized && body != notFound {
				t.Errorf("refused with %q", body)
			}
		})
	}
}

func TestATokenInTwoHeadersIsRefused(t *testing.T) {
	r := newReplica(t)
	w := newWorld(t, r.clock.Now())
	r.knows(r.cached, w.namespace, w.issuer, w.alice, w.api)
	for name, header := range map[string]http.Header{
		"two kinds":             {"Api-Token": {w.aliceValue}, "Project-Token": {w.apiValue}},
		"header and bearer":     {"Api-Token": {w.aliceValue}, "Authorization": {"Bearer " + w.aliceValue}},
		"the same header twice": {"Api-Token": {w.aliceValue, w.aliceValue}},
	} {
		request := httptest.NewRequest(http.MethodGet, "/v1/issuers/main/authorize", nil)
		request.Header = header
		if status, _ := r.serve(request); status != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, status)
		}
	}
}

func TestTheAnswerNamesWhoseTokenItIs(t *testing.T) {
	r := newReplica(t)
	w := newWorld(t, r.clock.Now())
	r.knows(r.cached, w.namespace, w.issuer, w.alice, w.api)
	for header, test := range map[string]struct {
		value string
		want  map[string]string
	}{
		"api-token":     {w.aliceValue, map[string]string{"X-Token-Kind": "account", "X-Token-Account": "alice", "X-Token-Project": "-", "X-Token-Id": "uid-alice-1"}},
		"project-token": {w.apiValue, map[string]string{"X-Token-Kind": "project", "X-Token-Account": "-", "X-Token-Project": "gh/acme/api", "X-Token-Id": "uid-api-1"}},
	} {
		request := httptest.NewRequest(http.MethodPost, "/v1/issuers/main/authorize", nil)
		request.Header.Set(header, test.value)
		recorder := httptest.NewRecorder()
		r.Handler().ServeHTTP(recorder, request)
		for name, want := range test.want {
			if got := recorder.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", header, name, got, want)
			}
		}
	}
}

func TestATokenIsRefusedFromTheMomentThat(t *testing.T) {
	for name, change := range map[string]func(*replica, *world){
		"it expires":              func(r *replica, w *world) { r.clock.SetTime(w.expires) },
		"its resource is deleted": func(r *replica, w *world) { r.index.remove(w.alice) },
		"its resource has a deletion timestamp": func(r *replica, w *world) {
			deleted := w.alice.DeepCopy()
			deleted.DeletionTimestamp = &metav1.Time{Time: r.clock.Now()}
			r.index.put(deleted)
		},
		"the status speaks of another resource": func(r *replica, w *world) {
			forged := w.alice.DeepCopy()
			forged.UID = "uid-another"
			r.index.put(forged)
		},
		"the hash is taken out of the status": func(r *replica, w *world) {
			revoked := w.alice.DeepCopy()
			revoked.Status.Token = nil
			r.index.put(revoked)
		},
		"the account is struck from the issuer":     func(r *replica, w *world) { w.issuer.Spec.BuiltIn.Accounts = nil; r.update(w.issuer) },
		"the grant is withdrawn from the namespace": func(r *replica, w *world) { w.issuer.Spec.Grants = nil; r.update(w.issuer) },
		"the issuer is gone":                        func(r *replica, w *world) { r.delete(w.issuer) },
		"the namespace is gone":                     func(r *replica, w *world) { r.delete(w.namespace) },
		"the resource names another account in spec": func(r *replica, w *world) {
			moved := w.alice.DeepCopy()
			moved.Spec.Account = "bob"
			r.index.put(moved)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t)
			w := newWorld(t, r.clock.Now())
			for _, store := range []client.Client{r.cached, r.server} {
				r.knows(store, w.namespace, w.issuer)
			}
			r.knows(r.cached, w.alice)
			if status, _ := r.ask("api-token", w.aliceValue, "main/authorize"); status != http.StatusOK {
				t.Fatalf("before: %d", status)
			}
			change(r, w)
			if status, body := r.ask("api-token", w.aliceValue, "main/authorize"); status != http.StatusUnauthorized || body != notFound {
				t.Errorf("after: %d %s", status, body)
			}
		})
	}
}

// update and delete change both the cache and the API server.
func (r *replica) update(o client.Object) {
	r.t.Helper()
	for _, store := range []client.Client{r.cached, r.server} {
		stored := o.DeepCopyObject().(client.Object)
		if err := store.Get(r.t.Context(), client.ObjectKeyFromObject(o), stored); err != nil {
			r.t.Fatal(err)
		}
		changed := o.DeepCopyObject().(client.Object)
		changed.SetResourceVersion(stored.GetResourceVersion())
		if err := store.Update(r.t.Context(), changed); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *replica) delete(o client.Object) {
	r.t.Helper()
	for _, store := range []client.Client{r.cached, r.server} {
		if err := store.Delete(r.t.Context(), o); err != nil {
			r.t.Fatal(err)
		}
	}
}

func TestATokenThatTheCacheDoesNotKnowYetIsAskedOfTheAPIServer(t *testing.T) {
	for name, prepare := range map[string]func(*replica, *world){
		"nothing is cached":          func(*replica, *world) {},
		"only the issuer is missing": func(r *replica, w *world) { r.knows(r.cached, w.namespace, w.alice) },
		"the grant is not cached yet": func(r *replica, w *world) {
			early := w.issuer.DeepCopy()
			early.Spec.Grants = nil
			r.knows(r.cached, w.namespace, w.alice, early)
		},
		"the token is only pending": func(r *replica, w *world) {
			current := w.alice.Status.Token
			w.alice.Status.Pending = &v1alpha1.PendingToken{
				ID: current.ID, Revision: 1, SHA256: current.SHA256, StartTime: current.IssueTime, ExpirationTime: current.ExpirationTime,
			}
			w.alice.Status.Token = nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t)
			w := newWorld(t, r.clock.Now())
			prepare(r, w)
			r.knows(r.server, w.namespace, w.issuer, w.alice)
			if status, _ := r.ask("api-token", w.aliceValue, "main/authorize"); status != http.StatusOK {
				t.Errorf("%d for a token that exists", status)
			}
		})
	}
}

func TestWhoCantTellSaysSo(t *testing.T) {
	r := newReplica(t)
	w := newWorld(t, r.clock.Now())
	r.knows(r.server, w.namespace, w.issuer, w.alice)

	r.failure = errors.New("the API server is away")
	if status, _ := r.ask("api-token", w.aliceValue, "main/authorize"); status != http.StatusServiceUnavailable {
		t.Errorf("%d while the API server is away", status)
	}
	r.failure = nil
	if status, _ := r.ask("api-token", w.aliceValue, "main/authorize"); status != http.StatusOK {
		t.Errorf("%d when it is back", status)
	}
	// The limiter of this test lets three lookups pass and no more.
	unknown := []string{w.mint(t, w.alice.DeepCopy(), r.clock.Now()), w.mint(t, w.alice.DeepCopy(), r.clock.Now())}
	if status, _ := r.ask("api-token", unknown[0], "main/authorize"); status != http.StatusUnauthorized {
		t.Errorf("%d for a token that nobody knows", status)
	}
	requests := r.requests
	if status, _ := r.ask("api-token", unknown[0], "main/authorize"); status != http.StatusUnauthorized || r.requests != requests {
		t.Errorf("%d, %d requests, for an unknown token's second call", status, r.requests-requests)
	}
	if status, body := r.ask("api-token", unknown[1], "main/authorize"); status != http.StatusServiceUnavailable {
		t.Errorf("%d %s past the bound of lookups", status, body)
	}
	if status, _ := r.ask("api-token", "malformed", "main/authorize"); status != http.StatusUnauthorized {
		t.Errorf("%d for a malformed token past the bound: it needs no lookup", status)
	}
}

// Else who goes on to ask with revoked tokens uses up the bound of lookups, and is told to try again.
func TestATokenThatIsGoneIsRefusedWithoutALookup(t *testing.T) {
	for name, revoke := range map[string]func(*replica, *world){
		"its resource is being deleted": func(r *replica, w *world) {
			now := metav1.NewTime(r.clock.Now())
			w.alice.DeletionTimestamp = &now
			r.index.put(w.alice)
		},
		"its resource is gone": func(r *replica, w *world) { r.index.remove(w.alice) },
		"it was struck off":    func(r *replica, w *world) { w.alice.Status.Token = nil; r.index.put(w.alice) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t)
			w := newWorld(t, r.clock.Now())
			r.knows(r.cached, w.namespace, w.issuer, w.alice)
			r.limiter.SetBurst(0)
			revoke(r, w)
			if status, _ := r.ask("api-token", w.aliceValue, "main/authorize"); status != http.StatusUnauthorized {
				t.Errorf("%d for a token that this replica saw go", status)
			}
		})
	}
}

func TestAReplicaThatHasNotSyncedCantTell(t *testing.T) {
	r := newReplica(t)
	w := newWorld(t, r.clock.Now())
	r.knows(r.cached, w.namespace, w.issuer, w.alice)
	r.synced = append(r.synced, notSynced{})
	if status, _ := r.ask("api-token", w.aliceValue, "main/authorize"); status != http.StatusServiceUnavailable {
		t.Errorf("%d before the caches have synced", status)
	}
	if r.Ready() == nil {
		t.Error("it says that it is ready")
	}
}

type notSynced struct{}

func (notSynced) HasSynced() bool { return false }

func TestTheIndexFollowsItsResources(t *testing.T) {
	r := newReplica(t)
	w := newWorld(t, r.clock.Now())
	first := hash(token.NewValue(w.aliceValue).Sum())
	r.index.put(w.alice)
	twin := w.alice.DeepCopy()
	twin.Name, twin.UID, twin.Status.OwnerUID = "twin", "uid-twin", "uid-twin"
	r.index.put(twin)
	if n := len(r.index.find(first)); n != 2 {
		t.Fatalf("%d credentials under a hash that two resources have", n)
	}
	r.index.put(w.alice)
	r.index.remove(twin)
	if found := r.index.find(first); len(found) != 1 || found[0].name != "alice" {
		t.Errorf("after the twin is gone: %d", len(found))
	}
	second := w.mint(t, w.alice, r.clock.Now())
	r.index.put(w.alice)
	if len(r.index.find(first)) != 0 || len(r.index.find(hash(token.NewValue(second).Sum()))) != 1 {
		t.Error("the old hash is still known, or the new one is not")
	}
	r.index.remove(w.alice)
	if len(r.index.byHash) != 0 || len(r.index.byObject) != 0 {
		t.Error("something is left of resources that are gone")
	}
}
