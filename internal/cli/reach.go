package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/authority"
	"github.com/tokensteward/tokensteward/internal/token"
)

// operatorLabels are on the operator's pods, Services and ServiceAccounts.
var operatorLabels = client.MatchingLabels{"app.kubernetes.io/name": "tokensteward"}

// authorityFlags say how the authority is reached.
type authorityFlags struct{ url, ca string }

func (f *authorityFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.url, "authority-url", "", "Where the authority can be reached from here, as https://host:port. By default a port is forwarded to the operator.")
	flags.StringVar(&f.ca, "authority-ca", "", "A file with the CA of the authority's certificate, as PEM. By default the one that the operator publishes.")
}

// authorityClient asks the authority.
type authorityClient struct {
	url   string
	http  *http.Client
	close func()
}

// reachAuthority connects to the authority. Its certificate is checked: values of tokens are shown to it.
func (v *verifier) reachAuthority(ctx context.Context) (*authorityClient, error) {
	pool, err := v.authorityCA(ctx)
	if err != nil {
		return nil, err
	}
	a := &authorityClient{url: v.flags.url, close: func() {}}
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if a.url == "" {
		local, end, err := v.forward(ctx, "authority")
		if err != nil {
			return nil, err
		}
		a.url, a.close = "https://"+local, end
		if config.ServerName, err = v.authorityName(ctx); err != nil {
			end()
			return nil, err
		}
	}
	if !strings.HasPrefix(a.url, "https://") {
		return nil, errors.New("--authority-url must begin with https://")
	}
	a.http = &http.Client{
		Transport:     &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment},
		Timeout:       serviceTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return a, nil
}

func (v *verifier) authorityCA(ctx context.Context) (*x509.CertPool, error) {
	var text []byte
	pool := x509.NewCertPool()
	if v.flags.ca != "" {
		var err error
		if text, err = os.ReadFile(v.flags.ca); err != nil {
			return nil, fmt.Errorf("--authority-ca: %w", err)
		}
	} else {
		var published corev1.ConfigMap
		err := v.client.Get(ctx, client.ObjectKey{Namespace: v.operatorNamespace, Name: authority.CAConfigMapName}, &published)
		if apierrors.IsNotFound(err) {
			return x509.SystemCertPool() // The certificate is not self-made.
		}
		if err != nil {
			return nil, fmt.Errorf("the CA of the authority: %w; name a file with it by --authority-ca", err)
		}
		text = []byte(published.Data["ca.crt"])
		// Beside the system's: what was published stays when the certificate is no longer self-made.
		if pool, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("the system's certificates: %w", err)
		}
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("the CA of the authority is not a certificate as PEM")
	}
	return pool, nil
}

// authorityName is a name that the authority's certificate is for.
func (v *verifier) authorityName(ctx context.Context) (string, error) {
	var services corev1.ServiceList
	if err := v.client.List(ctx, &services, client.InNamespace(v.operatorNamespace), operatorLabels); err != nil {
		return "", err
	}
	for i := range services.Items {
		if name := services.Items[i].Name; strings.HasSuffix(name, "-authority") {
			return name + "." + v.operatorNamespace + ".svc", nil
		}
	}
	return "", fmt.Errorf("there is no Service of the authority in the namespace %s: is --operator-namespace right?", v.operatorNamespace)
}

// accepts asks whether a token is accepted for what it is for.
func (a *authorityClient) accepts(ctx context.Context, t v1alpha1.Token, value token.Value) (bool, error) {
	address, header := a.url+"/v1/issuers/"+url.PathEscape(t.SharedSpec().IssuerRef.Name)+"/authorize", "api-token"
	if t.Kind() == v1alpha1.KindProjectToken {
		address, header = address+"/"+t.Subject(), "project-token"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return false, err
	}
	request.Header.Set(header, value.Reveal())
	response, err := a.http.Do(request)
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		return false, fmt.Errorf("%w; name a file with the CA of its certificate by --authority-ca", err)
	case err != nil:
		return false, err
	}
	defer response.Body.Close()
	// Anything may answer at an address that somebody typed.
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	switch {
	case err != nil:
		return false, err
	case response.StatusCode == http.StatusOK && response.Header.Get("X-Token-Id") == t.SharedStatus().Token.ID:
		return true, nil
	case response.StatusCode == http.StatusUnauthorized && strings.TrimSpace(string(body)) == `{"error":"not found"}`:
		return false, nil
	case response.StatusCode == http.StatusServiceUnavailable:
		return false, errors.New("it can't tell now; try again")
	default:
		return false, fmt.Errorf("its answer, %d, is not one of the authority's: is it the authority that is reached?", response.StatusCode)
	}
}

// operatorPods are those of the operator that are ready.
func (p *plugin) operatorPods(ctx context.Context, c client.Reader) ([]corev1.Pod, error) {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(p.operatorNamespace), operatorLabels); err != nil {
		return nil, err
	}
	var running []corev1.Pod
	for i := range pods.Items {
		for _, condition := range pods.Items[i].Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
				running = append(running, pods.Items[i])
			}
		}
	}
	if len(running) == 0 {
		return nil, fmt.Errorf("no pod of the operator is ready in the namespace %s: is --operator-namespace right?", p.operatorNamespace)
	}
	return running, nil
}

// forward forwards a port of this machine to a named one of a pod of the operator.
func (v *verifier) forward(ctx context.Context, port string) (address string, end func(), err error) {
	pods, err := v.operatorPods(ctx, v.client)
	if err != nil {
		return "", nil, err
	}
	return forward(ctx, v.config, &pods[0], port)
}

// forward forwards a port of this machine to a named one of a pod.
func forward(ctx context.Context, config *rest.Config, pod *corev1.Pod, port string) (address string, end func(), err error) {
	number := portOf(pod, port)
	if number == 0 {
		return "", nil, fmt.Errorf("the pod %s has no port %q", pod.Name, port)
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", nil, err
	}
	target := clients.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return "", nil, err
	}
	websocket, err := portforward.NewSPDYOverWebsocketDialer(target, config)
	if err != nil {
		return "", nil, err
	}
	// As kubectl does: old API servers and some proxies know the former way alone.
	dialer := portforward.NewFallbackDialer(websocket, spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, target),
		func(err error) bool { return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err) })
	isReady, stop, failed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:" + strconv.Itoa(int(number))}, stop, isReady, io.Discard, io.Discard)
	if err != nil {
		return "", nil, err
	}
	go func() { failed <- forwarder.ForwardPorts() }()
	select {
	case <-ctx.Done():
		close(stop)
		return "", nil, ctx.Err()
	case err := <-failed:
		return "", nil, fmt.Errorf("forwarding a port to the pod %s: %w", pod.Name, err)
	case <-isReady:
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		close(stop)
		return "", nil, err
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local))), func() { close(stop) }, nil
}

func portOf(pod *corev1.Pod, name string) int32 {
	for i := range pod.Spec.Containers {
		for _, port := range pod.Spec.Containers[i].Ports {
			if port.Name == name {
				return port.ContainerPort
			}
		}
	}
	return 0
}
