package codacytest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

// A value as Codacy makes them, which nothing may repeat.
const secret = "NotARealTokenValue01"

func TestChecksFindWhatIsNotAsDescribed(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		contentType        string
		answer             string
		// want is in the report; none if it is empty.
		want string
	}{
		"nothing is wrong": {
			method: "GET", path: "/api/v3/user/tokens?limit=100", status: 200, answer: `{"data":[{"id":1,"token":"` + secret + `"}]}`,
		},
		"an id is no number": {
			method: "GET", path: "/api/v3/user/tokens", status: 200, answer: `{"data":[{"id":"` + secret + `"}]}`, want: "/data/0/id",
		},
		"a new token without a value": {
			method: "POST", path: "/api/v3/user/tokens", status: 200, answer: `{"id":1}`, want: "/token",
		},
		"a new token where it should be bare": {
			method: "POST", path: "/api/v3/user/tokens", status: 200, answer: `{"data":{"id":1,"token":"` + secret + `"}}`, want: "required",
		},
		"an expiry that is no time": {
			method: "POST", path: "/api/v3/user/tokens", status: 200, answer: `{"id":1,"token":"` + secret + `","expiresAt":"` + secret + `"}`, want: "/expiresAt",
		},
		"another status of success": {
			method: "POST", path: "/api/v3/user/tokens", status: 201, answer: `{"id":1,"token":"` + secret + `"}`, want: "201",
		},
		"an error that is none of Codacy's": {
			method: "GET", path: "/api/v3/user", status: 404, answer: `{"error":"` + secret + `"}`, want: "message",
		},
		"an answer that is no JSON": {
			method: "GET", path: "/api/v3/user", status: 200, answer: secret, want: "decode",
		},
		"an answer of another type": {
			method: "GET", path: "/api/v3/user", status: 200, contentType: "text/csv", answer: secret, want: "text/csv",
		},
		"a gateway's page": {
			method: "GET", path: "/api/v3/user", status: 504, contentType: "text/html", answer: "<html></html>",
		},
		"a request with half a body": {
			method: "POST", path: repositoryPath + "/tokens", body: `{"name":"ci"}`, status: 400, answer: `{"message":"no","error":"BadRequest"}`, want: "/expiresAt",
		},
		"a request with a name that is none": {
			method: "POST", path: repositoryPath + "/tokens", body: `{"name":"` + secret + `!","expiresAt":"2026-08-04T00:00:00Z"}`,
			status: 400, answer: `{"message":"no","error":"BadRequest"}`, want: "/name",
		},
		"a request for too long a page": {
			method: "GET", path: "/api/v3/user/tokens?limit=101", status: 400, answer: `{"message":"no","error":"BadRequest"}`, want: "limit",
		},
		"a request with an id that is none": {
			method: "DELETE", path: "/api/v3/user/tokens/" + secret, status: 400, answer: `{"message":"no","error":"BadRequest"}`, want: "tokenId",
		},
		"a request with a body where none belongs": {
			method: "GET", path: "/api/v3/version", body: secret, status: 200, answer: `{"data":"16"}`, want: "getVersion",
		},
		"a path that is not described": {
			method: "GET", path: "/api/v3/" + secret, status: 404, answer: `{}`, want: "GET of a path",
		},
		"another API": {
			method: "GET", path: "/2.0/anything", status: 404, answer: `{}`,
		},
	} {
		handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if c.contentType != "" {
				w.Header().Set("Content-Type", c.contentType)
			}
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.answer)
		})
		for side, send := range map[string]func(*http.Request, func(error)) string{
			"server": func(r *http.Request, report func(error)) string {
				recorder := httptest.NewRecorder()
				codacytest.Check(handler, report).ServeHTTP(recorder, r)
				return recorder.Body.String()
			},
			"client": func(r *http.Request, report func(error)) string {
				recorder := httptest.NewRecorder()
				next := roundTripper(func(sent *http.Request) *http.Response {
					handler.ServeHTTP(recorder, sent)
					return recorder.Result()
				})
				response, err := codacytest.CheckTransport(next, report).RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
				got := new(strings.Builder)
				if err := response.Write(got); err != nil {
					t.Fatal(err)
				}
				return got.String()[strings.Index(got.String(), "\r\n\r\n")+4:]
			},
		} {
			t.Run(name+", seen by the "+side, func(t *testing.T) {
				request := httptest.NewRequest(c.method, "https://codacy.example"+c.path, strings.NewReader(c.body))
				request.Header = http.Header{"Api-Token": {secret}, "Content-Type": {"application/json"}, "User-Agent": {"test"}}
				reported := ""
				got := send(request, func(err error) { reported += err.Error() + "\n" })
				if got != c.answer {
					t.Error("the answer does not get through")
				}
				if strings.Contains(reported, secret) {
					t.Error("the report repeats what was sent")
				} else if (reported == "") != (c.want == "") || !strings.Contains(reported, c.want) {
					t.Errorf("the report is %q, want %q in it", reported, c.want)
				}
			})
		}
	}
}

type roundTripper func(*http.Request) *http.Response

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

func TestChecksWantAToken(t *testing.T) {
	var reported []error
	handler := codacytest.Check(http.NotFoundHandler(), func(err error) { reported = append(reported, err) })
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/api/v3/user", nil))
	if len(reported) != 2 || !strings.Contains(reported[0].Error(), "api-token") {
		t.Errorf("a request without a token gives %v, want it reported besides the answer", reported)
	}
}
