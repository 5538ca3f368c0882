package codacy_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"k8s.io/utils/ptr"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

func TestRevokingEndsOneTokenAndIsProvenWhateverTheServiceAnswersTheSecondTime(t *testing.T) {
	for _, c := range classes {
		for _, is404 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%s/404=%t", c.edition, c.kind, is404), func(t *testing.T) {
				t.Parallel()
				b := edition(t, c.edition)
				b.UnknownTokenIs404 = is404
				s := newStandIn(t, b)
				s.restart(patient)
				s.byHand(c.kind)
				_, kept := s.mint(c.kind, 1)
				attempt, minted := s.mint(c.kind, 2)
				s.server.ResetRequests()
				do := operationsOf[c.kind]
				want := map[string]int{do.delete: 1}
				for range 2 {
					if err := s.connection.Revoke(t.Context(), reference(c.kind, &attempt, minted.ID)); err != nil {
						t.Fatal(err)
					}
					s.wantLive(minted.ID, false)
					s.wantLive(kept.ID, true)
					s.wantRequests(want)
					if is404 {
						want[do.list] = 1
					}
				}
				if len(s.tokens(true)) != 1 {
					t.Error("the token that was made by hand is gone")
				}
			})
		}
	}
}

func TestThatATokenIsGoneIsNotBelievedWithoutAList(t *testing.T) {
	for name, hide := range map[string]func(s *standIn){
		"the repository was removed":      func(s *standIn) { s.server.RemoveRepository("gh", "acme", "api") },
		"the account may not see it":      func(s *standIn) { s.server.SetRole(s.account, "gh", "acme", "api", codacytest.None) },
		"the account is no longer admin":  func(s *standIn) { s.server.SetRole(s.account, "gh", "acme", "api", codacytest.Write) },
		"the list is forbidden":           func(s *standIn) { s.denyBoth(http.StatusForbidden) },
		"the list is unknown":             func(s *standIn) { s.denyBoth(http.StatusNotFound) },
		"the service has no such request": func(s *standIn) { s.denyBoth(http.StatusMethodNotAllowed) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := edition(t, "cloud-2026-08")
			b.NoRoleStatus = http.StatusNotFound
			s := newStandIn(t, b)
			s.restart(patient)
			attempt, minted := s.mint(v1alpha1.KindProjectToken, 1)
			hide(s)
			s.server.ResetRequests()
			err := s.connection.Revoke(t.Context(), reference(v1alpha1.KindProjectToken, &attempt, minted.ID))
			s.wantWords(s.wantReason(err, v1alpha1.ReasonRevocationUnproven, true), minted.ID, "gh/acme/api", "repository admin role")
			s.wantRequests(map[string]int{"deleteRepositoryApiToken": 1, "listRepositoryApiTokens": 1})
		})
	}
}

func (s *standIn) denyBoth(status int) {
	s.server.Fault(func(operation string, _ *http.Request) codacytest.Fault {
		if operation == "listRepositoryApiTokens" {
			return refusing(status, 0)
		}
		return refusing(http.StatusNotFound, 0)
	})
}

func TestThatATokenIsGoneIsNotBelievedWhenTheListHasIt(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, "cloud-2026-08"))
			s.restart(patient)
			attempt, minted := s.mint(kind, 1)
			s.server.Fault(always(operationsOf[kind].delete, refusing(http.StatusNotFound, 0)))
			err := s.connection.Revoke(t.Context(), reference(kind, &attempt, minted.ID))
			s.wantWords(s.wantReason(err, v1alpha1.ReasonRevocationUnproven, true), minted.ID, "revoke it in Codacy")
		})
	}
}

func TestThatATokenIsGoneIsNotBelievedWhenTheListFails(t *testing.T) {
	for _, fault := range []codacytest.Fault{refusing(http.StatusServiceUnavailable, time.Minute), {Kind: codacytest.Garbage}, {Kind: codacytest.WrongContentType}} {
		t.Run(nameOf(fault), func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, "cloud-2026-08"))
			s.restart(patient)
			attempt, minted := s.mint(v1alpha1.KindProjectToken, 1)
			s.server.RevokeInWebUI(s.tokens(false)[0].ID)
			s.server.Fault(always("listRepositoryApiTokens", fault))
			err := s.connection.Revoke(t.Context(), reference(v1alpha1.KindProjectToken, &attempt, minted.ID))
			s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false)
		})
	}
}

// Whatever answered, it was not Codacy.
func TestAnotherSuccessThanCodacysIsNoRevocation(t *testing.T) {
	for _, kind := range kinds {
		for _, status := range []int{http.StatusOK, http.StatusAccepted} {
			t.Run(fmt.Sprintf("%s/%d", kind, status), func(t *testing.T) {
				t.Parallel()
				s := newStandIn(t, edition(t, "cloud-2026-08"))
				s.play(script{"DELETE " + tokensPath[kind] + "/9": saying(status, `{}`)})
				attempt := issuer.Attempt{Record: v1alpha1.PendingToken{URL: s.running.URL, AccountID: "7"}}
				s.wantReason(s.connection.Revoke(t.Context(), reference(kind, &attempt, "9")), v1alpha1.ReasonServiceUnavailable, false)
			})
		}
	}
}

func TestRevokingWithoutTheRoleSaysSoAndLeavesTheToken(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			b := edition(t, "cloud-2026-08")
			b.NoRoleStatus = status
			s := newStandIn(t, b)
			s.restart(patient)
			attempt, minted := s.mint(v1alpha1.KindProjectToken, 1)
			s.server.SetRole(s.account, "gh", "acme", "api", codacytest.Write)
			revoke := func() error {
				return s.connection.Revoke(t.Context(), reference(v1alpha1.KindProjectToken, &attempt, minted.ID))
			}
			s.wantWords(s.wantReason(revoke(), v1alpha1.ReasonRoleMissing, true), "needs the repository admin role")
			s.wantLive(minted.ID, true)
			s.server.SetRole(s.account, "gh", "acme", "api", codacytest.Admin)
			if err := revoke(); err != nil {
				t.Error(err)
			}
			s.wantLive(minted.ID, false)
		})
	}
}

func TestRevokingWithACredentialThatIsRefusedSaysSo(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, "cloud-2026-08"))
			s.restart(patient)
			attempt, minted := s.mint(kind, 1)
			s.server.RevokeInWebUI(s.credential.ID)
			err := s.connection.Revoke(t.Context(), reference(kind, &attempt, minted.ID))
			s.wantReason(err, v1alpha1.ReasonCredentialsRefused, true)
			s.wantLive(minted.ID, true)
		})
	}
}

func TestATokenOfAnotherAccountIsNeitherRevokedNorLookedFor(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.restart(patient)
	accounts, _ := s.mint(v1alpha1.KindAccountToken, 1)
	repositorys, inRepository := s.mint(v1alpha1.KindProjectToken, 1)
	other := s.server.AddAccount("Other", "other@acme.example")
	// Its own token has the same expiry as the attempt of the first account.
	theirs := s.server.CreateAccountToken(other, ptr.To(accounts.Record.ExpirationTime.Time))
	s.connection = s.connect(s.server.CreateAccountToken(other, nil).Value)
	s.server.ResetRequests()
	before := s.ids()
	for _, id := range []string{"", fmt.Sprint(theirs.ID), fmt.Sprint(s.tokens(false)[0].ID)} {
		ended := recordOf(v1alpha1.KindAccountToken, &accounts)
		ended.ID = id
		err := s.connection.Revoke(t.Context(), ended)
		s.wantWords(s.wantReason(err, v1alpha1.ReasonAccountChanged, true), fmt.Sprint(s.account), fmt.Sprint(other), "Other", "credentials Secret")
	}
	_, err := s.connection.Settle(t.Context(), s.inquiry(v1alpha1.KindAccountToken, accounts.Record))
	s.wantReason(err, v1alpha1.ReasonAccountChanged, true)
	s.wantRequests(map[string]int{})
	if !slices.Equal(s.ids(), before) {
		t.Error("something was revoked")
	}
	// A repository's tokens are those of all its admins.
	if err := s.connection.Revoke(t.Context(), reference(v1alpha1.KindProjectToken, &repositorys, inRepository.ID)); err != nil {
		t.Error(err)
	}
	s.wantLive(inRepository.ID, false)
}

func TestATokenOfAnotherServiceIsNeitherRevokedNorLookedFor(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, "cloud-2026-08"))
			s.restart(patient)
			attempt, minted := s.mint(kind, 1)
			s.server.ResetRequests()
			attempt.Record.URL = "https://codacy.example"
			for _, id := range []string{"", minted.ID} {
				ended := recordOf(kind, &attempt)
				ended.ID = id
				s.wantWords(s.wantReason(s.connection.Revoke(t.Context(), ended), v1alpha1.ReasonAccountChanged, true), "https://codacy.example", s.running.URL)
			}
			_, err := s.connection.Settle(t.Context(), s.inquiry(kind, attempt.Record))
			s.wantReason(err, v1alpha1.ReasonAccountChanged, true)
			s.wantRequests(map[string]int{})
			s.wantLive(minted.ID, true)
		})
	}
}

func TestTheIssuersOwnCredentialIsNeverTakenForAnAttemptsToken(t *testing.T) {
	for _, name := range []string{"cloud-2026-08", "self-hosted-16"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, name))
			s.restart(patient)
			attempt := s.prepare(v1alpha1.KindAccountToken, 1)
			attempt.Release()
			// The credential is made meanwhile, and expires at the very second.
			s.credential = s.server.CreateAccountToken(s.account, ptr.To(attempt.Record.ExpirationTime.Time))
			s.connection = s.connect(s.credential.Value)
			s.server.RevokeInWebUI(s.tokens(true)[0].ID) // The one before.
			s.advance(lifetime)
			got := s.settle(s.inquiry(v1alpha1.KindAccountToken, attempt.Record))
			if got.Token != nil || got.Lost != "" || got.Ambiguous != nil {
				t.Error("Settle claims the credential")
			}
			if err := s.connection.Revoke(t.Context(), recordOf(v1alpha1.KindAccountToken, &attempt)); err != nil {
				t.Error(err)
			}
			if !s.server.Accepts(s.credential.Value.Reveal()) {
				t.Error("the credential is revoked")
			}
		})
	}
}

func TestATokenThatAResourceHasIsNeitherRevokedNorClaimedForItsExpiry(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.restart(patient)
	attempt := s.prepare(v1alpha1.KindAccountToken, 1)
	attempt.Release()
	theirs := s.server.CreateAccountToken(s.account, ptr.To(attempt.Record.ExpirationTime.Time))
	has := func(id string) (string, bool) { return "", id == fmt.Sprint(theirs.ID) }
	inquiry, ended := s.inquiry(v1alpha1.KindAccountToken, attempt.Record), recordOf(v1alpha1.KindAccountToken, &attempt)
	inquiry.Known, ended.Known = has, has
	if got := s.settle(inquiry); got.Token != nil || got.Lost != "" || got.Ambiguous != nil {
		t.Error("Settle claims a token that a resource has")
	}
	if err := s.connection.Revoke(t.Context(), ended); err != nil {
		t.Error(err)
	}
	s.wantLive(fmt.Sprint(theirs.ID), true)
}

func TestOfTwoTokensWithTheExpiryOfAnAttemptNoneIsRevoked(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.restart(patient)
	attempt := s.prepare(v1alpha1.KindAccountToken, 1)
	attempt.Release()
	var two []string
	for range 2 {
		two = append(two, fmt.Sprint(s.server.CreateAccountToken(s.account, ptr.To(attempt.Record.ExpirationTime.Time)).ID))
	}
	err := s.connection.Revoke(t.Context(), recordOf(v1alpha1.KindAccountToken, &attempt))
	s.wantWords(s.wantReason(err, v1alpha1.ReasonAmbiguousToken, true), append(two, v1alpha1.NotMineAnnotation)...)
	got := s.settle(s.inquiry(v1alpha1.KindAccountToken, attempt.Record))
	slices.Sort(two)
	slices.Sort(got.Ambiguous)
	if !slices.Equal(got.Ambiguous, two) || got.Token != nil || got.Lost != "" {
		t.Errorf("Settle names %v, want %v", got.Ambiguous, two)
	}
	for _, id := range two {
		s.wantLive(id, true)
	}
	// The user says that one is somebody else's.
	inquiry := s.inquiry(v1alpha1.KindAccountToken, attempt.Record)
	inquiry.Disowned = func(id string) bool { return id == two[0] }
	if got := s.settle(inquiry); got.Token == nil || got.Token.ID != two[1] {
		t.Error("Settle does not take the only one that is left")
	}
	ended := recordOf(v1alpha1.KindAccountToken, &attempt)
	ended.Disowned = inquiry.Disowned
	if err := s.connection.Revoke(t.Context(), ended); err != nil {
		t.Error(err)
	}
	s.wantLive(two[0], true)
	s.wantLive(two[1], false)
}

// Two resources that are created at once with the same duration ask for the same second, and so does another cluster. A
// token that has another name is another's.
func TestATokenOfAnotherNameIsNeitherClaimedNorRevokedForItsExpiry(t *testing.T) {
	for _, known := range []bool{false, true} {
		for _, name := range []string{"ts-inst01-another-resource-1", "ts-inst02-8d2f4c1e-0c55-4d1c-9-1", "ci"} {
			t.Run(fmt.Sprintf("known=%t/%s", known, name), func(t *testing.T) {
				t.Parallel()
				s := newStandIn(t, edition(t, "cloud-2026-08"))
				s.restart(patient)
				if known {
					s.learn(v1alpha1.KindProjectToken)
				}
				attempt := s.prepare(v1alpha1.KindProjectToken, 1)
				attempt.Release()
				theirs := s.server.CreateRepositoryToken("gh", "acme", "api", name, ptr.To(attempt.Record.ExpirationTime.Time))
				if !known {
					s.learn(v1alpha1.KindProjectToken) // Meanwhile, so that a name is proof.
				}
				s.advance(lifetime)
				if got := s.settle(s.inquiry(v1alpha1.KindProjectToken, attempt.Record)); got.Token != nil || got.Lost != "" || got.Ambiguous != nil {
					t.Error("Settle claims the token of somebody else")
				}
				if err := s.connection.Revoke(t.Context(), recordOf(v1alpha1.KindProjectToken, &attempt)); err != nil {
					t.Error(err)
				}
				s.wantLive(fmt.Sprint(theirs.ID), true)
			})
		}
	}
}

// Nothing is known of the service yet, so that an attempt is told from others by what was there before.
func TestATokenWithANameOfThisInstallationIsNotTakenForAnotherAttempts(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.restart(patient)
	attempt := s.prepare(v1alpha1.KindProjectToken, 1)
	attempt.Release()
	s.server.CreateRepositoryToken("gh", "acme", "api", "ts-inst01-another-resource-1", nil)
	s.advance(lifetime)
	if got := s.settle(s.inquiry(v1alpha1.KindProjectToken, attempt.Record)); got.Token != nil || got.Lost != "" || got.Ambiguous != nil || !got.NotBefore.IsZero() {
		t.Error("Settle names the token of another resource")
	}
	stranger := s.server.CreateRepositoryToken("gh", "acme", "api", "ci", nil)
	if got := s.settle(s.inquiry(v1alpha1.KindProjectToken, attempt.Record)).Ambiguous; !slices.Equal(got, []string{fmt.Sprint(stranger.ID)}) {
		t.Errorf("Settle names %d tokens, want the one that may be the attempt's", len(got))
	}
}

func TestOfAnAttemptOnlyTheTokenOfItsNameIsRevoked(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.restart(patient)
	s.byHand(v1alpha1.KindProjectToken)
	_, kept := s.mint(v1alpha1.KindProjectToken, 1)
	attempt, lost := s.mint(v1alpha1.KindProjectToken, 11)
	s.server.ResetRequests()
	if err := s.connection.Revoke(t.Context(), recordOf(v1alpha1.KindProjectToken, &attempt)); err != nil {
		t.Fatal(err)
	}
	s.wantRequests(map[string]int{"listRepositoryApiTokens": 1, "deleteRepositoryApiToken": 1})
	s.wantLive(lost.ID, false)
	s.wantLive(kept.ID, true)
	if err := s.connection.Revoke(t.Context(), recordOf(v1alpha1.KindProjectToken, &attempt)); err != nil {
		t.Fatal(err)
	}
	s.wantRequests(map[string]int{"listRepositoryApiTokens": 1})
}

func TestWhatTheSecretHoldsTellsWhichTokenIsTheAttempts(t *testing.T) {
	s := newStandIn(t, edition(t, "self-hosted-16"))
	s.restart(patient)
	attempt := s.prepare(v1alpha1.KindProjectToken, 1)
	minted, err := s.connection.Mint(t.Context(), attempt)
	if err != nil {
		t.Fatal(err)
	}
	attempt.Release()
	s.byHand(v1alpha1.KindProjectToken)
	for name, row := range map[string]struct {
		held issuer.Token
		want bool
	}{"its value": {minted, true}, "another": {issuer.Token{Value: value("0123456789abcdef0123456789abcdef")}, false}, "nothing": {issuer.Token{}, false}} {
		inquiry := s.inquiry(v1alpha1.KindProjectToken, attempt.Record)
		inquiry.InSecret = row.held.Value
		got := s.settle(inquiry)
		if row.want && (got.Token == nil || got.Token.ID != minted.ID) || !row.want && len(got.Ambiguous) != 2 {
			t.Errorf("%s: Settle found the token: %t, and names %d", name, got.Token != nil, len(got.Ambiguous))
		}
	}
}

// A process wrote the token of an attempt into the issuer's credentials Secret, and died. The next one asks Codacy with it.
func TestAnAttemptWhoseTokenIsTheCredentialByNowIsFound(t *testing.T) {
	for _, name := range []string{"cloud-2025-07", "self-hosted-16"} {
		s := newStandIn(t, edition(t, name))
		s.restart(patient)
		attempt := s.prepare(v1alpha1.KindAccountToken, 1)
		minted, err := s.connection.Mint(t.Context(), attempt)
		if err != nil {
			t.Fatal(err)
		}
		attempt.Release()
		account, capabilities := s.connection.Account(), s.connection.Capabilities()
		s.connection = s.unidentified(minted.Value)
		s.connection.Believe(account, &capabilities)
		inquiry := s.inquiry(v1alpha1.KindAccountToken, attempt.Record)
		inquiry.InSecret = minted.Value
		if got := s.settle(inquiry); got.Token == nil || got.Token.ID != minted.ID {
			t.Errorf("%s: Settle did not find the token that the operator asks with", name)
		}
		inquiry.InSecret = value("ABCDEFGHIJKLMNOPQRST")
		if got := s.settle(inquiry); got.Token != nil || got.Lost != "" {
			t.Errorf("%s: Settle takes the credential for the token of an attempt, and nothing proves it", name)
		}
	}
}

func TestAConnectionIsMadeAnewOnlyIfItIsOfSomethingElse(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	key := keyNamed("some")
	config := codacy.Config{UID: "1", URL: s.running.URL, CABundle: s.running.CAPEM, Credential: s.credential.Value, Interval: time.Hour}
	first, err := s.services.Connect(key, config)
	if err != nil {
		t.Fatal(err)
	}
	if s.services.Get(key) != nil {
		t.Error("a connection is in use before Use")
	}
	s.services.Use(first)
	if again, _ := s.services.Connect(key, config); again != first || s.services.Get(key) != first {
		t.Error("there is another connection of the same")
	}
	for name, change := range map[string]func(*codacy.Config){
		"another issuer":     func(c *codacy.Config) { c.UID = "2" },
		"another address":    func(c *codacy.Config) { c.URL = "https://codacy.example" },
		"another CA":         func(c *codacy.Config) { c.CABundle = nil },
		"another credential": func(c *codacy.Config) { c.Credential = value("ABCDEFGHIJKLMNOPQRST") },
		"another interval":   func(c *codacy.Config) { c.Interval = time.Minute },
	} {
		other := config
		change(&other)
		if c, err := s.services.Connect(key, other); err != nil || c == first {
			t.Errorf("%s gets the old connection: %v", name, err)
		}
		if s.services.Get(key) != first {
			t.Errorf("%s is in use before Use", name)
		}
	}
	s.services.Disconnect(key)
	if s.services.Get(key) != nil {
		t.Error("it is in use after Disconnect")
	}
	if again, _ := s.services.Connect(key, config); again == first {
		t.Error("a connection that was given up is used again")
	}
}
