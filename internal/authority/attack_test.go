package authority

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// patience is how long a test waits for a server that ought to do something at once.
const patience = 20 * time.Second

// attacked is an authority with a world of its own, that attackers reach over TLS.
type attacked struct {
	*replica
	*world
	address string
}

// newAttacked makes one. The server is the product's own, unless a test changes it.
func newAttacked(t *testing.T, change ...func(*http.Server)) *attacked {
	t.Helper()
	a := &attacked{replica: newReplica(t)}
	a.limiter = rate.NewLimiter(rate.Inf, 1)
	a.world = newWorld(t, a.clock.Now())
	a.knows(a.cached, a.namespace, a.issuer, a.alice, a.api)
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	certificate := newCertificate(fake.NewClientBuilder().WithScheme(scheme).Build(), clocktesting.NewFakePassiveClock(time.Now()))
	if err := certificate.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := (&Server{Authority: a.Authority, TLS: certificate.TLS()}).newServer()
	for _, change := range change {
		change(server)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	a.address = listener.Addr().String()
	return a
}

// dial opens a connection of an attacker's, which speaks one protocol.
func (a *attacked) dial(protocol string) *tls.Conn {
	a.t.Helper()
	// The certificate has a test of its own.
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}}
	opened, err := dialer.DialContext(a.t.Context(), "tcp", a.address)
	if err != nil {
		a.t.Fatal(err)
	}
	connection := opened.(*tls.Conn)
	a.t.Cleanup(func() { _ = connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		a.t.Fatal(err)
	}
	return connection
}

// send sends bytes and nothing more, and gives all that comes back until the server closes the connection.
func (a *attacked) send(request string) []byte {
	a.t.Helper()
	connection := a.dial("http/1.1")
	_, _ = io.WriteString(connection, request) // The server may have closed it before all is written.
	_ = connection.CloseWrite()
	back, err := io.ReadAll(connection)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		a.t.Error("the server keeps the connection open")
	}
	return back
}

// statuses are those of the answers in what came back.
func statuses(t *testing.T, back []byte) (found []int) {
	t.Helper()
	reader := bufio.NewReader(bytes.NewReader(back))
	for {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return found
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Errorf("an answer that is cut off: %v", err)
		}
		_ = response.Body.Close()
		found = append(found, response.StatusCode)
	}
}

// request is one of HTTP/1.1, with these lines after the first one.
func request(target string, lines ...string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: authority\r\n" + strings.Join(append(lines, "\r\n"), "\r\n")
}

const (
	anyTarget  = "/v1/issuers/main/authorize"
	introspect = "/v1/issuers/main/introspect"
)

// The attacker has a good token, and sends it in a way that somebody on the way may read as another token, or as none.
func TestATokenThatIsSmuggledInIsRefused(t *testing.T) {
	a := newAttacked(t)
	token := "Api-Token: " + a.aliceValue
	if got := statuses(t, a.send(request(anyTarget+"/gh/acme/web", token))); !slices.Equal(got, []int{http.StatusOK}) {
		t.Fatalf("the token in order: %v", got)
	}
	for name, sent := range map[string]string{
		"the header twice":                       request(anyTarget, token, token),
		"the header twice, once in capitals":     request(anyTarget, token, "API-TOKEN: "+a.aliceValue),
		"another one first":                      request(anyTarget, "Api-Token: x", token),
		"an empty one first":                     request(anyTarget, "Api-Token:", token),
		"both headers":                           request(anyTarget, token, "Project-Token: "+a.apiValue),
		"both headers, one empty":                request(anyTarget, token, "Project-Token:"),
		"a header and a bearer":                  request(anyTarget, token, "Authorization: Bearer "+a.aliceValue),
		"a header and another scheme":            request(anyTarget, token, "Authorization: Basic eDp5"),
		"two bearers":                            request(anyTarget, "Authorization: Bearer "+a.aliceValue, "Authorization: Bearer x"),
		"two in one header":                      request(anyTarget, "Api-Token: "+a.aliceValue+", "+a.aliceValue),
		"two blanks after the scheme":            request(anyTarget, "Authorization: Bearer  "+a.aliceValue),
		"a blank before the colon":               request(anyTarget, "Api-Token : "+a.aliceValue),
		"a tab before the colon":                 request(anyTarget, "Api-Token\t: "+a.aliceValue),
		"a header that goes on in the next line": request(anyTarget, "Api-Token: x", " "+a.aliceValue),
		"a NUL behind it":                        request(anyTarget, token+"\x00"),
		"a carriage return behind it":            request(anyTarget, token+"\rX: y"),
		"an underscore for the dash":             request(anyTarget, "Api_Token: "+a.aliceValue),
		"the name of a header that is none":      request(anyTarget, "X-Api-Token: "+a.aliceValue),
		"a cookie":                               request(anyTarget, "Cookie: api-token="+a.aliceValue),
		"the query":                              request(anyTarget + "?api-token=" + a.aliceValue),
		"the user of an absolute URI":            request("http://" + a.aliceValue + "@authority" + anyTarget),
		"the trailer of a body": request(anyTarget, "Transfer-Encoding: chunked", "Trailer: Api-Token") +
			"0\r\n" + token + "\r\n\r\n",
		"two hosts":            request(anyTarget, "Host: other", token),
		"a request for no URL": "OPTIONS * HTTP/1.1\r\nHost: authority\r\n" + token + "\r\n\r\n",
		"a tunnel":             "CONNECT authority:443 HTTP/1.1\r\nHost: authority:443\r\n" + token + "\r\n\r\n",
		"an older protocol":    "GET " + anyTarget + "\r\n",
		"a newer protocol":     "PRI * HTTP/2.0\r\n" + token + "\r\n\r\nSM\r\n\r\n",
	} {
		if got := statuses(t, a.send(sent)); len(got) > 1 || slices.ContainsFunc(got, accepts) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func accepts(status int) bool { return status < http.StatusBadRequest }

// The attacker has a token of gh/acme/desk, and names another target in a way that may pass for that one.
func TestATargetThatIsWrittenInDisguiseIsRefused(t *testing.T) {
	a := newAttacked(t)
	desk := a.api.DeepCopy()
	desk.Name, desk.UID, desk.Spec.Project.Repository = "desk", "uid-desk", "desk"
	value := a.mint(t, desk, a.clock.Now())
	a.knows(a.cached, desk)
	ask := func(path string) []int {
		return statuses(t, a.send(request("/v1/issuers/"+path, "Project-Token: "+value)))
	}
	for _, path := range []string{"main/authorize/gh/acme/desk", "main/authorize/gh/acme/DESK", "main/authorize/gh/acme/d%65sk"} {
		if got := ask(path); !slices.Equal(got, []int{http.StatusOK}) {
			t.Fatalf("%s: %v", path, got)
		}
	}
	for _, path := range []string{
		"main/authorize/gh/acme/web", "main/authorize/gh/acme", "main/authorize/gh",
		"main/authorize/gh/acme/desk/", "main/authorize/gh/acme/desk/.", "main/authorize/gh/acme/desk/..", "main/authorize/gh/acme/desk/../web",
		"main/authorize/gh/acme/web/../desk", "main/authorize/gh/acme/%2e", "main/authorize/gh/acme/desk/%2e%2e/web", "main/authorize/gh/acme/desk/%2E%2e",
		"main/authorize/gh/acme%2Fdesk", "main/authorize/gh%2facme%2fdesk", "main/authorize/gh/acme/desk%2f..%2fweb", "main/authorize/gh/acme/desk%5c..%5cweb",
		"main/authorize/gh/acme/desk%252f..", "main/authorize/gh//desk", "main//authorize/gh/acme/desk", "/main/authorize/gh/acme/desk",
		"main/authorize/gh/acme/desk;x=y", "main/authorize/gh/acme/desk%00", "main/authorize/gh/acme/desk%00web", "main/authorize/gh/acme/desk%0a", "main/authorize/gh/acme/%20desk",
		"main/authorize/gh/acme/desk%3fx", "main/authorize/gh/acme/desk%23x", "main/authorize/gh/acme/*", "main/authorize/*/acme/desk",
		// Which are s and k, if case is folded as in all of Unicode.
		"main/authorize/gh/acme/de%C5%BFk", "main/authorize/gh/acme/des%E2%84%AA",
		"main/authorize/gh/acme/%EF%BD%84esk", "main/authorize/gh/acme/de%CC%81sk", "main/authorize/gh/acme/%ff",
		"main%2Fauthorize/gh/acme/desk", "main/AUTHORIZE/gh/acme/desk", "MAIN/authorize/gh/acme/desk", "main%00/authorize/gh/acme/desk",
	} {
		if got := ask(path); len(got) != 1 || accepts(got[0]) {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// The attacker shares a connection with others, through a proxy, and has the authority and the proxy disagree on where the
// request ends: what is left over would be answered to the next one. It holds a good token.
func TestARequestOfWhichTheEndIsInDoubtIsTheLastOfItsConnection(t *testing.T) {
	a := newAttacked(t)
	left := request(anyTarget, "Api-Token: "+a.aliceValue)
	post := func(target string, lines ...string) string {
		return "POST" + strings.TrimPrefix(request(target, lines...), "GET")
	}
	for _, target := range []string{anyTarget, introspect} {
		for name, sent := range map[string]string{
			"a length and chunks":         post(target, "Content-Length: 5", "Transfer-Encoding: chunked") + "0\r\n\r\n" + left,
			"chunks and a length":         post(target, "Transfer-Encoding: chunked", fmt.Sprintf("Content-Length: %d", len(left)+5)) + "0\r\n\r\n" + left,
			"chunks":                      post(target, "Transfer-Encoding: chunked") + "0\r\n\r\n" + left,
			"a body in an unknown coding": post(target, "Transfer-Encoding: xchunked", "Content-Length: 0") + left,
			"two codings":                 post(target, "Transfer-Encoding: identity, chunked", "Content-Length: 0") + left,
			"the coding twice":            post(target, "Transfer-Encoding: chunked", "Transfer-Encoding: identity", "Content-Length: 0") + left,
			"the coding behind a tab":     post(target, "Transfer-Encoding:\tchunked", "Content-Length: 0") + "0\r\n\r\n" + left,
			"the coding with a control":   post(target, "Transfer-Encoding: \x0bchunked", "Content-Length: 0") + left,
			"two lengths":                 post(target, "Content-Length: 0", fmt.Sprintf("Content-Length: %d", len(left))) + left,
			"two lengths in one":          post(target, fmt.Sprintf("Content-Length: 0, %d", len(left))) + left,
			"a length with a sign":        post(target, "Content-Length: +0") + left,
			"a length below zero":         post(target, "Content-Length: -1") + left,
			"a length in hexadecimal":     post(target, "Content-Length: 0x0") + left,
			"a chunk of a wrong length":   post(target, "Transfer-Encoding: chunked") + "zz\r\n\r\n" + left,
			"a chunk longer than any":     post(target, "Transfer-Encoding: chunked") + "fffffffffffffffff\r\n\r\n" + left,
			"the request as a body":       post(target, fmt.Sprintf("Content-Length: %d", len(left))) + left,
			"chunks in an older protocol": strings.Replace(post(target, "Transfer-Encoding: chunked", "Connection: keep-alive"), "HTTP/1.1", "HTTP/1.0", 1) + "0\r\n\r\n" + left,
		} {
			if got := statuses(t, a.send(sent)); len(got) > 1 || slices.ContainsFunc(got, accepts) {
				t.Errorf("%s, %s: answered with %v", target, name, got)
			}
		}
	}
}

// The attacker reaches the port, and sends more than any request needs.
func TestWhatIsTooLargeIsNotReadToItsEnd(t *testing.T) {
	a := newAttacked(t)
	for name, sent := range map[string]string{
		"a long header":  request(anyTarget, "Api-Token: "+strings.Repeat("a", 64<<10)),
		"many headers":   request(anyTarget, slices.Repeat([]string{"Api-Token: x"}, 4<<10)...),
		"a long path":    request(anyTarget + strings.Repeat("/a", 32<<10)),
		"a long query":   request(anyTarget + "?" + strings.Repeat("a", 64<<10)),
		"a long method":  strings.Repeat("A", 64<<10) + request(anyTarget),
		"a long version": "GET / HTTP/1.1" + strings.Repeat("1", 64<<10) + "\r\n\r\n",
	} {
		if got := statuses(t, a.send(sent)); slices.ContainsFunc(got, accepts) || slices.Contains(got, http.StatusUnauthorized) || len(got) > 1 {
			t.Errorf("%s: %v", name, got)
		}
	}
	const huge = 1 << 30
	for target, begin := range map[string]string{
		anyTarget: "", introspect: "token=",
		"/v1/issuers/main/tokenreview": `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"`,
	} {
		connection := a.dial("http/1.1")
		header := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", target, huge, begin)
		if _, err := io.WriteString(connection, header); err != nil {
			t.Fatal(err)
		}
		written, chunk := 0, []byte(strings.Repeat("a", 64<<10))
		for err := error(nil); err == nil && written < huge; written += len(chunk) {
			_, err = connection.Write(chunk)
		}
		if written > 16<<20 { // Most of it is on its way when the server gives up.
			t.Errorf("%s: %d bytes of a body were taken", target, written)
		}
	}
}

// The attacker reaches the port, and never comes to an end.
func TestWhoIsSlowIsNotWaitedFor(t *testing.T) {
	product := (&Server{Authority: &Authority{}}).newServer()
	for name, timeout := range map[string]time.Duration{
		"headers": product.ReadHeaderTimeout, "requests": product.ReadTimeout, "answers": product.WriteTimeout, "idle connections": product.IdleTimeout,
	} {
		if timeout <= 0 || timeout > 2*time.Minute {
			t.Errorf("%s have %s", name, timeout)
		}
	}
	const short = 100 * time.Millisecond
	a := newAttacked(t, func(s *http.Server) {
		s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout = short, short, time.Second, short
	})
	for name, sent := range map[string]string{
		"nothing":                "",
		"half of a line":         "GET /v1/iss",
		"half of a header":       "GET " + anyTarget + " HTTP/1.1\r\nHost: a\r\nApi-Token: ",
		"headers without an end": "GET " + anyTarget + " HTTP/1.1\r\nHost: a\r\n",
		"half of a body":         "POST " + introspect + " HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ntoken=",
		"half of a chunk":        "POST " + introspect + " HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n64\r\ntoken=",
		"a body nobody reads":    "POST " + anyTarget + " HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx",
		"no next request":        request(anyTarget),
	} {
		connection := a.dial("http/1.1")
		if _, err := io.WriteString(connection, sent); err != nil {
			t.Fatal(err)
		}
		back, err := io.ReadAll(connection)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection is held", name)
		}
		if slices.ContainsFunc(statuses(t, back), accepts) {
			t.Errorf("%s: accepted", name)
		}
	}
}

// field is one of a request of HTTP/2, whose order and names a client is to keep to.
type field = hpack.HeaderField

// http2Answer sends the fields in a request of HTTP/2, and gives the status of the answer; 0 if there is none.
func (a *attacked) http2Answer(fields []field, body string) string {
	a.t.Helper()
	connection := a.dial("h2")
	if got := connection.ConnectionState().NegotiatedProtocol; got != "h2" {
		a.t.Fatalf("the server speaks %q", got)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range fields {
		if err := encoder.WriteField(f); err != nil {
			a.t.Fatal(err)
		}
	}
	framer := http2.NewFramer(connection, connection)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, err := io.WriteString(connection, http2.ClientPreface)
	err = errors.Join(err, framer.WriteSettings(), framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: body == "",
	}))
	if body != "" {
		err = errors.Join(err, framer.WriteData(1, true, []byte(body)))
	}
	if err != nil {
		a.t.Fatal(err)
	}
	for {
		frame, err := framer.ReadFrame()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			a.t.Error("the server does not answer")
		}
		if err != nil {
			return "0"
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return "0"
		}
	}
}

// The attacker has a good token, and sends fields that HTTP/2 has no place for, or a proxy would write into HTTP/1.1.
func TestARequestThatHTTP2ForbidsIsRefused(t *testing.T) {
	a := newAttacked(t)
	method, scheme, authority, path := field{Name: ":method", Value: "GET"}, field{Name: ":scheme", Value: "https"}, field{Name: ":authority", Value: "a"}, field{Name: ":path", Value: anyTarget}
	token := field{Name: "api-token", Value: a.aliceValue}
	if got := a.http2Answer([]field{method, scheme, authority, path, token}, ""); got != "200" {
		t.Fatalf("the token in order: %s", got)
	}
	for name, fields := range map[string][]field{
		"two paths":                    {method, scheme, authority, path, path, token},
		"another path first":           {method, scheme, authority, {Name: ":path", Value: "/v1/issuers/other/authorize"}, path, token},
		"a path behind the headers":    {method, scheme, authority, token, path},
		"no path":                      {method, scheme, authority, token},
		"an empty path":                {method, scheme, authority, {Name: ":path"}, token},
		"a path without a slash":       {method, scheme, authority, {Name: ":path", Value: strings.TrimPrefix(anyTarget, "/")}, token},
		"the path of no URL":           {{Name: ":method", Value: "OPTIONS"}, scheme, authority, {Name: ":path", Value: "*"}, token},
		"a line break in the path":     {method, scheme, authority, {Name: ":path", Value: anyTarget + " HTTP/1.1\r\nApi-Token: x"}, token},
		"two methods":                  {method, {Name: ":method", Value: "POST"}, scheme, authority, path, token},
		"a line break in the method":   {{Name: ":method", Value: "GET / HTTP/1.1\r\nx: y"}, scheme, authority, path, token},
		"two authorities":              {method, scheme, authority, {Name: ":authority", Value: "b"}, path, token},
		"a pseudo header that is none": {method, scheme, authority, path, {Name: ":api-token", Value: a.aliceValue}},
		"a header in capitals":         {method, scheme, authority, path, {Name: "Api-Token", Value: a.aliceValue}},
		"a line break in a header":     {method, scheme, authority, path, {Name: "x", Value: "y\r\napi-token: " + a.aliceValue}},
		"a line break in a name":       {method, scheme, authority, path, {Name: "x: y\r\napi-token", Value: a.aliceValue}},
		"a colon in a name":            {method, scheme, authority, path, {Name: "api-token: x", Value: a.aliceValue}},
		"a NUL behind the token":       {method, scheme, authority, path, {Name: "api-token", Value: a.aliceValue + "\x00"}},
		"the token twice":              {method, scheme, authority, path, token, token},
		"a connection header":          {method, scheme, authority, path, token, {Name: "connection", Value: "api-token"}},
		"a coding":                     {method, scheme, authority, path, token, {Name: "transfer-encoding", Value: "chunked"}},
		"a header too long":            {method, scheme, authority, path, token, {Name: "x", Value: strings.Repeat("a", 12<<10)}, {Name: "y", Value: strings.Repeat("b", 12<<10)}},
	} {
		if got := a.http2Answer(fields, ""); got != "0" && got < "400" {
			t.Errorf("%s: %s", name, got)
		}
	}
	form := []field{{Name: ":method", Value: "POST"}, scheme, authority, {Name: ":path", Value: introspect}, {Name: "content-type", Value: "application/x-www-form-urlencoded"}}
	if got := a.http2Answer(form, "token="+a.aliceValue); got != "200" {
		t.Fatalf("a form in order: %s", got)
	}
	if got := a.http2Answer(append(form, field{Name: "content-length", Value: "7"}), "token="+a.aliceValue); got != "0" && got < "400" {
		t.Errorf("a body longer than it says: %s", got)
	}
}

// The attacker tries tokens, some of which were or are somebody's, and looks for a difference in what comes back.
func TestTheAnswerToEveryKindOfInvalidTokenIsTheSameToTheByte(t *testing.T) {
	a := newAttacked(t)
	other := a.issuer.DeepCopy()
	other.Name = "other"
	ungranted := a.issuer.DeepCopy()
	ungranted.Name, ungranted.Spec.Grants = "ungranted", nil
	for _, store := range []client.Client{a.cached, a.server} {
		a.knows(store, other, ungranted)
	}
	resource := func(name string, change func(*v1alpha1.AccountToken)) string {
		made := a.alice.DeepCopy()
		made.Name = name
		value := a.mint(t, made, a.clock.Now())
		change(made)
		a.index.put(made)
		return value
	}
	expired := resource("expired", func(made *v1alpha1.AccountToken) { made.Status.Token.ExpirationTime.Time = a.clock.Now() })
	revoked := resource("revoked", func(made *v1alpha1.AccountToken) { made.Status.Token = nil })
	copied := resource("copied", func(made *v1alpha1.AccountToken) { made.UID = "uid-copy" })
	notGranted := resource("not-granted", func(made *v1alpha1.AccountToken) { made.Spec.IssuerRef.Name = "ungranted" })
	noAccount := resource("no-account", func(made *v1alpha1.AccountToken) { made.Spec.Account = "mallory" })
	elsewhere := resource("elsewhere", func(made *v1alpha1.AccountToken) { made.Spec.IssuerRef.Name = "other" })
	nobodys := a.mint(t, a.alice.DeepCopy(), a.clock.Now())
	typo := a.aliceValue[:20] + "?" + a.aliceValue[21:]

	same(t, "authorize", []byte("HTTP/1.1 401 "), map[string][]byte{
		"none":                      a.send(request(anyTarget)),
		"an empty one":              a.send(request(anyTarget, "Api-Token:")),
		"malformed":                 a.send(request(anyTarget, "Api-Token: x")),
		"a typo":                    a.send(request(anyTarget, "Api-Token: "+typo)),
		"unknown":                   a.send(request(anyTarget, "Api-Token: "+nobodys)),
		"unknown, once more":        a.send(request(anyTarget, "Api-Token: "+nobodys)),
		"expired":                   a.send(request(anyTarget, "Api-Token: "+expired)),
		"revoked":                   a.send(request(anyTarget, "Api-Token: "+revoked)),
		"of a copied status":        a.send(request(anyTarget, "Api-Token: "+copied)),
		"not granted":               a.send(request("/v1/issuers/ungranted/authorize", "Api-Token: "+notGranted)),
		"of an account that is not": a.send(request(anyTarget, "Api-Token: "+noAccount)),
		"of another issuer":         a.send(request(anyTarget, "Api-Token: "+elsewhere)),
		"of no issuer":              a.send(request("/v1/issuers/nobody/authorize", "Api-Token: "+a.aliceValue)),
		"out of reach":              a.send(request(anyTarget+"/gl/acme/web", "Api-Token: "+a.aliceValue)),
		"the wrong kind":            a.send(request(anyTarget, "Api-Token: "+a.apiValue)),
		"a project's, out of reach": a.send(request(anyTarget+"/gh/acme/web", "Project-Token: "+a.apiValue)),
		"two":                       a.send(request(anyTarget, "Api-Token: "+a.aliceValue, "Project-Token: "+a.apiValue)),
		"another scheme":            a.send(request(anyTarget, "Authorization: Basic "+a.aliceValue)),
		"a path of no sense":        a.send(request(anyTarget+"/gh/acme/..", "Api-Token: "+a.aliceValue)),
		"another endpoint":          a.send(request("/v1/issuers/main/mint", "Api-Token: "+a.aliceValue)),
		"the root":                  a.send(request("/", "Api-Token: "+a.aliceValue)),
		"another method":            a.send("PUT" + strings.TrimPrefix(request(anyTarget, "Api-Token: "+nobodys), "GET")),
	})
	tokens := map[string]string{
		"malformed": "x", "a typo": typo, "unknown": nobodys, "expired": expired, "revoked": revoked, "of a copied status": copied,
		"of an account that is not": noAccount, "of another issuer": elsewhere,
	}
	for endpoint, body := range map[string]func(token string) (contentType, text string){
		"introspect": func(token string) (string, string) {
			return "application/x-www-form-urlencoded", "token=" + strings.ReplaceAll(token, "?", "%3F")
		},
		"tokenreview": func(token string) (string, string) {
			return "application/json", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"` + token + `"}}`
		},
	} {
		answers := map[string][]byte{}
		for name, token := range tokens {
			contentType, text := body(token)
			answers[name] = a.send(fmt.Sprintf("POST /v1/issuers/main/%s HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", endpoint, contentType, len(text), text))
		}
		same(t, endpoint, []byte("HTTP/1.1 200 "), answers)
	}
	for name, answer := range map[string][]byte{"accepted": a.send(request(anyTarget, "Api-Token: "+a.aliceValue)), "refused": a.send(request(anyTarget, "Api-Token: "+nobodys))} {
		if bytes.Contains(answer, []byte(a.aliceValue)) || bytes.Contains(answer, []byte(nobodys)) {
			t.Errorf("%s: the answer has the token in it", name)
		}
	}
}

// same holds answers to one another, but for the time in them.
func same(t *testing.T, endpoint string, begins []byte, answers map[string][]byte) {
	t.Helper()
	var first string
	var wanted []byte
	for name, answer := range answers {
		if !bytes.HasPrefix(answer, begins) {
			t.Errorf("%s, %s: not answered with %s", endpoint, name, begins)
		}
		header, body, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
		lines := slices.DeleteFunc(bytes.Split(header, []byte("\r\n")), func(line []byte) bool { return bytes.HasPrefix(line, []byte("Date: ")) })
		answer = append(bytes.Join(lines, []byte("\r\n")), body...)
		if wanted == nil {
			first, wanted = name, answer
		}
		if !bytes.Equal(answer, wanted) {
			t.Errorf("%s: a token that is %s is told from one that is %s", endpoint, name, first)
		}
	}
}
