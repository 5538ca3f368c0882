package controllers

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
)

func TestAnOrphanIsToldOfOnceAndForgottenWhenItIsGone(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Now())
	o := newOrphans(clock)
	issuer := codacy.Key{Kind: v1alpha1.KindClusterTokenIssuer, NamespacedName: types.NamespacedName{Name: "forgetful"}}
	stray := []codacy.Named{{ID: "1", Name: "ts-a-1"}}
	if old := o.saw(issuer, "gh/acme/web", stray); len(old) > 0 {
		t.Error("an orphan at first sight")
	}
	clock.SetTime(clock.Now().Add(orphanAge))
	old := o.saw(issuer, "gh/acme/web", stray)
	if len(old) != 1 || !o.first(issuer, "gh/acme/web", old[0]) || o.first(issuer, "gh/acme/web", old[0]) {
		t.Error("an orphan is not told of once")
	}
	if o.saw(issuer, "gh/acme/web", stray); o.first(issuer, "gh/acme/web", stray[0]) {
		t.Error("an orphan is told of again with the next list")
	}

	o.saw(issuer, "gh/acme/web", nil) // Somebody revoked it.
	if len(o.seen) != 0 {
		t.Error("an orphan that is gone is remembered")
	}
	for range 2 {
		o.saw(issuer, "gh/acme/web", stray)
		clock.SetTime(clock.Now().Add(orphanAge))
	}
	if o.gone(issuer, "gh/acme/web", "1"); len(o.seen) != 0 {
		t.Error("an orphan that was revoked is remembered")
	}
	o.saw(issuer, "gh/acme/web", stray)
	if o.forget(issuer); len(o.seen) != 0 {
		t.Error("the orphans of an issuer that is gone are remembered")
	}
}

func TestAResourceWithoutReplacedTokensHasNoSightings(t *testing.T) {
	s := newHolderSightings()
	s.note("a", []v1alpha1.PreviousToken{{Revision: 1}}, map[int64]sighting{1: {held: true}})
	if len(s.last) != 1 {
		t.Fatal("a sighting is not remembered")
	}
	if s.note("a", nil, nil); len(s.last) != 0 {
		t.Error("a resource is remembered of which no replaced token is left")
	}
}
