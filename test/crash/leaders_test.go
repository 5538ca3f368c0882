package crash_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/leakcheck"
)

// TestALeaderThatIsFrozenAndWakesUp stops a leader in the middle of a mint, at every one of its requests, lets another one
// take over and finish, and lets the first go on.
func TestALeaderThatIsFrozenAndWakesUp(t *testing.T) {
	eachClassWithLeaders(t, func(ctx context.Context, m *matrix, other *matrix) {
		for at := 1; ; at++ {
			m.next++
			token := m.newToken(fmt.Sprintf("frozen-%d", m.next))
			frozen := make(chan struct{})
			first := m.operator
			m.killer.arm(at, carriedOut, func() { first.Freeze(); close(frozen) })
			poller := m.pollSecret(ctx, token)
			stopHand := m.handiwork(ctx)
			m.create(ctx, token)
			_, fatal := m.awaitFatal(frozen, m.answering(ctx, token, func() bool { return m.ready(ctx, token) }))
			if fatal {
				m.row.kills++
				other.start(ctx)
				m.eventually("another one leads", other.leads)
				m.eventuallyDone(ctx, token, func() bool { return m.ready(ctx, token) })
				first.Thaw()
				m.eventually("the first leader has found out that it is none any more", first.HasEnded)
			}
			m.eventuallyDone(ctx, token, func() bool { return m.ready(ctx, token) })
			poller.stop()
			stopHand()
			m.witness(ctx, token, false)
			m.delete(ctx, token)
			m.eventuallyDone(ctx, token, func() bool { return m.gone(ctx, token) })
			m.witness(ctx, token, true)
			m.cleanUp()
			if t.Failed() {
				t.Fatalf("frozen at request %d", at)
			}
			if !fatal {
				if at < 6 {
					t.Fatalf("a mint of %d requests: the killer does not see them", at-1)
				}
				return
			}
			m.keepLog()
			m.swap(other)
			time.Sleep(quiet)
		}
	})
}

// leads says whether the process has become the leader.
func (m *matrix) leads() bool {
	return strings.Contains(m.operator.Log(), "Successfully acquired lease")
}

// TestANewLeaderWhoseCacheIsBehind kills a leader while it replaces a token that was lost, when another one that takes over
// has not heard of that yet: to that one nothing has been begun.
func TestANewLeaderWhoseCacheIsBehind(t *testing.T) {
	eachClassWithLeaders(t, func(ctx context.Context, m *matrix, other *matrix) {
		other.start(ctx)
		for at := 1; ; at++ {
			m.next++
			token := m.newToken(fmt.Sprintf("behind-%d", m.next))
			m.create(ctx, token)
			m.eventuallyDone(ctx, token, func() bool { return m.ready(ctx, token) })
			time.Sleep(quiet) // The Events of the first mint must not be counted; and the other one hears of it.
			lost := m.secretValue(ctx, token)
			replaced := func() bool { return m.hasRevision(ctx, token, 2) }

			killed := make(chan struct{})
			first := m.operator
			m.killer.arm(at, after, func() { first.Kill(); close(killed) })
			other.killer.holdWatches(true)
			stopHand := m.handiwork(ctx)
			poller := m.pollSecret(ctx, token)
			m.delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: token.GetName()}})
			_, fatal := m.awaitFatal(killed, m.answering(ctx, token, replaced))
			if fatal {
				m.row.kills++
				m.keepLog()
				m.operator = other.operator
				m.eventually("another one leads", other.leads)
				time.Sleep(quiet) // It decides by what it knew before.
			}
			other.killer.holdWatches(false)
			m.eventuallyDone(ctx, token, replaced)
			poller.stop()
			stopHand()
			m.witness(ctx, token, false, lost) // Which has its grace period.
			m.delete(ctx, token)
			m.eventuallyDone(ctx, token, func() bool { return m.gone(ctx, token) })
			m.witness(ctx, token, true)
			m.cleanUp()
			if t.Failed() {
				t.Fatalf("killed after request %d; the log of who took over:\n%s", at, other.operator.Log())
			}
			if !fatal {
				if at < 6 {
					t.Fatalf("a mint of %d requests: the killer does not see them", at-1)
				}
				return
			}
			m.swap(other)
			other.start(ctx)
			time.Sleep(quiet)
		}
	})
}

// swap makes the other process, which leads now, the one that is watched.
func (m *matrix) swap(other *matrix) {
	m.operator, other.operator = other.operator, nil
	m.killer, other.killer = other.killer, m.killer
	m.kubeconfig, other.kubeconfig = other.kubeconfig, m.kubeconfig
	m.server.OnRequest(m.onRequest)
}

func (m *matrix) secretValue(ctx context.Context, token client.Object) string {
	m.t.Helper()
	return m.valueIn(ctx, token, m.secret)
}

// hasRevision says whether a resource has a token of at least a revision, and nothing under way.
func (s *scene) hasRevision(ctx context.Context, token client.Object, revision int64) bool {
	current := token.DeepCopyObject().(v1alpha1.Token)
	if s.k8s.Get(ctx, client.ObjectKeyFromObject(token), current) != nil {
		return false
	}
	status := current.SharedStatus()
	if status.Pending != nil || status.Token == nil || status.Token.Revision < revision {
		return false
	}
	for _, previous := range status.PreviousTokens {
		if previous.ID != "" && previous.ReplacedTime == nil {
			return false // Of an attempt that was closed: it is revoked at once.
		}
	}
	return true
}

// eachClassWithLeaders runs a test for the classes that differ in how a token is found again, with two processes of which
// one leads. The second one is not started yet.
func eachClassWithLeaders(t *testing.T, run func(ctx context.Context, m, other *matrix)) {
	t.Helper()
	ctx, controlPlane := startControlPlane(t)
	var rows []row
	for i, c := range classes(t) {
		if !fullMatrix && c.name != "cloud-2026-08 ProjectToken" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			m := newMatrix(ctx, t, controlPlane, c, fmt.Sprintf("leaders-%d", i), "--leader-elect")
			defer m.close(ctx)
			other := &matrix{scene: &scene{t: t, k8s: m.k8s, namespace: m.namespace, flags: m.flags, binary: m.binary}}
			var err error
			if other.killer, err = newKiller(controlPlane.Operator, &leakcheck.Values{}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(other.killer.server.Close)
			t.Cleanup(other.killer.server.CloseClientConnections)
			other.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
			if err := other.killer.writeKubeconfig(other.kubeconfig); err != nil {
				t.Fatal(err)
			}
			m.row = &row{class: c.name, scenario: strings.TrimPrefix(strings.Split(t.Name(), "/")[0], "Test")}
			asked := m.server.Requests()[m.creates()]
			run(ctx, m, other)
			m.row.asked = m.server.Requests()[m.creates()] - asked
			if other.operator != nil {
				other.end()
			}
			rows = append(rows, *m.row)
		})
	}
	printTable(rows)
}

// held is the response writer of a watch, which lets nothing through while watches that were begun as early are held.
type held struct {
	http.ResponseWriter
	killer *killer
	epoch  int
}

func (h held) Write(p []byte) (int, error) {
	h.killer.waitForWatches(h.epoch)
	return h.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (h held) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// holdWatches holds back what the watches bring that there are now, or lets it go.
func (k *killer) holdWatches(hold bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.holding = hold
	k.epoch++
	k.released.Broadcast()
}

func (k *killer) waitForWatches(epoch int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.holding && epoch < k.epoch {
		k.released.Wait()
	}
}

func (k *killer) newHeld(w http.ResponseWriter) held {
	k.mu.Lock()
	defer k.mu.Unlock()
	return held{w, k, k.epoch}
}
