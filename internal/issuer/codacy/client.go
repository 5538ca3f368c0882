package codacy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sony/gobreaker/v2"
	"k8s.io/utils/clock"

	"github.com/tokensteward/tokensteward/internal/token"
)

const (
	userAgent   = "tokensteward"
	contentType = "application/json"
	// maxAnswer bounds the bytes of an answer that are read: a page holds 100 tokens.
	maxAnswer = 4 << 20
	// maxTries of a request that can be repeated without harm.
	maxTries = 3
	// tripsAfter so many requests in a row that the service did not answer, it is left alone for a while.
	tripsAfter = 5
	// longestRetryAfter is how long a request waits for a service that said when to come back. Past that its resource does.
	longestRetryAfter = 2 * time.Second
)

// refusal is an answer that says no: nothing was done.
type refusal struct {
	status int
	// constant is Codacy's word for it, if it is one that we know.
	constant string
}

func (r *refusal) Error() string {
	if r.constant == "" {
		return fmt.Sprintf("Codacy answered %d", r.status)
	}
	return fmt.Sprintf("Codacy answered %d (%s)", r.status, r.constant)
}

// outage is the lack of a usable answer.
type outage struct {
	// cause is in our words.
	cause string
	// notDone: the request had no effect, and will have none.
	notDone bool
	// status of the answer; 0 if there was none.
	status     int
	retryAfter time.Duration
	// again: it makes sense to repeat it at once.
	again bool
}

func (o *outage) Error() string { return "Codacy gave no usable answer: " + o.cause }

// constants of Codacy's errors that may be shown. Nothing else of an answer's text ever is.
var constants = map[string]bool{
	"BadRequest": true, "Unauthorized": true, "Forbidden": true, "NotFound": true, "Conflict": true,
	"UnprocessableEntity": true, "TooManyRequests": true, "InternalServerError": true,
}

// client makes requests to one instance of Codacy with one credential. It is what the generated code calls to do so.
type client struct {
	http       *http.Client
	credential token.Value
	limiter    *limiter
	breaker    *gobreaker.TwoStepCircuitBreaker[any]
	clock      clock.PassiveClock
	// observe is told of each request: its operation, the status of its answer, and how long it took.
	observe func(operation, code string, took time.Duration)
}

func newClient(config *Config, limits *limiter, options *Options, changed func(), observe func(operation, code string, took time.Duration)) (*client, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // A container without certificates: then caBundle has to do.
	}
	if len(config.CABundle) > 0 && !roots.AppendCertsFromPEM(config.CABundle) {
		return nil, errInvalidCABundle
	}
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: options.Timeout}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    options.Timeout,
		ResponseHeaderTimeout:  options.Timeout,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    10,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
	}
	return &client{
		http: &http.Client{
			Transport: transport, Timeout: options.Timeout,
			// The credential goes to the host that the issuer names, and to no other.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		credential: config.Credential, limiter: limits, clock: options.Clock, observe: observe,
		breaker: gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
			MaxRequests:   1,
			IsExcluded:    func(err error) bool { return errors.Is(err, context.Canceled) }, // It says nothing of the service.
			Timeout:       options.BreakerPause,
			ReadyToTrip:   func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= tripsAfter },
			OnStateChange: func(string, gobreaker.State, gobreaker.State) { changed() },
		}),
	}, nil
}

// Do makes a request, and again if that can do no harm. Its error is a *refusal or an *outage.
func (c *client) Do(request *http.Request) (*http.Response, error) {
	if request.Method == http.MethodPost {
		return c.try(request) // It may have been carried out, whatever the answer.
	}
	pause := &backoff.ExponentialBackOff{InitialInterval: 300 * time.Millisecond, RandomizationFactor: 1, Multiplier: 2, MaxInterval: longestRetryAfter}
	var last error
	response, err := backoff.Retry(request.Context(), func() (*http.Response, error) {
		var response *http.Response
		response, last = c.try(request)
		var failed *outage
		switch {
		case last == nil:
			return response, nil
		case !errors.As(last, &failed) || !failed.again || failed.retryAfter > longestRetryAfter:
			return nil, backoff.Permanent(last)
		case failed.retryAfter > 0:
			return nil, &backoff.RetryAfterError{Duration: failed.retryAfter}
		default:
			return nil, last
		}
	}, backoff.WithBackOff(pause), backoff.WithMaxTries(maxTries))
	switch {
	case err == nil:
		return response, nil
	case request.Context().Err() != nil:
		return nil, &outage{cause: "the operator is being stopped"}
	default:
		return nil, last
	}
}

// try makes a request once.
func (c *client) try(request *http.Request) (*http.Response, error) {
	done, err := c.breaker.Allow()
	if err != nil {
		return nil, &outage{cause: "it did not answer before, and is left alone for a while", notDone: true}
	}
	c.limiter.use(request.Context(), c.clock.Now())
	began := c.clock.Now()
	response, err := c.exchange(request)
	c.observe(operationOf(request.Method, request.URL.EscapedPath()), codeOf(response, err), c.clock.Since(began))
	var failed *outage
	switch {
	case request.Context().Err() != nil:
		done(context.Canceled)
	case errors.As(err, &failed):
		done(err)
	default:
		done(nil)
	}
	return response, err
}

// exchange sends a request and reads its answer.
func (c *client) exchange(request *http.Request) (*http.Response, error) {
	connected := false
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }}
	request = request.Clone(httptrace.WithClientTrace(request.Context(), trace))
	if request.GetBody != nil {
		body, err := request.GetBody()
		if err != nil {
			return nil, err
		}
		request.Body = body
	}
	request.Header.Set("api-token", c.credential.Reveal())
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Accept", contentType)
	request.Header.Set("User-Agent", userAgent)
	response, err := c.http.Do(request) //nolint:gosec // To the URL that the issuer names: a ClusterTokenIssuer, or within --allowed-hosts.
	if err != nil {
		cause, again := causeOf(err)
		return nil, &outage{cause: cause, notDone: !connected, again: again}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		cause, again := causeOf(err)
		return nil, &outage{cause: cause, again: again}
	case response.StatusCode == http.StatusTooManyRequests:
		return nil, &outage{cause: "it has had too many requests (429)", notDone: true, status: response.StatusCode, again: true, retryAfter: c.retryAfter(response)}
	case response.StatusCode == http.StatusRequestTimeout || response.StatusCode >= 500:
		return nil, &outage{cause: fmt.Sprintf("it answered %d", response.StatusCode), status: response.StatusCode, again: true, retryAfter: c.retryAfter(response)}
	case response.StatusCode >= 300:
		return nil, &refusal{status: response.StatusCode, constant: constantIn(body)}
	case len(body) > maxAnswer:
		return nil, &outage{cause: "its answer is longer than any of Codacy's"}
	case response.StatusCode != http.StatusNoContent && (!isJSON(response.Header) || !json.Valid(body)):
		return nil, errUnknownAnswer
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

func isJSON(header http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && mediaType == contentType
}

func constantIn(body []byte) string {
	var answer struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &answer) != nil || !constants[answer.Error] {
		return ""
	}
	return answer.Error
}

// retryAfter is what the service asks for, in either form of the header; 0 if it asks for nothing.
func (c *client) retryAfter(response *http.Response) time.Duration {
	header := strings.TrimSpace(response.Header.Get("Retry-After"))
	if seconds, err := strconv.Atoi(header); err == nil && seconds > 0 {
		return min(time.Duration(seconds)*time.Second, time.Hour)
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(0, at.Sub(c.clock.Now())), time.Hour)
	}
	return 0
}

// causeOf says in our words why there was no answer. The words of an error may hold what the other side sent.
func causeOf(err error) (cause string, again bool) {
	var (
		unknownCA   x509.UnknownAuthorityError
		wrongName   x509.HostnameError
		certificate x509.CertificateInvalidError
		unresolved  *net.DNSError
		timeout     net.Error
		record      tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &unknownCA):
		return "its certificate is signed by a CA that is not trusted; set spec.codacy.caBundle of the issuer", false
	case errors.As(err, &wrongName):
		return "its certificate is for another host", false
	case errors.As(err, &certificate):
		return "its certificate is not valid", false
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "it does not speak TLS", false
	case errors.As(err, &unresolved):
		return "its host name is unknown", false
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "it did not answer in time", false
	case errors.Is(err, context.Canceled):
		return "the operator is being stopped", false
	default:
		return "the connection failed", true
	}
}

// operationOf is what Codacy's description calls the operation of a request.
func operationOf(method, escapedPath string) string {
	_, path, _ := strings.Cut(escapedPath, "/api/v3/")
	segments := strings.Split(path, "/")
	organization := segments[0] == "organizations"
	account, repository := segments[0] == "user", organization && len(segments) >= 5
	switch {
	case account && len(segments) == 1:
		return "getUser"
	case account && len(segments) == 2 && method == http.MethodGet:
		return "getUserApiTokens"
	case account && len(segments) == 2 && method == http.MethodPost:
		return "createUserApiToken"
	case account && method == http.MethodDelete:
		return "deleteUserApiToken"
	case organization && len(segments) == 4:
		return "listOrganizationRepositories"
	case repository && len(segments) == 5:
		return "getRepository"
	case repository && method == http.MethodGet:
		return "listRepositoryApiTokens"
	case repository && method == http.MethodPost:
		return "createRepositoryApiToken"
	case repository && method == http.MethodDelete:
		return "deleteRepositoryApiToken"
	default:
		return "other"
	}
}

// codeOf is the status of an answer; none if there was no answer.
func codeOf(response *http.Response, err error) string {
	var no *refusal
	var failed *outage
	status := 0
	switch {
	case err == nil:
		status = response.StatusCode
	case errors.As(err, &no):
		status = no.status
	case errors.As(err, &failed):
		status = failed.status
	}
	if status == 0 {
		return "none"
	}
	return strconv.Itoa(status)
}
