package codacy_test

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/issuer/issuertest"
	"github.com/tokensteward/tokensteward/internal/token"
)

const (
	uid          types.UID = "8d2f4c1e-0c55-4d1c-9a39-7f1f6f4c2b10"
	installation           = "inst01"
	lifetime               = 2 * time.Minute
	day                    = 24 * time.Hour
)

// standIn is a stand-in for Codacy, with one account and one repository, and a connection to it.
type standIn struct {
	*testing.T
	server     *codacytest.Server
	running    *codacytest.Running
	clock      *clocktesting.FakePassiveClock
	account    int64
	credential codacytest.Token
	connection *codacy.Connection
	services   *codacy.Services
}

var subjects = map[string]string{v1alpha1.KindAccountToken: "", v1alpha1.KindProjectToken: "gh/acme/api"}

func newStandIn(t *testing.T, behaviour codacytest.Behaviour) *standIn {
	t.Helper()
	behaviour.RateLimit = nil // It has a test of its own.
	s := &standIn{T: t, clock: clocktesting.NewFakePassiveClock(time.Date(2026, 9, 1, 12, 0, 0, 123456789, time.UTC))}
	s.server = codacytest.New(s.clock, behaviour)
	s.account = s.server.AddAccount("Robot", "robot@acme.example")
	s.server.AddRepository("gh", "acme", "api")
	s.credential = s.server.CreateAccountToken(s.account, nil)
	report := func(err error) { t.Errorf("not as described: %v", err) }
	running, err := codacytest.StartTLS(codacytest.Check(s.server, report), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = running.Close() })
	s.running = running
	s.services = codacy.NewServices(codacy.Options{
		Clock: s.clock, InstallationID: installation, Timeout: patience, RequestLifetime: lifetime, BreakerPause: time.Minute,
	})
	s.connection = s.connect(s.credential.Value)
	return s
}

// connect makes a connection with a credential, that has found out whose that is.
func (s *standIn) connect(credential token.Value) *codacy.Connection {
	s.Helper()
	c := s.unidentified(credential)
	if _, err := c.Identify(s.Context()); err != nil {
		s.Fatal(err)
	}
	return c
}

func (s *standIn) unidentified(credential token.Value) *codacy.Connection {
	s.Helper()
	key := codacy.Key{Kind: v1alpha1.KindClusterTokenIssuer, NamespacedName: types.NamespacedName{Name: "codacy"}}
	c, err := s.services.Connect(key, codacy.Config{URL: s.running.URL, CABundle: s.running.CAPEM, Credential: credential, Interval: time.Hour})
	if err != nil {
		s.Fatal(err)
	}
	s.services.Use(c)
	return c
}

func (s *standIn) request(kind string, revision int64, lives time.Duration) issuer.Request {
	return issuer.Request{Kind: kind, Subject: subjects[kind], UID: uid, Revision: revision, Now: s.clock.Now(), Lifetime: lives}
}

// mint mints a token that is to succeed.
func (s *standIn) mint(kind string, revision int64) (issuer.Attempt, issuer.Token) {
	s.Helper()
	attempt, err := s.connection.Prepare(s.Context(), s.request(kind, revision, 90*day))
	if err != nil {
		s.Fatalf("Prepare: %v", err)
	}
	defer attempt.Release()
	minted, err := s.connection.Mint(s.Context(), attempt)
	if err != nil {
		s.Fatalf("Mint: %v", err)
	}
	return attempt, minted
}

func (s *standIn) advance(d time.Duration) { s.clock.SetTime(s.clock.Now().Add(d)) }

// tokens are those that live, but for the credential.
func (s *standIn) tokens(handMade bool) (found []codacytest.Token) {
	for _, t := range s.server.Tokens() {
		if t.HandMade == handMade && t.ID != s.credential.ID {
			found = append(found, t)
		}
	}
	return found
}

func (s *standIn) byHand(kind string) codacytest.Token {
	if kind == v1alpha1.KindAccountToken {
		return s.server.CreateAccountToken(s.account, nil)
	}
	return s.server.CreateRepositoryToken("gh", "acme", "api", fmt.Sprintf("ci-%d", len(s.server.Tokens())), nil)
}

func (s *standIn) harness(kind string, alike bool) issuertest.Harness {
	return issuertest.Harness{
		Issuer:  s.connection,
		Request: func(revision int64, lives time.Duration) issuer.Request { return s.request(kind, revision, lives) },
		Record:  func(v1alpha1.PendingToken) {}, Forget: func(issuer.Reference) {},
		Accepts: func(value token.Value) bool { return s.server.Accepts(value.Reveal()) },
		Live:    func() int { return len(s.tokens(false)) },
		Advance: s.advance,
		ByHand:  func() { s.byHand(kind) },
		EndByHand: func(id string) {
			for _, t := range s.server.Tokens() {
				if fmt.Sprint(t.ID) == id {
					s.server.RevokeInWebUI(t.ID)
				}
			}
		},
		ByHandLive: func() int { return len(s.tokens(true)) },
		Alike:      alike,
	}
}

// class is how an edition lets an attempt's token be found again.
type class struct {
	edition, kind string
	// alike: not at all.
	alike bool
}

var classes = []class{
	{"cloud-2026-08", v1alpha1.KindAccountToken, false},
	{"cloud-2026-08", v1alpha1.KindProjectToken, false},
	{"cloud-2025-07", v1alpha1.KindAccountToken, false},
	{"cloud-2025-07", v1alpha1.KindProjectToken, true},
	{"self-hosted-16", v1alpha1.KindAccountToken, true},
	{"self-hosted-16", v1alpha1.KindProjectToken, true},
	{"self-hosted-4.2", v1alpha1.KindAccountToken, true},
}

func edition(t *testing.T, name string) codacytest.Behaviour {
	t.Helper()
	behaviour, err := codacytest.Edition(name)
	if err != nil {
		t.Fatal(err)
	}
	return behaviour
}

func TestCodacyKeepsThePromisesOfAnIssuerInEachEdition(t *testing.T) {
	for _, c := range classes {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%s/known=%t", c.edition, c.kind, known), func(t *testing.T) {
				t.Parallel()
				issuertest.Run(t, func(t *testing.T) issuertest.Harness {
					t.Helper()
					s := newStandIn(t, edition(t, c.edition))
					if known {
						s.learn(c.kind)
					}
					return s.harness(c.kind, c.alike)
				})
			})
		}
	}
}

// The unknowns of Codacy's API that bear on how a token is found again.
func TestCodacyKeepsThePromisesWhateverListsShowAndBodiesDo(t *testing.T) {
	for _, form := range []codacytest.ValueForm{codacytest.FullValues, codacytest.MaskedValues, codacytest.EmptyValues, codacytest.MissingValues} {
		for _, body := range []codacytest.BodyUse{codacytest.HonoursBody, codacytest.IgnoresBody, codacytest.RefusesBody} {
			for _, paged := range []int{0, 1} {
				t.Run(fmt.Sprintf("values=%s/body=%s/page=%d", form, body, paged), func(t *testing.T) {
					t.Parallel()
					issuertest.Run(t, func(t *testing.T) issuertest.Harness {
						t.Helper()
						behaviour := edition(t, "cloud-2026-08")
						behaviour.RepositoryListValues, behaviour.RepositoryTokenBody, behaviour.RepositoryPage = form, body, paged
						behaviour.UnknownTokenIs404 = paged == 0
						s := newStandIn(t, behaviour)
						return s.harness(v1alpha1.KindProjectToken, body != codacytest.HonoursBody)
					})
				})
			}
		}
	}
}

// learn has the connection see what the service does, by one token that is revoked again.
func (s *standIn) learn(kind string) {
	s.Helper()
	attempt, minted := s.mint(kind, 99)
	if err := s.connection.Revoke(s.Context(), reference(kind, &attempt, minted.ID)); err != nil {
		s.Fatal(err)
	}
}

func reference(kind string, attempt *issuer.Attempt, id string) issuer.Reference {
	return issuer.Reference{
		Kind: kind, Subject: subjects[kind], UID: uid, ID: id, URL: attempt.Record.URL, AccountID: attempt.Record.AccountID,
		Known: func(string) (string, bool) { return "", false }, Disowned: func(string) bool { return false },
	}
}
