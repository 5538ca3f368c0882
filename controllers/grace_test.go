package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

func TestTheGracePeriodOfAnAttemptBeginsWhenItsValueLeavesTheSecret(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Now())
	r := &TokenReconciler{Clock: clock}
	expires := metav1.NewTime(clock.Now().Add(100 * time.Hour))
	status := &v1alpha1.TokenStatus{PreviousTokens: []v1alpha1.PreviousToken{
		{Revision: 1, SHA256: "first", ExpirationTime: &expires}, {Revision: 2, ExpirationTime: &expires},
	}}
	graceOf := func(revision int) time.Duration {
		if end := status.PreviousTokens[revision-1].RevokeTime; end != nil {
			return end.Sub(clock.Now())
		}
		return 0
	}
	r.sawInSecret(status, "")
	if graceOf(1) != 0 || graceOf(2) != 0 {
		t.Error("a Secret without a value was taken for one with an attempt's")
	}
	r.sawInSecret(status, "first")
	if graceOf(1) != v1alpha1.DefaultGracePeriod || graceOf(2) != 0 {
		t.Errorf("seen in the Secret: %s and %s", graceOf(1), graceOf(2))
	}
	clock.SetTime(clock.Now().Add(90 * time.Hour)) // Nothing could be minted all the while.
	r.sawInSecret(status, "first")
	if graceOf(1) > 0 {
		t.Error("to be seen again is no news, and would be written each time")
	}
	r.takesOutOfSecret(status, "first")
	if graceOf(1) != 10*time.Hour {
		t.Errorf("replaced: %s, want what is left of its life", graceOf(1))
	}
}
