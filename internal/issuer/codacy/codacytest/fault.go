package codacytest

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// FaultKind is a way to fail.
type FaultKind string

// The ways to fail. Those that don't say that the server acts have no effect on its tokens.
const (
	// NoFault: the server does as it should.
	NoFault FaultKind = ""
	// Refuse: an error in Codacy's form, with Fault.Status and Fault.Constant.
	Refuse FaultKind = "refuse"
	// Hang: no answer, until the client goes away or the server closes.
	Hang FaultKind = "hang"
	// HangAfterActing: the server acts, then the same.
	HangAfterActing FaultKind = "act-then-hang"
	// TimeoutAfterActing: the server acts, and a gateway answers 504.
	TimeoutAfterActing FaultKind = "act-then-504"
	// CutAfterActing: the server acts, and the connection ends without an answer.
	CutAfterActing FaultKind = "act-then-cut"
	// CutBeforeActing: the connection ends without an answer.
	CutBeforeActing FaultKind = "cut"
	// Slow: the server waits for Fault.Delay of real time and then acts, even if the client has gone away.
	Slow FaultKind = "slow"
	// Garbage: the server acts, and answers with success, but JSON that is broken.
	Garbage FaultKind = "garbage"
	// Huge: the server acts, and answers with success and JSON that goes on for 64 MiB.
	Huge FaultKind = "huge"
	// WrongContentType: 200 with a page in HTML, such as a proxy's page to log in.
	WrongContentType FaultKind = "wrong-content-type"
	// Redirect to Fault.URL, with 307, so that a client that follows sends everything again.
	Redirect FaultKind = "redirect"
)

// FaultKinds are all ways to fail.
var FaultKinds = []FaultKind{
	Refuse, Hang, HangAfterActing, TimeoutAfterActing, CutAfterActing, CutBeforeActing, Slow, Garbage, Huge, WrongContentType, Redirect,
}

// Fault is how a request fails. The zero Fault is none.
type Fault struct {
	Kind FaultKind
	// Status, Constant and RetryAfter are for Refuse: the status, the error's word for programs, by default the one that
	// Codacy has for the status, and when to come back, in whole seconds; 0 does not tell.
	Status     int
	Constant   string
	RetryAfter time.Duration
	// Delay is for Slow.
	Delay time.Duration
	// URL is for Redirect.
	URL string
}

// Fault has a function decide how each request fails that is not one too many; nil: none does. It may read
// the body.
func (s *Server) Fault(decide func(operation string, r *http.Request) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = decide
}

// Times is for Server.Fault: it makes the next requests of an operation, so many of them, fail in a way.
func Times(count int, operation string, fault Fault) func(string, *http.Request) Fault {
	var mu sync.Mutex
	return func(asked string, _ *http.Request) Fault {
		mu.Lock()
		defer mu.Unlock()
		if asked != operation || count == 0 {
			return Fault{}
		}
		count--
		return fault
	}
}

// faultyHeader marks answers that are deliberately not what the description says.
const faultyHeader = "X-Codacytest-Faulty"

// beforeActing hangs, cuts the connection or waits.
func (f Fault) beforeActing(w http.ResponseWriter, r *http.Request) {
	switch f.Kind {
	case Hang:
		hang(r)
	case CutBeforeActing:
		panic(http.ErrAbortHandler)
	case Slow:
		<-time.NewTimer(f.Delay).C
	}
	if slices.Contains([]FaultKind{Garbage, Huge, WrongContentType, Redirect}, f.Kind) {
		w.Header().Set(faultyHeader, string(f.Kind))
	}
}

// instead is the answer of a server that does not act; not ok if it acts.
func (f Fault) instead(legacy bool) (instead answer, ok bool) {
	switch f.Kind {
	case Refuse:
		constant := f.Constant
		if constant == "" {
			constant = constants[f.Status]
		}
		if legacy {
			return legacyError(f.Status, constant).retryAfter(f.RetryAfter), true
		}
		return refuseAs(f.Status, constant, "no, this time").retryAfter(f.RetryAfter), true
	case WrongContentType:
		return gatewayPage(http.StatusOK), true
	case Redirect:
		instead = gatewayPage(http.StatusTemporaryRedirect)
		instead.header.Set("Location", f.URL)
		return instead, true
	default:
		return answer{}, false
	}
}

// afterActing hangs or cuts the connection.
func (f Fault) afterActing(r *http.Request) {
	switch f.Kind {
	case HangAfterActing:
		hang(r)
	case CutAfterActing:
		panic(http.ErrAbortHandler)
	}
}

// spoil is what becomes of an answer.
func (f Fault) spoil(done answer) answer {
	switch f.Kind {
	case TimeoutAfterActing:
		return gatewayPage(http.StatusGatewayTimeout)
	case Garbage:
		return respond(withBody(done.status), broken(`{"data":{"id":`+Marker))
	case Huge:
		return respond(withBody(done.status), endless{})
	default:
		return done
	}
}

// withBody is a status, or 200 in place of one that has no body.
func withBody(status int) int {
	if status == http.StatusNoContent {
		return http.StatusOK
	}
	return status
}

// hang waits until the client goes away or the server closes.
func hang(r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// endless is a body that begins like a list and goes on.
type endless struct{}

func (endless) stream(w http.ResponseWriter) {
	const most = 64 << 20
	_, err := w.Write([]byte(`{"data":[{"id":1}`))
	item := []byte(strings.Repeat(`,{"id":1}`, 4096))
	for sent := 0; err == nil && sent < most; sent += len(item) {
		_, err = w.Write(item)
	}
}
