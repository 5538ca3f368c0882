package chart_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tokensteward/tokensteward/internal/testenv"
)

// standIn is called helm and kubectl. It writes down what it is asked for, fails when it is asked for $FAILS, and has a release with one token.
const standIn = `#!/bin/sh
said="${0##*/} $*"
echo "$said" >>"$CALLS"
case $said in "$FAILS"*) exit 1 ;; esac
case $said in
"helm list "*) echo tokensteward ;;
"helm get manifest tokensteward "*) cat "$MANIFEST" ;;
"kubectl get crd "*)
	for crd in accounttokens.tokensteward.io projecttokens.tokensteward.io clustertokenissuers.tokensteward.io certificates.cert-manager.io; do
		echo "customresourcedefinition.apiextensions.k8s.io/$crd"
	done
	;;
"kubectl get projecttokens.tokensteward.io "*) echo "ProjectToken   team-a   ci" ;;
esac
`

// undeploy runs hack/undeploy.sh on a release with a manifest, and gives what it said, and what it had done to the cluster.
func undeploy(t *testing.T, tokens, manifest, fails string) (said string, done []string, err error) {
	t.Helper()
	directory := t.TempDir()
	file := func(name string) string { return filepath.Join(directory, name) }
	for _, program := range []string{"helm", "kubectl"} {
		if err := os.WriteFile(file(program), []byte(standIn), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file("manifest"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), filepath.Join(testenv.Root(), "hack", "undeploy.sh"))
	command.Env = append(os.Environ(), "KUBECONFIG="+os.DevNull, "HELM="+file("helm"), "KUBECTL="+file("kubectl"), "RELEASE=", "NAMESPACE=",
		"TOKENS="+tokens, "MANIFEST="+file("manifest"), "FAILS="+fails, "CALLS="+file("calls"))
	output, err := command.CombinedOutput()
	calls, readErr := os.ReadFile(file("calls"))
	if readErr != nil {
		t.Fatalf("nothing was asked for: %v: %s", readErr, output)
	}
	for call := range strings.Lines(string(calls)) {
		if strings.HasPrefix(call, "kubectl delete ") || strings.HasPrefix(call, "helm uninstall ") {
			done = append(done, strings.TrimSpace(call))
		}
	}
	return string(output), done, err
}

// rendering is what Helm says that a release consists of.
func rendering(t *testing.T, v values) string {
	t.Helper()
	text, err := helm(t, v, "template", "tokensteward", chart, "--namespace", namespace)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestUndeployingRemovesNothingIfItCanNotFindOutWhatThereIs(t *testing.T) {
	manifest := rendering(t, "")
	for _, fails := range []string{
		"kubectl get crd", "helm list", "kubectl get accounttokens.tokensteward.io", "kubectl get projecttokens.tokensteward.io", "helm get manifest",
	} {
		if said, done, err := undeploy(t, "keep", manifest, fails); err == nil || len(done) > 0 {
			t.Errorf("%s fails: %v, done: %q, said: %s", fails, err, done, said)
		}
	}
}

func TestUndeployingAsksWhatIsToBecomeOfTokens(t *testing.T) {
	said, done, err := undeploy(t, "", rendering(t, ""), "nothing")
	if err == nil || len(done) > 0 || !strings.Contains(said, "ProjectToken   team-a   ci") || !strings.Contains(said, "TOKENS=revoke or TOKENS=keep") {
		t.Errorf("%v, done: %q, said: %s", err, done, said)
	}
}

func TestUndeployingKeepsTokensOnlyIfTheirCRDsStay(t *testing.T) {
	uninstalled := []string{"helm uninstall tokensteward --namespace tokensteward-system --wait"}
	for v, want := range map[values][]string{"": uninstalled, "crds: {enabled: false}": uninstalled, "crds: {keep: false}": nil} {
		said, done, err := undeploy(t, "keep", rendering(t, v), "nothing")
		if (err == nil) != (want != nil) || !slices.Equal(done, want) {
			t.Errorf("with the values %q: %v, done: %q, said: %s", v, err, done, said)
		}
		if want == nil && !strings.Contains(said, "upgrade it with crds.keep=true") {
			t.Errorf("with the values %q it does not say how to go on: %s", v, said)
		}
	}
}

func TestUndeployingRevokesTokensBeforeNobodyCan(t *testing.T) {
	revoked := []string{
		"kubectl delete accounttokens.tokensteward.io --all --all-namespaces --timeout=10m",
		"kubectl delete projecttokens.tokensteward.io --all --all-namespaces --timeout=10m",
	}
	said, done, err := undeploy(t, "revoke", rendering(t, ""), revoked[1])
	if err == nil || !slices.Equal(done, revoked) {
		t.Errorf("not all are revoked: %v, done: %q, said: %s", err, done, said)
	}
	said, done, err = undeploy(t, "revoke", rendering(t, ""), "nothing")
	want := append(slices.Clone(revoked),
		"kubectl delete clustertokenissuers.tokensteward.io --all --all-namespaces --timeout=10m",
		"helm uninstall tokensteward --namespace tokensteward-system --wait",
		"kubectl delete --ignore-not-found crd accounttokens.tokensteward.io",
		"kubectl delete --ignore-not-found crd projecttokens.tokensteward.io",
		"kubectl delete --ignore-not-found crd clustertokenissuers.tokensteward.io",
		"kubectl delete --ignore-not-found namespace tokensteward-system",
	)
	if err != nil || !slices.Equal(done, want) {
		t.Errorf("%v, done: %q, said: %s", err, done, said)
	}
}
