package codacy_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"k8s.io/utils/ptr"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

// sight is what is known of a token that was issued just before the clock's present time, or then.
func (s *standIn) sight(kind, id string, issued time.Time) (missing bool, in time.Duration) {
	missing, next := s.connection.Sight(kind, subjects[kind], id, issued)
	return missing, next.Sub(s.clock.Now())
}

// looked looks at once, whenever it is due.
func (s *standIn) looked(kind string) {
	s.Helper()
	if err := s.look(kind); err != nil {
		s.Fatal(err)
	}
}

func (s *standIn) wantSight(kind, id string, issued time.Time, missing bool, least, most time.Duration) {
	s.Helper()
	got, in := s.sight(kind, id, issued)
	if got != missing {
		s.Errorf("the token is missing: %t, want %t", got, missing)
	}
	if in < least || in > most {
		s.Errorf("the next look is in %s, want %s to %s", in, least, most)
	}
}

func TestTheFirstLookIsNotInTheFirstMinuteAndSpreadOverTheInterval(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.restart(patient)
	const places = 500
	early, late := 0, 0
	for i := range places {
		_, next := s.connection.Sight(v1alpha1.KindProjectToken, fmt.Sprintf("gh/acme/repository-%d", i), "1", s.clock.Now())
		in := next.Sub(s.clock.Now())
		if in < time.Minute || in > time.Hour {
			t.Fatalf("a look is in %s", in)
		}
		if in < 20*time.Minute {
			early++
		}
		if in > 40*time.Minute {
			late++
		}
	}
	if early < places/10 || late < places/10 {
		t.Errorf("of %d looks, %d are early and %d are late", places, early, late)
	}
	s.wantRequests(map[string]int{})
}

func TestAnIntervalShorterThanAMinuteDoesNotLookInTheFirstOneEither(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	c, err := s.services.Connect(keyNamed("hasty"), codacy.Config{URL: s.running.URL, CABundle: s.running.CAPEM, Credential: s.credential.Value, Interval: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s.connection = c
	s.wantSight(v1alpha1.KindAccountToken, "1", s.clock.Now(), false, time.Minute, time.Minute)
}

func TestWithoutAnIntervalNobodyEverLooks(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	c, err := s.services.Connect(keyNamed("never"), codacy.Config{URL: s.running.URL, CABundle: s.running.CAPEM, Credential: s.credential.Value})
	if err != nil {
		t.Fatal(err)
	}
	issued := s.clock.Now()
	for range 3 {
		if missing, next := c.Sight(v1alpha1.KindAccountToken, "", "1", issued); missing || !next.IsZero() {
			t.Errorf("the token is missing: %t, the next look is at %s", missing, next)
		}
		s.advance(day)
		if _, _, err := c.Look(t.Context(), v1alpha1.KindAccountToken, "", s.clock.Now(), nobodyKnows); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOneListIsForAllTokensOfARepository(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.restart(patient)
	var tokens []string
	for range 200 {
		tokens = append(tokens, fmt.Sprint(s.byHand(v1alpha1.KindProjectToken).ID))
	}
	issued := s.clock.Now()
	const hours = 10
	for range hours * 60 {
		s.advance(time.Minute)
		for _, id := range tokens {
			missing, in := s.sight(v1alpha1.KindProjectToken, id, issued)
			if missing {
				t.Fatal("a token that is there is missing")
			}
			if in <= 0 {
				s.looked(v1alpha1.KindProjectToken)
			}
		}
	}
	if got := s.server.Requests()["listRepositoryApiTokens"]; got < hours-2 || got > hours {
		t.Errorf("%d lists in %d hours, want about one an hour", got, hours)
	}
}

func TestATokenIsMissingOnlyFromTwoListsBegunAfterItWasIssued(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, "cloud-2026-08"))
			s.restart(patient)
			_, kept := s.mint(kind, 1)
			_, minted := s.mint(kind, 2)
			issued := s.clock.Now()
			s.advance(time.Hour)
			s.looked(kind)
			s.wantSight(kind, minted.ID, issued, false, time.Hour, 66*time.Minute)

			s.endByHand(minted.ID)
			s.advance(time.Hour)
			s.looked(kind)
			s.wantSight(kind, minted.ID, issued, false, time.Minute, time.Minute) // Soon another one is to confirm it.
			s.wantSight(kind, kept.ID, issued, false, time.Hour, 66*time.Minute)
			s.advance(time.Minute)
			s.looked(kind)
			s.wantSight(kind, minted.ID, issued, true, time.Hour, 66*time.Minute)
			s.wantSight(kind, kept.ID, issued, false, time.Hour, 66*time.Minute)

			// And so it stays.
			s.advance(time.Hour)
			s.looked(kind)
			s.wantSight(kind, minted.ID, issued, true, time.Hour, 66*time.Minute)
		})
	}
}

// What was issued after the clock was set back is in no list from before, whose times are later still.
func TestListsFromAClockThatWasSetBackSayNothing(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, "cloud-2026-08"))
			s.restart(patient)
			right := s.clock.Now()
			s.advance(24 * time.Hour)
			s.looked(kind)
			s.advance(time.Hour)
			s.looked(kind)

			s.clock.SetTime(right.Add(time.Minute))
			_, minted := s.mint(kind, 1)
			issued := s.clock.Now()
			s.wantSight(kind, minted.ID, issued, false, time.Minute, time.Minute)
			s.advance(2 * time.Minute)
			s.looked(kind)
			s.wantSight(kind, minted.ID, issued, false, time.Hour, 66*time.Minute)
		})
	}
}

func (s *standIn) endByHand(id string) {
	s.Helper()
	for _, t := range s.server.Tokens() {
		if fmt.Sprint(t.ID) == id && s.server.RevokeInWebUI(t.ID) {
			return
		}
	}
	s.Fatalf("there is no token %s", id)
}

func TestAListThatBeganBeforeATokenWasIssuedSaysNothingOfIt(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.restart(patient)
	kind := v1alpha1.KindProjectToken
	s.looked(kind)
	s.advance(time.Hour)
	s.looked(kind)
	issued := s.clock.Now() // At the very time when the list began.
	s.wantSight(kind, "1", issued, false, time.Hour, 66*time.Minute)
	s.advance(time.Hour)
	s.looked(kind)
	s.wantSight(kind, "1", issued, false, time.Minute, time.Minute) // One of the two lists counts.
	s.advance(time.Minute)
	s.looked(kind)
	s.wantSight(kind, "1", issued, true, time.Hour, 66*time.Minute)
}

func TestAListThatFailsDoesNotCount(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.restart(patient)
	kind := v1alpha1.KindProjectToken
	_, minted := s.mint(kind, 1)
	issued := s.clock.Now()
	s.endByHand(minted.ID)
	s.advance(time.Hour)
	s.looked(kind)
	for _, fault := range []codacytest.Fault{
		refusing(http.StatusServiceUnavailable, time.Minute), refusing(http.StatusForbidden, 0), refusing(http.StatusNotFound, 0),
		{Kind: codacytest.Garbage}, {Kind: codacytest.WrongContentType}, {Kind: codacytest.Huge},
	} {
		s.advance(time.Minute)
		s.server.Fault(always("listRepositoryApiTokens", fault))
		if err := s.look(kind); err == nil {
			t.Errorf("%s: the list is taken", nameOf(fault))
		}
		if missing, _ := s.sight(kind, minted.ID, issued); missing {
			t.Errorf("%s: the token is missing from one list and a failure", nameOf(fault))
		}
	}
	s.server.Fault(nil)
	s.looked(kind)
	if missing, _ := s.sight(kind, minted.ID, issued); !missing {
		t.Error("the token is not missing from two lists")
	}
}

// A service that has several machines may forget a token for a moment.
func TestATokenThatIsListedAgainIsNotMissing(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	there := true
	s.play(script{"GET /user/tokens": func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusOK, map[bool]string{false: `{"data":[]}`, true: `{"data":[{"id":5}]}`}[there])
	}})
	kind, issued := v1alpha1.KindAccountToken, s.clock.Now()
	for _, step := range []struct{ there, missing, soon bool }{
		{true, false, false}, {false, false, true}, {true, false, false}, {false, false, true}, {false, true, false}, {true, false, false}, {false, false, true},
	} {
		s.advance(time.Hour)
		there = step.there
		s.looked(kind)
		least, most := time.Hour, 66*time.Minute
		if step.soon {
			least, most = time.Minute, time.Minute
		}
		s.wantSight(kind, "5", issued, step.missing, least, most)
	}
}

func TestTwoDoNotLookAtTheSamePlaceAtOnce(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.restart(patient)
	s.server.AddRepository("gh", "acme", "web")
	asked, answer := make(chan struct{}), make(chan struct{})
	first := true
	s.server.OnRequest(func(operation, when string) {
		if operation == "listRepositoryApiTokens" && when == codacytest.Before && first {
			first = false
			close(asked)
			<-answer
		}
	})
	done := make(chan error)
	go func() {
		_, _, err := s.connection.Look(t.Context(), v1alpha1.KindProjectToken, "gh/acme/api", s.clock.Now(), nobodyKnows)
		done <- err
	}()
	<-asked
	if named, looked, err := s.connection.Look(t.Context(), v1alpha1.KindProjectToken, "gh/acme/api", s.clock.Now(), nobodyKnows); looked || named != nil || err != nil {
		t.Errorf("another one looks: %t, %v", looked, err)
	}
	if _, looked, err := s.connection.Look(t.Context(), v1alpha1.KindProjectToken, "gh/acme/web", s.clock.Now(), nobodyKnows); !looked || err != nil {
		t.Errorf("another place is not looked at: %v", err)
	}
	close(answer)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s.wantRequests(map[string]int{"listRepositoryApiTokens": 2})
	s.looked(v1alpha1.KindProjectToken)
}

func TestAPlaceCanBeLookedAtAgainAfterAFailure(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.restart(patient)
	s.server.Fault(codacytest.Times(1, "getUserApiTokens", refusing(http.StatusServiceUnavailable, time.Minute)))
	s.wantReason(s.look(v1alpha1.KindAccountToken), v1alpha1.ReasonServiceUnavailable, false)
	s.looked(v1alpha1.KindAccountToken)
}

func TestAListShowsWhetherListsShowValues(t *testing.T) {
	for form, shown := range map[codacytest.ValueForm]string{
		codacytest.FullValues: `{"listedValues":true}`, codacytest.MaskedValues: `{"listedValues":false}`,
		codacytest.EmptyValues: `{"listedValues":false}`, codacytest.MissingValues: `{"listedValues":false}`,
	} {
		t.Run(string(form), func(t *testing.T) {
			t.Parallel()
			b := edition(t, "cloud-2026-08")
			b.RepositoryListValues = form
			s := newStandIn(t, b)
			s.restart(patient)
			ours := s.byHand(v1alpha1.KindProjectToken)
			s.byHand(v1alpha1.KindProjectToken)
			for _, row := range []struct {
				sha256 string
				want   string
			}{{"", `{}`}, {ours.Value.SHA256(), shown}} {
				known := func(id string) (string, bool) {
					if id == fmt.Sprint(ours.ID) {
						return row.sha256, true
					}
					return "", false
				}
				if _, _, err := s.connection.Look(t.Context(), v1alpha1.KindProjectToken, "gh/acme/api", s.clock.Now(), known); err != nil {
					t.Fatal(err)
				}
				if got := encoded(t, s.connection.Capabilities().ProjectTokens); got != row.want {
					t.Errorf("it knows %s, want %s", got, row.want)
				}
			}
			if got := encoded(t, s.connection.Capabilities().AccountTokens); got != `{}` {
				t.Errorf("of account tokens it knows %s", got)
			}
		})
	}
}

// Once that is known a value that is listed is whole, though nobody knows the hash of any.
func TestAValueThatIsListedIsTakenOnceListsAreKnownToShowThem(t *testing.T) {
	b := edition(t, "cloud-2026-08")
	b.RepositoryListValues = codacytest.FullValues
	s := newStandIn(t, b)
	s.restart(patient)
	attempt, minted := s.mint(v1alpha1.KindProjectToken, 1)
	if got := s.settle(s.inquiry(v1alpha1.KindProjectToken, attempt.Record)); got.Lost != minted.ID {
		t.Error("a value is taken of which nobody knows whether it is whole")
	}
	knows := func(id string) (string, bool) { return minted.Value.SHA256(), id == minted.ID }
	if _, _, err := s.connection.Look(t.Context(), v1alpha1.KindProjectToken, "gh/acme/api", s.clock.Now(), knows); err != nil {
		t.Fatal(err)
	}
	if got := s.settle(s.inquiry(v1alpha1.KindProjectToken, attempt.Record)); got.Token == nil || got.Token.Value.Reveal() != minted.Value.Reveal() {
		t.Error("the value that is listed is not taken")
	}
}

// A service may begin to mask what it showed.
func TestAValueThatMayBeMaskedIsNotTakenThoughListsAreKnownToShowThem(t *testing.T) {
	for listed, whole := range map[string]bool{
		"0123456789abcdef0123456789abcdef": true, "ABCDEFGHIJKLMNOPQRST": true, "ts_ABCDEF-0123456": true,
		"0123456789abcde": false, "0123****************": false, "0123............": false, "xxxxxxxxxxxxxxxxxxxx": false, "xxxxxxxxxxxxxxxxabcd": false,
		"0123456789abcdef 0123456789": false, "": false, "••••••••••••••••••••": false,
	} {
		t.Run(listed, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, "cloud-2026-08"))
			s.play(script{"GET " + tokensPath[v1alpha1.KindProjectToken]: saying(http.StatusOK, fmt.Sprintf(`{"data":[{"id":5,"name":"wanted","token":%q}]}`, listed))})
			s.connection.Believe(v1alpha1.IssuerAccount{ID: "7"}, &v1alpha1.Capabilities{ProjectTokens: v1alpha1.TokenCapabilities{ListedValues: ptr.To(true)}})
			got := s.settle(s.inquiry(v1alpha1.KindProjectToken, v1alpha1.PendingToken{URL: s.running.URL, AccountID: "7", Name: "wanted"}))
			if taken := got.Token != nil && got.Token.Value.Reveal() == listed; taken != whole || (got.Lost == "5") == whole {
				t.Errorf("it is taken: %t, want %t", taken, whole)
			}
		})
	}
}

func TestALookGivesTheTokensOfThisInstallation(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.restart(patient)
	for _, name := range []string{"ci", "ts-inst02-8d2f4c1e-0c55-4d1c-9-1", "ts-inst012-x", "xts-inst01-x", "ts-inst01"} {
		s.server.CreateRepositoryToken("gh", "acme", "api", name, nil)
	}
	orphan := s.server.CreateRepositoryToken("gh", "acme", "api", "ts-inst01-gone-1", nil)
	_, minted := s.mint(v1alpha1.KindProjectToken, 1)
	named, done, err := s.connection.Look(t.Context(), v1alpha1.KindProjectToken, "gh/acme/api", s.clock.Now(), nobodyKnows)
	if err != nil || !done {
		t.Fatalf("done: %t, %v", done, err)
	}
	s.wantSilent("what a look gives", named)
	want := []codacy.Named{{ID: fmt.Sprint(orphan.ID), Name: "ts-inst01-gone-1"}, {ID: minted.ID, Name: minted.Name}}
	byName := func(a, b codacy.Named) int { return slices.Compare([]byte(a.Name), []byte(b.Name)) }
	slices.SortFunc(named, byName)
	slices.SortFunc(want, byName)
	if !slices.Equal(named, want) {
		t.Errorf("it gives %v, want %v", named, want)
	}
	s.mint(v1alpha1.KindAccountToken, 1)
	if named, _, err := s.connection.Look(t.Context(), v1alpha1.KindAccountToken, "", s.clock.Now(), nobodyKnows); err != nil || named != nil {
		t.Errorf("of tokens without names it gives %v, %v", named, err)
	}
}

// Several resources of one repository find that a look is due; the first one looks for all of them.
func TestWhatWasLookedAtSinceItWasDueIsNotLookedAtAgain(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	due := s.clock.Now()
	s.advance(time.Second)
	s.server.ResetRequests()
	for i, want := range []bool{true, false, false} {
		_, looked, err := s.connection.Look(t.Context(), v1alpha1.KindProjectToken, subjects[v1alpha1.KindProjectToken], due, nobodyKnows)
		if err != nil || looked != want {
			t.Errorf("resource %d looked: %t (%v), want %t", i+1, looked, err, want)
		}
	}
	if got := s.server.Requests()["listRepositoryApiTokens"]; got != 1 {
		t.Errorf("there were %d lists", got)
	}
}
