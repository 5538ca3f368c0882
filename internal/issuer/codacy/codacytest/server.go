// Package codacytest is a stand-in for Codacy: a server that behaves like an edition of it, as far as API tokens go, and
// on request fails in every way that a service can. It shares nothing with the client that is tested against it but the
// description of the API, to which Check holds both.
package codacytest

import (
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Marker is in each text that the server means for people. None of it may get into the operator's conditions or logs.
const Marker = "words-of-the-service"

// What is added to the name of an operation in Requests.
const (
	// Refused are the requests that were answered with 4xx.
	Refused = ":refused"
	// RateLimited are those that were too many.
	RateLimited = ":rate-limited"
)

// Unknown is the operation of a request that is none of Codacy's.
const Unknown = "unknown"

// When OnRequest is called.
const (
	// Before the server acts, or fails: it has read the request.
	Before = "before"
	// After it has acted, and before it answers.
	After = "after"
)

// maxBody bounds the bytes of a request.
const maxBody = 1 << 20

// Server plays Codacy. It may be used by several goroutines at once.
type Server struct {
	clock     clock.PassiveClock
	behaviour Behaviour

	mu       sync.Mutex
	world    world
	requests map[string]int
	windows  map[string]*window
	fault    func(operation string, r *http.Request) Fault
	hook     func(operation, when string)
}

// window is the present period of a source's rate limit.
type window struct {
	begin    time.Time
	requests int
}

// New makes a server with no accounts and no repositories. All its times are the clock's.
func New(clk clock.PassiveClock, b Behaviour) *Server {
	return &Server{
		clock: clk, behaviour: b, requests: map[string]int{}, windows: map[string]*window{},
		world: world{accounts: map[int64]*account{}, repositories: map[string]*repository{}, tokens: map[int64]*Token{}},
	}
}

// Requests counts the requests by operation, as the description of the API calls it: each once under its name, and those
// that were refused or too many again, under the name with Refused or RateLimited.
func (s *Server) Requests() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.requests)
}

// ResetRequests starts counting anew.
func (s *Server) ResetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.requests)
}

// OnRequest has a function called Before and After each request; nil removes it. The request waits for it.
func (s *Server) OnRequest(hook func(operation, when string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// call is one request.
type call struct {
	route
	// parameters are the values of the stars in the route's pattern.
	parameters []string
	query      url.Values
	header     http.Header
	body       []byte
	now        time.Time
	// account is whose token the request came with, if its operation asks for one.
	account *account
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found, parameters := match(r)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		panic(http.ErrAbortHandler) // The request never arrived.
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.count(found.operation)
	s.call(found.operation, Before)
	if limit := s.tooMany(found.operation, r.RemoteAddr); limit != nil {
		gatewayPage(limit.Status).retryAfter(limit.RetryAfter).write(w)
		return
	}
	fault := s.faultOf(found.operation, r)
	fault.beforeActing(w, r)
	done, ok := fault.instead(found.legacy)
	if !ok {
		done = s.act(&call{route: found, parameters: parameters, query: r.URL.Query(), header: r.Header, body: body})
		s.call(found.operation, After)
		fault.afterActing(r)
		done = fault.spoil(done)
	}
	if done.status >= 400 && done.status < 500 {
		s.count(found.operation + Refused)
	}
	done.write(w)
}

// faultOf is how a request is to fail.
func (s *Server) faultOf(operation string, r *http.Request) Fault {
	s.mu.Lock()
	decide := s.fault
	s.mu.Unlock()
	if decide == nil {
		return Fault{}
	}
	return decide(operation, r)
}

func (s *Server) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[what]++
}

func (s *Server) call(operation, when string) {
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	if hook != nil {
		hook(operation, when)
	}
}

// tooMany is the limit that a request from an address exceeds; nil if it exceeds none.
func (s *Server) tooMany(operation, address string) *RateLimit {
	limit := s.behaviour.RateLimit
	if limit == nil {
		return nil
	}
	source, _, err := net.SplitHostPort(address)
	if err != nil {
		source = address
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	current := s.windows[source]
	if current == nil || now.Sub(current.begin) >= limit.Period {
		current = &window{begin: now}
		s.windows[source] = current
	}
	if current.requests >= limit.Requests {
		s.requests[operation+RateLimited]++
		return limit
	}
	current.requests++
	return nil
}

// act does what a request asks for.
func (s *Server) act(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.now = s.clock.Now()
	if !c.legacy {
		if problem := c.malformed(); problem != "" {
			return refuse(http.StatusBadRequest, problem)
		}
	}
	if c.authenticated {
		t := s.world.holder(AccountToken, c.header.Get("api-token"))
		if t == nil || t.expired(c.now) {
			return refuse(http.StatusUnauthorized, "the api-token is not one of an account")
		}
		c.account = s.world.accounts[t.Account]
	}
	return c.handle(s, c)
}

// malformed says what every request to the API needs and this one lacks. Codacy might put up with the User-Agent that
// Go's client sends by itself, but who sends that has not thought of it.
func (c *call) malformed() string {
	switch agent := c.header.Get("User-Agent"); {
	case !isJSON(c.header.Get("Content-Type")):
		return "send Content-Type: application/json"
	case agent == "" || strings.HasPrefix(agent, "Go-http-client"):
		return "send a User-Agent"
	default:
		return ""
	}
}
