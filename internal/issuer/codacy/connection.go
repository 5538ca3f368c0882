package codacy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/api"
	"github.com/tokensteward/tokensteward/internal/metrics"
)

var errInvalidCABundle = &issuer.Error{
	Reason: v1alpha1.ReasonInvalidCABundle, Stalled: true,
	Message: "spec.codacy.caBundle holds no certificate that can be read: it must be PEM, encoded in base64.",
}

// Connection is one issuer's connection to Codacy.
type Connection struct {
	services *Services
	options  *Options
	key      Key
	config   Config
	// credentialSHA256 is the hash of the credential in config.
	credentialSHA256 string
	host             string
	api              *api.ClientWithResponses
	client           *client

	mu           sync.Mutex
	account      v1alpha1.IssuerAccount
	capabilities v1alpha1.Capabilities
	refused      bool
	places       map[place]*watched
	// fingerprints are the expiries, in Unix seconds, that attempts asked for.
	fingerprints map[int64]bool
	// prunePlacesAt and pruneFingerprintsAt are how many there are when those that are of no use any more are looked for.
	prunePlacesAt, pruneFingerprintsAt int
	// bare are the kinds of tokens for which a request with a body was refused.
	bare map[string]bool
	// epoch counts the times that the service began to answer again.
	epoch int64
}

var _ issuer.Issuer = (*Connection)(nil)

func newConnection(services *Services, key Key, config Config) (*Connection, error) {
	address, err := url.Parse(config.URL)
	if err != nil {
		return nil, fmt.Errorf("spec.codacy.url: %w", err)
	}
	c := &Connection{
		services: services, options: &services.options, key: key, config: config, credentialSHA256: config.Credential.SHA256(), host: strings.TrimSuffix(address.Host, ":443"),
		places: map[place]*watched{}, fingerprints: map[int64]bool{}, prunePlacesAt: minPrune, pruneFingerprintsAt: minPrune, bare: map[string]bool{},
	}
	c.client, err = newClient(&config, services.limiterOf(c.host), c.options, c.breakerChanged, func(operation, code string, took time.Duration) {
		metrics.ServiceRequests.WithLabelValues(operation, code, key.Kind, key.Namespace, key.Name).Observe(took.Seconds())
	})
	if err != nil {
		return nil, err
	}
	c.api, err = api.NewClientWithResponses(strings.TrimRight(config.URL, "/")+"/api/v3", api.WithHTTPClient(c.client))
	return c, err
}

// URL is where Codacy is.
func (c *Connection) URL() string { return c.config.URL }

// CredentialSHA256 is the hash of the credential.
func (c *Connection) CredentialSHA256() string { return c.credentialSHA256 }

// Account is whose the credential is.
func (c *Connection) Account() v1alpha1.IssuerAccount {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.account
}

// describe names an account to people.
func describe(account v1alpha1.IssuerAccount) string {
	switch {
	case account.Name != "":
		return fmt.Sprintf("%s (%s)", account.ID, account.Name)
	case account.Email != "":
		return fmt.Sprintf("%s (%s)", account.ID, account.Email)
	default:
		return account.ID
	}
}

// Capabilities are what the service was seen to do.
func (c *Connection) Capabilities() v1alpha1.Capabilities {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *c.capabilities.DeepCopy()
}

// Believe takes over what was found out earlier, so that a restart costs no request.
func (c *Connection) Believe(account v1alpha1.IssuerAccount, capabilities *v1alpha1.Capabilities) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.account = account
	if capabilities != nil {
		c.capabilities = *capabilities.DeepCopy()
	}
}

// CredentialRefused says whether the service refused the credential since it was last found in order.
func (c *Connection) CredentialRefused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused
}

func (c *Connection) setRefused(refused bool) {
	c.mu.Lock()
	changed := c.refused != refused
	c.refused = refused
	c.mu.Unlock()
	if changed {
		c.services.notify(c.key)
	}
}

// Identify asks whose the credential is. It is an *issuer.Error if the credential is not accepted.
func (c *Connection) Identify(ctx context.Context) (v1alpha1.IssuerAccount, error) {
	answer, err := c.api.GetUserWithResponse(ctx)
	var no *refusal
	if errors.As(err, &no) {
		c.setRefused(true)
		return v1alpha1.IssuerAccount{}, c.credentialRefused(no)
	}
	if err == nil && (answer.JSON200 == nil || answer.JSON200.Data.ID <= 0) {
		err = errUnknownAnswer
	}
	if err != nil {
		return v1alpha1.IssuerAccount{}, c.unavailable(err)
	}
	user := answer.JSON200.Data
	if !user.IsActive {
		c.setRefused(true)
		return v1alpha1.IssuerAccount{}, &issuer.Error{
			Reason: v1alpha1.ReasonCredentialsRefused, Stalled: true,
			Message: "Codacy says that the credential's account is not active: activate it, or use the credential of another one.",
		}
	}
	account := v1alpha1.IssuerAccount{ID: strconv.FormatInt(user.ID, 10), Email: truncate(user.MainEmail, 320)}
	if user.Name != nil {
		account.Name = truncate(*user.Name, 253)
	}
	c.mu.Lock()
	c.account = account
	c.mu.Unlock()
	c.setRefused(false)
	return account, nil
}

func (c *Connection) credentialRefused(no *refusal) *issuer.Error {
	switch no.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return &issuer.Error{
			// Anything between the operator and Codacy may say the other two.
			Reason: v1alpha1.ReasonCredentialsRefused, Stalled: true, CredentialGone: no.status == http.StatusUnauthorized,
			Message: fmt.Sprintf("%s to the credential: it is wrong, was revoked or has expired, or it is a repository token, and an account API token is needed. "+
				"Make one in Codacy, under My account → Access management, and put it into the credentials Secret.", no),
		}
	default:
		return &issuer.Error{
			Reason: v1alpha1.ReasonServiceRefused, Stalled: true,
			Message: fmt.Sprintf("%s to the question whose the credential is. Is spec.codacy.url the address of Codacy itself?", no),
		}
	}
}

// CredentialExpiration is when the credential expires, as far as Codacy lists it with its value; zero if it does not.
func (c *Connection) CredentialExpiration(ctx context.Context) (time.Time, error) {
	p := place{kind: v1alpha1.KindAccountToken}
	all, err := c.list(ctx, p)
	if err != nil {
		return time.Time{}, c.failed(ctx, p, err)
	}
	for i := range all {
		if c.isCredential(p, &all[i]) {
			return all[i].expires, nil
		}
	}
	return time.Time{}, nil
}

// Unavailable says that the service did not answer lately and is left alone; nil if it may be asked.
func (c *Connection) Unavailable() *issuer.Error {
	if c.client.breaker.State() == gobreaker.StateClosed {
		return nil
	}
	return c.unavailable(nil)
}

// ProbeTime says how long to wait before a service that is left alone may be asked one question, with Identify; 0: now.
func (c *Connection) ProbeTime() time.Duration {
	if c.client.breaker.State() == gobreaker.StateOpen {
		return c.options.BreakerPause + c.options.BreakerPause/10 // It may have begun a moment ago.
	}
	return 0
}

// breakerChanged is called by the breaker, under its own lock.
func (c *Connection) breakerChanged() {
	c.mu.Lock()
	c.epoch++
	c.mu.Unlock()
	c.services.notify(c.key)
}

// Epoch changes whenever the service stops to answer or begins again.
func (c *Connection) Epoch() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

func (c *Connection) unavailable(err error) *issuer.Error {
	var known *issuer.Error
	if errors.As(err, &known) {
		return known
	}
	e := &issuer.Error{Reason: v1alpha1.ReasonServiceUnavailable, RetryAfter: c.options.BreakerPause}
	cause := "it did not answer several times and is left alone for a while"
	var failed *outage
	if errors.As(err, &failed) {
		cause, e.RetryAfter, e.NothingMinted = failed.cause, failed.retryAfter, failed.notDone
	} else if err != nil {
		cause, e.RetryAfter = "its answer is not one of Codacy's API", 0
	}
	e.Message = fmt.Sprintf("Codacy at %s can't be asked: %s. It is tried again.", c.config.URL, cause)
	return e
}

// learn notes what the service was seen to do, and tells if that is new.
func (c *Connection) learn(kind string, note func(*v1alpha1.TokenCapabilities) (changed bool)) {
	c.mu.Lock()
	changed := note(c.seen(kind))
	c.mu.Unlock()
	if changed {
		c.services.notify(c.key)
	}
}

// seen is what the service was seen to do with a kind of token. The caller holds mu.
func (c *Connection) seen(kind string) *v1alpha1.TokenCapabilities {
	if kind == v1alpha1.KindAccountToken {
		return &c.capabilities.AccountTokens
	}
	return &c.capabilities.ProjectTokens
}

func (c *Connection) capabilitiesOf(kind string) v1alpha1.TokenCapabilities {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *c.seen(kind).DeepCopy()
}

func setTo(flag **bool, value bool) (changed bool) {
	if *flag != nil && **flag == value {
		return false
	}
	*flag = &value
	return true
}

func is(flag *bool) bool { return flag != nil && *flag }

func capitalized(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

func truncate(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "")
}
