package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/cli"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/leakcheck"
	"github.com/tokensteward/tokensteward/internal/manager"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// One control plane and one operator, in this process, serve all tests of the package.
var (
	controlPlane *testenv.ControlPlane
	k8s          client.Client
	// operator is a client with the operator's permissions: the API server lets nobody else write a status.
	operator     client.Client
	authorityURL string
	// allowedHost is where a TokenIssuer may connect to.
	allowedHost = testenv.FreeAddress()
	// public answers as an authority that knows no token, with a certificate that is one of the system's in this process.
	public *codacytest.Running
	issued *leakcheck.Values

	mu sync.Mutex
	// said is all that the plugin ever printed.
	said bytes.Buffer
)

func TestMain(m *testing.M) {
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cli:", err)
		code = 1
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ctrl.SetLogger(logr.Discard())
	directory, err := os.MkdirTemp("", "tokensteward-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(directory)
	if err := startPublic(directory); err != nil {
		return 1, err
	}
	defer public.Close()
	if controlPlane, err = testenv.Start(ctx); err != nil {
		return 1, err
	}
	defer func() {
		cancel() // Open watches hold up the API server's end.
		if stopErr := controlPlane.Stop(); stopErr != nil && err == nil {
			code, err = 1, stopErr
		}
	}()
	k8s = controlPlane.Client
	if operator, err = client.New(controlPlane.Operator, client.Options{Scheme: manager.Scheme()}); err != nil {
		return 1, err
	}
	if issued, err = leakcheck.Collect(ctx, controlPlane.Admin); err != nil {
		return 1, err
	}
	options := &manager.Options{
		ServiceTimeout: 5 * time.Second, ServicePause: time.Second, AllowedHosts: []string{allowedHost}, Namespace: testenv.Namespace,
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		AuthorityAddress: testenv.FreeAddress(), AuthorityMaxStaleness: 30 * time.Second, MetricsAddress: "0", ProbeAddress: "0",
	}
	authorityURL = "https://" + options.AuthorityAddress
	mgr, err := manager.New(ctx, controlPlane.Operator, options, clock.RealClock{})
	if err != nil {
		return 1, err
	}
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	code = m.Run()
	cancel()
	if err := <-ended; err != nil {
		return 1, err
	}
	return code, issued.Check(map[string]string{"what the plugin printed": said.String()})
}

// startPublic starts public. The system's certificates are read once, so that no test can bring them along.
func startPublic(directory string) (err error) {
	public, err = codacytest.StartTLS(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"not found"}`)
	}), "127.0.0.1:0")
	if err != nil {
		return err
	}
	file := filepath.Join(directory, "ca.crt")
	return errors.Join(os.WriteFile(file, public.CAPEM, 0o600), os.Setenv("SSL_CERT_FILE", file))
}

// fixture is a namespace of a test's own, and a built-in issuer of the same name for it.
type fixture struct {
	*gomega.WithT
	t         *testing.T
	namespace string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{WithT: gomega.NewWithT(t), t: t}
	f.SetDefaultEventuallyTimeout(time.Minute)
	f.SetDefaultEventuallyPollingInterval(20 * time.Millisecond)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "cli-"}}
	f.create(namespace)
	f.namespace = namespace.Name
	f.create(&v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: f.namespace},
		Spec: v1alpha1.ClusterTokenIssuerSpec{
			BuiltIn: &v1alpha1.BuiltInIssuer{Accounts: []v1alpha1.Account{{Name: "alice", Access: []v1alpha1.AccessPath{"gh/acme"}}}},
			Grants:  f.grants("alice"),
		},
	})
	return f
}

func (f *fixture) grants(account string) []v1alpha1.Grant {
	return []v1alpha1.Grant{{
		Namespaces: []v1alpha1.NamespaceName{v1alpha1.NamespaceName(f.namespace)},
		Accounts:   []v1alpha1.AccountPattern{v1alpha1.AccountPattern(account)}, Projects: []v1alpha1.ProjectPattern{"gh/acme/*"},
	}}
}

func (f *fixture) create(o client.Object) {
	f.t.Helper()
	f.Expect(k8s.Create(f.t.Context(), o)).To(gomega.Succeed())
}

func (f *fixture) spec(issuer string) v1alpha1.TokenSpec {
	return v1alpha1.TokenSpec{IssuerRef: v1alpha1.IssuerReference{Name: issuer}}
}

// accountToken, suspended and projectToken make a resource.
func (f *fixture) accountToken(name, issuer, account string) *v1alpha1.AccountToken {
	f.t.Helper()
	t := &v1alpha1.AccountToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name},
		Spec:       v1alpha1.AccountTokenSpec{TokenSpec: f.spec(issuer), Account: account},
	}
	f.create(t)
	return t
}

func (f *fixture) suspended(name string) *v1alpha1.AccountToken {
	f.t.Helper()
	t := &v1alpha1.AccountToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name},
		Spec:       v1alpha1.AccountTokenSpec{TokenSpec: f.spec(f.namespace), Account: "alice"},
	}
	t.Spec.Suspend = true
	f.create(t)
	return t
}

func (f *fixture) projectToken(name, issuer, repository string) *v1alpha1.ProjectToken {
	f.t.Helper()
	t := &v1alpha1.ProjectToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name, Labels: map[string]string{"name": name}},
		Spec: v1alpha1.ProjectTokenSpec{
			TokenSpec: f.spec(issuer), Project: v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: v1alpha1.PathSegment(repository)},
		},
	}
	f.create(t)
	return t
}

func (f *fixture) reload(o client.Object) {
	f.t.Helper()
	f.Expect(k8s.Get(f.t.Context(), client.ObjectKeyFromObject(o), o)).To(gomega.Succeed())
}

func (f *fixture) eventuallyReady(t v1alpha1.Token) {
	f.t.Helper()
	f.Eventually(func(g gomega.Gomega) {
		g.Expect(k8s.Get(f.t.Context(), client.ObjectKeyFromObject(t), t)).To(gomega.Succeed())
		condition := meta.FindStatusCondition(t.SharedStatus().Conditions, v1alpha1.ConditionReady)
		g.Expect(condition).NotTo(gomega.BeNil())
		g.Expect(condition.Status).To(gomega.Equal(metav1.ConditionTrue), condition.Message)
	}).Should(gomega.Succeed())
}

// result is what a command printed, and how it ended.
type result struct {
	out, progress string
	err           error
}

// run runs a command as the admin, with the fixture's namespace unless the arguments name one.
func (f *fixture) run(arguments ...string) result {
	f.t.Helper()
	return f.answering("", arguments...)
}

// answering runs a command, and has something to say when it asks.
func (f *fixture) answering(answer string, arguments ...string) result {
	f.t.Helper()
	var out, progress bytes.Buffer
	command := cli.New(genericiooptions.IOStreams{In: strings.NewReader(answer), Out: &out, ErrOut: &progress}, clock.RealClock{}, "test")
	command.SetArgs(append([]string{"--kubeconfig=" + controlPlane.Kubeconfig, "--cache-dir=" + f.t.TempDir()}, arguments...))
	err := command.ExecuteContext(f.t.Context())
	mu.Lock()
	defer mu.Unlock()
	said.WriteString(out.String() + progress.String() + fmt.Sprint(err))
	return result{out.String(), progress.String(), err}
}

// here is the flag for the fixture's namespace.
func (f *fixture) here() string { return "--namespace=" + f.namespace }

// codacyFixture has an issuer that leads to a stand-in of Codacy.
type codacyFixture struct {
	*fixture
	server  *codacytest.Server
	account int64
	issuer  string
}

func newCodacy(t *testing.T) *codacyFixture {
	t.Helper()
	return newCodacyAt(t, "127.0.0.1:0")
}

func newCodacyAt(t *testing.T, address string) *codacyFixture {
	t.Helper()
	f := &codacyFixture{fixture: newFixture(t)}
	behaviour, err := codacytest.Edition("cloud-2026-08")
	f.Expect(err).NotTo(gomega.HaveOccurred())
	f.server = codacytest.New(clock.RealClock{}, behaviour)
	f.account = f.server.AddAccount("Robot", "robot@acme.example")
	f.server.AddRepository("gh", "acme", "api")
	f.server.AddRepository("gh", "acme", "web")
	credential := f.server.CreateAccountToken(f.account, nil)
	running, err := codacytest.StartTLS(codacytest.Check(f.server, func(err error) { t.Errorf("not as described: %v", err) }), address)
	f.Expect(err).NotTo(gomega.HaveOccurred())
	t.Cleanup(func() {
		for _, token := range f.server.Tokens() {
			issued.Add(fmt.Sprintf("token %d", token.ID), token.Value.Reveal())
		}
		_ = running.Close()
	})
	f.issuer = "codacy-" + f.namespace
	f.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.Namespace, Name: f.issuer},
		Data:       map[string][]byte{v1alpha1.DefaultCredentialsKey: []byte(credential.Value.Reveal() + "\n")},
	})
	f.create(&v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: f.issuer},
		Spec: v1alpha1.ClusterTokenIssuerSpec{
			IssuerSpec: v1alpha1.IssuerSpec{
				Codacy: &v1alpha1.CodacyIssuer{
					URL: running.URL, CABundle: running.CAPEM, CredentialsSecretRef: v1alpha1.SecretKeyReference{Name: f.issuer},
				},
				CheckInterval: &metav1.Duration{}, // Never: the plugin is to notice, and not the operator.
			},
			Grants: f.grants("Robot"),
		},
	})
	return f
}

// file writes a file with a text.
func (f *fixture) file(name, text string) string {
	f.t.Helper()
	path := filepath.Join(f.t.TempDir(), name)
	f.Expect(os.WriteFile(path, []byte(text), 0o600)).To(gomega.Succeed())
	return path
}
