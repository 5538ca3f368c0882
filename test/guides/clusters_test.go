package guides_test

import (
	"errors"
	"os"
	"slices"
)

// anotherCluster tells of a cluster whose resources are restored in a new one. The old one is given up, once in order and
// once by being switched off.
func (g *guide) anotherCluster() {
	g.Helper()
	old := g.another("")
	g.install("--installation-id=k3j9x2m7qa")
	g.codacy()
	value, taken := g.secret("CODACY_PROJECT_TOKEN"), g.backUp()

	g.cluster = theStage.cluster
	g.restore(taken, false)
	g.has(reason, "SecretConflict")
	if g.secret("CODACY_PROJECT_TOKEN") != value {
		g.Error("pods of the new cluster do not get the token that is valid")
	}
	g.sh(`kubectl -n team-a annotate secrets -l tokensteward.io/managed=true tokensteward.io/owner-
kubectl -n team-a wait projecttoken/website --for=condition=Ready --timeout=1m`, "")
	ours := g.renewed(value)
	if !theStage.service.Accepts(value) {
		g.Error("the old cluster's token does not go on")
	}

	g.cluster = old
	g.next("A cluster is given up for another", "")
	if theStage.service.Accepts(value) || !theStage.service.Accepts(ours) {
		g.Error("the old cluster's token is to be revoked, and the new one's is not")
	}
	g.sh(website, "")
	value = g.secret("CODACY_PROJECT_TOKEN")
	if err := old.stop(); err != nil {
		g.Fatal(err)
	}

	g.cluster = theStage.cluster
	g.next("A cluster is given up for another", "")
	if theStage.service.Accepts(value) || !theStage.service.Accepts(ours) {
		g.Error("the token of a cluster that is no more is to be revoked, and the new one's is not")
	}
}

// copyOfACluster tells of a cluster that is stopped and copied, and of original and copy that go on.
func (g *guide) copyOfACluster() {
	g.Helper()
	data, copied := g.TempDir(), g.TempDir()
	original := g.another(data)
	g.install()
	g.codacy()
	value, names := g.secret("CODACY_PROJECT_TOKEN"), live("website")
	if err := errors.Join(original.stop(), os.CopyFS(copied, os.DirFS(data))); err != nil {
		g.Fatal(err)
	}
	original = g.another(data)
	g.install()

	g.another(copied)
	g.next("A copy of a whole cluster", "")
	g.install("--installation-id=another")
	g.sh("kubectl -n team-a wait projecttoken/website --for=condition=Ready --timeout=1m", "")
	g.renewed(value)
	if both := live("website"); len(both) != len(names)+1 {
		g.Errorf("Codacy has %v, want the copy's token beside %v", both, names)
	}
	g.sh("kubectl -n team-a delete projecttoken website --timeout=1m", "")

	g.cluster = original
	g.sh("kubectl -n team-a wait projecttoken/website --for=condition=Ready --timeout=1m", "")
	if left := live("website"); !slices.Equal(left, names) || !theStage.service.Accepts(g.secret("CODACY_PROJECT_TOKEN")) {
		g.Errorf("Codacy has %v, and had %v before there was a copy", left, names)
	}
	if g.secret("CODACY_PROJECT_TOKEN") != value {
		g.Error("the original has another token than before there was a copy")
	}
	g.sh("kubectl -n team-a delete projecttoken website --timeout=1m", "")
}
