package cli_test

import (
	"testing"

	"github.com/onsi/gomega"

	"github.com/tokensteward/tokensteward/internal/cli"
)

// The attacker may edit tokens of a namespace, and writes what drives a terminal into the one field that takes any text.
func TestWhatATenantWritesDoesNotDriveTheTerminalOfWhoUsesThePlugin(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.eventuallyReady(f.accountToken("quiet", f.namespace, "alice"))
	f.accountToken("loud", f.namespace, "root\x1b]0;owned\x07\x1b[2J\x1b[1A\u009b2J\rforged")
	f.Eventually(func() string { return f.run("status", f.here()).out }).Should(gomega.ContainSubstring("UnknownAccount"))
	for _, command := range [][]string{
		{"list", "-o", "wide"}, {"list", "-o", "json"}, {"list", "-o", "yaml"}, {"status", "-o", "wide"}, {"status", "-o", "json"},
		{"verify", "loud"}, {"rotate", "loud", "--wait", "--timeout=1s"},
	} {
		shown := f.run(append(command, f.here())...)
		if shown.err != nil {
			shown.progress += cli.Visible(shown.err.Error())
		}
		f.Expect(shown.out+shown.progress).To(gomega.ContainSubstring("loud"), "%s", command)
		f.Expect(shown.out+shown.progress).NotTo(gomega.MatchRegexp(`[\x00-\x08\x0b-\x1f\x7f\x{80}-\x{9f}]`), "%s", command)
	}
}
