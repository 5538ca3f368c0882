package codacytest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

func TestFaults(t *testing.T) {
	for kind, want := range map[codacytest.FaultKind]struct {
		// status is 0 if there is no answer that can be read.
		status int
		acts   bool
	}{
		codacytest.Refuse:             {status: 422},
		codacytest.TimeoutAfterActing: {status: 504, acts: true},
		codacytest.CutAfterActing:     {acts: true},
		codacytest.CutBeforeActing:    {},
		codacytest.Slow:               {status: 200, acts: true},
		codacytest.Garbage:            {status: 200, acts: true},
		codacytest.Huge:               {status: 200, acts: true},
		codacytest.WrongContentType:   {status: 200},
		codacytest.Redirect:           {status: 307},
	} {
		t.Run(string(kind), func(t *testing.T) {
			s := newStand(t, edition(t, "cloud-2026-08"))
			s.Fault(codacytest.Times(1, "createUserApiToken", codacytest.Fault{
				Kind: kind, Status: 422, Delay: time.Millisecond, URL: "https://elsewhere.example/",
			}))
			status := 0
			if got, err := s.try(http.MethodPost, "/api/v3/user/tokens", ""); err == nil {
				status = got.status
				isHuge, isGarbage := len(got.body) == most, got.status < 300 && !json.Valid(got.body) && len(got.body) < most
				if isHuge != (kind == codacytest.Huge) || isGarbage != (kind == codacytest.Garbage || kind == codacytest.WrongContentType) {
					t.Errorf("the answer has %d bytes, and is JSON: %t", len(got.body), json.Valid(got.body))
				}
			}
			if status != want.status {
				t.Errorf("the answer is %d, want %d", status, want.status)
			}
			if got := len(s.Tokens()) == 2; got != want.acts {
				t.Errorf("the server acted: %t", got)
			}
			s.want(200, http.MethodPost, "/api/v3/user/tokens", "") // Only once.
			s.Fault(nil)
		})
	}
}

func TestHang(t *testing.T) {
	for kind, tokens := range map[codacytest.FaultKind]int{codacytest.Hang: 1, codacytest.HangAfterActing: 2} {
		for _, end := range []string{"the client goes away", "the server closes"} {
			t.Run(fmt.Sprintf("%s until %s", kind, end), func(t *testing.T) {
				s := newStand(t, edition(t, "cloud-2026-08"))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				begin := func() {
					if end == "the client goes away" {
						cancel()
					} else {
						go s.running.Close()
					}
				}
				s.OnRequest(func(_, when string) {
					if when == codacytest.After {
						begin()
					}
				})
				s.Fault(func(string, *http.Request) codacytest.Fault {
					if kind == codacytest.Hang {
						begin()
					}
					return codacytest.Fault{Kind: kind}
				})
				request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.running.URL+"/api/v3/user/tokens", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				request.Header = http.Header{
					"Api-Token": {s.token.Value.Reveal()}, "Content-Type": {"application/json"}, "User-Agent": {"test"},
				}
				if response, err := s.client.Do(request); err == nil {
					response.Body.Close()
					t.Errorf("there is an answer %d", response.StatusCode)
				}
				if got := len(s.Tokens()); got != tokens {
					t.Errorf("there are %d tokens, want %d", got, tokens)
				}
			})
		}
	}
}

func TestOnRequestIsCalledBeforeAndAfterActing(t *testing.T) {
	s := newStand(t, edition(t, "cloud-2026-08"))
	var calls []string
	s.OnRequest(func(operation, when string) {
		calls = append(calls, fmt.Sprintf("%s %s: %d", when, operation, len(s.Tokens())))
	})
	s.want(200, http.MethodPost, "/api/v3/user/tokens", "")
	s.OnRequest(nil)
	s.want(200, http.MethodPost, "/api/v3/user/tokens", "")
	want := "before createUserApiToken: 1, after createUserApiToken: 2"
	if got := strings.Join(calls, ", "); got != want {
		t.Errorf("the calls were %q, want %q", got, want)
	}
}
