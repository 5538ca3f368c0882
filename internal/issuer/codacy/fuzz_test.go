package codacy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/token"
)

// said is what the service answered to one request.
type said struct {
	method, path, body string
	status             int
	json               bool
}

// spoken is a service that answers what it is told to, and writes down what it was asked. Its answers by method and path are said
// in their order, the last one for ever.
type spoken struct {
	mu      sync.Mutex
	status  map[string][]int
	bodies  map[string][]string
	headers http.Header
	said    []said
}

func (s *spoken) tell(status map[string][]int, bodies map[string][]string, headers http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.bodies, s.headers, s.said = status, bodies, headers, nil
}

func (s *spoken) heard() []said {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said
}

func (s *spoken) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = io.Copy(io.Discard, r.Body)
	asked := s.kindOf(r)
	status := http.StatusNotFound
	if left := s.status[asked]; len(left) > 0 {
		status, s.status[asked] = left[0], left[min(1, len(left)-1):]
	}
	body := ""
	if left := s.bodies[asked]; len(left) > 0 {
		body, s.bodies[asked] = left[0], left[min(1, len(left)-1):]
	}
	for name, values := range s.headers {
		w.Header()[name] = values
	}
	if status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= http.StatusInternalServerError {
		w.Header().Set("Retry-After", "60") // So long nobody waits; what is tried again at once has tests of its own.
	}
	mediaType, _, err := mime.ParseMediaType(s.headers.Get("Content-Type"))
	s.said = append(s.said, said{r.Method, r.URL.Path, body, status, err == nil && mediaType == "application/json"})
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // It fails where there may be none.
}

// kindOf a request, in the words that answers are told for.
func (s *spoken) kindOf(r *http.Request) string {
	switch {
	case strings.HasSuffix(r.URL.Path, "/user"):
		return "user"
	case r.Method == http.MethodGet && !strings.HasSuffix(r.URL.Path, "/tokens"):
		return "repository"
	default:
		return r.Method
	}
}

const (
	// credentialValue and heldValue are whole, so that the service can show them as the value of a token.
	credentialValue = "the-credential-0123456789"
	heldValue       = "held-in-the-secret-0123456789"
	otherValue      = "of-another-resource-0123456789"

	resource = types.UID("8d2f4c1e-0c55-4d1c-9a39-7f1f6f4c2b10")
	askedFor = "ts-inst01-8d2f4c1e-0c55-4d1c-9-3"
	// mostName is how long the schema of the status lets a name be.
	mostName = 100
)

var (
	fuzzNow     = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	fuzzExpires = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
)

// knownHere: token 11 is another resource's, 12 is one of which nobody knows the value; 13 is disowned by the user.
func knownHere(id string) (string, bool) {
	return map[string]string{"11": token.NewValue(otherValue).SHA256()}[id], id == "11" || id == "12"
}

func disownedHere(id string) bool { return id == "13" }

// What is done with the service; each input does one of these.
const (
	doMint = iota
	doSettle
	doSettleLate
	doRevoke
	doRevokeAttempt
	doFind
	doTokens
	doLook
	doIdentify
	doings
)

// Whatever the service answers, what is made of it is what the answers prove, and nothing of them but the status and a known
// word gets into an error.
func FuzzWhatTheServiceAnswersProvesWhatIsDone(f *testing.F) {
	const (
		user   = `{"data":{"id":7,"name":"Robot","mainEmail":"robot@acme.example","otherEmails":[],"isAdmin":false,"isActive":true,"created":"2026-01-01T00:00:00Z"}}`
		admin  = `{"data":{"provider":"gh","owner":"acme","name":"api","permission":"admin"}}`
		denied = `{"message":"` + codacytest.Marker + `","actions":[],"error":"NotFound"}`
		none   = `{"data":[]}`
		isJSON = "application/json"
	)
	one := func(fields string) string { return `{"data":[{` + fields + `}],"pagination":{"limit":100,"total":1}}` }
	account := `{"id":5,"token":"abcdefghij0123456789","expiresAt":"2026-11-01T12:00:00Z"}`
	repository := `{"data":{"id":5,"token":"abcdefghij0123456789","name":"` + askedFor + `","expiresAt":"2026-11-01T12:00:00Z"}}`
	lists := []string{
		none, one(`"id":5,"name":"` + askedFor + `"`), one(`"id":5,"token":"abcdefghij0123456789","name":"` + askedFor + `"`),
		one(`"id":5,"expiresAt":"2026-11-01T12:00:00Z"`), one(`"id":5,"name":"mine","expiresAt":"2026-11-01T12:00:00Z"`),
		one(`"id":11,"token":"` + otherValue + `","expiresAt":"2026-11-01T12:00:00Z"`), one(`"id":12,"expiresAt":"2026-11-01T14:00:00+02:00"`),
		one(`"id":13,"expiresAt":"2026-11-01T12:00:00Z"`), one(`"id":9,"token":"` + heldValue + `"`), one(`"id":9,"token":"held****"`),
		one(`"id":11,"token":"` + heldValue + `"`), one(`"id":9,"token":"` + credentialValue + `","expiresAt":"2026-11-01T12:00:00Z"`),
		`{"data":[{"id":5,"expiresAt":"2026-11-01T12:00:00Z"},{"id":6,"expiresAt":"2026-11-01T12:00:00Z"}]}`, `{"data":[{"id":5},{"id":6,"token":"` + heldValue + `"},{"id":11,"token":"` + otherValue + `"}]}`,
		`{"data":[{"id":1}],"pagination":{"cursor":"next","limit":1,"total":2}}`, `{"data":[{"id":1}],"pagination":{"limit":1,"total":2}}`,
		`{"data":[{"id":0}]}`, `{"data":[{"id":-5}]}`, `{"data":null}`, `{}`, `null`, `[]`, `{"data":[[]]}`, `{"data":[{"id":"` + codacytest.Marker + `"}]}`, denied, "<html>",
		one(`"id":5,"name":"` + strings.Repeat("n", 300) + `","token":"` + heldValue + `"`), one(`"id":9223372036854775807,"name":"ts-inst01-x"`), `{"data":[{"id":9223372036854775808}]}`,
	}
	for doing := range uint8(doings) {
		for _, kind := range []bool{false, true} {
			for i, list := range lists {
				create, made := account, http.StatusOK
				if kind {
					create, made = repository, http.StatusCreated
				}
				f.Add(doing, kind, uint8(i*5), made, create, http.StatusOK, list, none, http.StatusNoContent, "", http.StatusOK, user, http.StatusOK, admin, isJSON)
				f.Add(doing, kind, uint8(i), http.StatusBadRequest, denied, http.StatusOK, list, list, http.StatusNotFound, denied, http.StatusOK, user, http.StatusOK, admin, isJSON)
			}
			for _, status := range []int{200, 201, 302, 401, 403, 404, 409, 422, 429, 500, 503} {
				f.Add(doing, kind, uint8(7), status, denied, status, denied, none, status, denied, status, user, status, admin, isJSON)
				f.Add(doing, kind, uint8(9), status, denied, status, denied, none, status, denied, 200, user, status, admin, "text/html")
				f.Add(doing, kind, uint8(0), status, denied, status, denied, none, status, denied, 200, user, 200, admin, isJSON)
			}
		}
	}
	f.Add(uint8(doTokens), false, uint8(0), 200, "", 404, `{"error":"`+codacytest.Marker+`"}`, "", 204, "", 404, `{"error":"`+codacytest.Marker+`"}`, 200, admin, isJSON)
	for _, value := range []string{"abcd****", "****************", "", "x", "abcdefghij 0123456789", "abcdefghij0123456789\\n", "aaaaaaaaaaaaaaaaaaaaaaaa"} {
		f.Add(uint8(doMint), false, uint8(0), 200, `{"id":5,"token":"`+value+`"}`, 200, none, none, 204, "", 200, user, 200, admin, isJSON)
		f.Add(uint8(doMint), true, uint8(1), 201, `{"data":{"id":5,"token":"`+value+`"}}`, 200, none, none, 204, "", 200, user, 200, admin, isJSON)
	}
	f.Add(uint8(doTokens), true, uint8(0), 201, repository, 404, denied, none, 204, "", 200, user, 201, admin, isJSON)
	f.Add(uint8(doMint), true, uint8(0), 201, `{"data":{"id":5,"token":"abcdefghij0123456789","name":"`+strings.Repeat("n", 300)+`"}}`, 200, none, none, 204, "", 200, user, 200, admin, isJSON)
	f.Add(uint8(doIdentify), false, uint8(0), 200, "", 200, none, none, 204, "", 200, `{"data":{"id":7,"name":"`+strings.Repeat("ä", 300)+`","mainEmail":"","isActive":true}}`, 200, admin, isJSON)

	service := &spoken{}
	running, err := codacytest.StartTLS(service, "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = running.Close() })
	var transport http.RoundTripper
	f.Fuzz(func(t *testing.T, doing uint8, project bool, seen uint8, createStatus int, create string, listStatus int, list, nextList string,
		deleteStatus int, deleted string, userStatus int, user string, repositoryStatus int, repository, contentType string,
	) {
		contentType = strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return -1 // No header can have it.
			}
			return r
		}, contentType)
		service.tell(map[string][]int{
			http.MethodPost: {status(createStatus)}, http.MethodGet: {status(listStatus)}, http.MethodDelete: {status(deleteStatus)},
			"user": {status(userStatus)}, "repository": {status(repositoryStatus)},
		}, map[string][]string{
			http.MethodPost: {create}, http.MethodGet: {list, nextList}, http.MethodDelete: {deleted}, "user": {user}, "repository": {repository},
		}, http.Header{"Content-Type": {contentType}})

		clock := clocktesting.NewFakePassiveClock(fuzzNow)
		services := NewServices(Options{Clock: clock, InstallationID: "inst01", Timeout: 20 * time.Second, RequestLifetime: 2 * time.Minute, BreakerPause: time.Hour})
		connection, err := newConnection(services, Key{Kind: v1alpha1.KindClusterTokenIssuer}, Config{
			URL: running.URL, CABundle: running.CAPEM, Credential: token.NewValue(credentialValue), Interval: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		if transport == nil {
			transport = connection.client.http.Transport
		}
		connection.client.http.Transport = transport // One is enough for all that are alike.
		flag := func(bit uint8) *bool {
			on := seen&(2<<bit) != 0
			return map[bool]*bool{true: &on, false: nil}[seen&(1<<bit) != 0]
		}
		capabilities := v1alpha1.TokenCapabilities{Names: flag(0), EchoedExpiration: flag(2), ListedValues: flag(4)}
		connection.Believe(v1alpha1.IssuerAccount{ID: "7"}, &v1alpha1.Capabilities{AccountTokens: capabilities, ProjectTokens: capabilities})

		d := &deed{T: t, connection: connection, service: service, url: running.URL, kind: v1alpha1.KindAccountToken, seen: capabilities, flags: seen}
		if project {
			d.kind, d.subject = v1alpha1.KindProjectToken, "gh/acme/api"
		}
		switch doing % doings {
		case doMint:
			d.mint()
		case doSettle:
			d.settle(fuzzNow)
		case doSettleLate:
			d.settle(fuzzNow.Add(time.Hour))
		case doRevoke:
			d.revoke("5")
		case doRevokeAttempt:
			d.revoke("")
		case doFind:
			d.find()
		case doTokens:
			d.tokens()
		case doLook:
			d.look()
		case doIdentify:
			d.identify()
		}
		if n := len(service.heard()); n > 20 {
			t.Errorf("%d requests were made", n)
		}
		response := &http.Response{Header: http.Header{"Retry-After": {contentType}}}
		if wait := connection.client.retryAfter(response); wait < 0 || wait > time.Hour {
			t.Errorf("%s are to be waited", wait)
		}
	})
}

// status is one that a server can send, other than to say that the answer is yet to come.
func status(number int) int {
	const first, beyond = 200, 1000
	if number < first || number >= beyond {
		return first + int(uint(number)%uint(beyond-first))
	}
	return number
}

// deed is something that is done with the service.
type deed struct {
	*testing.T
	connection         *Connection
	service            *spoken
	url, kind, subject string
	seen               v1alpha1.TokenCapabilities
	flags              uint8
}

// listedHere are the tokens that the lists since the first requests had, in another reading of them; ok: they are complete.
func (d *deed) listedHere(since int) (tokens []entry, ok bool) {
	d.Helper()
	known := map[int64]bool{}
	for _, answer := range d.service.heard()[since:] {
		if answer.method != http.MethodGet || !strings.HasSuffix(answer.path, "/tokens") {
			continue
		}
		var page struct {
			Data       []entry `json:"data"`
			Pagination *struct {
				Cursor *string `json:"cursor"`
				Total  *int32  `json:"total"`
			} `json:"pagination"`
		}
		if answer.status != http.StatusOK || !answer.json || json.Unmarshal([]byte(answer.body), &page) != nil || page.Data == nil {
			return nil, false
		}
		for _, t := range page.Data {
			if t.ID <= 0 {
				return nil, false
			}
			if !known[t.ID] {
				known[t.ID] = true
				tokens = append(tokens, t)
			}
		}
		if page.Pagination == nil || page.Pagination.Cursor == nil || *page.Pagination.Cursor == "" {
			return tokens, page.Pagination == nil || page.Pagination.Total == nil || int(*page.Pagination.Total) <= len(tokens)
		}
	}
	return nil, false
}

// entry is a token in a list.
type entry struct {
	ID        int64      `json:"id"`
	Name      string     `json:"name"`
	Token     string     `json:"token"`
	ExpiresAt *time.Time `json:"expiresAt"`
}

func (e *entry) id() string { return strconv.FormatInt(e.ID, 10) }

func (e *entry) expires(at time.Time) bool { return e.ExpiresAt != nil && e.ExpiresAt.Equal(at) }

func with(tokens []entry, id string) *entry {
	for i := range tokens {
		if tokens[i].id() == id {
			return &tokens[i]
		}
	}
	return nil
}

// count the requests of a method so far.
func (d *deed) count(method string) (n int) {
	for _, answer := range d.service.heard() {
		if answer.method == method {
			n++
		}
	}
	return n
}

// wantError holds an error to what all of them promise.
func (d *deed) wantError(err error) *issuer.Error {
	d.Helper()
	known := new(issuer.Error)
	if !errors.As(err, &known) || known == nil {
		d.Fatalf("the error is a %T, want an *issuer.Error", err)
	}
	if known.Reason == "" || !strings.HasSuffix(known.Message, ".") && !strings.HasSuffix(known.Message, "?") {
		d.Errorf("the error has the reason %q, or is no sentence", known.Reason)
	}
	if known.RetryAfter < 0 || known.RetryAfter > time.Hour {
		d.Errorf("it is to be tried again in %s", known.RetryAfter)
	}
	if strings.Contains(known.Message, "left alone") && d.connection.Unavailable() == nil {
		d.Error("it says that the service is left alone, and it is not")
	}
	d.wantSilent(known.Message)
	return known
}

// wantSilent: a text has nothing of what the service said but what is foreseen.
func (d *deed) wantSilent(text string) {
	d.Helper()
	account := d.connection.Account()
	for _, secret := range []string{credentialValue, heldValue, otherValue, codacytest.Marker} {
		if strings.Contains(text, secret) && !strings.Contains(account.Name+account.Email, secret) {
			d.Fatal("an error shows a value, or words of the service")
		}
	}
	for _, shown := range []string{account.Name, account.Email, account.ID} {
		if shown != "" {
			text = strings.ReplaceAll(text, shown, "")
		}
	}
	for word := range constants {
		text = strings.ReplaceAll(text, word, "")
	}
	const telling = 16
	for _, answer := range d.service.heard() {
		for i := 0; i+telling <= len(answer.body); i++ {
			part := answer.body[i : i+telling]
			if strings.ContainsFunc(part, func(r rune) bool { return r >= 'A' && r <= 'z' || r >= 0x80 }) && strings.Contains(text, part) {
				d.Fatalf("an error repeats %d bytes of an answer", telling)
			}
		}
	}
}

// wantHidden: no way to print what is returned shows a value. A name may be anything, and so it may be one.
func (d *deed) wantHidden(thing any, value token.Value, name string) {
	d.Helper()
	secrets := []string{credentialValue, heldValue, otherValue}
	if whole(value) && strings.Trim(value.Reveal(), "0123456789") != "" { // Else it may be an id.
		secrets = append(secrets, value.Reveal())
	}
	for _, format := range []string{"%v", "%+v", "%#v"} {
		printed := fmt.Sprintf(format, thing)
		for _, secret := range secrets {
			if strings.Contains(printed, secret) && !strings.Contains(name, secret) {
				d.Fatalf("a %T with %s shows a value", thing, format)
			}
		}
	}
}

func (d *deed) mint() {
	d.Helper()
	request := issuer.Request{Kind: d.kind, Subject: d.subject, UID: resource, Revision: 3, Now: fuzzNow, Lifetime: 90 * 24 * time.Hour}
	attempt, err := d.connection.Prepare(d.Context(), request)
	if d.count(http.MethodPost)+d.count(http.MethodDelete) > 0 {
		d.Error("a token was made or ended before the attempt was recorded")
	}
	if err != nil {
		d.wantError(err)
		return
	}
	recognized := d.seen.Names != nil && *d.seen.Names || d.seen.EchoedExpiration != nil && *d.seen.EchoedExpiration
	record := &attempt.Record
	if tokens, complete := d.listedHere(0); !recognized {
		if !complete || !record.Listed || len(record.ListedIDs) != len(tokens) {
			d.Errorf("an attempt was prepared with %d ids of a list that has %d, or is not complete", len(record.ListedIDs), len(tokens))
		}
		for i := range tokens {
			if !slices.Contains(record.ListedIDs, v1alpha1.ServiceID(tokens[i].id())) {
				d.Errorf("the id %d is not recorded", tokens[i].ID)
			}
		}
	}
	if record.URL != d.url || record.AccountID != "7" || record.ExpirationTime == nil || record.Revision != 3 || record.ID != "" {
		d.Error("the record does not say what is asked for")
	}
	before := len(d.service.heard())
	minted, err := d.connection.Mint(d.Context(), attempt)
	attempt.Release()
	creates := slices.DeleteFunc(slices.Clone(d.service.heard()[before:]), func(s said) bool { return s.method != http.MethodPost })
	switch {
	case len(creates) == 0 || len(creates) > 2:
		d.Fatalf("%d requests for a token were made", len(creates))
	case len(creates) == 2 && (creates[0].status != http.StatusBadRequest || recognized):
		d.Error("a request for a token was repeated")
	case d.count(http.MethodDelete) > 0:
		d.Error("a token was ended")
	}
	last := creates[len(creates)-1]
	if err != nil {
		if known := d.wantError(err); known.NothingMinted && last.status < 300 {
			d.Error("the service said that it made a token, and it is held for none")
		}
		return
	}
	var answer struct {
		entry
		Data entry `json:"data"`
	}
	want := http.StatusOK
	if d.kind == v1alpha1.KindProjectToken {
		want = http.StatusCreated
	}
	if err := json.Unmarshal([]byte(last.body), &answer); err != nil || !last.json || last.status != want {
		d.Fatalf("a token came of an answer that is none, with the status %d", last.status)
	}
	if d.kind == v1alpha1.KindProjectToken {
		answer.entry = answer.Data
	}
	if minted.ID != answer.id() || minted.Value.Reveal() != answer.Token {
		d.Error("the token is another one than the service's")
	}
	d.wantToken(&minted)
}

// wantToken: a token that is returned can be written down, and is whole.
func (d *deed) wantToken(t *issuer.Token) {
	d.Helper()
	if !whole(t.Value) {
		d.Error("the token has a value that is not whole")
	}
	if number, err := strconv.ParseInt(t.ID, 10, 64); err != nil || number <= 0 {
		d.Errorf("the token has the id %q", t.ID)
	}
	if len([]rune(t.Name)) > mostName {
		d.Errorf("the token has a name of %d bytes, which the status has no room for", len(t.Name))
	}
	d.wantHidden(*t, t.Value, t.Name)
}

func (d *deed) settle(now time.Time) {
	d.Helper()
	record := v1alpha1.PendingToken{Revision: 3, StartTime: metav1.NewTime(fuzzNow.Add(-time.Minute)), URL: d.url, AccountID: "7", ExpirationTime: &metav1.Time{Time: fuzzExpires}}
	if d.kind == v1alpha1.KindProjectToken {
		record.Name = askedFor
	}
	if record.Listed = d.flags&64 != 0; record.Listed {
		record.ListedIDs = []v1alpha1.ServiceID{"1", "6"}
	}
	inquiry := issuer.Inquiry{Kind: d.kind, Subject: d.subject, UID: resource, Record: record, Now: now, Known: knownHere, Disowned: disownedHere}
	if d.flags&128 != 0 {
		inquiry.InSecret = token.NewValue(heldValue)
	}
	settlement, err := d.connection.Settle(d.Context(), inquiry)
	if d.count(http.MethodPost)+d.count(http.MethodDelete) > 0 {
		d.Error("a settlement made or ended a token")
	}
	if err != nil {
		d.wantError(err)
		return
	}
	tokens, complete := d.listedHere(0)
	if !complete {
		d.Fatal("something came of a list that is not complete")
	}
	found, outcomes := settlement.Lost, 0
	for _, came := range []bool{settlement.Token != nil, settlement.Lost != "", !settlement.NotBefore.IsZero(), len(settlement.Ambiguous) > 0} {
		if came {
			outcomes++
		}
	}
	if outcomes > 1 {
		d.Errorf("%d things came of an attempt at once", outcomes)
	}
	if outcomes == 0 || !settlement.NotBefore.IsZero() {
		for i := range tokens {
			if record.Name != "" && tokens[i].Name == record.Name {
				d.Error("a token with the very name was not found")
			}
		}
	}
	if !settlement.NotBefore.IsZero() && !settlement.NotBefore.After(now) || outcomes == 0 && now.Equal(fuzzNow) {
		d.Error("it is given up while a token may still come in, or waited for past that")
	}
	if settlement.Token != nil {
		found = settlement.Token.ID
		d.wantToken(settlement.Token)
	}
	if found != "" {
		d.wantMine(tokens, found, &inquiry)
	}
	if settlement.Token != nil && settlement.Token.Value.Reveal() != inquiry.InSecret.Reveal() && with(tokens, found).Token != settlement.Token.Value.Reveal() {
		d.Error("the value is neither what the list shows of the token nor what the Secret holds")
	}
	for _, id := range settlement.Ambiguous {
		listed := with(tokens, id)
		if _, known := knownHere(id); listed == nil || known || disownedHere(id) || slices.Contains(record.ListedIDs, v1alpha1.ServiceID(id)) {
			d.Errorf("%s is not in the list, or somebody's, and is said to be perhaps the attempt's", id)
		} else if d.isCredential(listed) && inquiry.InSecret.Reveal() != listed.Token {
			d.Error("the credential is said to be perhaps the attempt's")
		}
	}
}

func (d *deed) isCredential(t *entry) bool {
	return d.kind == v1alpha1.KindAccountToken && t.Token == credentialValue
}

// wantMine: a token that is claimed has the very name, or is nobody's, with no other name, and the exact expiry, or is the new
// one that has what the Secret holds.
func (d *deed) wantMine(tokens []entry, id string, inquiry *issuer.Inquiry) {
	d.Helper()
	record := &inquiry.Record
	claimed := with(tokens, id)
	_, known := knownHere(id)
	switch {
	case claimed == nil:
		d.Fatalf("the token %s is in no list", id)
	case record.Name != "" && claimed.Name == record.Name:
	case known:
		d.Error("a token of another resource was claimed")
	case disownedHere(id):
		d.Error("a token was claimed that the user said is somebody else's")
	case slices.Contains(record.ListedIDs, v1alpha1.ServiceID(id)):
		d.Error("a token was claimed that was there before")
	case d.isCredential(claimed) && inquiry.InSecret.Reveal() != claimed.Token:
		d.Error("the issuer's credential was claimed")
	case claimed.expires(record.ExpirationTime.Time):
		if record.Name != "" && claimed.Name != "" {
			d.Error("a token with another name was claimed")
		}
		for i := range tokens {
			other := &tokens[i]
			_, known := knownHere(other.id())
			stranger := known || disownedHere(other.id()) || slices.Contains(record.ListedIDs, v1alpha1.ServiceID(other.id())) || d.isCredential(other)
			named := record.Name != "" && other.Name != ""
			if other != claimed && other.expires(record.ExpirationTime.Time) && !stranger && !named {
				d.Error("one of several was claimed")
			}
		}
	case !record.Listed || claimed.Token != heldValue || inquiry.InSecret.IsEmpty() || strings.HasPrefix(claimed.Name, "ts-inst01-"):
		d.Error("a token was claimed that nothing tells from others")
	}
}

func (d *deed) revoke(id string) {
	d.Helper()
	reference := issuer.Reference{
		Kind: d.kind, Subject: d.subject, UID: resource, ID: id, ExpirationTime: fuzzExpires, URL: d.url, AccountID: "7", Known: knownHere, Disowned: disownedHere,
	}
	if d.kind == v1alpha1.KindProjectToken {
		reference.Name = askedFor
	}
	err := d.connection.Revoke(d.Context(), reference)
	if d.count(http.MethodPost) > 0 {
		d.Error("a revocation made a token")
	}
	heard := d.service.heard()
	if err != nil {
		d.wantError(err)
	}
	at := slices.IndexFunc(heard, func(s said) bool { return s.method == http.MethodDelete })
	tokens, complete := d.listedHere(0)
	if at < 0 {
		switch {
		case err != nil:
		case id != "" || !complete:
			d.Error("a token counts as revoked that the service was not asked to revoke")
		default:
			for i := range tokens {
				if d.wouldBeMine(&tokens[i], &reference) {
					d.Error("a token of the attempt is left")
				}
			}
		}
		return
	}
	ended := heard[at].path[strings.LastIndex(heard[at].path, "/")+1:]
	if id == "" {
		mine := with(tokens, ended)
		if mine == nil || !d.wouldBeMine(mine, &reference) {
			d.Fatal("a token was ended that is not provably the attempt's")
		}
		for i := range tokens {
			if other := &tokens[i]; other != mine && d.wouldBeMine(other, &reference) && mine.Name != reference.Name {
				d.Error("one of several was ended")
			}
		}
	} else if ended != id {
		d.Fatal("another token was ended")
	}
	if d.count(http.MethodDelete) > 1 {
		d.Error("it was asked twice")
	}
	if err != nil {
		return
	}
	after, complete := d.listedHere(at)
	proven := heard[at].status == http.StatusNotFound && complete && with(after, ended) == nil
	if heard[at].status != http.StatusNoContent && !proven {
		d.Errorf("a token counts as revoked, and the answer was %d, and no list proves it", heard[at].status)
	}
}

// wouldBeMine: a token has the very name of an attempt, or its exact expiry and is nobody's.
func (d *deed) wouldBeMine(t *entry, reference *issuer.Reference) bool {
	if reference.Name != "" && t.Name == reference.Name {
		return true
	}
	_, known := knownHere(t.id())
	return t.expires(reference.ExpirationTime) && !known && !disownedHere(t.id()) && !d.isCredential(t) && (reference.Name == "" || t.Name == "")
}

func (d *deed) find() {
	d.Helper()
	left := map[string]string{"14": token.NewValue(heldValue).SHA256()}
	handmade := Handmade{Kind: d.kind, Subject: d.subject, UID: resource, Value: token.NewValue(heldValue), MayNameID: d.flags&1 != 0, Left: left, Known: knownHere}
	if d.flags&2 != 0 {
		handmade.ID = "5"
	}
	found, err := d.connection.Find(d.Context(), handmade)
	if d.count(http.MethodPost)+d.count(http.MethodDelete) > 0 {
		d.Error("a token was made or ended")
	}
	if err != nil {
		d.wantError(err)
		return
	}
	found.Release()
	tokens, complete := d.listedHere(0)
	listed := with(tokens, found.ID)
	if !complete || listed == nil {
		d.Fatal("a token was found in a list that does not have it, or is not complete")
	}
	named := d.kind == v1alpha1.KindProjectToken && handmade.MayNameID && handmade.ID == found.ID && !strings.HasPrefix(listed.Name, "ts-") &&
		!slices.ContainsFunc(tokens, func(t entry) bool { return whole(token.NewValue(t.Token)) })
	if _, known := knownHere(found.ID); known || handmade.ID != "" && handmade.ID != found.ID {
		d.Error("another token was found than the one that was named, or one that is another resource's")
	} else if listed.Token != heldValue && left[found.ID] == "" && !named {
		d.Error("a token was taken over that nothing proves to be the one")
	}
	if found.Value.Reveal() != heldValue {
		d.Error("the value is another one than was asked about")
	}
	d.wantToken(&found.Token)
}

func (d *deed) tokens() {
	d.Helper()
	all, err := d.connection.Tokens(d.Context(), d.kind, d.subject)
	if err != nil {
		d.wantError(err)
		return
	}
	tokens, complete := d.listedHere(0)
	if !complete || len(all) != len(tokens) {
		d.Fatalf("%d tokens came of a list with %d, or one that is not complete", len(all), len(tokens))
	}
	for i := range all {
		if all[i].ID != tokens[i].id() || all[i].Name != tokens[i].Name {
			d.Error("the list has another token")
		}
	}
}

func (d *deed) look() {
	d.Helper()
	ours, done, err := d.connection.Look(d.Context(), d.kind, d.subject, fuzzNow, knownHere)
	if err != nil {
		d.wantError(err)
	}
	missing, _ := d.connection.Sight(d.kind, d.subject, "5", fuzzNow.Add(-time.Hour))
	if !done || missing {
		d.Error("it was not done, or one list proves that a token is missing")
	}
	if err != nil {
		return
	}
	tokens, complete := d.listedHere(0)
	if !complete {
		d.Fatal("a list that is not complete was believed")
	}
	for _, named := range ours {
		if listed := with(tokens, named.ID); listed == nil || listed.Name != named.Name || !strings.HasPrefix(named.Name, "ts-inst01-") {
			d.Error("a token is said to be of this installation that is not")
		}
	}
}

func (d *deed) identify() {
	d.Helper()
	account, err := d.connection.Identify(context.WithoutCancel(d.Context()))
	heard := d.service.heard()
	if err != nil {
		if refused := d.wantError(err); d.connection.CredentialRefused() != refused.Stalled {
			d.Error("the credential counts as refused without a refusal, or the other way round")
		}
		return
	}
	var answer struct {
		Data struct {
			ID       int64 `json:"id"`
			IsActive bool  `json:"isActive"`
		} `json:"data"`
	}
	last := heard[len(heard)-1]
	if json.Unmarshal([]byte(last.body), &answer) != nil || last.status != http.StatusOK || !last.json || answer.Data.ID <= 0 || !answer.Data.IsActive {
		d.Fatal("the credential was accepted by an answer that does not say so")
	}
	if account.ID != strconv.FormatInt(answer.Data.ID, 10) || len(account.Name) > 253 || len(account.Email) > 320 {
		d.Error("the account is another one, or its name is longer than the status has room for")
	}
}
