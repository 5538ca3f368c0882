package authority

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/grant"
	"github.com/tokensteward/tokensteward/internal/token"
)

func newTestFollowed(w *world) *followed {
	f := &followed{issuers: map[string]*v1alpha1.ClusterTokenIssuer{}, namespaces: map[string]grant.Namespace{}}
	f.put(w.issuer)
	f.put(&metav1.PartialObjectMetadata{ObjectMeta: w.namespace.ObjectMeta})
	return f
}

// Every request that a service gets leads to one of these.
func TestATokenIsJudgedWithoutAllocation(t *testing.T) {
	r := newReplica(t)
	w := newWorld(t, r.clock.Now())
	r.Authority.cached = newTestFollowed(w)
	r.index.put(w.alice)
	r.index.put(w.api)
	reached := grant.Target{Provider: "gh", Organization: "acme", Repository: "api"}
	for name, ask := range map[string]struct {
		value  string
		target grant.Target
		want   decision
	}{
		"a project's":                {w.apiValue, reached, accepted},
		"a project's, for elsewhere": {w.apiValue, grant.Target{Provider: "gh", Organization: "acme", Repository: "web"}, outOfReach},
		"an account's":               {w.aliceValue, grant.Target{}, accepted},
	} {
		value := token.NewValue(ask.value)
		if allocations := testing.AllocsPerRun(100, func() {
			if _, got := r.decide(t.Context(), "main", value, ask.target); got != ask.want {
				t.Fatalf("%s: %s, want %s", name, got, ask.want)
			}
		}); allocations > 0 {
			t.Errorf("%s: %.0f allocations", name, allocations)
		}
	}
}

func TestFactsFollowWhatTheInformersTell(t *testing.T) {
	r := newReplica(t)
	w := newWorld(t, r.clock.Now())
	f := newTestFollowed(w)
	r.Authority.cached = f
	r.index.put(w.alice)
	expect := func(moment string, want decision) {
		t.Helper()
		known := r.index.find(hash(token.NewValue(w.aliceValue).Sum()))
		if _, got := r.judgeAll(t.Context(), f, known, "main", grant.Target{}); got != want {
			t.Errorf("%s: %s, want %s", moment, got, want)
		}
	}
	expect("as it is", accepted)

	labelled := w.issuer.DeepCopy()
	labelled.Spec.Grants[0].Namespaces = nil
	labelled.Spec.Grants[0].NamespaceSelector = &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": "a"}}
	f.put(labelled)
	expect("the grant wants a label", notGranted)
	f.put(&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "team-a", Labels: map[string]string{"team": "a"}}})
	expect("the namespace has it", accepted)

	f.remove(toolscache.DeletedFinalStateUnknown{Obj: &metav1.PartialObjectMetadata{ObjectMeta: w.namespace.ObjectMeta}})
	expect("the namespace is gone", notGranted)
	f.remove(labelled)
	expect("the issuer is gone", noIssuer)
}
