package rotate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/leakcheck"
	"github.com/tokensteward/tokensteward/internal/manager"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

const (
	namespace = "rotate"
	tokenKey  = "API_TOKEN"
	patience  = 2 * time.Minute
)

// scene is a control plane, an operator with its authority at an address that stays the same, and token resources.
type scene struct {
	*testing.T
	controlPlane *testenv.ControlPlane
	k8s          client.Client
	watcher      client.WithWatch
	directory    string
	binary       string
	clientBinary string
	address      string
	operator     *testenv.Operator
	values       leakcheck.Values

	mu   sync.Mutex
	logs strings.Builder
	// replaced are the values that were in the Secrets, and are no longer.
	replaced []string
	total    counts
	restarts int
	// longest is how long the old process of a client outlived its token's replacement.
	longest time.Duration
}

func newScene(t *testing.T) *scene {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	s := &scene{T: t, directory: t.TempDir(), address: testenv.FreeAddress(), total: counts{}}
	var err error
	if s.binary, err = testenv.BuildOperator(t.Context(), s.directory); err != nil {
		t.Fatal(err)
	}
	if s.clientBinary, err = buildClient(t.Context(), s.directory); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
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
	if s.watcher, err = client.NewWithWatch(s.controlPlane.Admin, client.Options{Scheme: manager.Scheme()}); err != nil {
		t.Fatal(err)
	}
	s.startOperator()
	t.Cleanup(func() {
		s.operator.Stop()
		s.keepLog()
	})
	ca, err := os.ReadFile(s.operator.CAFile) // The file goes with the process, the CA stays.
	if err != nil {
		t.Fatal(err)
	}
	admin := s.controlPlane.Admin.TLSClientConfig
	for name, content := range map[string][]byte{"authority-ca": ca, "api-ca": admin.CAData, "admin.crt": admin.CertData, "admin.key": admin.KeyData} {
		if err := os.WriteFile(s.file(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	s.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	s.create(&v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.ClusterTokenIssuerSpec{
		BuiltIn: &v1alpha1.BuiltInIssuer{Accounts: []v1alpha1.Account{{Name: "robot", Access: []v1alpha1.AccessPath{"gh/acme/website"}}}},
		Grants:  []v1alpha1.Grant{{Namespaces: []v1alpha1.NamespaceName{namespace}, Accounts: []v1alpha1.AccountPattern{"robot"}}},
	}})
	return s
}

func (s *scene) startOperator() {
	s.Helper()
	var err error
	s.operator, err = testenv.StartOperator(s.Context(), s.binary, s.controlPlane.OperatorKubeconfig,
		"--leader-elect=false", "--zap-devel", "--authority-bind-address="+s.address)
	if err != nil {
		s.Fatal(err)
	}
}

// restartOperator kills the operator, and so the authority, with SIGKILL, and starts another.
func (s *scene) restartOperator() {
	s.Helper()
	s.operator.Kill()
	s.keepLog()
	s.startOperator()
}

func (s *scene) keepLog() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs.WriteString(s.operator.Log())
	if err := s.operator.Remove(); err != nil {
		s.Error(err)
	}
}

// file is one that the clients read.
func (s *scene) file(name string) string { return filepath.Join(s.directory, name) }

// url is where a proxy before the service gh/acme/website asks.
func (s *scene) url() string {
	return "https://" + s.address + "/v1/issuers/default/authorize/gh/acme/website"
}

func (s *scene) create(o client.Object) {
	s.Helper()
	if err := s.k8s.Create(s.Context(), o); err != nil {
		s.Fatal(err)
	}
}

// createTokens makes so many resources and waits until they are ready.
func (s *scene) createTokens(count int) (names []string) {
	s.Helper()
	for i := range count {
		names = append(names, fmt.Sprintf("client-%02d", i))
		s.create(&v1alpha1.AccountToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: names[i]},
			Spec: v1alpha1.AccountTokenSpec{Account: "robot", TokenSpec: v1alpha1.TokenSpec{Rotation: &v1alpha1.Rotation{
				GracePeriod: &metav1.Duration{Duration: gracePeriod}, WaitForConsumers: &metav1.Duration{},
			}}},
		})
	}
	s.eventually("all are ready", func() bool {
		return s.count(func(status *v1alpha1.TokenStatus) bool {
			return meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady)
		}) == count
	})
	return names
}

// count counts the resources of which something is true.
func (s *scene) count(so func(*v1alpha1.TokenStatus) bool) (count int) {
	s.Helper()
	var tokens v1alpha1.AccountTokenList
	if err := s.k8s.List(s.Context(), &tokens); err != nil {
		s.Fatal(err)
	}
	for i := range tokens.Items {
		if so(&tokens.Items[i].Status.TokenStatus) {
			count++
		}
	}
	return count
}

func (s *scene) eventually(what string, so func() bool) {
	s.Helper()
	if err := await(s.Context(), patience, so); err != nil {
		s.Fatalf("waited in vain until %s; the operator's log ends with:\n%s", what, s.operator.Log()[max(0, len(s.operator.Log())-2000):])
	}
}

// await waits until something is so.
func await(ctx context.Context, patience time.Duration, so func() bool) error {
	for deadline := time.Now().Add(patience); !so(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("it took too long")
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}
