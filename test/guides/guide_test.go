package guides_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tokensteward/tokensteward/internal/testenv"
)

// block is a block of commands in a page.
type block struct {
	heading string
	text    string
	// needs is what a comment before it says that it takes, so that it is not run here.
	needs string
}

var (
	heading = regexp.MustCompile(`^#+ (.*)`)
	needs   = regexp.MustCompile(`^<!-- needs: (.*) -->$`)
)

// blocksOf finds the blocks of commands of a page: what is fenced as sh.
func blocksOf(page string) ([]block, error) {
	text, err := os.ReadFile(filepath.Join(testenv.Root(), "docs", page))
	if err != nil {
		return nil, err
	}
	var blocks []block
	var current *block
	under, mark := "", ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case current != nil && line == "```":
			blocks, current, mark = append(blocks, *current), nil, ""
		case current != nil:
			current.text += line + "\n"
		case line == "```sh":
			current = &block{heading: under, needs: mark}
		case heading.MatchString(line):
			under = heading.FindStringSubmatch(line)[1]
		case needs.MatchString(line):
			mark = needs.FindStringSubmatch(line)[1]
		case line != "":
			mark = ""
		}
	}
	if current != nil {
		return nil, fmt.Errorf("%s: a block has no end", page)
	}
	return blocks, nil
}

// guide is a page whose blocks are run, in their order.
type guide struct {
	*testing.T
	page string
	left []block
	// directory is where the commands run, and cluster what they talk to.
	directory string
	cluster   *cluster
}

func open(t *testing.T, page string) *guide {
	t.Helper()
	blocks, err := blocksOf(page)
	if err != nil {
		t.Fatal(err)
	}
	g := &guide{T: t, page: page, directory: t.TempDir(), cluster: theStage.cluster}
	for _, b := range blocks {
		if b.needs == "" {
			g.left = append(g.left, b)
		}
	}
	g.Cleanup(g.tidy)
	return g
}

// next runs the next block, which stands under a heading, with an input, and returns what it prints.
func (g *guide) next(under, input string) string {
	g.Helper()
	if len(g.left) == 0 {
		g.Fatalf("%s has no more blocks", g.page)
	}
	b := g.left[0]
	g.left = g.left[1:]
	if b.heading != under {
		g.Fatalf("the next block of %s is under %q, not %q", g.page, b.heading, under)
	}
	return g.sh(b.text, input)
}

// another starts a cluster beside the stage's, with etcd's data in a directory, and has the commands that follow talk to it.
func (g *guide) another(data string) *cluster {
	g.Helper()
	c, err := startCluster(g.Context(), data)
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() {
		if err := c.stop(); err != nil {
			g.Error(err)
		}
	})
	g.cluster = c
	return c
}

// install starts the operator in the cluster that the commands talk to.
func (g *guide) install(flags ...string) {
	g.Helper()
	if err := g.cluster.startOperator(g.Context(), flags...); err != nil {
		g.Fatal(err)
	}
}

// rest says that all blocks were run.
func (g *guide) rest() {
	g.Helper()
	for _, b := range g.left {
		g.Errorf("%s: nobody ran this, under %q:\n%s", g.page, b.heading, b.text)
	}
}

// sh runs commands as a reader's shell would, but ends with the first that fails.
func (g *guide) sh(commands, input string) string {
	g.Helper()
	command := exec.CommandContext(g.Context(), "sh", "-euc", commands)
	command.Dir = g.directory
	command.Stdin = strings.NewReader(input)
	command.Env = append(g.cluster.controlPlane.Environ(), "PATH="+theStage.directory+string(os.PathListSeparator)+os.Getenv("PATH"))
	output, err := command.CombinedOutput()
	if err != nil {
		g.Fatalf("%s: %v\n%s\n%s", g.page, err, commands, output)
	}
	return string(output)
}

// tidy leaves nothing of a guide to the next one.
func (g *guide) tidy() {
	if g.Failed() {
		return // What follows may fail, too, but the first says why.
	}
	for _, arguments := range []string{
		"delete projecttokens,accounttokens --all --all-namespaces",
		"delete clustertokenissuers --all",
		"delete namespace team-a --ignore-not-found",
		"delete secret codacy --ignore-not-found --namespace " + testenv.Namespace,
	} {
		command := theStage.cluster.controlPlane.Kubectl(context.WithoutCancel(g.Context()), append(strings.Fields(arguments), "--timeout=2m")...)
		if output, err := command.CombinedOutput(); err != nil {
			g.Errorf("kubectl %s: %v: %s", arguments, err, output)
		}
	}
}
