package controllers

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
)

// Thousands may wait for one place. If each asked again every second, they would hold up everybody else.
func TestWhoWaitsForOthersAsksLessAndLess(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC))
	f := newFailures(clock)
	s := &state{token: &v1alpha1.AccountToken{}}
	s.token.SetUID("uid")
	wait := func(err *issuer.Error) time.Duration {
		f.note(s, lifecycle.Mint, err)
		return f.of(s)[lifecycle.Mint].Until.Sub(clock.Now())
	}
	within := func(what string, got, least, most time.Duration) {
		t.Helper()
		if got < least || got > most {
			t.Errorf("%s: %s, not from %s to %s", what, got, least, most)
		}
	}
	turn := &issuer.Error{Reason: v1alpha1.ReasonWaitingForTurn, RetryAfter: time.Second}
	refusal := &issuer.Error{Reason: v1alpha1.ReasonServiceRefused}

	within("the first wait", wait(turn), time.Second, time.Second)
	wait(turn)
	within("the third wait", wait(turn), 2*time.Second, 4*time.Second)
	for range 20 {
		wait(turn)
	}
	within("the longest wait", wait(turn), longestTurn/2, longestTurn)
	within("a wait that the service asks for", wait(&issuer.Error{Reason: v1alpha1.ReasonWaitingForTurn, RetryAfter: time.Minute}), time.Minute, time.Minute)
	within("the first refusal after all that", wait(refusal), firstRetry/2, firstRetry)
	within("the first wait after a refusal", wait(turn), time.Second, time.Second)
	within("the second refusal", wait(refusal), firstRetry, 2*firstRetry)
	s.token.SetGeneration(2)
	within("the first refusal of another spec", wait(refusal), firstRetry/2, firstRetry)
}

func TestACrowdIsWhoOfAnIssuerIsInTrouble(t *testing.T) {
	f := newFailures(clocktesting.NewFakePassiveClock(time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)))
	of := func(uid types.UID, issuer string) *state {
		s := &state{token: &v1alpha1.AccountToken{}}
		s.token.SetUID(uid)
		s.token.SharedSpec().IssuerRef = v1alpha1.IssuerReference{Kind: v1alpha1.KindClusterTokenIssuer, Name: issuer}
		return s
	}
	want := func(when, issuer string, n int) {
		t.Helper()
		if got := f.crowd(types.NamespacedName{Name: issuer}); got != n {
			t.Errorf("%s: %d of the issuer %s, want %d", when, got, issuer, n)
		}
	}
	refusal := &issuer.Error{Reason: v1alpha1.ReasonServiceRefused}
	f.note(of("1", "noisy"), lifecycle.Mint, refusal)
	f.note(of("1", "noisy"), lifecycle.Look, refusal)
	f.note(of("2", "noisy"), lifecycle.Mint, refusal)
	f.postpone(of("3", "noisy"), lifecycle.Look, time.Second)
	want("two refused, one of them twice", "noisy", 2)
	want("two refused of another", "quiet", 0)
	f.succeeded(of("1", "noisy"), lifecycle.Mint)
	want("one of two problems is left", "noisy", 2)
	f.succeeded(of("1", "noisy"), lifecycle.Look)
	want("one is well again", "noisy", 1)
	f.note(of("2", "quiet"), lifecycle.Mint, refusal)
	want("one has gone to another issuer", "noisy", 0)
	want("one has come from another issuer", "quiet", 1)
	f.forget("2")
	want("that is gone", "quiet", 0)
	if len(f.troubled) != 0 || len(f.crowds) != 0 {
		t.Error("something is remembered of resources that are gone")
	}
}
