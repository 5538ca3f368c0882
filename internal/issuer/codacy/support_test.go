package codacy_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/token"
)

// patience is for requests that are to be answered, however busy the machine is, and impatience for those that are not.
const (
	patience   = 20 * time.Second
	impatience = 1500 * time.Millisecond
)

// TestMain runs more cases at once than there are processors, unless it is told how many: most of them wait.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

var kinds = []string{v1alpha1.KindAccountToken, v1alpha1.KindProjectToken}

// operations are what Codacy calls that which is done to a kind of token.
type operations struct{ create, list, delete string }

var operationsOf = map[string]operations{
	v1alpha1.KindAccountToken: {"createUserApiToken", "getUserApiTokens", "deleteUserApiToken"},
	v1alpha1.KindProjectToken: {"createRepositoryApiToken", "listRepositoryApiTokens", "deleteRepositoryApiToken"},
}

func standardOptions(s *standIn) codacy.Options {
	return codacy.Options{Clock: s.clock, InstallationID: installation, Timeout: patience, RequestLifetime: lifetime, BreakerPause: time.Minute}
}

// restart is a new process, with other options, that knows nothing yet but whose the credential is.
func (s *standIn) restart(change func(*codacy.Options)) *codacy.Connection {
	s.Helper()
	options := standardOptions(s)
	change(&options)
	account := s.connection.Account()
	s.services = codacy.NewServices(options)
	s.connection = s.unidentified(s.credential.Value)
	s.connection.Believe(account, nil)
	s.server.ResetRequests()
	return s.connection
}

// restartKnowing is a new process that knows of the service what the present one does.
func (s *standIn) restartKnowing(change func(*codacy.Options)) *codacy.Connection {
	s.Helper()
	account, capabilities := s.connection.Account(), s.connection.Capabilities()
	s.restart(change)
	s.connection.Believe(account, &capabilities)
	return s.connection
}

func patient(o *codacy.Options) { o.Timeout = patience }

func impatient(o *codacy.Options) { o.Timeout = impatience }

// script plays a service that the stand-in can't: it answers by method and path, and always says whose the credential is.
type script map[string]http.HandlerFunc

func (answers script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked := r.Method + " " + strings.TrimPrefix(r.URL.EscapedPath(), "/api/v3")
	switch answer := answers[asked]; {
	case answer != nil:
		answer(w, r)
	case asked == "GET /user":
		say(w, http.StatusOK, `{"data":{"id":7,"mainEmail":"robot@acme.example","otherEmails":[],"isAdmin":false,"isActive":true,"created":"2026-01-01T00:00:00Z"}}`)
	default:
		say(w, http.StatusNotFound, `{"message":"`+codacytest.Marker+`","actions":[],"error":"NotFound"}`)
	}
}

func say(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func saying(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { say(w, status, body) }
}

// paths of what is done to tokens, below /api/v3.
var tokensPath = map[string]string{
	v1alpha1.KindAccountToken: "/user/tokens",
	v1alpha1.KindProjectToken: "/organizations/gh/acme/repositories/api/tokens",
}

// play has the connection lead to a handler instead of the stand-in.
func (s *standIn) play(handler http.Handler) *codacy.Connection {
	s.Helper()
	running, err := codacytest.StartTLS(handler, "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = running.Close() })
	s.running = running
	s.services = codacy.NewServices(standardOptions(s))
	s.connection = s.unidentified(s.credential.Value)
	s.connection.Believe(v1alpha1.IssuerAccount{ID: "7"}, nil)
	return s.connection
}

func (s *standIn) prepare(kind string, revision int64) issuer.Attempt {
	s.Helper()
	attempt, err := s.connection.Prepare(s.Context(), s.request(kind, revision, 90*day))
	if err != nil {
		s.Fatalf("Prepare: %v", err)
	}
	s.Cleanup(attempt.Release)
	return attempt
}

func (s *standIn) inquiry(kind string, record v1alpha1.PendingToken) issuer.Inquiry {
	return issuer.Inquiry{
		Kind: kind, Subject: subjects[kind], UID: uid, Record: record, Now: s.clock.Now(),
		Known: func(string) (string, bool) { return "", false }, Disowned: func(string) bool { return false },
	}
}

func (s *standIn) settle(inquiry issuer.Inquiry) issuer.Settlement {
	s.Helper()
	settlement, err := s.connection.Settle(s.Context(), inquiry)
	if err != nil {
		s.Fatalf("Settle: %v", err)
	}
	s.wantSilent("a settlement", settlement)
	return settlement
}

// recordOf names an attempt of which no id is known.
func recordOf(kind string, attempt *issuer.Attempt) issuer.Reference {
	r := reference(kind, attempt, "")
	r.Name, r.ExpirationTime = attempt.Record.Name, attempt.Record.ExpirationTime.Time
	return r
}

// failure is the error that a request must come back with.
func (s *standIn) failure(err error) *issuer.Error {
	s.Helper()
	known := new(issuer.Error)
	if !errors.As(err, &known) {
		s.Fatalf("the error is a %T, want an *issuer.Error", err)
	}
	s.wantSilent("the error", err, known)
	if !strings.HasSuffix(known.Message, ".") && !strings.HasSuffix(known.Message, "?") {
		s.Errorf("%q is no sentence", known.Message)
	}
	return known
}

func (s *standIn) wantReason(err error, reason string, stalled bool) *issuer.Error {
	s.Helper()
	got := s.failure(err)
	if got.Reason != reason || got.Stalled != stalled {
		s.Errorf("the error is %s, stalled %t, want %s, stalled %t: %s", got.Reason, got.Stalled, reason, stalled, got.Message)
	}
	return got
}

func (s *standIn) wantWords(e *issuer.Error, words ...string) {
	s.Helper()
	for _, word := range words {
		if !strings.Contains(e.Message, word) {
			s.Errorf("%q does not say %q", e.Message, word)
		}
	}
}

// wantSilent holds everything that is returned to telling neither what the service says to people nor any value.
func (s *standIn) wantSilent(name string, things ...any) {
	s.Helper()
	secrets := map[string]string{"words of the service": codacytest.Marker, "the credential": s.credential.Value.Reveal()}
	for _, t := range s.server.Tokens() {
		secrets[fmt.Sprintf("the value of token %d", t.ID)] = t.Value.Reveal()
	}
	for _, thing := range things {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			printed := fmt.Sprintf(format, thing)
			for what, secret := range secrets {
				if strings.Contains(printed, secret) {
					s.Errorf("%s, a %T with %s, shows %s", name, thing, format, what)
				}
			}
		}
	}
}

// wantRequests says which requests there were since the last time, and no other.
func (s *standIn) wantRequests(want map[string]int) {
	s.Helper()
	got := s.server.Requests()
	maps.DeleteFunc(got, func(operation string, _ int) bool { return strings.Contains(operation, ":") })
	if !maps.Equal(got, want) {
		s.Errorf("the requests were %v, want %v", got, want)
	}
	s.server.ResetRequests()
}

// ids of what lives at the service, but for the credential.
func (s *standIn) ids() []string {
	var all []string
	for _, t := range append(s.tokens(true), s.tokens(false)...) {
		all = append(all, fmt.Sprint(t.ID))
	}
	return all
}

func (s *standIn) wantLive(id string, want bool) {
	s.Helper()
	if slices.Contains(s.ids(), id) != want {
		s.Errorf("token %s lives: %t", id, !want)
	}
}

// always is for Server.Fault: each request of an operation fails.
func always(operation string, fault codacytest.Fault) func(string, *http.Request) codacytest.Fault {
	return codacytest.Times(-1, operation, fault)
}

// sent is a request that arrived.
type sent struct {
	operation, path, query, body string
	header                       http.Header
}

// listen keeps the requests that arrive from now on.
func (s *standIn) listen() func() []sent {
	var (
		mu  sync.Mutex
		all []sent
	)
	s.server.Fault(func(operation string, r *http.Request) codacytest.Fault {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			s.Errorf("reading the body of %s: %v", operation, err)
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, sent{operation, r.URL.EscapedPath(), r.URL.RawQuery, string(body), r.Header.Clone()})
		return codacytest.Fault{}
	})
	return func() []sent {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

func encoded(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func value(text string) token.Value { return token.NewValue(text) }

func nobodyKnows(string) (string, bool) { return "", false }

func keyNamed(name string) codacy.Key {
	return codacy.Key{Kind: v1alpha1.KindClusterTokenIssuer, NamespacedName: types.NamespacedName{Name: name}}
}
