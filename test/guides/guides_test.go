package guides_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
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
var tried = []string{"start.md", "rotation.md", "restore.md", "runbooks.md", "hand-made-tokens.md", "codacy.md", "tokens.md", "metrics.md", "protect-your-own-service.md", "tokens-in-ci.md"}

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

// renewed waits until the Secret website holds another token, which Codacy accepts.
func (g *guide) renewed(before string) (now string) {
	g.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if now = g.secret("CODACY_PROJECT_TOKEN"); now != before && theStage.service.Accepts(now) {
			return now
		} else if time.Now().After(end) {
			g.Fatal("the Secret website holds no other token that Codacy accepts")
		}
	}
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

const reason = "kubectl -n team-a get projecttoken website -o jsonpath='{.status.conditions[?(@.type==\"Ready\")].reason}'"

func TestRestore(t *testing.T) {
	g := open(t, "restore.md")
	g.codacy()
	g.next("With Velero", "")
	for _, withStatus := range []bool{false, true} {
		before, taken := g.secret("CODACY_PROJECT_TOKEN"), g.backUp()
		g.sh("kubectl delete namespace team-a --timeout=1m", "")
		if names := live("website"); len(names) != 0 {
			t.Errorf("Codacy has %v of a namespace that is gone", names)
		}
		if warned := g.restore(taken, withStatus); warned != withStatus {
			t.Errorf("Velero was refused a status: %v, want %v", warned, withStatus)
		}
		g.has(reason, "SecretConflict")
		if names := live("website"); len(names) != 0 {
			t.Errorf("Codacy has %v before the Secret is handed over", names)
		}
		g.next("A Secret from a backup", "")
		g.sh("kubectl -n team-a wait projecttoken/website --for=condition=Ready --timeout=1m", "")
		g.renewed(before)
	}
	g.copyOfACluster()
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

// codacy makes an issuer that leads to the stand-in, with a credential of an account of its own, and a token of it.
func (g *guide) codacy() (credential codacytest.Token) {
	g.Helper()
	credential = theStage.service.CreateAccountToken(theStage.service.AddAccount("Robot", "robot@acme.example"), nil)
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

func TestHandMadeTokens(t *testing.T) {
	g := open(t, "hand-made-tokens.md")
	g.codacy()
	byHand := theStage.service.CreateRepositoryToken("gh", "acme", "homepage", "ci", nil)
	g.next("2. Have a token for each repository", "")
	if names := live("homepage"); len(names) != 2 {
		t.Errorf("Codacy has %v, want the token made by hand and a managed one", names)
	}
	shown := g.next("4. Revoke the old ones", "")
	if strings.Contains(shown, strconv.FormatInt(byHand.ID, 10)) {
		t.Errorf("the token made by hand is shown as one to be left alone:\n%s", shown)
	}
	for _, token := range theStage.service.Tokens() {
		if token.Repository != "" && token.ID != byHand.ID && !strings.Contains(shown, strconv.FormatInt(token.ID, 10)) {
			t.Errorf("the token %d is to be left alone, and not shown:\n%s", token.ID, shown)
		}
	}
	theStage.service.RevokeInWebUI(byHand.ID)
	g.rest()
}

func TestRunbooks(t *testing.T) {
	g := open(t, "runbooks.md")
	credential := g.codacy()

	g.sh("kubectl -n "+testenv.Namespace+" delete secret codacy", "")
	g.has(issuer, "CredentialsMissing")
	g.next("A credential is lost", credential.Value.Reveal())

	next := theStage.service.CreateAccountToken(credential.Account, nil)
	g.next("A credential has leaked, or is about to expire", next.Value.Reveal())
	theStage.service.RevokeInWebUI(credential.ID)

	g.ownerLeaves(credential.Account)

	leaked := g.secret("CODACY_PROJECT_TOKEN")
	if err := os.WriteFile(filepath.Join(g.directory, "leaked"), []byte(leaked+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.next("A token has leaked", "")
	g.renewed(leaked)
	if theStage.service.Accepts(leaked) {
		t.Error("Codacy accepts the token that has leaked")
	}

	g.next("A repository was renamed, or moved", "")
	g.next("A repository was renamed, or moved", "")
	if website, homepage := live("website"), live("homepage"); len(website) != 0 || len(homepage) != 1 {
		t.Errorf("Codacy has %v and %v", website, homepage)
	}
	g.sh(website, "")
	theStage.service.RemoveRepository("gh", "acme", "website")
	g.sh("kubectl -n team-a delete projecttoken website --wait=false", "")
	g.has("kubectl -n team-a get projecttoken website -o jsonpath='{.status.conditions[?(@.type==\"Stalled\")].reason}'", "RevocationUnproven")
	g.next("A repository was renamed, or moved", "")
	g.sh("kubectl -n team-a wait projecttoken/website --for=delete --timeout=1m", "")
	theStage.service.AddRepository("gh", "acme", "website")

	g.aDayWithoutCodacy()
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

	g.anotherCluster()
	g.rest()
}

const (
	issuer = "kubectl get clustertokenissuer codacy -o jsonpath='{.status.conditions[?(@.type==\"Ready\")].reason}'"
	rotate = "kubectl -n team-a annotate projecttoken website tokensteward.io/rotate-requested-at=\"$(date)\" --overwrite"
)

// ownerLeaves tells of an account that is deactivated while a namespace has a token of it, and a rotation is due.
func (g *guide) ownerLeaves(account int64) {
	g.Helper()
	const robot = `kubectl apply -f - <<'END'
apiVersion: tokensteward.io/v1alpha1
kind: AccountToken
metadata: {name: robot, namespace: team-a}
spec: {issuerRef: {name: codacy}}
END
kubectl -n team-a wait accounttoken/robot --for=condition=Ready --timeout=1m`
	g.sh(robot, "")
	held := g.secret("CODACY_PROJECT_TOKEN")
	theStage.service.DeactivateAccount(account)
	g.sh(rotate, "")
	g.has(issuer, "CredentialsRefused")
	g.has(reason, "Issued")
	if !theStage.service.Accepts(held) || g.secret("CODACY_PROJECT_TOKEN") != held {
		g.Error("the token of the repository does not go on")
	}
	other := theStage.service.CreateAccountToken(theStage.service.AddAccount("Another robot", "another@acme.example"), nil)
	g.next("A credential's owner has left", other.Value.Reveal())
	g.renewed(held)
	g.has("kubectl -n team-a get accounttoken robot -o jsonpath='{.status.conditions[?(@.type==\"Stalled\")].reason}'", "AccountChanged")
	g.next("A credential's owner has left", "")
	g.sh(robot, "")
}

// aDayWithoutCodacy: a token is to be rotated, one to be made and one to be revoked while Codacy can't be reached.
func (g *guide) aDayWithoutCodacy() {
	g.Helper()
	g.sh(website, "")
	held := g.secret("CODACY_PROJECT_TOKEN")
	theStage.service.Fault(func(string, *http.Request) codacytest.Fault {
		return codacytest.Fault{Kind: codacytest.CutBeforeActing}
	})
	g.sh(rotate+"\nkubectl -n team-a delete projecttoken homepage --wait=false", "")
	late := strings.NewReplacer("name: website", "name: late", "projecttoken/website", "projecttoken/late", "=Ready ", "=Ready=False ")
	g.sh(late.Replace(website), "")
	g.has(issuer, "ServiceUnavailable")
	g.has(reason, "Issued") // What is valid stays valid.
	if !theStage.service.Accepts(held) || g.secret("CODACY_PROJECT_TOKEN") != held || len(live("homepage")) != 1 {
		g.Error("something has changed though Codacy was not reached")
	}
	theStage.service.Fault(nil)
	g.next("Codacy does not answer", "")
	g.renewed(held)
	g.sh("kubectl -n team-a wait projecttoken/homepage --for=delete --timeout=1m", "")
	if names := live("homepage"); len(names) != 0 {
		g.Errorf("Codacy has %v of a resource that is deleted", names)
	}
	if names := live("website"); len(names) != 3 {
		g.Errorf("Codacy has %v, want the tokens of website before and after its rotation, and that of late", names)
	}
}
