// Package rotate_test rotates the tokens of many processes that use them all the time, and counts who is refused.
package rotate_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

const (
	clients         = 50
	rotationsOfEach = 20
	// A rotation that is asked for waits while three replaced tokens live, so there is one in a third of the grace period.
	gracePeriod      = 20 * time.Second
	betweenRotations = 6 * time.Second
	// slowRollout is when the old process of every fifth client ends; those of the others do as soon as the new one is ready.
	slowRollout = gracePeriod / 2
)

func TestAThousandRotationsUnderLoadRefuseNoCall(t *testing.T) {
	s := newScene(t)
	names := s.createTokens(clients)
	began := time.Now()
	var rotations atomic.Int64
	running := make([]*process, clients)
	var deployments, stopping sync.WaitGroup
	for i, name := range names {
		deployments.Go(func() {
			d := &deployment{scene: s, name: name, stopping: &stopping}
			if i%5 == 0 {
				d.ends = slowRollout
			}
			wait(t.Context(), time.Duration(i)*betweenRotations/clients)
			if err := d.run(t.Context(), &rotations); err != nil {
				t.Errorf("%s: %s", name, err)
			}
			running[i] = d.current
		})
	}
	for _, at := range []int64{clients * rotationsOfEach / 3, clients * rotationsOfEach * 2 / 3} {
		err := await(t.Context(), 3*time.Minute, func() bool { return rotations.Load() >= at || t.Failed() })
		if err != nil {
			t.Errorf("%d rotations, and no more: %s", rotations.Load(), err)
		}
		s.restartOperator()
	}
	deployments.Wait()
	stopping.Wait()
	s.eventually("the replaced tokens are revoked", func() bool {
		return s.count(func(status *v1alpha1.TokenStatus) bool {
			return len(status.PreviousTokens) > 0 || status.Pending != nil
		}) == 0
	})
	for _, p := range running {
		s.stopClient(p)
	}
	seconds := time.Since(began).Seconds()
	t.Logf("%d rotations and %d restarts in %.0f s: %s; an old process went on for %s at most after its token was replaced",
		rotations.Load(), s.restarts, seconds, s.total, s.longest.Round(time.Millisecond))
	if s.total.refused() > 0 || s.total.odd() > 0 {
		t.Errorf("%d calls were refused, and %d answered as they never should be", s.total.refused(), s.total.odd())
	}
	if got := rotations.Load(); got < clients*rotationsOfEach {
		t.Errorf("%d rotations, want %d", got, clients*rotationsOfEach)
	}
	if nominal := seconds * clients * float64(time.Second/pause); float64(s.total[http.StatusOK]) < nominal/2 {
		t.Errorf("%d calls were accepted, of some %.0f: that was no load", s.total[http.StatusOK], nominal)
	}
	s.checkValues(names)
}

// deployment has one client at a time, and a second one while a rollout goes on.
type deployment struct {
	*scene
	name string
	// ends is how long after its token was replaced an old process ends, but not before the new one is ready.
	ends     time.Duration
	stopping *sync.WaitGroup
	value    string
	current  *process
}

// run asks for one rotation after the other, and rolls out each.
func (d *deployment) run(ctx context.Context, rotations *atomic.Int64) (err error) {
	if d.value, err = d.awaitOther(ctx, ""); err != nil {
		return err
	}
	if d.current, err = d.startClient(d.name); err != nil {
		return err
	}
	for i := range rotationsOfEach {
		wait(ctx, betweenRotations)
		if err := d.ask(ctx, fmt.Sprintf("rotation %d", i+1)); err != nil {
			return err
		}
		if err := d.rollOut(ctx); err != nil {
			return fmt.Errorf("rotation %d: %w", i+1, err)
		}
		rotations.Add(1)
	}
	return nil
}

func (d *deployment) ask(ctx context.Context, request string) error {
	token := &v1alpha1.AccountToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: d.name}}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RotateRequestAnnotation, request)
	return d.k8s.Patch(ctx, token, client.RawPatch("application/merge-patch+json", patch))
}

// rollOut waits until the Secret changes, starts a new process, and stops the old one when that is ready.
func (d *deployment) rollOut(ctx context.Context) error {
	former := d.value
	var err error
	if d.value, err = d.awaitOther(ctx, former); err != nil {
		return fmt.Errorf("%w; %s", err, d.state(ctx))
	}
	replaced := time.Now()
	d.remember(d.name, former)
	next, err := d.startClient(d.name)
	if err != nil {
		return err
	}
	old := d.current
	d.current = next
	d.stopping.Go(func() {
		wait(ctx, d.ends-time.Since(replaced))
		d.stopClient(old)
		d.restarted(time.Since(replaced))
	})
	return nil
}

// awaitOther waits until the Secret holds another value than the former one.
func (d *deployment) awaitOther(ctx context.Context, former string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	secrets, err := d.watcher.Watch(ctx, &corev1.SecretList{}, client.InNamespace(namespace), client.MatchingFields{"metadata.name": d.name})
	if err != nil {
		return "", err
	}
	defer secrets.Stop()
	for event := range secrets.ResultChan() {
		if secret, ok := event.Object.(*corev1.Secret); ok {
			if value := string(secret.Data[tokenKey]); value != "" && value != former {
				return value, nil
			}
		}
	}
	return "", errors.New("the Secret did not change")
}

// state tells why a rotation may not have come about.
func (d *deployment) state(ctx context.Context) string {
	var token v1alpha1.AccountToken
	if err := d.k8s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: d.name}, &token); err != nil {
		return err.Error()
	}
	status := token.Status
	return fmt.Sprintf("complied with %q of %q, %d tokens are pending or replaced, conditions %v", status.LastRotateRequest,
		token.Annotations[v1alpha1.RotateRequestAnnotation], len(status.PreviousTokens), status.Conditions)
}

func wait(ctx context.Context, duration time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(duration):
	}
}

// startClient starts a client and waits until it is ready.
func (s *scene) startClient(secret string) (*process, error) {
	p, err := startProcess(s.clientBinary, "--secret="+strings.TrimSuffix(s.controlPlane.Admin.Host, "/")+"/api/v1/namespaces/"+namespace+"/secrets/"+secret, "--key="+tokenKey,
		"--api-ca="+s.file("api-ca"), "--certificate="+s.file("admin"), "--url="+s.url(), "--ca="+s.file("authority-ca"), "--pause="+pause.String())
	if err != nil {
		return nil, err
	}
	if err := p.awaitReady(); err != nil {
		return nil, err
	}
	return p, nil
}

// stopClient ends a client, if it was ever ready, and takes what it counted.
func (s *scene) stopClient(p *process) {
	if p == nil {
		return
	}
	counted, err := p.stop()
	if err != nil {
		s.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for status, count := range counted {
		s.total[status] += count
	}
	s.logs.WriteString(p.errors.String())
}

func (s *scene) remember(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replaced = append(s.replaced, value)
	s.values.Add(fmt.Sprintf("%s, replaced token %d of all", name, len(s.replaced)), value)
}

func (s *scene) restarted(after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restarts++
	s.longest = max(s.longest, after)
}

// checkValues: of all values that were ever in a Secret, those that are there now are accepted, and no others; and none is
// in a log.
func (s *scene) checkValues(names []string) {
	s.Helper()
	caller, err := s.operator.Client()
	if err != nil {
		s.Fatal(err)
	}
	defer caller.CloseIdleConnections()
	s.eventually("the authority refuses every replaced token", func() bool {
		return !slices.ContainsFunc(s.replaced, func(value string) bool { return s.status(caller, value) != http.StatusUnauthorized })
	})
	for _, name := range names {
		d := &deployment{scene: s, name: name}
		value, err := d.awaitOther(s.Context(), "")
		if err != nil {
			s.Fatal(err)
		}
		s.values.Add(name+", the last token", value)
		if got := s.status(caller, value); got != http.StatusOK {
			s.Errorf("%s: the authority answers %d to what the Secret holds", name, got)
		}
	}
	s.Logf("%d replaced tokens are refused, and %d current ones accepted", len(s.replaced), len(names))
	if err := s.values.Check(map[string]string{"a log": s.logs.String() + s.operator.Log()}); err != nil {
		s.Error(err)
	}
}

// status is what the authority answers to a value; 0 if it does not.
func (s *scene) status(caller *http.Client, value string) int {
	s.Helper()
	request, err := http.NewRequest(http.MethodGet, s.url(), nil)
	if err != nil {
		s.Fatal(err)
	}
	request.Header.Set("api-token", value)
	response, err := caller.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}
