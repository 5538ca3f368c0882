package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/token"
)

// webUI is what a person can do at Codacy. It never shows a value: those of new tokens go into files.
type webUI struct {
	codacy     *codacytest.Server
	directory  string
	account    int64
	repository [3]string
	// ca is the certificate of the CA, in PEM.
	ca []byte
}

func (u *webUI) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /tokens", u.list)
	mux.HandleFunc("POST /tokens", u.create)
	mux.HandleFunc("DELETE /tokens/{id}", u.revoke)
	mux.HandleFunc("GET /requests", u.requests)
	mux.HandleFunc("GET /ca.crt", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(u.ca) }) // Or the client has gone.
	mux.HandleFunc("POST /fault", u.fault)
	return mux
}

// writeValue writes a token's value into a new file that only its owner can read.
func (u *webUI) writeValue(name string, t codacytest.Token) error {
	path := filepath.Join(u.directory, name)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.WriteFile(path, []byte(t.Value.Reveal()), 0o600)
}

// giveToken gives the account an API token: with the value in a file, or with a new one that goes into a file.
func (u *webUI) giveToken(file string) error {
	if file == "" {
		return u.writeValue("token", u.codacy.CreateAccountToken(u.account, nil))
	}
	value, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("--token-file: %w", err)
	}
	if len(value) == 0 {
		return fmt.Errorf("--token-file: %s is empty", file)
	}
	u.codacy.AddAccountToken(u.account, token.NewValue(string(value)))
	return nil
}

// shown is a token as the web UI shows it.
type shown struct {
	ID         int64      `json:"id"`
	Kind       string     `json:"kind"`
	Repository string     `json:"repository,omitempty"`
	Name       string     `json:"name,omitempty"`
	Created    time.Time  `json:"created"`
	Expires    *time.Time `json:"expires,omitempty"`
	HandMade   bool       `json:"handMade"`
	// File holds the value of one that was just made.
	File string `json:"file,omitempty"`
}

func show(t codacytest.Token) shown {
	return shown{
		ID: t.ID, Kind: t.Kind, Repository: t.Repository, Name: t.Name, Created: t.Created, Expires: t.Expires, HandMade: t.HandMade,
	}
}

func (u *webUI) list(w http.ResponseWriter, _ *http.Request) {
	tokens := []shown{}
	for _, t := range u.codacy.Tokens() {
		tokens = append(tokens, show(t))
	}
	respond(w, http.StatusOK, tokens)
}

func (u *webUI) create(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Kind      string     `json:"kind"`
		Name      string     `json:"name"`
		ExpiresAt *time.Time `json:"expiresAt"`
	}
	if !read(w, r, &asked) {
		return
	}
	var created codacytest.Token
	switch asked.Kind {
	case codacytest.AccountToken:
		created = u.codacy.CreateAccountToken(u.account, asked.ExpiresAt)
	case codacytest.RepositoryToken:
		created = u.codacy.CreateRepositoryToken(u.repository[0], u.repository[1], u.repository[2], asked.Name, asked.ExpiresAt)
	default:
		http.Error(w, "kind is account or repository", http.StatusBadRequest)
		return
	}
	name := "token-" + strconv.FormatInt(created.ID, 10)
	if err := u.writeValue(name, created); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer := show(created)
	answer.File = filepath.Join(u.directory, name)
	respond(w, http.StatusCreated, answer)
}

func (u *webUI) revoke(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || !u.codacy.RevokeInWebUI(id) {
		http.Error(w, "there is no such token", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (u *webUI) requests(w http.ResponseWriter, _ *http.Request) {
	respond(w, http.StatusOK, u.codacy.Requests())
}

func (u *webUI) fault(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Operation  string               `json:"operation"`
		Kind       codacytest.FaultKind `json:"kind"`
		Count      int                  `json:"count"`
		Status     int                  `json:"status"`
		RetryAfter int                  `json:"retryAfterSeconds"`
		Delay      int                  `json:"delaySeconds"`
		URL        string               `json:"url"`
	}
	if !read(w, r, &asked) {
		return
	}
	if !slices.Contains(codacytest.FaultKinds, asked.Kind) || asked.Operation == "" || asked.Count < 1 {
		http.Error(w, fmt.Sprintf("send operation, count and kind, one of %s", faultKinds()), http.StatusBadRequest)
		return
	}
	if asked.Kind == codacytest.Refuse && (asked.Status < 400 || asked.Status > 599) {
		http.Error(w, "status is from 400 to 599", http.StatusBadRequest)
		return
	}
	u.codacy.Fault(codacytest.Times(asked.Count, asked.Operation, codacytest.Fault{
		Kind: asked.Kind, Status: asked.Status, URL: asked.URL,
		RetryAfter: time.Duration(asked.RetryAfter) * time.Second, Delay: time.Duration(asked.Delay) * time.Second,
	}))
	w.WriteHeader(http.StatusNoContent)
}

// read reads the body of a request; if it can't, that is answered.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // The client may have gone.
}
