package controllers

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/metrics"
	"github.com/tokensteward/tokensteward/internal/resources"
)

// orphanAge is how long a token must have been seen without a resource before it counts as orphaned.
const orphanAge = time.Hour

// orphans remembers tokens at services that carry a name of this installation and that no resource records.
// docs/codacy.md, Orphans.
type orphans struct {
	clock clock.PassiveClock

	mu sync.Mutex
	// seen, by issuer, the project that they are a token of, and id.
	seen map[codacy.Key]map[string]map[string]*stray
}

// stray is one of them, which was in the latest list of its project.
type stray struct {
	first time.Time
	// told: the log has told of it.
	told bool
}

func newOrphans(clk clock.PassiveClock) *orphans {
	return &orphans{clock: clk, seen: map[codacy.Key]map[string]map[string]*stray{}}
}

// saw takes note of all tokens without a resource in a list, and says which of them are old enough.
func (o *orphans) saw(issuer codacy.Key, project string, listed []codacy.Named) (old []codacy.Named) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before, now := o.seen[issuer][project], o.clock.Now()
	seen := map[string]*stray{}
	for _, t := range listed {
		known, ok := before[t.ID]
		if !ok {
			known = &stray{first: now}
		}
		if seen[t.ID] = known; now.Sub(known.first) >= orphanAge {
			old = append(old, t)
		}
	}
	o.put(issuer, project, seen)
	o.count(issuer)
	return old
}

// put keeps no entry of an issuer or a project without such tokens: there are more projects than those that have them, and
// projects come and go. The caller holds mu.
func (o *orphans) put(issuer codacy.Key, project string, seen map[string]*stray) {
	if o.seen[issuer] == nil {
		o.seen[issuer] = map[string]map[string]*stray{}
	}
	if o.seen[issuer][project] = seen; len(seen) == 0 {
		delete(o.seen[issuer], project)
	}
	if len(o.seen[issuer]) == 0 {
		delete(o.seen, issuer)
	}
}

// first says whether an orphan was not told of before.
func (o *orphans) first(issuer codacy.Key, project string, orphan codacy.Named) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := o.seen[issuer][project][orphan.ID]
	if known == nil || known.told {
		return false
	}
	known.told = true
	return true
}

// gone: one of them was revoked.
func (o *orphans) gone(issuer codacy.Key, project, id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := o.seen[issuer][project]
	delete(seen, id)
	o.put(issuer, project, seen)
	o.count(issuer)
}

// forget an issuer that is gone. Its metric goes with it elsewhere.
func (o *orphans) forget(issuer codacy.Key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.seen, issuer)
}

// count sets the metric. The caller holds mu.
func (o *orphans) count(issuer codacy.Key) {
	count, now := 0, o.clock.Now()
	for _, seen := range o.seen[issuer] {
		for _, known := range seen {
			if now.Sub(known.first) >= orphanAge {
				count++
			}
		}
	}
	metrics.OrphanedTokens.WithLabelValues(issuer.Kind, issuer.Namespace, issuer.Name).Set(float64(count))
}

// findOrphans are those of the tokens with a name of this installation that no resource has had for an hour, as far as
// the installation sees.
func (r *TokenReconciler) findOrphans(ctx context.Context, s *state, named []codacy.Named) ([]codacy.Named, error) {
	var unclaimed []codacy.Named
	onPurpose, err := r.leftAt(ctx, s.url)
	if err != nil {
		return nil, err
	}
	named = slices.DeleteFunc(named, func(t codacy.Named) bool {
		_, ok := onPurpose.hashes[t.ID]
		return ok || onPurpose.names[t.Name]
	})
	if len(named) > 0 {
		claimed, err := r.claimsOn(ctx, r.Client, s.url)
		if err != nil {
			return nil, err
		}
		unclaimed = claimed.not(named)
	}
	if len(unclaimed) > 0 { // The cache may be behind.
		claimed, err := r.claimsOn(ctx, r.Live, s.url)
		if err != nil {
			return nil, fmt.Errorf("finding out which tokens are orphaned: %w", err)
		}
		unclaimed = claimed.not(unclaimed)
	}
	issuer, project := issuerKey(s.token), s.token.Subject()
	old := r.orphans.saw(issuer, project, unclaimed)
	for _, orphan := range old {
		if !r.orphans.first(issuer, project, orphan) {
			continue
		}
		ctrl.LoggerFrom(ctx).Info("Found an orphaned token: it has a name of this installation, and no resource has it", "id", orphan.ID, "name", orphan.Name)
	}
	return old, nil
}

// withToken selects Secrets with a token of the operator: of a resource, or left by one.
var withToken = client.MatchingLabelsSelector{Selector: resources.Managed(v1alpha1.ManagedTokens, v1alpha1.ManagedRetained)}

// inSomeSecret are the ids of tokens that Secrets of the operator name. After a restore from a backup somebody may use them still,
// though the resource that they were written for is gone; and so with what a resource left on purpose, when the issuer that
// recorded that is gone, too.
func (r *TokenReconciler) inSomeSecret(ctx context.Context) (map[string]bool, error) {
	secrets, err := resources.Secrets(ctx, r.Live, withToken)
	if err != nil {
		return nil, fmt.Errorf("listing the operator's Secrets: %w", err)
	}
	ids := map[string]bool{}
	for i := range secrets {
		ids[secrets[i].Annotations[v1alpha1.TokenIDAnnotation]] = true
	}
	return ids, nil
}

// mayRevokeOrphans says whether orphans are revoked. An installation that does not see all namespaces can't tell that nobody
// has a token.
func mayRevokeOrphans(policy v1alpha1.OrphanPolicy, scope *Scope) bool {
	return policy == v1alpha1.OrphanPolicyRevoke && !scope.Limited()
}

// onlyReports is what an issuer's condition adds if its spec asks for a revocation of orphans that there won't be.
func onlyReports(spec *v1alpha1.IssuerSpec, scope *Scope) string {
	if spec.Codacy == nil || spec.OrphanPolicy != v1alpha1.OrphanPolicyRevoke || mayRevokeOrphans(spec.OrphanPolicy, scope) {
		return ""
	}
	return " Orphaned tokens are only reported, whatever spec.orphanPolicy says: this installation looks after some namespaces alone (--namespaces), " +
		"and can't see whether a resource in another one has such a token."
}

// not are the tokens that nobody claims.
func (c *claims) not(named []codacy.Named) (unclaimed []codacy.Named) {
	for _, t := range named {
		if _, ok := c.hashes[t.ID]; !ok && !c.names[t.Name] {
			unclaimed = append(unclaimed, t)
		}
	}
	return unclaimed
}
