package guides_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// tried are the pages whose commands are run, each by a test of its own.
var tried = []string{"start.md", "rotation.md", "restore.md", "runbooks.md", "codacy.md", "tokens.md", "metrics.md", "protect-your-own-service.md", "tokens-in-ci.md"}

// Whoever adds commands to a page either has them run, or says in a comment what they would need.
func TestEveryCommandIsRunOrSaysWhatItNeeds(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(testenv.Root(), "docs", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatal("no pages were found", err)
	}
	isTried := map[string]bool{}
	for _, page := range tried {
		isTried[page] = true
	}
	for _, path := range pages {
		page := filepath.Base(path)
		blocks, err := blocksOf(page)
		if err != nil {
			t.Error(err)
		}
		for _, b := range blocks {
			if b.needs == "" && !isTried[page] {
				t.Errorf("%s, under %q: no test runs this, and no comment says what it needs:\n%s", page, b.heading, b.text)
			}
		}
	}
}

// builtIn makes the namespace team-a, with a token of the built-in issuer.
func (g *guide) builtIn() {
	g.Helper()
	g.sh(`kubectl create namespace team-a
kubectl apply -f - <<'END'
apiVersion: tokensteward.io/v1alpha1
kind: ClusterTokenIssuer
metadata: {name: default}
spec:
  builtIn: {}
  grants: [{namespaces: [team-a], projects: [gh/acme/*]}]
---
apiVersion: tokensteward.io/v1alpha1
kind: ProjectToken
metadata: {name: website, namespace: team-a}
spec:
  project: {provider: gh, organization: acme, repository: website}
END
kubectl -n team-a wait projecttoken/website --for=condition=Ready --timeout=1m`, "")
}

// secret is what the Secret website holds, to be compared and never printed.
func (g *guide) secret(key string) string {
	g.Helper()
	value, err := base64.StdEncoding.DecodeString(g.sh("kubectl -n team-a get secret website -o jsonpath='{.data."+key+"}'", ""))
	if err != nil || len(value) == 0 {
		g.Fatalf("the Secret website has no %s", key)
	}
	return string(value)
}

// has waits until a command prints something.
func (g *guide) has(command, want string) {
	g.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if got := strings.TrimSpace(g.sh(command, "")); got == want {
			return
		} else if time.Now().After(end) {
			g.Fatalf("%s\nprints %q, not %q", command, got, want)
		}
	}
}

const revision = "kubectl -n team-a get projecttoken website -o jsonpath='{.status.token.revision}'"

func TestStart(t *testing.T) {
	g := open(t, "start.md")
	g.next("Say who may have which tokens", "")
	if shown := g.next("Ask for a token", ""); !strings.Contains(shown, "gh/acme/website") {
		t.Errorf("the token is not shown: %s", shown)
	}
	g.secret("PROJECT_TOKEN")
	g.next("Replace it", "")
	g.has(revision, "2")
	g.next("End it", "")
	g.has("kubectl -n team-a get projecttokens,secrets -o name", "")
	g.rest()
}

func TestRotation(t *testing.T) {
	g := open(t, "rotation.md")
	g.builtIn()
	g.next("When", "")
	g.has(revision, "2")
	g.next("A token that has leaked", "")
	g.has(revision, "3")
	g.has("kubectl -n team-a get projecttoken website -o jsonpath='{.status.previousTokens[*].revision}'", "1")
	g.rest()
}

func TestRestore(t *testing.T) {
	g := open(t, "restore.md")
	g.builtIn()
	for _, heading := range []string{"A Secret from a backup", "A Secret from a backup"} {
		before := g.secret("PROJECT_TOKEN")
		// As from a backup: what another resource wrote.
		g.sh(`kubectl -n team-a get secret website -o yaml | sed '/ownerReferences/,/uid:/d; /resourceVersion/d; /  uid:/d' >backup.yaml
kubectl -n team-a get projecttoken website -o yaml | sed '/^status:/,$d; /resourceVersion/d; /  uid:/d; /finalizer/d; /deletionTimestamp/d' >resource.yaml
kubectl -n team-a delete projecttoken website
kubectl create -f backup.yaml -f resource.yaml`, "")
		g.has("kubectl -n team-a get projecttoken website -o jsonpath='{.status.conditions[?(@.type==\"Ready\")].reason}'", "SecretConflict")
		g.next(heading, "")
		g.sh("kubectl -n team-a wait projecttoken/website --for=condition=Ready --timeout=1m", "")
		if g.secret("PROJECT_TOKEN") == before {
			t.Error("the Secret still holds the token of the backup")
		}
	}
	g.rest()
}

// website has a token of Codacy minted.
const website = `kubectl apply -f - <<'END'
apiVersion: tokensteward.io/v1alpha1
kind: ProjectToken
metadata: {name: website, namespace: team-a}
spec:
  issuerRef: {name: codacy}
  project: {provider: gh, organization: acme, repository: website}
END
kubectl -n team-a wait projecttoken/website --for=condition=Ready --timeout=1m`

// codacy makes an issuer that leads to the stand-in, and a token of it.
func (g *guide) codacy() (credential codacytest.Token) {
	g.Helper()
	credential = theStage.service.CreateAccountToken(theStage.account, nil)
	g.sh(fmt.Sprintf(`kubectl create namespace team-a
kubectl -n %s create secret generic codacy --from-file=CODACY_API_TOKEN=/dev/stdin
kubectl apply -f - <<'END'
apiVersion: tokensteward.io/v1alpha1
kind: ClusterTokenIssuer
metadata: {name: codacy}
spec:
  codacy: {url: %q, caBundle: %s, credentialsSecretRef: {name: codacy}}
  checkInterval: 1m
  grants: [{namespaces: [team-a], projects: [gh/acme/*], accounts: ["*"]}]
END
`+website,
		testenv.Namespace, theStage.served.URL, base64.StdEncoding.EncodeToString(theStage.served.CAPEM)), credential.Value.Reveal())
	return credential
}

// Commands that take no more than a token to be there.
func TestSmallCommands(t *testing.T) {
	for page, given := range map[string]func(*guide){
		"tokens.md": (*guide).builtIn, "metrics.md": (*guide).builtIn, "protect-your-own-service.md": (*guide).builtIn,
		"codacy.md": func(g *guide) { g.codacy() }, "tokens-in-ci.md": func(g *guide) { g.codacy() },
	} {
		t.Run(page, func(t *testing.T) {
			g := open(t, page)
			given(g)
			for len(g.left) > 0 {
				g.next(g.left[0].heading, "")
			}
		})
	}
}

// live are the names of the tokens that the stand-in has of a repository.
func live(repository string) (names []string) {
	for _, token := range theStage.service.Tokens() {
		if token.Repository == "gh/acme/"+repository {
			names = append(names, token.Name)
		}
	}
	return names
}

func TestRunbooks(t *testing.T) {
	g := open(t, "runbooks.md")
	credential := g.codacy()

	g.sh("kubectl -n "+testenv.Namespace+" delete secret codacy", "")
	g.has("kubectl get clustertokenissuer codacy -o jsonpath='{.status.conditions[?(@.type==\"Ready\")].reason}'", "CredentialsMissing")
	g.next("A credential is lost", credential.Value.Reveal())

	next := theStage.service.CreateAccountToken(theStage.account, nil)
	g.next("A credential has leaked, or is about to expire", next.Value.Reveal())
	theStage.service.RevokeInWebUI(credential.ID)

	if err := os.WriteFile(filepath.Join(g.directory, "leaked"), []byte(g.secret("CODACY_PROJECT_TOKEN")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.next("A token has leaked", "")
	g.has(revision, "2")
	if names := live("website"); len(names) != 1 || !strings.HasSuffix(names[0], "-2") {
		t.Errorf("Codacy has %v", names)
	}

	g.next("A repository was renamed, or moved", "")
	g.next("A repository was renamed, or moved", "")
	if website, homepage := live("website"), live("homepage"); len(website) != 0 || len(homepage) != 1 {
		t.Errorf("Codacy has %v and %v", website, homepage)
	}

	if err := theStage.served.Close(); err != nil {
		t.Fatal(err)
	}
	g.next("Codacy does not answer", "")
	g.has("kubectl -n team-a get projecttokens -o name", "")
	var err error
	theStage.served, err = codacytest.StartTLS(theStage.service, strings.TrimPrefix(theStage.served.URL, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	// It has a CA of its own.
	g.sh(fmt.Sprintf(`kubectl patch clustertokenissuer codacy --type=merge --patch '{"spec":{"codacy":{"caBundle":%q}}}'
kubectl wait clustertokenissuer/codacy --for=condition=Ready --timeout=1m`, base64.StdEncoding.EncodeToString(theStage.served.CAPEM)), "")

	g.sh(website, "") // In the new cluster.
	expires := time.Now().Add(24 * time.Hour)
	left := theStage.service.CreateRepositoryToken("gh", "acme", "website", "ts-k3j9x2m7qa-11111111-2222-3333-4-1", &expires)
	if listed := g.next("A cluster is given up for another", ""); !strings.Contains(listed, strconv.FormatInt(left.ID, 10)) {
		t.Errorf("the token of the other cluster is not listed: %s", listed)
	}
	for _, name := range live("website") {
		if name == left.Name {
			t.Errorf("Codacy still has %s", name)
		}
	}
	g.rest()
}
