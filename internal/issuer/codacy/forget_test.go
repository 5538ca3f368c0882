package codacy

import (
	"fmt"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/token"
)

func forgetful(t *testing.T) (*Connection, *clocktesting.FakePassiveClock) {
	t.Helper()
	clock := clocktesting.NewFakePassiveClock(time.Now())
	services := NewServices(Options{Clock: clock, Timeout: time.Second, BreakerPause: time.Second})
	c, err := services.Connect(Key{Kind: v1alpha1.KindClusterTokenIssuer}, Config{URL: "https://codacy.example", Credential: token.NewValue("x"), Interval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return c, clock
}

func TestPlacesWhereNobodyHasATokenAnyMoreAreForgotten(t *testing.T) {
	c, clock := forgetful(t)
	sight := func(repository string) {
		c.Sight(v1alpha1.KindProjectToken, "gh/acme/"+repository, "1", clock.Now())
	}
	for i := range minPrune {
		sight(fmt.Sprint(i))
	}
	// A place with a token is looked at when it is due, and due again an interval later.
	clock.SetTime(clock.Now().Add(90 * time.Minute))
	kept := place{v1alpha1.KindProjectToken, "gh", "acme", "0"}
	c.endLook(kept, clock.Now(), nil, nil)
	clock.SetTime(clock.Now().Add(time.Hour))
	sight("new")
	if c.places[kept] == nil || len(c.places[kept].lists) != 1 {
		t.Error("a place with a token was forgotten")
	}
	if len(c.places) != 2 {
		t.Errorf("%d places are remembered, want the one that was looked at and the new one", len(c.places))
	}
}

func TestExpiriesThatHavePassedAreForgotten(t *testing.T) {
	c, clock := forgetful(t)
	for range minPrune {
		c.fingerprint(clock.Now().Add(365*24*time.Hour), 365*24*time.Hour)
	}
	if len(c.fingerprints) < minPrune-10 { // Two may be the same after many tries.
		t.Fatalf("%d expiries are remembered of tokens that live", len(c.fingerprints))
	}
	c.pruneFingerprintsAt = len(c.fingerprints)
	clock.SetTime(clock.Now().Add(366 * 24 * time.Hour))
	c.fingerprint(clock.Now().Add(365*24*time.Hour), 365*24*time.Hour)
	if len(c.fingerprints) != 1 {
		t.Errorf("%d expiries are remembered, want one", len(c.fingerprints))
	}
}
