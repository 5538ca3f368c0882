package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/builtin"
	"github.com/tokensteward/tokensteward/internal/manager"
	"github.com/tokensteward/tokensteward/internal/testenv"
	"github.com/tokensteward/tokensteward/internal/token"
)

// The roles of a tenant. Here nobody aggregates ClusterRoles, so edit itself is empty, and these are what it is made of.
var editRoles = []string{"tokensteward-view", "tokensteward-edit", "system:aggregate-to-view", "system:aggregate-to-edit"}

// tenant is a client of a user who may edit what is in the fixture's namespace: tokens, TokenIssuers, Secrets and pods.
// More rules give the user, and the service accounts of the namespace, what somebody else let them do in it.
func (f *fixture) tenant(more ...rbacv1.PolicyRule) client.Client {
	f.t.Helper()
	name := "tenant-of-" + f.namespace
	users := []rbacv1.Subject{
		{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name},
		{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:serviceaccounts:" + f.namespace},
	}
	bind := func(kind, role string) {
		f.create(&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, GenerateName: "tenant-"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: role}, Subjects: users,
		})
	}
	for _, role := range editRoles {
		bind("ClusterRole", role)
	}
	if more != nil {
		f.create(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "more"}, Rules: more})
		bind("Role", "more")
	}
	tenant := impersonating(name)
	f.Eventually(func() error { // The API server takes a moment to follow.
		return errors.Join(
			tenant.List(f.ctx, &corev1.SecretList{}, client.InNamespace(f.namespace)),
			tenant.Create(f.ctx, f.object("AccountToken", "probe", "account: nobody"), client.DryRunAll),
		)
	}).Should(gomega.Succeed())
	return tenant
}

func impersonating(user string, groups ...string) client.Client {
	config := rest.CopyConfig(controlPlane.Admin)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	c, err := client.New(config, client.Options{Scheme: manager.Scheme()})
	if err != nil {
		panic(err)
	}
	return c
}

func (f *fixture) expectForbidden(err error) {
	f.t.Helper()
	f.Expect(apierrors.IsForbidden(err)).To(gomega.BeTrue(), "%v", err)
}

// expectNoSecret says that a resource was given nothing.
func (f *fixture) expectNoSecret(t v1alpha1.Token) {
	f.t.Helper()
	f.Expect(apierrors.IsNotFound(k8s.Get(f.ctx, client.ObjectKey{Namespace: f.namespace, Name: v1alpha1.SecretName(t)}, &corev1.Secret{}))).To(gomega.BeTrue())
	status := t.SharedStatus()
	f.Expect(status.Token == nil && status.Pending == nil && len(status.PreviousTokens) == 0 && status.LastRevision == 0).To(gomega.BeTrue(), "something was minted")
}

// expectUntouched says that nobody wrote to a Secret since.
func (f *fixture) expectUntouched(secret *corev1.Secret) {
	f.t.Helper()
	var after corev1.Secret
	f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(secret), &after)).To(gomega.Succeed())
	f.Expect(after.ResourceVersion).To(gomega.Equal(secret.ResourceVersion), "the Secret %s was touched", secret.Name)
}

// The attacker may edit one namespace; a token, and the issuer's grant, are another one's.
func TestATenantGetsNoTokenOfAnotherNamespace(t *testing.T) {
	t.Parallel()
	victim := newFixture(t)
	alice := victim.issuedAccountToken("alice")
	theirs := victim.secret(alice)
	f := newFixture(t)
	tenant := f.tenant()

	f.expectForbidden(tenant.Get(f.ctx, client.ObjectKeyFromObject(theirs), &corev1.Secret{}))
	f.expectForbidden(tenant.List(f.ctx, &corev1.SecretList{}))
	f.expectForbidden(tenant.Create(f.ctx, victim.accountToken("mine")))
	f.expectForbidden(tenant.Delete(f.ctx, alice.DeepCopy()))

	// Of the issuer that grants it to the other namespace.
	mine := f.accountToken("alice")
	mine.Spec.IssuerRef.Name = victim.issuer.Name
	f.Expect(tenant.Create(f.ctx, mine)).To(gomega.Succeed())
	f.eventuallyReady(mine, metav1.ConditionFalse, v1alpha1.ReasonNotGranted)
	f.expectNoSecret(mine)

	// A Secret that says that it is the other resource's.
	forged := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: f.namespace, Name: "forged", Labels: theirs.Labels, Annotations: theirs.Annotations,
		},
		Data: map[string][]byte{"API_TOKEN": []byte("give me the next one")},
	}
	f.Expect(tenant.Create(f.ctx, forged)).To(gomega.Succeed())
	over := f.accountToken("forged")
	f.Expect(tenant.Create(f.ctx, over)).To(gomega.Succeed())
	f.eventuallyStalled(over, v1alpha1.ReasonSecretConflict)
	victim.rotate(alice, "once")
	f.expectUntouched(forged)
	f.Expect(tenant.Delete(f.ctx, over)).To(gomega.Succeed())
	f.eventuallyGone(over)
	f.expectUntouched(forged)
	victim.expectStatus(victim.secret(alice).Data["API_TOKEN"], http.StatusOK)
}

// The attacker may edit the namespace, to which the issuer grants alice's tokens and those of gh/acme's repositories.
func TestATenantGetsNothingThatIsNotGranted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) {
		s.BuiltIn.Accounts = append(s.BuiltIn.Accounts, v1alpha1.Account{Name: "root", Access: []v1alpha1.AccessPath{"gh/acme", "gh/evil"}})
	})
	tenant := f.tenant()
	project := func(provider, organization string) v1alpha1.Token {
		token := f.projectToken(strings.Trim("of-"+provider+"-"+organization, "."), "api")
		token.Spec.Project.Provider, token.Spec.Project.Organization = provider, v1alpha1.PathSegment(organization)
		return token
	}
	account := func(resource, name string) v1alpha1.Token {
		token := f.accountToken(resource)
		token.Spec.Account = name
		return token
	}
	for _, test := range []struct {
		token  v1alpha1.Token
		reason string
	}{
		{account("root", "root"), v1alpha1.ReasonNotGranted},
		{account("star", "*"), v1alpha1.ReasonUnknownAccount},
		{account("capitals", "Alice"), v1alpha1.ReasonUnknownAccount},
		{account("blank", "alice "), v1alpha1.ReasonUnknownAccount},
		{account("path", "gh/acme"), v1alpha1.ReasonUnknownAccount},
		{project("gh", "evil"), v1alpha1.ReasonNotGranted},
		{project("gl", "acme"), v1alpha1.ReasonNotGranted},
		{project("ghe", "acme"), v1alpha1.ReasonNotGranted},
		{project("gh", "acme-evil"), v1alpha1.ReasonNotGranted},
		{project("gh", "acme."), v1alpha1.ReasonNotGranted},
	} {
		f.Expect(tenant.Create(f.ctx, test.token)).To(gomega.Succeed())
		f.eventuallyReady(test.token, metav1.ConditionFalse, test.reason)
		f.expectNoSecret(test.token)
	}

	// Nor can the grants be changed, or what they go by, or the token that there is.
	issuer := f.issuer.DeepCopy()
	f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(issuer), issuer)).To(gomega.Succeed())
	issuer.Spec.Grants[0].Accounts = []v1alpha1.AccountPattern{"*"}
	f.expectForbidden(tenant.Update(f.ctx, issuer))
	own := f.issuer.DeepCopy()
	own.ObjectMeta = metav1.ObjectMeta{Name: f.namespace + "-own"}
	f.expectForbidden(tenant.Create(f.ctx, own))
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.namespace}}
	f.expectForbidden(tenant.Patch(f.ctx, namespace, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"tier":"ci"}}}`))))
	alice := f.issuedAccountToken("alice")
	alice.Spec.Account = "root"
	f.Expect(tenant.Update(f.ctx, alice)).To(gomega.MatchError(gomega.ContainSubstring("account is immutable")))
	status, _ := f.authorize(f.issuer.Name, "api-token", f.secret(alice).Data["API_TOKEN"], "/gh/evil/api")
	f.Expect(status).To(gomega.Equal(http.StatusUnauthorized))
}

// The attacker may edit the namespace, and by mistake was let write the status of all that is in it. It writes the hash of a
// token of its own making there, under its own name and as a service account with the operator's name.
func TestATenantWhoMayWriteAStatusForgesNoToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.issuedAccountToken("alice")
	mayWrite := rbacv1.PolicyRule{
		APIGroups: []string{v1alpha1.GroupVersion.Group}, Verbs: []string{"get", "update", "patch"},
		Resources: []string{"accounttokens/status", "projecttokens/status", "tokenissuers/status"},
	}
	attempt, err := builtin.Issuer{}.Prepare(f.ctx, issuer.Request{
		Kind: v1alpha1.KindAccountToken, UID: alice.UID, Revision: 9, Now: now.Now(), Lifetime: time.Hour,
	})
	f.Expect(err).NotTo(gomega.HaveOccurred())
	value := []byte(attempt.Value.Reveal())
	issued.Add("a token of an attacker's making", string(value))
	f.expectStatus(value, http.StatusUnauthorized)
	forged := v1alpha1.IssuedToken{
		ID: attempt.Record.ID, Revision: 9, SHA256: attempt.Record.SHA256, IssueTime: attempt.Record.StartTime, ExpirationTime: attempt.Record.ExpirationTime,
	}
	const refusal = "only the operator writes the status"
	for _, attacker := range []client.Client{
		f.tenant(mayWrite),
		impersonating("system:serviceaccount:"+f.namespace+":tokensteward", "system:serviceaccounts", "system:serviceaccounts:"+f.namespace, "system:authenticated"),
	} {
		forgery := func() *v1alpha1.AccountToken {
			var token v1alpha1.AccountToken
			f.Expect(attacker.Get(f.ctx, client.ObjectKeyFromObject(alice), &token)).To(gomega.Succeed())
			token.Status.Token = &forged
			return &token
		}
		f.Eventually(func() error { return attacker.Status().Update(f.ctx, forgery(), client.DryRunAll) }).Should(gomega.MatchError(gomega.ContainSubstring(refusal)))
		f.Expect(attacker.Status().Update(f.ctx, forgery())).To(gomega.MatchError(gomega.ContainSubstring(refusal)))
		f.Expect(attacker.Status().Patch(f.ctx, forgery(), client.MergeFrom(alice))).To(gomega.MatchError(gomega.ContainSubstring(refusal)))
		applied := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": v1alpha1.GroupVersion.String(), "kind": v1alpha1.KindAccountToken,
			"metadata": map[string]any{"namespace": f.namespace, "name": "alice"},
			"status":   map[string]any{"ownerUID": string(alice.UID), "pending": map[string]any{"revision": int64(9), "sha256": attempt.Record.SHA256, "startTime": attempt.Record.StartTime.UTC().Format(time.RFC3339)}},
		}}
		f.Expect(attacker.Status().Apply(f.ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner("attacker"), client.ForceOwnership)).
			To(gomega.MatchError(gomega.ContainSubstring(refusal)))
		f.expectStatus(value, http.StatusUnauthorized)
	}

	// What comes along with the resource itself is no status.
	tenant := impersonating("tenant-of-" + f.namespace)
	along := f.accountToken("along")
	along.Spec.Suspend = true // So that the operator mints nothing that could be taken for it.
	along.Status.OwnerUID, along.Status.Token = alice.UID, &forged
	f.Expect(tenant.Create(f.ctx, along)).To(gomega.Succeed())
	f.eventuallyReady(along, metav1.ConditionFalse, v1alpha1.ReasonSuspended)
	along.Status.OwnerUID, along.Status.Token = along.UID, &forged
	f.Expect(tenant.Update(f.ctx, along)).To(gomega.Succeed())
	f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(along), along)).To(gomega.Succeed())
	f.Expect(along.Status.Token).To(gomega.BeNil())
	f.expectStatus(value, http.StatusUnauthorized)
	f.expectStatus(f.secret(alice).Data["API_TOKEN"], http.StatusOK)
}

// The attacker may edit one namespace, and knows the names of the issuers and of their credentials Secrets: of a
// ClusterTokenIssuer, in the operator's namespace, and of a TokenIssuer in another one.
func TestATenantDoesNotGetAtTheCredentialOfAnIssuerElsewhere(t *testing.T) {
	victim := newNamespacedCodacy(t, codacyEdition(t, "cloud-2026-08"))
	victim.theirs()
	f := newNamespace(t)
	f.issuer = victim.issuer
	tenant := f.tenant()
	for _, namespace := range []string{victim.namespace, testenv.Namespace} {
		f.expectForbidden(tenant.List(f.ctx, &corev1.SecretList{}, client.InNamespace(namespace)))
	}
	victim.putCredential(testenv.Namespace, "credentials-of-"+victim.namespace, victim.credential)
	minted := len(victim.minted())
	victim.server.ResetRequests()

	for _, name := range []string{"credentials", "credentials-of-" + victim.namespace} {
		stealing := victim.tokenIssuer(name)
		stealing.Namespace, stealing.Name = f.namespace, name
		f.Expect(tenant.Create(f.ctx, stealing)).To(gomega.Succeed())
		f.Eventually(reasonOf(f, stealing)).Should(gomega.Equal(v1alpha1.ReasonCredentialsMissing))
	}
	for kind, reason := range map[string]string{v1alpha1.KindTokenIssuer: v1alpha1.ReasonIssuerNotFound, v1alpha1.KindClusterTokenIssuer: v1alpha1.ReasonIssuerNotFound} {
		token := f.projectToken("of-a-"+strings.ToLower(kind), "api")
		token.Spec.IssuerRef = v1alpha1.IssuerReference{Kind: kind, Name: "robot"}
		f.Expect(tenant.Create(f.ctx, token)).To(gomega.Succeed())
		f.eventuallyReady(token, metav1.ConditionFalse, reason)
		f.expectNoSecret(token)
	}
	f.Expect(victim.server.Requests()).To(gomega.BeEmpty())
	f.Expect(victim.minted()).To(gomega.HaveLen(minted))
}

// theirs makes a token of the namespace's own issuer, which is ready then.
func (f *codacyFixture) theirs() {
	f.t.Helper()
	token := ofTokenIssuer(f.codacyToken(v1alpha1.KindProjectToken, "theirs"))
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionTrue, "")
}

// reasonOf is why a TokenIssuer is ready or not.
func reasonOf(f *fixture, i *v1alpha1.TokenIssuer) func() string {
	return func() string {
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(i), i)).To(gomega.Succeed())
		if ready := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
			return ready.Reason
		}
		return ""
	}
}

// The attacker may edit tokens and issuers of a namespace, and can't read Secrets. It names the token of a service account:
// as an issuer's credential, to have it sent away, and as the Secret of a resource, to have it overwritten or taken over.
func TestATokenOfAServiceAccountIsNeitherSentNorWrittenOver(t *testing.T) {
	f := startCodacy(t, codacyEdition(t, "cloud-2026-08"), allowedHost)
	f.issuer = &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}
	f.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "deployer"}})
	theirs := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "deployer", Annotations: map[string]string{corev1.ServiceAccountNameKey: "deployer"}},
		Type:       corev1.SecretTypeServiceAccountToken,
		Data:       map[string][]byte{corev1.ServiceAccountTokenKey: []byte("a-token-of-a-service-account")},
	}
	issued.Add("a service account's token", "a-token-of-a-service-account")
	f.create(theirs)
	stealing := f.tokenIssuer("deployer")
	stealing.Spec.Codacy.CredentialsSecretRef.Key = corev1.ServiceAccountTokenKey
	tenant := f.tenant()
	f.Expect(tenant.Create(f.ctx, stealing)).To(gomega.Succeed())
	f.Eventually(reasonOf(f.fixture, stealing)).Should(gomega.Equal(v1alpha1.ReasonCredentialsMissing))
	f.Expect(stealing.Status.CredentialSHA256).To(gomega.BeEmpty())
	f.Expect(stealing.Status.CredentialRefusal).To(gomega.BeNil(), "a hash of it is shown")
	f.Expect(f.server.Requests()).To(gomega.BeEmpty())
	f.expectUntouched(theirs)

	f.putCredential(f.namespace, "credentials", f.credential)
	f.Eventually(func() error {
		stealing.Spec.Codacy.CredentialsSecretRef = v1alpha1.SecretKeyReference{Name: "credentials", Key: v1alpha1.DefaultCredentialsKey}
		err := tenant.Update(f.ctx, stealing)
		if apierrors.IsConflict(err) {
			_ = tenant.Get(f.ctx, client.ObjectKeyFromObject(stealing), stealing)
		}
		return err
	}).Should(gomega.Succeed())
	f.Eventually(reasonOf(f.fixture, stealing)).Should(gomega.Equal(v1alpha1.ReasonAvailable))
	over := ofTokenIssuer(f.codacyToken(v1alpha1.KindProjectToken, "deployer"))
	f.Expect(tenant.Create(f.ctx, over)).To(gomega.Succeed())
	f.eventuallyStalled(over, v1alpha1.ReasonSecretConflict)
	adopting := ofTokenIssuer(f.codacyToken(v1alpha1.KindAccountToken, "adopting"))
	adopting.SharedSpec().Secret = &v1alpha1.SecretTarget{Name: "deployer", TokenKey: corev1.ServiceAccountTokenKey}
	adopting.SharedSpec().Adopt = &v1alpha1.Adoption{SecretRef: v1alpha1.AdoptedSecretReference{Name: "deployer"}}
	f.Expect(tenant.Create(f.ctx, adopting)).To(gomega.Succeed())
	f.eventuallyStalled(adopting, v1alpha1.ReasonAdoptionRefused)
	for _, token := range []v1alpha1.Token{over, adopting} {
		f.Expect(tenant.Delete(f.ctx, token)).To(gomega.Succeed())
		f.eventuallyGone(token)
	}
	f.expectUntouched(theirs)
	f.Expect(f.minted()).To(gomega.BeEmpty())
}

// The attacker may edit issuers of a namespace and read their status, and can't read Secrets. It names one as a credential, has
// the service refuse it, and tries what it could be against any hash that it finds.
func TestAStatusTellsNoHashOfASecretThatIsNoCredential(t *testing.T) {
	f := startCodacy(t, codacyEdition(t, "cloud-2026-08"), allowedHost)
	const password = "correct-horse-battery-staple"
	issued.Add("a password", password)
	issued.Add("the hash of a password", token.SHA256([]byte(password)))
	f.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "database"}, StringData: map[string]string{"password": password},
	})
	guessing := f.tokenIssuer("database")
	guessing.Spec.Codacy.CredentialsSecretRef.Key = "password"
	f.Expect(f.tenant().Create(f.ctx, guessing)).To(gomega.Succeed())
	f.Eventually(reasonOf(f.fixture, guessing)).Should(gomega.Equal(v1alpha1.ReasonCredentialsRefused))
	f.Expect(guessing.Status.CredentialSHA256).To(gomega.BeEmpty())
	f.Expect(guessing.Status.CredentialRefusal).To(gomega.BeNil(), "a hash of it is shown")
}

// The attacker may edit tokens of a namespace, in which an issuer has its credential.
func TestATokenIsNotWrittenOverTheCredentialOfAnIssuer(t *testing.T) {
	f := newNamespacedCodacy(t, codacyEdition(t, "cloud-2026-08"))
	tenant := f.tenant()
	f.theirs() // So that the issuer is ready, and holds its credential.
	var credential corev1.Secret
	f.Expect(k8s.Get(f.ctx, client.ObjectKey{Namespace: f.namespace, Name: "credentials"}, &credential)).To(gomega.Succeed())
	for kind, key := range map[string]string{v1alpha1.KindAccountToken: "", v1alpha1.KindProjectToken: v1alpha1.DefaultCredentialsKey} {
		over := ofTokenIssuer(f.codacyToken(kind, "over"))
		over.SharedSpec().Secret = &v1alpha1.SecretTarget{Name: "credentials", TokenKey: key}
		f.Expect(tenant.Create(f.ctx, over)).To(gomega.Succeed())
		f.eventuallyStalled(over, v1alpha1.ReasonSecretConflict)
		f.Expect(tenant.Delete(f.ctx, over)).To(gomega.Succeed())
		f.eventuallyGone(over)
	}
	f.expectUntouched(&credential)
	f.Expect(f.server.Accepts(f.credential.Value.Reveal())).To(gomega.BeTrue())
	f.Expect(f.minted()).To(gomega.HaveLen(1))
}

// The attacker may edit TokenIssuers, listens at a host of its own, and writes that host in every way that may pass for an
// allowed one.
func TestACredentialIsNotSentToAHostOfATenantsOwn(t *testing.T) {
	f := newNamespace(t)
	tenant := f.tenant()
	listener, err := (&net.ListenConfig{}).Listen(f.ctx, "tcp", "127.0.0.1:0")
	f.Expect(err).NotTo(gomega.HaveOccurred())
	defer listener.Close()
	var connections atomic.Int32
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			_ = connection.Close()
		}
	}()
	own := listener.Addr().String()
	f.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "codacy"},
		StringData: map[string]string{v1alpha1.DefaultCredentialsKey: "a-credential-of-20-letters"},
	})
	issued.Add("a credential that is sent nowhere", "a-credential-of-20-letters")
	_, port, _ := strings.Cut(own, ":")
	refusedByTheSchema := 0
	for i, address := range []string{
		"https://" + own, "https://localhost:" + port, "https://" + own + "/" + allowedHost, "https://" + own + "/app.codacy.com",
		"https://" + allowedHost + ".localhost:" + port, "https://" + strings.Split(allowedHost, ":")[0] + ".localhost",
		"https://" + allowedHost + "0", "https://127.0.0.1", "https://127.1:" + strings.Split(allowedHost, ":")[1],
		// What no URL of the schema can have.
		"https://" + allowedHost + "@" + own, "https://" + allowedHost + ":x@" + own, "https://" + own + "#@" + allowedHost, "https://" + own + "?@" + allowedHost,
		"https://" + own + "\\@" + allowedHost, "https://" + allowedHost + "\t." + own, "https://" + allowedHost + "\n@" + own,
		"http://" + allowedHost, "https:" + own, "//" + own, "https://[::1]:" + port, "HTTPS://" + own,
	} {
		i := &v1alpha1.TokenIssuer{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: fmt.Sprintf("own-%d", i)},
			Spec: v1alpha1.TokenIssuerSpec{IssuerSpec: v1alpha1.IssuerSpec{Codacy: &v1alpha1.CodacyIssuer{
				URL: address, CredentialsSecretRef: v1alpha1.SecretKeyReference{Name: "codacy"},
			}}},
		}
		if err := tenant.Create(f.ctx, i); apierrors.IsInvalid(err) {
			refusedByTheSchema++
			continue
		} else if err != nil {
			t.Errorf("%q: %v", address, err)
			continue
		}
		f.Eventually(reasonOf(f, i)).Should(gomega.Equal(v1alpha1.ReasonHostNotAllowed), address)
	}
	f.Expect(refusedByTheSchema).To(gomega.BeNumerically(">=", 12))
	f.Expect(connections.Load()).To(gomega.BeZero())
	var untouched corev1.Secret
	f.Expect(k8s.Get(f.ctx, client.ObjectKey{Namespace: f.namespace, Name: "codacy"}, &untouched)).To(gomega.Succeed())
	f.Expect(untouched.Finalizers).To(gomega.BeEmpty())
}

// The attacker may edit tokens and Secrets, and knows the id of a stranger's token in the same repository. It says in every
// annotation that the operator writes that this token is its own.
func TestAStrangersTokenIsNotTakenByForgedAnnotations(t *testing.T) {
	t.Parallel()
	for name, label := range map[string]string{"tokens": v1alpha1.ManagedTokens, "credentials": v1alpha1.ManagedCredentials} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
			tenant := f.tenant()
			stranger := f.server.CreateRepositoryToken("gh", "acme", "api", "another-team", nil)
			id := strconv.FormatInt(stranger.ID, 10)
			forge := func(secret *corev1.Secret) {
				metav1.SetMetaDataLabel(&secret.ObjectMeta, v1alpha1.ManagedLabel, label)
				metav1.SetMetaDataAnnotation(&secret.ObjectMeta, v1alpha1.TokenIDAnnotation, id)
				metav1.SetMetaDataAnnotation(&secret.ObjectMeta, v1alpha1.RevisionAnnotation, "1")
				metav1.SetMetaDataAnnotation(&secret.ObjectMeta, v1alpha1.TemplatedAnnotation, "key:CODACY_PROJECT_TOKEN")
			}
			forged := &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "forged"},
				Data:       map[string][]byte{"CODACY_PROJECT_TOKEN": []byte("0123456789abcdef0123456789abcdef")},
			}
			forge(forged)
			f.Expect(tenant.Create(f.ctx, forged)).To(gomega.Succeed())
			adopting := f.adopting(v1alpha1.KindProjectToken, "forged")
			f.Expect(tenant.Create(f.ctx, adopting)).To(gomega.Succeed())
			f.eventuallyStalled(adopting, v1alpha1.ReasonAdoptionRefused)
			f.Expect(tenant.Delete(f.ctx, adopting)).To(gomega.Succeed())
			f.eventuallyGone(adopting)

			// On the Secret of a token that there is, through a rotation and to its end.
			token := f.projectToken("token", "api")
			f.Expect(tenant.Create(f.ctx, token)).To(gomega.Succeed())
			f.eventuallyReady(token, metav1.ConditionTrue, "")
			secret := f.secret(token)
			f.change(secret, func() { forge(secret) })
			f.rotate(token, "once")
			f.Expect(token.Status.Token.ID).NotTo(gomega.Equal(id))
			f.Expect(token.Status.PreviousTokens[0].ID).NotTo(gomega.Equal(id))
			secret = f.secret(token)
			f.change(secret, func() { forge(secret) })
			f.Expect(tenant.Delete(f.ctx, token)).To(gomega.Succeed())
			f.eventuallyGone(token)
			f.Expect(f.minted()).To(gomega.BeEmpty())
			f.Expect(f.server.Accepts(stranger.Value.Reveal())).To(gomega.BeTrue(), "a stranger's token was revoked")
		})
	}
}

// The attacker may edit tokens and Secrets, and kept a copy of everything that there was before the token was revoked.
// Not parallel: it moves the clock of the whole suite.
func TestARevokedTokenIsNotRevivedByWhatWasKeptOfIt(t *testing.T) {
	f := newFixture(t)
	begin := now.Now()
	defer now.SetTime(begin)
	tenant := f.tenant()
	// Replaced, and put back into the Secret.
	token := f.accountToken("alice")
	token.Spec.Rotation = &v1alpha1.Rotation{GracePeriod: &metav1.Duration{}}
	f.Expect(tenant.Create(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	first := f.secret(token)
	f.rotate(token, "once")
	now.SetTime(begin.Add(time.Hour))
	f.touch(token)
	f.eventuallyNonePrevious(token)
	f.eventuallyRefused(first.Data["API_TOKEN"])
	secret := f.secret(token)
	f.change(secret, func() { secret.Data, secret.Annotations = first.Data, first.Annotations })
	f.eventuallyRevision(token, 3)
	f.expectStatus(first.Data["API_TOKEN"], http.StatusUnauthorized)
	f.expectStatus(f.secret(token).Data["API_TOKEN"], http.StatusOK)

	// Deleted, and created anew with its status, its Secret, its finalizer and what it says of its owner.
	last, kept := f.secret(token), token.DeepCopy()
	f.Expect(tenant.Delete(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyGone(token)
	f.eventuallyRefused(last.Data["API_TOKEN"])
	again := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: last.Name, Labels: last.Labels, Annotations: last.Annotations, OwnerReferences: last.OwnerReferences},
		Data:       last.Data,
	}
	f.Expect(tenant.Create(f.ctx, again)).To(gomega.Succeed())
	revived := &v1alpha1.AccountToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: kept.Name, Finalizers: kept.Finalizers, Annotations: kept.Annotations, UID: kept.UID},
		Spec:       kept.Spec, Status: kept.Status,
	}
	f.Expect(tenant.Create(f.ctx, revived)).To(gomega.Succeed())
	f.Expect(revived.UID).NotTo(gomega.Equal(kept.UID))
	f.eventuallyStalled(revived, v1alpha1.ReasonSecretConflict)
	f.expectStatus(last.Data["API_TOKEN"], http.StatusUnauthorized)
	f.change(again, func() {
		owner := again.Annotations[v1alpha1.OwnerAnnotation]
		again.Annotations[v1alpha1.OwnerAnnotation] = owner[:strings.LastIndex(owner, "/")+1] + string(revived.UID)
	})
	f.annotate(revived, v1alpha1.ReconcileRequestAnnotation, "now")
	f.eventuallyReady(revived, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	f.expectStatus(last.Data["API_TOKEN"], http.StatusUnauthorized)
	f.expectStatus(f.secret(revived).Data["API_TOKEN"], http.StatusOK)
}

// The attacker may edit tokens and can't read Secrets. It has a template fail for some values of the token and not for others,
// and looks for a difference.
func TestATemplateTellsItsAuthorNothingOfTheToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.issuedAccountToken("alice")
	value := string(f.secret(alice).Data["API_TOKEN"])
	half := value[:4] + "V" // What comes after it is random.
	// The placeholder that a template is tried with is in neither.
	below, above := fmt.Sprintf(`lt .Token %q`, half), fmt.Sprintf(`and (ge .Token %q) (lt .Token "tsz")`, half)
	shown := map[string]*v1alpha1.AccountTokenStatus{}
	for name, condition := range map[string]string{"below": below, "above": above} {
		f.change(alice, func() {
			alice.Spec.Secret = &v1alpha1.SecretTarget{Template: &v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{
				"oracle": v1alpha1.TemplateText(`{{ if ` + condition + ` }}{{ indent 99 .Token }}{{ else }}` + name + `{{ end }}`),
			}}}
		})
		if (value < half) == (name == "above") {
			f.Eventually(func() string { return string(f.secret(alice).Data["oracle"]) }).Should(gomega.Equal(name))
		}
		f.eventuallyReady(alice, metav1.ConditionTrue, v1alpha1.ReasonIssued)
		told := alice.Status.DeepCopy()
		told.ObservedGeneration = 0
		for i := range told.Conditions {
			told.Conditions[i].ObservedGeneration = 0
		}
		shown[name] = told
	}
	f.Expect(shown["below"]).To(gomega.Equal(shown["above"]), "the status tells which half the token is in")
	f.eventuallyRevision(alice, 1)
	f.Eventually(f.eventReasons).Should(gomega.ConsistOf("Issued"))
}

// The attacker may edit tokens and Secrets, and writes what drives a terminal, or begins a line of the log, wherever the
// operator shows what it found.
func TestWhatATenantWritesDrivesNeitherALogNorATerminal(t *testing.T) {
	t.Parallel()
	f := newCodacy(t, codacyEdition(t, "cloud-2025-07"))
	tenant := f.tenant()
	loud := "\x1b]0;owned\x07\x1b[2J\x1b[1A\r\n" + `{"level":"info","msg":"Revoked tokens","name":"forged","namespace":"` + f.namespace + `"}` + "\n\u202e\u0085\u2028" + strings.Repeat("x", 60_000)
	value := f.server.CreateAccountToken(f.account, nil).Value.Reveal()
	for name, test := range map[string]struct {
		secret func(*corev1.Secret)
		reason string
	}{
		"owner": {func(s *corev1.Secret) { s.Annotations = map[string]string{v1alpha1.OwnerAnnotation: loud} }, v1alpha1.ReasonSecretConflict},
		"manager": {func(s *corev1.Secret) {
			s.Annotations = map[string]string{"app.kubernetes.io/managed-by": loud}
		}, v1alpha1.ReasonSecretManagedElsewhere},
		"controller": {func(s *corev1.Secret) {
			yes := true
			s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: loud, Name: loud, UID: "1", Controller: &yes}}
		}, v1alpha1.ReasonSecretManagedElsewhere},
	} {
		f.handmadeSecret("loud-"+name, "CODACY_API_TOKEN", value, test.secret)
		token := f.adopting(v1alpha1.KindAccountToken, "loud-"+name)
		token.SetAnnotations(map[string]string{v1alpha1.ReconcileRequestAnnotation: loud, v1alpha1.NotMineAnnotation: loud})
		f.Expect(tenant.Create(f.ctx, token)).To(gomega.Succeed())
		f.eventuallyStalled(token, test.reason)
		for _, condition := range token.SharedStatus().Conditions {
			f.expectTame(condition.Message)
		}
		f.Eventually(func() []string { return f.notesOn("loud-" + name) }).ShouldNot(gomega.BeEmpty())
		for _, note := range f.notesOn("loud-" + name) {
			f.expectTame(note)
		}
		f.Expect(f.logged("loud-" + name)).NotTo(gomega.BeEmpty())
	}
	account := f.accountToken("loud-account")
	account.Spec.Account = loud[:250]
	f.Expect(tenant.Create(f.ctx, account)).To(gomega.Succeed())
	f.eventuallyStalled(account, v1alpha1.ReasonAccountMismatch)
	f.expectTame(readyCondition(account).Message)
	f.Expect(f.logged("forged")).To(gomega.BeEmpty(), "a tenant wrote a line of the log")
	f.expectTameButForLines(logs.String())
}

func (f *fixture) expectTame(text string) {
	f.t.Helper()
	f.Expect(text).NotTo(gomega.ContainSubstring("\n"))
	f.expectTameButForLines(text)
	f.Expect(len(text)).To(gomega.BeNumerically("<", 1024))
}

func (f *fixture) expectTameButForLines(text string) {
	f.t.Helper()
	at := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) })
	f.Expect(at).To(gomega.Equal(-1), "a character that drives a terminal")
}

// notesOn are what Events say of a resource.
func (f *fixture) notesOn(name string) (notes []string) {
	var list eventsv1.EventList
	f.Expect(k8s.List(f.ctx, &list, client.InNamespace(f.namespace))).To(gomega.Succeed())
	for i := range list.Items {
		if list.Items[i].Regarding.Name == name {
			notes = append(notes, list.Items[i].Note)
		}
	}
	return notes
}

// isOurs says whether the operator has any business with a Secret of these labels.
func isOurs(of map[string]string) bool {
	return slices.Contains([]string{v1alpha1.ManagedTokens, v1alpha1.ManagedCredentials}, of[v1alpha1.ManagedLabel])
}

// askedForForeignSecrets names the lists and watches of the operator so far that ask for more than its own Secrets, or for
// more than one by its name.
func askedForForeignSecrets() error {
	requestsMu.Lock()
	defer requestsMu.Unlock()
	if len(ofSecrets) == 0 {
		return errors.New("no list of Secrets was ever seen, so nothing was checked")
	}
	var foreign []error
	for _, asked := range ofSecrets {
		query := asked.Query()
		byName, err := fields.ParseSelector(query.Get("fieldSelector"))
		if err != nil {
			return err
		}
		if _, one := byName.RequiresExactMatch("metadata.name"); one && strings.Contains(asked.Path, "/namespaces/") {
			continue
		}
		byLabel, err := labels.Parse(query.Get("labelSelector"))
		if err != nil {
			return err
		}
		for _, of := range []labels.Set{nil, {"app": "web"}, {v1alpha1.ManagedLabel: ""}, {v1alpha1.ManagedLabel: "false"}} {
			if byLabel.Matches(of) {
				foreign = append(foreign, fmt.Errorf("the operator asked for all Secrets: %s", asked))
				break
			}
		}
	}
	return errors.Join(foreign...)
}

// Of what the operator may read it asks only for what is its own. What it asks after this test is looked at when the suite ends.
func TestTheOperatorListsAndWatchesNoSecretsButItsOwn(t *testing.T) {
	f := newFixture(t)
	f.issuedAccountToken("alice")
	foreign := f.accountToken("foreign") // In whose way another Secret is, which is watched.
	f.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "foreign"}})
	f.create(foreign)
	f.eventuallyStalled(foreign, v1alpha1.ReasonSecretConflict)
	f.Expect(askedForForeignSecrets()).To(gomega.Succeed())
}

// The attacker has the operator look at Secrets that are not its own, to have them in its memory.
func TestTheCacheHoldsNoSecretThatIsNotOurs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	tenant := f.tenant()
	foreign := []*corev1.Secret{
		{ObjectMeta: metav1.ObjectMeta{Name: "plain"}},
		{ObjectMeta: metav1.ObjectMeta{Name: "marked", Labels: map[string]string{v1alpha1.ManagedLabel: "false"}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "owned", Annotations: map[string]string{v1alpha1.OwnerAnnotation: "x/AccountToken/y/z/1"}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "tls"}, Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": {}, "tls.key": {}}},
	}
	for _, secret := range foreign {
		secret.Namespace = f.namespace
		f.Expect(tenant.Create(f.ctx, secret)).To(gomega.Succeed())
		token := f.accountToken(secret.Name)
		f.Expect(tenant.Create(f.ctx, token)).To(gomega.Succeed())
		f.eventuallyStalled(token, v1alpha1.ReasonSecretConflict)
	}
	alice := f.issuedAccountToken("alice") // Later than the others, so that the cache has come past them.
	f.Eventually(func() error {
		return cached.Get(f.ctx, client.ObjectKey{Namespace: f.namespace, Name: "alice"}, &corev1.Secret{})
	}).Should(gomega.Succeed())
	for _, secret := range foreign {
		f.Expect(apierrors.IsNotFound(cached.Get(f.ctx, client.ObjectKeyFromObject(secret), &corev1.Secret{}))).To(gomega.BeTrue(), secret.Name)
	}
	var all corev1.SecretList
	f.Expect(cached.List(f.ctx, &all)).To(gomega.Succeed())
	f.Expect(all.Items).NotTo(gomega.BeEmpty())
	for i := range all.Items {
		f.Expect(isOurs(all.Items[i].Labels)).To(gomega.BeTrue(), "%s/%s is in the cache", all.Items[i].Namespace, all.Items[i].Name)
	}

	// Who takes the label off has it forgotten, until it is put back.
	secret := f.secret(alice)
	f.change(alice, func() { alice.Spec.Suspend = true })
	f.eventuallyReady(alice, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	f.change(secret, func() { secret.Labels = nil })
	f.Eventually(func() bool {
		return apierrors.IsNotFound(cached.Get(context.WithoutCancel(f.ctx), client.ObjectKeyFromObject(secret), &corev1.Secret{}))
	}).Should(gomega.BeTrue())
}
