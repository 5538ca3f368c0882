package codacy_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

func TestEveryRequestHasTheHeadersThatCodacyAsksFor(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.restart(patient)
	arrived := s.listen()
	if _, err := s.connection.Identify(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds {
		attempt, minted := s.mint(kind, 1)
		for range 2 { // The second one has its proof listed.
			if err := s.connection.Revoke(t.Context(), reference(kind, &attempt, minted.ID)); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.server.SetRole(s.account, "gh", "acme", "api", codacytest.Read)
	s.wantReason(s.look(v1alpha1.KindProjectToken), v1alpha1.ReasonRoleMissing, true)

	operations := map[string]bool{}
	for _, request := range arrived() {
		operations[request.operation] = true
		if request.header.Get("api-token") != s.credential.Value.Reveal() || len(request.header.Values("api-token")) != 1 {
			t.Errorf("%s lacks the credential", request.operation)
		}
		for _, header := range []string{"Content-Type", "Accept"} {
			if got := request.header.Values(header); !slices.Equal(got, []string{"application/json"}) {
				t.Errorf("%s has %s: %q", request.operation, header, got)
			}
		}
		if got := request.header.Get("User-Agent"); got != "tokensteward" {
			t.Errorf("%s has User-Agent: %q", request.operation, got)
		}
		request.header.Del("api-token")
		for name, values := range request.header {
			for _, value := range append(values, request.path, request.query, request.body) {
				if value == s.credential.Value.Reveal() {
					t.Errorf("the credential is in %s of %s, too", name, request.operation)
				}
			}
		}
	}
	want := []string{
		"createRepositoryApiToken", "createUserApiToken", "deleteRepositoryApiToken", "deleteUserApiToken",
		"getRepository", "getUser", "getUserApiTokens", "listRepositoryApiTokens",
	}
	if got := slices.Sorted(maps.Keys(operations)); !slices.Equal(got, want) {
		t.Errorf("the requests were %v, want %v", got, want)
	}
}

func TestEachSegmentOfAPathIsEscapedOnItsOwn(t *testing.T) {
	for name, escaped := range map[string]string{
		"api": "api", "a.b": "a.b", "..x": "..x", "x..": "x..", "a b": "a%20b", "a+b": "a+b", "~a_b-c": "~a_b-c", "a%2Fb": "a%252Fb",
		"a?b=c": "a%3Fb=c", "a#b": "a%23b", "a;b": "a%3Bb", "ü": "%C3%BC", "tokens": "tokens",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, "cloud-2026-08"))
			s.restart(patient)
			s.server.AddRepository("gl", name, name)
			arrived := s.listen()
			r := s.request(v1alpha1.KindProjectToken, 1, day)
			r.Subject = "gl/" + name + "/" + name
			attempt, err := s.connection.Prepare(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			attempt.Release()
			minted, err := s.connection.Mint(t.Context(), attempt)
			if err != nil {
				t.Fatal(err)
			}
			ended := reference(v1alpha1.KindProjectToken, &attempt, minted.ID)
			ended.Subject = r.Subject
			if err := s.connection.Revoke(t.Context(), ended); err != nil {
				t.Error(err)
			}
			base := "/api/v3/organizations/gl/" + escaped + "/repositories/" + escaped + "/tokens"
			var paths []string
			for _, request := range arrived() {
				paths = append(paths, request.path)
			}
			if want := []string{base, base, base + "/" + minted.ID}; !slices.Equal(paths, want) {
				t.Errorf("the paths were %q, want %q", paths, want)
			}
			if left := s.tokens(false); len(left) != 0 {
				t.Errorf("%d tokens are left", len(left))
			}
		})
	}
}

func TestASubjectThatIsNoRepositoryIsNotAskedFor(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.server.ResetRequests()
	for _, subject := range []string{"", "gh", "gh/acme", "gh/acme/api/tokens"} {
		r := s.request(v1alpha1.KindProjectToken, 1, day)
		r.Subject = subject
		if _, err := s.connection.Prepare(t.Context(), r); err == nil {
			t.Errorf("Prepare takes %q", subject)
		}
		if _, err := s.connection.Mint(t.Context(), issuer.Attempt{Kind: r.Kind, Subject: subject}); err == nil {
			t.Errorf("Mint takes %q", subject)
		}
		if _, err := s.connection.Settle(t.Context(), issuer.Inquiry{Kind: r.Kind, Subject: subject}); err == nil {
			t.Errorf("Settle takes %q", subject)
		}
		if err := s.connection.Revoke(t.Context(), issuer.Reference{Kind: r.Kind, Subject: subject}); err == nil {
			t.Errorf("Revoke takes %q", subject)
		}
		if _, done, err := s.connection.Look(t.Context(), r.Kind, subject, s.clock.Now(), nobodyKnows); err == nil || done {
			t.Errorf("Look takes %q", subject)
		}
		if missing, next := s.connection.Sight(r.Kind, subject, "1", s.clock.Now()); missing || !next.IsZero() {
			t.Errorf("Sight takes %q", subject)
		}
	}
	s.wantRequests(map[string]int{})
}

func TestAnIDThatIsNoNumberIsNotAskedFor(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	attempt := s.prepare(v1alpha1.KindProjectToken, 1)
	s.server.ResetRequests()
	for _, id := range []string{"../../../user/tokens/1", "1/..", "1?", "one", "9223372036854775808"} {
		if err := s.connection.Revoke(t.Context(), reference(v1alpha1.KindProjectToken, &attempt, id)); err == nil {
			t.Errorf("Revoke takes the id %q", id)
		}
	}
	s.wantRequests(map[string]int{})
}

func TestACreateAsksForExactlyWhatIsRecorded(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, "cloud-2026-08"))
			s.restart(patient)
			arrived := s.listen()
			attempt, minted := s.mint(kind, 12)
			want := map[string]any{"expiresAt": attempt.Record.ExpirationTime.UTC().Format(time.RFC3339)}
			if kind == v1alpha1.KindProjectToken {
				want["name"] = "ts-inst01-8d2f4c1e-0c55-4d1c-9-12"
			}
			requests := arrived()
			var got map[string]any
			if err := json.Unmarshal([]byte(requests[len(requests)-1].body), &got); err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(got, want) {
				t.Errorf("the body is %v, want %v", got, want)
			}
			if !minted.ExpirationTime.Equal(attempt.Record.ExpirationTime.Time) || minted.Name != attempt.Record.Name {
				t.Errorf("the token has name %q and expiry %s, recorded are %q and %s", minted.Name, minted.ExpirationTime, attempt.Record.Name, attempt.Record.ExpirationTime)
			}
			for _, request := range requests {
				if request.operation != operationsOf[kind].create && request.body != "" {
					t.Errorf("%s has a body", request.operation)
				}
			}
		})
	}
}

func TestAListOfTheAccountAsksForAHundredTokensAtOnce(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	arrived := s.listen()
	for _, kind := range kinds {
		if err := s.look(kind); err != nil {
			t.Fatal(err)
		}
	}
	requests := arrived()
	if len(requests) != 2 || requests[0].query != "limit=100" || requests[1].query != "" {
		t.Errorf("the requests were %d", len(requests))
	}
}

func TestAnEditionThatRefusesBodiesGetsNoneAndThatIsRemembered(t *testing.T) {
	s := newStandIn(t, func() codacytest.Behaviour {
		b := edition(t, "self-hosted-16")
		b.RepositoryTokenBody = codacytest.RefusesBody
		return b
	}())
	s.restart(patient)
	arrived := s.listen()
	bodies := func() (all []bool) {
		for _, request := range arrived() {
			if request.operation == "createRepositoryApiToken" {
				all = append(all, request.body != "")
			}
		}
		return all
	}
	first, _ := s.mint(v1alpha1.KindProjectToken, 1)
	if got := bodies(); !slices.Equal(got, []bool{true, false}) {
		t.Errorf("the requests of the first mint had a body: %t, want one with and one without", got)
	}
	s.mint(v1alpha1.KindProjectToken, 2)
	if got := bodies(); !slices.Equal(got, []bool{true, false, false}) {
		t.Errorf("the requests of both mints had a body: %t, want only the first one", got)
	}
	if !first.Record.Listed {
		t.Error("a token that has neither name nor expiry can't be found again")
	}
	if got := encoded(t, s.connection.Capabilities().ProjectTokens); got != "{}" {
		t.Errorf("of what was not asked for it was learnt %s", got)
	}
	// Account tokens are another matter.
	s.mint(v1alpha1.KindAccountToken, 1)
	requests := arrived()
	if last := requests[len(requests)-1]; last.operation != "createUserApiToken" || last.body == "" {
		t.Error("an account token was asked for without a body")
	}
}

// The clocks of the service and of the cluster may differ, so that it refuses the expiry. A service that knows names, and
// says so in its next answer, does not refuse bodies.
func TestThatACreateWithoutABodySucceedsDoesNotMeanThatBodiesAreRefused(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	s.restart(patient)
	refused := codacytest.Times(1, "createRepositoryApiToken", refusing(http.StatusBadRequest, 0))
	s.server.Fault(refused)
	if _, minted := s.mint(v1alpha1.KindProjectToken, 1); minted.Name == "" {
		t.Fatal("the stand-in gives no name")
	}
	if attempt, minted := s.mint(v1alpha1.KindProjectToken, 2); minted.Name != attempt.Record.Name || !minted.ExpirationTime.Equal(attempt.Record.ExpirationTime.Time) {
		t.Errorf("the next token has the name %q and expires at %s; asked for were %q and %s", minted.Name, minted.ExpirationTime, attempt.Record.Name, attempt.Record.ExpirationTime)
	}
}

func TestAServiceThatIsKnownToMindBodiesGetsNoSecondRequestWithoutOne(t *testing.T) {
	s := knownStandIn(t, edition(t, "cloud-2026-08"), v1alpha1.KindProjectToken, false)
	s.server.Fault(always("createRepositoryApiToken", refusing(http.StatusBadRequest, 0)))
	_, err := s.connection.Mint(t.Context(), s.prepare(v1alpha1.KindProjectToken, 1))
	if got := s.wantReason(err, v1alpha1.ReasonServiceRefused, true); !got.NothingMinted {
		t.Error("something may have been minted, it says")
	}
	s.wantRequests(map[string]int{"createRepositoryApiToken": 1, "listRepositoryApiTokens": 1})
}

func TestAURLMayEndInASlashOrHaveAPath(t *testing.T) {
	for _, path := range []string{"", "/", "/codacy", "/codacy/"} {
		t.Run("path "+path, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, "cloud-2026-08"))
			asked := ""
			s.play(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = r.URL.EscapedPath()
				r.URL.Path = "/api/v3/user"
				script{}.ServeHTTP(w, r)
			}))
			c, err := s.services.Connect(keyNamed("path"), codacy.Config{URL: s.running.URL + path, CABundle: s.running.CAPEM, Credential: s.credential.Value})
			if err != nil {
				t.Fatal(err)
			}
			account, err := c.Identify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if want := map[string]string{"": "", "/": "", "/codacy": "/codacy", "/codacy/": "/codacy"}[path] + "/api/v3/user"; asked != want {
				t.Errorf("the path was %q, want %q", asked, want)
			}
			if account.ID != "7" || account.Email != "robot@acme.example" || c.Account() != account {
				t.Errorf("the account is %+v", account)
			}
		})
	}
}

func TestWhatIsReturnedPrintsNoCredential(t *testing.T) {
	s := knownStandIn(t, edition(t, "cloud-2026-08"), v1alpha1.KindAccountToken, false)
	attempt, minted := s.mint(v1alpha1.KindAccountToken, 1)
	config := codacy.Config{URL: s.running.URL, CABundle: s.running.CAPEM, Credential: s.credential.Value}
	s.wantSilent("what is returned", s.connection, s.services, config, &config, attempt, &attempt, minted, &minted, s.connection.Account(), s.connection.Capabilities())
	for name, thing := range map[string]any{"the configuration": config, "the token": minted, "the record": attempt.Record, "the account": s.connection.Account()} {
		s.wantSilent(name+" as JSON", encoded(t, thing))
	}
	if want := s.credential.Value.SHA256(); s.connection.CredentialSHA256() != want {
		t.Error("Credential is not the hash of the credential")
	}
	if s.connection.URL() != s.running.URL {
		t.Errorf("the URL is %q", s.connection.URL())
	}
}
