// Package scope_test runs operators that look after one namespace of a cluster, with the permissions that the Helm chart
// gives them for that and no others.
package scope_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/authority"
	"github.com/tokensteward/tokensteward/internal/manager"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// forbidden says whether the operator has, by its permissions, no business with a list.
func (s *scene) forbidden(list client.ObjectList, options ...client.ListOption) bool {
	s.Helper()
	operator, err := client.New(s.controlPlane.Operator, client.Options{Scheme: manager.Scheme()})
	s.Expect(err).NotTo(gomega.HaveOccurred())
	return apierrors.IsForbidden(operator.List(s.ctx, list, options...))
}

func TestWithTokenIssuersAloneNothingOfTheClusterIsNeeded(t *testing.T) {
	s := newScene(t, "namespaces={team-a}", "clusterIssuers.enabled=false")
	for _, list := range []client.ObjectList{
		&v1alpha1.ProjectTokenList{}, &v1alpha1.TokenIssuerList{}, &v1alpha1.ClusterTokenIssuerList{}, &corev1.NamespaceList{}, &corev1.SecretList{},
	} {
		s.Expect(s.forbidden(list)).To(gomega.BeTrue(), "%T", list)
	}
	s.Expect(s.forbidden(&corev1.SecretList{}, client.InNamespace(testenv.Namespace))).To(gomega.BeTrue())
	s.start("--namespaces=team-a", "--cluster-issuers=false", "--allowed-hosts="+s.host())

	// The same in every namespace, and only team-a is looked after.
	for _, namespace := range []string{"team-a", "team-b", testenv.Namespace} {
		s.putCredential(namespace)
		issuer := s.tokenIssuer(namespace)
		issuer.Spec.OrphanPolicy = v1alpha1.OrphanPolicyRevoke
		s.create(issuer)
	}
	others := []*v1alpha1.ProjectToken{s.projectToken("team-b", "web"), s.projectToken(testenv.Namespace, "web")}
	for _, other := range others {
		s.create(other)
	}
	web := s.projectToken("team-a", "web")
	s.create(web)
	s.eventually(web, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	value := s.value(web, "CODACY_PROJECT_TOKEN")
	s.Expect(s.codacy.Accepts(value)).To(gomega.BeTrue())

	// What it can't do is said where one looks.
	issuer := s.tokenIssuer("team-a")
	s.Eventually(func() string {
		s.get(issuer)
		return readyOf(issuer.Status.Conditions).Message
	}).Should(gomega.And(gomega.HavePrefix("Connected as Robot"), gomega.ContainSubstring("only reported"), gomega.ContainSubstring("--namespaces")))
	s.Expect(readyOf(issuer.Status.Conditions).Status).To(gomega.Equal(metav1.ConditionTrue))
	astray := s.projectToken("team-a", "astray")
	astray.Spec.IssuerRef = v1alpha1.IssuerReference{Kind: v1alpha1.KindClusterTokenIssuer, Name: "default"}
	s.create(astray)
	s.eventually(astray, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotServed)
	s.Expect(meta.IsStatusConditionTrue(astray.Status.Conditions, v1alpha1.ConditionStalled)).To(gomega.BeTrue())
	s.Expect(readyOf(astray.Status.Conditions).Message).To(gomega.And(gomega.ContainSubstring("TokenIssuer"), gomega.ContainSubstring("--cluster-issuers")))
	s.delete(astray)
	s.gone(astray)

	_, err := net.DialTimeout("tcp", strings.TrimPrefix(s.operator.AuthorityURL, "https://"), time.Second)
	s.Expect(err).To(gomega.HaveOccurred(), "something listens where the authority would")
	for _, o := range []client.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: testenv.Namespace, Name: authority.CertificateSecretName}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: testenv.Namespace, Name: authority.CAConfigMapName}},
	} {
		s.Expect(apierrors.IsNotFound(s.k8s.Get(s.ctx, client.ObjectKeyFromObject(o), o))).To(gomega.BeTrue(), "%T", o)
	}

	// Tokens end with their resources.
	s.delete(web)
	s.gone(web)
	s.Expect(s.codacy.Accepts(value)).To(gomega.BeFalse())
	s.Expect(s.minted()).To(gomega.BeZero())

	// A credential that somebody deletes is let go at once.
	credential := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "codacy"}}
	s.delete(credential)
	s.gone(credential)
	s.putCredential("team-a")
	again := s.projectToken("team-a", "again")
	s.create(again)
	s.eventually(again, metav1.ConditionTrue, v1alpha1.ReasonIssued)

	// In a namespace that is being deleted it stays until the tokens are revoked, in whatever order things go. Nobody
	// tells the operator but the API server, which takes nothing new there.
	s.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-a"}})
	s.delete(credential)
	s.delete(issuer)
	s.Eventually(func() string {
		s.get(issuer)
		return readyOf(issuer.Status.Conditions).Reason
	}).Should(gomega.Equal(v1alpha1.ReasonInUse))
	s.Consistently(func() error { return s.k8s.Get(s.ctx, client.ObjectKeyFromObject(credential), credential) }, "1s").Should(gomega.Succeed())
	s.Expect(s.minted()).To(gomega.Equal(1))
	s.delete(again)
	for _, o := range []client.Object{again, issuer, credential} {
		s.gone(o)
	}
	s.Expect(s.minted()).To(gomega.BeZero())

	for _, other := range others {
		s.untouched(other)
		issuer := s.tokenIssuer(other.Namespace)
		s.get(issuer)
		s.Expect(issuer.Finalizers).To(gomega.BeEmpty())
		s.Expect(issuer.Status).To(gomega.Equal(v1alpha1.IssuerStatus{ObservedGeneration: -1}))
	}
	s.quiet()
}

func TestWithClusterIssuersTheClusterIsReadAndOneNamespaceServed(t *testing.T) {
	s := newScene(t, "namespaces={team-a}")
	for _, list := range []client.ObjectList{&v1alpha1.ProjectTokenList{}, &v1alpha1.TokenIssuerList{}, &corev1.SecretList{}} {
		s.Expect(s.forbidden(list)).To(gomega.BeTrue(), "%T", list)
	}
	s.start("--namespaces=team-a")

	everybody := []v1alpha1.Grant{{
		NamespaceSelector: &v1alpha1.NamespaceSelector{}, Accounts: []v1alpha1.AccountPattern{"*"}, Projects: []v1alpha1.ProjectPattern{"*/*/*"},
	}}
	s.create(&v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.ClusterTokenIssuerSpec{
		BuiltIn: &v1alpha1.BuiltInIssuer{Accounts: []v1alpha1.Account{{Name: "alice", Access: []v1alpha1.AccessPath{"gh/acme"}}}}, Grants: everybody,
	}})
	s.putCredential(testenv.Namespace)
	codacy := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "codacy"}, Spec: v1alpha1.ClusterTokenIssuerSpec{
		IssuerSpec: v1alpha1.IssuerSpec{Codacy: s.connection()}, Grants: everybody,
	}}
	s.create(codacy)
	var others []v1alpha1.Token
	var alice *v1alpha1.AccountToken
	for _, namespace := range []string{"team-b", testenv.Namespace, "team-a"} {
		alice = &v1alpha1.AccountToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "alice"}, Spec: v1alpha1.AccountTokenSpec{Account: "alice"}}
		s.create(alice)
		others = append(others, alice)
	}
	others = others[:2]

	s.eventually(alice, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	value := s.value(alice, "API_TOKEN")
	// The cache of the authority may be a moment behind, and the API server is asked then.
	s.Expect(s.authorize(value, "/gh/acme/web")).To(gomega.Equal(http.StatusOK))
	s.Expect(s.authorize(value, "/gh/another/web")).To(gomega.Equal(http.StatusUnauthorized))
	s.delete(alice)
	s.gone(alice)
	// It is looked for in all namespaces that the operator may read, and can be told not to be there.
	s.Eventually(func() int { return s.authorize(value, "/gh/acme/web") }).Should(gomega.Equal(http.StatusUnauthorized))

	web := s.projectToken("team-a", "web")
	web.Spec.IssuerRef = v1alpha1.IssuerReference{Kind: v1alpha1.KindClusterTokenIssuer, Name: "codacy"}
	s.create(web)
	s.eventually(web, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	value = s.value(web, "CODACY_PROJECT_TOKEN")
	s.Expect(s.codacy.Accepts(value)).To(gomega.BeTrue())

	// The credential is followed in the operator's namespace.
	s.get(codacy)
	before := codacy.Status.CredentialSHA256
	s.credential = s.codacy.CreateAccountToken(s.account, nil)
	s.putCredential(testenv.Namespace)
	s.Eventually(func() string {
		s.get(codacy)
		return codacy.Status.CredentialSHA256
	}).ShouldNot(gomega.Equal(before))

	// A namespace is noticed, whether or not it is looked after.
	for _, namespace := range []string{"team-a", "team-b"} {
		s.label(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	}
	s.delete(web)
	s.gone(web)
	s.Expect(s.codacy.Accepts(value)).To(gomega.BeFalse())
	for _, other := range others {
		s.untouched(other)
	}
	s.quiet()
}

func TestANamespaceWithoutARoleEndsTheStartWithItsName(t *testing.T) {
	s := newScene(t, "namespaces={team-a}", "clusterIssuers.enabled=false")
	operator, err := testenv.StartOperator(s.ctx, s.binary, s.controlPlane.OperatorKubeconfig, "--namespaces=team-a,team-b", "--cluster-issuers=false")
	if err == nil {
		operator.Stop()
		t.Fatal("it started")
	}
	s.Expect(err.Error()).To(gomega.And(
		gomega.ContainSubstring("ended before it was ready"), gomega.ContainSubstring(`no permissions in the namespace "team-b"`),
		gomega.Not(gomega.ContainSubstring(`no permissions in the namespace "team-a"`))))
}

// authorize asks the authority whether the built-in issuer's token reaches something.
func (s *scene) authorize(value, path string) int {
	s.Helper()
	trusting, err := s.operator.Client()
	s.Expect(err).NotTo(gomega.HaveOccurred())
	defer trusting.CloseIdleConnections()
	request, err := http.NewRequestWithContext(s.ctx, http.MethodGet, s.operator.AuthorityURL+"/v1/issuers/default/authorize"+path, nil)
	s.Expect(err).NotTo(gomega.HaveOccurred())
	request.Header.Set("api-token", value)
	response, err := trusting.Do(request)
	s.Expect(err).NotTo(gomega.HaveOccurred())
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// permit gives the operator what the chart does for these values, and takes all else from it.
func (s *scene) permit(values ...string) {
	s.Helper()
	for _, kind := range []string{"clusterrolebinding", "rolebinding"} {
		output, err := s.controlPlane.Kubectl(s.ctx, "delete", kind, "--namespace="+testenv.Namespace, "tokensteward").CombinedOutput()
		s.Expect(err).NotTo(gomega.HaveOccurred(), string(output))
	}
	apply := s.controlPlane.Kubectl(s.ctx, "apply", "--server-side", "--filename=-")
	apply.Stdin = bytes.NewReader(chart(s.T, "templates/rbac.yaml", values...))
	output, err := apply.CombinedOutput()
	s.Expect(err).NotTo(gomega.HaveOccurred(), string(output))
}

// quiet: the operator asked for nothing that it may not have, and its caches for nothing that they don't hold.
func (s *scene) quiet() {
	s.Helper()
	for _, line := range strings.Split(s.operator.Log(), "\n") {
		for _, words := range []string{"forbidden", "unknown namespace", "panic", "Reconciler error"} {
			// An Event in a namespace that is being deleted is refused to everybody.
			if strings.Contains(line, words) && !strings.Contains(line, "because it is being terminated") {
				s.Errorf("the operator logged: %s", line)
			}
		}
	}
	s.Expect(s.operator.Log()).To(gomega.ContainSubstring("Issued a token"), "there is no log")
}

// untouched: nobody looks after the resource.
func (s *scene) untouched(t v1alpha1.Token) {
	s.Helper()
	s.get(t)
	s.Expect(t.GetFinalizers()).To(gomega.BeEmpty())
	s.Expect(*t.SharedStatus()).To(gomega.Equal(v1alpha1.TokenStatus{ObservedGeneration: -1})) // As it begins.
	var secret corev1.Secret
	err := s.k8s.Get(s.ctx, client.ObjectKey{Namespace: t.GetNamespace(), Name: v1alpha1.SecretName(t)}, &secret)
	s.Expect(apierrors.IsNotFound(err)).To(gomega.BeTrue(), fmt.Sprint(err))
}
