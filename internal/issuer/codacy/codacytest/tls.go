package codacytest

import (
	"bytes"
	"context"
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
	"time"
)

// Running is a handler that is served on an address.
type Running struct {
	// URL is https, with the address and without a path.
	URL string
	// CAPEM is the certificate of the CA that signed the server's, in PEM.
	CAPEM []byte

	server *http.Server
	hangUp context.CancelFunc
	ended  chan struct{}
}

// StartTLS serves a handler, which may be a Server or one within Check, on an address such as 127.0.0.1:0. The
// certificate is for 127.0.0.1, ::1, localhost and further names or IP addresses, and of a CA that is made anew.
func StartTLS(handler http.Handler, address string, names ...string) (*Running, error) {
	certificate, ca, err := newCertificate(names)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	ctx, hangUp := context.WithCancel(context.Background())
	r := &Running{
		URL: "https://" + listener.Addr().String(), CAPEM: ca, hangUp: hangUp, ended: make(chan struct{}),
		server: &http.Server{
			Handler: handler, ReadHeaderTimeout: time.Minute,
			TLSConfig:   &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
			BaseContext: func(net.Listener) context.Context { return ctx },
			ErrorLog:    log.New(io.Discard, "", 0), // Clients that don't trust the CA, and connections that were cut.
		},
	}
	go func() {
		defer close(r.ended)
		_ = r.server.ServeTLS(listener, "", "") // Until Close.
	}()
	return r, nil
}

// Client trusts the server's CA.
func (r *Running) Client() *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(r.CAPEM)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
	}}
}

// Close ends all connections, those that hang too, and frees the address. The handler can be served again.
func (r *Running) Close() error {
	r.hangUp()
	err := r.server.Close()
	<-r.ended
	return err
}

// newCertificate is a certificate for loopback addresses and the names, and in PEM that of the CA which signed it. Both are valid for a
// year of real time, whatever the server's clock says: that is what clients go by.
func newCertificate(names []string) (serving tls.Certificate, caPEM []byte, err error) {
	now := time.Now()
	caKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		return tls.Certificate{}, nil, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA of the stand-in for Codacy"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(year),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	if ca, err = x509.ParseCertificate(caDER); err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "stand-in for Codacy"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(year),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	var encoded bytes.Buffer
	if err := pem.Encode(&encoded, &pem.Block{Type: "CERTIFICATE", Bytes: caDER}); err != nil {
		return tls.Certificate{}, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key}, encoded.Bytes(), nil
}
