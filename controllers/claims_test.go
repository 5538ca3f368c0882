package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// Else who writes the port out in an issuer of their own has another's token taken over.
func TestATokenIsClaimedUnderEveryURLOfItsService(t *testing.T) {
	owner := &v1alpha1.ProjectToken{ObjectMeta: metav1.ObjectMeta{UID: "uid"}}
	owner.Status.OwnerUID = "uid"
	for _, test := range []struct {
		made, asked string
		claimed     bool
	}{
		{"https://app.codacy.com", "https://app.codacy.com", true},
		{"https://app.codacy.com", "https://app.codacy.com:443", true},
		{"https://app.codacy.com:443", "https://app.codacy.com", true},
		{"https://tools.example:443/codacy", "https://tools.example/codacy", true},
		{"https://tools.example/codacy", "https://tools.example", false},
		{"https://tools.example:8443", "https://tools.example", false},
		{"https://tools.example/x:443", "https://tools.example/x", false},
		{"https://other.example", "https://tools.example", false},
	} {
		owner.Status.Token = &v1alpha1.IssuedToken{ID: "1", URL: test.made}
		c := &claims{hashes: map[string]string{}, names: map[string]bool{}}
		c.add(owner, test.asked)
		if _, claimed := c.hashes["1"]; claimed != test.claimed {
			t.Errorf("made at %s, asked for at %s: claimed %t", test.made, test.asked, claimed)
		}
	}
}
