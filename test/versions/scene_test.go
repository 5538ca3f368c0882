// Package versions_test lets today's operator look after what an earlier version left behind, and after objects of a later
// one. testdata has a folder for each release, with its CRDs and what its operator wrote, as hack/record took it down from
// the tag's own code. The values of tokens there are of an operator and a stand-in that are no more.
package versions_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/manager"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

const namespace = "team-a"

// scene is a control plane, and an operator of today with a clock of its own: recorded tokens expire.
type scene struct {
	*testing.T
	*gomega.WithT
	ctx          context.Context
	controlPlane *testenv.ControlPlane
	k8s          client.Client
	// operator writes with the operator's name and permissions.
	operator  client.Client
	clock     *shiftedClock
	authority string
}

// shiftedClock goes as the real one does, and can be set.
type shiftedClock struct{ shift atomic.Int64 }

func (c *shiftedClock) Now() time.Time                  { return time.Now().Add(time.Duration(c.shift.Load())) }
func (c *shiftedClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }
func (c *shiftedClock) SetTime(t time.Time)             { c.shift.Store(int64(time.Until(t))) }

func newScene(t *testing.T) *scene {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	ctx, cancel := context.WithCancel(t.Context())
	s := &scene{T: t, WithT: gomega.NewWithT(t), ctx: ctx, clock: &shiftedClock{}}
	s.SetDefaultEventuallyTimeout(time.Minute)
	s.SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	var err error
	if s.controlPlane, err = testenv.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel() // Open watches hold up the API server's end.
		if err := s.controlPlane.Stop(); err != nil {
			t.Error(err)
		}
	})
	s.k8s = s.controlPlane.Client
	s.operator, err = client.New(s.controlPlane.Operator, client.Options{Scheme: manager.Scheme()})
	s.Expect(err).NotTo(gomega.HaveOccurred())
	s.Expect(s.k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})).To(gomega.Succeed())
	return s
}

// start starts today's operator in this process.
func (s *scene) start() {
	s.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	options := &manager.Options{
		Namespace: testenv.Namespace, LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		ServiceTimeout: 5 * time.Second, ServicePause: time.Second,
		AuthorityAddress: testenv.FreeAddress(), AuthorityMaxStaleness: 30 * time.Second, MetricsAddress: "0", ProbeAddress: "0",
	}
	mgr, err := manager.New(ctx, s.controlPlane.Operator, options, s.clock)
	s.Expect(err).NotTo(gomega.HaveOccurred())
	s.authority = "https://" + options.AuthorityAddress
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	s.Cleanup(sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.Error(err)
		}
	}))
}

// applyCRDs replaces the CRDs by those of a folder, and waits until the API server goes by them, which a field that only
// one of the two has tells.
func (s *scene) applyCRDs(folder, field string, known bool) {
	s.Helper()
	output, err := s.controlPlane.Kubectl(s.ctx, "apply", "--server-side", "--force-conflicts", "-f", folder).CombinedOutput()
	s.Expect(err).NotTo(gomega.HaveOccurred(), "%s", output)
	strict := client.WithFieldValidation(s.k8s, metav1.FieldValidationStrict)
	for _, kind := range []string{v1alpha1.KindAccountToken, v1alpha1.KindProjectToken} {
		s.Eventually(func() bool {
			probe := object(kind, namespace, "probe")
			spec := map[string]any{field: map[string]any{}}
			if kind == v1alpha1.KindProjectToken {
				spec["project"] = map[string]any{"provider": "gh", "organization": "acme", "repository": "probe"}
			}
			probe.Object["spec"] = spec
			return strict.Create(s.ctx, probe, client.DryRunAll) == nil
		}).Should(gomega.Equal(known), "the schema of %s", kind)
	}
}

func object(kind, namespace, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

// read reads an object as it is stored, with what today's types don't know.
func (s *scene) read(kind, namespace, name string) *unstructured.Unstructured {
	s.Helper()
	o := object(kind, namespace, name)
	s.Expect(s.k8s.Get(s.ctx, client.ObjectKeyFromObject(o), o)).To(gomega.Succeed())
	return o
}

func (s *scene) patch(o client.Object, patch string) {
	s.Helper()
	s.Expect(s.k8s.Patch(s.ctx, o, client.RawPatch(types.MergePatchType, []byte(patch)))).To(gomega.Succeed())
}

// touch has the operator look at a resource.
func (s *scene) touch(o client.Object) {
	s.Helper()
	s.patch(o, `{"metadata":{"annotations":{"touched":"`+time.Now().String()+`"}}}`)
}

func (s *scene) refresh(o client.Object) {
	s.Helper()
	s.Expect(s.k8s.Get(s.ctx, client.ObjectKeyFromObject(o), o)).To(gomega.Succeed())
}

// eventuallyRevision waits until a resource is ready with a revision; the resource is up to date then.
func (s *scene) eventuallyRevision(t v1alpha1.Token, revision int64) {
	s.Helper()
	s.Eventually(func(g gomega.Gomega) {
		g.Expect(s.k8s.Get(s.ctx, client.ObjectKeyFromObject(t), t)).To(gomega.Succeed())
		status := t.SharedStatus()
		ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
		g.Expect(ready).NotTo(gomega.BeNil())
		g.Expect(ready.Status).To(gomega.Equal(metav1.ConditionTrue), "%s: %s", ready.Reason, ready.Message)
		g.Expect(ready.ObservedGeneration).To(gomega.Equal(t.GetGeneration()))
		g.Expect(status.Token).NotTo(gomega.BeNil())
		g.Expect(status.Token.Revision).To(gomega.Equal(revision))
	}).Should(gomega.Succeed())
}

func (s *scene) eventuallyGone(o client.Object) {
	s.Helper()
	s.Eventually(func() bool {
		return apierrors.IsNotFound(s.k8s.Get(s.ctx, client.ObjectKeyFromObject(o), o.DeepCopyObject().(client.Object)))
	}).Should(gomega.BeTrue(), "%s is still there", o.GetName())
}

func (s *scene) secret(name string) *corev1.Secret {
	s.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	s.refresh(secret)
	return secret
}

// The certificate has a test of its own, in internal/authority.
var insecureClient = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

// eventuallyAnswers waits until the authority has a status for a token of the issuer default.
func (s *scene) eventuallyAnswers(value []byte, want int, what string) {
	s.Helper()
	s.Eventually(func() (int, error) {
		request, err := http.NewRequestWithContext(s.ctx, http.MethodGet, s.authority+"/v1/issuers/default/authorize", nil)
		if err != nil {
			return 0, err
		}
		request.Header.Set("Authorization", "Bearer "+string(value))
		response, err := insecureClient.Do(request)
		if err != nil {
			return 0, err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return response.StatusCode, err
	}).Should(gomega.Equal(want), "the authority's answer to %s", what)
}

// load reads an object of a release's folder.
func (s *scene) load(folder, name string) []byte {
	s.Helper()
	text, err := os.ReadFile(filepath.Join(folder, name+".yaml"))
	s.Expect(err).NotTo(gomega.HaveOccurred())
	return text
}
