package cli_test

import (
	"encoding/json"
	"testing"

	"github.com/onsi/gomega"
)

func TestStatusTellsOfIssuersAndOfWhatFails(t *testing.T) {
	t.Parallel()
	f := newCodacy(t)
	f.eventuallyReady(f.projectToken("good", f.issuer, "web"))
	f.projectToken("lost", f.issuer, "none")
	f.Eventually(func() string { return f.run("status").out }).
		Should(gomega.MatchRegexp(f.namespace + ` +projecttoken/lost +RepositoryNotFound +\S+ ago +Codacy shows no such thing`))
	shown := f.run("status", "-o", "wide")
	f.Expect(shown.err).NotTo(gomega.HaveOccurred())
	f.Expect(shown.out).To(gomega.MatchRegexp(`(?m)^` + f.issuer + ` +True +https://127\.0\.0\.1:\d+ +Robot +- +- +2 +1 +\S`))
	f.Expect(shown.out).To(gomega.MatchRegexp(`(?m)^` + f.namespace + ` +True +built in +- +- +- +0 +0 +\S`))
	f.Expect(shown.out).To(gomega.MatchRegexp(`(?m)^\d+ of \d+ tokens fail:$`))
	f.Expect(shown.progress).To(gomega.ContainSubstring("How many requests are left could not be found out: no pod of the operator is ready"))

	var found struct {
		Issuers []struct {
			Name, Account   string
			Tokens, Failing int
		}
		Failing []struct{ Namespace, Name, Reason string }
	}
	f.Expect(json.Unmarshal([]byte(f.run("status", "-o", "json").out), &found)).To(gomega.Succeed())
	f.Expect(found.Issuers).To(gomega.ContainElement(gomega.And(
		gomega.HaveField("Name", f.issuer), gomega.HaveField("Account", "Robot"), gomega.HaveField("Tokens", 2), gomega.HaveField("Failing", 1))))
	f.Expect(found.Failing).To(gomega.ContainElement(gomega.And(gomega.HaveField("Name", "lost"), gomega.HaveField("Reason", "RepositoryNotFound"))))
	f.Expect(f.run("status", "-o", "name").out).To(gomega.ContainSubstring("projecttoken.tokensteward.io/lost\n"))
}
