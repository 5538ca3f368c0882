//go:build e2e

// Package e2e_test runs the operator where it lives: in pods, installed by its chart, with consumers in pods that take
// their tokens with envFrom. docs/install.md is what it follows.
package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

const (
	namespace = "tokensteward-system"
	service   = "tokensteward-authority." + namespace + ".svc"

	accepted = `200 {"success":"token accepted"}`
	refused  = `401 {"error":"not found"}`
	received = `200 {"success":"Coverage received"}`
	notFound = `404 {"error":"not found"}`
)

// values of the installation under test. What Codacy is, and where, is filled in.
const values = `
image: {pullPolicy: Never}
allowedHosts: ["%[1]s"]
serviceRateLimits: ["%[1]s=100000/5m/1000"]
networkPolicy: {egressPorts: [443, 6443, %[2]d]}
defaultIssuer:
  enabled: true
  spec:
    builtIn:
      accounts: [{name: alice, access: [gh/acme]}]
    grants:
      - {namespaces: [team-a], accounts: [alice], projects: [gh/acme/*]}
`

// TestEndToEnd tells the stories one after the other; each goes on where the last one ended.
func TestEndToEnd(t *testing.T) {
	w := newWorld(t)
	w.prepare()
	for _, story := range []struct {
		name string
		tell func(*stories)
	}{
		{"the first release is installed from its archive", (*stories).install},
		{"tokens of the built-in authority", (*stories).builtIn},
		{"tokens of Codacy", (*stories).codacyTokens},
		{"the leader is killed in the middle of a mint", (*stories).killLeader},
		{"the chart is upgraded", (*stories).upgrade},
		{"the upgrade is rolled back, and done again", (*stories).rollback},
		{"the kubectl plugin reaches into the cluster", (*stories).plugin},
		{"a pod holds a token that was replaced", (*stories).rotation},
		{"the chart is uninstalled and installed again", (*stories).reinstall},
		{"a resource is deleted", (*stories).deletion},
		{"everything is removed", (*stories).undeploy},
	} {
		if !t.Run(story.name, func(t *testing.T) {
			began := time.Now()
			world := *w
			world.T = t
			told.world = &world
			story.tell(told)
			t.Logf("told in %.0f s", time.Since(began).Seconds())
		}) {
			t.Fatal("the stories after it need this one")
		}
	}
}

// told is what the stories share.
var told = &stories{}

type stories struct {
	*world

	codacy *codacy
	// alice, website and api are pods that call all the time.
	alice, website, api *consumer
}

func (s *stories) values() string {
	file := filepath.Join(s.TempDir(), "values.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, values, s.codacy.host, codacyPort), 0o600); err != nil {
		s.Fatal(err)
	}
	return file
}

// chart is the archive of the chart as it is now, and firstChart that of the first release.
func (s *stories) chart() string {
	found, err := filepath.Glob(filepath.Join(testenv.Root(), "bin", "tokensteward-*.tgz"))
	if err != nil || len(found) != 1 {
		s.Fatalf("bin/ is to hold one archive of the chart, and has %v: run make e2e", found)
	}
	return found[0]
}

func (s *stories) install() {
	s.codacy = startCodacy(s)
	s.helm("install", "tokensteward", filepath.Join(testenv.Root(), "test", "e2e", "testdata", "tokensteward-0.1.0.tgz"),
		"--namespace", namespace, "--values", s.values(), "--set", "image.tag="+imageTag(s), "--wait", "--timeout", "5m")
	s.kubectl("wait", "--for=condition=Ready", "clustertokenissuer/default", "--timeout=60s")
	if ready := s.readyPods(); len(ready) != 2 {
		s.Errorf("%d replicas are ready after --wait, want 2", len(ready))
	}
}

// imageTag is that of the image that was loaded: no registry has one of the first release.
func imageTag(s *stories) string {
	chart, err := os.ReadFile(filepath.Join(testenv.Root(), "charts", "tokensteward", "Chart.yaml"))
	found := regexp.MustCompile(`(?m)^appVersion: *(\S+)$`).FindSubmatch(chart)
	if err != nil || found == nil {
		s.Fatalf("no appVersion in Chart.yaml: %v", err)
	}
	return string(found[1])
}

func (s *stories) builtIn() {
	s.kubectl("apply", "-f", "config/samples/accounttoken.yaml", "-f", "config/samples/projecttokens.yaml")
	s.kubectl("-n", "team-a", "wait", "--for=condition=Ready", "accounttoken/alice", "projecttoken/website", "--timeout=60s")
	s.publishCA()
	s.alice = s.startConsumer("alice", "alice", "authorize", "https://"+service+":9443/v1/issuers/default/authorize/gh/acme/website")
	s.website = s.startConsumer("website", "website", "authorize", "https://"+service+":9443/v1/issuers/default/authorize/gh/acme/website")
	s.alice.eventually(accepted)
	s.website.eventually(accepted)
	elsewhere := s.startConsumer("elsewhere", "website", "authorize", "https://"+service+":9443/v1/issuers/default/authorize/gh/acme/backend")
	elsewhere.eventually(refused)
	elsewhere.stop()
}

// publishCA copies the CA of the authority to where its callers are.
func (s *stories) publishCA() {
	ca := s.kubectl("-n", namespace, "get", "configmap", "tokensteward-authority-ca", "-o", `jsonpath={.data.ca\.crt}`)
	s.apply(configMap("team-a", "ca", map[string]string{"authority.crt": ca, "codacy.crt": s.codacy.ca}))
}

func (s *stories) codacyTokens() {
	s.apply(secret(namespace, "codacy", "CODACY_API_TOKEN", s.codacy.credential))
	s.apply(s.codacy.issuer("ClusterTokenIssuer", "codacy", "", "  grants: [{namespaces: [team-a], projects: [gh/acme/*]}]"))
	s.kubectl("wait", "--for=condition=Ready", "clustertokenissuer/codacy", "--timeout=60s")
	s.kubectl("apply", "-f", "config/samples/codacy/projecttoken.yaml")
	s.kubectl("-n", "team-a", "wait", "--for=condition=Ready", "projecttoken/api", "--timeout=60s")
	s.api = s.startConsumer("api", "api", "upload")
	s.api.eventually(received)

	s.apply(secret("team-b", "codacy", "CODACY_API_TOKEN", s.codacy.credential))
	s.apply(s.codacy.issuer("TokenIssuer", "codacy", "team-b", ""))
	s.apply(projectToken("team-b", "api", "TokenIssuer", "codacy"))
	s.kubectl("-n", "team-b", "wait", "--for=condition=Ready", "projecttoken/api", "--timeout=60s")
}

// killLeader kills the pod that leads, at once, while Codacy has made a token and has not answered.
func (s *stories) killLeader() {
	before := s.codacy.requests(mintOperation)
	s.codacy.fault(mintOperation, "act-then-hang", 1)
	s.apply(projectToken("team-a", "killed", "ClusterTokenIssuer", "codacy"))
	s.eventually("Codacy was asked for a token", func() bool { return s.codacy.requests(mintOperation) > before })
	leader := s.leader()
	pod, _, _ := strings.Cut(leader, "_")
	if err := s.kill(s.ctx, pod, s.containerID(pod)); err != nil {
		s.Fatal(err)
	}
	s.kubectl("-n", "team-a", "wait", "--for=condition=Ready", "projecttoken/killed", "--timeout=120s")
	if now := s.leader(); now == leader {
		s.Errorf("%s was killed, and leads", leader) // Its container may lead again, as another process.
	}
	s.eventually("one token of the resource lives", func() bool { return s.codacy.living(s.uid("team-a", "killed")) == 1 })
	killed := s.startConsumer("killed", "killed", "upload")
	killed.eventually(received)
	killed.stop()
	s.eventually("two replicas are ready", func() bool { return len(s.readyPods()) == 2 })
	for _, c := range []*consumer{s.alice, s.website, s.api} {
		c.neverRefused()
	}
}

func (s *stories) upgrade() {
	s.unnoticed("upgrade", "tokensteward", s.chart(), "--values", s.values(), "--set", "authority.maxStaleness=40s")
}

// rollback goes back to the first release, with the CRDs of then, and forward again.
func (s *stories) rollback() {
	s.unnoticed("rollback", "tokensteward", "1")
	s.unnoticed("rollback", "tokensteward", "2")
}

// unnoticed has Helm replace the operator, while pods use their tokens: none is refused, and all tokens stay what they are.
func (s *stories) unnoticed(arguments ...string) {
	s.Helper()
	before := s.tokens()
	from := time.Now()
	s.helm(append(arguments, "--namespace", namespace, "--wait", "--timeout", "5m")...)
	s.eventually("the old replicas are gone", func() bool { return len(s.pods()) == 2 && len(s.readyPods()) == 2 })
	s.alice.eventually(accepted)
	s.api.eventually(received)
	for _, c := range []*consumer{s.alice, s.website, s.api} {
		c.onlyAcceptedSince(from)
	}
	s.sameTokens(before)
}

// plugin: what the plugin has to reach pods for. internal/cli has the tests of the rest; from outside of the cluster this Codacy can't
// be reached.
func (s *stories) plugin() {
	verified := s.kubectl("steward", "verify", "accounttoken/alice", "projecttoken/website", "--namespace", "team-a")
	for _, row := range []string{
		`accounttoken/alice +Yes +\d+ +Accepted as alice\.`,
		`projecttoken/website +Yes +\d+ +Accepted as gh/acme/website\.`,
	} {
		if !regexp.MustCompile(row).MatchString(verified) {
			s.Errorf("kubectl steward verify does not say %s:\n%s", row, verified)
		}
	}
	status := s.kubectl("steward", "status")
	if !regexp.MustCompile(`codacy +True +https://\S+ +\S+ +\S.* +\d{3,4} +\d+ +\d+`).MatchString(status) {
		s.Errorf("kubectl steward status does not tell how many requests are left:\n%s", status)
	}
	if completed := s.kubectl("__complete", "steward", "ver"); !strings.Contains(completed, "verify") {
		s.Errorf("kubectl completes the plugin's commands with\n%s", completed)
	}
}

// rotation: a pod that runs on with a token that was replaced goes on past the grace period; after its end the token is
// revoked.
func (s *stories) rotation() {
	s.apply(manifest("tokensteward.io/v1alpha1", "ProjectToken", "team-a", "rotating", map[string]any{"spec": map[string]any{
		"issuerRef": map[string]string{"name": "codacy"},
		"project":   map[string]string{"provider": "gh", "organization": "acme", "repository": "api"},
		"rotation":  map[string]string{"gracePeriod": "0s"},
	}}))
	s.kubectl("-n", "team-a", "wait", "--for=condition=Ready", "projecttoken/rotating", "--timeout=60s")
	uid := s.uid("team-a", "rotating")
	old := s.startConsumer("holder", "rotating", "upload")
	old.eventually(received)
	s.kubectl("-n", "team-a", "annotate", "projecttoken/rotating", "tokensteward.io/rotate-requested-at=now")
	s.kubectl("-n", "team-a", "wait", "--for=jsonpath={.status.token.revision}=2", "projecttoken/rotating", "--timeout=60s")

	heldBy := func() string {
		return s.kubectl("-n", "team-a", "get", "projecttoken/rotating", "-o", "jsonpath={.status.previousTokens[*].heldBy}")
	}
	s.eventuallyWithin(4*time.Minute, "the pod is named", func() bool { return heldBy() == `["holder"]` })
	s.Log(s.kubectl("-n", "team-a", "get", "projecttoken/rotating", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].message}`))
	// Not sooner: for half a minute after the Secret changed a kubelet may give out its old value.
	young := s.startConsumer("young", "rotating", "upload")
	young.eventually(received)
	old.neverRefused()
	if living := s.codacy.living(uid); living != 2 {
		s.Errorf("%d tokens of the resource live, want the one in the Secret and the one that is held", living)
	}
	old.stop()
	s.eventuallyWithin(5*time.Minute, "what nobody holds is revoked", func() bool { return s.codacy.living(uid) == 1 })
	young.eventually(received)
	young.neverRefused()
	young.stop()
}

func (s *stories) reinstall() {
	before, minted := s.tokens(), s.codacy.requests(mintOperation)
	s.helm("uninstall", "tokensteward", "--namespace", namespace, "--wait", "--timeout", "3m")
	s.eventually("the operator is gone", func() bool { return len(s.pods()) == 0 })
	s.sameTokens(before)
	s.api.eventually(received)

	// This time the authority's certificate is given: it is the one that the operator made, and left.
	s.helm("install", "tokensteward", s.chart(), "--namespace", namespace, "--values", s.values(),
		"--set", "authority.certificate.source=Secret", "--set", "authority.certificate.secretName=tokensteward-authority-tls", "--wait", "--timeout", "5m")
	s.kubectl("wait", "--for=condition=Ready", "clustertokenissuer/default", "clustertokenissuer/codacy", "--timeout=60s")
	again := s.startConsumer("again", "alice", "authorize", "https://"+service+":9443/v1/issuers/default/authorize/gh/acme/website")
	again.eventually(accepted)
	again.stop()
	// The operator is at work again, and so has looked at everything, when it has made another token.
	s.apply(projectToken("team-a", "later", "ClusterTokenIssuer", "codacy"))
	s.kubectl("-n", "team-a", "wait", "--for=condition=Ready", "projecttoken/later", "--timeout=60s")
	after := s.tokens()
	delete(after, "ProjectToken team-a/later")
	if mints := s.codacy.requests(mintOperation) - minted; mints != 1 {
		s.Errorf("%d tokens were asked for, want the one of the new resource", mints)
	}
	compare(s.T, before, after)
	s.api.neverRefused()
	// The Service has another address now: these pods were told the old one.
	for _, c := range []*consumer{s.alice, s.website} {
		c.stop()
	}
	s.alice = s.startConsumer("alice", "alice", "authorize", "https://"+service+":9443/v1/issuers/default/authorize/gh/acme/website")
	s.alice.eventually(accepted)
}

func (s *stories) deletion() {
	uid := s.uid("team-a", "api")
	s.kubectl("-n", "team-a", "delete", "projecttoken/api", "accounttoken/alice", "--timeout=60s")
	s.alice.eventually(refused)
	s.api.eventually(notFound)
	if living := s.codacy.living(uid); living != 0 {
		s.Errorf("%d tokens of a deleted resource live", living)
	}
	for _, name := range []string{"api", "alice"} {
		err := s.client.Get(s.ctx, client.ObjectKey{Namespace: "team-a", Name: name}, &corev1.Secret{})
		if !apierrors.IsNotFound(err) {
			s.Errorf("the Secret %s of a deleted resource: %v", name, err)
		}
	}
}

func (s *stories) undeploy() {
	before := s.tokens()
	if output, err := s.command("hack/undeploy.sh").CombinedOutput(); err == nil || !strings.Contains(string(output), "TOKENS=revoke") {
		s.Errorf("with tokens there, undeploy ends with %v and says: %s", err, output)
	}
	s.sameTokens(before)
	keep := s.command("hack/undeploy.sh")
	keep.Env = append(keep.Env, "TOKENS=keep")
	if output, err := keep.CombinedOutput(); err != nil {
		s.Fatalf("undeploy with TOKENS=keep: %v: %s", err, output)
	}
	s.sameTokens(before)
	s.helm("install", "tokensteward", s.chart(), "--namespace", namespace, "--values", s.values(), "--wait", "--timeout", "5m")

	revoke := s.command("hack/undeploy.sh")
	revoke.Env = append(revoke.Env, "TOKENS=revoke")
	if output, err := revoke.CombinedOutput(); err != nil {
		s.Fatalf("undeploy with TOKENS=revoke: %v: %s", err, output)
	}
	if left := s.codacy.living(""); left != 0 {
		s.Errorf("%d repository tokens are left at Codacy", left)
	}
	if crds := s.kubectl("get", "crd", "-o", "name"); strings.Contains(crds, "tokensteward.io") {
		s.Errorf("CRDs are left: %s", crds)
	}
	s.eventually("the namespace is gone", func() bool {
		return apierrors.IsNotFound(s.client.Get(s.ctx, client.ObjectKey{Name: namespace}, &corev1.Namespace{}))
	})
}

// tokens are the id of each token resource's token, and the UID and version of its Secret.
func (s *stories) tokens() map[string]string {
	s.Helper()
	found := map[string]string{}
	for _, list := range []client.ObjectList{&v1alpha1.AccountTokenList{}, &v1alpha1.ProjectTokenList{}} {
		if err := s.client.List(s.ctx, list); err != nil {
			s.Fatal(err)
		}
		objects, err := meta.ExtractList(list)
		if err != nil {
			s.Fatal(err)
		}
		for _, o := range objects {
			resource := o.(v1alpha1.Token)
			if resource.SharedStatus().Token == nil {
				s.Fatalf("%s %s/%s has no token", resource.Kind(), resource.GetNamespace(), resource.GetName())
			}
			var written corev1.Secret
			if err := s.client.Get(s.ctx, client.ObjectKey{Namespace: resource.GetNamespace(), Name: v1alpha1.SecretName(resource)}, &written); err != nil {
				s.Fatal(err)
			}
			key := fmt.Sprintf("%s %s/%s", resource.Kind(), resource.GetNamespace(), resource.GetName())
			found[key] = fmt.Sprintf("%s, in the Secret %s at %s", resource.SharedStatus().Token.ID, written.UID, written.ResourceVersion)
		}
	}
	if len(found) == 0 {
		s.Fatal("there are no tokens")
	}
	return found
}

func (s *stories) sameTokens(before map[string]string) {
	s.Helper()
	compare(s.T, before, s.tokens())
}

func compare(t *testing.T, before, after map[string]string) {
	t.Helper()
	for key, was := range before {
		if after[key] != was {
			t.Errorf("%s was %s, and is %q", key, was, after[key])
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d tokens, and %d before", len(after), len(before))
	}
}
