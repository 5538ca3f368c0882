package year_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/authority"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
	"github.com/tokensteward/tokensteward/internal/manager"
	"github.com/tokensteward/tokensteward/internal/token"
)

// observer follows the resources and their Secrets from outside.
type observer struct {
	world *world
	// authority is a replica that is never restarted.
	authority http.Handler
	// credential is the id of the issuer's own token at the service.
	credential int64
	// changed is sent to, if nobody has yet, whenever anything changed.
	changed chan struct{}

	mu        sync.Mutex
	resources map[string]*resource
	// seenUntil is a time until which all that was written into Secrets has been seen, and markers says which writes of
	// the marker have been.
	seenUntil time.Time
	markers   int
}

// resource is what is known of one.
type resource struct {
	name      string
	ofService bool
	// status and value of the Secret are as the watches have them.
	status    v1alpha1.TokenStatus
	value     token.Value
	sha256    string
	ready     bool
	rotations int
	// replaced are the values that its Secret held before.
	replaced []replacedValue
}

// replacedValue must be accepted until a time.
type replacedValue struct {
	value  token.Value
	sha256 string
	until  time.Time
}

// observe begins to; ended is closed when it has ended.
func (w *world) observe(ended chan struct{}) *observer {
	w.Helper()
	freshness := authority.NewFreshness(clock.RealClock{})
	informers, err := cache.New(w.controlPlane.Admin, cache.Options{Scheme: manager.Scheme(), NewInformer: freshness.NewInformer})
	if err != nil {
		w.Fatal(err)
	}
	judge, err := authority.New(w.ctx, w.clock, informers, w.controlPlane.Client, freshness, time.Minute)
	if err != nil {
		w.Fatal(err)
	}
	o := &observer{world: w, authority: judge.Handler(), changed: make(chan struct{}, 1), resources: map[string]*resource{}}
	for prototype, saw := range map[client.Object]func(any){
		&v1alpha1.AccountToken{}: func(seen any) { o.sawToken(seen.(v1alpha1.Token)) },
		&v1alpha1.ProjectToken{}: func(seen any) { o.sawToken(seen.(v1alpha1.Token)) },
		&corev1.Secret{}:         func(seen any) { o.sawSecret(seen.(*corev1.Secret)) },
	} {
		informer, err := informers.GetInformer(w.ctx, prototype, cache.BlockUntilSynced(false))
		if err != nil {
			w.Fatal(err)
		}
		_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: saw, UpdateFunc: func(_, seen any) { saw(seen) }})
		if err != nil {
			w.Fatal(err)
		}
	}
	go func() {
		defer close(ended)
		if err := informers.Start(w.ctx); err != nil {
			w.Error(err)
		}
	}()
	return o
}

// expect a resource, which is made next.
func (o *observer) expect(t v1alpha1.Token) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known(t)
}

// known is the entry of a resource. The caller holds mu.
func (o *observer) known(t v1alpha1.Token) *resource {
	r := o.resources[t.GetName()]
	if r == nil {
		r = &resource{name: t.GetName(), ofService: t.SharedSpec().IssuerRef.Name == service}
		o.resources[t.GetName()] = r
	}
	return r
}

func (o *observer) tell() {
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

func (o *observer) sawToken(t v1alpha1.Token) {
	defer o.tell()
	o.mu.Lock()
	defer o.mu.Unlock()
	r, now := o.known(t), o.world.clock.Now()
	before, status := r.status, t.SharedStatus().DeepCopy()
	r.status = *status
	if before.Token != nil && status.Token != nil && status.Token.Revision > before.Token.Revision {
		r.rotations++
		spare := before.Token.ExpirationTime.Sub(now)
		o.world.figures.rotated(rotation{
			ofService: r.ofService, due: before.RenewalTime.Time, at: status.Token.IssueTime.Time, spare: spare,
		})
		if spare < renewBefore/2 {
			o.world.Errorf("day %d: the token of %s was renewed only %s before its expiry", o.world.today(), r.name, spare)
		}
	}
	ready := meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady)
	if r.ready && !ready {
		o.world.figures.ceasedToBeReady()
	}
	r.ready = ready
}

func (o *observer) sawSecret(secret *corev1.Secret) {
	if secret.Namespace != namespace {
		return
	}
	defer o.tell()
	if secret.Name == marker {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.markers, _ = strconv.Atoi(secret.Labels[marker])
		return
	}
	value := token.NewValue(string(secret.Data[tokenKey]))
	o.mu.Lock()
	r := o.resources[secret.Name]
	if !r.value.IsEmpty() && r.value.Reveal() != value.Reveal() {
		// It was replaced after that, and a status tells seconds.
		r.replaced = append(r.replaced, replacedValue{r.value, r.sha256, o.seenUntil.Add(gracePeriod - time.Second)})
	}
	r.value, r.sha256 = value, value.SHA256()
	o.mu.Unlock()
	o.world.figures.asked()
	if !o.accepts(r.ofService, value) {
		o.world.refused(r.name, "at the moment that it came into the Secret")
	}
}

// marker is a Secret that is written to find out how far the watch of Secrets has come.
const marker = "marker"

// catchUp waits until all has been seen that was written into Secrets before. While the operator or the service is away nobody
// waits for anything, and hours go by in no time.
func (o *observer) catchUp() {
	o.world.Helper()
	now := o.world.clock.Now()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: marker}}
	o.mu.Lock()
	next := o.markers + 1
	o.mu.Unlock()
	apply := o.world.controlPlane.Client.Create
	if next > 1 {
		apply = func(ctx context.Context, c client.Object, _ ...client.CreateOption) error {
			return o.world.controlPlane.Client.Update(ctx, c)
		}
	}
	secret.Labels = map[string]string{marker: strconv.Itoa(next)}
	if err := apply(o.world.ctx, secret); err != nil {
		o.world.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; <-o.changed {
		o.mu.Lock()
		seen := o.markers == next
		if seen {
			o.seenUntil = now
		}
		o.mu.Unlock()
		if seen {
			return
		}
		if time.Now().After(deadline) {
			o.world.Fatal("the observer does not see what is written")
		}
	}
}

// accepts asks the service of a resource about a value.
func (o *observer) accepts(ofService bool, value token.Value) bool {
	if ofService {
		return o.world.server.Accepts(value.Reveal())
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(idle) {
		request := httptest.NewRequestWithContext(o.world.ctx, http.MethodGet, "/v1/issuers/"+builtIn+"/authorize", nil)
		request.Header.Set("api-token", value.Reveal())
		answer := httptest.NewRecorder()
		o.authority.ServeHTTP(answer, request)
		switch {
		case answer.Code == http.StatusOK:
			return true
		case answer.Code != http.StatusServiceUnavailable || time.Now().After(deadline):
			return false
		}
	}
}

// waiting are the resources for which there is something to do, but for those of a service that fails.
func (o *observer) waiting(now time.Time, failing bool) (names []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.resources {
		if (!failing || !r.ofService) && r.unfinished(now) {
			names = append(names, r.name)
		}
	}
	slices.Sort(names)
	return names
}

// next is when something falls due next.
func (o *observer) next(now time.Time) (next time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.resources {
		for _, at := range r.times() {
			if at.After(now) && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
	}
	return next
}

// unfinished says whether the operator has something to do for a resource.
func (r *resource) unfinished(now time.Time) bool {
	current := r.status.Token
	return current == nil || !r.ready || r.status.Pending != nil || r.sha256 != current.SHA256 ||
		slices.ContainsFunc(r.times(), func(at time.Time) bool { return !at.After(now) })
}

// times are when there is, or was, something to do for a resource.
func (r *resource) times() (times []time.Time) {
	add := func(at *metav1.Time, after time.Duration) {
		if at != nil {
			times = append(times, at.Add(after))
		}
	}
	add(r.status.RenewalTime, 0)
	for i := range r.status.PreviousTokens {
		previous := &r.status.PreviousTokens[i]
		add(previous.RevokeTime, 0)
		switch {
		case previous.ReplacedTime != nil:
		case previous.ID == "":
			add(previous.ClosedTime, lifecycle.ClosedAttemptCheck)
		case r.status.Token != nil:
			add(&r.status.Token.IssueTime, 0) // An attempt whose token nobody has: it is to be revoked.
		}
	}
	return times
}
