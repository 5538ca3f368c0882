package controllers_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// codacyFixture is a fixture whose issuer is connected to a stand-in for Codacy of its own.
type codacyFixture struct {
	*fixture
	server     *codacytest.Server
	running    *codacytest.Running
	account    int64
	credential codacytest.Token
}

// newCodacy makes a stand-in with the account Robot and the repositories gh/acme/api and gh/acme/web, and an issuer that
// grants the namespace Robot's tokens and those of gh/acme's repositories.
func newCodacy(t *testing.T, behaviour codacytest.Behaviour, change ...func(*v1alpha1.ClusterTokenIssuerSpec)) *codacyFixture {
	t.Helper()
	f := startCodacy(t, behaviour, "127.0.0.1:0")
	f.issuer = &v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: f.namespace},
		Spec: v1alpha1.ClusterTokenIssuerSpec{
			IssuerSpec: v1alpha1.IssuerSpec{Codacy: &v1alpha1.CodacyIssuer{
				URL: f.running.URL, CABundle: f.running.CAPEM,
				CredentialsSecretRef: v1alpha1.SecretKeyReference{Name: f.namespace},
			}},
			Grants: []v1alpha1.Grant{{
				Namespaces: []v1alpha1.NamespaceName{v1alpha1.NamespaceName(f.namespace)},
				Accounts:   []v1alpha1.AccountPattern{"Robot"}, Projects: []v1alpha1.ProjectPattern{"gh/acme/*"},
			}},
		},
	}
	for _, change := range change {
		change(&f.issuer.Spec)
	}
	f.putCredential(testenv.Namespace, f.namespace, f.credential)
	f.create(f.issuer)
	f.Eventually(f.issuerReason).Should(gomega.Equal(v1alpha1.ReasonAvailable))
	return f
}

// startCodacy makes a namespace and a stand-in, and no issuer.
func startCodacy(t *testing.T, behaviour codacytest.Behaviour, address string) *codacyFixture {
	t.Helper()
	f := &codacyFixture{fixture: newNamespace(t)}
	behaviour.RateLimit = nil // It has a test of its own.
	f.server = codacytest.New(now, behaviour)
	f.account = f.server.AddAccount("Robot", "robot@acme.example")
	f.server.AddRepository("gh", "acme", "api")
	f.server.AddRepository("gh", "acme", "web")
	f.credential = f.server.CreateAccountToken(f.account, nil)
	running, err := codacytest.StartTLS(codacytest.Check(f.server, func(err error) { t.Errorf("not as described: %v", err) }), address)
	f.Expect(err).NotTo(gomega.HaveOccurred())
	f.running = running
	t.Cleanup(func() {
		for _, token := range f.server.Tokens() {
			issued.Add(fmt.Sprintf("token %d", token.ID), token.Value.Reveal())
		}
		_ = running.Close()
	})
	return f
}

func codacyEdition(t *testing.T, name string) codacytest.Behaviour {
	t.Helper()
	behaviour, err := codacytest.Edition(name)
	if err != nil {
		t.Fatal(err)
	}
	return behaviour
}

// putCredential writes a token into a credentials Secret, as kubectl create secret does from a terminal: with a newline.
func (f *codacyFixture) putCredential(namespace, name string, credential codacytest.Token) {
	f.t.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Data:       map[string][]byte{v1alpha1.DefaultCredentialsKey: []byte(credential.Value.Reveal() + "\n")},
	}
	var there corev1.Secret
	if k8s.Get(f.ctx, client.ObjectKeyFromObject(secret), &there) == nil {
		there.Data = secret.Data
		f.Expect(k8s.Update(f.ctx, &there)).To(gomega.Succeed())
		return
	}
	f.create(secret)
}

// minted are the tokens at the service that nobody made by hand.
func (f *codacyFixture) minted() (tokens []codacytest.Token) {
	for _, token := range f.server.Tokens() {
		if !token.HandMade {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

// codacyToken is a resource of a kind: an AccountToken, or a ProjectToken of gh/acme/api.
func (f *codacyFixture) codacyToken(kind, name string) v1alpha1.Token {
	if kind == v1alpha1.KindAccountToken {
		token := f.accountToken(name)
		token.Spec.Account = ""
		return token
	}
	return f.projectToken(name, "api")
}

// issuedCodacyToken is one that exists and is ready.
func (f *codacyFixture) issuedCodacyToken(kind, name string) v1alpha1.Token {
	f.t.Helper()
	token := f.codacyToken(kind, name)
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionTrue, "")
	return token
}

var codacyKeys = map[string]string{v1alpha1.KindAccountToken: "CODACY_API_TOKEN", v1alpha1.KindProjectToken: "CODACY_PROJECT_TOKEN"}

func TestATokenOfCodacyIsMintedAndRevokedInEachEdition(t *testing.T) {
	for _, edition := range codacytest.Editions {
		for _, kind := range []string{v1alpha1.KindAccountToken, v1alpha1.KindProjectToken} {
			if edition == "self-hosted-4.2" && kind == v1alpha1.KindProjectToken {
				continue // It has none, which has a test of its own.
			}
			t.Run(edition+"/"+kind, func(t *testing.T) {
				t.Parallel()
				f := newCodacy(t, codacyEdition(t, edition))
				first, second := f.issuedCodacyToken(kind, "first"), f.issuedCodacyToken(kind, "second")
				f.Expect(f.minted()).To(gomega.HaveLen(2))
				for _, token := range []v1alpha1.Token{first, second} {
					status := token.SharedStatus()
					f.Expect(f.server.Accepts(string(f.secret(token).Data[codacyKeys[kind]]))).To(gomega.BeTrue())
					f.Expect(status.Token.URL).To(gomega.Equal(f.running.URL))
					f.Expect(status.Token.AccountID).To(gomega.Equal(strconv.FormatInt(f.account, 10)))
					f.Expect(status.RenewalTime.Sub(status.Token.IssueTime.Time)).To(gomega.BeNumerically("~", 55*24*time.Hour, 8*24*time.Hour))
				}
				f.Expect(k8s.Delete(f.ctx, first)).To(gomega.Succeed())
				f.eventuallyGone(first)
				f.Expect(f.minted()).To(gomega.HaveLen(1))
				f.Expect(f.server.Accepts(string(f.secret(second).Data[codacyKeys[kind]]))).To(gomega.BeTrue())
				f.Expect(k8s.Delete(f.ctx, second)).To(gomega.Succeed())
				f.eventuallyGone(second)
				f.Expect(f.minted()).To(gomega.BeEmpty())
				f.Expect(f.server.Accepts(f.credential.Value.Reveal())).To(gomega.BeTrue())
			})
		}
	}
}

func TestTheSecretOfAProjectTokenHasWhatCodacysToolsRead(t *testing.T) {
	t.Parallel()
	f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
	token := f.issuedCodacyToken(v1alpha1.KindProjectToken, "api")
	data := f.secret(token).Data
	for key, want := range map[string]string{
		"CODACY_API_BASE_URL": f.running.URL, "CODACY_ORGANIZATION_PROVIDER": "gh", "CODACY_USERNAME": "acme", "CODACY_PROJECT_NAME": "api",
	} {
		f.Expect(string(data[key])).To(gomega.Equal(want), key)
	}
	f.Expect(data).To(gomega.HaveLen(5))
	f.Expect(f.server.Accepts(string(data["CODACY_PROJECT_TOKEN"]))).To(gomega.BeTrue())

	// Keys of one's own take the place of those.
	own := f.projectToken("own", "api")
	own.Spec.Secret = &v1alpha1.SecretTarget{Template: &v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{
		"where": "{{ .URL }}/{{ .Repository }} until {{ .ExpirationTime }}",
	}}}
	f.create(own)
	f.eventuallyReady(own, metav1.ConditionTrue, "")
	f.Expect(f.secret(own).Data).To(gomega.HaveLen(2))
	f.Expect(string(f.secret(own).Data["where"])).To(gomega.HavePrefix(f.running.URL + "/api until 2"))
}

func TestTheIssuerTellsWhoItIsAndWhatItHasSeen(t *testing.T) {
	t.Parallel()
	f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
	status := f.issuerStatus()
	f.Expect(*status.Account).To(gomega.Equal(v1alpha1.IssuerAccount{ID: strconv.FormatInt(f.account, 10), Name: "Robot", Email: "robot@acme.example"}))
	f.Expect(status.CredentialExpirationTime).To(gomega.BeNil())
	f.issuedCodacyToken(v1alpha1.KindProjectToken, "api")
	f.issuedCodacyToken(v1alpha1.KindAccountToken, "robot")
	yes := true
	f.Eventually(func() *v1alpha1.Capabilities { return f.issuerStatus().Capabilities }).Should(gomega.Equal(&v1alpha1.Capabilities{
		AccountTokens: v1alpha1.TokenCapabilities{EchoedExpiration: &yes},
		ProjectTokens: v1alpha1.TokenCapabilities{EchoedExpiration: &yes, Names: &yes},
	}))
	f.server.ResetRequests()
	f.issuedCodacyToken(v1alpha1.KindProjectToken, "web")
	f.issuedCodacyToken(v1alpha1.KindAccountToken, "robot-2")
	f.Expect(f.server.Requests()).To(gomega.Equal(map[string]int{"createRepositoryApiToken": 1, "createUserApiToken": 1}))
}

func TestWhatTheIssuerSaysOfItsCredential(t *testing.T) {
	soon := func() *time.Time { at := now.Now().Add(time.Hour).UTC().Truncate(time.Second); return &at }
	for name, test := range map[string]struct {
		credential func(*codacyFixture) codacytest.Token
		reason     string
		says       string
	}{
		"revoked": {func(f *codacyFixture) codacytest.Token {
			token := f.server.CreateAccountToken(f.account, nil)
			f.server.RevokeInWebUI(token.ID)
			return token
		}, v1alpha1.ReasonCredentialsRefused, "it is wrong, was revoked or has expired"},
		"expired": {func(f *codacyFixture) codacytest.Token {
			past := now.Now().Add(-time.Hour)
			return f.server.CreateAccountToken(f.account, &past)
		}, v1alpha1.ReasonCredentialsRefused, "has expired"},
		"a repository's": {func(f *codacyFixture) codacytest.Token {
			return f.server.CreateRepositoryToken("gh", "acme", "api", "ci", nil)
		}, v1alpha1.ReasonCredentialsRefused, "or it is a repository token, and an account API token is needed"},
		"of an account that was deactivated": {func(f *codacyFixture) codacytest.Token {
			left := f.server.AddAccount("Left", "left@acme.example")
			token := f.server.CreateAccountToken(left, nil)
			f.server.DeactivateAccount(left)
			return token
		}, v1alpha1.ReasonCredentialsRefused, "wrong, was revoked"},
		"in order, and expires": {func(f *codacyFixture) codacytest.Token {
			return f.server.CreateAccountToken(f.account, soon())
		}, v1alpha1.ReasonAvailable, "Connected as Robot"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
			token := f.issuedCodacyToken(v1alpha1.KindProjectToken, "api")
			before := f.secret(token).ResourceVersion
			credential := test.credential(f)
			f.putCredential(testenv.Namespace, f.namespace, credential)
			f.Eventually(func(g gomega.Gomega) {
				status := f.issuerStatus()
				ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
				g.Expect(ready.Reason).To(gomega.Equal(test.reason))
				g.Expect(ready.Message).To(gomega.ContainSubstring(test.says))
				g.Expect(status.CredentialExpirationTime != nil).To(gomega.Equal(name == "in order, and expires"))
				g.Expect(meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionStalled)).To(gomega.Equal(test.reason != v1alpha1.ReasonAvailable))
			}).Should(gomega.Succeed())
			// Whoever has a token keeps it; whoever has none is told why.
			waiting := f.projectToken("waiting", "web")
			f.create(waiting)
			if test.reason != v1alpha1.ReasonAvailable {
				f.eventuallyReady(waiting, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotReady)
				f.Expect(readyCondition(waiting).Message).To(gomega.ContainSubstring(test.says))
				f.putCredential(testenv.Namespace, f.namespace, f.credential)
			}
			f.eventuallyReady(waiting, metav1.ConditionTrue, "")
			f.eventuallyReady(token, metav1.ConditionTrue, "")
			f.Expect(f.secret(token).ResourceVersion).To(gomega.Equal(before))
		})
	}
}

func TestACredentialThatIsRevokedLaterIsNoticedAndItsTokensAreKept(t *testing.T) {
	t.Parallel()
	f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
	token := f.issuedCodacyToken(v1alpha1.KindProjectToken, "api")
	f.server.RevokeInWebUI(f.credential.ID)
	other := f.projectToken("other", "web")
	f.create(other)
	f.Eventually(f.issuerReason).Should(gomega.Equal(v1alpha1.ReasonCredentialsRefused))
	f.eventuallyReady(other, metav1.ConditionFalse, "")
	f.eventuallyReady(token, metav1.ConditionTrue, "")
	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.Consistently(func() error { return k8s.Get(f.ctx, client.ObjectKeyFromObject(token), token) }, "500ms").Should(gomega.Succeed())

	f.putCredential(testenv.Namespace, f.namespace, f.server.CreateAccountToken(f.account, nil))
	f.eventuallyReady(other, metav1.ConditionTrue, "")
	f.eventuallyGone(token)
	f.Expect(f.minted()).To(gomega.HaveLen(1))
}

func TestTheCredentialsSecretIsFollowed(t *testing.T) {
	t.Parallel()
	f := newCodacy(t, codacyEdition(t, "self-hosted-16"))
	key := client.ObjectKey{Namespace: testenv.Namespace, Name: f.namespace}
	var secret corev1.Secret
	f.Expect(k8s.Get(f.ctx, key, &secret)).To(gomega.Succeed())
	f.Expect(secret.Finalizers).To(gomega.ConsistOf(v1alpha1.CredentialsFinalizer))
	token := f.issuedCodacyToken(v1alpha1.KindProjectToken, "api")

	f.Expect(k8s.Delete(f.ctx, &secret)).To(gomega.Succeed())
	f.Eventually(f.issuerReason).Should(gomega.Equal(v1alpha1.ReasonCredentialsMissing))
	f.eventuallyGone(&secret)
	f.eventuallyReady(token, metav1.ConditionTrue, "")
	f.putCredential(testenv.Namespace, f.namespace, f.credential)
	f.Eventually(f.issuerReason).Should(gomega.Equal(v1alpha1.ReasonAvailable))

	// Another Secret: the first one is let go.
	f.putCredential(testenv.Namespace, f.namespace+"-2", f.server.CreateAccountToken(f.account, nil))
	f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) { s.Codacy.CredentialsSecretRef.Name = f.namespace + "-2" })
	f.Eventually(func() []string {
		f.Expect(k8s.Get(f.ctx, key, &secret)).To(gomega.Succeed())
		return secret.Finalizers
	}).Should(gomega.BeEmpty())
	f.Expect(secret.Labels).To(gomega.BeEmpty())
	f.Eventually(f.issuerReason).Should(gomega.Equal(v1alpha1.ReasonAvailable))

	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyGone(token)
	f.Expect(k8s.Delete(f.ctx, f.issuer)).To(gomega.Succeed())
	f.eventuallyGone(f.issuer)
	key.Name += "-2"
	f.Expect(k8s.Get(f.ctx, key, &secret)).To(gomega.Succeed())
	f.Expect(secret.Finalizers).To(gomega.BeEmpty())
}

func TestWhatIsWrongWithACredentialsSecretIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		data map[string][]byte
		says string
	}{
		"another key": {map[string][]byte{"TOKEN": []byte("x")}, `has nothing under the key "CODACY_API_TOKEN"`},
		"blanks":      {map[string][]byte{"CODACY_API_TOKEN": []byte(" \n")}, "has nothing under the key"},
		"two lines":   {map[string][]byte{"CODACY_API_TOKEN": []byte("first-line\nsecond-line")}, "that can't be a token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newCodacy(t, codacyEdition(t, "self-hosted-16"))
			var secret corev1.Secret
			f.Expect(k8s.Get(f.ctx, client.ObjectKey{Namespace: testenv.Namespace, Name: f.namespace}, &secret)).To(gomega.Succeed())
			secret.Data = test.data
			f.Eventually(func() error {
				_ = k8s.Get(f.ctx, client.ObjectKeyFromObject(&secret), &secret)
				secret.Data = test.data
				return k8s.Update(f.ctx, &secret)
			}).Should(gomega.Succeed())
			f.Eventually(func(g gomega.Gomega) {
				ready := meta.FindStatusCondition(f.issuerStatus().Conditions, v1alpha1.ConditionReady)
				g.Expect(ready.Reason).To(gomega.Equal(v1alpha1.ReasonCredentialsMissing))
				g.Expect(ready.Message).To(gomega.ContainSubstring(test.says))
				g.Expect(ready.Message).NotTo(gomega.ContainSubstring("line"))
			}).Should(gomega.Succeed())
		})
	}
}

func TestATokenIssuerServesItsNamespaceAndConnectsOnlyWhereItMay(t *testing.T) {
	f := startCodacy(t, codacyEdition(t, "cloud-2026-08"), allowedHost)
	issuer := func(name, url string) *v1alpha1.TokenIssuer {
		return &v1alpha1.TokenIssuer{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name},
			Spec: v1alpha1.TokenIssuerSpec{IssuerSpec: v1alpha1.IssuerSpec{Codacy: &v1alpha1.CodacyIssuer{
				URL: url, CABundle: f.running.CAPEM, CredentialsSecretRef: v1alpha1.SecretKeyReference{Name: "codacy"},
			}}},
		}
	}
	reason := func(issuer *v1alpha1.TokenIssuer) func() string {
		return func() string {
			f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(issuer), issuer)).To(gomega.Succeed())
			if ready := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
				return ready.Reason
			}
			return ""
		}
	}
	good := issuer("codacy", "https://"+allowedHost)
	f.create(good)
	f.Eventually(reason(good)).Should(gomega.Equal(v1alpha1.ReasonCredentialsMissing))
	f.putCredential(f.namespace, "codacy", f.credential)
	f.Eventually(reason(good)).Should(gomega.Equal(v1alpha1.ReasonAvailable))
	f.server.ResetRequests()
	elsewhere := issuer("elsewhere", "https://localhost:"+strings.Split(allowedHost, ":")[1])
	f.create(elsewhere)
	f.Eventually(reason(elsewhere)).Should(gomega.Equal(v1alpha1.ReasonHostNotAllowed))
	f.Expect(f.server.Requests()).To(gomega.BeEmpty())

	token := &v1alpha1.ProjectToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "api"},
		Spec: v1alpha1.ProjectTokenSpec{
			TokenSpec: v1alpha1.TokenSpec{IssuerRef: v1alpha1.IssuerReference{Kind: v1alpha1.KindTokenIssuer, Name: "codacy"}},
			Project:   v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: "api"},
		},
	}
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionTrue, "")
	f.Expect(k8s.Delete(f.ctx, good)).To(gomega.Succeed())
	f.Eventually(reason(good)).Should(gomega.Equal(v1alpha1.ReasonInUse))
	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyGone(token)
	f.eventuallyGone(good)
	f.Expect(f.minted()).To(gomega.BeEmpty())
}

func TestTheAccountMustMatch(t *testing.T) {
	t.Parallel()
	f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
	for i, account := range []string{"Robot", "robot@acme.example", strconv.FormatInt(f.account, 10)} {
		token := f.accountToken(fmt.Sprintf("right-%d", i))
		token.Spec.Account = account
		f.create(token)
		f.eventuallyReady(token, metav1.ConditionTrue, "")
		f.Expect(token.Status.Account).To(gomega.Equal(account))
	}
	wrong := f.accountToken("wrong")
	f.create(wrong) // Alice's.
	f.eventuallyReady(wrong, metav1.ConditionFalse, v1alpha1.ReasonAccountMismatch)
	f.Expect(conditionTypes(wrong)).To(gomega.ContainElement(v1alpha1.ConditionStalled))

	// Another account's credential: what was made with the first one can't be revoked, and is not given up.
	right := &v1alpha1.AccountToken{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "right-0"}}
	alice := f.server.AddAccount("Alice", "alice@acme.example")
	f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) {
		s.Grants[0].Accounts = append(s.Grants[0].Accounts, "alice@acme.example")
	})
	f.putCredential(testenv.Namespace, f.namespace, f.server.CreateAccountToken(alice, nil))
	f.Eventually(func(g gomega.Gomega) {
		g.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(right), right)).To(gomega.Succeed())
		g.Expect(readyCondition(right).Status).To(gomega.Equal(metav1.ConditionTrue))
		stalled := meta.FindStatusCondition(right.Status.Conditions, v1alpha1.ConditionStalled)
		g.Expect(stalled).NotTo(gomega.BeNil())
		g.Expect(stalled.Reason).To(gomega.Equal(v1alpha1.ReasonAccountMismatch))
	}).Should(gomega.Succeed())
	f.Expect(k8s.Delete(f.ctx, right)).To(gomega.Succeed())
	f.eventuallyStalled(right, v1alpha1.ReasonAccountChanged)
	f.Expect(f.minted()).To(gomega.HaveLen(3))
	f.putCredential(testenv.Namespace, f.namespace, f.credential)
	f.eventuallyGone(right)
	f.Expect(f.minted()).To(gomega.HaveLen(2))
}

// eventuallyStalled waits until a resource is stalled for a reason.
func (f *fixture) eventuallyStalled(t v1alpha1.Token, reason string) {
	f.t.Helper()
	f.Eventually(func(g gomega.Gomega) {
		g.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(t), t)).To(gomega.Succeed())
		stalled := meta.FindStatusCondition(t.SharedStatus().Conditions, v1alpha1.ConditionStalled)
		g.Expect(stalled).NotTo(gomega.BeNil(), "%v", t.SharedStatus().Conditions)
		g.Expect(stalled.Reason).To(gomega.Equal(reason), stalled.Message)
	}).Should(gomega.Succeed())
}

func TestAMissingRoleIsToldWhateverCodacyAnswersToIt(t *testing.T) {
	for _, status := range []int{401, 403, 404} {
		for _, role := range []codacytest.Role{codacytest.None, codacytest.Read, codacytest.Write} {
			t.Run(fmt.Sprintf("%d/%s", status, role), func(t *testing.T) {
				t.Parallel()
				behaviour := codacyEdition(t, "cloud-2026-08")
				behaviour.NoRoleStatus = status
				f := newCodacy(t, behaviour)
				f.server.SetRole(f.account, "gh", "acme", "api", role)
				token := f.projectToken("api", "api")
				f.create(token)
				f.eventuallyReady(token, metav1.ConditionFalse, "")
				f.Expect(readyCondition(token).Message).To(gomega.ContainSubstring("needs the repository admin role"))
				f.Expect(conditionTypes(token)).To(gomega.ContainElement(v1alpha1.ConditionStalled))
				f.Expect(f.issuerReason()).To(gomega.Equal(v1alpha1.ReasonAvailable))
				f.server.ResetRequests()
				f.touch(token) // Whatever wakes it, it is not tried again before its time.
				f.Consistently(f.server.Requests, "300ms").Should(gomega.BeEmpty())

				f.server.SetRole(f.account, "gh", "acme", "api", codacytest.Admin)
				f.annotate(token, v1alpha1.ReconcileRequestAnnotation, "now")
				f.eventuallyReady(token, metav1.ConditionTrue, "")
				f.Expect(token.Status.Mints).To(gomega.HaveLen(1)) // What made nothing does not count towards a storm.
			})
		}
	}
}

func (f *fixture) annotate(t v1alpha1.Token, key, value string) {
	f.t.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, key, value)
	f.Expect(k8s.Patch(f.ctx, t, client.RawPatch("application/merge-patch+json", patch))).To(gomega.Succeed())
}

func TestAFullRepositoryIsNamed(t *testing.T) {
	t.Parallel()
	behaviour := codacyEdition(t, "cloud-2026-08")
	behaviour.LimitStatus = 422
	f := newCodacy(t, behaviour)
	var byHand []codacytest.Token
	for i := range behaviour.RepositoryLimit {
		byHand = append(byHand, f.server.CreateRepositoryToken("gh", "acme", "api", fmt.Sprintf("ci-%d", i), nil))
	}
	token := f.projectToken("api", "api")
	f.create(token)
	f.eventuallyStalled(token, v1alpha1.ReasonTokenLimitReached)
	f.Expect(readyCondition(token).Message).To(gomega.ContainSubstring("gh/acme/api has 100 tokens"))
	f.server.RevokeInWebUI(byHand[0].ID)
	f.annotate(token, v1alpha1.ReconcileRequestAnnotation, "now")
	f.eventuallyReady(token, metav1.ConditionTrue, "")
}

func TestProjectTokensNeedANewerSelfHostedCodacy(t *testing.T) {
	t.Parallel()
	f := newCodacy(t, codacyEdition(t, "self-hosted-4.2"))
	token := f.projectToken("api", "api")
	f.create(token)
	f.eventuallyStalled(token, v1alpha1.ReasonUnsupported)
	f.Expect(readyCondition(token).Message).To(gomega.ContainSubstring("Codacy Self-hosted 5.1.0 or newer"))
	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyGone(token)
}

// The service acts and the answer is lost: no token may be left over, and where it can be told the token is used.
func TestALostAnswerIsSettled(t *testing.T) {
	operations := map[string]string{v1alpha1.KindAccountToken: "createUserApiToken", v1alpha1.KindProjectToken: "createRepositoryApiToken"}
	for _, fault := range []codacytest.FaultKind{codacytest.TimeoutAfterActing, codacytest.CutAfterActing, codacytest.Garbage} {
		for _, kind := range []string{v1alpha1.KindAccountToken, v1alpha1.KindProjectToken} {
			t.Run(fmt.Sprintf("%s/%s", fault, kind), func(t *testing.T) {
				t.Parallel()
				f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
				f.issuedCodacyToken(kind, "before")
				f.server.Fault(codacytest.Times(1, operations[kind], codacytest.Fault{Kind: fault}))
				token := f.issuedCodacyToken(kind, "lost")
				value := string(f.secret(token).Data[codacyKeys[kind]])
				f.Expect(f.server.Accepts(value)).To(gomega.BeTrue())
				f.Eventually(func() int { return len(f.minted()) }).Should(gomega.Equal(2))
				f.eventuallyNonePrevious(token)
			})
		}
	}
}

// Somebody puts the former token back, and the attempt to replace it has no answer for two days: all the while pods can take it.
func TestWhatASettledAttemptTakesOutOfTheSecretHasItsGracePeriodFromThen(t *testing.T) {
	f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
	token := f.issuedCodacyToken(v1alpha1.KindAccountToken, "api")
	first := f.secret(token).Data["CODACY_API_TOKEN"]
	f.rotate(token, "once")
	var asked atomic.Bool
	f.server.Fault(func(operation string, _ *http.Request) codacytest.Fault {
		switch {
		case operation == "createUserApiToken" && !asked.Swap(true):
			return codacytest.Fault{Kind: codacytest.CutAfterActing}
		case asked.Load():
			return codacytest.Fault{Kind: codacytest.Refuse, Status: http.StatusInternalServerError}
		default:
			return codacytest.Fault{}
		}
	})
	secret := f.secret(token)
	f.change(secret, func() { secret.Data["CODACY_API_TOKEN"] = first })
	f.Eventually(asked.Load).Should(gomega.BeTrue())

	begin := now.Now()
	defer now.SetTime(begin)
	now.SetTime(begin.Add(48 * time.Hour))
	f.server.Fault(nil)
	f.annotate(token, v1alpha1.ReconcileRequestAnnotation, "it answers again")
	f.eventuallyRevision(token, 3)
	f.Expect(token.SharedStatus().PreviousTokens[0].Revision).To(gomega.Equal(int64(1)))
	f.Expect(token.SharedStatus().PreviousTokens[0].RevokeTime.Time).To(gomega.BeTemporally(">", begin.Add(71*time.Hour)))
	f.Expect(f.accepts(first)).To(gomega.BeTrue())
}

func TestWhatMayBeSomebodyElsesIsLeftAloneUntilThatIsSaid(t *testing.T) {
	for _, way := range []string{"not mine", "revoked by hand"} {
		t.Run(way, func(t *testing.T) {
			f := newCodacy(t, codacyEdition(t, "self-hosted-16"))
			f.server.Fault(codacytest.Times(1, "createRepositoryApiToken", codacytest.Fault{Kind: codacytest.CutAfterActing}))
			token := f.projectToken("api", "api")
			f.create(token)
			f.eventuallyStalled(token, v1alpha1.ReasonAmbiguousToken)
			lost := f.minted()
			f.Expect(lost).To(gomega.HaveLen(1))
			id := strconv.FormatInt(lost[0].ID, 10)
			f.Expect(readyCondition(token).Message).To(gomega.ContainSubstring(id))
			f.Expect(token.Status.Pending.AmbiguousIDs).To(gomega.ConsistOf(v1alpha1.ServiceID(id)))

			// A deletion waits for it as well.
			doomed := f.projectToken("doomed", "web")
			f.server.Fault(codacytest.Times(1, "createRepositoryApiToken", codacytest.Fault{Kind: codacytest.CutAfterActing}))
			f.create(doomed)
			f.eventuallyStalled(doomed, v1alpha1.ReasonAmbiguousToken)
			f.Expect(k8s.Delete(f.ctx, doomed)).To(gomega.Succeed())
			f.eventuallyStalled(doomed, v1alpha1.ReasonAmbiguousToken)

			for _, stuck := range []*v1alpha1.ProjectToken{token, doomed} {
				if ambiguous := stuck.Status.Pending.AmbiguousIDs[0]; way == "not mine" {
					f.annotate(stuck, v1alpha1.NotMineAnnotation, "123, "+string(ambiguous))
				} else {
					number, err := strconv.ParseInt(string(ambiguous), 10, 64)
					f.Expect(err).NotTo(gomega.HaveOccurred())
					f.server.RevokeInWebUI(number)
					f.annotate(stuck, v1alpha1.ReconcileRequestAnnotation, "now")
				}
			}
			// As long as the lost request may still come in nothing else is minted.
			f.eventuallyReady(token, metav1.ConditionFalse, v1alpha1.ReasonSettling)
			f.touch(doomed)
			f.passRequestLifetime(token)
			f.eventuallyReady(token, metav1.ConditionTrue, "")
			f.eventuallyGone(doomed)
			f.Expect(f.server.Accepts(string(f.secret(token).Data["CODACY_PROJECT_TOKEN"]))).To(gomega.BeTrue())
			if way == "not mine" {
				f.Expect(f.minted()).To(gomega.HaveLen(3)) // The lost ones are somebody else's by the user's word.
			} else {
				f.Expect(f.minted()).To(gomega.HaveLen(1))
			}
		})
	}
}

// passRequestLifetime moves the clock to when a lost request can't come in any more, and has the resource looked at. For
// tests that are not parallel.
func (f *fixture) passRequestLifetime(t v1alpha1.Token) {
	f.t.Helper()
	now.SetTime(now.Now().Add(requestLifetime))
	f.touch(t)
}
