package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/secrettemplate"
	tokens "github.com/tokensteward/tokensteward/internal/token"
)

func TestTheGracePeriodOfAnAttemptBeginsWhenItsValueLeavesTheSecret(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Now())
	r := &TokenReconciler{Clock: clock}
	expires := metav1.NewTime(clock.Now().Add(100 * time.Hour))
	token := &v1alpha1.ProjectToken{}
	status, s := &token.Status.TokenStatus, &state{token: token, owner: "owner", tokenKey: "TOKEN", templates: &secrettemplate.Set{}}
	value := []byte("first")
	status.PreviousTokens = []v1alpha1.PreviousToken{
		{Revision: 1, SHA256: tokens.SHA256(value), ExpirationTime: &expires}, {Revision: 2, ID: "2", ExpirationTime: &expires},
	}
	holding := func(revision string, value []byte) *state {
		s.secret = &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.OwnerAnnotation: "owner", v1alpha1.RevisionAnnotation: revision}},
			Data:       map[string][]byte{"TOKEN": value},
		}
		return s
	}
	graceOf := func(revision int) time.Duration {
		if end := status.PreviousTokens[revision-1].RevokeTime; end != nil {
			return end.Sub(clock.Now())
		}
		return 0
	}
	r.sawInSecret(s)
	r.sawInSecret(holding("2", nil))
	if graceOf(1) != 0 || graceOf(2) != 0 {
		t.Error("a Secret without a value was taken for one with an attempt's")
	}
	r.sawInSecret(holding("1", value))
	if graceOf(1) != v1alpha1.DefaultGracePeriod || graceOf(2) != 0 {
		t.Errorf("seen in the Secret: %s and %s", graceOf(1), graceOf(2))
	}
	clock.SetTime(clock.Now().Add(90 * time.Hour)) // Nothing could be minted all the while.
	r.sawInSecret(s)
	if graceOf(1) > 0 {
		t.Error("to be seen again is no news, and would be written each time")
	}
	r.takesOutOfSecret(s)
	if graceOf(1) != 10*time.Hour {
		t.Errorf("replaced: %s, want what is left of its life", graceOf(1))
	}
	// Nobody knew the value of this one, until who had asked for it wrote it, late.
	r.sawInSecret(holding("2", []byte("second")))
	if graceOf(2) != 10*time.Hour {
		t.Errorf("written late: %s, want what is left of its life", graceOf(2))
	}
	clock.SetTime(clock.Now().Add(59 * time.Second)) // Lest a write that fails again and again is recorded each time: there is no client.
	if err := r.recordTakenOut(t.Context(), s); err != nil || graceOf(2) != 10*time.Hour-59*time.Second {
		t.Errorf("recorded again: %v, %s", err, graceOf(2))
	}
}

func TestTheEndOfTheGracePeriod(t *testing.T) {
	replaced := metav1.NewTime(time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC))
	expires := metav1.NewTime(replaced.Add(100 * time.Hour))
	hours := func(n int) *metav1.Duration { return &metav1.Duration{Duration: time.Duration(n) * time.Hour} }
	for name, test := range map[string]struct {
		rotation *v1alpha1.Rotation
		expires  *metav1.Time
		want     time.Duration // after the token was replaced
		held     time.Duration // the same
	}{
		"by default a day, and kept for who holds it until it expires": {nil, &expires, 24 * time.Hour, 100 * time.Hour},
		"as long as spec says":                            {&v1alpha1.Rotation{GracePeriod: hours(48)}, &expires, 48 * time.Hour, 100 * time.Hour},
		"not past the expiry":                             {&v1alpha1.Rotation{GracePeriod: hours(200)}, &expires, 100 * time.Hour, 100 * time.Hour},
		"kept as long as spec says":                       {&v1alpha1.Rotation{WaitForConsumers: hours(6)}, &expires, 24 * time.Hour, 30 * time.Hour},
		"kept, but not past the expiry":                   {&v1alpha1.Rotation{WaitForConsumers: hours(500)}, &expires, 24 * time.Hour, 100 * time.Hour},
		"none, and not kept":                              {&v1alpha1.Rotation{GracePeriod: hours(0), WaitForConsumers: hours(0)}, &expires, 0, 0},
		"none, and kept: not before it can be known":      {&v1alpha1.Rotation{GracePeriod: hours(0)}, &expires, 2 * time.Minute, 100 * time.Hour},
		"without an expiry kept as long as a token lives": {&v1alpha1.Rotation{}, nil, 24 * time.Hour, v1alpha1.DefaultDuration},
	} {
		spec := &v1alpha1.TokenSpec{Rotation: test.rotation}
		end := graceEnd(spec, replaced, test.expires)
		if got := end.Sub(replaced.Time); got != test.want {
			t.Errorf("%s: the grace period ends after %s, want %s", name, got, test.want)
		}
		until := heldUntil(spec, &v1alpha1.PreviousToken{ReplacedTime: &replaced, RevokeTime: end, ExpirationTime: test.expires})
		if got := until.Sub(replaced.Time); got != test.held {
			t.Errorf("%s: kept for %s, want %s", name, got, test.held)
		}
	}
}
