// Package codacy is the issuer that connects to Codacy, Cloud or Self-hosted, through its API v3. docs/codacy.md says
// what it does, and what it makes of what Codacy answers.
package codacy

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/tokensteward/tokensteward/internal/token"
)

// Key names an issuer resource.
type Key struct {
	Kind string
	types.NamespacedName
}

// Options of all connections.
type Options struct {
	Clock          clock.PassiveClock
	InstallationID string
	// Timeout of one request, from the first byte sent to the last one read.
	Timeout time.Duration
	// RequestLifetime is how long after its attempt began a request to mint may still take effect: it must be sent within
	// the leader's renew deadline, and gateways and queues go on for a while when the client has given up.
	RequestLifetime time.Duration
	// Limits of requests by host.
	Limits map[string]Limit
	// BreakerPause is how long a service that does not answer is left alone.
	BreakerPause time.Duration
}

// Services are the connections to services, one for each issuer, and what they share: the limits of each host.
type Services struct {
	options Options

	mu          sync.Mutex
	listeners   []func(Key)
	connections map[Key]*Connection
	limiters    map[string]*limiter
	busy        map[string]bool
}

// NewServices makes the registry, with no connection yet.
func NewServices(options Options) *Services {
	return &Services{
		options: options, connections: map[Key]*Connection{}, limiters: map[string]*limiter{}, busy: map[string]bool{},
	}
}

// OnChange has a function called for each issuer of which something changed that controllers should know of: it has a
// new connection, was seen to be able to do something, answers again, or refuses the credential. Call it before the first
// connection is made.
func (s *Services) OnChange(listener func(Key)) { s.listeners = append(s.listeners, listener) }

// Config is what a connection is made of.
type Config struct {
	// UID of the issuer resource.
	UID        types.UID
	URL        string
	CABundle   []byte
	Credential token.Value
	// Interval is how often tokens are looked up; 0: never.
	Interval time.Duration
}

func (c *Config) same(other *Config) bool {
	return c.UID == other.UID && c.URL == other.URL && string(c.CABundle) == string(other.CABundle) &&
		c.Credential.Reveal() == other.Credential.Reveal() && c.Interval == other.Interval
}

// Connect is the connection of an issuer, a new one if its configuration changed. It is not in use before Use.
func (s *Services) Connect(key Key, config Config) (*Connection, error) {
	if known := s.Get(key); known != nil && known.config.same(&config) {
		return known, nil
	}
	return newConnection(s, key, config)
}

// Use makes a connection the one of its issuer.
func (s *Services) Use(c *Connection) {
	s.mu.Lock()
	isNew := s.connections[c.key] != c
	s.connections[c.key] = c
	s.mu.Unlock()
	if isNew {
		s.notify(c.key)
	}
}

// Get is the connection of an issuer; nil if there is none.
func (s *Services) Get(key Key) *Connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections[key]
}

// RequestsLeft says by host how many requests may be made now, of those that a burst may have.
func (s *Services) RequestsLeft() map[string]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := map[string]float64{}
	for host, limiter := range s.limiters {
		left[host] = limiter.left(s.options.Clock.Now())
	}
	return left
}

// Disconnect forgets the connection of an issuer.
func (s *Services) Disconnect(key Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.connections, key)
}

// notify never waits: who listens may be who notifies.
func (s *Services) notify(key Key) {
	for _, listener := range s.listeners {
		go listener(key)
	}
}

// limiterOf is the limiter of a host; nil if there is no limit.
func (s *Services) limiterOf(host string) *limiter {
	limit, ok := s.options.Limits[host]
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limiters[host] == nil {
		s.limiters[host] = newLimiter(limit, s.options.Clock.Now())
	}
	return s.limiters[host]
}

// begin takes a place where tokens are minted one at a time; false if somebody has it.
func (s *Services) begin(place string) (end func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[place] {
		return nil, false
	}
	s.busy[place] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.busy, place)
	}, true
}
