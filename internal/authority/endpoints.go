package authority

import (
	"encoding/json"
	"net/http"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/tokensteward/tokensteward/internal/grant"
	"github.com/tokensteward/tokensteward/internal/token"
)

// introspection is an answer of RFC 7662, section 2.2.
type introspection struct {
	Active    bool   `json:"active"`
	Subject   string `json:"sub,omitempty"`
	Scope     string `json:"scope,omitempty"`
	ExpiresAt int64  `json:"exp,omitempty"`
	IssuedAt  int64  `json:"iat,omitempty"`
	ID        string `json:"jti,omitempty"`
	Issuer    string `json:"iss,omitempty"`
}

// introspect tells of a token in the form field "token" what RFC 7662 foresees. It asks for no credentials of the
// caller, for it tells something only to who holds the token (docs/adr/0006).
func (a *Authority) introspect(w http.ResponseWriter, r *http.Request, issuer string) {
	if err := r.ParseForm(); err != nil {
		respond(w, http.StatusBadRequest, `{"error":"invalid_request"}`+"\n")
		return
	}
	// Only the body: a token in the URL would end up in access logs.
	if len(r.PostForm["token"]) != 1 || r.URL.RawQuery != "" {
		respond(w, http.StatusBadRequest, `{"error":"invalid_request","error_description":"send exactly one token, in the form body"}`+"\n")
		return
	}
	c, d := a.check(r.Context(), issuer, token.NewValue(r.PostForm.Get("token")), grant.Target{})
	if d == cantTell {
		unavailable(w)
		return
	}
	answer := introspection{}
	if c != nil {
		scope, err := a.scope(r.Context(), c)
		if err != nil {
			unavailable(w)
			return
		}
		answer = introspection{
			Active: true, Subject: c.username(), Scope: strings.Join(scope, " "), ExpiresAt: c.expires.Unix(),
			ID: c.id, Issuer: "tokensteward:issuer:" + issuer,
		}
		if !c.issued.IsZero() {
			answer.IssuedAt = c.issued.Unix()
		}
	}
	respondJSON(w, answer)
}

// tokenReview answers a TokenReview, as a kube-apiserver with --authentication-token-webhook-config-file sends it. The
// user is in no group, so no name can become a privilege.
func (a *Authority) tokenReview(w http.ResponseWriter, r *http.Request, issuer string) {
	var review authenticationv1.TokenReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil ||
		review.APIVersion != authenticationv1.SchemeGroupVersion.String() || review.Kind != "TokenReview" {
		respond(w, http.StatusBadRequest, `{"error":"send a TokenReview of authentication.k8s.io/v1"}`+"\n")
		return
	}
	c, d := a.check(r.Context(), issuer, token.NewValue(review.Spec.Token), grant.Target{})
	if d == cantTell {
		unavailable(w)
		return
	}
	// The answer does not repeat the token.
	answer := authenticationv1.TokenReview{TypeMeta: review.TypeMeta}
	if c == nil {
		answer.Status.Error = "not found"
	} else {
		answer.Status.Authenticated = true
		answer.Status.User.Username = c.username()
		answer.Status.User.Extra = map[string]authenticationv1.ExtraValue{"tokensteward.io/token-id": {c.id}}
	}
	respondJSON(w, answer)
}

func respondJSON(w http.ResponseWriter, answer any) {
	body, err := json.Marshal(answer)
	if err != nil {
		unavailable(w)
		return
	}
	respond(w, http.StatusOK, string(body)+"\n")
}
