// Package authority checks built-in tokens. It runs in every replica, leader or not, and answers from what the
// informers know; docs/architecture.md, The authority.
package authority

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilcache "k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/grant"
	"github.com/tokensteward/tokensteward/internal/issuer/builtin"
	"github.com/tokensteward/tokensteward/internal/token"
)

// Bounds of the lookups that go to the API server.
const (
	liveLookupsPerSecond = 20
	liveLookupBurst      = 40
	liveLookupTimeout    = 3 * time.Second
	// Hashes that the API server did not know are remembered for a while. That can't refuse a token that is made
	// later: nobody can present 256 random bits before they are chosen.
	unknownHashes       = 10_000
	unknownHashLifetime = time.Minute
)

// errCantTell: whether the token is valid can't be found out now.
var errCantTell = errors.New("can't tell")

// Authority judges tokens.
type Authority struct {
	clock   clock.PassiveClock
	cached  client.Reader
	live    client.Reader
	index   *index
	limiter *rate.Limiter
	unknown *utilcache.LRUExpireCache
}

// New makes an Authority that follows the informers and, where they know too little, asks the live reader.
func New(ctx context.Context, clk clock.PassiveClock, informers cache.Cache, live client.Reader) (*Authority, error) {
	index, err := newIndex(ctx, informers)
	if err != nil {
		return nil, err
	}
	return &Authority{
		clock: clk, cached: informers, live: live, index: index,
		limiter: rate.NewLimiter(liveLookupsPerSecond, liveLookupBurst),
		unknown: utilcache.NewLRUExpireCache(unknownHashes),
	}, nil
}

// Ready says whether this replica knows enough to answer.
func (a *Authority) Ready() bool { return a.index.hasSynced() }

// verdict on a credential.
type verdict int

const (
	accepted verdict = iota
	// refused whatever the API server would say.
	refused
	// refusedByCache: by what the cache knows of issuer and namespace, which may be behind the replica that minted.
	refusedByCache
)

// check finds what a token stands for, if the issuer accepts it for the target. A nil credential is a no; the error
// is errCantTell or nil.
func (a *Authority) check(ctx context.Context, issuer string, value token.Value, target grant.Target) (*credential, error) {
	if !a.Ready() {
		return nil, errCantTell
	}
	kind, wellFormed := builtin.KindOf(value.Reveal())
	if !wellFormed {
		return nil, nil
	}
	h := hash(value.Sum())
	known := a.index.find(h)
	askLive := len(known) == 0
	for _, c := range known {
		switch v, err := a.judge(ctx, a.cached, c, issuer, target); {
		case err != nil:
			return nil, errCantTell
		case v == accepted:
			return c, nil
		case v == refusedByCache:
			askLive = true
		}
	}
	if !askLive {
		return nil, nil
	}
	return a.checkLive(ctx, kind, h, issuer, target)
}

// checkLive asks the API server itself: the replica that minted the token may be ahead of this one's cache.
func (a *Authority) checkLive(ctx context.Context, kind string, h hash, issuer string, target grant.Target) (*credential, error) {
	if _, remembered := a.unknown.Get(h); remembered {
		return nil, nil
	}
	if !a.limiter.Allow() {
		return nil, errCantTell
	}
	ctx, cancel := context.WithTimeout(ctx, liveLookupTimeout)
	defer cancel()
	known, err := a.findLive(ctx, kind, h)
	if err != nil {
		return nil, errCantTell
	}
	if len(known) == 0 {
		a.unknown.Add(h, nil, unknownHashLifetime)
	}
	for _, c := range known {
		switch v, err := a.judge(ctx, a.live, c, issuer, target); {
		case err != nil:
			return nil, errCantTell
		case v == accepted:
			return c, nil
		}
	}
	return nil, nil
}

func (a *Authority) findLive(ctx context.Context, kind string, h hash) ([]*credential, error) {
	var found []*credential
	for _, field := range []string{"status.token.sha256", "status.pending.sha256"} {
		var list client.ObjectList = &v1alpha1.AccountTokenList{}
		if kind == v1alpha1.KindProjectToken {
			list = &v1alpha1.ProjectTokenList{}
		}
		if err := a.live.List(ctx, list, client.MatchingFields{field: hex.EncodeToString(h[:])}); err != nil {
			return nil, fmt.Errorf("looking a token up: %w", err)
		}
		_ = meta.EachListItem(list, func(o runtime.Object) error { // Fails only if the function does.
			if c := credentialsOf(o.(v1alpha1.Token))[h]; c != nil {
				found = append(found, c)
			}
			return nil
		})
	}
	return found, nil
}

// judge decides on what the resource's spec and its issuer say at this moment; its status only led here.
func (a *Authority) judge(ctx context.Context, reader client.Reader, c *credential, issuer string, target grant.Target) (verdict, error) {
	if c.issuer != issuer || !a.clock.Now().Before(c.expires) {
		return refused, nil
	}
	var found v1alpha1.ClusterTokenIssuer
	if err := reader.Get(ctx, types.NamespacedName{Name: issuer}, &found); err != nil {
		return refusedByCache, client.IgnoreNotFound(err)
	}
	if found.Spec.BuiltIn == nil {
		return refusedByCache, nil
	}
	metadata := &metav1.PartialObjectMetadata{}
	metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := reader.Get(ctx, types.NamespacedName{Name: c.namespace}, metadata); err != nil {
		return refusedByCache, client.IgnoreNotFound(err)
	}
	namespace := grant.Namespace{Name: c.namespace, Labels: metadata.Labels}

	granted, reaches := false, false
	switch c.kind {
	case v1alpha1.KindAccountToken:
		granted = grant.AccountKnown(&found, c.account) && grant.Account(&found, namespace, c.account)
		reaches = grant.AccountReaches(&found, c.account, target)
	case v1alpha1.KindProjectToken:
		granted = grant.Project(&found, namespace, c.project)
		reaches = grant.ProjectReaches(c.project, target)
	}
	switch {
	case !granted:
		return refusedByCache, nil
	case !reaches:
		return refused, nil
	default:
		return accepted, nil
	}
}

// scope lists what a token reaches: its one project, or the access of its account.
func (a *Authority) scope(ctx context.Context, c *credential) ([]string, error) {
	if c.kind == v1alpha1.KindProjectToken {
		return []string{c.project.String()}, nil
	}
	var found v1alpha1.ClusterTokenIssuer
	if err := a.cached.Get(ctx, types.NamespacedName{Name: c.issuer}, &found); err != nil {
		return nil, errCantTell
	}
	return grant.Access(&found, c.account), nil
}
