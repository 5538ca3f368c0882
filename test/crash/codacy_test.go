package crash_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/leakcheck"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// fullMatrix: every edition and kind of token, every unknown, every fault. Otherwise a part of them that takes a few minutes.
var fullMatrix = os.Getenv("LEAK_MATRIX") == "full"

// shortTimes make the operator settle within seconds what otherwise takes minutes.
var shortTimes = []string{
	"--leader-elect-lease-duration=2s", "--leader-elect-renew-deadline=1s", "--leader-elect-retry-period=200ms",
	"--service-timeout=500ms", "--service-pause=500ms", "--service-rate-limits=", "--zap-devel",
}

// class is an edition of Codacy and a kind of its tokens.
type class struct {
	name, kind string
	behaviour  codacytest.Behaviour
	// alike: an attempt whose answer was lost can't be told from what somebody made by hand meanwhile.
	alike bool
}

func classes(t *testing.T) (all []class) {
	t.Helper()
	for _, edition := range codacytest.Editions {
		for _, kind := range []string{v1alpha1.KindAccountToken, v1alpha1.KindProjectToken} {
			behaviour, err := codacytest.Edition(edition)
			if err != nil {
				t.Fatal(err)
			}
			if kind == v1alpha1.KindProjectToken && !behaviour.RepositoryTokens {
				continue
			}
			alike := !behaviour.AccountExpiry
			if kind == v1alpha1.KindProjectToken {
				alike = behaviour.RepositoryTokenBody != codacytest.HonoursBody
			}
			all = append(all, class{edition + " " + kind, kind, behaviour, alike})
		}
	}
	return all
}

// row is what came of one class and scenario: how many processes were killed, tokens asked for, made by hand meanwhile,
// and leaked, how many questions a person was asked, and how many of the tokens made by hand were claimed or deleted.
type row struct {
	class, scenario                                 string
	kills, asked, ambiguous, byHand, leaked, harmed int
}

// matrix is a scene with a stand-in for Codacy, and the count of what happens there.
type matrix struct {
	*scene
	class
	server  *codacytest.Server
	account int64
	secret  string // the key of the token
	row     *row
	// byHand are the tokens that people make meanwhile.
	byHand []codacytest.Token
	next   int
	// coincidence: somebody makes a token at the very moment at which the operator's is made.
	coincidence chan codacytest.Token
}

func TestLeakMatrix(t *testing.T) {
	ctx, controlPlane := startControlPlane(t)
	var rows []row
	defer func() { printTable(rows) }()
	for i, c := range classes(t) {
		// The short form has each way to find a token again, once with kills and once without.
		killed := fullMatrix || c.name == "cloud-2026-08 ProjectToken" || c.name == "self-hosted-16 ProjectToken"
		t.Run(c.name, func(t *testing.T) {
			m := newMatrix(ctx, t, controlPlane, c, fmt.Sprintf("matrix-%d", i), "--leader-elect=false")
			defer m.close(ctx)
			for _, s := range m.scenarios() {
				rows = append(rows, row{class: c.name, scenario: s.name})
				m.row = &rows[len(rows)-1]
				// Settling what may be anybody's takes long, and many requests.
				if killed && !s.unkilled && (fullMatrix || !c.alike || s.fault == codacytest.NoFault) {
					m.atEveryRequest(ctx, s)
				} else {
					m.run(ctx, s, 0, before)
				}
			}
		})
	}
}

// scenario is what happens to one resource, of which each request may be the last of a process.
type scenario struct {
	name string
	// fault of the request to mint.
	fault codacytest.FaultKind
	// deletes: it is the deletion in which processes are killed; rotates: it is a rotation that somebody asks for.
	deletes, rotates bool
	// unkilled: nobody is killed.
	unkilled bool
}

func (m *matrix) scenarios() []scenario {
	all := []scenario{
		{name: "mint"},
		{name: "mint, acted then cut", fault: codacytest.CutAfterActing},
		{name: "rotation", rotates: true},
		{name: "deletion", deletes: true},
	}
	if fullMatrix {
		all = append(all,
			scenario{name: "mint, acted then 504", fault: codacytest.TimeoutAfterActing, unkilled: true},
			scenario{name: "mint, cut before acting", fault: codacytest.CutBeforeActing, unkilled: true},
			scenario{name: "rotation, acted then cut", rotates: true, fault: codacytest.CutAfterActing, unkilled: true},
		)
	}
	return all
}

// atEveryRequest runs a scenario again and again, each time with another request as the last one.
func (m *matrix) atEveryRequest(ctx context.Context, s scenario) {
	// While a person is asked which tokens are theirs, and until that is answered, the same requests come again and again.
	most := 100
	if m.alike && s.fault != codacytest.NoFault {
		most = 14
	}
	moments := []moment{before, after}
	if s.rotates && !fullMatrix {
		moments = []moment{after} // Which leaves behind what a kill before the next request does.
	}
	for _, when := range moments {
		for at := 1; at <= most && m.run(ctx, s, at, when) && !m.t.Failed(); at++ {
			m.row.kills++
		}
	}
}

// run plays a scenario once; at 0: nothing is killed. fatal: a process was.
func (m *matrix) run(ctx context.Context, s scenario, at int, when moment) (fatal bool) {
	m.next++
	token := m.newToken(fmt.Sprintf("token-%d", m.next))
	asked := m.server.Requests()[m.creates()]
	if s.rotates {
		token.SharedSpec().Rotation = atOnce()
	}
	stopHand := m.handiwork(ctx)
	poller := m.pollSecret(ctx, token)
	replaced := ""
	if s.deletes || s.rotates {
		m.create(ctx, token)
		m.eventuallyDone(ctx, token, func() bool { return m.ready(ctx, token) })
		time.Sleep(quiet) // The Events of the mint must not be counted as those of what follows.
		replaced = m.secretValue(ctx, token)
	}
	if s.fault != codacytest.NoFault {
		m.server.Fault(codacytest.Times(1, m.creates(), codacytest.Fault{Kind: s.fault}))
	}
	done := func() bool { return m.ready(ctx, token) }
	killed := m.arm(at, when)
	switch {
	case s.deletes:
		poller.stop() // What is deleted may be refused.
		m.delete(ctx, token)
		done = func() bool { return m.gone(ctx, token) }
	case s.rotates:
		m.askToRotate(ctx, token)
		done = func() bool { return m.isRotated(ctx, token) }
	default:
		m.create(ctx, token)
	}
	requests, fatal := m.await(ctx, killed, m.answering(ctx, token, done))
	m.eventuallyDone(ctx, token, done)
	stopHand()
	if !s.deletes {
		m.eventuallySees(poller)
		poller.stop()
	}
	m.server.Fault(nil)
	if s.rotates {
		m.checkRotated(ctx, token, m.secret, replaced, fatal && at > 0 || s.fault != codacytest.NoFault)
		if m.server.Accepts(replaced) {
			m.t.Errorf("%s: the replaced token is still accepted", token.GetName())
		}
	}
	m.witness(ctx, token, s.deletes)
	if !s.deletes {
		m.delete(ctx, token)
		m.eventuallyDone(ctx, token, func() bool { return m.gone(ctx, token) })
		m.witness(ctx, token, true)
	}
	m.row.asked += m.server.Requests()[m.creates()] - asked
	m.conclude(s.name, requests, at, when, fatal)
	return fatal && at > 0
}

// conclude ends one play of a scenario, of which these were the requests.
func (m *matrix) conclude(name string, requests []string, at int, when moment, fatal bool) {
	m.t.Helper()
	if m.t.Failed() {
		m.t.Fatalf("%s, killed %s request %d; the requests were:\n%s\nthe operator's log:\n%s", name, when, at, strings.Join(requests, "\n"), m.operator.Log())
	}
	if !fatal && at > 0 {
		m.t.Logf("%s: %d requests, killed %s each of them:\n%s", name, len(requests), when, strings.Join(requests, "\n"))
		if len(requests) < 4 && m.killer.words == "" {
			m.t.Fatalf("%s in %d requests: the killer does not see them", name, len(requests))
		}
	}
	m.cleanUp()
	time.Sleep(quiet) // The Events of this play must not be counted as the next one's.
}

func (m *matrix) creates() string {
	if m.kind == v1alpha1.KindAccountToken {
		return "createUserApiToken"
	}
	return "createRepositoryApiToken"
}

// handiwork makes tokens by hand at random moments until it is stopped.
func (m *matrix) handiwork(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	made := make(chan codacytest.Token, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for len(made) < 5 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Duration(rand.IntN(400)) * time.Millisecond):
			}
			made <- m.makeByHand()
		}
		<-ctx.Done()
	}()
	return func() {
		cancel()
		<-ended
		close(made)
		for t := range made {
			m.byHand = append(m.byHand, t)
			m.row.byHand++
		}
		for len(m.coincidence) > 0 {
			m.byHand = append(m.byHand, <-m.coincidence)
			m.row.byHand++
		}
	}
}

func (m *matrix) makeByHand() codacytest.Token {
	expires := time.Now().Add(time.Duration(1+rand.IntN(364*24)) * time.Hour)
	if m.kind == v1alpha1.KindAccountToken {
		return m.server.CreateAccountToken(m.account, &expires)
	}
	return m.server.CreateRepositoryToken("gh", "acme", "api", fmt.Sprintf("ci-%d", rand.Int64()), &expires)
}

// witness counts, from what the service and the API server have, and without any of the operator's code.
// allowed are values of tokens that may live beside the one in the Secret.
func (m *matrix) witness(ctx context.Context, token client.Object, deleted bool, allowed ...string) {
	m.t.Helper()
	if !deleted {
		var secret corev1.Secret
		if err := m.k8s.Get(ctx, client.ObjectKeyFromObject(token), &secret); err != nil {
			m.t.Error(err)
		}
		current := string(secret.Data[m.secret])
		if !m.server.Accepts(current) {
			m.t.Errorf("%s: what the Secret holds is refused", token.GetName())
		}
		allowed = append(allowed, current)
	}
	for _, living := range m.minted() {
		if !slices.Contains(allowed, living.Value.Reveal()) {
			m.row.leaked++
			m.t.Errorf("%s: token %d is accepted and nobody's", token.GetName(), living.ID)
		}
	}
	status := ""
	if m.k8s.Get(ctx, client.ObjectKeyFromObject(token), token) == nil {
		encoded, err := json.Marshal(token)
		if err != nil {
			m.t.Fatal(err)
		}
		status = string(encoded)
	}
	living := map[int64]bool{}
	for _, t := range m.server.Tokens() {
		living[t.ID] = true
	}
	for _, hand := range m.byHand {
		if !living[hand.ID] || strings.Contains(status, fmt.Sprintf(`"id":"%d"`, hand.ID)) {
			m.row.harmed++
			m.t.Errorf("%s: token %d, made by hand, was claimed or deleted", token.GetName(), hand.ID)
		}
	}
}

// minted are the tokens at the service that the operator made.
func (m *matrix) minted() (tokens []codacytest.Token) {
	for _, t := range m.server.Tokens() {
		if !t.HandMade {
			tokens = append(tokens, t)
		}
	}
	return tokens
}

func (m *matrix) cleanUp() {
	for _, hand := range m.byHand {
		m.server.RevokeInWebUI(hand.ID)
	}
	m.byHand = nil
}

// eventuallyDone waits, and answers meanwhile.
func (m *matrix) eventuallyDone(ctx context.Context, token client.Object, done func() bool) {
	m.t.Helper()
	m.eventually(token.GetName()+" is done", m.answering(ctx, token, done))
}

// answering is done, by somebody who answers meanwhile which of the tokens are theirs.
func (m *matrix) answering(ctx context.Context, token client.Object, done func() bool) func() bool {
	return func() bool {
		m.disambiguate(ctx, token)
		return done()
	}
}

// disambiguate answers AmbiguousToken: it revokes what nobody made by hand, and disowns the rest.
func (m *matrix) disambiguate(ctx context.Context, token client.Object) {
	m.t.Helper()
	current := token.DeepCopyObject().(v1alpha1.Token)
	if m.k8s.Get(ctx, client.ObjectKeyFromObject(token), current) != nil {
		return
	}
	disowned := current.GetAnnotations()[v1alpha1.NotMineAnnotation]
	pending := current.SharedStatus().Pending
	if pending == nil || !asked(pending.AmbiguousIDs, disowned) {
		return
	}
	m.row.ambiguous++
	if !m.alike {
		m.t.Errorf("%s is ambiguous, and its token could have been recognized", token.GetName())
	}
	for _, id := range pending.AmbiguousIDs {
		number, err := strconv.ParseInt(string(id), 10, 64)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, t := range m.minted() {
			if t.ID == number {
				m.server.RevokeInWebUI(number)
			}
		}
		disowned += "," + string(id)
	}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.NotMineAnnotation, disowned)
	if err := m.k8s.Patch(ctx, current, client.RawPatch("application/merge-patch+json", patch)); client.IgnoreNotFound(err) != nil {
		m.t.Fatal(err)
	}
}

// asked says whether there is an id that was not answered for yet.
func asked(ids []v1alpha1.ServiceID, answered string) bool {
	for _, id := range ids {
		if !strings.Contains(answered, string(id)) {
			return true
		}
	}
	return false
}

// pollSecret reads a Secret all the time and asks the service about what it finds there.
func (m *matrix) pollSecret(ctx context.Context, token v1alpha1.Token) *poller {
	ctx, cancel := context.WithCancel(ctx)
	p := &poller{cancel: cancel}
	key, graced := client.ObjectKeyFromObject(token), token.SharedSpec().GracePeriod() > 0
	var refused atomic.Bool
	p.done.Go(func() {
		for ctx.Err() == nil && !refused.Load() {
			var secret corev1.Secret
			if m.k8s.Get(ctx, key, &secret) != nil {
				continue // It is not there yet.
			}
			value := string(secret.Data[m.secret])
			if !m.server.Accepts(value) && ctx.Err() == nil && (graced || m.holds(ctx, key, m.secret, value)) {
				refused.Store(true)
				m.t.Errorf("%s: a value was in the Secret and was refused", key.Name)
			}
			p.seen.Add(1)
			time.Sleep(time.Millisecond)
		}
	})
	return p
}

// newMatrix starts a stand-in, an issuer that is connected to it, and an operator that has seen what it does.
func newMatrix(ctx context.Context, t *testing.T, controlPlane *testenv.ControlPlane, c class, name, leading string) *matrix {
	t.Helper()
	m := &matrix{scene: &scene{t: t, k8s: controlPlane.Client, namespace: name, flags: append([]string{leading}, shortTimes...)}, class: c}
	m.secret = map[string]string{v1alpha1.KindAccountToken: "CODACY_API_TOKEN", v1alpha1.KindProjectToken: "CODACY_PROJECT_TOKEN"}[c.kind]
	var err error
	if m.killer, err = newKiller(controlPlane.Operator, &leakcheck.Values{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.killer.server.Close)
	t.Cleanup(m.killer.server.CloseClientConnections)
	m.build(ctx, t)

	c.behaviour.RateLimit = nil // It has a test of its own.
	m.server = codacytest.New(clock.RealClock{}, c.behaviour)
	m.account = m.server.AddAccount("Robot", "robot@acme.example")
	m.server.AddRepository("gh", "acme", "api")
	credential := m.server.CreateAccountToken(m.account, nil)
	running, err := codacytest.StartTLS(m.server, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = running.Close() })
	m.coincidence = make(chan codacytest.Token, 1000)
	m.server.OnRequest(m.onRequest)

	m.create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	m.create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.Namespace, Name: name},
		Data:       map[string][]byte{v1alpha1.DefaultCredentialsKey: []byte(credential.Value.Reveal())},
	})
	m.create(ctx, &v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.ClusterTokenIssuerSpec{
			IssuerSpec: v1alpha1.IssuerSpec{Codacy: &v1alpha1.CodacyIssuer{
				URL: running.URL, CABundle: running.CAPEM, CredentialsSecretRef: v1alpha1.SecretKeyReference{Name: name},
			}},
			Grants: []v1alpha1.Grant{{
				NamespaceSelector: &v1alpha1.NamespaceSelector{}, Accounts: []v1alpha1.AccountPattern{"*"}, Projects: []v1alpha1.ProjectPattern{"*/*/*"},
			}},
		},
	})
	m.start(ctx)
	m.warmUp(ctx)
	return m
}

// onRequest makes, every other time, a token by hand beside the one that the operator has just made.
func (m *matrix) onRequest(operation, when string) {
	if operation == m.creates() && when == codacytest.After && rand.IntN(2) == 0 {
		m.coincidence <- m.makeByHand()
	}
	m.killer.serviceRequest(operation, when)
}

// warmUp has the operator see what the service does, and remember it.
func (m *matrix) warmUp(ctx context.Context) {
	m.t.Helper()
	m.row = &row{}
	token := m.newToken("first")
	m.create(ctx, token)
	m.eventuallyDone(ctx, token, func() bool { return m.ready(ctx, token) })
	m.eventually("what was seen is remembered", func() bool {
		if m.behaviour.RepositoryTokenBody == codacytest.RefusesBody {
			return true // Nothing was asked for, so nothing can be seen.
		}
		var issuer v1alpha1.ClusterTokenIssuer
		return m.k8s.Get(ctx, client.ObjectKey{Name: m.namespace}, &issuer) == nil && issuer.Status.Capabilities != nil
	})
	m.delete(ctx, token)
	m.eventuallyDone(ctx, token, func() bool { return m.gone(ctx, token) })
	time.Sleep(quiet)
}

// close ends the operator, and lets the issuer go without it.
func (m *matrix) close(ctx context.Context) {
	issuer := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: m.namespace}}
	m.delete(ctx, issuer)
	m.eventually("the issuer is gone", func() bool {
		return client.IgnoreNotFound(m.k8s.Get(ctx, client.ObjectKeyFromObject(issuer), issuer)) == nil && m.k8s.Get(ctx, client.ObjectKeyFromObject(issuer), issuer) != nil
	})
	m.end()
	if strings.Contains(m.logs.String(), codacytest.Marker) {
		m.t.Error("the log repeats what the service says")
	}
}

func (m *matrix) newToken(name string) v1alpha1.Token {
	meta := metav1.ObjectMeta{Namespace: m.namespace, Name: name}
	spec := v1alpha1.TokenSpec{IssuerRef: v1alpha1.IssuerReference{Name: m.namespace}}
	if m.kind == v1alpha1.KindAccountToken {
		return &v1alpha1.AccountToken{ObjectMeta: meta, Spec: v1alpha1.AccountTokenSpec{TokenSpec: spec}}
	}
	return &v1alpha1.ProjectToken{
		ObjectMeta: meta,
		Spec:       v1alpha1.ProjectTokenSpec{TokenSpec: spec, Project: v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: "api"}},
	}
}

func (s *scene) ready(ctx context.Context, token client.Object) bool {
	current := token.DeepCopyObject().(v1alpha1.Token)
	if s.k8s.Get(ctx, client.ObjectKeyFromObject(token), current) != nil {
		return false
	}
	status := current.SharedStatus()
	if status.Pending != nil || isPrevious(status) {
		return false
	}
	for _, condition := range status.Conditions {
		if condition.Type == v1alpha1.ConditionReady {
			return condition.Status == metav1.ConditionTrue
		}
	}
	return false
}

// isPrevious says whether there is a token yet to be revoked. An attempt without one is only looked for again in an hour.
func isPrevious(status *v1alpha1.TokenStatus) bool {
	for _, previous := range status.PreviousTokens {
		if previous.ID != "" {
			return true
		}
	}
	return false
}

func (m *matrix) gone(ctx context.Context, token client.Object) bool {
	current := token.DeepCopyObject().(client.Object)
	err := m.k8s.Get(ctx, client.ObjectKeyFromObject(token), current)
	return err != nil && client.IgnoreNotFound(err) == nil
}

func printTable(rows []row) {
	fmt.Printf("\n%-32s %-26s %6s %7s %8s %10s %7s %7s\n", "class", "scenario", "kills", "asked", "by hand", "ambiguous", "leaked", "harmed")
	var total row
	for _, r := range rows {
		fmt.Printf("%-32s %-26s %6d %7d %8d %10d %7d %7d\n", r.class, r.scenario, r.kills, r.asked, r.byHand, r.ambiguous, r.leaked, r.harmed)
		total.kills, total.asked, total.byHand = total.kills+r.kills, total.asked+r.asked, total.byHand+r.byHand
		total.ambiguous, total.leaked, total.harmed = total.ambiguous+r.ambiguous, total.leaked+r.leaked, total.harmed+r.harmed
	}
	fmt.Printf("%-32s %-26s %6d %7d %8d %10d %7d %7d\n", "all", "", total.kills, total.asked, total.byHand, total.ambiguous, total.leaked, total.harmed)
}
