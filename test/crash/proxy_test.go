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

	"github.com/tokensteward/tokensteward/internal/leakcheck"
)

// moment is when, relative to the n-th request, the process is killed.
type moment string

const (
	// before the request reaches the API server.
	before moment = "before"
	// after the API server carried it out, and before the process learns of it.
	after moment = "after"
)

// killer stands between the operator and the API server. Once armed it counts the operator's requests, watches aside,
// and calls kill at the chosen one. It also notes every token value that the operator tried to write.
type killer struct {
	server *httptest.Server
	values *leakcheck.Values

	mu       sync.Mutex
	armed    bool
	kill     func()
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
	k.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { k.serve(proxy, w, r) }))
	return k, nil
}

// arm makes the at-th request from now on the fatal one.
func (k *killer) arm(at int, when moment, kill func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.armed, k.at, k.when, k.kill, k.requests = true, at, when, kill, nil
}

// disarm says how many requests there were, and whether one was fatal.
func (k *killer) disarm() (requests []string, fatal bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.armed = false
	return k.requests, len(k.requests) >= k.at
}

func (k *killer) serve(proxy http.Handler, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // The process is gone.
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	k.note(body)
	if r.URL.Query().Get("watch") == "true" {
		proxy.ServeHTTP(w, r)
		return
	}
	// What was begun is carried out, though the process that asked for it dies.
	r = r.WithContext(context.WithoutCancel(r.Context()))

	fatal, when, kill := k.count(fmt.Sprintf("%s %s", r.Method, r.URL.Path))
	if !fatal {
		proxy.ServeHTTP(w, r)
		return
	}
	if when == after {
		proxy.ServeHTTP(httptest.NewRecorder(), r)
	}
	kill()
}

func (k *killer) count(request string) (fatal bool, when moment, kill func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.armed {
		return false, "", nil
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
