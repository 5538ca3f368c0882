package codacy_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/token"
)

func TestWhoLacksTheRoleIsToldSoWhateverTheServiceAnswers(t *testing.T) {
	for _, role := range []codacytest.Role{codacytest.None, codacytest.Read, codacytest.Write} {
		for _, status := range denied {
			for _, known := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/known=%t", role, status, known), func(t *testing.T) {
					t.Parallel()
					b := edition(t, "cloud-2026-08")
					b.NoRoleStatus = status
					s := newStandIn(t, b)
					s.restart(patient)
					if known {
						s.learn(v1alpha1.KindProjectToken)
					}
					attempt := s.prepare(v1alpha1.KindProjectToken, 1)
					attempt.Release()
					s.server.SetRole(s.account, "gh", "acme", "api", role)
					reason := v1alpha1.ReasonRoleMissing
					if role == codacytest.None && status == http.StatusNotFound {
						reason = v1alpha1.ReasonRepositoryNotFound // Nobody can tell it from a name that is wrong.
					}
					words := []string{"needs the repository admin role", "gh/acme/api", fmt.Sprint(s.account), "Robot"}
					if role != codacytest.None {
						words = append(words, "has "+string(role))
					}

					_, err := s.connection.Mint(t.Context(), attempt)
					got := s.wantReason(err, reason, true)
					s.wantWords(got, words...)
					if !got.NothingMinted {
						t.Error("something may have been minted, it says")
					}
					_, err = s.connection.Settle(t.Context(), s.inquiry(v1alpha1.KindProjectToken, attempt.Record))
					s.wantWords(s.wantReason(err, reason, true), words...)
					s.wantWords(s.wantReason(s.look(v1alpha1.KindProjectToken), reason, true), words...)
					if !known {
						_, err = s.connection.Prepare(t.Context(), s.request(v1alpha1.KindProjectToken, 2, day))
						s.wantWords(s.wantReason(err, reason, true), words...)
					}
					if s.connection.CredentialRefused() {
						t.Error("the credential is refused, it says")
					}

					s.server.SetRole(s.account, "gh", "acme", "api", codacytest.Admin)
					s.mint(v1alpha1.KindProjectToken, 3)
				})
			}
		}
	}
}

func TestARepositoryThatCodacyDoesNotKnowIsNamed(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.restart(patient)
	request := s.request(v1alpha1.KindProjectToken, 1, day)
	request.Subject = "gh/acme/gone"
	_, err := s.connection.Prepare(t.Context(), request)
	s.wantWords(s.wantReason(err, v1alpha1.ReasonRepositoryNotFound, true), "gh/acme/gone", "needs the repository admin role", "added to Codacy")
}

func TestAnEditionWithoutRepositoryTokensIsToldFromARepositoryThatIsMissing(t *testing.T) {
	s := newStandIn(t, edition(t, "self-hosted-4.2"))
	s.restart(patient)
	_, err := s.connection.Prepare(t.Context(), s.request(v1alpha1.KindProjectToken, 1, day))
	s.wantWords(s.wantReason(err, v1alpha1.ReasonUnsupported, true), "Self-hosted 5.1.0")
	s.mint(v1alpha1.KindAccountToken, 1)
	request := s.request(v1alpha1.KindProjectToken, 1, day)
	request.Subject = "gh/acme/gone"
	_, err = s.connection.Prepare(t.Context(), request)
	s.wantReason(err, v1alpha1.ReasonRepositoryNotFound, true)
}

func TestAnEditionWithoutAccountTokensIsNamed(t *testing.T) {
	s := newStandIn(t, edition(t, "self-hosted-4.2"))
	s.restart(patient)
	s.play(script{}) // It answers the tokens with 404.
	_, err := s.connection.Prepare(t.Context(), s.request(v1alpha1.KindAccountToken, 1, day))
	s.wantWords(s.wantReason(err, v1alpha1.ReasonUnsupported, true), "Self-hosted 4.2")
	// An issuer asks this before it does anything else.
	_, err = s.connection.CredentialExpiration(t.Context())
	s.wantWords(s.wantReason(err, v1alpha1.ReasonUnsupported, true), "Self-hosted 4.2")
}

func TestARepositoryFullOfTokensIsNamed(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/known=%t", status, known), func(t *testing.T) {
				t.Parallel()
				b := edition(t, "cloud-2026-08")
				b.LimitStatus = status
				s := newStandIn(t, b)
				s.restart(patient)
				if known {
					s.learn(v1alpha1.KindProjectToken)
				}
				for range 99 {
					s.byHand(v1alpha1.KindProjectToken)
				}
				s.mint(v1alpha1.KindProjectToken, 1)
				_, err := s.connection.Mint(t.Context(), s.prepare(v1alpha1.KindProjectToken, 2))
				got := s.wantReason(err, v1alpha1.ReasonTokenLimitReached, true)
				s.wantWords(got, "The repository gh/acme/api has 100 tokens", v1alpha1.ReconcileRequestAnnotation)
				if !got.NothingMinted || len(s.ids()) != 100 {
					t.Errorf("nothing minted: %t, and there are %d tokens", got.NothingMinted, len(s.ids()))
				}
				s.server.RevokeInWebUI(s.tokens(true)[0].ID)
				s.mint(v1alpha1.KindProjectToken, 3)
			})
		}
	}
}

// clashes are the ways in which the list shows, or does not, the token that has the name.
type clash struct {
	form codacytest.ValueForm
	// proven: a token of which the hash is known is listed with its value.
	proven bool
	shown  bool
}

func TestAClashOfNamesIsAnAttemptThatIsToBeSettled(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity} {
		for _, c := range []clash{
			{codacytest.FullValues, true, true}, {codacytest.FullValues, false, false}, {codacytest.MaskedValues, true, false},
			{codacytest.EmptyValues, true, false}, {codacytest.MissingValues, true, false},
		} {
			t.Run(fmt.Sprintf("%d/%s/proven=%t", status, c.form, c.proven), func(t *testing.T) {
				t.Parallel()
				b := edition(t, "cloud-2026-08")
				b.NameClashStatus, b.RepositoryListValues = status, c.form
				s := newStandIn(t, b)
				s.restart(patient)
				_, other := s.mint(v1alpha1.KindProjectToken, 1)
				attempt := s.prepare(v1alpha1.KindProjectToken, 2)
				clashing := s.server.CreateRepositoryToken("gh", "acme", "api", attempt.Record.Name, nil)
				s.server.ResetRequests()
				_, err := s.connection.Mint(t.Context(), attempt)
				if got := s.wantReason(err, v1alpha1.ReasonSettling, false); got.NothingMinted {
					t.Error("nothing was minted, it says, and the name is taken")
				}
				s.wantRequests(map[string]int{"createRepositoryApiToken": 1, "listRepositoryApiTokens": 1})

				inquiry := s.inquiry(v1alpha1.KindProjectToken, attempt.Record)
				if c.proven {
					inquiry.Known = func(id string) (string, bool) { return other.Value.SHA256(), id == other.ID }
				}
				got := s.settle(inquiry)
				if c.shown && (got.Token == nil || got.Token.ID != fmt.Sprint(clashing.ID) || got.Token.Value.Reveal() != clashing.Value.Reveal()) {
					t.Error("the list shows the value, and Settle does not have it")
				}
				if !c.shown && (got.Token != nil || got.Lost != fmt.Sprint(clashing.ID)) {
					t.Errorf("Settle has a value that the list does not show, or says that token %q is lost", got.Lost)
				}
				// What the Secret holds, if it was written, is the value that no list shows.
				inquiry.InSecret = clashing.Value
				if got := s.settle(inquiry); got.Token == nil || got.Token.Value.Reveal() != clashing.Value.Reveal() {
					t.Error("Settle does not take what the Secret holds")
				}
			})
		}
	}
}

// Nothing is known of the service yet, so that the refusal may be one of the body.
func TestAClashOfNamesIsNotAnsweredByMintingAnotherToken(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			b := edition(t, "cloud-2026-08")
			b.NameClashStatus = status
			s := newStandIn(t, b)
			s.restart(patient)
			attempt := s.prepare(v1alpha1.KindProjectToken, 1)
			s.server.CreateRepositoryToken("gh", "acme", "api", attempt.Record.Name, nil)
			if _, err := s.connection.Mint(t.Context(), attempt); err == nil {
				t.Error("another token was minted, and that of the name is left behind")
			} else if got := s.wantReason(err, v1alpha1.ReasonSettling, false); got.NothingMinted {
				t.Error("nothing was minted, it says, and the name is taken")
			}
			if made := len(s.tokens(false)); made != 0 {
				t.Errorf("%d tokens were made beside the one of that name", made)
			}
		})
	}
}

func TestAClashOfNamesThatCanNotBeRuledOutLeavesTheAttemptOpen(t *testing.T) {
	s := knownStandIn(t, edition(t, "cloud-2026-08"), v1alpha1.KindProjectToken, false)
	attempt := s.prepare(v1alpha1.KindProjectToken, 1)
	s.server.CreateRepositoryToken("gh", "acme", "api", attempt.Record.Name, nil)
	s.server.Fault(always("listRepositoryApiTokens", refusing(http.StatusServiceUnavailable, time.Minute)))
	if _, err := s.connection.Mint(t.Context(), attempt); s.failure(err).NothingMinted {
		t.Error("nothing was minted, it says, and there is a token of the name that was asked for")
	}
}

func TestACredentialThatIsNotAcceptedIsRefusedHoweverItCameToThat(t *testing.T) {
	for name, spoil := range map[string]func(s *standIn) token.Value{
		"it is wrong": func(*standIn) token.Value { return value("ABCDEFGHIJKLMNOPQRST") },
		"it was revoked": func(s *standIn) token.Value {
			s.server.RevokeInWebUI(s.credential.ID)
			return s.credential.Value
		},
		"it has expired": func(s *standIn) token.Value {
			soon := s.clock.Now().Add(time.Hour)
			t := s.server.CreateAccountToken(s.account, &soon)
			s.advance(time.Hour)
			return t.Value
		},
		"its account was deactivated": func(s *standIn) token.Value {
			s.server.DeactivateAccount(s.account)
			return s.credential.Value
		},
		"it is a repository token": func(s *standIn) token.Value { return s.byHand(v1alpha1.KindProjectToken).Value },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, "cloud-2026-08"))
			s.restart(patient)
			account := s.connection.Account()
			s.credential.Value = spoil(s)
			s.connection = s.unidentified(s.credential.Value)
			if s.connection.CredentialRefused() {
				t.Error("the credential is refused, it says, and nobody has asked")
			}
			_, err := s.connection.Identify(t.Context())
			s.wantWords(s.wantReason(err, v1alpha1.ReasonCredentialsRefused, true), "401 (Unauthorized)", "repository token", "Access management", "credentials Secret")
			if !s.connection.CredentialRefused() {
				t.Error("the credential is not refused, it says")
			}

			// Whoever uses the connection finds out, too.
			for _, kind := range kinds {
				s.connection = s.restart(patient)
				s.connection.Believe(account, nil)
				_, err := s.connection.Prepare(t.Context(), s.request(kind, 1, day))
				s.wantReason(err, v1alpha1.ReasonCredentialsRefused, true)
				if !s.connection.CredentialRefused() {
					t.Error("the credential is not refused, it says")
				}
			}
		})
	}
}

func TestACredentialThatIsAcceptedAgainIsNoLongerRefused(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.restart(patient)
	for _, status := range denied {
		s.server.Fault(codacytest.Times(1, "getUser", refusing(status, 0)))
		_, err := s.connection.Identify(t.Context())
		s.wantReason(err, v1alpha1.ReasonCredentialsRefused, true)
		wantGone(t, err, status == http.StatusUnauthorized)
		if !s.connection.CredentialRefused() {
			t.Errorf("after %d the credential is not refused, it says", status)
		}
		if _, err := s.connection.Identify(t.Context()); err != nil || s.connection.CredentialRefused() {
			t.Errorf("the credential is refused: %t, %v", s.connection.CredentialRefused(), err)
		}
	}
}

// wantGone wants an error to prove that the credential is gone, or not to.
func wantGone(t *testing.T, err error, want bool) {
	t.Helper()
	if known := new(issuer.Error); !errors.As(err, &known) || known.CredentialGone != want {
		t.Errorf("%v: that it proves the end of the credential is not %t", err, want)
	}
}

func TestAnAccountThatIsNotActiveIsNamed(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.play(script{"GET /user": saying(http.StatusOK, `{"data":{"id":7,"mainEmail":"a@acme.example","otherEmails":[],"isAdmin":false,"isActive":false,"created":"2026-01-01T00:00:00Z"}}`)})
	_, err := s.connection.Identify(t.Context())
	s.wantWords(s.wantReason(err, v1alpha1.ReasonCredentialsRefused, true), "not active")
	wantGone(t, err, false) // The account may become active again.
	if !s.connection.CredentialRefused() {
		t.Error("the credential is not refused, it says")
	}
}

// Something answers in Codacy's place: it says nothing about the credential.
func TestAnAnswerThatIsNotCodacysDoesNotRefuseTheCredential(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"an empty object":   saying(http.StatusOK, `{}`),
		"no data":           saying(http.StatusOK, `{"status":"ok"}`),
		"no account":        saying(http.StatusOK, `{"data":{}}`),
		"a list":            saying(http.StatusOK, `{"data":[]}`),
		"another success":   saying(http.StatusAccepted, `{"data":{"id":7,"isActive":true}}`),
		"a page":            func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>" + codacytest.Marker)) },
		"an error":          saying(http.StatusBadGateway, codacytest.Marker),
		"an empty answer":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"too large a value": saying(http.StatusOK, `{"data":{"id":99999999999999999999,"isActive":true}}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, "cloud-2026-08"))
			s.play(script{"GET /user": answer})
			_, err := s.connection.Identify(t.Context())
			s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false)
			if s.connection.CredentialRefused() {
				t.Error("the credential is refused, it says")
			}
		})
	}
}

func TestARefusalThatIsNotOfTheCredentialDoubtsTheAddress(t *testing.T) {
	for _, status := range []int{http.StatusMovedPermanently, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusGone, http.StatusTeapot} {
		s := newStandIn(t, edition(t, "cloud-2026-08"))
		s.play(script{"GET /user": saying(status, `{"error":"`+codacytest.Marker+`"}`)})
		_, err := s.connection.Identify(t.Context())
		s.wantWords(s.wantReason(err, v1alpha1.ReasonServiceRefused, true), fmt.Sprint(status), "spec.codacy.url")
	}
}

func TestWhenTheCredentialExpiresIsFoundInTheList(t *testing.T) {
	for _, name := range []string{"cloud-2026-08", "cloud-2025-07", "self-hosted-16"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, name))
			s.restart(patient)
			expires := s.clock.Now().Add(30 * day).Truncate(time.Second)
			for range 120 { // It may be on the second page.
				s.server.CreateAccountToken(s.account, nil)
			}
			s.credential = s.server.CreateAccountToken(s.account, &expires)
			s.connection = s.connect(s.credential.Value)
			got, err := s.connection.CredentialExpiration(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !edition(t, name).EchoesExpiry {
				expires = time.Time{}
			}
			if !got.Equal(expires) {
				t.Errorf("it expires at %s, want %s", got, expires)
			}
		})
	}
	t.Run("never", func(t *testing.T) {
		s := newStandIn(t, edition(t, "cloud-2026-08"))
		if got, err := s.connection.CredentialExpiration(t.Context()); err != nil || !got.IsZero() {
			t.Errorf("it expires at %s: %v", got, err)
		}
	})
	t.Run("nobody can say", func(t *testing.T) {
		s := newStandIn(t, edition(t, "cloud-2026-08"))
		s.server.Fault(always("getUserApiTokens", refusing(http.StatusServiceUnavailable, time.Minute)))
		_, err := s.connection.CredentialExpiration(t.Context())
		s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false)
	})
}

func TestARoleInTheWordsOfTheServiceIsNotShown(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	repository := strings.TrimSuffix(tokensPath[v1alpha1.KindProjectToken], "/tokens")
	s.play(script{
		"GET " + repository:             saying(http.StatusOK, `{"data":{"provider":"gh","owner":"acme","name":"api","permission":"`+codacytest.Marker+`"}}`),
		"GET " + repository + "/tokens": saying(http.StatusForbidden, `{"message":"no","actions":[],"error":"Forbidden"}`),
	})
	_, err := s.connection.Prepare(t.Context(), s.request(v1alpha1.KindProjectToken, 1, day))
	s.wantWords(s.wantReason(err, v1alpha1.ReasonRoleMissing, true), "needs the repository admin role")
}

func TestARoleThatTheServiceDoesNotTellIsMissing(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	repository := strings.TrimSuffix(tokensPath[v1alpha1.KindProjectToken], "/tokens")
	s.play(script{
		"GET " + repository:             saying(http.StatusOK, `{"data":{"provider":"gh","owner":"acme","name":"api"}}`),
		"GET " + repository + "/tokens": saying(http.StatusNotFound, `{"message":"no","actions":[],"error":"NotFound"}`),
	})
	_, err := s.connection.Prepare(t.Context(), s.request(v1alpha1.KindProjectToken, 1, day))
	s.wantWords(s.wantReason(err, v1alpha1.ReasonRoleMissing, true), "needs the repository admin role")
}

// On Bitbucket an admin of the repository may not be enough.
func TestAnAdminWhoIsForbiddenIsToldOfBitbucket(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.server.Fault(always("listRepositoryApiTokens", refusing(http.StatusForbidden, 0)))
	_, err := s.connection.Prepare(t.Context(), s.request(v1alpha1.KindProjectToken, 1, day))
	s.wantWords(s.wantReason(err, v1alpha1.ReasonRoleMissing, true), "on Bitbucket", "admin of the organization")
}
