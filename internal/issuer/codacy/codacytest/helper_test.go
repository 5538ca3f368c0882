package codacytest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/token"
)

const repositoryPath = "/api/v3/organizations/gh/acme/repositories/api"

var start = time.Date(2026, 8, 3, 12, 0, 0, 0, time.UTC)

// stand is a server that runs, with one account, its token and the repository gh/acme/api.
type stand struct {
	*testing.T
	*codacytest.Server
	clock   *clocktesting.FakePassiveClock
	running *codacytest.Running
	client  *http.Client
	account int64
	token   codacytest.Token
}

func edition(t *testing.T, name string) codacytest.Behaviour {
	t.Helper()
	b, err := codacytest.Edition(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// newStand checks every request and answer, on both sides.
func newStand(t *testing.T, b codacytest.Behaviour) *stand {
	t.Helper()
	s := &stand{T: t, clock: clocktesting.NewFakePassiveClock(start)}
	s.Server = codacytest.New(s.clock, b)
	s.account = s.AddAccount("Robot", "robot@acme.example")
	s.AddRepository("gh", "acme", "api")
	s.token = s.CreateAccountToken(s.account, nil)
	var err error
	if s.running, err = codacytest.StartTLS(codacytest.Check(s.Server, func(err error) { t.Error(err) }), "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.running.Close() })
	s.client = s.running.Client()
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s.client.Transport = codacytest.CheckTransport(s.client.Transport, func(err error) { t.Error(err) })
	return s
}

// shown is a token in an answer.
type shown struct {
	ID        int64
	Token     *token.Value
	Name      string
	ExpiresAt *time.Time
	CreatedAt *time.Time
}

// answer is what any operation may answer. Data of a list, or of one token.
type answer struct {
	status int
	header http.Header
	body   []byte
	shown
	Data       json.RawMessage
	Pagination *struct {
		Cursor string
		Total  int
	}
	Message string
	Error   string
	Success string
}

func (a *answer) list(t *testing.T) (tokens []shown) {
	t.Helper()
	if err := json.Unmarshal(a.Data, &tokens); err != nil {
		t.Fatalf("status %d, and no list", a.status)
	}
	return tokens
}

func (a *answer) one(t *testing.T) (created shown) {
	t.Helper()
	if err := json.Unmarshal(a.Data, &created); err != nil {
		t.Fatalf("status %d, and no token", a.status)
	}
	return created
}

// most is how many bytes of an answer are read.
const most = 1 << 20

// try makes a request with the account's token; extra are pairs of further headers.
func (s *stand) try(method, path, body string, extra ...string) (*answer, error) {
	request, err := http.NewRequestWithContext(s.Context(), method, s.running.URL+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body == "" {
		request.Body = http.NoBody
	}
	request.Header.Set("api-token", s.token.Value.Reveal())
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "test")
	for i := 0; i < len(extra); i += 2 {
		request.Header.Set(extra[i], extra[i+1])
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(io.LimitReader(response.Body, most))
	if err != nil {
		return nil, err
	}
	a := &answer{status: response.StatusCode, header: response.Header, body: got}
	if response.Header.Get("Content-Type") == "application/json; charset=utf-8" {
		err = json.Unmarshal(got, a)
	}
	return a, err
}

func (s *stand) do(method, path, body string, extra ...string) *answer {
	s.Helper()
	a, err := s.try(method, path, body, extra...)
	if err != nil {
		s.Fatal(err)
	}
	return a
}

func (s *stand) want(status int, method, path, body string, extra ...string) *answer {
	s.Helper()
	a := s.do(method, path, body, extra...)
	if a.status != status {
		s.Errorf("%s %s is answered %d (%s), want %d", method, path, a.status, a.Error, status)
	}
	if a.status >= 400 && a.Message != "" && !strings.Contains(a.Message, codacytest.Marker) {
		s.Errorf("the message of %s %s has no marker", method, path)
	}
	return a
}

func named(name string, expires time.Time) string {
	return fmt.Sprintf(`{"name":%q,"expiresAt":%q}`, name, expires.Format(time.RFC3339))
}

func expiring(expires time.Time) string {
	return fmt.Sprintf(`{"expiresAt":%q}`, expires.Format(time.RFC3339))
}

func equal(got *time.Time, want time.Time) bool { return got != nil && got.Equal(want) }
