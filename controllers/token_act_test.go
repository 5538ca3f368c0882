package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// Such a status nobody but an attacker, or a hand that slipped, has written.
func TestOfTwoTokensWithOneRevisionTheCurrentOneIsRevoked(t *testing.T) {
	token := &v1alpha1.AccountToken{}
	s := &state{token: token}
	token.Status.PreviousTokens = []v1alpha1.PreviousToken{{Revision: 5, ID: "replaced", ReplacedTime: new(metav1.Now())}, {Revision: 4, ID: "closed"}}
	token.Status.Token = &v1alpha1.IssuedToken{Revision: 5, ID: "current"}
	token.Status.Pending = &v1alpha1.PendingToken{Revision: 5, ID: "open"}
	if got, seen, ok := s.referenceTo(5); !ok || !seen || got.ID != "current" {
		t.Errorf("the token %q is meant, want the current one", got.ID)
	}
	if got, seen, ok := s.referenceTo(4); !ok || seen || got.ID != "closed" {
		t.Errorf("the token %q is meant, want the one of the closed attempt, which nobody has seen", got.ID)
	}
	s.strikeOff(5)
	if got, _, ok := s.referenceTo(5); ok {
		t.Errorf("the token %q is meant, want none: an open attempt is settled before it is revoked", got.ID)
	}
}
