// Package churn_test creates and deletes many tokens, and looks whether the operator is afterwards what it was before.
// CHURN_TOKENS says how many; make churn is the long form.
package churn_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/manager"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

const (
	namespace = "churn"
	// short is how many tokens come and go unless CHURN_TOKENS says another number, batch how many of them there are at once.
	short = 300
	batch = 100

	// What may be more than after the warm-up: goroutines, for connections that were opened under load and are not closed yet;
	// and heap, for queues, caches and pools that have grown to a batch, which the warm-up was one of.
	moreGoroutines = 10
	moreHeap       = 2 << 20
	// heapOfEvents is what client-go keeps of the Events of one token, to see whether they repeat, for up to twelve minutes.
	heapOfEvents   = 4 << 10
	eventsLifetime = 13 * time.Minute
)

// churn is a control plane, and an operator in this process.
type churn struct {
	*testing.T
	*gomega.WithT
	ctx context.Context
	k8s client.Client
	// count numbers all tokens, so that no name comes twice.
	count int
}

func newChurn(t *testing.T) *churn {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	ctx, cancel := context.WithCancel(t.Context())
	controlPlane, err := testenv.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c := &churn{T: t, WithT: gomega.NewWithT(t), ctx: ctx, k8s: controlPlane.Client}
	c.SetDefaultEventuallyTimeout(5 * time.Minute)
	c.SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	mgr, err := manager.New(ctx, controlPlane.Operator, &manager.Options{
		Namespace: testenv.Namespace, LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		ServiceTimeout: 5 * time.Second, ServicePause: time.Second,
		AuthorityAddress: testenv.FreeAddress(), AuthorityMaxStaleness: 30 * time.Second, MetricsAddress: "0", ProbeAddress: "0",
	}, clock.RealClock{})
	c.Expect(err).NotTo(gomega.HaveOccurred())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := controlPlane.Stop(); err != nil {
			t.Error(err)
		}
	})
	c.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	c.create(c.issuer())
	return c
}

func (c *churn) issuer() *v1alpha1.ClusterTokenIssuer {
	return &v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec: v1alpha1.ClusterTokenIssuerSpec{
			BuiltIn: &v1alpha1.BuiltInIssuer{Accounts: []v1alpha1.Account{{Name: "alice", Access: []v1alpha1.AccessPath{"gh/acme"}}}},
			Grants: []v1alpha1.Grant{{
				Namespaces: []v1alpha1.NamespaceName{namespace}, Accounts: []v1alpha1.AccountPattern{"alice"}, Projects: []v1alpha1.ProjectPattern{"gh/acme/*"},
			}},
		},
	}
}

func (c *churn) create(o client.Object) {
	c.Helper()
	c.Expect(c.k8s.Create(c.ctx, o)).To(gomega.Succeed())
}

// token is the next one: by turns one of each kind, and one that is refused, which is to be forgotten too.
func (c *churn) token() client.Object {
	c.count++
	metadata := metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("token-%d", c.count)}
	project := v1alpha1.ProjectTokenSpec{Project: v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: v1alpha1.PathSegment(metadata.Name)}}
	switch c.count % 5 {
	case 0:
		project.Project.Organization = "others"
		return &v1alpha1.ProjectToken{ObjectMeta: metadata, Spec: project}
	case 1, 2:
		return &v1alpha1.AccountToken{ObjectMeta: metadata, Spec: v1alpha1.AccountTokenSpec{Account: "alice"}}
	default:
		return &v1alpha1.ProjectToken{ObjectMeta: metadata, Spec: project}
	}
}

// round has so many tokens come and go at once.
func (c *churn) round(tokens int) {
	c.Helper()
	var writers sync.WaitGroup
	failed := make(chan error, tokens)
	for range tokens {
		o := c.token()
		writers.Go(func() { failed <- c.k8s.Create(c.ctx, o) })
	}
	writers.Wait()
	for range tokens {
		c.Expect(<-failed).To(gomega.Succeed())
	}
	c.Eventually(c.settled).Should(gomega.Equal(tokens))
	for _, kind := range []client.Object{&v1alpha1.AccountToken{}, &v1alpha1.ProjectToken{}} {
		c.Expect(c.k8s.DeleteAllOf(c.ctx, kind, client.InNamespace(namespace))).To(gomega.Succeed())
	}
	c.Eventually(c.existing).Should(gomega.BeZero())
	c.Eventually(func() (int, error) {
		var secrets metav1.PartialObjectMetadataList
		secrets.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
		err := c.k8s.List(c.ctx, &secrets, client.InNamespace(namespace))
		return len(secrets.Items), err
	}).Should(gomega.BeZero())
}

func (c *churn) all() ([]v1alpha1.Token, error) {
	var accounts v1alpha1.AccountTokenList
	var projects v1alpha1.ProjectTokenList
	if err := c.k8s.List(c.ctx, &accounts, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	if err := c.k8s.List(c.ctx, &projects, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	var tokens []v1alpha1.Token
	for i := range accounts.Items {
		tokens = append(tokens, &accounts.Items[i])
	}
	for i := range projects.Items {
		tokens = append(tokens, &projects.Items[i])
	}
	return tokens, nil
}

func (c *churn) existing() (int, error) {
	tokens, err := c.all()
	return len(tokens), err
}

// settled counts the tokens that are ready, or refused as they should be.
func (c *churn) settled() (count int, err error) {
	tokens, err := c.all()
	for _, t := range tokens {
		ready := meta.FindStatusCondition(t.SharedStatus().Conditions, v1alpha1.ConditionReady)
		if ready != nil && (ready.Status == metav1.ConditionTrue || ready.Reason == v1alpha1.ReasonNotGranted) {
			count++
		}
	}
	return count, err
}

// usage is what the process has.
type usage struct {
	goroutines int
	heap       int64
	// series are those of the operator's own metrics. Libraries have more: one for each code that the API server may answer with.
	series int
}

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %.1f MiB of heap, %d series", u.goroutines, float64(u.heap)/(1<<20), u.series)
}

// measure measures what is alive.
func (c *churn) measure() usage {
	c.Helper()
	runtime.GC() // Twice: what is in a sync.Pool outlives the first.
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	u := usage{goroutines: runtime.NumGoroutine(), heap: int64(memory.HeapAlloc)}
	families, err := metrics.Registry.Gather()
	c.Expect(err).NotTo(gomega.HaveOccurred())
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "tokensteward_") {
			u.series += len(family.GetMetric())
		}
		for _, metric := range family.GetMetric() {
			c.Expect(strings.Contains(metric.String(), `"token-`)).To(gomega.BeFalse(), "there is a series of a token that is gone: %s", family.GetName())
		}
	}
	return u
}

func TestTheOperatorIsWhatItWasWhenManyTokensHaveComeAndGone(t *testing.T) {
	tokens := short
	if text := os.Getenv("CHURN_TOKENS"); text != "" {
		var err error
		if tokens, err = strconv.Atoi(text); err != nil {
			t.Fatalf("CHURN_TOKENS must be a number: %v", err)
		}
	}
	c := newChurn(t)
	c.round(batch)
	before := c.measure()
	t.Logf("after a warm-up of %d tokens: %s", batch, before)
	for left := tokens; left > 0; left -= batch {
		c.round(min(left, batch))
	}
	t.Logf("at once after %d more: %s", tokens, c.measure())

	patience, events := time.Minute, int64(tokens*heapOfEvents)
	if tokens > short { // The long form waits until nothing is left of the Events.
		patience, events = eventsLifetime, 0
	}
	var after usage
	c.Eventually(func(g gomega.Gomega) {
		after = c.measure()
		g.Expect(after.series).To(gomega.Equal(before.series), "series")
		g.Expect(after.goroutines).To(gomega.BeNumerically("<=", before.goroutines+moreGoroutines), "goroutines")
		g.Expect(after.heap).To(gomega.BeNumerically("<=", before.heap+moreHeap+events), "bytes of heap")
	}, patience, 2*time.Second).Should(gomega.Succeed())
	t.Logf("in the end: %s", after)
}
