package scope_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/controllers"
	"github.com/tokensteward/tokensteward/internal/manager"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// The token of a resource in team-b, from when the installation looked after the whole cluster, has a name of the
// installation. That it is an orphan can't be told from team-a.
func TestAnInstallationForSomeNamespacesReportsOrphansAndRevokesNone(t *testing.T) {
	clk := clocktesting.NewFakePassiveClock(time.Now())
	s := newSceneAt(t, clk, "namespaces={team-a}", "clusterIssuers.enabled=false")
	ctx, cancel := context.WithCancel(s.ctx)
	mgr, err := manager.New(ctx, s.controlPlane.Operator, &manager.Options{
		Namespace: testenv.Namespace, Scope: controllers.Scope{Namespaces: []string{"team-a"}, WithoutClusterIssuers: true},
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		ServiceTimeout: 5 * time.Second, ServicePause: time.Second, AllowedHosts: []string{s.host()},
		MetricsAddress: "0", ProbeAddress: "0",
	}, clk)
	s.Expect(err).NotTo(gomega.HaveOccurred())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})

	s.putCredential("team-a")
	issuer := s.tokenIssuer("team-a")
	issuer.Spec.OrphanPolicy, issuer.Spec.CheckInterval = v1alpha1.OrphanPolicyRevoke, &metav1.Duration{Duration: 30 * time.Minute}
	s.create(issuer)
	living := s.projectToken("team-a", "living")
	s.create(living)
	s.eventually(living, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	var installation corev1.ConfigMap
	s.Expect(s.k8s.Get(s.ctx, client.ObjectKey{Namespace: testenv.Namespace, Name: "tokensteward-installation"}, &installation)).To(gomega.Succeed())
	elsewhere := s.codacy.CreateRepositoryToken("gh", "acme", "web", "ts-"+installation.Data["id"]+"-01234567-89ab-cdef-0-1", nil)

	looks := func() int { return s.codacy.Requests()["listRepositoryApiTokens"] }
	// Ten looks more than it takes to tell. Each is due within the interval and a tenth.
	for told, more := false, 0; more < 10; {
		clk.SetTime(clk.Now().Add(40 * time.Minute))
		before := looks()
		s.Eventually(func() int {
			s.label(living)
			return looks()
		}, time.Minute, 100*time.Millisecond).Should(gomega.BeNumerically(">", before))
		if told = told || orphans(s, issuer) == "1"; told {
			more++
		}
		s.Expect(s.codacy.Accepts(elsewhere.Value.Reveal())).To(gomega.BeTrue())
	}
	s.Expect(s.codacy.Accepts(s.value(living, "CODACY_PROJECT_TOKEN"))).To(gomega.BeTrue())
}

// orphans is the metric of an issuer.
func orphans(s *scene, issuer client.Object) string {
	s.Helper()
	families, err := metrics.Registry.Gather()
	s.Expect(err).NotTo(gomega.HaveOccurred())
	var text strings.Builder
	for _, family := range families {
		if family.GetName() == "tokensteward_orphaned_tokens" {
			text.WriteString(family.String())
		}
	}
	found := regexp.MustCompile(`name:"issuer_namespace"\s+value:"` + issuer.GetNamespace() + `"\}.*?gauge:\{\s*value:\s*(\d+)`).FindStringSubmatch(text.String())
	if found == nil {
		return ""
	}
	return found[1]
}
