package codacy_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

// behindProxy is the host that is reached only through the proxy of the environment.
const behindProxy = "codacy.example"

// certificate is one that signs itself, for one host or address.
func certificate(t *testing.T, host string, notAfter time.Time) (serving tls.Certificate, inPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: codacytest.Marker},
		NotBefore: notAfter.Add(-365 * day), NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if address := net.ParseIP(host); address != nil {
		template.IPAddresses = []net.IP{address}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// door is a way to the stand-in, other than the one that it has by itself.
type door struct {
	url, port string
	// requests that came through, and the connections that were begun.
	requests, connections atomic.Int32
}

func (s *standIn) door(config *tls.Config) *door {
	s.Helper()
	d := &door{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.requests.Add(1)
		s.server.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			d.connections.Add(1)
		}
	}
	server.TLS = config
	if config == nil {
		server.Start()
	} else {
		server.StartTLS()
	}
	s.Cleanup(server.Close)
	_, d.port, _ = net.SplitHostPort(server.Listener.Addr().String())
	d.url = "https://" + server.Listener.Addr().String()
	return d
}

// through makes a connection that leads through a door, and knows what the present one does.
func (s *standIn) through(url string, caBundle []byte) *codacy.Connection {
	s.Helper()
	account, capabilities := s.connection.Account(), s.connection.Capabilities()
	c, err := s.services.Connect(keyNamed("door"), codacy.Config{URL: url, CABundle: caBundle, Credential: s.credential.Value, Interval: time.Hour})
	if err != nil {
		s.Fatal(err)
	}
	c.Believe(account, &capabilities)
	s.connection = c
	return c
}

func TestAServiceThatCanNotBeTrustedGetsNoCredential(t *testing.T) {
	future, past := time.Now().Add(day), time.Now().Add(-day)
	for name, row := range map[string]struct {
		host     string
		notAfter time.Time
		trusted  bool
		words    string
	}{
		"a CA that nobody knows":         {"127.0.0.1", future, false, "set spec.codacy.caBundle of the issuer"},
		"a certificate of another host":  {"codacy.example", future, true, "its certificate is for another host"},
		"a certificate that has expired": {"127.0.0.1", past, true, "its certificate is not valid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := knownStandIn(t, edition(t, "cloud-2026-08"), v1alpha1.KindAccountToken, false)
			serving, inPEM := certificate(t, row.host, row.notAfter)
			d := s.door(&tls.Config{Certificates: []tls.Certificate{serving}})
			if !row.trusted {
				_, inPEM = certificate(t, row.host, row.notAfter)
			}
			s.through(d.url, inPEM)
			s.wantUnreachable(d, row.words)
		})
	}
}

func TestAServiceThatDoesNotSpeakTLSGetsNoCredential(t *testing.T) {
	t.Parallel()
	s := knownStandIn(t, edition(t, "cloud-2026-08"), v1alpha1.KindAccountToken, false)
	d := s.door(nil)
	s.through(d.url, s.running.CAPEM)
	s.wantUnreachable(d, "it does not speak TLS")
}

// wantUnreachable: nothing comes through a door, who asks learns why, and a mint is surely none.
func (s *standIn) wantUnreachable(d *door, words string) {
	s.Helper()
	_, err := s.connection.Identify(s.Context())
	got := s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false)
	s.wantWords(got, words, s.connection.URL())
	if begun := d.connections.Load(); begun != 1 {
		s.Errorf("it was tried %d times, though that does not help", begun)
	}
	_, err = s.connection.Mint(s.Context(), s.prepare(v1alpha1.KindAccountToken, 1))
	got = s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false)
	s.wantWords(got, words)
	if !got.NothingMinted {
		s.Error("something may have been minted, it says, where nothing was sent")
	}
	if s.connection.CredentialRefused() {
		s.Error("the credential is refused, it says, and nobody saw it")
	}
	if through := d.requests.Load(); through != 0 {
		s.Errorf("%d requests came through", through)
	}
}

func TestAPortThatNobodyListensOnMintsNothing(t *testing.T) {
	t.Parallel()
	s := knownStandIn(t, edition(t, "cloud-2026-08"), v1alpha1.KindAccountToken, false)
	d := s.door(nil)
	attempt := s.prepare(v1alpha1.KindAccountToken, 1)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.url = "https://" + closed.Addr().String()
	closed.Close()
	_, err = s.through(d.url, s.running.CAPEM).Mint(t.Context(), attempt)
	got := s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false)
	s.wantWords(got, "the connection failed")
	if !got.NothingMinted {
		t.Error("something may have been minted, it says, where nothing was sent")
	}
}

func TestCAsOfTheIssuerAreTrusted(t *testing.T) {
	t.Parallel()
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	serving, first := certificate(t, "127.0.0.1", time.Now().Add(day))
	_, second := certificate(t, "127.0.0.1", time.Now().Add(day))
	d := s.door(&tls.Config{Certificates: []tls.Certificate{serving}})
	for name, bundle := range map[string][]byte{"one": first, "the first of two": append(bytes.Clone(first), second...), "the second": append(bytes.Clone(second), first...)} {
		if _, err := s.through(d.url, bundle).Identify(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d.requests.Load() != 3 {
		t.Errorf("%d requests came through, want 3", d.requests.Load())
	}
}

func TestACABundleWithoutACertificateIsRefused(t *testing.T) {
	t.Parallel()
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	for name, bundle := range map[string]string{"text": codacytest.Marker, "an empty block": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"} {
		t.Run(name, func(t *testing.T) {
			c, err := s.services.Connect(keyNamed("bundle"), codacy.Config{URL: s.running.URL, CABundle: []byte(bundle), Credential: s.credential.Value})
			s.wantWords(s.wantReason(err, v1alpha1.ReasonInvalidCABundle, true), "spec.codacy.caBundle")
			if c != nil {
				t.Error("there is a connection")
			}
		})
	}
}

func TestTheCredentialFollowsNoRedirect(t *testing.T) {
	for _, operation := range []string{"getUser", "createUserApiToken", "getUserApiTokens", "deleteUserApiToken"} {
		for _, there := range []string{"to another host", "to another port", "to the same host"} {
			t.Run(operation+" "+there, func(t *testing.T) {
				t.Parallel()
				s := newStandIn(t, edition(t, "cloud-2026-08"))
				s.restart(patient)
				// The other host is trusted, so that only the client itself keeps the credential from it.
				serving, inPEM := certificate(t, "127.0.0.1", time.Now().Add(day))
				elsewhere := s.door(&tls.Config{Certificates: []tls.Certificate{serving}})
				to := map[string]string{
					"to another host": "https://localhost:" + elsewhere.port, "to another port": elsewhere.url, "to the same host": s.running.URL,
				}[there]
				s.through(s.running.URL, append(bytes.Clone(s.running.CAPEM), inPEM...))
				attempt, minted := s.mint(v1alpha1.KindAccountToken, 1)
				second := s.prepare(v1alpha1.KindAccountToken, 2)
				s.server.ResetRequests()
				s.server.Fault(always(operation, codacytest.Fault{Kind: codacytest.Redirect, URL: to + "/api/v3/version"}))
				var err error
				switch operation {
				case "getUser":
					_, err = s.connection.Identify(t.Context())
				case "createUserApiToken":
					_, err = s.connection.Mint(t.Context(), second)
				case "getUserApiTokens":
					err = s.look(v1alpha1.KindAccountToken)
				case "deleteUserApiToken":
					err = s.connection.Revoke(t.Context(), reference(v1alpha1.KindAccountToken, &attempt, minted.ID))
				}
				s.wantWords(s.wantReason(err, v1alpha1.ReasonServiceRefused, true), "307", "spec.codacy.url")
				s.wantRequests(map[string]int{operation: 1})
				if got := elsewhere.requests.Load() + elsewhere.connections.Load(); got != 0 {
					t.Error("the other host was asked")
				}
			})
		}
	}
}

// connectProxy is a proxy that knows the way to one host. What it is asked for, it keeps.
type connectProxy struct {
	mu    sync.Mutex
	to    string
	asked []string
	seen  http.Header
}

func (p *connectProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked, p.seen = append(p.asked, r.Method+" "+r.Host), r.Header.Clone()
	to := p.to
	p.mu.Unlock()
	onward, err := net.Dial("tcp", to)
	if r.Method != http.MethodConnect || err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer onward.Close()
	w.WriteHeader(http.StatusOK)
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(onward, buffered); onward.Close() })
	both.Go(func() { _, _ = io.Copy(client, onward); client.Close() })
	both.Wait()
}

// environmentsProxy is set before the first request: Go reads the environment once. It does not matter to other tests,
// because nobody asks a proxy for 127.0.0.1.
var environmentsProxy = func() *connectProxy {
	p := &connectProxy{}
	server := httptest.NewServer(p)
	if err := errors.Join(os.Setenv("HTTPS_PROXY", server.URL), os.Setenv("NO_PROXY", ""), os.Unsetenv("no_proxy"), os.Unsetenv("https_proxy")); err != nil {
		panic(err)
	}
	return p
}()

func TestTheProxyOfTheEnvironmentIsUsedAndDoesNotSeeTheCredential(t *testing.T) {
	s := knownStandIn(t, edition(t, "cloud-2026-08"), v1alpha1.KindAccountToken, false)
	serving, inPEM := certificate(t, behindProxy, time.Now().Add(day))
	d := s.door(&tls.Config{Certificates: []tls.Certificate{serving}})
	environmentsProxy.mu.Lock()
	environmentsProxy.to = "127.0.0.1:" + d.port
	environmentsProxy.mu.Unlock()
	s.through("https://"+behindProxy, inPEM)
	_, minted := s.mint(v1alpha1.KindAccountToken, 1)
	if !s.server.Accepts(minted.Value.Reveal()) || d.requests.Load() != 1 {
		t.Error("the request did not come through")
	}
	environmentsProxy.mu.Lock()
	defer environmentsProxy.mu.Unlock()
	if got := strings.Join(environmentsProxy.asked, ", "); got != "CONNECT "+behindProxy+":443" {
		t.Errorf("the proxy was asked for %q", got)
	}
	s.wantSilent("what the proxy saw", environmentsProxy.seen, fmt.Sprint(environmentsProxy.asked))
}
