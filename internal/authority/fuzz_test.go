package authority

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/metrics"
)

// conditions of the replica that is asked.
const (
	inOrder    uint8 = iota
	cutOff           // The API server does not answer.
	busy             // No more lookups are allowed.
	stale            // It has been without a watch for too long.
	conditions       // How many there are.
)

// held is a token that somebody may present, and what is to be said of it.
type held struct {
	value, kind, issuer, id string
	// account, with what it may reach; or project.
	account string
	access  []string
	project string
	issued  time.Time
	// live: it is accepted. unindexed: only a lookup can tell.
	live, unindexed bool
}

func (h *held) subject() string {
	if h.kind == v1alpha1.KindAccountToken {
		return "tokensteward:account:" + h.account
	}
	return "tokensteward:project:" + h.project
}

func (h *held) scope() string {
	if h.kind == v1alpha1.KindAccountToken {
		return strings.Join(h.access, " ")
	}
	return h.project
}

// reaches: provider, organization and repository, or the first two of them, or none.
func (h *held) reaches(target []string) bool {
	if len(target) == 0 {
		return true
	}
	if ascii := "ABCDEFGHIJKLMNOPQRSTUVWXYZ"; target[0] == "gh" || target[0] == "gl" || target[0] == "bb" {
		target = slices.Clone(target)
		for i := range target[1:] {
			for _, letter := range ascii {
				target[1+i] = strings.ReplaceAll(target[1+i], string(letter), string(letter-'A'+'a'))
			}
		}
	}
	if h.kind == v1alpha1.KindProjectToken {
		return strings.Join(target, "/") == h.project
	}
	return slices.Contains(h.access, strings.Join(target, "/")) || slices.Contains(h.access, strings.Join(target[:2], "/"))
}

// ledger is a replica with tokens of every sort. In a request their values stand under their names, in braces.
type ledger struct {
	*replica
	held map[string]*held
	// expires is when the live ones do.
	expires time.Time
	spell   *strings.Replacer
}

func newLedger(t *testing.T) *ledger {
	t.Helper()
	r := newReplica(t)
	now := r.clock.Now()
	w := newWorld(t, now)
	access := map[string][]string{"alice": {"gh/acme"}, "kim": {"ghe/Kite/web", "gl/kite"}}
	w.issuer.Spec.BuiltIn.Accounts = append(w.issuer.Spec.BuiltIn.Accounts, v1alpha1.Account{Name: "kim", Access: []v1alpha1.AccessPath{"ghe/Kite/web", "gl/kite"}})
	other := w.issuer.DeepCopy()
	other.Name = "other"
	ungranted := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-b"}}
	for _, store := range []client.Client{r.cached, r.server} {
		r.knows(store, w.namespace, ungranted, w.issuer, other, w.api)
	}
	l := &ledger{replica: r, expires: w.expires, held: map[string]*held{
		"api":     {value: w.apiValue, kind: w.api.Kind(), issuer: "main", id: w.api.Status.Token.ID, project: "gh/acme/api", issued: now, live: true},
		"unknown": {value: w.mint(t, w.api.DeepCopy(), now), kind: w.api.Kind(), issuer: "main", unindexed: true},
	}}
	account := func(name string, live, unindexed bool, change func(*v1alpha1.AccountToken)) *held {
		made := w.alice.DeepCopy()
		made.Name, made.UID = name, types.UID("uid-"+name)
		h := &held{value: w.mint(t, made, now), kind: made.Kind(), id: made.Status.Token.ID, issued: now, live: live, unindexed: unindexed}
		change(made)
		h.issuer, h.account, h.access = made.Spec.IssuerRef.Name, made.Spec.Account, access[made.Spec.Account]
		if r.knows(r.server, made); name != "late" {
			r.knows(r.cached, made)
		}
		l.held[name] = h
		return h
	}
	account("alice", true, false, func(*v1alpha1.AccountToken) {})
	account("kim", true, false, func(a *v1alpha1.AccountToken) { a.Spec.Account = "kim" })
	account("other", true, false, func(a *v1alpha1.AccountToken) { a.Spec.IssuerRef.Name = "other" })
	account("late", true, true, func(*v1alpha1.AccountToken) {})
	account("open", true, false, func(a *v1alpha1.AccountToken) {
		current := a.Status.Token
		a.Status.Pending = &v1alpha1.PendingToken{ID: current.ID, Revision: 1, SHA256: current.SHA256, StartTime: current.IssueTime, ExpirationTime: current.ExpirationTime}
		a.Status.Token = nil
	})
	account("replaced", true, false, func(a *v1alpha1.AccountToken) {
		current := a.Status.Token
		a.Status.PreviousTokens = []v1alpha1.PreviousToken{{ID: current.ID, Revision: 1, SHA256: current.SHA256, ExpirationTime: current.ExpirationTime}}
		a.Status.Token = nil
	}).issued = time.Time{} // Nothing keeps it.
	account("expired", false, false, func(a *v1alpha1.AccountToken) { a.Status.Token.ExpirationTime = &metav1.Time{Time: now} })
	account("nobody", false, false, func(a *v1alpha1.AccountToken) { a.Spec.Account = "nobody" })
	account("ungranted", false, false, func(a *v1alpha1.AccountToken) { a.Namespace = "team-b" })
	account("unlimited", false, true, func(a *v1alpha1.AccountToken) { a.Status.Token.ExpirationTime = nil })
	account("copied", false, true, func(a *v1alpha1.AccountToken) { a.Status.OwnerUID = "another" })
	account("codacy", false, true, func(a *v1alpha1.AccountToken) { a.Status.Token.URL = v1alpha1.CodacyCloud })
	account("namespaced", false, true, func(a *v1alpha1.AccountToken) { a.Spec.IssuerRef.Kind = v1alpha1.KindTokenIssuer })

	var spelled []string
	for name, h := range l.held {
		spelled = append(spelled, "{"+name+"}", h.value)
	}
	l.spell = strings.NewReplacer(spelled...)
	return l
}

// Every answer is compared with what another reading of docs/authority.md says that it must be, to the last header.
func FuzzTheAuthorityAcceptsWhatTheLedgerHasAndAnswersNothingElse(f *testing.F) {
	const form, plain = "Content-Type: application/x-www-form-urlencoded", ""
	for _, token := range []string{"alice", "late", "other", "open", "replaced", "expired", "unlimited", "copied", "codacy", "nobody", "ungranted", "namespaced", "kim", "api", "unknown"} {
		f.Add(inOrder, "GET", "/v1/issuers/main/authorize/gh/acme/api", "Authorization: Bearer {"+token+"}", "")
		f.Add(cutOff, "POST", "/v1/issuers/main/authorize", "api-token: {"+token+"}", "")
		f.Add(inOrder, "POST", "/v1/issuers/main/introspect", form, "token={"+token+"}&token_type_hint=access_token")
		f.Add(inOrder, "POST", "/v1/issuers/main/tokenreview", "", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"{`+token+`}"}}`)
	}
	for _, target := range []string{
		"/v1/issuers/other/authorize", "/v1/issuers/main/authorize/gl/acme/web", "/v1/issuers/main/authorize/GH/acme/web", "/v1/issuers/main/authorize/gh/ACME/%41pi",
		"/v1/issuers/main/authorize/gh/acme/..", "/v1/issuers/main/authorize/gh/acme/%2e%2e", "/v1/issuers/main/authorize/gh/acme%2Fweb", "/v1/issuers/main/authorize/gh//web",
		"/v1/issuers/main/authorize/gh", "/v1/issuers/main/authorize/gh/acme/web/x", "/v1/issuers/main/authorize/gh/acme/", "/v1/issuers/main/authorize?token={alice}",
		"/v1/issuers/main/mint", "/v2/issuers/main/authorize", "//v1/issuers/main/authorize", "http://elsewhere.example/v1/issuers/main/authorize", "*", "/",
		"/v1/issuers/main/authorize/gh/acme%00/web", "/v1/issuers/main/authorize/gh/acme/a\\b", "/v1/issuers/main/authorize/gh/acme/a%5cb", "/v1/issuers/main/authorize/gh/%C3%A4cme", "/healthz", "/v1/issuers/%6dain/authorize",
	} {
		f.Add(inOrder, "GET", target, "api-token: {alice}", "")
	}
	f.Add(inOrder, "GET", "/v1/issuers/main/authorize/ghe/%E2%84%AAite/web", "api-token: {kim}", "")
	f.Add(inOrder, "GET", "/v1/issuers/main/authorize/gl/%E2%84%AAite/web", "api-token: {kim}", "")
	for _, headers := range []string{
		"api-token: {alice}\r\nproject-token: {api}", "api-token: {alice}\r\napi-token: {alice}", "api-token: {alice}\r\nAuthorization: Bearer {alice}", "api-token: {api}",
		"project-token: {alice}", "Authorization: Basic {alice}", "Authorization: bearer  {alice}", "Authorization: {alice}", "authorization: BEARER {api}", "api-token:\t{alice} ",
		"Api_Token: {alice}", "api-token: {alice},{alice}", "api-token: {alice}\r\nX-Token-Account: root\r\nX-Token-Kind: project", "api-token: x", "Cookie: api-token={alice}",
	} {
		f.Add(inOrder, "PUT", "/v1/issuers/main/authorize", headers, "{alice}")
	}
	for condition := range conditions {
		f.Add(condition, "GET", "/v1/issuers/main/authorize", "project-token: {unknown}", "")
		f.Add(condition, "POST", "/v1/issuers/main/introspect", form, "token={late}")
		f.Add(condition, "POST", "/v1/issuers/main/introspect", form, "token=x")
		f.Add(condition, "POST", "/v1/issuers/main/tokenreview", "", `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":{"token":"{late}"}}`)
	}
	for _, body := range []string{"", "token={alice}&token={alice}", "token=%zz", "token=;", "token=" + strings.Repeat("a", maxBodyBytes), "token={alice}\x00", "Token={alice}"} {
		f.Add(inOrder, "POST", "/v1/issuers/main/introspect", form, body)
	}
	f.Add(inOrder, "POST", "/v1/issuers/main/introspect?token={alice}", form, "token={alice}")
	f.Add(inOrder, "POST", "/v1/issuers/main/introspect", form+"; charset=utf-8\r\nTransfer-Encoding: chunked", "5\r\ntoken\r\n0\r\n\r\n")
	f.Add(inOrder, "POST", "/v1/issuers/main/introspect", "Content-Type: multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n{alice}\r\n--x--")
	f.Add(inOrder, "GET", "/v1/issuers/main/introspect", "api-token: {alice}", "")
	f.Add(inOrder, "DELETE", "/v1/issuers/main/tokenreview", plain, "")
	for _, body := range []string{"null", "[]", `{"apiVersion":"v1","kind":"Pod"}`, `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview"}{}`, `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":["{alice}"]}}`} {
		f.Add(inOrder, "POST", "/v1/issuers/main/tokenreview", plain, body)
	}

	var l *ledger
	f.Fuzz(func(t *testing.T, condition uint8, method, target, headers, body string) {
		if l == nil {
			l = newLedger(t)
		}
		body = l.spell.Replace(body)
		raw := l.spell.Replace(method+" "+target+" HTTP/1.1\r\nHost: authority\r\n"+headers) + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
		request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return // The server of the standard library answers that, and the handler never sees it.
		}
		sent, bodyErr := io.ReadAll(request.Body)
		request.Body = io.NopCloser(io.MultiReader(bytes.NewReader(sent), broken{bodyErr}))

		l.unknown, l.limiter, l.failure = newUnknown(l.clock), rate.NewLimiter(rate.Inf, 1), nil
		l.freshness = NewFreshness(l.clock)
		switch condition %= conditions; condition {
		case cutOff:
			l.failure = errors.New("the API server is away")
		case busy:
			l.limiter = rate.NewLimiter(0, 0)
		case stale:
			l.maxStaleness = -1
			defer func() { l.maxStaleness = 30 * time.Second }()
		}
		recorder := httptest.NewRecorder()
		l.Handler().ServeHTTP(recorder, request)
		got := answer{recorder.Code, recorder.Header(), recorder.Body.String()}
		if connection := got.header.Values("Connection"); len(connection) > 0 {
			if !slices.Equal(connection, []string{"close"}) || (len(request.TransferEncoding) == 0 && request.ProtoAtLeast(1, 1)) {
				t.Errorf("the connection is told %q", connection)
			}
			got.header.Del("Connection") // It depends on the request's form alone.
		}
		want, presented := l.oracle(request, string(sent), bodyErr)
		h := l.find(presented)
		switch {
		case h != nil && (condition == stale || condition != inOrder && h.unindexed):
			want = []answer{cannotTell()}
		case condition == stale && want[0].status == http.StatusOK, condition != inOrder && tokenLike.MatchString(presented):
			want = append(want, cannotTell())
		}
		if !slices.ContainsFunc(want, got.is) {
			t.Errorf("%d with the headers %q, want %d with %q; the bodies are the same: %t",
				got.status, l.masked(got.header), want[0].status, l.masked(want[0].header), got.body == want[0].body)
		}
		for name, h := range l.held {
			for _, part := range []string{h.value[:20], h.value[16:36], h.value[len(h.value)-20:]} {
				if strings.Contains(got.body, part) || strings.Contains(strings.Join(flat(got.header), "\n"), part) {
					t.Errorf("the answer has a part of the token %q", name)
				}
			}
		}
		wantBoundedMetrics(t)
	})
}

// broken ends a body as it ended when it was read before.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) {
	if b.err == nil {
		return 0, io.EOF
	}
	return 0, b.err
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) is(other answer) bool {
	return a.status == other.status && a.body == other.body && reflect.DeepEqual(a.header, other.header)
}

func flat(header http.Header) (all []string) {
	for name, values := range header {
		all = append(append(all, name), values...)
	}
	return all
}

// masked is a header that can be shown.
func (l *ledger) masked(header http.Header) http.Header {
	shown := maps.Clone(header)
	for name, values := range shown {
		for _, h := range l.held {
			if strings.Contains(strings.Join(values, " "), h.value[10:30]) {
				shown[name] = []string{"a token"}
			}
		}
	}
	return shown
}

var (
	// tokenLike is what may be a token, but for the checksum.
	tokenLike = regexp.MustCompile(`^ts[ap]_[0-9A-Za-z]{49}$`)
	bearer    = regexp.MustCompile(`^(?i:bearer) (?s:(.*))$`)
)

func said(status int, body string, more map[string]string) answer {
	header := http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}
	for name, value := range more {
		header.Set(name, value)
	}
	return answer{status, header, body}
}

func no() []answer {
	return []answer{said(http.StatusUnauthorized, "{\"error\":\"not found\"}\n", map[string]string{"WWW-Authenticate": `Bearer realm="tokensteward"`})}
}

func cannotTell() answer {
	return said(http.StatusServiceUnavailable, "{\"error\":\"can't tell now, try again\"}\n", map[string]string{"Retry-After": "1"})
}

func misunderstood() []answer {
	return []answer{
		said(http.StatusBadRequest, "{\"error\":\"invalid_request\"}\n", nil),
		said(http.StatusBadRequest, "{\"error\":\"invalid_request\",\"error_description\":\"send exactly one token, in the form body\"}\n", nil),
	}
}

// oracle is what docs/authority.md makes of a request to a replica that can tell: the answers that are right, and the token
// that was presented as it should be.
func (l *ledger) oracle(request *http.Request, body string, bodyErr error) (want []answer, presented string) {
	segments := strings.Split(request.URL.EscapedPath(), "/")
	for i, segment := range segments {
		text, err := url.PathUnescape(segment)
		if err != nil || strings.ContainsAny(text, `/\`) || text == "." || text == ".." || (text == "") != (i == 0) {
			return no(), ""
		}
		for _, b := range []byte(text) {
			if b < '!' || b > '~' { // No name has it.
				return no(), ""
			}
		}
		segments[i] = text
	}
	if len(segments) < 5 || segments[1] != "v1" || segments[2] != "issuers" {
		return no(), ""
	}
	issuer, target := segments[3], segments[5:]
	refused := len(target) == 0 && request.Method != http.MethodPost
	switch endpoint := segments[4]; {
	case endpoint == "authorize" && (len(target) == 0 || len(target) == 2 || len(target) == 3):
		return l.oracleOfAuthorize(request.Header, issuer, target)
	case (endpoint == "introspect" || endpoint == "tokenreview") && refused:
		return []answer{{http.StatusMethodNotAllowed, http.Header{"Allow": {"POST"}}, ""}}, ""
	case endpoint == "introspect" && len(target) == 0:
		return l.oracleOfIntrospect(request, issuer, body, bodyErr)
	case endpoint == "tokenreview" && len(target) == 0:
		return l.oracleOfTokenReview(issuer, body, bodyErr)
	default:
		return no(), ""
	}
}

func (l *ledger) oracleOfAuthorize(header http.Header, issuer string, target []string) ([]answer, string) {
	kinds := map[string]string{"Api-Token": v1alpha1.KindAccountToken, "Project-Token": v1alpha1.KindProjectToken, "Authorization": ""}
	var values []string
	kind := ""
	for name, wanted := range kinds {
		for _, value := range header[name] {
			values, kind = append(values, value), wanted
		}
	}
	if len(values) != 1 {
		return no(), ""
	}
	value := values[0]
	if _, ok := header["Authorization"]; ok {
		parts := bearer.FindStringSubmatch(value)
		if parts == nil {
			return no(), ""
		}
		value = parts[1]
	}
	h := l.find(value)
	switch {
	case h == nil:
		return no(), value
	case kind != "" && kind != h.kind:
		return no(), ""
	case !h.live || h.issuer != issuer || !h.reaches(target):
		return no(), value
	case h.kind == v1alpha1.KindProjectToken:
		says := map[string]string{"X-Token-Id": h.id, "X-Token-Kind": "project", "X-Token-Account": "-", "X-Token-Project": h.project}
		return []answer{said(http.StatusOK, "{\"success\":\"token accepted\"}\n", says)}, value
	default:
		says := map[string]string{"X-Token-Id": h.id, "X-Token-Kind": "account", "X-Token-Account": h.account, "X-Token-Project": "-"}
		return []answer{said(http.StatusOK, "{\"success\":\"token accepted\"}\n", says)}, value
	}
}

func (l *ledger) oracleOfIntrospect(request *http.Request, issuer, body string, bodyErr error) ([]answer, string) {
	mediaType, _, err := mime.ParseMediaType(request.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" || request.URL.RawQuery != "" || bodyErr != nil || len(body) > maxBodyBytes {
		return misunderstood(), ""
	}
	form, err := url.ParseQuery(body)
	if err != nil || len(form["token"]) != 1 {
		return misunderstood(), ""
	}
	presented := form["token"][0]
	h := l.find(presented)
	if h == nil || !h.live || h.issuer != issuer {
		return []answer{said(http.StatusOK, "{\"active\":false}\n", nil)}, presented
	}
	issued := ""
	if !h.issued.IsZero() {
		issued = fmt.Sprintf(`,"iat":%d`, h.issued.Unix())
	}
	return []answer{said(http.StatusOK, fmt.Sprintf(`{"active":true,"sub":%q,"scope":%q,"exp":%d%s,"jti":%q,"iss":%q}`+"\n",
		h.subject(), h.scope(), l.expires.Unix(), issued, h.id, "tokensteward:issuer:"+issuer), nil)}, presented
}

func (l *ledger) oracleOfTokenReview(issuer, body string, bodyErr error) ([]answer, string) {
	reader := http.MaxBytesReader(nil, io.NopCloser(io.MultiReader(strings.NewReader(body), broken{bodyErr})), maxBodyBytes)
	var review authenticationv1.TokenReview
	if err := json.NewDecoder(reader).Decode(&review); err != nil || review.APIVersion != "authentication.k8s.io/v1" || review.Kind != "TokenReview" {
		return []answer{said(http.StatusBadRequest, "{\"error\":\"send a TokenReview of authentication.k8s.io/v1\"}\n", nil)}, ""
	}
	status := `{"user":{},"error":"not found"}`
	if h := l.find(review.Spec.Token); h != nil && h.live && h.issuer == issuer {
		status = fmt.Sprintf(`{"authenticated":true,"user":{"username":%q,"extra":{"tokensteward.io/token-id":[%q]}}}`, h.subject(), h.id)
	}
	return []answer{said(http.StatusOK, `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","metadata":{},"spec":{},"status":`+status+"}\n", nil)}, review.Spec.Token
}

func (l *ledger) find(value string) *held {
	for _, h := range l.held {
		if h.value == value {
			return h
		}
	}
	return nil
}

// wantBoundedMetrics: whatever is asked, the metric has no more labels than there are issuers and decisions.
func wantBoundedMetrics(t *testing.T) {
	t.Helper()
	const issuers, decisions = 3, 9
	counted := make(chan prometheus.Metric, 10*issuers*decisions)
	metrics.AuthorityDecisions.Collect(counted)
	if n := len(counted); n > issuers*decisions {
		t.Fatalf("the metric has %d combinations of labels", n)
	}
}
