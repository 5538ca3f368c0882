package authority

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
)

func (r *replica) post(path, contentType, body string) (int, string) {
	request := httptest.NewRequest(http.MethodPost, "/v1/issuers/"+path, strings.NewReader(body))
	request.Header.Set("Content-Type", contentType)
	return r.serve(request)
}

func (r *replica) introspectForm(form url.Values) (int, map[string]any) {
	r.t.Helper()
	status, body := r.post("main/introspect", "application/x-www-form-urlencoded", form.Encode())
	var answer map[string]any
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		r.t.Fatalf("%d, not JSON", status)
	}
	return status, answer
}

func TestIntrospectionTellsTheHolder(t *testing.T) {
	r := newReplica(t)
	w := newWorld(t, r.clock.Now())
	r.knows(r.cached, w.namespace, w.issuer, w.alice, w.api)

	_, answer := r.introspectForm(url.Values{"token": {w.aliceValue}, "token_type_hint": {"access_token"}})
	for key, want := range map[string]any{
		"active": true, "sub": "tokensteward:account:alice", "scope": "gh/acme", "jti": "uid-alice-1", "iss": "tokensteward:issuer:main",
		"exp": float64(w.expires.Unix()), "iat": float64(r.clock.Now().Unix()),
	} {
		if answer[key] != want {
			t.Errorf("%s is %v, want %v", key, answer[key], want)
		}
	}
	_, answer = r.introspectForm(url.Values{"token": {w.apiValue}})
	if answer["sub"] != "tokensteward:project:gh/acme/api" || answer["scope"] != "gh/acme/api" {
		t.Errorf("a project token: %v", answer)
	}
	for name, value := range map[string]string{"malformed": "x", "unknown": w.mint(t, w.alice.DeepCopy(), r.clock.Now())} {
		status, answer := r.introspectForm(url.Values{"token": {value}})
		if status != http.StatusOK || len(answer) != 1 || answer["active"] != false {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
}

func TestIntrospectionRefusesBadRequests(t *testing.T) {
	r := newReplica(t)
	w := newWorld(t, r.clock.Now())
	r.knows(r.cached, w.namespace, w.issuer, w.alice)
	const form = "application/x-www-form-urlencoded"
	for name, test := range map[string]struct {
		path, contentType, body string
		want                    int
	}{
		"no token":              {"main/introspect", form, "", 400},
		"two tokens":            {"main/introspect", form, "token=a&token=b", 400},
		"the token in the URL":  {"main/introspect?token=" + w.aliceValue, form, "", 400},
		"something in the URL":  {"main/introspect?a=b", form, "token=" + w.aliceValue, 400},
		"JSON":                  {"main/introspect", "application/json", `{"token":"a"}`, 400},
		"a huge body":           {"main/introspect", form, "token=" + strings.Repeat("a", maxBodyBytes), 400},
		"a path too long":       {"main/introspect/gh", form, "token=" + w.aliceValue, 401},
		"a broken percent sign": {"main/introspect", form, "token=%zz", 400},
	} {
		if status, body := r.post(test.path, test.contentType, test.body); status != test.want {
			t.Errorf("%s: %d %s, want %d", name, status, body, test.want)
		}
	}
	for _, path := range []string{"main/introspect", "main/tokenreview"} {
		if status, _ := r.ask("api-token", w.aliceValue, path); status != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: %d", path, status)
		}
	}
}

func (r *replica) review(value string) authenticationv1.TokenReviewStatus {
	r.t.Helper()
	question, err := json.Marshal(map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": map[string]any{"token": value},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	status, body := r.post("main/tokenreview", "application/json", string(question))
	var review authenticationv1.TokenReview
	if err := json.Unmarshal([]byte(body), &review); err != nil || status != http.StatusOK || review.Kind != "TokenReview" {
		r.t.Fatalf("%d, %v", status, err)
	}
	if review.Spec.Token != "" || (value != "" && strings.Contains(body, value)) {
		r.t.Error("the answer repeats the token")
	}
	return review.Status
}

func TestATokenReviewGivesANameAndNoGroup(t *testing.T) {
	r := newReplica(t)
	w := newWorld(t, r.clock.Now())
	r.knows(r.cached, w.namespace, w.issuer, w.alice, w.api)
	for value, want := range map[string]string{w.aliceValue: "tokensteward:account:alice", w.apiValue: "tokensteward:project:gh/acme/api"} {
		status := r.review(value)
		if !status.Authenticated || status.User.Username != want || len(status.User.Groups) > 0 {
			t.Errorf("want %s, got %s in %v", want, status.User.Username, status.User.Groups)
		}
	}
	for _, value := range []string{"", "x", w.mint(t, w.alice.DeepCopy(), r.clock.Now())} {
		if status := r.review(value); status.Authenticated || status.Error != "not found" || status.User.Username != "" {
			t.Errorf("a token that is not accepted: %v", status)
		}
	}
	for name, body := range map[string]string{
		"not JSON": "x", "another kind": `{"apiVersion":"v1","kind":"Pod"}`,
		"an old version": `{"apiVersion":"authentication.k8s.io/v1beta1","kind":"TokenReview","spec":{"token":"x"}}`,
		"a huge body":    `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"` + strings.Repeat("a", maxBodyBytes) + `"}}`,
	} {
		if status, _ := r.post("main/tokenreview", "application/json", body); status != http.StatusBadRequest {
			t.Errorf("%s: %d", name, status)
		}
	}
}

func TestWhoCantTellSaysSoAtEveryEndpoint(t *testing.T) {
	r := newReplica(t)
	w := newWorld(t, r.clock.Now())
	r.knows(r.server, w.namespace, w.issuer, w.alice)
	r.failure = errors.New("the API server is away")
	if status, _ := r.introspectForm(url.Values{"token": {w.aliceValue}}); status != http.StatusServiceUnavailable {
		t.Errorf("introspect: %d", status)
	}
	status, _ := r.post("main/tokenreview", "application/json", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"`+w.aliceValue+`"}}`)
	if status != http.StatusServiceUnavailable {
		t.Errorf("tokenreview: %d", status)
	}
}

// The shape in which ingress-nginx asks: its own GET, the client's headers, the original request in X- headers.
func TestTheRequestOfAnIngressIsUnderstood(t *testing.T) {
	r := newReplica(t)
	w := newWorld(t, r.clock.Now())
	r.knows(r.cached, w.namespace, w.issuer, w.alice)
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		request := httptest.NewRequest(method, "/v1/issuers/main/authorize/gh/acme/web", nil)
		for name, value := range map[string]string{
			"Authorization": "Bearer " + w.aliceValue, "X-Original-Url": "https://web.example/api?x=1", "X-Original-Method": "POST",
			"X-Sent-From": "nginx-ingress-controller", "X-Real-Ip": "192.0.2.1", "X-Forwarded-For": "192.0.2.1",
			"X-Token-Account": "root",
		} {
			request.Header.Set(name, value)
		}
		recorder := httptest.NewRecorder()
		r.Handler().ServeHTTP(recorder, request)
		if recorder.Code != http.StatusOK || recorder.Header().Get("X-Token-Account") != "alice" {
			t.Errorf("%s: %d, account %q", method, recorder.Code, recorder.Header().Get("X-Token-Account"))
		}
	}
}
