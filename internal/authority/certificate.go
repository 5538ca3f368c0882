package authority

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
	"math/big"
	"net"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Names of what the self-made certificate is kept in and published by, in the operator's namespace.
const (
	CertificateSecretName = "tokensteward-authority-tls"
	CAConfigMapName       = "tokensteward-authority-ca"
	caKey                 = "ca.crt"
	caPrivateKey          = "ca.key"
)

// Lives of the self-made certificates, and how often a replica looks whether there is a newer one.
const (
	caLifetime       = 10 * 365 * 24 * time.Hour
	servingLifetime  = 90 * 24 * time.Hour
	servingRenewal   = 30 * 24 * time.Hour
	certificateCheck = 10 * time.Minute
)

// SelfMadeCertificate keeps a serving certificate, signed by a CA of its own, in a Secret that all replicas share, and
// publishes the CA in a ConfigMap. It renews the certificate 30 days before it expires; the CA lives ten years.
type SelfMadeCertificate struct {
	// Client reads and writes live: a cache would only be another thing to wait for.
	Client    client.Client
	Clock     clock.PassiveClock
	Namespace string
	// DNSNames and IPs that clients know the authority by.
	DNSNames []string
	IPs      []net.IP

	serving atomic.Pointer[tls.Certificate]
}

// TLS is the server's configuration, which always serves the newest certificate.
func (c *SelfMadeCertificate) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if serving := c.serving.Load(); serving != nil {
				return serving, nil
			}
			return nil, errors.New("no certificate yet")
		},
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*SelfMadeCertificate) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable: it keeps the certificate fresh until the context ends.
func (c *SelfMadeCertificate) Start(ctx context.Context) error {
	ticker := time.NewTicker(certificateCheck)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := c.Refresh(ctx); err != nil {
				ctrl.LoggerFrom(ctx).Error(err, "The authority's certificate could not be refreshed; the old one goes on")
			}
		}
	}
}

// Refresh takes up the certificate that the replicas share, and makes one if there is none or it is due.
func (c *SelfMadeCertificate) Refresh(ctx context.Context) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: CertificateSecretName}}
	err := c.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret)
	exists := err == nil
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading the authority's certificate: %w", err)
	}
	if !c.good(secret) {
		if err := c.make(secret); err != nil {
			return fmt.Errorf("making the authority's certificate: %w", err)
		}
		if exists {
			err = c.Client.Update(ctx, secret)
		} else {
			err = c.Client.Create(ctx, secret)
		}
		if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
			// Another replica was faster: take up what it made.
			err = c.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret)
		}
		if err != nil {
			return fmt.Errorf("writing the authority's certificate: %w", err)
		}
	}
	serving, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return fmt.Errorf("the Secret %s/%s holds no usable certificate: %w", c.Namespace, CertificateSecretName, err)
	}
	c.serving.Store(&serving)
	return c.publish(ctx, secret.Data[caKey])
}

// good says whether the Secret holds a certificate for all our names that is not due for renewal.
func (c *SelfMadeCertificate) good(secret *corev1.Secret) bool {
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil || c.Clock.Now().After(pair.Leaf.NotAfter.Add(-servingRenewal)) {
		return false
	}
	return !slices.ContainsFunc(c.hosts(), func(host string) bool { return pair.Leaf.VerifyHostname(host) != nil })
}

func (c *SelfMadeCertificate) hosts() []string {
	hosts := slices.Clone(c.DNSNames)
	for _, ip := range c.IPs {
		hosts = append(hosts, ip.String())
	}
	return hosts
}

func (c *SelfMadeCertificate) make(secret *corev1.Secret) error {
	now := c.Clock.Now()
	ca, caSigner, err := loadCA(secret, now)
	if err != nil {
		if ca, caSigner, err = makeCA(now); err != nil {
			return err
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serialNumber(), Subject: pkix.Name{CommonName: "tokensteward-authority"},
		NotBefore: now.Add(-5 * time.Minute), NotAfter: now.Add(servingLifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: c.DNSNames, IPAddresses: c.IPs,
	}
	leaf, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caSigner)
	if err != nil {
		return err
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return err
	}
	caKeyPEM, err := keyutil.MarshalPrivateKeyToPEM(caSigner)
	if err != nil {
		return err
	}
	secret.Type = corev1.SecretTypeTLS
	secret.Data = map[string][]byte{
		corev1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: leaf}),
		corev1.TLSPrivateKeyKey: keyPEM,
		caKey:                   pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: ca.Raw}),
		caPrivateKey:            caKeyPEM,
	}
	return nil
}

// loadCA takes the CA up from the Secret, so that a renewal leaves the clients' trust alone.
func loadCA(secret *corev1.Secret, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certificates, err := cert.ParseCertsPEM(secret.Data[caKey])
	if err != nil {
		return nil, nil, err
	}
	key, err := keyutil.ParsePrivateKeyPEM(secret.Data[caPrivateKey])
	if err != nil {
		return nil, nil, err
	}
	signer, ok := key.(*ecdsa.PrivateKey)
	if !ok || !signer.PublicKey.Equal(certificates[0].PublicKey) || now.After(certificates[0].NotAfter.Add(-servingLifetime)) {
		return nil, nil, errors.New("the CA is of another making, or about to expire")
	}
	return certificates[0], signer, nil
}

func makeCA(now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serialNumber(), Subject: pkix.Name{CommonName: "tokensteward-authority-ca"},
		NotBefore: now.Add(-5 * time.Minute), NotAfter: now.Add(caLifetime),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return certificate, key, err
}

func serialNumber() *big.Int {
	var random [16]byte
	_, _ = rand.Read(random[:]) // Never fails.
	return new(big.Int).SetBytes(random[:])
}

// publish puts the CA where clients can read it: its Secret holds the private keys as well.
func (c *SelfMadeCertificate) publish(ctx context.Context, ca []byte) error {
	published := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: CAConfigMapName}}
	err := c.Client.Get(ctx, client.ObjectKeyFromObject(published), published)
	switch {
	case apierrors.IsNotFound(err):
		published.Data = map[string]string{caKey: string(ca)}
		err = c.Client.Create(ctx, published)
	case err == nil && !bytes.Equal([]byte(published.Data[caKey]), ca):
		published.Data = map[string]string{caKey: string(ca)}
		err = c.Client.Update(ctx, published)
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		err = nil // Another replica published the same CA.
	}
	if err != nil {
		return fmt.Errorf("publishing the authority's CA: %w", err)
	}
	return nil
}
