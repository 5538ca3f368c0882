// The witness watches from outside whether the promises of docs/architecture.md hold while the chaos test runs. It is a process of its own
// and shares no code with the operator: what it knows of it is what docs/ says. It prints each breach as a line, and at its end, for which
// SIGTERM asks, a summary as JSON.
//
//	witness DIRECTORY
//
// DIRECTORY holds api.json (url, and ca, cert and key as PEM), codacy.json (url and ca) and authorities.json (the URLs of all replicas,
// which change).
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// heldFor is how long a consumer holds a value after the Secret changed. Grace periods are twice as long, and clocks are off by less
	// than the difference.
	heldFor = 20 * time.Second
	// knownTo all replicas of the authority, or they can't tell: docs/authority.md, When it can't tell.
	knownWithin = 45 * time.Second
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "witness:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if len(os.Args) != 2 {
		return errors.New("usage: witness DIRECTORY")
	}
	w, err := newWitness(os.Args[1])
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		w.round()
		time.Sleep(100 * time.Millisecond)
	}
	w.last()
	return json.NewEncoder(os.Stdout).Encode(w.summary)
}

type summary struct {
	Rounds  int `json:"rounds"`
	Values  int `json:"values"`
	Calls   int `json:"calls"`
	Refused int `json:"refused"`
	// Unrecorded are refusals of values of which nothing was left that told of them: docs/rotation.md, Fields.
	Unrecorded int `json:"unrecorded"`
	Outlived   int `json:"outlived"`
	// Trouble is the last one that it had with the API server.
	Trouble string `json:"trouble"`
}

// value is a token that was in a Secret.
type value struct {
	text      string
	codacy    bool
	kind      string
	owner     string // <kind>/<namespace>/<name>, for people.
	namespace string
	secret    string
	uid       string
	issuer    string
	grace     time.Duration
	lastSeen  time.Time
	goneSince time.Time
	// recorded: a status named it. deleted: its Secret was not there when somebody looked, before it was.
	recorded, deleted bool
	// homeless: its namespace is going or gone, and with it whoever could use it.
	homeless bool
}

type witness struct {
	directory   string
	api, codacy *http.Client
	apiURL      string
	codacyURL   string
	values      map[string]*value
	summary     summary
}

func newWitness(directory string) (*witness, error) {
	w := &witness{directory: directory, values: map[string]*value{}}
	var api, codacy struct{ URL, CA, Cert, Key string }
	if err := errors.Join(w.read("api.json", &api), w.read("codacy.json", &codacy)); err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair([]byte(api.Cert), []byte(api.Key))
	if err != nil {
		return nil, err
	}
	w.apiURL, w.codacyURL = api.URL, codacy.URL
	w.api, w.codacy = caller(api.CA, certificate), caller(codacy.CA)
	return w, nil
}

func (w *witness) read(file string, into any) error {
	text, err := os.ReadFile(filepath.Join(w.directory, file))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func caller(ca string, certificates ...tls.Certificate) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ca))
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certificates, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 16,
	}}
}

// The parts of Kubernetes' objects that it looks at.
type (
	metadata struct {
		Name, Namespace, UID string
		DeletionTimestamp    string
		Annotations          map[string]string
	}
	secret struct {
		Metadata metadata
		Data     map[string][]byte
	}
	resource struct {
		Metadata metadata
		Spec     struct {
			IssuerRef struct{ Name string }
			Rotation  struct{ GracePeriod string }
		}
		// Status has hashes, and no value. It is shown with a breach.
		Status json.RawMessage
	}
)

func (w *witness) get(path string, into any) error {
	response, err := w.api.Get(w.apiURL + path)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, response.Body)
		return fmt.Errorf("%d", response.StatusCode)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// resources are all tokens by UID.
func (w *witness) resources() (map[string]*resource, error) {
	all := map[string]*resource{}
	for _, kind := range []string{"accounttokens", "projecttokens"} {
		var list struct{ Items []resource }
		if err := w.get("/apis/tokensteward.io/v1alpha1/"+kind, &list); err != nil {
			return nil, err
		}
		for i := range list.Items {
			all[list.Items[i].Metadata.UID] = &list.Items[i]
		}
	}
	return all, nil
}

// namespaces are those that are there to stay.
func (w *witness) namespaces() (map[string]bool, error) {
	var list struct{ Items []struct{ Metadata metadata } }
	if err := w.get("/api/v1/namespaces", &list); err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, namespace := range list.Items {
		there[namespace.Metadata.Name] = namespace.Metadata.DeletionTimestamp == ""
	}
	return there, nil
}

// round looks at every Secret, and uses every value that is in one or that a consumer may still hold.
func (w *witness) round() {
	began := time.Now()
	var secrets struct{ Items []secret }
	err := w.get("/api/v1/secrets?labelSelector=tokensteward.io/managed%3Dtrue", &secrets)
	if err != nil { // The API server is away.
		w.summary.Trouble = err.Error()
		return
	}
	resources, err := w.resources()
	if err != nil {
		w.summary.Trouble = err.Error()
		return
	}
	homes, err := w.namespaces()
	if err != nil {
		w.summary.Trouble = err.Error()
		return
	}
	w.summary.Rounds++
	for i := range secrets.Items {
		w.see(&secrets.Items[i], resources, began)
	}
	there := map[string]bool{}
	for i := range secrets.Items {
		there[secrets.Items[i].Metadata.Namespace+"/"+secrets.Items[i].Metadata.Name] = true
	}
	for _, v := range w.values {
		owner := resources[v.uid]
		v.homeless = v.homeless || !homes[v.namespace]
		v.recorded = v.recorded || owner != nil && v.isRecordedIn(owner.Status)
		v.deleted = v.deleted || !v.recorded && !there[v.namespace+"/"+v.secret]
		switch {
		case owner == nil && v.goneSince.IsZero():
			v.goneSince = time.Now()
		case owner == nil:
			if time.Since(v.goneSince) > knownWithin {
				w.checkGone(v)
			}
		case !v.homeless && owner.Metadata.DeletionTimestamp == "" && time.Since(v.lastSeen) < w.hold(v):
			w.use(v)
		}
	}
}

// hold is how long after its value was seen last in the Secret a consumer holds it.
func (w *witness) hold(v *value) time.Duration {
	if v.grace >= 2*heldFor {
		return heldFor
	}
	return time.Second // It is checked whether it is in the Secret still.
}

// see takes note of what a Secret holds.
func (w *witness) see(s *secret, resources map[string]*resource, at time.Time) {
	owner := strings.Split(s.Metadata.Annotations["tokensteward.io/owner"], "/")
	if len(owner) != 5 {
		return
	}
	for key, text := range s.Data {
		if !strings.HasSuffix(key, "API_TOKEN") && !strings.HasSuffix(key, "PROJECT_TOKEN") || bytes.HasPrefix(text, []byte("garbage-")) {
			continue // Garbage is what the director puts there.
		}
		r := resources[owner[4]]
		if r == nil {
			continue
		}
		v := w.values[string(text)]
		if v == nil {
			v = &value{
				text: string(text), codacy: strings.HasPrefix(key, "CODACY_"), kind: owner[1], owner: strings.Join(owner[1:4], "/"),
				namespace: s.Metadata.Namespace, secret: s.Metadata.Name, uid: owner[4], issuer: r.Spec.IssuerRef.Name,
			}
			w.values[v.text] = v
			w.summary.Values++
		}
		v.lastSeen = at
		v.grace, _ = time.ParseDuration(r.Spec.Rotation.GracePeriod)
	}
}

// isRecordedIn says whether a status names the token as one that the Secret holds or held.
func (v *value) isRecordedIn(status json.RawMessage) bool {
	var known struct {
		Token          struct{ SHA256 string }
		PreviousTokens []struct{ SHA256, ReplacedTime string }
	}
	_ = json.Unmarshal(status, &known) // A status that is not understood names nothing.
	recorded := known.Token.SHA256 == hash(v.text)
	for _, previous := range known.PreviousTokens {
		recorded = recorded || previous.SHA256 == hash(v.text) && previous.ReplacedTime != ""
	}
	return recorded
}

// use calls the service as a consumer does, and holds a refusal against the promise.
func (w *witness) use(v *value) {
	if w.accepted(v) != no {
		return
	}
	// Was it to be refused? Then the resource is being deleted, or, if no grace is given, the Secret has another one.
	resources, err := w.resources()
	if err != nil {
		return
	}
	owner := resources[v.uid]
	var namespace struct{ Metadata metadata }
	if owner == nil || owner.Metadata.DeletionTimestamp != "" || w.get("/api/v1/namespaces/"+v.namespace, &namespace) != nil || namespace.Metadata.DeletionTimestamp != "" {
		return
	}
	if v.grace < 2*heldFor {
		var s secret
		if w.get("/api/v1/namespaces/"+v.namespace+"/secrets/"+v.secret, &s) != nil {
			return
		}
		holds := false
		for _, text := range s.Data {
			holds = holds || string(text) == v.text
		}
		if !holds {
			return
		}
	}
	if v.deleted && !v.recorded {
		w.summary.Unrecorded++
		v.homeless = true
		return
	}
	w.summary.Refused++
	fmt.Printf("%s refused: a token of %s, last seen in its Secret %s ago, with a grace period of %s; sha256 %.12s; its status: %s\n",
		time.Now().Format(time.TimeOnly), v.owner, time.Since(v.lastSeen).Round(time.Millisecond), v.grace, hash(v.text), owner.Status)
}

// checkGone: the resource of a value is gone, and all know of it.
func (w *witness) checkGone(v *value) {
	if w.accepted(v) == yes {
		w.summary.Outlived++
		fmt.Printf("%s outlived: a token of %s is accepted %s after its resource was gone; sha256 %.12s\n",
			time.Now().Format(time.TimeOnly), v.owner, time.Since(v.goneSince).Round(time.Second), hash(v.text))
	}
	delete(w.values, v.text)
}

// last waits until what is gone must be known everywhere.
func (w *witness) last() {
	for deadline := time.Now().Add(2 * knownWithin); time.Now().Before(deadline) && len(w.values) > 0; time.Sleep(time.Second) {
		w.round()
	}
	if len(w.values) > 0 {
		fmt.Printf("%d values belong to resources that are still there\n", len(w.values))
	}
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

type verdict int

const (
	unknown verdict = iota
	yes
	no
)

// accepted asks the service that a value is for; of the authority all replicas.
func (w *witness) accepted(v *value) verdict {
	if v.codacy {
		request, _ := http.NewRequest(http.MethodGet, w.codacyURL+"/api/v3/user", http.NoBody)
		header := "api-token"
		if v.kind == "ProjectToken" {
			header = "project-token"
			request, _ = http.NewRequest(http.MethodPost, w.codacyURL+"/2.0/coverage/"+strings.Repeat("a", 40)+"/go?partial=false", strings.NewReader("{}"))
		}
		request.Header.Set(header, v.text)
		request.Header.Set("Content-Type", "application/json")
		return w.ask(w.codacy, request, func(status int, body string) verdict {
			switch {
			case status == http.StatusOK:
				return yes
			case status == http.StatusUnauthorized || strings.Contains(body, "not found"):
				return no
			}
			return unknown
		})
	}
	var authorities struct {
		CA   string
		URLs []string
	}
	if w.read("authorities.json", &authorities) != nil {
		return unknown
	}
	client := caller(authorities.CA)
	defer client.CloseIdleConnections()
	worst := unknown
	for _, url := range authorities.URLs {
		request, _ := http.NewRequest(http.MethodGet, url+"/v1/issuers/"+v.issuer+"/authorize", http.NoBody)
		request.Header.Set("Authorization", "Bearer "+v.text)
		answer := w.ask(client, request, func(status int, _ string) verdict {
			return map[int]verdict{http.StatusOK: yes, http.StatusUnauthorized: no}[status]
		})
		if answer == no || worst == unknown {
			worst = answer
		}
		if answer == yes && !v.goneSince.IsZero() {
			return yes
		}
	}
	return worst
}

func (w *witness) ask(client *http.Client, request *http.Request, judge func(status int, body string) verdict) verdict {
	w.summary.Calls++
	request.Header.Set("User-Agent", "witness")
	response, err := client.Do(request)
	if err != nil {
		return unknown
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err != nil {
		return unknown
	}
	return judge(response.StatusCode, string(body))
}
