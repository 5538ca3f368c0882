package authority

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func newCertificate(store client.Client, clock *clocktesting.FakePassiveClock) *SelfMadeCertificate {
	return &SelfMadeCertificate{
		Client: store, Clock: clock, Namespace: "ns",
		DNSNames: []string{"authority.ns.svc", "localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
}

func TestReplicasShareACertificateThatClientsCanVerify(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	store := fake.NewClientBuilder().WithScheme(scheme).Build()
	clock := clocktesting.NewFakePassiveClock(time.Now())
	first, second := newCertificate(store, clock), newCertificate(store, clock)
	for _, c := range []*SelfMadeCertificate{first, second} {
		if err := c.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !first.serving.Load().Leaf.Equal(second.serving.Load().Leaf) {
		t.Error("the replicas serve different certificates")
	}
	ca := publishedCA(t, store)

	ctx, cancel := context.WithCancel(t.Context())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	server := &Server{Authority: newReplica(t).Authority, Listener: listener, TLS: first.TLS()}
	go func() { ended <- server.Start(ctx) }()
	caller := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca}}}
	response, err := caller.Get("https://" + listener.Addr().String() + "/v1/issuers/main/authorize")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusUnauthorized || string(body) != notFound {
		t.Errorf("%d %s %v", response.StatusCode, body, err)
	}
	_ = response.Body.Close()
	if response, err := http.Get("https://" + listener.Addr().String() + "/"); err == nil {
		_ = response.Body.Close()
		t.Error("a client that does not trust the CA was served")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestACertificateIsRenewedUnderTheSameCA(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	store := fake.NewClientBuilder().WithScheme(scheme).Build()
	clock := clocktesting.NewFakePassiveClock(time.Now())
	c := newCertificate(store, clock)
	serving := func() *x509.Certificate {
		t.Helper()
		if err := c.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c.serving.Load().Leaf
	}
	verify := func(leaf *x509.Certificate, name string) {
		t.Helper()
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: publishedCA(t, store), DNSName: name, CurrentTime: clock.Now()}); err != nil {
			t.Error(err)
		}
	}
	first := serving()
	clock.SetTime(clock.Now().Add(servingLifetime - servingRenewal - time.Hour))
	if !serving().Equal(first) {
		t.Error("renewed too early")
	}
	before := publishedCA(t, store)
	clock.SetTime(clock.Now().Add(2 * time.Hour))
	second := serving()
	if second.Equal(first) {
		t.Error("not renewed 30 days before its end")
	}
	verify(second, "authority.ns.svc")
	if !before.Equal(publishedCA(t, store)) {
		t.Error("the renewal changed the CA that clients trust")
	}

	c.DNSNames = append(c.DNSNames, "tokens.example")
	verify(serving(), "tokens.example")

	clock.SetTime(clock.Now().Add(caLifetime - servingLifetime))
	verify(serving(), "localhost")
	if before.Equal(publishedCA(t, store)) {
		t.Error("a CA that is about to expire was kept")
	}
}

func TestADamagedCertificateIsReplaced(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	store := fake.NewClientBuilder().WithScheme(scheme).Build()
	c := newCertificate(store, clocktesting.NewFakePassiveClock(time.Now()))
	if _, err := c.TLS().GetCertificate(nil); err == nil {
		t.Error("a certificate out of nowhere")
	}
	damaged := &corev1.Secret{}
	damaged.Namespace, damaged.Name = "ns", CertificateSecretName
	damaged.Data = map[string][]byte{corev1.TLSCertKey: []byte("no"), corev1.TLSPrivateKeyKey: []byte("no")}
	if err := store.Create(t.Context(), damaged); err != nil {
		t.Fatal(err)
	}
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.TLS().GetCertificate(nil); err != nil {
		t.Error(err)
	}
}

func publishedCA(t *testing.T, store client.Client) *x509.CertPool {
	t.Helper()
	var published corev1.ConfigMap
	if err := store.Get(t.Context(), client.ObjectKey{Namespace: "ns", Name: CAConfigMapName}, &published); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(published.Data[caKey])) {
		t.Fatal("no certificate is published")
	}
	return pool
}
