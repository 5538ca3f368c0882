package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/utils/clock"

	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

func TestATokenThatIsGiven(t *testing.T) {
	behaviour, err := codacytest.Edition("cloud-2026-08")
	if err != nil {
		t.Fatal(err)
	}
	ui := &webUI{codacy: codacytest.New(clock.RealClock{}, behaviour), directory: t.TempDir()}
	ui.account = ui.codacy.AddAccount("Robot", "robot@acme.example")
	file := filepath.Join(t.TempDir(), "given")
	for content, want := range map[string]bool{"": false, "a-value-that-was-chosen": true} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := ui.giveToken(file); (err == nil) != want {
			t.Errorf("a file of %d characters: %v", len(content), err)
		}
		if want && !ui.codacy.Accepts(content) {
			t.Error("the token is not accepted")
		}
	}
	if err := ui.giveToken(""); err != nil {
		t.Fatal(err)
	}
	if value, err := os.ReadFile(filepath.Join(ui.directory, "token")); err != nil || !ui.codacy.Accepts(string(value)) {
		t.Errorf("no token in the file: %v", err)
	}
}

func TestWebUI(t *testing.T) {
	behaviour, err := codacytest.Edition("cloud-2026-08")
	if err != nil {
		t.Fatal(err)
	}
	ui := &webUI{codacy: codacytest.New(clock.RealClock{}, behaviour), directory: t.TempDir(), repository: [3]string{"gh", "acme", "api"}}
	ui.account = ui.codacy.AddAccount("Robot", "robot@acme.example")
	ui.codacy.AddRepository("gh", "acme", "api")
	ask := func(want int, method, path, body string) string {
		t.Helper()
		answer := httptest.NewRecorder()
		ui.handler().ServeHTTP(answer, httptest.NewRequest(method, path, strings.NewReader(body)))
		if answer.Code != want {
			t.Errorf("%s %s is answered %d, want %d", method, path, answer.Code, want)
		}
		return answer.Body.String()
	}

	ask(201, http.MethodPost, "/tokens", `{"kind":"account"}`)
	var created shown
	answer := ask(201, http.MethodPost, "/tokens", `{"kind":"repository","name":"ci","expiresAt":"2999-01-01T00:00:00Z"}`)
	if err := json.Unmarshal([]byte(answer), &created); err != nil {
		t.Fatal(err)
	}
	value, err := os.ReadFile(created.File)
	if err != nil || !ui.codacy.Accepts(string(value)) {
		t.Errorf("the file does not hold a token: %v", err)
	}
	if info, err := os.Stat(created.File); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read the file: %v", err)
	}
	listed := ask(200, http.MethodGet, "/tokens", "")
	for _, made := range ui.codacy.Tokens() {
		if strings.Contains(listed+answer, made.Value.Reveal()) || !strings.Contains(listed, fmt.Sprint(made.ID)) {
			t.Error("the list is to hold each token, without its value")
		}
	}
	ask(204, http.MethodDelete, fmt.Sprintf("/tokens/%d", created.ID), "")
	ask(404, http.MethodDelete, fmt.Sprintf("/tokens/%d", created.ID), "")
	ask(400, http.MethodPost, "/tokens", `{"kind":"other"}`)

	ask(204, http.MethodPost, "/fault", `{"operation":"getVersion","kind":"refuse","count":1,"status":422}`)
	for _, want := range []int{422, 200} {
		request := httptest.NewRequest(http.MethodGet, "/api/v3/version", nil)
		request.Header = http.Header{"Content-Type": {"application/json"}, "User-Agent": {"test"}}
		answer := httptest.NewRecorder()
		ui.codacy.ServeHTTP(answer, request)
		if answer.Code != want {
			t.Errorf("the version is answered %d, want %d", answer.Code, want)
		}
	}
	if counted := ask(200, http.MethodGet, "/requests", ""); !strings.Contains(counted, `"getVersion":2,"getVersion:refused":1`) {
		t.Errorf("the requests are counted as %s", counted)
	}
	for _, wrong := range []string{
		`{"operation":"getVersion","kind":"explode","count":1}`,
		`{"operation":"getVersion","kind":"refuse","count":1}`,
		`{"operation":"getVersion","kind":"hang"}`,
		`{"unknown":true}`,
	} {
		ask(400, http.MethodPost, "/fault", wrong)
	}
}
