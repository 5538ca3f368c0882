package controllers

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// sawInSecret notes that the value of a closed attempt was found in the Secret: whoever read it there gets the grace
// period of any other replaced token.
func (r *TokenReconciler) sawInSecret(status *v1alpha1.TokenStatus, sha256 string) {
	if previous := previousWith(status, sha256); previous != nil && previous.ReplacedTime == nil {
		r.startGrace(previous)
	}
}

// takesOutOfSecret notes that what the Secret holds is about to be replaced. If that is a previous token, because nothing
// could be minted since, its grace period begins only now.
func (r *TokenReconciler) takesOutOfSecret(status *v1alpha1.TokenStatus, sha256 string) {
	if previous := previousWith(status, sha256); previous != nil {
		r.startGrace(previous)
	}
}

func previousWith(status *v1alpha1.TokenStatus, sha256 string) *v1alpha1.PreviousToken {
	at := slices.IndexFunc(status.PreviousTokens, func(p v1alpha1.PreviousToken) bool { return sha256 != "" && p.SHA256 == sha256 })
	if at < 0 {
		return nil
	}
	return &status.PreviousTokens[at]
}

func (r *TokenReconciler) startGrace(previous *v1alpha1.PreviousToken) {
	now := metav1.NewTime(r.Clock.Now())
	previous.ReplacedTime, previous.RevokeTime = &now, graceEnd(now, previous.ExpirationTime)
}

func graceEnd(replaced metav1.Time, expires *metav1.Time) *metav1.Time {
	end := metav1.NewTime(replaced.Add(v1alpha1.DefaultGracePeriod))
	if expires != nil && expires.Before(&end) {
		return expires.DeepCopy()
	}
	return &end
}
