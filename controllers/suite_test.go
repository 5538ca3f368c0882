package controllers_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/controllers"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/leakcheck"
	"github.com/tokensteward/tokensteward/internal/manager"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// One control plane and one operator, in this process, serve all tests of the package.
var (
	controlPlane *testenv.ControlPlane
	k8s          client.Client
	// cached is what the operator sees, which may be behind what the API server has.
	cached       client.Reader
	now          = &shiftedClock{}
	authorityURL string
	metricsURL   string
	// allowedHost is the only one that a TokenIssuer may connect to.
	allowedHost = testenv.FreeAddress()
	issued      *leakcheck.Values
	// reconcilers are the operator's, of tokens.
	reconcilers []*controllers.TokenReconciler
	// logs is the operator's log.
	logs lockedBuffer
)

const (
	serviceTimeout = 2 * time.Second
	renewDeadline  = 10 * time.Second
	// requestLifetime is past the time within which a lost request to mint may take effect.
	requestLifetime = renewDeadline + 4*serviceTimeout + time.Second
)

// shiftedClock goes as the real one does, and can be set.
type shiftedClock struct{ shift atomic.Int64 }

func (c *shiftedClock) Now() time.Time                  { return time.Now().Add(time.Duration(c.shift.Load())) }
func (c *shiftedClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }
func (c *shiftedClock) SetTime(t time.Time)             { c.shift.Store(int64(time.Until(t))) }

func TestMain(m *testing.M) {
	flag.Parse()
	if onlyFuzzes() {
		os.Exit(m.Run())
	}
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "controllers:", err)
		code = 1
	}
	os.Exit(code)
}

// onlyFuzzes says whether nothing is run that needs a control plane. Each process of a fuzzer would start one.
func onlyFuzzes() bool {
	is := func(name string) string { return flag.Lookup(name).Value.String() }
	return is("test.list") != "" || is("test.fuzz") != "" || strings.HasPrefix(strings.TrimPrefix(is("test.run"), "^"), "Fuzz")
}

func runSuite(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ctrl.SetLogger(zap.New(zap.WriteTo(&logs), zap.UseDevMode(true), zap.JSONEncoder()))

	if controlPlane, err = testenv.Start(ctx); err != nil {
		return 1, err
	}
	defer func() {
		cancel() // Open watches hold up the API server's end.
		if stopErr := controlPlane.Stop(); stopErr != nil && err == nil {
			err = stopErr
		}
	}()
	k8s = controlPlane.Client
	if issued, err = leakcheck.Collect(ctx, controlPlane.Admin); err != nil {
		return 1, err
	}

	stopOperator, err := startOperator(ctx)
	if err != nil {
		return 1, err
	}
	code = m.Run()
	if err := stopOperator(); err != nil {
		return 1, err
	}
	if code != 0 && os.Getenv("SHOW_OPERATOR_LOG") != "" {
		fmt.Fprint(os.Stderr, logs.String())
	}
	places, err := leakcheck.Cluster(ctx, k8s)
	if err != nil {
		return 1, err
	}
	places["the log"] = logs.String()
	issued.Add("the words of Codacy", codacytest.Marker) // Whatever it says may hold a value.
	if places["the metrics"], err = gatherMetrics(); err != nil {
		return 1, err
	}
	return code, errors.Join(issued.Check(places), askedForForeignSecrets())
}

func startOperator(ctx context.Context) (stop func() error, err error) {
	options := &manager.Options{
		ServiceTimeout: serviceTimeout, ServicePause: time.Second, AllowedHosts: []string{allowedHost},
		Namespace: testenv.Namespace, LeaderElection: false,
		LeaseDuration: 15 * time.Second, RenewDeadline: renewDeadline, RetryPeriod: 2 * time.Second,
		AuthorityAddress: testenv.FreeAddress(), AuthorityMaxStaleness: 30 * time.Second, MetricsAddress: testenv.FreeAddress(), MetricsAuthentication: true, ProbeAddress: "0",
	}
	authorityURL, metricsURL = "https://"+options.AuthorityAddress, "https://"+options.MetricsAddress+"/metrics"
	ctx, cancel := context.WithCancel(ctx)
	controllers.OnSetup(func(r *controllers.TokenReconciler) { reconcilers = append(reconcilers, r) })
	config := rest.CopyConfig(controlPlane.Operator)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &requests{next: next} })
	mgr, err := manager.New(ctx, config, options, now)
	if err != nil {
		cancel()
		return nil, err
	}
	cached = mgr.GetClient()
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	return func() error { cancel(); return <-ended }, nil
}

// requests passes the operator's requests on and keeps them, watches aside, and all that ask for more than one Secret.
type requests struct{ next http.RoundTripper }

var (
	requestsMu  sync.Mutex
	allRequests []string
	// ofSecrets are the lists and watches of Secrets, and whatever else was asked of several at once, with their queries.
	ofSecrets []*url.URL
	// faults says by namespace which of the operator's requests get an answer that the API server did not give.
	faults = map[string]func(*http.Request) (status int){}
)

func (r *requests) RoundTrip(request *http.Request) (*http.Response, error) {
	if strings.HasSuffix(request.URL.Path, "/secrets") && request.Method != http.MethodPost {
		requestsMu.Lock()
		ofSecrets = append(ofSecrets, request.URL)
		requestsMu.Unlock()
	}
	if request.URL.Query().Get("watch") != "true" {
		requestsMu.Lock()
		allRequests = append(allRequests, request.Method+" "+request.URL.Path)
		var status int
		for namespace, fault := range faults {
			if strings.Contains(request.URL.Path, "/namespaces/"+namespace+"/") {
				status = fault(request)
			}
		}
		requestsMu.Unlock()
		if status != 0 {
			return &http.Response{
				StatusCode: status, Status: http.StatusText(status), Request: request, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
				Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(strings.NewReader("out of order")),
			}, nil
		}
	}
	return r.next.RoundTrip(request)
}

// fault makes the operator's requests in the fixture's namespace fail, as long as the function gives a status for them.
func (f *fixture) fault(status func(*http.Request) int) {
	requestsMu.Lock()
	defer requestsMu.Unlock()
	faults[f.namespace] = status
}

// writesSecret says whether a request writes a Secret, and whether it only tries.
func writesSecret(request *http.Request) (writes, dryRun bool) {
	writes = strings.Contains(request.URL.Path, "/secrets") && (request.Method == http.MethodPost || request.Method == http.MethodPut)
	return writes, request.URL.Query().Get("dryRun") != ""
}

// requests are the operator's in the fixture's namespace so far.
func (f *fixture) requests() (found []string) {
	requestsMu.Lock()
	defer requestsMu.Unlock()
	for _, request := range allRequests {
		if strings.Contains(request, "/namespaces/"+f.namespace+"/") {
			found = append(found, request)
		}
	}
	return found
}

// asOperator is a client with the operator's name, and with every permission.
func asOperator() client.Client {
	config := rest.CopyConfig(controlPlane.Admin)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + testenv.Namespace + ":tokensteward", Groups: []string{"system:masters"},
	}
	c, err := client.New(config, client.Options{Scheme: manager.Scheme()})
	if err != nil {
		panic(err)
	}
	return c
}

// lockedBuffer collects the operator's log.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func gatherMetrics() (string, error) {
	families, err := metrics.Registry.Gather()
	var text strings.Builder
	for _, family := range families {
		text.WriteString(family.String())
	}
	return text.String(), err
}

// fixture is a namespace of a test's own, and an issuer that grants it things.
type fixture struct {
	*gomega.WithT
	t         *testing.T
	ctx       context.Context
	namespace string
	issuer    *v1alpha1.ClusterTokenIssuer
}

// newFixture makes a namespace and an issuer, both with a generated name. The issuer has the account alice, who may
// reach gh/acme, and grants the namespace her tokens and those of gh/acme's projects.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := newNamespace(t)
	f.issuer = &v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: f.namespace},
		Spec: v1alpha1.ClusterTokenIssuerSpec{
			BuiltIn: &v1alpha1.BuiltInIssuer{Accounts: []v1alpha1.Account{{Name: "alice", Access: []v1alpha1.AccessPath{"gh/acme"}}}},
			Grants: []v1alpha1.Grant{{
				Namespaces: []v1alpha1.NamespaceName{v1alpha1.NamespaceName(f.namespace)},
				Accounts:   []v1alpha1.AccountPattern{"alice"}, Projects: []v1alpha1.ProjectPattern{"gh/acme/*"},
			}},
		},
	}
	f.create(f.issuer)
	f.Eventually(f.issuerReason).Should(gomega.Equal(v1alpha1.ReasonAvailable))
	return f
}

// newNamespace makes a namespace, and no issuer.
func newNamespace(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{WithT: gomega.NewWithT(t), t: t, ctx: t.Context()}
	f.SetDefaultEventuallyTimeout(time.Minute)
	f.SetDefaultEventuallyPollingInterval(20 * time.Millisecond)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	f.create(namespace)
	f.namespace = namespace.Name
	return f
}

func (f *fixture) create(o client.Object) {
	f.t.Helper()
	f.Expect(k8s.Create(f.ctx, o)).To(gomega.Succeed())
}

func (f *fixture) accountToken(name string) *v1alpha1.AccountToken {
	return &v1alpha1.AccountToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name},
		Spec: v1alpha1.AccountTokenSpec{
			TokenSpec: v1alpha1.TokenSpec{IssuerRef: v1alpha1.IssuerReference{Name: f.issuer.Name}}, Account: "alice",
		},
	}
}

// issuedAccountToken is one that exists and is ready.
func (f *fixture) issuedAccountToken(name string) *v1alpha1.AccountToken {
	f.t.Helper()
	token := f.accountToken(name)
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionTrue, "")
	return token
}

func (f *fixture) projectToken(name, repository string) *v1alpha1.ProjectToken {
	return &v1alpha1.ProjectToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name},
		Spec: v1alpha1.ProjectTokenSpec{
			TokenSpec: v1alpha1.TokenSpec{IssuerRef: v1alpha1.IssuerReference{Name: f.issuer.Name}},
			Project:   v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: v1alpha1.PathSegment(repository)},
		},
	}
}

// eventuallyReady waits until the Ready condition has the status and, unless it is empty, the reason, for the
// resource's newest generation; the resource is up to date then.
func (f *fixture) eventuallyReady(t v1alpha1.Token, status metav1.ConditionStatus, reason string) {
	f.t.Helper()
	f.Eventually(func(g gomega.Gomega) {
		g.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(t), t)).To(gomega.Succeed())
		ready := readyCondition(t)
		g.Expect(ready.Status).To(gomega.Equal(status), "%s: %s", ready.Reason, ready.Message)
		g.Expect(ready.ObservedGeneration).To(gomega.Equal(t.GetGeneration()))
		if reason != "" {
			g.Expect(ready.Reason).To(gomega.Equal(reason))
		}
	}).Should(gomega.Succeed())
}

func readyCondition(t v1alpha1.Token) metav1.Condition {
	for _, condition := range t.SharedStatus().Conditions {
		if condition.Type == v1alpha1.ConditionReady {
			return condition
		}
	}
	return metav1.Condition{Status: metav1.ConditionUnknown, Message: "no Ready condition"}
}

// secret reads the Secret that a resource is written to.
func (f *fixture) secret(t v1alpha1.Token) *corev1.Secret {
	f.t.Helper()
	secret := &corev1.Secret{}
	f.Expect(k8s.Get(f.ctx, client.ObjectKey{Namespace: f.namespace, Name: v1alpha1.SecretName(t)}, secret)).To(gomega.Succeed())
	return secret
}

// expectSame compares values, which are in no failure's message.
func (f *fixture) expectSame(a, b []byte) {
	f.t.Helper()
	f.Expect(len(a) > 0 && bytes.Equal(a, b)).To(gomega.BeTrue(), "the values differ")
}

// expectKeys says which keys a resource's Secret has.
func (f *fixture) expectKeys(t v1alpha1.Token, keys ...string) {
	f.t.Helper()
	f.Expect(slices.Sorted(maps.Keys(f.secret(t).Data))).To(gomega.Equal(keys))
}

// authorize asks the authority about a token and returns status and body. A replica that was starved for a while can't tell at
// first: docs/authority.md, When it can't tell.
func (f *fixture) authorize(issuer, header string, value []byte, path string) (status int, body string) {
	f.t.Helper()
	for range 40 {
		if status, body = f.askOnce(issuer, header, value, path); status != http.StatusServiceUnavailable {
			break
		}
		time.Sleep(250 * time.Millisecond)
	}
	return status, body
}

func (f *fixture) askOnce(issuer, header string, value []byte, path string) (int, string) {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.ctx, http.MethodGet, authorityURL+"/v1/issuers/"+issuer+"/authorize"+path, nil)
	f.Expect(err).NotTo(gomega.HaveOccurred())
	request.Header.Set(header, string(value))
	response, err := insecureClient.Do(request)
	f.Expect(err).NotTo(gomega.HaveOccurred())
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	f.Expect(err).NotTo(gomega.HaveOccurred())
	return response.StatusCode, string(body)
}

// The certificate has a test of its own, in internal/authority.
var insecureClient = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
