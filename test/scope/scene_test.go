package scope_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// scene is a control plane with the namespaces team-a and team-b, a stand-in for Codacy with the account Robot and the
// repository gh/acme/web, and an operator that may do what a test permits it.
type scene struct {
	*testing.T
	*gomega.WithT
	ctx          context.Context
	controlPlane *testenv.ControlPlane
	k8s          client.Client
	codacy       *codacytest.Server
	running      *codacytest.Running
	account      int64
	credential   codacytest.Token
	binary       string
	operator     *testenv.Operator
}

// binary is built once.
var binary string

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	directory, err := os.MkdirTemp("", "tokensteward-scope-")
	if err == nil {
		binary, err = testenv.BuildOperator(context.Background(), directory)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "scope:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(directory)
	os.Exit(code)
}

// newScene permits the operator what the chart does with these values.
func newScene(t *testing.T, values ...string) *scene {
	t.Helper()
	return newSceneAt(t, clock.RealClock{}, values...)
}

// newSceneAt has the stand-in for Codacy go by a clock.
func newSceneAt(t *testing.T, clk clock.PassiveClock, values ...string) *scene {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &scene{T: t, WithT: gomega.NewWithT(t), ctx: ctx, binary: binary}
	s.SetDefaultEventuallyTimeout(time.Minute)
	s.SetDefaultEventuallyPollingInterval(20 * time.Millisecond)
	var err error
	if s.controlPlane, err = testenv.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := s.controlPlane.Stop(); err != nil {
			t.Error(err)
		}
	})
	s.k8s = s.controlPlane.Client
	for _, name := range []string{"team-a", "team-b"} {
		s.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	s.permit(values...)

	behaviour, err := codacytest.Edition("cloud-2026-08")
	s.Expect(err).NotTo(gomega.HaveOccurred())
	behaviour.RateLimit = nil
	s.codacy = codacytest.New(clk, behaviour)
	s.account = s.codacy.AddAccount("Robot", "robot@acme.example")
	s.codacy.AddRepository("gh", "acme", "web")
	s.credential = s.codacy.CreateAccountToken(s.account, nil)
	s.running, err = codacytest.StartTLS(s.codacy, "127.0.0.1:0")
	s.Expect(err).NotTo(gomega.HaveOccurred())
	t.Cleanup(func() { _ = s.running.Close() })
	return s
}

// chart renders a template of the Helm chart.
func chart(t *testing.T, template string, values ...string) []byte {
	t.Helper()
	helm := exec.CommandContext(t.Context(), filepath.Join(testenv.Root(), "bin", "helm"), "template", "tokensteward",
		filepath.Join(testenv.Root(), "charts", "tokensteward"), "--namespace="+testenv.Namespace, "--show-only="+template)
	for _, value := range values {
		helm.Args = append(helm.Args, "--set="+value)
	}
	rendered, err := helm.Output()
	if err != nil {
		t.Fatalf("helm template: %s; `make bin/helm` builds bin/helm", err)
	}
	return rendered
}

// start starts the operator, with leader election as in a cluster.
func (s *scene) start(flags ...string) {
	s.Helper()
	var err error
	s.operator, err = testenv.StartOperator(s.ctx, s.binary, s.controlPlane.OperatorKubeconfig, append(flags, "--zap-devel")...)
	s.Expect(err).NotTo(gomega.HaveOccurred())
	s.Cleanup(func() {
		s.operator.Stop()
		if s.Failed() && os.Getenv("SHOW_OPERATOR_LOG") != "" {
			s.Log(s.operator.Log())
		}
		if err := s.operator.Remove(); err != nil {
			s.Error(err)
		}
	})
}

// host is the stand-in's, as --allowed-hosts wants it.
func (s *scene) host() string { return strings.TrimPrefix(s.running.URL, "https://") }

func (s *scene) create(o client.Object) {
	s.Helper()
	s.Expect(s.k8s.Create(s.ctx, o)).To(gomega.Succeed())
}

func (s *scene) get(o client.Object) {
	s.Helper()
	s.Expect(s.k8s.Get(s.ctx, client.ObjectKeyFromObject(o), o)).To(gomega.Succeed())
}

func (s *scene) delete(o client.Object) {
	s.Helper()
	s.Expect(s.k8s.Delete(s.ctx, o)).To(gomega.Succeed())
}

// label changes a label, so that who watches the object sees something.
func (s *scene) label(o client.Object) {
	s.Helper()
	patch := []byte(`{"metadata":{"labels":{"touched":"` + fmt.Sprint(time.Now().UnixNano()) + `"}}}`)
	s.Expect(s.k8s.Patch(s.ctx, o, client.RawPatch("application/merge-patch+json", patch))).To(gomega.Succeed())
}

func (s *scene) connection() *v1alpha1.CodacyIssuer {
	return &v1alpha1.CodacyIssuer{URL: s.running.URL, CABundle: s.running.CAPEM, CredentialsSecretRef: v1alpha1.SecretKeyReference{Name: "codacy"}}
}

func (s *scene) tokenIssuer(namespace string) *v1alpha1.TokenIssuer {
	return &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "codacy"},
		Spec:       v1alpha1.TokenIssuerSpec{IssuerSpec: v1alpha1.IssuerSpec{Codacy: s.connection()}},
	}
}

// putCredential writes the credential into the Secret that issuers take it from in a namespace.
func (s *scene) putCredential(namespace string) {
	s.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "codacy"}}
	data := map[string][]byte{v1alpha1.DefaultCredentialsKey: []byte(s.credential.Value.Reveal())}
	s.Eventually(func() error {
		err := s.k8s.Get(s.ctx, client.ObjectKeyFromObject(secret), secret)
		if apierrors.IsNotFound(err) {
			secret.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: "codacy"}
			secret.Data = data
			return s.k8s.Create(s.ctx, secret)
		}
		if err != nil {
			return err
		}
		secret.Data = data
		return s.k8s.Update(s.ctx, secret)
	}).Should(gomega.Succeed())
}

// projectToken is one of gh/acme/web, from the TokenIssuer of its namespace.
func (s *scene) projectToken(namespace, name string) *v1alpha1.ProjectToken {
	return &v1alpha1.ProjectToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.ProjectTokenSpec{
			TokenSpec: v1alpha1.TokenSpec{IssuerRef: v1alpha1.IssuerReference{Kind: v1alpha1.KindTokenIssuer, Name: "codacy"}},
			Project:   v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: "web"},
		},
	}
}

// eventually waits until the resource's Ready condition has a status and a reason.
func (s *scene) eventually(t v1alpha1.Token, status metav1.ConditionStatus, reason string) {
	s.Helper()
	s.Eventually(func(g gomega.Gomega) {
		g.Expect(s.k8s.Get(s.ctx, client.ObjectKeyFromObject(t), t)).To(gomega.Succeed())
		ready := readyOf(t.SharedStatus().Conditions)
		g.Expect(ready.Status).To(gomega.Equal(status), "%s: %s", ready.Reason, ready.Message)
		g.Expect(ready.Reason).To(gomega.Equal(reason))
	}).Should(gomega.Succeed())
}

// gone waits until an object does not exist.
func (s *scene) gone(o client.Object) {
	s.Helper()
	s.Eventually(func() bool { return apierrors.IsNotFound(s.k8s.Get(s.ctx, client.ObjectKeyFromObject(o), o)) }).Should(gomega.BeTrue())
}

// value is what the Secret of a token holds.
func (s *scene) value(t v1alpha1.Token, key string) string {
	s.Helper()
	var secret corev1.Secret
	s.Expect(s.k8s.Get(s.ctx, client.ObjectKey{Namespace: t.GetNamespace(), Name: v1alpha1.SecretName(t)}, &secret)).To(gomega.Succeed())
	return string(secret.Data[key])
}

// minted counts the tokens at the service that nobody made by hand.
func (s *scene) minted() (count int) {
	for _, token := range s.codacy.Tokens() {
		if !token.HandMade {
			count++
		}
	}
	return count
}

func readyOf(conditions []metav1.Condition) metav1.Condition {
	if ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady); ready != nil {
		return *ready
	}
	return metav1.Condition{}
}
