package codacy_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

func refusing(status int, retryAfter time.Duration) codacytest.Fault {
	return codacytest.Fault{Kind: codacytest.Refuse, Status: status, RetryAfter: retryAfter}
}

func nameOf(f codacytest.Fault) string {
	if f.Kind == codacytest.Refuse {
		return fmt.Sprintf("%s %d, back in %s", f.Kind, f.Status, f.RetryAfter)
	}
	return string(f.Kind)
}

// failing is a way to fail and what becomes of a request that fails so.
type failing struct {
	fault   codacytest.Fault
	reason  string
	stalled bool
	// wait is what the engine is told to wait.
	wait time.Duration
	// nothing: a create that is answered so surely made nothing.
	nothing bool
	// repeats: a read or a revocation is tried again at once.
	repeats bool
}

// denied are the refusals of which the meaning depends on what was asked for, see TestRefusals.
var denied = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}

var failures = []failing{
	{fault: refusing(http.StatusBadRequest, 0), reason: v1alpha1.ReasonServiceRefused, stalled: true, nothing: true},
	{fault: refusing(http.StatusConflict, 0), reason: v1alpha1.ReasonServiceRefused, stalled: true, nothing: true},
	{fault: refusing(http.StatusUnprocessableEntity, 0), reason: v1alpha1.ReasonServiceRefused, stalled: true, nothing: true},
	{fault: refusing(http.StatusRequestTimeout, 0), reason: v1alpha1.ReasonServiceUnavailable, repeats: true},
	{fault: refusing(http.StatusTooManyRequests, 0), reason: v1alpha1.ReasonServiceUnavailable, nothing: true, repeats: true},
	{fault: refusing(http.StatusTooManyRequests, 7*time.Second), reason: v1alpha1.ReasonServiceUnavailable, nothing: true, wait: 7 * time.Second},
	{fault: refusing(http.StatusInternalServerError, 0), reason: v1alpha1.ReasonServiceUnavailable, repeats: true},
	{fault: refusing(http.StatusServiceUnavailable, 0), reason: v1alpha1.ReasonServiceUnavailable, repeats: true},
	{fault: refusing(http.StatusServiceUnavailable, 30*time.Second), reason: v1alpha1.ReasonServiceUnavailable, wait: 30 * time.Second},
	// Nobody waits for a day because a gateway says so.
	{fault: refusing(http.StatusGatewayTimeout, 24*time.Hour), reason: v1alpha1.ReasonServiceUnavailable, wait: time.Hour},
	{fault: codacytest.Fault{Kind: codacytest.Hang}, reason: v1alpha1.ReasonServiceUnavailable},
	{fault: codacytest.Fault{Kind: codacytest.HangAfterActing}, reason: v1alpha1.ReasonServiceUnavailable},
	{fault: codacytest.Fault{Kind: codacytest.TimeoutAfterActing}, reason: v1alpha1.ReasonServiceUnavailable, repeats: true},
	{fault: codacytest.Fault{Kind: codacytest.CutAfterActing}, reason: v1alpha1.ReasonServiceUnavailable, repeats: true},
	{fault: codacytest.Fault{Kind: codacytest.CutBeforeActing}, reason: v1alpha1.ReasonServiceUnavailable, repeats: true},
	{fault: codacytest.Fault{Kind: codacytest.Slow, Delay: 2 * impatience}, reason: v1alpha1.ReasonServiceUnavailable},
	{fault: codacytest.Fault{Kind: codacytest.Garbage}, reason: v1alpha1.ReasonServiceUnavailable},
	{fault: codacytest.Fault{Kind: codacytest.Huge}, reason: v1alpha1.ReasonServiceUnavailable},
	{fault: codacytest.Fault{Kind: codacytest.WrongContentType}, reason: v1alpha1.ReasonServiceUnavailable},
	{fault: codacytest.Fault{Kind: codacytest.Redirect, URL: "https://elsewhere.example/"}, reason: v1alpha1.ReasonServiceRefused, stalled: true, nothing: true},
}

// kindsThatHang are those that only the client's own timeout ends.
var kindsThatHang = []codacytest.FaultKind{codacytest.Hang, codacytest.HangAfterActing, codacytest.Slow}

func (f *failing) hangs() bool { return slices.Contains(kindsThatHang, f.fault.Kind) }

// known is a stand-in of which the connection saw what it does, and that is impatient if it has to be.
func knownStandIn(t *testing.T, edition codacytest.Behaviour, kind string, hangs bool) *standIn {
	t.Helper()
	s := newStandIn(t, edition)
	s.restart(patient)
	s.learn(kind)
	if hangs {
		s.restartKnowing(impatient)
	}
	s.server.ResetRequests()
	return s
}

func TestTheFailuresThatAreTestedAreAllThatThereAre(t *testing.T) {
	for _, kind := range codacytest.FaultKinds {
		if !slices.ContainsFunc(failures, func(f failing) bool { return f.fault.Kind == kind }) {
			t.Errorf("no failure is of the kind %s", kind)
		}
	}
}

func TestACreateIsNeverRepeatedAndSaysIfSurelyNothingWasMinted(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		for _, f := range failures {
			t.Run(kind+"/"+nameOf(f.fault), func(t *testing.T) {
				t.Parallel()
				s := knownStandIn(t, edition(t, "cloud-2026-08"), kind, f.hangs())
				attempt := s.prepare(kind, 1)
				s.server.Fault(always(operationsOf[kind].create, f.fault))
				minted, err := s.connection.Mint(t.Context(), attempt)
				got := s.wantReason(err, f.reason, f.stalled)
				s.wantSilent("the token", minted)
				if got.NothingMinted != f.nothing {
					t.Errorf("nothing minted: %t, want %t", got.NothingMinted, f.nothing)
				}
				if got.RetryAfter != f.wait {
					t.Errorf("to be tried again after %s, want %s", got.RetryAfter, f.wait)
				}
				if requests := s.server.Requests()[operationsOf[kind].create]; requests != 1 {
					t.Errorf("there were %d requests to create a token, want 1", requests)
				}
				if live := len(s.tokens(false)); got.NothingMinted && live > 0 {
					t.Errorf("nothing was minted, it says, and there are %d tokens", live)
				}
			})
		}
	}
}

func TestACreateThatIsDeniedSurelyMintedNothing(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		for _, status := range denied {
			t.Run(fmt.Sprintf("%s/%d", kind, status), func(t *testing.T) {
				t.Parallel()
				s := knownStandIn(t, edition(t, "cloud-2026-08"), kind, false)
				attempt := s.prepare(kind, 1)
				s.server.Fault(always(operationsOf[kind].create, refusing(status, 0)))
				_, err := s.connection.Mint(t.Context(), attempt)
				if got := s.failure(err); !got.NothingMinted || !got.Stalled {
					t.Errorf("nothing minted: %t, stalled: %t", got.NothingMinted, got.Stalled)
				}
				if requests := s.server.Requests()[operationsOf[kind].create]; requests != 1 {
					t.Errorf("there were %d requests to create a token, want 1", requests)
				}
			})
		}
	}
}

// That the service is down when it is asked why it refused does not make the refusal less sure.
func TestACreateThatIsDeniedSurelyMintedNothingEvenIfNobodyCanSayWhy(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		for _, status := range denied {
			t.Run(fmt.Sprintf("%s/%d", kind, status), func(t *testing.T) {
				t.Parallel()
				s := knownStandIn(t, edition(t, "cloud-2026-08"), kind, false)
				attempt := s.prepare(kind, 1)
				s.server.Fault(func(operation string, _ *http.Request) codacytest.Fault {
					if operation == operationsOf[kind].create {
						return refusing(status, 0)
					}
					return refusing(http.StatusServiceUnavailable, 10*time.Second)
				})
				_, err := s.connection.Mint(t.Context(), attempt)
				if got := s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false); !got.NothingMinted || got.RetryAfter != 10*time.Second {
					t.Errorf("nothing minted: %t, to be tried again after %s", got.NothingMinted, got.RetryAfter)
				}
			})
		}
	}
}

// Nothing is known of the service yet.
func TestOnlyA400MayBeOneOfTheBody(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		for status, requests := range map[int]int{
			http.StatusTemporaryRedirect: 1, http.StatusBadRequest: 2, http.StatusUnauthorized: 1, http.StatusForbidden: 1, http.StatusNotFound: 1,
			http.StatusConflict: 1, http.StatusUnsupportedMediaType: 1, http.StatusUnprocessableEntity: 1, http.StatusTooManyRequests: 1, http.StatusBadGateway: 1,
		} {
			t.Run(fmt.Sprintf("%s/%d", kind, status), func(t *testing.T) {
				t.Parallel()
				s := newStandIn(t, edition(t, "cloud-2026-08"))
				s.restart(patient)
				attempt := s.prepare(kind, 1)
				s.server.Fault(always(operationsOf[kind].create, refusing(status, 0)))
				if _, err := s.connection.Mint(t.Context(), attempt); err == nil {
					t.Error("Mint succeeds")
				} else if got := s.failure(err); got.NothingMinted != (status != http.StatusBadGateway) {
					t.Errorf("nothing minted: %t", got.NothingMinted)
				}
				if got := s.server.Requests()[operationsOf[kind].create]; got != requests {
					t.Errorf("there were %d requests to create a token, want %d", got, requests)
				}
			})
		}
	}
}

func TestWhenTheRequestWithoutABodyHasNoAnswerTheAttemptIsOpen(t *testing.T) {
	t.Parallel()
	b := edition(t, "self-hosted-16")
	b.RepositoryTokenBody = codacytest.RefusesBody
	s := newStandIn(t, b)
	s.restart(patient)
	attempt := s.prepare(v1alpha1.KindProjectToken, 1)
	first := true
	s.server.Fault(func(operation string, _ *http.Request) codacytest.Fault {
		if operation != "createRepositoryApiToken" || first {
			first = first && operation != "createRepositoryApiToken"
			return codacytest.Fault{}
		}
		return codacytest.Fault{Kind: codacytest.TimeoutAfterActing}
	})
	_, err := s.connection.Mint(t.Context(), attempt)
	if got := s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false); got.NothingMinted {
		t.Error("nothing was minted, it says")
	}
	attempt.Release()
	if made := s.tokens(false); len(made) != 1 {
		t.Fatalf("%d tokens were made, want 1", len(made))
	} else if got := s.settle(s.inquiry(v1alpha1.KindProjectToken, attempt.Record)).Ambiguous; !slices.Equal(got, []string{fmt.Sprint(made[0].ID)}) {
		t.Errorf("Settle names %d tokens, want the one", len(got))
	}
}

// acted are the ways to fail after the token was made.
var acted = []codacytest.FaultKind{
	codacytest.TimeoutAfterActing, codacytest.CutAfterActing, codacytest.HangAfterActing, codacytest.Garbage, codacytest.Huge,
}

func TestATokenOfWhichTheAnswerWasLostIsFoundAgainOrNamed(t *testing.T) {
	t.Parallel()
	for _, c := range classes {
		for _, known := range []bool{false, true} {
			for _, kind := range acted {
				t.Run(fmt.Sprintf("%s/%s/known=%t/%s", c.edition, c.kind, known, kind), func(t *testing.T) {
					t.Parallel()
					s := newStandIn(t, edition(t, c.edition))
					s.restart(patient)
					if known {
						s.learn(c.kind)
					}
					s.byHand(c.kind)
					if kind == codacytest.HangAfterActing {
						s.restartKnowing(impatient)
					}
					attempt := s.prepare(c.kind, 1)
					s.server.Fault(codacytest.Times(1, operationsOf[c.kind].create, codacytest.Fault{Kind: kind}))
					_, err := s.connection.Mint(t.Context(), attempt)
					if got := s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false); got.NothingMinted {
						t.Error("nothing was minted, it says")
					}
					attempt.Release()
					s.restartKnowing(patient) // The process that asks may be another one.
					made := s.tokens(false)
					if len(made) != 1 {
						t.Fatalf("%d tokens were made, want 1", len(made))
					}
					s.wantFoundOrNamed(c, &attempt, &made[0])
				})
			}
		}
	}
}

func (s *standIn) wantFoundOrNamed(c class, attempt *issuer.Attempt, made *codacytest.Token) {
	s.Helper()
	id := fmt.Sprint(made.ID)
	got := s.settle(s.inquiry(c.kind, attempt.Record))
	if !got.NotBefore.IsZero() {
		s.Errorf("Settle is to be asked again at %s", got.NotBefore)
	}
	switch {
	case c.alike:
		if !slices.Equal(got.Ambiguous, []string{id}) || got.Token != nil || got.Lost != "" {
			s.Fatalf("Settle names %d tokens as perhaps the attempt's and knows %t, want the one", len(got.Ambiguous), got.Token != nil || got.Lost != "")
		}
		s.wantLive(id, true)
		return
	case c.kind == v1alpha1.KindAccountToken: // The list shows values, and that of the credential proves that it shows them whole.
		if got.Token == nil || got.Token.ID != id || got.Token.Value.Reveal() != made.Value.Reveal() || !got.Token.ExpirationTime.Equal(*made.Expires) {
			s.Fatalf("Settle found the token: %t", got.Token != nil)
		}
	case got.Lost != id || got.Token != nil: // The list shows none.
		s.Fatalf("Settle says that token %q is lost, want %s", got.Lost, id)
	}
	if err := s.connection.Revoke(s.Context(), recordOf(c.kind, attempt)); err != nil {
		s.Errorf("Revoke: %v", err)
	}
	s.wantLive(id, false)
	if left := len(s.tokens(true)); left != 1 {
		s.Errorf("of one token that was made by hand, %d are left", left)
	}
}

func TestAnAttemptThatMadeNothingIsSettledOnceNoRequestCanLiveAnyMore(t *testing.T) {
	t.Parallel()
	for _, c := range classes {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%s/known=%t", c.edition, c.kind, known), func(t *testing.T) {
				t.Parallel()
				s := newStandIn(t, edition(t, c.edition))
				s.restart(patient)
				if known {
					s.learn(c.kind)
				}
				s.byHand(c.kind)
				attempt := s.prepare(c.kind, 1)
				s.server.Fault(codacytest.Times(1, operationsOf[c.kind].create, codacytest.Fault{Kind: codacytest.CutBeforeActing}))
				if _, err := s.connection.Mint(t.Context(), attempt); s.failure(err).NothingMinted {
					t.Error("nothing was minted, it says, which it can't know")
				}
				attempt.Release()
				if again, want := s.settle(s.inquiry(c.kind, attempt.Record)).NotBefore, attempt.Record.StartTime.Add(lifetime); !again.Equal(want) {
					t.Errorf("Settle is to be asked again at %s, want %s", again, want)
				}
				s.advance(lifetime - time.Second)
				if s.settle(s.inquiry(c.kind, attempt.Record)).NotBefore.IsZero() {
					t.Error("Settle is done while a request may still live")
				}
				s.advance(time.Second)
				got := s.settle(s.inquiry(c.kind, attempt.Record))
				if got.Token != nil || got.Lost != "" || got.Ambiguous != nil || !got.NotBefore.IsZero() {
					t.Error("Settle found something of an attempt that made nothing")
				}
				if want := known && !c.alike; got.Recognizable != want {
					t.Errorf("what comes to life after all is recognized: %t, want %t", got.Recognizable, want)
				}
				if err := s.connection.Revoke(t.Context(), recordOf(c.kind, &attempt)); err != nil || len(s.tokens(true)) != 1 {
					t.Errorf("Revoke: %v, and %d of one token that was made by hand are left", err, len(s.tokens(true)))
				}

				// What is learnt meanwhile helps, too: what comes up now, and is not recognized, is somebody else's.
				s.learn(c.kind)
				stranger := s.byHand(c.kind)
				got = s.settle(s.inquiry(c.kind, attempt.Record))
				if c.alike && !slices.Equal(got.Ambiguous, []string{fmt.Sprint(stranger.ID)}) || !c.alike && (got.Ambiguous != nil || !got.Recognizable) {
					t.Errorf("Settle names %d tokens as perhaps the attempt's; recognizable: %t", len(got.Ambiguous), got.Recognizable)
				}
				if got.Token != nil || got.Lost != "" {
					t.Error("Settle claims the token of somebody else")
				}
			})
		}
	}
}

func TestATokenThatComesToLifeAfterTheClientGaveUpIsFound(t *testing.T) {
	t.Parallel()
	for _, c := range classes {
		t.Run(c.edition+"/"+c.kind, func(t *testing.T) {
			t.Parallel()
			s := knownStandIn(t, edition(t, c.edition), c.kind, false)
			s.byHand(c.kind)
			s.restartKnowing(impatient)
			attempt := s.prepare(c.kind, 1)
			alive := make(chan struct{})
			s.server.OnRequest(func(operation, when string) {
				if operation == operationsOf[c.kind].create && when == codacytest.After {
					close(alive)
				}
			})
			s.server.Fault(always(operationsOf[c.kind].create, codacytest.Fault{Kind: codacytest.Slow, Delay: 3 * impatience}))
			_, err := s.connection.Mint(t.Context(), attempt)
			if got := s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false); got.NothingMinted {
				t.Error("nothing was minted, it says, and the request is still under way")
			}
			attempt.Release()
			<-alive
			s.restartKnowing(patient)
			made := s.tokens(false)
			if len(made) != 1 {
				t.Fatalf("%d tokens were made, want 1", len(made))
			}
			s.wantFoundOrNamed(c, &attempt, &made[0])
		})
	}
}

func TestACreateThatIsOnlySlowSucceeds(t *testing.T) {
	s := knownStandIn(t, edition(t, "cloud-2026-08"), v1alpha1.KindProjectToken, false)
	s.server.Fault(always("createRepositoryApiToken", codacytest.Fault{Kind: codacytest.Slow, Delay: 50 * time.Millisecond}))
	attempt, minted := s.mint(v1alpha1.KindProjectToken, 1)
	if minted.Name != attempt.Record.Name || !s.server.Accepts(minted.Value.Reveal()) {
		t.Error("it is not the token that was asked for")
	}
	s.wantRequests(map[string]int{"createRepositoryApiToken": 1})
}

// look lists the tokens of a kind's place.
func (s *standIn) look(kind string) error {
	s.Helper()
	_, done, err := s.connection.Look(s.Context(), kind, subjects[kind], s.clock.Now(), nobodyKnows)
	if !done {
		s.Error("nobody looked")
	}
	return err
}

func (f *failing) wantAsRead(s *standIn, err error, requests int) {
	s.Helper()
	if got := s.wantReason(err, f.reason, f.stalled); got.RetryAfter != f.wait {
		s.Errorf("to be tried again after %s, want %s", got.RetryAfter, f.wait)
	}
	if want := map[bool]int{false: 1, true: 3}[f.repeats]; requests != want {
		s.Errorf("there were %d requests, want %d", requests, want)
	}
}

func TestAListIsRepeatedIfThatMayHelpAndThreeTimesAtMost(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		for _, f := range failures {
			t.Run(kind+"/"+nameOf(f.fault), func(t *testing.T) {
				t.Parallel()
				s := knownStandIn(t, edition(t, "cloud-2026-08"), kind, f.hangs())
				s.server.Fault(always(operationsOf[kind].list, f.fault))
				err := s.look(kind)
				f.wantAsRead(s, err, s.server.Requests()[operationsOf[kind].list])
			})
		}
	}
}

func TestARevocationIsRepeatedIfThatMayHelpAndThreeTimesAtMost(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		for _, f := range failures {
			t.Run(kind+"/"+nameOf(f.fault), func(t *testing.T) {
				t.Parallel()
				s := newStandIn(t, edition(t, "cloud-2026-08"))
				s.restart(patient)
				attempt, minted := s.mint(kind, 1)
				if f.hangs() {
					s.restartKnowing(impatient)
				}
				s.server.ResetRequests()
				s.server.Fault(always(operationsOf[kind].delete, f.fault))
				err := s.connection.Revoke(t.Context(), reference(kind, &attempt, minted.ID))
				f.wantAsRead(s, err, s.server.Requests()[operationsOf[kind].delete])
				// Whether it was done or not, the next one ends it, or proves that it is ended.
				s.server.Fault(nil)
				s.restartKnowing(patient)
				if err := s.connection.Revoke(t.Context(), reference(kind, &attempt, minted.ID)); err != nil {
					t.Errorf("the next Revoke: %v", err)
				}
				if s.server.Accepts(minted.Value.Reveal()) {
					t.Error("the token is accepted")
				}
			})
		}
	}
}

func TestWhatPassesIsNotNoticed(t *testing.T) {
	t.Parallel()
	passing := []codacytest.Fault{
		refusing(http.StatusRequestTimeout, 0), refusing(http.StatusTooManyRequests, 0), refusing(http.StatusServiceUnavailable, 0),
		{Kind: codacytest.TimeoutAfterActing}, {Kind: codacytest.CutAfterActing}, {Kind: codacytest.CutBeforeActing},
	}
	for _, fault := range passing {
		for times := 1; times <= 2; times++ {
			t.Run(fmt.Sprintf("a list, %d times %s", times, nameOf(fault)), func(t *testing.T) {
				t.Parallel()
				s := knownStandIn(t, edition(t, "cloud-2026-08"), v1alpha1.KindProjectToken, false)
				s.server.Fault(codacytest.Times(times, "listRepositoryApiTokens", fault))
				if err := s.look(v1alpha1.KindProjectToken); err != nil {
					t.Error(err)
				}
				s.wantRequests(map[string]int{"listRepositoryApiTokens": times + 1})
			})
			t.Run(fmt.Sprintf("a revocation, %d times %s", times, nameOf(fault)), func(t *testing.T) {
				t.Parallel()
				s := newStandIn(t, edition(t, "cloud-2026-08"))
				s.restart(patient)
				attempt, minted := s.mint(v1alpha1.KindProjectToken, 1)
				s.server.ResetRequests()
				s.server.Fault(codacytest.Times(times, "deleteRepositoryApiToken", fault))
				if err := s.connection.Revoke(t.Context(), reference(v1alpha1.KindProjectToken, &attempt, minted.ID)); err != nil {
					t.Error(err)
				}
				want := map[string]int{"deleteRepositoryApiToken": times + 1}
				if slices.Contains(acted, fault.Kind) {
					want["listRepositoryApiTokens"] = 1 // The repetition is told that there is no such token.
				}
				s.wantRequests(want)
				if s.server.Accepts(minted.Value.Reveal()) {
					t.Error("the token is accepted")
				}
			})
		}
	}
}

func TestARepetitionWaitsAsLongAsTheServiceSays(t *testing.T) {
	t.Parallel()
	s := knownStandIn(t, edition(t, "cloud-2026-08"), v1alpha1.KindProjectToken, false)
	var at []time.Time
	once := codacytest.Times(1, "listRepositoryApiTokens", refusing(http.StatusServiceUnavailable, time.Second))
	s.server.Fault(func(operation string, r *http.Request) codacytest.Fault {
		at = append(at, time.Now())
		return once(operation, r)
	})
	if err := s.look(v1alpha1.KindProjectToken); err != nil {
		t.Fatal(err)
	}
	if len(at) != 2 || at[1].Sub(at[0]) < time.Second {
		t.Errorf("%d requests, the last one after %s, though the service said to come back after a second", len(at), at[len(at)-1].Sub(at[0]))
	}
}

// The other form of the header. The time is the injected clock's.
func TestRetryAfterMayBeADate(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		after string
		want  time.Duration
	}{
		"in a minute":   {"Tue, 01 Sep 2026 12:01:00 GMT", time.Minute},
		"in the past":   {"Tue, 01 Sep 2026 11:00:00 GMT", 0},
		"next year":     {"Wed, 01 Sep 2027 12:00:00 GMT", time.Hour},
		"none at all":   {"soon", 0},
		"before now":    {"-5", 0},
		"with a margin": {" 90 ", 90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, "cloud-2026-08"))
			s.clock.SetTime(time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC))
			s.play(script{"POST /user/tokens": func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", row.after)
				say(w, http.StatusServiceUnavailable, `{}`)
			}, "GET /user/tokens": saying(http.StatusOK, `{"data":[]}`)})
			_, err := s.connection.Mint(t.Context(), s.prepare(v1alpha1.KindAccountToken, 1))
			if got := s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false); got.RetryAfter != row.want {
				t.Errorf("to be tried again after %s, want %s", got.RetryAfter, row.want)
			}
		})
	}
}

func TestOnlyConstantsOfCodacyAreShown(t *testing.T) {
	t.Parallel()
	for constant, shown := range map[string]bool{"NotFound": true, "Forbidden": true, codacytest.Marker: false, "TokenLimit": false} {
		t.Run(constant, func(t *testing.T) {
			t.Parallel()
			s := knownStandIn(t, edition(t, "cloud-2026-08"), v1alpha1.KindAccountToken, false)
			s.server.Fault(always("createUserApiToken", codacytest.Fault{Kind: codacytest.Refuse, Status: http.StatusForbidden, Constant: constant}))
			_, err := s.connection.Mint(t.Context(), s.prepare(v1alpha1.KindAccountToken, 1))
			got := s.failure(err)
			words := []string{"403"}
			if shown {
				words = append(words, "403 ("+constant+")")
			}
			s.wantWords(got, words...)
			if !shown && strings.Contains(got.Message, constant) {
				t.Errorf("%q shows a word of the service", got.Message)
			}
		})
	}
}

// Whatever the service gets wrong in an answer of success: nobody can tell what was made.
func TestAnAnswerOfSuccessThatLacksTheTokenLeavesTheAttemptOpen(t *testing.T) {
	t.Parallel()
	good := map[string]string{v1alpha1.KindAccountToken: `%s`, v1alpha1.KindProjectToken: `{"data":%s}`}
	status := map[string]int{v1alpha1.KindAccountToken: http.StatusOK, v1alpha1.KindProjectToken: http.StatusCreated}
	for _, kind := range kinds {
		for name, body := range map[string]string{
			"nothing":                   ``,
			"null":                      `null`,
			"an empty object":           `{}`,
			"no value":                  fmt.Sprintf(good[kind], `{"id":5}`),
			"an empty value":            fmt.Sprintf(good[kind], `{"id":5,"token":""}`),
			"no id":                     fmt.Sprintf(good[kind], `{"token":"abcdefghij0123456789"}`),
			"an id that is no number":   fmt.Sprintf(good[kind], `{"id":"`+codacytest.Marker+`","token":"abcdefghij0123456789"}`),
			"an expiry that is no time": fmt.Sprintf(good[kind], `{"id":5,"token":"abcdefghij0123456789","expiresAt":"`+codacytest.Marker+`"}`),
			"two answers":               fmt.Sprintf(good[kind], `{"id":5,"token":"abcdefghij0123456789"}`) + `{}`,
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := newStandIn(t, edition(t, "cloud-2026-08"))
				requests := 0
				s.play(script{"POST " + tokensPath[kind]: func(w http.ResponseWriter, _ *http.Request) {
					requests++
					say(w, status[kind], body)
				}, "GET " + tokensPath[kind]: saying(http.StatusOK, `{"data":[]}`)})
				_, err := s.connection.Mint(t.Context(), s.prepare(kind, 1))
				if got := s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false); got.NothingMinted {
					t.Error("nothing was minted, it says, which it can't know")
				}
				if requests != 1 {
					t.Errorf("there were %d requests to create a token, want 1", requests)
				}
			})
		}
	}
}
