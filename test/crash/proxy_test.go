package crash_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/leakcheck"
)

// moment is when, relative to the n-th request, the process is killed.
type moment string

const (
	// before the request reaches the API server.
	before moment = "before"
	// after the API server carried it out, and before the process learns of it.
	after moment = "after"
	// carriedOut: the request is carried out and answered, once the process was stopped.
	carriedOut moment = "carried out"
)

// killer stands between the operator and the API server. Once armed it counts the operator's requests, watches aside,
// and calls kill at the chosen one. It also notes every token value that the operator tried to write.
type killer struct {
	server *httptest.Server
	values *leakcheck.Values

	mu    sync.Mutex
	armed bool
	kill  func()
	// words that a request must have to count.
	words    string
	acted    func()
	holding  bool
	epoch    int
	released *sync.Cond
	at       int
	when     moment
	requests []string
	// written are the values by namespace/name of their Secret.
	written map[string][]string
}

func newKiller(config *rest.Config, values *leakcheck.Values) (*killer, error) {
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // Watches must not be held back.
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	k := &killer{values: values, written: map[string][]string{}}
	k.released = sync.NewCond(&k.mu)
	k.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { k.serve(proxy, w, r) }))
	return k, nil
}

// arm makes the at-th request from now on the fatal one.
func (k *killer) arm(at int, when moment, kill func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.armed, k.at, k.when, k.kill, k.requests = true, at, when, kill, nil
}

// writeKubeconfig writes a file with which a process goes through the killer.
func (k *killer) writeKubeconfig(file string) error {
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: k.server.URL}},
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "c"}},
		CurrentContext: "c",
	}, file)
}

// serviceRequest counts a request to the service as one more of the process. It is called when the service has the request,
// and again when it has acted.
func (k *killer) serviceRequest(operation, when string) {
	if when == codacytest.Before {
		fatal, moment, kill := k.count("service " + operation)
		switch {
		case fatal && moment == before:
			kill()
			panic(http.ErrAbortHandler) // The service never got it.
		case fatal && moment == carriedOut:
			kill()
		case fatal:
			k.killWhenActed(kill)
		}
		return
	}
	if kill := k.killWhenActed(nil); kill != nil {
		kill()
	}
}

// killWhenActed sets what is to be done when the service has acted, and takes what was set before.
func (k *killer) killWhenActed(kill func()) (set func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	set, k.acted = k.acted, kill
	return set
}

// only has requests count alone in which all these words are.
func (k *killer) only(words string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.words = words
}

// disarm says how many requests there were, and whether one was fatal.
func (k *killer) disarm() (requests []string, fatal bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.armed = false
	return k.requests, k.at > 0 && len(k.requests) >= k.at
}

func (k *killer) serve(proxy http.Handler, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // The process is gone.
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	k.note(body)
	if r.URL.Query().Get("watch") == "true" {
		proxy.ServeHTTP(k.newHeld(w), r)
		return
	}
	if strings.Contains(r.URL.Path, "/leases/") {
		proxy.ServeHTTP(w, r) // Whoever leads writes them all the time.
		return
	}
	// What was begun is carried out, though the process that asked for it dies.
	r = r.WithContext(context.WithoutCancel(r.Context()))

	fatal, when, kill := k.count(fmt.Sprintf("%s %s", r.Method, r.URL.Path))
	if !fatal {
		proxy.ServeHTTP(w, r)
		return
	}
	switch when {
	case before:
	case after:
		proxy.ServeHTTP(httptest.NewRecorder(), r)
	case carriedOut:
		kill()
		proxy.ServeHTTP(w, r)
		return
	}
	kill()
}

func (k *killer) count(request string) (fatal bool, when moment, kill func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.armed {
		return false, "", nil
	}
	for _, word := range strings.Fields(k.words) {
		if !strings.Contains(request, word) {
			return false, "", nil
		}
	}
	k.requests = append(k.requests, request)
	return len(k.requests) == k.at, k.when, k.kill
}

// note remembers the values in a Secret that is written, whether or not the write gets through.
func (k *killer) note(body []byte) {
	decoded, _, err := clientgoscheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	secret, ok := decoded.(*corev1.Secret)
	if err != nil || !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	name := secret.Namespace + "/" + secret.Name
	for key, value := range secret.Data {
		if strings.HasPrefix(secret.Name, "authority") {
			continue
		}
		k.written[name] = append(k.written[name], string(value))
		k.values.Add(name+" "+key, string(value))
	}
}

// valuesOf are all values that the operator ever tried to write into a Secret.
func (k *killer) valuesOf(namespace, name string) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string(nil), k.written[namespace+"/"+name]...)
}
