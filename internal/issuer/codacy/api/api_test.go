package api_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/tokensteward/tokensteward/internal/issuer/codacy/api"
)

func TestDescriptionIsValid(t *testing.T) {
	description, err := openapi3.NewLoader().LoadFromData(api.Description)
	if err != nil {
		t.Fatal(err)
	}
	if err := description.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestEachPathSegmentIsEscapedOnItsOwn(t *testing.T) {
	const rest = "/codacy/api/v3/organizations/gh/acme/repositories/"
	for name, want := range map[string]string{
		"api":     "api",
		"a b":     "a%20b",
		"a/b":     "a%2Fb",
		"a%2Fb":   "a%252Fb",
		"a?b#c":   "a%3Fb%23c",
		"a+b":     "a+b",
		"a,b;c=d": "a%2Cb%3Bc=d",
		"ü":       "%C3%BC",
	} {
		request, err := api.NewGetRepositoryRequest("https://codacy.example/codacy/api/v3/", "gh", "acme", name)
		if err != nil {
			t.Fatal(err)
		}
		if got := request.URL.EscapedPath(); got != rest+want {
			t.Errorf("repository %q is asked for at %s, want the last segment %s", name, got, want)
		}
		server := http.NewServeMux()
		var got string
		server.HandleFunc("GET "+rest+"{repository}", func(_ http.ResponseWriter, r *http.Request) { got = r.PathValue("repository") })
		server.ServeHTTP(httptest.NewRecorder(), request)
		if got != name {
			t.Errorf("a server reads %q, want %q", got, name)
		}
	}
}
