package codacy_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

func TestAllPagesOfTheAccountAreRead(t *testing.T) {
	for _, count := range []int{99, 100, 199, 200, 249} { // And the credential.
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, "self-hosted-16"))
			s.restart(patient)
			for range count {
				s.byHand(v1alpha1.KindAccountToken)
			}
			attempt, minted := s.mint(v1alpha1.KindAccountToken, 1)
			s.wantRequests(map[string]int{"getUserApiTokens": (count + 100) / 100, "createUserApiToken": 1})
			if got := len(attempt.Record.ListedIDs); got != count+1 {
				t.Errorf("%d tokens were there before, want %d", got, count+1)
			}
			// Wherever it is in the list, the new one is found, and no other.
			if got := s.settle(s.inquiry(v1alpha1.KindAccountToken, attempt.Record)).Ambiguous; len(got) != 1 || got[0] != minted.ID {
				t.Errorf("Settle names %d tokens, want the one", len(got))
			}
		})
	}
}

func TestAllPagesOfARepositoryAreReadThoughNoneAreDocumented(t *testing.T) {
	for _, size := range []int{1, 2, 7} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			b := edition(t, "cloud-2025-07")
			b.RepositoryPage = size
			s := newStandIn(t, b)
			s.restart(patient)
			const count = 6
			for range count {
				s.byHand(v1alpha1.KindProjectToken)
			}
			attempt, minted := s.mint(v1alpha1.KindProjectToken, 1)
			s.wantRequests(map[string]int{"listRepositoryApiTokens": (count + size - 1) / size, "createRepositoryApiToken": 1})
			if got := len(attempt.Record.ListedIDs); got != count {
				t.Errorf("%d tokens were there before, want %d", got, count)
			}
			if got := s.settle(s.inquiry(v1alpha1.KindProjectToken, attempt.Record)).Ambiguous; len(got) != 1 || got[0] != minted.ID {
				t.Errorf("Settle names %d tokens, want the one", len(got))
			}
		})
	}
}

// listings are answers to a request for a list that never are a whole list. Many of them would go on for ever; the service
// ends them after a while, so that a client that believes them is found out.
var listings = map[string]func(asked int, cursor string) string{
	"a cursor that repeats": func(int, string) string {
		return `{"data":[{"id":1}],"pagination":{"cursor":"again","limit":1,"total":2}}`
	},
	"two cursors that repeat": func(_ int, cursor string) string {
		return fmt.Sprintf(`{"data":[{"id":1}],"pagination":{"cursor":%q,"limit":1}}`, map[bool]string{false: "one", true: "two"}[cursor == "one"])
	},
	"pages that are empty": func(asked int, _ string) string {
		return fmt.Sprintf(`{"data":[],"pagination":{"cursor":"c%d","limit":1}}`, asked)
	},
	"pages that are all the same": func(asked int, _ string) string {
		return fmt.Sprintf(`{"data":[{"id":1}],"pagination":{"cursor":"c%d","limit":1}}`, asked)
	},
	"a total that is larger than the list": func(int, string) string {
		return `{"data":[{"id":1},{"id":2}],"pagination":{"limit":100,"total":3}}`
	},
	"a total that counts a token twice": func(int, string) string {
		return `{"data":[{"id":1},{"id":1}],"pagination":{"limit":100,"total":2}}`
	},
	"a last page that is missing": func(_ int, cursor string) string {
		if cursor == "" {
			return `{"data":[{"id":1}],"pagination":{"cursor":"next","limit":1,"total":3}}`
		}
		return `{"data":[{"id":2}],"pagination":{"limit":1,"total":3}}`
	},
	"no list":                 func(int, string) string { return `{}` },
	"null in place of a list": func(int, string) string { return `{"data":null}` },
	"something else":          func(int, string) string { return `{"status":"ok"}` },
	"null":                    func(int, string) string { return `null` },
	"tokens without an id":    func(int, string) string { return `{"data":[{"name":"one"}]}` },
	"ids that are no numbers": func(int, string) string { return `{"data":[{"id":"` + codacytest.Marker + `"}]}` },
	"a list in a list":        func(int, string) string { return `{"data":[[]]}` },
	"a bare list":             func(int, string) string { return `[]` },
}

// A list that lacks something would pass for the proof that a token is gone.
func TestAListThatIsNotWholeIsAnErrorAndProvesNothing(t *testing.T) {
	const endless = 1000
	for _, kind := range kinds {
		for name, listing := range listings {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := newStandIn(t, edition(t, "cloud-2026-08"))
				var asked atomic.Int32
				s.play(script{
					"GET " + tokensPath[kind]: func(w http.ResponseWriter, r *http.Request) {
						if n := int(asked.Add(1)); n < endless {
							say(w, http.StatusOK, listing(n, r.URL.Query().Get("cursor")))
						} else {
							say(w, http.StatusOK, `{"data":[]}`)
						}
					},
					"DELETE " + tokensPath[kind] + "/9": saying(http.StatusNotFound, `{"message":"no","actions":[],"error":"NotFound"}`),
				})
				issued := s.clock.Now()
				s.advance(1)
				s.wantReason(s.look(kind), v1alpha1.ReasonServiceUnavailable, false)
				s.wantReason(s.look(kind), v1alpha1.ReasonServiceUnavailable, false)
				if missing, _ := s.connection.Sight(kind, subjects[kind], "9", issued); missing {
					t.Error("a token is missing from what is no list")
				}
				attempt := issuer.Attempt{Record: v1alpha1.PendingToken{URL: s.running.URL, AccountID: "7"}}
				err := s.connection.Revoke(t.Context(), reference(kind, &attempt, "9"))
				s.wantReason(err, v1alpha1.ReasonServiceUnavailable, false)
				if got := asked.Load(); got > 3*110 { // A hundred for each of the three lists, and some more.
					t.Errorf("%d pages were asked for", got)
				}
			})
		}
	}
}

func TestAnAnswerIsJSONOnlyIfItSaysSo(t *testing.T) {
	for contentType, taken := range map[string]bool{
		"application/json": true, "application/json; charset=utf-8": true,
		"": false, "text/html": false, "text/json": false, "application/json-seq": false, "application/problem+json": false, "application/json;": true,
	} {
		t.Run(contentType, func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, "cloud-2026-08"))
			s.play(script{"GET /user/tokens": func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{contentType}
				_, _ = w.Write([]byte(`{"data":[]}`))
			}})
			if err := s.look(v1alpha1.KindAccountToken); (err == nil) != taken {
				t.Errorf("it is taken: %t, want %t", err == nil, taken)
			}
		})
	}
}

func TestAnAnswerThatIsTooLongIsNotReadToItsEnd(t *testing.T) {
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	const most = 256 << 20
	sent := make(chan int, 1)
	s.play(script{"GET /user/tokens": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		n, err := w.Write([]byte(`{"data":[]}`)) // And spaces, which are JSON wherever it is cut.
		space := bytes.Repeat([]byte(" "), 1<<16)
		all := n
		for ; err == nil && all < most; all += n {
			n, err = w.Write(space)
		}
		sent <- all
	}})
	s.wantWords(s.wantReason(s.look(v1alpha1.KindAccountToken), v1alpha1.ReasonServiceUnavailable, false), "longer than any of Codacy's")
	if got := <-sent; got > 64<<20 {
		t.Errorf("%d bytes were sent", got)
	}
}

func TestAPageThatOverlapsTheOneBeforeIsNoMistake(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			s := newStandIn(t, edition(t, "cloud-2026-08"))
			s.play(script{"GET " + tokensPath[kind]: func(w http.ResponseWriter, r *http.Request) {
				page := map[string]string{
					"":    `{"data":[{"id":1},{"id":2}],"pagination":{"cursor":"a&b","limit":2,"total":3}}`,
					"a&b": `{"data":[{"id":2},{"id":3}],"pagination":{"limit":2,"total":3}}`,
				}[r.URL.Query().Get("cursor")]
				if page == "" {
					page = `{"data":[]}`
				}
				say(w, http.StatusOK, page)
			}})
			attempt := s.prepare(kind, 1)
			if got := strings.Trim(fmt.Sprint(attempt.Record.ListedIDs), "[]"); got != "1 2 3" {
				t.Errorf("the tokens are %s, want 1 2 3", got)
			}
		})
	}
}
