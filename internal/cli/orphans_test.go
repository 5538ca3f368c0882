package cli_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

const strangersUID = "11111111-2222-3333-4"

// orphan makes a token at Codacy with the name that an installation would give it.
func (f *codacyFixture) orphan(installation, repository string, revision int) (id string) {
	f.t.Helper()
	expires := time.Now().Add(24 * time.Hour) //nolint:forbidigo // The stand-in's clock is the real one.
	token := f.server.CreateRepositoryToken("gh", "acme", repository, fmt.Sprintf("ts-%s-%s-%d", installation, strangersUID, revision), &expires)
	return strconv.FormatInt(token.ID, 10)
}

// installation is the id of this one.
func (f *codacyFixture) installation() string {
	f.t.Helper()
	kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: testenv.Namespace, Name: "tokensteward-installation"}}
	f.reload(kept)
	return kept.Data["id"]
}

func (f *codacyFixture) ids() (ids []string) {
	for _, token := range f.server.Tokens() {
		ids = append(ids, strconv.FormatInt(token.ID, 10))
	}
	return ids
}

func TestOrphansAreWhatNoResourceHas(t *testing.T) {
	t.Parallel()
	f := newCodacy(t)
	ci := f.projectToken("ci", f.issuer, "web")
	f.eventuallyReady(ci)
	only, installationID := "--issuer="+f.issuer, f.installation()
	none := f.run("orphans", only)
	f.Expect(none.err).NotTo(gomega.HaveOccurred())
	f.Expect(none.out).To(gomega.BeEmpty())
	f.Expect(none.progress).To(gomega.And(gomega.ContainSubstring("(1 of 1)"), gomega.ContainSubstring("no orphaned tokens of the installation "+installationID)))
	f.Expect(f.run("orphans", only, "-o", "json").out).To(gomega.Equal("[]\n"))

	left, elsewhere, others := f.orphan(installationID, "web", 1), f.orphan(installationID, "api", 2), f.orphan("othercluster", "web", 3)
	f.server.CreateRepositoryToken("gh", "acme", "web", "by-hand", nil)
	found := f.run("orphans", only)
	f.Expect(found.err).NotTo(gomega.HaveOccurred())
	f.Expect(lines(found.out)).To(gomega.HaveLen(2))
	f.Expect(found.out).To(gomega.MatchRegexp(`gh/acme/web +` + left + ` +ts-` + installationID + `-` + strangersUID + `-1 +20\S+Z +No`))
	f.Expect(f.run("orphans", only, "--project=gh/acme/api", "-o", "name").out).To(gomega.ContainSubstring(strangersUID + "-2\n"))
	f.Expect(f.run("orphans", "--project=gh/acme/api").err).To(gomega.MatchError(gomega.ContainSubstring("--project needs --issuer")))
	f.Expect(f.run("orphans", only, "--installation-id=othercluster").out).To(gomega.ContainSubstring(others))

	lost := f.run("orphans", only, "--project=gh/acme/none", "-o", "json")
	f.Expect(lost.err).To(gomega.MatchError(gomega.ContainSubstring("gh/acme/none")), "what was not looked into is said")
	var orphans []struct{ ID, Project, Issuer string }
	f.Expect(json.Unmarshal([]byte(lost.out), &orphans)).To(gomega.Succeed(), "what was found is told all the same")
	f.Expect(orphans).To(gomega.HaveLen(1))
	f.Expect(orphans[0].Issuer).To(gomega.Equal(f.issuer))
	f.Expect(f.ids()).To(gomega.ContainElements(left, elsewhere, others, ci.Status.Token.ID), "nothing is revoked")
}

func TestOrphansAreRevokedIfTheUserMeansIt(t *testing.T) {
	t.Parallel()
	f := newCodacy(t)
	ci := f.projectToken("ci", f.issuer, "web")
	f.eventuallyReady(ci)
	only, installationID := "--issuer="+f.issuer, f.installation()
	first, second, named := f.orphan(installationID, "web", 1), f.orphan(installationID, "web", 2), f.orphan(installationID, "web", 3)
	f.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: f.namespace, Name: "restored", Labels: map[string]string{v1alpha1.ManagedLabel: v1alpha1.ManagedTokens},
		Annotations: map[string]string{v1alpha1.TokenIDAnnotation: named},
	}})
	for _, answer := range []string{"", "no\n", "y\n"} {
		asked := f.answering(answer, "orphans", only, "--revoke")
		f.Expect(asked.err).To(gomega.MatchError(gomega.ContainSubstring("nothing was revoked")))
		f.Expect(asked.progress).To(gomega.ContainSubstring("Revoke 2 tokens of the installation " + installationID))
	}
	f.Expect(f.ids()).To(gomega.ContainElements(first, second, named))

	done := f.answering("yes\n", "orphans", only, "--revoke")
	f.Expect(done.err).NotTo(gomega.HaveOccurred())
	f.Expect(done.progress).To(gomega.ContainSubstring("(2 of 2)"))
	f.Expect(done.out).To(gomega.MatchRegexp(first + ` .* Yes`))
	f.Expect(done.out).To(gomega.MatchRegexp(named + ` .* No +the Secret ` + f.namespace + `/restored names it`))
	f.Expect(f.ids()).To(gomega.And(gomega.ContainElements(named, ci.Status.Token.ID), gomega.Not(gomega.ContainElements(first)), gomega.Not(gomega.ContainElements(second))))
	f.Expect(f.run("orphans", only, "--revoke", "--yes").err).To(gomega.MatchError(gomega.ContainSubstring("a Secret names each of them")))

	gone := f.orphan("gonecluster", "web", 1)
	f.Expect(f.run("orphans", only, "--revoke", "--yes", "--installation-id=gonecluster").err).NotTo(gomega.HaveOccurred())
	f.Expect(f.ids()).NotTo(gomega.ContainElement(gone))
}
