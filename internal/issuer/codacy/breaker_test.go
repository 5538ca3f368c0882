package codacy_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

// pause is how long a service that does not answer is left alone here: in real time, which nobody can set.
const pause = 200 * time.Millisecond

// trips is after how many requests that came to nothing a service is left alone.
const trips = 5

func pausing(o *codacy.Options) { o.Timeout, o.BreakerPause = patience, pause }

// newFragile is a stand-in of which the connection knows that a mint is one request, with the issuers of which something
// changed.
func newFragile(t *testing.T, change func(*codacy.Options)) (s *standIn, changed chan codacy.Key) {
	t.Helper()
	s = knownStandIn(t, edition(t, "cloud-2026-08"), v1alpha1.KindAccountToken, false)
	account, capabilities := s.connection.Account(), s.connection.Capabilities()
	options := standardOptions(s)
	change(&options)
	s.services = codacy.NewServices(options)
	changed = make(chan codacy.Key, 100)
	s.services.OnChange(func(key codacy.Key) { changed <- key })
	s.connection = s.unidentified(s.credential.Value)
	s.connection.Believe(account, &capabilities)
	s.wantChanged(changed, 1) // A new connection is one.
	return s, changed
}

// wantChanged waits until listeners were told so often.
func (s *standIn) wantChanged(changed chan codacy.Key, times int) {
	s.Helper()
	for range times {
		select {
		case key := <-changed:
			if key.Name != "codacy" || key.Kind != v1alpha1.KindClusterTokenIssuer {
				s.Errorf("%v changed", key)
			}
		case <-time.After(patience):
			s.Fatal("nobody was told of a change")
		}
	}
}

// fail has so many requests fail.
func (s *standIn) fail(times int, fault codacytest.Fault) {
	s.Helper()
	s.server.Fault(always("createUserApiToken", fault))
	for range times {
		if _, err := s.connection.Mint(s.Context(), s.prepare(v1alpha1.KindAccountToken, 1)); s.failure(err).Reason != v1alpha1.ReasonServiceUnavailable {
			s.Errorf("Mint: %v", err)
		}
	}
	s.server.Fault(nil)
}

func (s *standIn) wantClosed() {
	s.Helper()
	if down := s.connection.Unavailable(); down != nil {
		s.Errorf("the service is left alone: %s", down.Message)
	}
	if wait := s.connection.ProbeTime(); wait != 0 {
		s.Errorf("it may be asked in %s", wait)
	}
}

// awaitProbe waits until the pause is over.
func (s *standIn) awaitProbe() {
	s.Helper()
	for deadline := time.Now().Add(patience); s.connection.ProbeTime() > 0; time.Sleep(pause / 20) {
		if time.Now().After(deadline) {
			s.Fatal("the pause does not end")
		}
	}
}

func TestAServiceThatDoesNotAnswerFiveTimesIsLeftAloneAndAllLearnOfIt(t *testing.T) {
	s, changed := newFragile(t, patient)
	epoch := s.connection.Epoch()
	s.fail(trips-1, refusing(http.StatusServiceUnavailable, 0))
	s.wantClosed()
	if len(changed) != 0 {
		t.Error("something changed, it was said, and nothing did")
	}
	s.fail(1, refusing(http.StatusServiceUnavailable, 0))
	s.wantChanged(changed, 1)

	down := s.connection.Unavailable()
	if down == nil {
		t.Fatal("the service is not left alone")
	}
	s.wantReason(down, v1alpha1.ReasonServiceUnavailable, false)
	s.wantWords(down, s.running.URL, "left alone")
	if down.RetryAfter != time.Minute || s.connection.ProbeTime() < time.Minute || s.connection.ProbeTime() > 2*time.Minute {
		t.Errorf("to be tried again after %s, and a probe in %s", down.RetryAfter, s.connection.ProbeTime())
	}
	if s.connection.Epoch() == epoch {
		t.Error("the epoch is the same")
	}

	// It answers again, and nobody asks.
	s.server.ResetRequests()
	attempt := s.prepare(v1alpha1.KindAccountToken, 1)
	_, err := s.connection.Mint(t.Context(), attempt)
	if got := s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false); !got.NothingMinted {
		t.Error("something may have been minted, it says, where nothing was sent")
	}
	_, err = s.connection.Settle(t.Context(), s.inquiry(v1alpha1.KindAccountToken, attempt.Record))
	s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false)
	s.wantReason(s.connection.Revoke(t.Context(), reference(v1alpha1.KindAccountToken, &attempt, "1")), v1alpha1.ReasonServiceUnavailable, false)
	s.wantReason(s.look(v1alpha1.KindAccountToken), v1alpha1.ReasonServiceUnavailable, false)
	_, err = s.connection.Identify(t.Context())
	s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false)
	_, err = s.connection.CredentialExpiration(t.Context())
	s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false)
	s.wantRequests(map[string]int{})
	if s.connection.CredentialRefused() {
		t.Error("the credential is refused, it says")
	}
}

func TestEachWayToGiveNoAnswerCounts(t *testing.T) {
	for _, fault := range []codacytest.Fault{
		refusing(http.StatusInternalServerError, 0), refusing(http.StatusGatewayTimeout, 0), refusing(http.StatusTooManyRequests, 0),
		{Kind: codacytest.CutBeforeActing}, {Kind: codacytest.CutAfterActing}, {Kind: codacytest.TimeoutAfterActing},
		{Kind: codacytest.Garbage}, {Kind: codacytest.WrongContentType}, {Kind: codacytest.Huge}, {Kind: codacytest.Hang},
	} {
		t.Run(nameOf(fault), func(t *testing.T) {
			t.Parallel()
			change := patient
			if fault.Kind == codacytest.Hang {
				change = impatient
			}
			s, changed := newFragile(t, change)
			s.fail(trips, fault)
			s.wantChanged(changed, 1)
			if s.connection.Unavailable() == nil {
				t.Error("the service is not left alone")
			}
		})
	}
}

func TestAnAnswerInBetweenBeginsTheCountAnew(t *testing.T) {
	s, changed := newFragile(t, patient)
	for range 3 {
		s.fail(trips-1, refusing(http.StatusServiceUnavailable, 0))
		s.mint(v1alpha1.KindAccountToken, 1)
	}
	s.wantClosed()
	if len(changed) != 0 {
		t.Error("something changed, it was said, and nothing did")
	}
}

func TestARefusalIsAnAnswer(t *testing.T) {
	for _, status := range []int{http.StatusTemporaryRedirect, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s, _ := newFragile(t, patient)
			s.server.Fault(func(string, *http.Request) codacytest.Fault { return refusing(status, 0) })
			for range 3 * trips {
				_, err := s.connection.Mint(t.Context(), s.prepare(v1alpha1.KindAccountToken, 1))
				if got := s.failure(err); got.Reason == v1alpha1.ReasonServiceUnavailable {
					t.Fatal(got.Message)
				}
			}
			s.wantClosed()
		})
	}
}

func TestARequestThatTheOperatorGaveUpIsNoFaultOfTheService(t *testing.T) {
	s, _ := newFragile(t, patient)
	ended, end := context.WithCancel(t.Context())
	end()
	for range 3 * trips {
		_, err := s.connection.Mint(ended, s.prepare(v1alpha1.KindAccountToken, 1))
		s.wantWords(s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false), "the operator is being stopped")
		_, err = s.connection.Identify(ended)
		s.wantWords(s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false), "the operator is being stopped")
	}
	s.wantClosed()
}

func TestOnceThePauseIsOverOneQuestionDecides(t *testing.T) {
	s, changed := newFragile(t, pausing)
	s.fail(trips, refusing(http.StatusServiceUnavailable, 0))
	s.wantChanged(changed, 1)
	s.awaitProbe()
	if s.connection.Unavailable() == nil {
		t.Error("that time goes by is no answer")
	}

	// It still does not answer.
	epoch := s.connection.Epoch()
	s.server.ResetRequests()
	s.server.Fault(always("getUser", codacytest.Fault{Kind: codacytest.WrongContentType}))
	_, err := s.connection.Identify(t.Context())
	s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false)
	s.wantRequests(map[string]int{"getUser": 1})
	if s.connection.Unavailable() == nil || s.connection.Epoch() == epoch {
		t.Error("a question without an answer ends the pause")
	}

	// It does.
	s.server.Fault(nil)
	s.awaitProbe()
	epoch = s.connection.Epoch()
	for len(changed) > 0 {
		<-changed
	}
	if _, err := s.connection.Identify(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.wantClosed()
	s.wantChanged(changed, 1)
	if s.connection.Epoch() == epoch {
		t.Error("the epoch is the same")
	}
	s.mint(v1alpha1.KindAccountToken, 1)
}

func TestWhileOneQuestionIsOpenNoOtherRequestIsSent(t *testing.T) {
	s, _ := newFragile(t, pausing)
	s.fail(trips, refusing(http.StatusServiceUnavailable, 0))
	s.awaitProbe()
	asked, answer := make(chan struct{}), make(chan struct{})
	s.server.OnRequest(func(operation, when string) {
		if operation == "getUser" && when == codacytest.Before {
			close(asked)
			<-answer
		}
	})
	s.server.ResetRequests()
	done := make(chan error)
	go func() {
		_, err := s.connection.Identify(t.Context())
		done <- err
	}()
	<-asked
	_, err := s.connection.Mint(t.Context(), s.prepare(v1alpha1.KindAccountToken, 1))
	close(answer)
	if got := s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false); !got.NothingMinted {
		t.Error("something may have been minted, it says, where nothing was sent")
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s.wantRequests(map[string]int{"getUser": 1})
	s.wantClosed()
}

func TestAQuestionThatTheOperatorGaveUpDecidesNothing(t *testing.T) {
	s, _ := newFragile(t, pausing)
	s.fail(trips, refusing(http.StatusServiceUnavailable, 0))
	s.awaitProbe()
	ended, end := context.WithCancel(t.Context())
	end()
	_, err := s.connection.Identify(ended)
	s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false)
	if s.connection.Unavailable() == nil {
		t.Error("the service is asked again, and did not answer")
	}
	if _, err := s.connection.Identify(t.Context()); err != nil {
		t.Errorf("the next question: %v", err)
	}
	s.wantClosed()
}

func TestEachIssuerFindsOutForItself(t *testing.T) {
	s, _ := newFragile(t, patient)
	other, err := s.services.Connect(keyNamed("other"), codacy.Config{URL: s.running.URL, CABundle: s.running.CAPEM, Credential: s.credential.Value})
	if err != nil {
		t.Fatal(err)
	}
	s.fail(trips, refusing(http.StatusServiceUnavailable, 0))
	if s.connection.Unavailable() == nil || other.Unavailable() != nil {
		t.Error("an issuer is held to what another one found out")
	}
}

func TestAllLearnOfWhatChanged(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	changed := make(chan codacy.Key, 100)
	s.services = codacy.NewServices(standardOptions(s))
	s.services.OnChange(func(key codacy.Key) { changed <- key })
	s.services.OnChange(func(key codacy.Key) { changed <- key })
	for _, step := range []struct {
		name   string
		do     func() error
		change bool
	}{
		{"a new connection", func() error { s.connection = s.unidentified(s.credential.Value); return nil }, true},
		{"the same connection", func() error { s.unidentified(s.credential.Value); return nil }, false},
		{"an account that is known", func() error { _, err := s.connection.Identify(t.Context()); return err }, false},
		{"what a mint shows", func() error { s.mint(v1alpha1.KindAccountToken, 1); return nil }, true},
		{"what the next mint shows, too", func() error { s.mint(v1alpha1.KindAccountToken, 2); return nil }, false},
		{"a credential that is refused", func() error {
			s.server.Fault(always("getUser", refusing(http.StatusUnauthorized, 0)))
			_, err := s.connection.Identify(t.Context())
			s.wantReason(err, v1alpha1.ReasonCredentialsRefused, true)
			return nil
		}, true},
		{"a credential that is refused again", func() error {
			_, err := s.connection.Identify(t.Context())
			s.wantReason(err, v1alpha1.ReasonCredentialsRefused, true)
			return nil
		}, false},
		{"a credential that is accepted again", func() error {
			s.server.Fault(nil)
			_, err := s.connection.Identify(t.Context())
			return err
		}, true},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if step.change {
			s.wantChanged(changed, 2)
		}
	}
	select {
	case <-changed:
		t.Error("something was told that did not change")
	case <-time.After(impatience): // Who listens is told a moment later.
	}
}
