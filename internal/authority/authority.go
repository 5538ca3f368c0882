// Package authority checks built-in tokens. It runs in every replica, leader or not, and answers from what the
// informers know; docs/architecture.md, The authority.
package authority

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/grant"
	"github.com/tokensteward/tokensteward/internal/issuer/builtin"
	"github.com/tokensteward/tokensteward/internal/metrics"
	"github.com/tokensteward/tokensteward/internal/token"
)

// Bounds of the lookups that go to the API server.
const (
	liveLookupsPerSecond = 20
	liveLookupBurst      = 40
	liveLookupTimeout    = 3 * time.Second
)

// Authority judges tokens.
type Authority struct {
	clock   clock.PassiveClock
	cached  facts
	live    client.Reader
	index   *index
	synced  []interface{ HasSynced() bool }
	limiter *rate.Limiter
	unknown *unknownHashes

	freshness    *Freshness
	maxStaleness time.Duration
}

// New makes an Authority that follows the informers and, where they know too little, asks the live reader. It can't tell
// once freshness has been lost for longer than maxStaleness.
func New(ctx context.Context, clk clock.PassiveClock, informers cache.Cache, live client.Reader, freshness *Freshness, maxStaleness time.Duration) (*Authority, error) {
	unknown := newUnknown(clock.RealClock{})
	index, err := newIndex(ctx, informers, unknown.add)
	if err != nil {
		return nil, err
	}
	followed, err := newFollowed(ctx, informers)
	if err != nil {
		return nil, err
	}
	return &Authority{
		clock: clk, cached: followed, live: live, index: index, synced: slices.Concat(index.synced, followed.synced),
		limiter: rate.NewLimiter(liveLookupsPerSecond, liveLookupBurst), unknown: unknown,
		freshness: freshness, maxStaleness: maxStaleness,
	}, nil
}

// Ready is nil if this replica knows enough to answer, and else says why not.
func (a *Authority) Ready() error {
	for _, registration := range a.synced {
		if !registration.HasSynced() {
			return errors.New("the caches have not synced")
		}
	}
	if age := a.freshness.Age(); age > a.maxStaleness {
		return fmt.Errorf("cut off from the API server: a watch has been lost for %s", age.Round(time.Second))
	}
	return nil
}

// decision on a token, and the label of its metric. The one who asks learns only whether it is accepted.
type decision string

const (
	accepted   decision = "accepted"
	malformed  decision = "malformed"
	unknown    decision = "unknown"
	expired    decision = "expired"
	elsewhere  decision = "of_another_issuer"
	outOfReach decision = "out_of_reach"
	// noIssuer and notGranted are what the cache knows of issuer and namespace: it may be behind the replica that minted.
	noIssuer   decision = "no_issuer"
	notGranted decision = "not_granted"
	cantTell   decision = "cant_tell"
)

// check finds what a token stands for, if the issuer accepts it for the target; nil if not.
func (a *Authority) check(ctx context.Context, issuer string, value token.Value, target grant.Target) (*credential, decision) {
	c, d := a.decide(ctx, issuer, value, target)
	a.count(ctx, issuer, d)
	return c, d
}

func (a *Authority) count(ctx context.Context, issuer string, d decision) {
	// A name out of a URL is a label only if there is such an issuer: labels must be bounded.
	if found, err := a.cached.issuer(ctx, issuer); err != nil || found == nil {
		issuer = "-"
	}
	metrics.AuthorityDecisions.WithLabelValues(issuer, string(d)).Inc()
}

func (a *Authority) decide(ctx context.Context, issuer string, value token.Value, target grant.Target) (*credential, decision) {
	if a.Ready() != nil {
		return nil, cantTell
	}
	kind, wellFormed := builtin.KindOf(value.Reveal())
	if !wellFormed {
		return nil, malformed
	}
	h := hash(value.Sum())
	known := a.index.find(h)
	c, d := a.judgeAll(ctx, a.cached, known, issuer, target)
	switch d {
	case unknown, noIssuer, notGranted:
		return a.decideLive(ctx, kind, h, issuer, target)
	default:
		return c, d
	}
}

// decideLive asks the API server itself: the replica that minted the token may be ahead of this one's cache.
func (a *Authority) decideLive(ctx context.Context, kind string, h hash, issuer string, target grant.Target) (*credential, decision) {
	if a.unknown.has(h) {
		return nil, unknown
	}
	if !a.limiter.Allow() {
		return nil, cantTell
	}
	ctx, cancel := context.WithTimeout(ctx, liveLookupTimeout)
	defer cancel()
	known, err := a.findLive(ctx, kind, h)
	if err != nil {
		return nil, cantTell
	}
	if len(known) > 0 {
		return a.judgeAll(ctx, read{a.live}, known, issuer, target)
	}
	// The API server can't be asked for a token that was replaced. A cache that is behind may have missed both that it was
	// minted and that it was replaced, so that it is accepted, and only the others know it.
	behind := a.freshness.Behind()
	if known = a.index.find(h); len(known) > 0 {
		return a.judgeAll(ctx, a.cached, known, issuer, target)
	}
	if behind {
		return nil, cantTell
	}
	a.unknown.add(h)
	return nil, unknown
}

func (a *Authority) judgeAll(ctx context.Context, by facts, credentials []*credential, issuer string, target grant.Target) (*credential, decision) {
	worst := unknown
	for _, c := range credentials {
		d, err := a.judge(ctx, by, c, issuer, target)
		switch {
		case err != nil:
			return nil, cantTell
		case d == accepted:
			return c, accepted
		default:
			worst = d
		}
	}
	return nil, worst
}

func (a *Authority) findLive(ctx context.Context, kind string, h hash) ([]*credential, error) {
	var found []*credential
	// In the order in which a token goes through them: it may go on between the two lists.
	for _, field := range []string{"status.pending.sha256", "status.token.sha256"} {
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
func (a *Authority) judge(ctx context.Context, by facts, c *credential, issuer string, target grant.Target) (decision, error) {
	switch {
	case c.issuer != issuer:
		return elsewhere, nil
	case !a.clock.Now().Before(c.expires):
		return expired, nil
	}
	found, err := by.issuer(ctx, issuer)
	if err != nil || found == nil || found.Spec.BuiltIn == nil {
		return noIssuer, err
	}
	namespace, ok, err := by.namespace(ctx, c.namespace)
	if err != nil || !ok {
		return notGranted, err
	}

	granted, reaches := false, false
	switch c.kind {
	case v1alpha1.KindAccountToken:
		granted = grant.AccountKnown(found, c.account) && grant.Account(found, namespace, c.account)
		reaches = grant.AccountReaches(found, c.account, target)
	case v1alpha1.KindProjectToken:
		granted = grant.Project(found, namespace, c.project)
		reaches = grant.ProjectReaches(c.project, target)
	}
	switch {
	case !granted:
		return notGranted, nil
	case !reaches:
		return outOfReach, nil
	default:
		return accepted, nil
	}
}

// scope lists what a token reaches: its one project, or the access of its account.
func (a *Authority) scope(ctx context.Context, c *credential) ([]string, error) {
	if c.kind == v1alpha1.KindProjectToken {
		return []string{c.project.String()}, nil
	}
	found, err := a.cached.issuer(ctx, c.issuer)
	if err != nil {
		return nil, fmt.Errorf("reading the issuer: %w", err)
	}
	if found == nil {
		return nil, errors.New("the issuer is gone")
	}
	return grant.Access(found, c.account), nil
}
