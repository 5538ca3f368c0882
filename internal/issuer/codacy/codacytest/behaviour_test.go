package codacytest_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

func TestEditions(t *testing.T) {
	if _, err := codacytest.Edition("cloud-2031"); err == nil || !strings.Contains(err.Error(), "self-hosted-4.2") {
		t.Errorf("an unknown edition gives the error %v, which should name those that are known", err)
	}
	in := start.Add(24 * time.Hour)
	for name, want := range map[string]struct {
		accountExpiry, repositoryTokens, names, created, values bool
	}{
		"cloud-2026-08":   {accountExpiry: true, repositoryTokens: true, names: true, created: true},
		"cloud-2025-07":   {accountExpiry: true, repositoryTokens: true, created: true, values: true},
		"self-hosted-16":  {repositoryTokens: true, values: true},
		"self-hosted-4.2": {},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, edition(t, name))
			s.want(200, http.MethodGet, "/api/v3/version", "", "api-token", "")
			s.want(200, http.MethodGet, "/api/v3/user", "")

			account := s.want(200, http.MethodPost, "/api/v3/user/tokens", expiring(in))
			if !regexp.MustCompile(`^[A-Za-z0-9]{20}$`).MatchString(account.Token.Reveal()) || !s.Accepts(account.Token.Reveal()) {
				t.Error("the account token is not one of Codacy's")
			}
			if equal(account.ExpiresAt, in) != want.accountExpiry || (account.CreatedAt != nil) != want.created {
				t.Errorf("the account token expires at %v and was created at %v", account.ExpiresAt, account.CreatedAt)
			}
			if got := s.want(200, http.MethodGet, "/api/v3/user/tokens", "").list(t); len(got) != 2 || got[0].Token == nil {
				t.Errorf("the account's list holds %d tokens, want 2 with their values", len(got))
			}
			s.want(204, http.MethodDelete, fmt.Sprintf("/api/v3/user/tokens/%d", account.ID), "")
			s.want(404, http.MethodDelete, fmt.Sprintf("/api/v3/user/tokens/%d", account.ID), "")

			if !want.repositoryTokens {
				s.want(404, http.MethodGet, repositoryPath+"/tokens", "")
				s.want(404, http.MethodPost, repositoryPath+"/tokens", "")
				return
			}
			created := s.want(201, http.MethodPost, repositoryPath+"/tokens", named("ci-1", in)).one(t)
			if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(created.Token.Reveal()) || !s.Accepts(created.Token.Reveal()) {
				t.Error("the repository token is not one of Codacy's")
			}
			if (created.Name == "ci-1") != want.names || equal(created.ExpiresAt, in) != want.names {
				t.Errorf("the repository token is called %q and expires at %v", created.Name, created.ExpiresAt)
			}
			without := s.want(201, http.MethodPost, repositoryPath+"/tokens", "").one(t)
			if (without.Name != "") != want.names || equal(without.ExpiresAt, start.AddDate(1, 0, 0)) != want.names {
				t.Errorf("without a body, the repository token is called %q and expires at %v", without.Name, without.ExpiresAt)
			}
			for _, listed := range s.want(200, http.MethodGet, repositoryPath+"/tokens", "").list(t) {
				if (listed.Token != nil) != want.values {
					t.Errorf("the repository's list shows a value: %t", listed.Token != nil)
				}
			}
			if want.names {
				s.want(400, http.MethodPost, repositoryPath+"/tokens", named("ci-1", start.Add(-time.Hour)))
				s.want(400, http.MethodPost, repositoryPath+"/tokens", named("ci-2", start.AddDate(1, 0, 1)))
				s.want(409, http.MethodPost, repositoryPath+"/tokens", named("ci-1", in))
				s.want(204, http.MethodPost, repositoryPath+"/tokens/delete", fmt.Sprintf(`{"ids":[%d]}`, without.ID))
			} else {
				s.want(404, http.MethodPost, repositoryPath+"/tokens/delete", fmt.Sprintf(`{"ids":[%d]}`, without.ID))
			}
			s.want(204, http.MethodDelete, fmt.Sprintf("%s/tokens/%d", repositoryPath, created.ID), "")
			if s.Accepts(created.Token.Reveal()) {
				t.Error("a token that was revoked is accepted")
			}
		})
	}
}

func TestWhatIsNotKnown(t *testing.T) {
	in := start.Add(24 * time.Hour)
	post := func(body string) func(*stand) *answer {
		return func(s *stand) *answer { return s.do(http.MethodPost, repositoryPath+"/tokens", body) }
	}
	list := func(s *stand) *answer { return s.do(http.MethodGet, repositoryPath+"/tokens", "") }
	for name, c := range map[string]struct {
		edition string
		change  func(*codacytest.Behaviour)
		ask     func(*stand) *answer
		status  int
		holds   func(*stand, *answer) bool
	}{
		"older: a body is refused": {
			edition: "cloud-2025-07", change: func(b *codacytest.Behaviour) { b.RepositoryTokenBody = codacytest.RefusesBody },
			ask: post(named("ci", in)), status: 400,
		},
		"older: no body is not refused": {
			edition: "cloud-2025-07", change: func(b *codacytest.Behaviour) { b.RepositoryTokenBody = codacytest.RefusesBody },
			ask: post(""), status: 201,
		},
		"an expiry is honoured, and not told": {
			change: func(b *codacytest.Behaviour) { b.EchoesExpiry = false },
			ask:    post(named("ci", in)), status: 201,
			holds: func(s *stand, a *answer) bool {
				created := a.one(s.T)
				s.clock.SetTime(in)
				return created.ExpiresAt == nil && !s.Accepts(created.Token.Reveal())
			},
		},
		"an account token without an expiry is refused": {
			change: func(b *codacytest.Behaviour) { b.AccountExpiryRequired = true },
			ask:    func(s *stand) *answer { return s.do(http.MethodPost, "/api/v3/user/tokens", "") }, status: 400,
		},
		"an account token without an expiry gets one": {
			ask: func(s *stand) *answer { return s.do(http.MethodPost, "/api/v3/user/tokens", "") }, status: 200,
			holds: func(_ *stand, a *answer) bool { return equal(a.ExpiresAt, start.AddDate(1, 0, 0)) },
		},
		"a clash of names": {
			change: func(b *codacytest.Behaviour) { b.NameClashStatus = 422 },
			ask:    func(s *stand) *answer { post(named("ci", in))(s); return post(named("ci", in))(s) }, status: 422,
		},
		"too many tokens": {
			change: func(b *codacytest.Behaviour) { b.RepositoryLimit, b.LimitStatus = 1, 409 },
			ask:    func(s *stand) *answer { post("")(s); return post("")(s) }, status: 409,
		},
		"expired tokens count": {
			change: func(b *codacytest.Behaviour) { b.RepositoryLimit = 1 },
			ask:    func(s *stand) *answer { post(named("ci", in))(s); s.clock.SetTime(in); return post("")(s) }, status: 400,
		},
		"expired tokens are gone": {
			change: func(b *codacytest.Behaviour) { b.RepositoryLimit, b.KeepsExpired = 1, false },
			ask:    func(s *stand) *answer { post(named("ci", in))(s); s.clock.SetTime(in); return post("")(s) }, status: 201,
		},
		"who has no role": {
			change: func(b *codacytest.Behaviour) { b.NoRoleStatus = 401 },
			ask: func(s *stand) *answer {
				s.SetRole(s.account, "gh", "acme", "api", codacytest.Write)
				return post("")(s)
			},
			status: 401,
		},
		"values are masked": {
			change: func(b *codacytest.Behaviour) { b.RepositoryListValues = codacytest.MaskedValues },
			ask:    func(s *stand) *answer { post("")(s); return list(s) }, status: 200,
			holds: func(s *stand, a *answer) bool {
				return regexp.MustCompile(`^[0-9a-f]{4}\*{28}$`).MatchString(a.list(s.T)[0].Token.Reveal())
			},
		},
		"values are empty": {
			change: func(b *codacytest.Behaviour) { b.RepositoryListValues = codacytest.EmptyValues },
			ask:    func(s *stand) *answer { post("")(s); return list(s) }, status: 200,
			holds: func(s *stand, a *answer) bool { got := a.list(s.T)[0].Token; return got != nil && got.IsEmpty() },
		},
		"a token that does not exist is revoked": {
			change: func(b *codacytest.Behaviour) { b.UnknownTokenIs404 = false },
			ask:    func(s *stand) *answer { return s.do(http.MethodDelete, repositoryPath+"/tokens/17", "") }, status: 204,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.edition == "" {
				c.edition = "cloud-2026-08"
			}
			b := edition(t, c.edition)
			if c.change != nil {
				c.change(&b)
			}
			s := newStand(t, b)
			got := c.ask(s)
			if got.status != c.status {
				t.Fatalf("the answer is %d (%s), want %d", got.status, got.Error, c.status)
			}
			if c.holds != nil && !c.holds(s, got) {
				t.Error("the answer is not as it should be")
			}
		})
	}
}

func TestListsHavePages(t *testing.T) {
	b := edition(t, "cloud-2026-08")
	b.RepositoryPage = 2
	s := newStand(t, b)
	for range 4 {
		s.CreateAccountToken(s.account, nil)
		s.CreateRepositoryToken("gh", "acme", "api", "", nil)
	}
	s.CreateRepositoryToken("gh", "acme", "api", "", nil)
	s.CreateAccountToken(s.AddAccount("Another", "another@acme.example"), nil)
	for _, path := range []string{"/api/v3/user/tokens?limit=2", repositoryPath + "/tokens?"} {
		seen, sizes, next := map[int64]bool{}, "", ""
		for {
			page := s.want(200, http.MethodGet, path+next, "")
			for _, listed := range page.list(t) {
				seen[listed.ID] = true
			}
			sizes += fmt.Sprint(len(page.list(t)))
			if page.Pagination.Cursor == "" {
				break
			}
			next = "&cursor=" + page.Pagination.Cursor
		}
		if len(seen) != 5 || sizes != "221" {
			t.Errorf("%s: %d tokens in pages of %s", path, len(seen), sizes)
		}
	}
	s.want(400, http.MethodGet, "/api/v3/user/tokens?cursor=nonsense", "")
}

func TestRateLimit(t *testing.T) {
	b := edition(t, "cloud-2026-08")
	b.RateLimit = &codacytest.RateLimit{Requests: 2, Period: time.Minute, Status: 429, RetryAfter: 30 * time.Second}
	s := newStand(t, b)
	s.want(200, http.MethodGet, "/api/v3/user", "")
	s.want(200, http.MethodGet, "/api/v3/user", "")
	if got := s.want(429, http.MethodGet, "/api/v3/user", "").header.Get("Retry-After"); got != "30" {
		t.Errorf("Retry-After is %q", got)
	}
	s.clock.SetTime(start.Add(time.Minute))
	s.want(200, http.MethodGet, "/api/v3/user", "")
	want := map[string]int{"getUser": 4, "getUser" + codacytest.RateLimited: 1}
	if got := s.Requests(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the requests were %v, want %v", got, want)
	}
	s.ResetRequests()
	if len(s.Requests()) != 0 {
		t.Error("there are requests after ResetRequests")
	}
}

func TestWorld(t *testing.T) {
	s := newStand(t, edition(t, "cloud-2026-08"))
	in := start.Add(time.Hour)
	made := s.CreateRepositoryToken("gh", "acme", "api", "by-hand", &in)
	if !made.HandMade || made.Repository != "gh/acme/api" || len(s.Tokens()) != 2 {
		t.Errorf("a token was made by hand: %v, of %q, one of %d", made.HandMade, made.Repository, len(s.Tokens()))
	}
	s.want(200, http.MethodGet, repositoryPath, "")
	s.want(404, http.MethodGet, "/api/v3/organizations/gh/acme/repositories/other", "")
	if !s.RevokeInWebUI(made.ID) || s.RevokeInWebUI(made.ID) || s.Accepts(made.Value.Reveal()) {
		t.Error("a token is to be revoked once")
	}
	made = s.CreateRepositoryToken("gh", "acme", "api", "by-hand", &in)
	s.clock.SetTime(in)
	if s.Accepts(made.Value.Reveal()) || len(s.Tokens()) != 1 {
		t.Error("a token lives on past its expiry")
	}
	s.SetRole(s.account, "gh", "acme", "api", codacytest.None)
	s.want(403, http.MethodGet, repositoryPath, "")
	s.RemoveRepository("gh", "acme", "api")
	s.want(404, http.MethodGet, repositoryPath, "")
	s.AddRepository("gh", "a b/c", "a%2Fb")
	s.want(200, http.MethodGet, "/api/v3/organizations/gh/a%20b%2Fc/repositories/a%252Fb", "")
	s.DeactivateAccount(s.account)
	s.want(401, http.MethodGet, "/api/v3/user", "")
	if s.Accepts(s.token.Value.Reveal()) {
		t.Error("the token of an account that is not active is accepted")
	}
}

func TestWhatEveryRequestNeeds(t *testing.T) {
	s := newStand(t, edition(t, "self-hosted-16"))
	project := s.CreateRepositoryToken("gh", "acme", "api", "", nil)
	for _, headers := range [][]string{
		{"User-Agent", "Go-http-client/1.1"},
		{"User-Agent", ""},
		{"Content-Type", "text/plain"},
	} {
		s.want(400, http.MethodGet, "/api/v3/user", "", headers...)
	}
	s.want(401, http.MethodGet, "/api/v3/user", "", "api-token", project.Value.Reveal())
	s.want(401, http.MethodGet, "/api/v3/user", "", "api-token", "nonsense", "project-token", project.Value.Reveal())
	if got := s.Requests()["getUser"+codacytest.Refused]; got != 5 {
		t.Errorf("%d requests were refused, want 5", got)
	}
}

func TestLegacy(t *testing.T) {
	s := newStand(t, edition(t, "cloud-2026-08"))
	in := start.Add(time.Hour)
	project := s.CreateRepositoryToken("gh", "acme", "api", "ci", &in)
	const (
		own   = "/2.0/coverage/0123456789/go"
		other = "/2.0/gh/acme/api/commit/0123456789/coverage/go"
	)
	report := func(status int, wantError, path, kind, value string) {
		t.Helper()
		got := s.do(http.MethodPost, path, "{}", "api-token", "", kind, value)
		if got.status != status || got.Error != wantError || (got.Success != "") != (status == 200) {
			t.Errorf("%s with a %s is answered %d %q, want %d %q", path, kind, got.status, got.Error, status, wantError)
		}
	}
	report(200, "", own, "project-token", project.Value.Reveal())
	report(200, "", "/2.0/commit/0123456789/coverageFinal", "project-token", project.Value.Reveal())
	report(200, "", other, "api-token", s.token.Value.Reveal())
	report(200, "", "/2.0/gh/acme/api/commit/0123456789/coverageFinal", "api-token", s.token.Value.Reveal())
	report(404, "not found", own, "project-token", s.token.Value.Reveal())
	report(404, "not found", other, "api-token", project.Value.Reveal())
	report(404, "not found", "/2.0/gh/acme/none/commit/0123456789/coverage/go", "api-token", s.token.Value.Reveal())
	report(404, "not found", "/2.0/nonsense", "api-token", s.token.Value.Reveal())
	s.clock.SetTime(in)
	report(401, "token expired", own, "project-token", project.Value.Reveal())
	s.RevokeInWebUI(project.ID)
	report(404, "not found", own, "project-token", project.Value.Reveal())
}
