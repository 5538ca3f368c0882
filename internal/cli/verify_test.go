package cli_test

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strconv"
	"testing"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

func TestVerifyAsksTheAuthorityForABuiltInToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.eventuallyReady(f.accountToken("robot", f.namespace, "alice"))
	f.eventuallyReady(f.projectToken("ci", f.namespace, "web"))
	at := "--authority-url=" + authorityURL
	verified := f.run("verify", "--all", f.here(), at)
	f.Expect(verified.err).NotTo(gomega.HaveOccurred())
	f.Expect(verified.out).To(gomega.MatchRegexp(`accounttoken/robot +Yes +1 +Accepted as alice\.\n`))
	f.Expect(verified.out).To(gomega.MatchRegexp(`projecttoken/ci +Yes +1 +Accepted as gh/acme/web\.\n`))

	var issuer v1alpha1.ClusterTokenIssuer
	issuer.Name = f.namespace
	f.reload(&issuer)
	issuer.Spec.Grants = nil
	f.Expect(k8s.Update(f.t.Context(), &issuer)).To(gomega.Succeed())
	f.Eventually(func() string { return f.run("verify", "ci", f.here(), at).out }).
		Should(gomega.MatchRegexp(`projecttoken/ci +No +1 +Refused\. Is the account or project still granted`))
	refused := f.run("verify", "ci", f.here(), at, "-o", "json")
	f.Expect(refused.err).To(gomega.MatchError("1 of 1 tokens: not accepted, or not found out"))
	var verdicts []struct{ Kind, Name, Accepted, AskedOf string }
	f.Expect(json.Unmarshal([]byte(refused.out), &verdicts)).To(gomega.Succeed())
	f.Expect(verdicts).To(gomega.HaveLen(1))
	f.Expect(verdicts[0].Accepted).To(gomega.Equal("No"))
}

func TestVerifyShowsATokenToNobodyElse(t *testing.T) {
	t.Parallel()
	f := newCodacy(t) // Its certificate is of another CA than the authority's.
	f.eventuallyReady(f.accountToken("robot", f.namespace, "alice"))
	var impostor v1alpha1.ClusterTokenIssuer
	impostor.Name = f.issuer
	f.reload(&impostor)
	verified := f.run("verify", "robot", f.here(), "--authority-url="+impostor.Spec.Codacy.URL)
	f.Expect(verified.err).To(gomega.HaveOccurred())
	f.Expect(verified.out).To(gomega.MatchRegexp(`Unknown .*certificate signed by unknown authority.*; name a file with the CA of its certificate by --authority-ca`))
	f.Expect(f.run("verify", "robot", f.here(), "--authority-url=http://127.0.0.1:1").out).To(gomega.ContainSubstring("must begin with https://"))
	f.Expect(f.run("verify", "robot", f.here()).out).To(gomega.MatchRegexp(`Unknown .*no pod of the operator is ready in the namespace tokensteward-system`))
}

// The published CA stays where it is when the authority gets a certificate of a public CA.
func TestVerifyBelievesTheSystemsCertificatesBesideThePublishedCA(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		t.Skip("the system's certificates are not those of a file")
	}
	f := newFixture(t)
	f.eventuallyReady(f.accountToken("robot", f.namespace, "alice"))
	f.Eventually(func() error {
		return k8s.Get(f.t.Context(), client.ObjectKey{Namespace: testenv.Namespace, Name: "tokensteward-authority-ca"}, &corev1.ConfigMap{})
	}).Should(gomega.Succeed())
	f.Expect(f.run("verify", "robot", f.here(), "--authority-url="+public.URL).out).To(gomega.MatchRegexp(`robot +No +1 +Refused`))
	f.Expect(f.run("verify", "robot", f.here(), "--authority-url="+authorityURL).out).To(gomega.MatchRegexp(`robot +Yes +1 +Accepted`))
}

func TestVerifyBelievesTheAuthorityAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.eventuallyReady(f.accountToken("robot", f.namespace, "alice"))
	for status, accepted := range map[int]string{http.StatusOK: "Unknown", http.StatusUnauthorized: "Unknown", http.StatusServiceUnavailable: "Unknown"} {
		other, err := codacytest.StartTLS(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }), "127.0.0.1:0")
		f.Expect(err).NotTo(gomega.HaveOccurred())
		verified := f.run("verify", "robot", f.here(), "--authority-url="+other.URL, "--authority-ca="+f.file("ca.crt", string(other.CAPEM)))
		f.Expect(verified.out).To(gomega.MatchRegexp(`robot +`+accepted+` +1 +The authority does not say`), "%d", status)
		f.Expect(other.Close()).To(gomega.Succeed())
	}
}

func TestVerifyTellsThatTheSecretIsNotAsItShouldBe(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.accountToken("robot", f.namespace, "alice")
	f.eventuallyReady(token)
	f.Eventually(func() error { f.reload(token); token.Spec.Suspend = true; return k8s.Update(f.t.Context(), token) }).Should(gomega.Succeed())
	f.Eventually(func() int64 { f.reload(token); return token.Status.ObservedGeneration }).Should(gomega.Equal(token.Generation))
	var secret corev1.Secret
	secret.Namespace, secret.Name = f.namespace, "robot"
	f.reload(&secret)
	secret.Data["COPY"], secret.Data["API_TOKEN"] = secret.Data["API_TOKEN"], []byte("something else")
	f.Expect(k8s.Update(f.t.Context(), &secret)).To(gomega.Succeed())
	f.Expect(f.run("verify", "robot", f.here()).out).To(gomega.MatchRegexp(`No +1 +The Secret robot does not hold the token of revision 1`))
	f.Expect(k8s.Delete(f.t.Context(), &secret)).To(gomega.Succeed())
	f.Expect(f.run("verify", "robot", f.here()).out).To(gomega.MatchRegexp(`No +1 +The Secret robot does not hold the token of revision 1 under API_TOKEN: somebody changed or deleted it`))
	f.Expect(f.run("verify", f.suspended("none").Name, f.here()).out).To(gomega.MatchRegexp(`No +0 +There is no token yet`))
}

func TestVerifyAsksCodacy(t *testing.T) {
	t.Parallel()
	f := newCodacy(t)
	account, project := f.accountToken("robot", f.issuer, "Robot"), f.projectToken("ci", f.issuer, "web")
	f.eventuallyReady(account)
	f.eventuallyReady(project)
	verified := f.run("verify", "--all", f.here(), "-o", "wide")
	f.Expect(verified.err).NotTo(gomega.HaveOccurred())
	f.Expect(verified.out).To(gomega.MatchRegexp(`accounttoken/robot +Yes +1 +https://\S+ +Accepted as Robot\.\n`))
	f.Expect(verified.out).To(gomega.MatchRegexp(`projecttoken/ci +Yes +1 +https://\S+ +Codacy has the token \d+ of gh/acme/web\.\n`))

	for _, token := range []v1alpha1.Token{account, project} {
		id, err := strconv.ParseInt(token.SharedStatus().Token.ID, 10, 64)
		f.Expect(err).NotTo(gomega.HaveOccurred())
		f.Expect(f.server.RevokeInWebUI(id)).To(gomega.BeTrue())
	}
	verified = f.run("verify", "--all", f.here())
	f.Expect(verified.err).To(gomega.MatchError("2 of 2 tokens: not accepted, or not found out"))
	f.Expect(verified.out).To(gomega.MatchRegexp(`accounttoken/robot +No +1 +Codacy does not accept it`))
	f.Expect(verified.out).To(gomega.MatchRegexp(`projecttoken/ci +No +1 +Codacy does not have the token \d+`))
}

func TestVerifyNeedsTheIssuersCredentialForAProjectTokenOfCodacy(t *testing.T) {
	t.Parallel()
	f := newCodacy(t)
	f.eventuallyReady(f.projectToken("ci", f.issuer, "web"))
	user := "reader-" + f.namespace
	f.mayView(user)
	f.mayReadSecrets(user)
	verify := func() string { return f.run("verify", "ci", f.here(), "--as="+user).out }
	f.Eventually(verify).Should(gomega.MatchRegexp(`Unknown .*the issuer can't be read: .*forbidden`))
	f.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "tokensteward-view"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	})
	f.Eventually(verify).Should(gomega.MatchRegexp(`Unknown .*no request that tries a project token.*forbidden`))
}
