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
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

const strangersUID = "11111111-2222-3333-4"

// orphan makes a token at Codacy with the name that an installation would give it.
func (f *codacyFixture) orphan(installation, repository string, revision int) (id string) {
	f.t.Helper()
	expires := time.Now().Add(24 * time.Hour)
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
	f.Expect(f.run("orphans", only, "--installation-id=").out).To(gomega.Equal(found.out), "as without it")
	f.Expect(f.run("orphans", only, "--installation-id=!").err).To(gomega.MatchError(gomega.ContainSubstring("6 to 20 lowercase")))
	f.Expect(f.run("orphans", only, f.here()).err).To(gomega.MatchError(gomega.ContainSubstring("no namespace")))
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
	f.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{ // One that was left behind has no label.
		Namespace: f.namespace, Name: "restored", Annotations: map[string]string{v1alpha1.TokenIDAnnotation: named},
	}})
	// The same Codacy by another address has a token that a pod may hold still.
	held := f.heldElsewhere(installationID)
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
	f.Expect(f.ids()).To(gomega.And(gomega.ContainElements(named, held, ci.Status.Token.ID), gomega.Not(gomega.ContainElements(first)), gomega.Not(gomega.ContainElements(second))))
	f.Expect(f.run("orphans", only, "--revoke", "--yes").err).To(gomega.MatchError(gomega.ContainSubstring("a Secret names each of them")))

	gone := f.orphan("gonecluster", "web", 1)
	f.Expect(f.run("orphans", only, "--revoke", "--yes", "--installation-id=gonecluster").err).NotTo(gomega.HaveOccurred())
	f.Expect(f.ids()).NotTo(gomega.ContainElement(gone))
}

// heldElsewhere makes a token that stands among the previous ones of a resource, under another address of the same Codacy.
func (f *codacyFixture) heldElsewhere(installation string) (id string) {
	f.t.Helper()
	id = f.orphan(installation, "web", 7)
	holder := f.suspended("holder")
	before := holder.DeepCopy()
	holder.Status.OwnerUID = holder.UID
	holder.Status.PreviousTokens = []v1alpha1.PreviousToken{{
		ID: "other", Revision: 7, Name: fmt.Sprintf("ts-%s-%s-7", installation, strangersUID), URL: "https://localhost:1",
	}}
	f.Expect(operator.Status().Patch(f.t.Context(), holder, client.MergeFrom(before))).To(gomega.Succeed())
	return id
}

func TestACredentialIsShownOnlyWhereTheOperatorFoundItInOrder(t *testing.T) {
	t.Parallel()
	f := newCodacy(t)
	var good v1alpha1.ClusterTokenIssuer
	good.Name = f.issuer
	f.Eventually(func() *v1alpha1.IssuerAccount { f.reload(&good); return good.Status.Account }).ShouldNot(gomega.BeNil())
	// A tenant, who may make issuers and can't read Secrets, names a Secret and a host in one.
	f.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "database"}, Data: map[string][]byte{"password": []byte("a-password-of-20-letters")}})
	issued.Add("the password of a database", "a-password-of-20-letters")
	f.create(&v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "mine"},
		Spec: v1alpha1.TokenIssuerSpec{IssuerSpec: v1alpha1.IssuerSpec{Codacy: &v1alpha1.CodacyIssuer{
			URL: good.Spec.Codacy.URL, CABundle: good.Spec.Codacy.CABundle,
			CredentialsSecretRef: v1alpha1.SecretKeyReference{Name: "database", Key: "password"},
		}}},
	})
	f.server.ResetRequests()
	asked := f.run("orphans", "--issuer="+f.namespace+"/mine", "--project=gh/acme/web")
	f.Expect(asked.err).To(gomega.MatchError(gomega.ContainSubstring("its credential is shown to nobody")))
	f.Expect(f.server.Requests()).To(gomega.BeEmpty())

	var credential corev1.Secret
	credential.Namespace, credential.Name = testenv.Namespace, f.issuer
	f.reload(&credential)
	f.server.DeactivateAccount(f.account)
	f.Eventually(func() string {
		f.reload(&credential)
		credential.Data[v1alpha1.DefaultCredentialsKey] = []byte("another-one-of-20-letters")
		f.Expect(k8s.Update(f.t.Context(), &credential)).To(gomega.Succeed())
		return fmt.Sprint(f.run("orphans", "--issuer="+f.issuer, "--project=gh/acme/web").err)
	}).Should(gomega.Or(gomega.ContainSubstring("is not what the operator found in order"), gomega.ContainSubstring("its credential is shown to nobody")))
}
