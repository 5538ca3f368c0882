//go:build chaos

// Package chaos_test lets everything go wrong at once, at random, and has a process of its own watch from outside whether the promises of
// docs/architecture.md hold: `make chaos`. A seed repeats what is done, though not the moments at which the processes do what.
package chaos_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/resources"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

var (
	seed     = flag.Uint64("seed", 0, "what happens; 0: something new")
	duration = flag.Duration("duration", 3*time.Minute, "how long things go wrong")
)

const (
	// grace of replaced tokens; the witness goes by what the resources say.
	grace = time.Minute
	// furthest a clock is off, either way.
	furthest = 8 * time.Second
	// patience with what is to settle once nothing goes wrong any more.
	patience = 3 * time.Minute
)

func TestChaos(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64N(1_000_000)
	}
	t.Logf("repeat it with: go test -tags chaos ./test/chaos -args -seed=%d -duration=%s", *seed, *duration)
	w := newWorld(t)
	d := newDirector(w)
	d.prepare()

	stop := make(chan struct{})
	var busy sync.WaitGroup
	for i, act := range []func(*rand.Rand){d.user, d.user, d.disaster, d.mishap} {
		busy.Go(func() {
			r := rand.New(rand.NewPCG(*seed, uint64(i)))
			for {
				select {
				case <-stop:
					return
				default:
					act(r)
				}
			}
		})
	}
	time.Sleep(*duration)
	close(stop)
	busy.Wait()
	d.heal()
	d.settle()
	d.end()
	d.report()
}

// director has users, disasters and mishaps happen.
type director struct {
	*world
	k8s client.Client

	mu         sync.Mutex
	namespaces []string
	next       int
	// strangers are tokens that somebody made by hand, and did not revoke.
	strangers map[int64]bool
	minted    map[int64]bool
	counts    map[string]int
	faulty    atomic.Bool
	account   int64
	// faults are drawn one after the other, whoever asks.
	faultsOf *rand.Rand
}

func newDirector(w *world) *director {
	return &director{
		world: w, k8s: w.controlPlane.Client, strangers: map[int64]bool{}, minted: map[int64]bool{}, counts: map[string]int{},
		faultsOf: rand.New(rand.NewPCG(*seed, 99)),
	}
}

func (d *director) count(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts[what]++
}

// did counts an operation that the API server accepted.
func (d *director) did(err error) {
	if err == nil {
		d.count("operations")
	}
}

func (d *director) prepare() {
	d.account = d.codacy.AddAccount("Robot", "robot@acme.example")
	for _, repository := range []string{"web", "api", "docs"} {
		d.codacy.AddRepository("gh", "acme", repository)
	}
	credential := d.codacy.CreateAccountToken(d.account, nil)
	d.strangers[credential.ID] = true
	data := map[string][]byte{v1alpha1.DefaultCredentialsKey: []byte(credential.Value.Reveal())}
	check(d.t, d.k8s.Create(d.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: testenv.Namespace, Name: "codacy"}, Data: data}))
	everywhere := []v1alpha1.Grant{{
		NamespaceSelector: &v1alpha1.NamespaceSelector{}, Accounts: []v1alpha1.AccountPattern{"Robot", "alice"}, Projects: []v1alpha1.ProjectPattern{"gh/acme/*"},
	}}
	codacy := v1alpha1.IssuerSpec{Codacy: &v1alpha1.CodacyIssuer{
		URL: d.served.URL, CABundle: d.served.CAPEM, CredentialsSecretRef: v1alpha1.SecretKeyReference{Name: "codacy"},
	}, CheckInterval: &metav1.Duration{Duration: 2 * time.Minute}}
	for _, issuer := range []*v1alpha1.ClusterTokenIssuer{
		{ObjectMeta: metav1.ObjectMeta{Name: "codacy"}, Spec: v1alpha1.ClusterTokenIssuerSpec{IssuerSpec: codacy, Grants: everywhere}},
		{ObjectMeta: metav1.ObjectMeta{Name: "builtin"}, Spec: v1alpha1.ClusterTokenIssuerSpec{
			BuiltIn: &v1alpha1.BuiltInIssuer{Accounts: []v1alpha1.Account{{Name: "alice", Access: []v1alpha1.AccessPath{"gh/acme"}}}}, Grants: everywhere,
		}},
	} {
		check(d.t, d.k8s.Create(d.t.Context(), issuer))
	}
	for range 3 {
		d.did(d.addNamespace())
	}
	d.codacy.Fault(d.fault)
	d.faulty.Store(true)
}

func (d *director) addNamespace() error {
	d.mu.Lock()
	d.next++
	name := fmt.Sprintf("team-%d", d.next)
	d.mu.Unlock()
	err := d.k8s.Create(d.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	if err == nil {
		d.mu.Lock()
		d.namespaces = append(d.namespaces, name)
		d.mu.Unlock()
	}
	return err
}

// fault is how a request to Codacy fails: one in eight does. The witness' never do.
func (d *director) fault(_ string, r *http.Request) codacytest.Fault {
	if r.UserAgent() == "witness" || !d.faulty.Load() {
		return codacytest.Fault{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, token := range d.codacy.Tokens() {
		if !token.HandMade {
			d.minted[token.ID] = true
		}
	}
	if d.faultsOf.IntN(8) > 0 {
		return codacytest.Fault{}
	}
	kind := codacytest.FaultKinds[d.faultsOf.IntN(len(codacytest.FaultKinds))]
	if kind == codacytest.Redirect {
		return codacytest.Fault{}
	}
	d.counts["faults of Codacy"]++
	return codacytest.Fault{Kind: kind, Status: []int{429, 500, 502, 503}[d.faultsOf.IntN(4)], Delay: time.Duration(d.faultsOf.IntN(5000)) * time.Millisecond}
}

// somewhere is one of the namespaces.
func (d *director) somewhere(r *rand.Rand) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.namespaces[r.IntN(len(d.namespaces))]
}

// tokens are all resources.
func (d *director) tokens() ([]v1alpha1.Token, error) { return resources.Tokens(d.t.Context(), d.k8s) }

// user does something that a user does.
func (d *director) user(r *rand.Rand) {
	time.Sleep(time.Duration(50+r.IntN(300)) * time.Millisecond)
	all, err := d.tokens()
	choice := r.IntN(100)
	if err != nil {
		return // The API server is away.
	}
	if len(all) == 0 || len(all) < 40 && choice < 30 {
		d.did(d.create(r))
		return
	}
	t := all[r.IntN(len(all))]
	before := t.DeepCopyObject().(client.Object)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: t.GetNamespace(), Name: v1alpha1.SecretName(t)}}
	switch ctx := d.t.Context(); {
	case choice < 55:
		annotations := map[string]string{v1alpha1.RotateRequestAnnotation: fmt.Sprint(time.Now().UnixNano())}
		t.SetAnnotations(annotations)
		d.did(d.k8s.Patch(ctx, t, client.MergeFrom(before)))
	case choice < 65:
		t.SharedSpec().Duration = &metav1.Duration{Duration: time.Duration(24+r.IntN(1000)) * time.Hour}
		d.did(d.k8s.Patch(ctx, t, client.MergeFrom(before)))
	case choice < 70:
		t.SharedSpec().Suspend = !t.SharedSpec().Suspend
		d.did(d.k8s.Patch(ctx, t, client.MergeFrom(before)))
	case choice < 74:
		d.did(d.k8s.Delete(ctx, secret))
	case choice < 78:
		if d.k8s.Get(ctx, client.ObjectKeyFromObject(secret), secret) == nil {
			for key := range secret.Data {
				secret.Data[key] = []byte(fmt.Sprintf("garbage-%d", r.Uint64()))
			}
			d.did(d.k8s.Update(ctx, secret))
		}
	case choice < 84:
		d.byHand(r)
	case choice < 86:
		d.dropNamespace(r)
	default:
		d.did(d.k8s.Delete(ctx, t))
	}
}

func (d *director) create(r *rand.Rand) error {
	d.mu.Lock()
	d.next++
	name := fmt.Sprintf("t-%d", d.next)
	d.mu.Unlock()
	spec := v1alpha1.TokenSpec{IssuerRef: v1alpha1.IssuerReference{Name: "codacy"}, Rotation: &v1alpha1.Rotation{GracePeriod: &metav1.Duration{Duration: grace}}}
	account := "Robot"
	if r.IntN(2) == 0 {
		spec.IssuerRef.Name, account = "builtin", "alice"
	}
	if r.IntN(4) == 0 {
		spec.Rotation.GracePeriod.Duration = 0
	}
	object := metav1.ObjectMeta{Namespace: d.somewhere(r), Name: name}
	if r.IntN(2) == 0 {
		return d.k8s.Create(d.t.Context(), &v1alpha1.AccountToken{ObjectMeta: object, Spec: v1alpha1.AccountTokenSpec{TokenSpec: spec, Account: account}})
	}
	return d.k8s.Create(d.t.Context(), &v1alpha1.ProjectToken{ObjectMeta: object, Spec: v1alpha1.ProjectTokenSpec{
		TokenSpec: spec, Project: v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: []v1alpha1.PathSegment{"web", "api", "docs"}[r.IntN(3)]},
	}})
}

// byHand: somebody makes a token in Codacy's web UI, or revokes one of those.
func (d *director) byHand(r *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts["operations"]++
	expires := time.Now().Add(time.Duration(r.Int64N(int64(300 * 24 * time.Hour))))
	switch r.IntN(3) {
	case 0:
		d.strangers[d.codacy.CreateAccountToken(d.account, &expires).ID] = true
	case 1:
		name := []string{"ci", "laptop", "ts-otherplace-01234567-89ab-cdef-0-1"}[r.IntN(3)]
		d.strangers[d.codacy.CreateRepositoryToken("gh", "acme", "web", name, &expires).ID] = true
	default:
		for id := range d.strangers {
			if len(d.strangers) > 20 && !d.isCredential(id) {
				d.codacy.RevokeInWebUI(id)
				delete(d.strangers, id)
			}
			return
		}
	}
}

func (d *director) isCredential(id int64) bool {
	for _, token := range d.codacy.Tokens() {
		if token.ID == id {
			return token.Kind == codacytest.AccountToken && token.Expires == nil
		}
	}
	return false
}

// dropNamespace deletes a namespace with everything in it, and makes another one.
func (d *director) dropNamespace(r *rand.Rand) {
	if d.addNamespace() != nil {
		return
	}
	d.mu.Lock()
	at := r.IntN(len(d.namespaces) - 1)
	name := d.namespaces[at]
	d.namespaces = append(d.namespaces[:at], d.namespaces[at+1:]...)
	d.counts["namespaces dropped"]++
	d.mu.Unlock()
	if err := d.k8s.Delete(d.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		d.mu.Lock()
		d.namespaces = append(d.namespaces, name)
		d.mu.Unlock()
	}
}

// disaster has something happen to the operator's processes.
func (d *director) disaster(r *rand.Rand) {
	time.Sleep(time.Duration(1000+r.IntN(4000)) * time.Millisecond)
	victim := d.managers[r.IntN(replicas)]
	if r.IntN(2) == 0 {
		victim = d.leader()
	}
	switch r.IntN(4) {
	case 0:
		d.count("kills")
		victim.kill()
		d.tellWitness()
		time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
		d.startAgain(victim)
	case 1:
		d.count("freezes")
		if o := victim.running(); o != nil {
			o.Freeze()
			time.Sleep(time.Duration(1000+r.IntN(8000)) * time.Millisecond)
			o.Thaw()
		}
	case 2:
		d.count("cuts of the network")
		victim.cable.pull(time.Duration(500+r.IntN(7000)) * time.Millisecond)
	default:
		d.count("jumps of a clock")
		victim.setClock(time.Duration(r.Int64N(int64(2*furthest))) - furthest)
	}
	d.startEnded()
}

// startEnded starts the processes again that have ended by themselves, as one that lost its lease does.
func (d *director) startEnded() {
	for _, r := range d.managers {
		if o := r.running(); o == nil || o.HasEnded() {
			r.kill()
			d.startAgain(r)
		}
	}
}

func (d *director) startAgain(r *replica) {
	for range 5 {
		if r.start(d.world, filepath.Join(d.directory, "manager")) == nil {
			break
		}
		time.Sleep(time.Second)
	}
	d.tellWitness()
}

// leader is the process that leads, as far as the lease says.
func (d *director) leader() *replica {
	for _, r := range d.managers {
		if o := r.running(); o != nil && !o.HasEnded() && strings.Contains(o.Log(), "uccessfully acquired lease") {
			return r
		}
	}
	return d.managers[0]
}

// mishap has something happen to the control plane.
func (d *director) mishap(r *rand.Rand) {
	time.Sleep(time.Duration(10000+r.IntN(20000)) * time.Millisecond)
	if r.IntN(2) == 0 {
		d.count("restarts of the API server")
		d.restart("kube-apiserver", time.Duration(r.IntN(2000))*time.Millisecond)
	} else {
		d.count("stops of etcd")
		freeze("etcd", time.Duration(500+r.IntN(3000))*time.Millisecond)
	}
}

// heal: from now on nothing goes wrong.
func (d *director) heal() {
	d.faulty.Store(false)
	for _, r := range d.managers {
		r.setClock(0)
	}
	d.startEnded()
}

func (d *director) eventually(what string, holds func() string) {
	d.t.Helper()
	lack := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		if lack = holds(); lack == "" {
			return
		}
		d.startEnded()
	}
	d.t.Errorf("not in %s: %s: %s", patience, what, lack)
}

// settle waits until every resource is as it should be, or waits for a person for a reason that the test gave it.
func (d *director) settle() {
	d.t.Helper()
	d.eventually("everything settles", func() string {
		all, err := d.tokens()
		if err != nil {
			return err.Error()
		}
		for _, t := range all {
			ready := meta.FindStatusCondition(t.SharedStatus().Conditions, v1alpha1.ConditionReady)
			stalled := meta.FindStatusCondition(t.SharedStatus().Conditions, v1alpha1.ConditionStalled)
			switch {
			case t.SharedSpec().Suspend, d.isGoing(t.GetNamespace()):
			case stalled != nil && stalled.Reason == v1alpha1.ReasonMintStorm:
			case t.GetDeletionTimestamp() != nil:
				return fmt.Sprintf("%s %s/%s is being deleted: %v", t.Kind(), t.GetNamespace(), t.GetName(), t.SharedStatus().Conditions)
			case ready == nil || ready.Status != metav1.ConditionTrue:
				return fmt.Sprintf("%s %s/%s: %v", t.Kind(), t.GetNamespace(), t.GetName(), t.SharedStatus().Conditions)
			}
		}
		return ""
	})
}

// lookAfterGone looks at what is left in namespaces that are gone: its tokens are revoked.
func (d *director) lookAfterGone() {
	d.t.Helper()
	all, err := d.tokens()
	check(d.t, err)
	ids := map[string]bool{}
	for _, t := range all {
		if !d.isGone(t.GetNamespace()) {
			continue
		}
		d.count("resources that outlived their namespace")
		if status := t.SharedStatus(); status.Token != nil && status.Token.URL != "" {
			ids[status.Token.ID] = true
		}
	}
	d.eventually("the tokens in a namespace that is gone are revoked", func() string {
		for _, token := range d.codacy.Tokens() {
			if ids[fmt.Sprint(token.ID)] {
				return fmt.Sprintf("the token %d lives", token.ID)
			}
		}
		return ""
	})
}

func (d *director) isGone(namespace string) bool {
	return apierrors.IsNotFound(d.k8s.Get(d.t.Context(), client.ObjectKey{Name: namespace}, &corev1.Namespace{}))
}

// isGoing: it is being deleted, or gone. A deletion may have been accepted though its answer was lost.
func (d *director) isGoing(namespace string) bool {
	var found corev1.Namespace
	err := d.k8s.Get(d.t.Context(), client.ObjectKey{Name: namespace}, &found)
	return apierrors.IsNotFound(err) || err == nil && found.DeletionTimestamp != nil
}

// end deletes everything, and waits until it is gone.
func (d *director) end() {
	d.t.Helper()
	d.lookAfterGone()
	d.eventually("everything is deleted", func() string {
		all, err := d.tokens()
		if err != nil {
			return err.Error()
		}
		for _, t := range all {
			if d.isGone(t.GetNamespace()) { // Somebody does what docs/tokens.md advises.
				if err := d.k8s.Create(d.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: t.GetNamespace()}}); err != nil {
					return err.Error()
				}
			}
			if t.GetDeletionTimestamp() == nil {
				if err := d.k8s.Delete(d.t.Context(), t); err != nil && !apierrors.IsNotFound(err) {
					return err.Error()
				}
			}
		}
		if len(all) > 0 {
			t := all[0]
			return fmt.Sprintf("%d are left, such as %s %s/%s: %v", len(all), t.Kind(), t.GetNamespace(), t.GetName(), t.SharedStatus().Conditions)
		}
		return ""
	})
}

// report looks for what is left, hears the witness, and prints a row.
func (d *director) report() {
	d.t.Helper()
	leaked, there := 0, map[int64]bool{}
	for _, token := range d.codacy.Tokens() {
		there[token.ID] = true
		if !token.HandMade {
			leaked++
			d.t.Errorf("leaked: the token %d (%s, of %s) lives, and no resource has it", token.ID, token.Name, token.Repository)
		}
	}
	harmed := 0
	for id := range d.strangers {
		if !there[id] {
			harmed++
			d.t.Errorf("harmed: the token %d was made by hand, and is gone", id)
		}
	}
	check(d.t, d.witness.Process.Signal(syscall.SIGTERM))
	_ = d.witness.Wait()
	testimony := strings.TrimSpace(d.testimony.String())
	lines := strings.Split(testimony, "\n")
	var saw struct{ Rounds, Values, Calls, Refused, Unrecorded, Outlived int }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &saw); err != nil {
		d.t.Fatalf("the witness did not come to its end: %v: %s", err, testimony)
	}
	if saw.Refused > 0 || saw.Outlived > 0 || saw.Values == 0 || saw.Rounds == 0 {
		d.t.Errorf("the witness: %s", testimony)
	}
	var row bytes.Buffer
	fmt.Fprintf(&row, "seed %d: ", *seed)
	var names []string
	for name := range d.counts {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintf(&row, "%s %d, ", name, d.counts[name])
	}
	fmt.Fprintf(&row, "minted at Codacy %d, values seen %d, calls %d; leaked %d, outlived %d, refused calls %d (and %d of values that nothing told of), harmed strangers %d",
		len(d.minted), saw.Values, saw.Calls, leaked, saw.Outlived, saw.Refused, saw.Unrecorded, harmed)
	d.t.Log(row.String())
	fmt.Fprintln(os.Stderr, row.String())
}
