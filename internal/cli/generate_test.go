package cli_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// generated are the ProjectTokens that a run wrote, by repository, as the API server takes them.
func (f *fixture) generated(r result) map[string]*v1alpha1.ProjectToken {
	f.t.Helper()
	f.Expect(r.err).NotTo(gomega.HaveOccurred())
	all := map[string]*v1alpha1.ProjectToken{}
	for text := range strings.SplitSeq(r.out, "---\n") {
		if text == "" {
			continue
		}
		t := &v1alpha1.ProjectToken{}
		f.Expect(yaml.UnmarshalStrict([]byte(text), t)).To(gomega.Succeed())
		f.Expect(k8s.Create(f.t.Context(), t.DeepCopy(), client.DryRunAll)).To(gomega.Succeed())
		all[string(t.Spec.Project.Repository)] = t
	}
	return all
}

func TestProjectTokensAreWrittenForRepositoriesALimitAtATime(t *testing.T) {
	t.Parallel()
	f := newCodacy(t)
	f.server.OfferRepository("gh", "acme", "offered")
	for _, name := range []string{"readable", "Web", "w_eb", "w-eb", "___", "a b"} {
		f.server.AddRepository("gh", "acme", name)
	}
	f.server.SetRole(f.account, "gh", "acme", "readable", codacytest.Read)
	f.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "web"}, StringData: map[string]string{"made": "by hand"}})
	f.eventuallyReady(f.projectToken("mine", f.issuer, "api"))

	run := []string{"generate", "gh/acme", f.here(), "--issuer=" + f.issuer}
	first := f.run(append(run, "--limit=2")...)
	some := f.generated(first)
	if len(some) != 2 || some["Web"] == nil || some["___"] == nil {
		t.Fatalf("the first two are %s", first.out)
	}
	f.Expect(some["Web"].Name).To(gomega.MatchRegexp("^web-[0-9a-f]{5}$"), "a Secret has that name")
	for _, said := range []string{
		"Of 9 repositories 2 get", "2 left out: --limit is reached", "2 left out: a ProjectToken of the namespace is for it", "1 left out: it was not added",
		"1 left out: the account of the issuer may not administer it", "1 left out: no ProjectToken can be for such a name",
	} {
		f.Expect(first.progress).To(gomega.ContainSubstring(said))
	}
	for _, resource := range f.generated(first) {
		f.create(resource)
		f.eventuallyReady(resource)
	}
	rest := f.generated(f.run(run...))
	f.Expect(rest).To(gomega.HaveLen(2), "the repository web is Web, to GitHub")
	f.Expect(rest["w-eb"].Name).To(gomega.Equal("w-eb"))
	f.Expect(rest["w_eb"].Name).To(gomega.MatchRegexp("^w-eb-[0-9a-f]{5}$"), "two names that differ in what a resource's name can't have")
	f.Expect(f.generated(f.run(append(run, "--match=w?eb")...))).To(gomega.HaveLen(2))

	for _, wrong := range []struct{ arguments, says string }{
		{"generate gh --issuer=" + f.issuer, "PROVIDER/ORGANIZATION"},
		{"generate github/acme --issuer=" + f.issuer, "providers are"},
		{"generate gh/acme/api --issuer=" + f.issuer, "PROVIDER/ORGANIZATION"},
		{"generate gh/acme", `"issuer" not set`},
		{"generate gh/acme --issuer=none", "no issuer"},
		{"generate gh/acme --issuer=" + f.namespace, "no issuer"}, // A built-in one.
		{"generate gh/none --issuer=" + f.issuer, "the repositories of gh/none"},
		{"generate gh/acme --match=[ --issuer=" + f.issuer, "--match"},
		{"generate gh/acme --limit=0 --issuer=" + f.issuer, "--limit"},
	} {
		r := f.run(append(strings.Fields(wrong.arguments), f.here())...)
		f.Expect(r.err).To(gomega.MatchError(gomega.ContainSubstring(wrong.says)))
		f.Expect(r.out).To(gomega.BeEmpty())
	}
}

// To GitHub acme/API is acme/api, and Codacy may write it either way.
func TestARepositoryThatHasAProjectTokenIsKnownHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	f := newCodacy(t)
	f.eventuallyReady(f.projectToken("mine", f.issuer, "api"))
	f.server.AddRepository("gh", "Acme", "API")
	r := f.run("generate", "gh/Acme", f.here(), "--issuer="+f.issuer)
	f.Expect(r.err).NotTo(gomega.HaveOccurred())
	f.Expect(r.out).To(gomega.BeEmpty())
	f.Expect(r.progress).To(gomega.ContainSubstring("1 left out: a ProjectToken of the namespace is for it"))
}

func TestProjectTokensThatTheIssuerDoesNotGrantAreLeftOut(t *testing.T) {
	t.Parallel()
	f := newCodacy(t)
	f.eventuallyReady(f.projectToken("mine", f.issuer, "api"))
	f.server.AddRepository("gh", "other", "web")
	r := f.run("generate", "gh/other", f.here(), "--issuer="+f.issuer)
	f.Expect(r.err).NotTo(gomega.HaveOccurred())
	f.Expect(r.out).To(gomega.BeEmpty())
	f.Expect(r.progress).To(gomega.ContainSubstring("1 left out: the issuer does not grant it"))
}

func TestNamesOfRepositoriesBecomeNamesOfResources(t *testing.T) {
	t.Parallel()
	f := newCodacy(t)
	f.eventuallyReady(f.projectToken("mine", f.issuer, "api"))
	long := strings.Repeat("x", 250)
	for i := range 2 {
		f.server.AddRepository("gh", "acme", fmt.Sprintf("%s%d", long, i))
	}
	names := map[string]bool{}
	for _, resource := range f.generated(f.run("generate", "gh/acme", f.here(), "--issuer="+f.issuer, "--match=xx*")) {
		names[resource.Name] = true
		f.Expect(len(resource.Name)).To(gomega.BeNumerically("<=", 63))
	}
	f.Expect(names).To(gomega.HaveLen(2))
}

func TestATokenIssuerIsReadWithoutAskingForOthers(t *testing.T) {
	t.Parallel()
	f := newCodacyAt(t, allowedHost)
	var shared v1alpha1.ClusterTokenIssuer
	shared.Name = f.issuer
	f.reload(&shared)
	var credential corev1.Secret
	credential.Namespace, credential.Name = testenv.Namespace, f.issuer
	f.reload(&credential)
	f.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "codacy"}, Data: credential.Data})
	mine := &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "mine"},
		Spec: v1alpha1.TokenIssuerSpec{IssuerSpec: v1alpha1.IssuerSpec{Codacy: &v1alpha1.CodacyIssuer{
			URL: shared.Spec.Codacy.URL, CABundle: shared.Spec.Codacy.CABundle, CredentialsSecretRef: v1alpha1.SecretKeyReference{Name: "codacy"},
		}}},
	}
	f.create(mine)
	f.Eventually(func() *v1alpha1.IssuerAccount { f.reload(mine); return mine.Status.Account }).ShouldNot(gomega.BeNil())

	user := "member-" + f.namespace
	f.mayView(user) // Of a namespace: no ClusterTokenIssuer can be seen with it.
	f.mayReadSecrets(user)
	r := f.run("generate", "gh/acme", f.here(), "--issuer="+f.namespace+"/mine", "--as="+user)
	written := f.generated(r)
	f.Expect(written).To(gomega.HaveLen(2))
	f.Expect(written["web"].Spec.IssuerRef).To(gomega.Equal(v1alpha1.IssuerReference{Kind: v1alpha1.KindTokenIssuer, Name: "mine"}))
	f.Expect(r.progress).To(gomega.ContainSubstring("You may not list the Secrets"))

	for issuer, says := range map[string]string{
		f.issuer:              "forbidden",
		f.namespace + "/none": "no issuer",
		"default/mine":        "no issuer",
		"A B":                 "no issuer", // What is no name is not sent: it would be forbidden.
	} {
		r := f.run("generate", "gh/acme", f.here(), "--issuer="+issuer, "--as="+user)
		f.Expect(r.err).To(gomega.MatchError(gomega.ContainSubstring(says)), issuer)
		f.Expect(r.out).To(gomega.BeEmpty())
	}
}
