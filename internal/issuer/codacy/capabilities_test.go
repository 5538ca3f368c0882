package codacy_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/ptr"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

// learnt is what one mint shows of a service.
var learnt = map[class]v1alpha1.TokenCapabilities{
	{"cloud-2026-08", v1alpha1.KindAccountToken, false}:  {EchoedExpiration: ptr.To(true)},
	{"cloud-2026-08", v1alpha1.KindProjectToken, false}:  {EchoedExpiration: ptr.To(true), Names: ptr.To(true)},
	{"cloud-2025-07", v1alpha1.KindAccountToken, false}:  {EchoedExpiration: ptr.To(true)},
	{"cloud-2025-07", v1alpha1.KindProjectToken, true}:   {EchoedExpiration: ptr.To(false), Names: ptr.To(false)},
	{"self-hosted-16", v1alpha1.KindAccountToken, true}:  {EchoedExpiration: ptr.To(false)},
	{"self-hosted-16", v1alpha1.KindProjectToken, true}:  {EchoedExpiration: ptr.To(false), Names: ptr.To(false)},
	{"self-hosted-4.2", v1alpha1.KindAccountToken, true}: {EchoedExpiration: ptr.To(false)},
}

func TestOneMintShowsWhatTheServiceCanDo(t *testing.T) {
	for _, c := range classes {
		t.Run(c.edition+"/"+c.kind, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, c.edition))
			s.restart(patient)
			if got := encoded(t, s.connection.Capabilities()); got != "{}" {
				t.Errorf("it knows %s before it saw anything", got)
			}
			s.mint(c.kind, 1)
			want := v1alpha1.Capabilities{ProjectTokens: learnt[c]}
			if c.kind == v1alpha1.KindAccountToken {
				want = v1alpha1.Capabilities{AccountTokens: learnt[c]}
			}
			if got := encoded(t, s.connection.Capabilities()); got != encoded(t, want) {
				t.Errorf("it knows %s, want %s", got, encoded(t, want))
			}
		})
	}
}

func TestAMintCostsOneRequestWhereTokensAreKnownAgainAndElseTwo(t *testing.T) {
	for _, c := range classes {
		t.Run(c.edition+"/"+c.kind, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, c.edition))
			s.restart(patient)
			do := operationsOf[c.kind]
			first, second := map[string]int{do.list: 1, do.create: 1}, map[string]int{do.create: 1}
			if c.alike {
				second[do.list] = 1
			}
			s.server.ResetRequests()
			attempt, minted := s.mint(c.kind, 1)
			s.wantRequests(first)
			if !attempt.Record.Listed {
				t.Error("the attempt does not say what was there before")
			}
			attempt, _ = s.mint(c.kind, 2)
			s.wantRequests(second)
			if attempt.Record.Listed != c.alike {
				t.Errorf("the attempt says what was there before: %t", attempt.Record.Listed)
			}
			if err := s.connection.Revoke(t.Context(), reference(c.kind, &attempt, minted.ID)); err != nil {
				t.Error(err)
			}
			s.wantRequests(map[string]int{do.delete: 1})
			if err := s.connection.Revoke(t.Context(), reference(c.kind, &attempt, minted.ID)); err != nil {
				t.Error(err)
			}
			s.wantRequests(map[string]int{do.delete: 1, do.list: 1}) // Nothing less proves that it is gone.
		})
	}
}

// Names alone are enough, and so is the expiry.
func TestNamesWithoutAnExpiryAreEnoughToKnowATokenAgain(t *testing.T) {
	b := edition(t, "cloud-2026-08")
	b.EchoesExpiry = false
	s := newStandIn(t, b)
	s.restart(patient)
	s.mint(v1alpha1.KindProjectToken, 1)
	if got, want := encoded(t, s.connection.Capabilities().ProjectTokens), `{"names":true,"echoedExpiration":false}`; got != want {
		t.Errorf("it knows %s, want %s", got, want)
	}
	s.server.ResetRequests()
	attempt, lost := s.mint(v1alpha1.KindProjectToken, 2)
	s.wantRequests(map[string]int{"createRepositoryApiToken": 1})
	if got := s.settle(s.inquiry(v1alpha1.KindProjectToken, attempt.Record)); got.Lost != lost.ID {
		t.Error("Settle does not find the token")
	}
}

func TestTheFirstMintAfterARestartCostsNoMoreThanTheLastOneBefore(t *testing.T) {
	for _, c := range classes {
		t.Run(c.edition+"/"+c.kind, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, c.edition))
			s.restart(patient)
			s.mint(c.kind, 1)
			before := s.connection.Capabilities()
			s.restartKnowing(patient)
			s.server.ResetRequests()
			attempt, _ := s.mint(c.kind, 2)
			want := map[string]int{operationsOf[c.kind].create: 1}
			if c.alike {
				want[operationsOf[c.kind].list] = 1
			}
			s.wantRequests(want)
			if attempt.Record.AccountID != fmt.Sprint(s.account) || attempt.Record.URL != s.running.URL {
				t.Errorf("the attempt is of account %s at %s", attempt.Record.AccountID, attempt.Record.URL)
			}
			if got := encoded(t, s.connection.Capabilities()); got != encoded(t, before) {
				t.Errorf("it knows %s, and knew %s", got, encoded(t, before))
			}
		})
	}
}

func TestWhatIsBelievedIsACopy(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	told := v1alpha1.Capabilities{AccountTokens: v1alpha1.TokenCapabilities{EchoedExpiration: ptr.To(true)}}
	s.connection.Believe(v1alpha1.IssuerAccount{ID: "7"}, &told)
	*told.AccountTokens.EchoedExpiration = false
	got := s.connection.Capabilities()
	if !*got.AccountTokens.EchoedExpiration {
		t.Error("what was told can be changed from without")
	}
	*got.AccountTokens.EchoedExpiration = false
	if !*s.connection.Capabilities().AccountTokens.EchoedExpiration {
		t.Error("what is known can be changed from without")
	}
	s.connection.Believe(v1alpha1.IssuerAccount{ID: "8"}, nil)
	if s.connection.Account().ID != "8" || s.connection.Capabilities().AccountTokens.EchoedExpiration == nil {
		t.Error("to believe an account forgets what the service can do")
	}
}

func TestAServiceThatChangesIsBelievedWhatItDidLast(t *testing.T) {
	s := knownStandIn(t, edition(t, "cloud-2025-07"), v1alpha1.KindProjectToken, false)
	seen := s.connection.Capabilities()
	seen.ProjectTokens = v1alpha1.TokenCapabilities{Names: ptr.To(true), EchoedExpiration: ptr.To(true)}
	s.connection.Believe(s.connection.Account(), &seen)
	s.mint(v1alpha1.KindProjectToken, 1)
	s.wantRequests(map[string]int{"createRepositoryApiToken": 1})
	attempt, _ := s.mint(v1alpha1.KindProjectToken, 2)
	if !attempt.Record.Listed {
		t.Error("a token is still thought to be known again by its name, which the service ignored")
	}
}

// The expiry is what an attempt is known by, unless it has a name of its own.
func TestNoTwoAttemptsAskForTheSameExpiryUnlessTheyHaveNames(t *testing.T) {
	const many, lives = 80, time.Hour // Which has 108 seconds to choose from.
	for _, c := range classes {
		t.Run(c.edition+"/"+c.kind, func(t *testing.T) {
			t.Parallel()
			s := knownStandIn(t, edition(t, c.edition), c.kind, false)
			named := c.edition == "cloud-2026-08" && c.kind == v1alpha1.KindProjectToken
			seen := map[time.Time]bool{}
			latest := s.clock.Now().Truncate(time.Second).Add(lives)
			for revision := int64(1); revision <= many; revision++ {
				attempt, err := s.connection.Prepare(t.Context(), s.request(c.kind, revision, lives))
				if err != nil {
					t.Fatal(err)
				}
				attempt.Release()
				expires := attempt.Record.ExpirationTime.UTC()
				if expires.After(latest) || expires.Before(latest.Add(-lives*3/100-time.Second)) || !expires.Equal(expires.Truncate(time.Second)) {
					t.Fatalf("an attempt asks for %s", expires)
				}
				seen[expires] = true
			}
			if got := len(seen); named && got != 1 || !named && got != many {
				t.Errorf("of %d attempts, the expiries were %d", many, got)
			}
		})
	}
}

func TestATokenThatIsNotKnownAgainIsMintedAloneInItsPlace(t *testing.T) {
	for _, c := range classes {
		t.Run(c.edition+"/"+c.kind, func(t *testing.T) {
			t.Parallel()
			s := knownStandIn(t, edition(t, c.edition), c.kind, false)
			s.server.AddRepository("gh", "acme", "web")
			request := s.request(c.kind, 1, day)
			first, err := s.connection.Prepare(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			// Another issuer with the same credential is no other place.
			other, err := s.services.Connect(keyNamed("other"), codacy.Config{URL: s.running.URL, CABundle: s.running.CAPEM, Credential: s.credential.Value})
			if err != nil {
				t.Fatal(err)
			}
			known := s.connection.Capabilities()
			other.Believe(s.connection.Account(), &known)
			s.server.ResetRequests()
			second, err := other.Prepare(t.Context(), request)
			if !c.alike {
				if err != nil {
					t.Fatalf("two tokens can't be minted beside each other: %v", err)
				}
				second.Release()
				return
			}
			if got := s.wantReason(err, v1alpha1.ReasonWaitingForTurn, false); !got.NothingMinted || got.RetryAfter <= 0 {
				t.Errorf("nothing minted: %t, to be tried again after %s", got.NothingMinted, got.RetryAfter)
			}
			// Meanwhile nobody can say what an earlier attempt left behind.
			_, err = other.Settle(t.Context(), s.inquiry(c.kind, first.Record))
			s.wantReason(err, v1alpha1.ReasonWaitingForTurn, false)
			s.wantRequests(map[string]int{})
			if c.kind == v1alpha1.KindProjectToken {
				elsewhere := request
				elsewhere.Subject = "gh/acme/web"
				apart, err := other.Prepare(t.Context(), elsewhere)
				if err != nil {
					t.Fatalf("another repository has to wait: %v", err)
				}
				apart.Release()
			}
			if c.kind == v1alpha1.KindAccountToken { // And so is another account.
				own := s.server.CreateAccountToken(s.server.AddAccount("Other", "other@acme.example"), nil)
				theirs, err := s.services.Connect(keyNamed("theirs"), codacy.Config{URL: s.running.URL, CABundle: s.running.CAPEM, Credential: own.Value})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := theirs.Identify(t.Context()); err != nil {
					t.Fatal(err)
				}
				apart, err := theirs.Prepare(t.Context(), request)
				if err != nil {
					t.Fatalf("another account has to wait: %v", err)
				}
				apart.Release()
			}
			first.Release()
			second, err = other.Prepare(t.Context(), request)
			if err != nil {
				t.Fatalf("once the first one is done: %v", err)
			}
			second.Release()
			if _, err := other.Settle(t.Context(), s.inquiry(c.kind, first.Record)); err != nil {
				t.Errorf("Settle, once the first one is done: %v", err)
			}
		})
	}
}

func TestAPlaceIsGivenBackWhenAnAttemptCanNotBePrepared(t *testing.T) {
	s := newStandIn(t, edition(t, "self-hosted-16"))
	s.restart(patient)
	s.server.Fault(codacytest.Times(1, "listRepositoryApiTokens", refusing(http.StatusServiceUnavailable, time.Minute)))
	_, err := s.connection.Prepare(t.Context(), s.request(v1alpha1.KindProjectToken, 1, day))
	s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false)
	s.mint(v1alpha1.KindProjectToken, 2)
}

// Of those that come at the same time each either has the place or is told to wait.
func TestOfAttemptsAtTheSameTimeOneIsPrepared(t *testing.T) {
	s := newStandIn(t, edition(t, "self-hosted-16"))
	s.restart(patient)
	var (
		all      sync.WaitGroup
		mu       sync.Mutex
		prepared []issuer.Attempt
	)
	for range 20 {
		all.Go(func() {
			attempt, err := s.connection.Prepare(t.Context(), s.request(v1alpha1.KindProjectToken, 1, day))
			mu.Lock()
			defer mu.Unlock()
			if known := new(issuer.Error); err == nil {
				prepared = append(prepared, attempt)
			} else if !errors.As(err, &known) || known.Reason != v1alpha1.ReasonWaitingForTurn {
				t.Errorf("Prepare: %v", err)
			}
		})
	}
	all.Wait()
	if len(prepared) != 1 {
		t.Errorf("%d attempts were prepared", len(prepared))
	}
	s.wantRequests(map[string]int{"listRepositoryApiTokens": 1})
}

func TestMoreTokensThanAnAttemptCanRecordAreTooMany(t *testing.T) {
	s := newStandIn(t, edition(t, "self-hosted-16"))
	s.restart(patient)
	for range 999 { // And the credential.
		s.server.CreateAccountToken(s.account, nil)
	}
	attempt := s.prepare(v1alpha1.KindAccountToken, 1)
	attempt.Release()
	if len(attempt.Record.ListedIDs) != 1000 {
		t.Errorf("%d ids are recorded, want 1000", len(attempt.Record.ListedIDs))
	}
	s.server.CreateAccountToken(s.account, nil)
	_, err := s.connection.Prepare(t.Context(), s.request(v1alpha1.KindAccountToken, 2, day))
	if got := s.wantReason(err, v1alpha1.ReasonTokenLimitReached, true); !got.NothingMinted {
		t.Error("something may have been minted, it says")
	}
}
