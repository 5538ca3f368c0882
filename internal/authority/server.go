package authority

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/grant"
	"github.com/tokensteward/tokensteward/internal/issuer/builtin"
	"github.com/tokensteward/tokensteward/internal/token"
)

// Bounds of a request.
const (
	readTimeout     = 10 * time.Second
	writeTimeout    = 10 * time.Second
	idleTimeout     = 2 * time.Minute
	maxHeaderBytes  = 16 << 10
	maxBodyBytes    = 64 << 10
	shutdownTimeout = 5 * time.Second
)

// The one answer to every token that is not accepted, whatever the cause, so that nothing can be probed.
const notFound = `{"error":"not found"}` + "\n"

// Server serves an Authority over HTTPS. It runs in every replica.
type Server struct {
	Authority *Authority
	Listener  net.Listener
	TLS       *tls.Config
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*Server) NeedLeaderElection() bool { return false }

// newServer bounds what a client can take up.
func (s *Server) newServer() *http.Server {
	return &http.Server{
		Handler:           s.Authority.Handler(),
		ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		TLSConfig:      s.TLS,
		// Else OPTIONS * is answered with 200, which here means that a token is valid.
		DisableGeneralOptionsHandler: true,
	}
}

// Start implements manager.Runnable: it serves until the context ends.
func (s *Server) Start(ctx context.Context) error {
	server := s.newServer()
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(s.Listener, "", "") }()
	select {
	case err := <-done:
		return fmt.Errorf("the authority's server ended: %w", err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		return fmt.Errorf("stopping the authority's server: %w", err)
	}
	return nil
}

// Handler answers the requests below /v1/issuers/{issuer}: authorize[/{provider}/{organization}[/{repository}]],
// introspect and tokenreview. docs/authority.md describes them.
func (a *Authority) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1) {
			// A proxy may hold that the request ends elsewhere, for its length may have been told twice: what is left over
			// must not be taken for the request of somebody else on the same connection.
			w.Header().Set("Connection", "close")
		}
		segments, ok := pathSegments(r.URL)
		if !ok || len(segments) < 4 || segments[0] != "v1" || segments[1] != "issuers" {
			refuse(w)
			return
		}
		issuer, endpoint, rest := segments[2], segments[3], segments[4:]
		switch {
		case endpoint == "authorize":
			target, ok := targetOf(rest)
			if !ok {
				refuse(w)
				return
			}
			a.authorize(w, r, issuer, target)
		case endpoint == "introspect" && len(rest) == 0:
			onlyPost(a.introspect)(w, r, issuer)
		case endpoint == "tokenreview" && len(rest) == 0:
			onlyPost(a.tokenReview)(w, r, issuer)
		default:
			refuse(w)
		}
	})
}

type endpoint func(w http.ResponseWriter, r *http.Request, issuer string)

func onlyPost(serve endpoint) endpoint {
	return func(w http.ResponseWriter, r *http.Request, issuer string) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
		serve(w, r, issuer)
	}
}

func (a *Authority) authorize(w http.ResponseWriter, r *http.Request, issuer string, target grant.Target) {
	value, ok := presented(r.Header)
	if !ok {
		a.count(r.Context(), issuer, malformed)
		refuse(w)
		return
	}
	c, d := a.check(r.Context(), issuer, value, target)
	switch {
	case d == cantTell:
		unavailable(w)
	case c == nil:
		refuse(w)
	default:
		header := w.Header()
		header.Set("X-Token-Id", c.id)
		header.Set("X-Token-Account", "-")
		header.Set("X-Token-Project", "-")
		if c.kind == v1alpha1.KindAccountToken {
			header.Set("X-Token-Kind", "account")
			header.Set("X-Token-Account", c.account)
		} else {
			header.Set("X-Token-Kind", "project")
			header.Set("X-Token-Project", c.project.String())
		}
		respond(w, http.StatusOK, `{"success":"token accepted"}`+"\n")
	}
}

func unavailable(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	respond(w, http.StatusServiceUnavailable, `{"error":"can't tell now, try again"}`+"\n")
}

func refuse(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="tokensteward"`)
	respond(w, http.StatusUnauthorized, notFound)
}

func respond(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // The client is gone if this fails.
}

// headers that may present a token, by their canonical names, and the kind that each is for.
var headers = [...]struct{ name, kind string }{
	{"Api-Token", v1alpha1.KindAccountToken}, {"Project-Token", v1alpha1.KindProjectToken}, {"Authorization", ""},
}

// presented is the token of a request: in exactly one header, and of the kind that the header is for.
func presented(header http.Header) (token.Value, bool) {
	var value, wanted string
	count := 0
	for _, known := range headers {
		if found := header[known.name]; len(found) > 0 {
			count += len(found)
			value, wanted = found[0], known.kind
		}
	}
	if count != 1 {
		return token.Value{}, false
	}
	if len(header["Authorization"]) > 0 {
		scheme, credentials, _ := strings.Cut(value, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return token.Value{}, false
		}
		value = credentials
	}
	kind, wellFormed := builtin.KindOf(value)
	return token.NewValue(value), wellFormed && (wanted == "" || wanted == kind)
}

// pathSegments splits a path into its decoded segments. A segment that is empty, . or .., or that hides a slash or what no
// name has, could mean one thing here and another to whoever handles the request next: such a path is not ok.
func pathSegments(u *url.URL) (segments []string, ok bool) {
	path, rooted := strings.CutPrefix(u.EscapedPath(), "/")
	if !rooted {
		return nil, false
	}
	for _, escaped := range strings.Split(path, "/") {
		segment, err := url.PathUnescape(escaped)
		if err != nil || segment == "" || segment == "." || segment == ".." || strings.ContainsAny(segment, "/\\") || strings.ContainsFunc(segment, inNoName) {
			return nil, false
		}
		segments = append(segments, segment)
	}
	return segments, true
}

// inNoName says whether a character is in no name of an issuer, an organization or a repository. Beyond ASCII some differ from
// others in nothing but case.
func inNoName(r rune) bool { return r <= ' ' || r > '~' }

func targetOf(segments []string) (grant.Target, bool) {
	switch len(segments) {
	case 0:
		return grant.Target{}, true
	case 2:
		return grant.Target{Provider: segments[0], Organization: segments[1]}, true
	case 3:
		return grant.Target{Provider: segments[0], Organization: segments[1], Repository: segments[2]}, true
	default:
		return grant.Target{}, false
	}
}
