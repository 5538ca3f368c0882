package controllers_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

// handmadeSecret is a Secret that a person wrote a token into, beside something else.
func (f *codacyFixture) handmadeSecret(name, key string, value string, change ...func(*corev1.Secret)) *corev1.Secret {
	f.t.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name},
		Data:       map[string][]byte{key: []byte(value), "UNRELATED": []byte("kept")},
	}
	for _, change := range change {
		change(secret)
	}
	f.create(secret)
	return secret
}

// adopting is a resource that takes over what is in the Secret of its name.
func (f *codacyFixture) adopting(kind, name string) v1alpha1.Token {
	token := f.codacyToken(kind, name)
	token.SharedSpec().Adopt = &v1alpha1.Adoption{SecretRef: v1alpha1.AdoptedSecretReference{Name: name}}
	return token
}

// newNamespacedCodacy makes a stand-in and a TokenIssuer, robot, in the namespace.
func newNamespacedCodacy(t *testing.T, behaviour codacytest.Behaviour) *codacyFixture {
	t.Helper()
	f := startCodacy(t, behaviour, allowedHost)
	f.issuer = &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "robot"}} // Of which only the name is used.
	f.putCredential(f.namespace, "credentials", f.credential)
	f.create(f.tokenIssuer("credentials"))
	return f
}

func (f *codacyFixture) tokenIssuer(secretName string) *v1alpha1.TokenIssuer {
	return &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "robot"},
		Spec: v1alpha1.TokenIssuerSpec{IssuerSpec: v1alpha1.IssuerSpec{Codacy: &v1alpha1.CodacyIssuer{
			URL: f.running.URL, CABundle: f.running.CAPEM, CredentialsSecretRef: v1alpha1.SecretKeyReference{Name: secretName},
		}}},
	}
}

func ofTokenIssuer(t v1alpha1.Token) v1alpha1.Token {
	t.SharedSpec().IssuerRef = v1alpha1.IssuerReference{Kind: v1alpha1.KindTokenIssuer, Name: "robot"}
	return t
}

// The default key, written out, is that of Codacy's tokens, and nobody knows of what a token is before its issuer is there.
func TestATakeoverThatComesBeforeItsIssuerWaitsForIt(t *testing.T) {
	f := startCodacy(t, codacyEdition(t, "cloud-2025-07"), allowedHost)
	f.issuer = &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}
	f.handmadeSecret("ci", "CODACY_API_TOKEN", f.server.CreateAccountToken(f.account, nil).Value.Reveal())
	token := ofTokenIssuer(f.adopting(v1alpha1.KindAccountToken, "ci"))
	token.SharedSpec().Adopt.SecretRef.Key = "CODACY_API_TOKEN"
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound)
	f.Expect(meta.FindStatusCondition(token.SharedStatus().Conditions, v1alpha1.ConditionStalled)).To(gomega.BeNil())
	f.putCredential(f.namespace, "credentials", f.credential)
	f.create(f.tokenIssuer("credentials"))
	f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	f.Expect(token.SharedStatus().AdoptedTime).NotTo(gomega.BeNil())
}

func TestAHandmadeTokenIsTakenOverAndReplacedWhenItIsDue(t *testing.T) {
	f := newCodacy(t, codacyEdition(t, "cloud-2025-07"))
	expires := now.Now().Add(80 * 24 * time.Hour)
	byHand := f.server.CreateAccountToken(f.account, &expires)
	bystander := f.server.CreateAccountToken(f.account, &expires)
	f.handmadeSecret("ci", "CODACY_API_TOKEN", byHand.Value.Reveal())
	token := f.adopting(v1alpha1.KindAccountToken, "ci")
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	status := token.SharedStatus()
	f.Expect(status.Token.ID).To(gomega.Equal(strconv.FormatInt(byHand.ID, 10)))
	f.Expect(status.Token.Revision).To(gomega.Equal(int64(1)))
	f.Expect(status.AdoptedTime).NotTo(gomega.BeNil())
	f.Expect(status.Mints).To(gomega.BeEmpty())
	f.Expect(status.RenewalTime.Time).To(gomega.BeTemporally("<=", expires.Add(-30*24*time.Hour).Add(time.Second)))
	f.Expect(status.RenewalTime.Time).To(gomega.BeTemporally(">", now.Now()))
	f.Eventually(func() string { return f.secret(token).Annotations[v1alpha1.OwnerAnnotation] }).ShouldNot(gomega.BeEmpty())
	secret := f.secret(token)
	f.Expect(string(secret.Data["UNRELATED"])).To(gomega.Equal("kept"))
	f.Expect(secret.OwnerReferences).To(gomega.BeEmpty(), "what somebody else put there would go with the resource")
	f.Expect(f.accepts(secret.Data["CODACY_API_TOKEN"])).To(gomega.BeTrue())
	f.Eventually(f.eventReasons).Should(gomega.ContainElement("Adopted"))

	begin := now.Now()
	defer now.SetTime(begin)
	now.SetTime(status.RenewalTime.Add(time.Second))
	f.touch(token)
	f.eventuallyRevision(token, 2)
	f.Expect(f.server.Accepts(byHand.Value.Reveal())).To(gomega.BeTrue(), "whoever uses it has its grace period")
	f.Expect(string(f.secret(token).Data["UNRELATED"])).To(gomega.Equal("kept"))
	now.SetTime(now.Now().Add(25 * time.Hour))
	f.touch(token)
	f.eventuallyNonePrevious(token)
	f.Expect(f.server.Accepts(byHand.Value.Reveal())).To(gomega.BeFalse())

	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyGone(token)
	f.expectKeys(token, "UNRELATED")
	f.Expect(f.minted()).To(gomega.BeEmpty())
	f.Expect(f.server.Accepts(bystander.Value.Reveal())).To(gomega.BeTrue())
}

func TestAHandmadeTokenWithoutAnExpiryIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	f := newCodacy(t, codacyEdition(t, "self-hosted-16"))
	byHand := f.server.CreateRepositoryToken("gh", "acme", "api", "", nil)
	f.handmadeSecret("ci", "CODACY_PROJECT_TOKEN", byHand.Value.Reveal(), func(s *corev1.Secret) { s.Data["CODACY_USERNAME"] = []byte("theirs") })
	token := f.adopting(v1alpha1.KindProjectToken, "ci")
	f.create(token)
	f.eventuallyRevision(token, 2)
	f.Expect(token.SharedStatus().PreviousTokens[0].ID).To(gomega.Equal(strconv.FormatInt(byHand.ID, 10)))
	f.Expect(token.SharedStatus().Mints).To(gomega.BeEmpty(), "it counts as due")
	data := f.secret(token).Data
	f.Expect(string(data["CODACY_USERNAME"])).To(gomega.Equal("theirs"))
	f.Expect(string(data["CODACY_PROJECT_NAME"])).To(gomega.Equal("api"))
	f.Expect(f.accepts(data["CODACY_PROJECT_TOKEN"])).To(gomega.BeTrue())
}

func TestAnAdoptionMayNotBeSetLater(t *testing.T) {
	t.Parallel()
	f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
	token := f.projectToken("ci", "api")
	f.create(token)
	token.Spec.Adopt = &v1alpha1.Adoption{SecretRef: v1alpha1.AdoptedSecretReference{Name: "ci"}}
	f.Eventually(func() error {
		update := token.DeepCopy()
		update.ResourceVersion = ""
		return k8s.Patch(f.ctx, update, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"adopt":{"secretRef":{"name":"ci"}}}}`)))
	}).Should(gomega.MatchError(gomega.ContainSubstring("adopt can be set only when the resource is created")))
}

// Where Codacy hides the values of tokens in lists, their user names the id.
func TestAHandmadeTokenWhoseValueIsHiddenIsTakenOverByItsID(t *testing.T) {
	f := newNamespacedCodacy(t, codacyEdition(t, "cloud-2026-08"))
	byHand := f.server.CreateRepositoryToken("gh", "acme", "api", "made-by-hand", nil)
	foreign := f.server.CreateRepositoryToken("gh", "acme", "api", "ts-elsewhere-12345678-1", nil)
	for name, test := range map[string]struct {
		id      int64
		refused string
	}{
		"unnamed":   {0, "name its id in spec.adopt.tokenID"},
		"unknown":   {4711, "There is no token 4711"},
		"elsewhere": {foreign.ID, "made by an operator like this one"},
	} {
		f.handmadeSecret(name, "CODACY_PROJECT_TOKEN", byHand.Value.Reveal())
		token := ofTokenIssuer(f.adopting(v1alpha1.KindProjectToken, name))
		if test.id != 0 {
			token.SharedSpec().Adopt.TokenID = strconv.FormatInt(test.id, 10)
		}
		f.create(token)
		f.eventuallyStalled(token, v1alpha1.ReasonAdoptionRefused)
		f.Expect(readyCondition(token).Message).To(gomega.ContainSubstring(test.refused))
	}
	f.handmadeSecret("named", "CODACY_PROJECT_TOKEN", byHand.Value.Reveal())
	named := ofTokenIssuer(f.adopting(v1alpha1.KindProjectToken, "named"))
	named.SharedSpec().Adopt.TokenID = strconv.FormatInt(byHand.ID, 10)
	f.create(named)
	f.eventuallyReady(named, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	f.Expect(named.SharedStatus().Token.Name).To(gomega.Equal("made-by-hand"))

	f.handmadeSecret("second", "CODACY_PROJECT_TOKEN", byHand.Value.Reveal())
	second := ofTokenIssuer(f.adopting(v1alpha1.KindProjectToken, "second"))
	second.SharedSpec().Adopt.TokenID = strconv.FormatInt(byHand.ID, 10)
	f.create(second)
	f.eventuallyStalled(second, v1alpha1.ReasonAdoptionRefused)
	f.Expect(readyCondition(second).Message).To(gomega.ContainSubstring("another resource's already"))
	for _, token := range []codacytest.Token{byHand, foreign} {
		f.Expect(f.server.Accepts(token.Value.Reveal())).To(gomega.BeTrue())
	}
}

func TestWithAClusterTokenIssuerAnIDProvesNothing(t *testing.T) {
	t.Parallel()
	f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
	byHand := f.server.CreateRepositoryToken("gh", "acme", "api", "another-team", nil)
	f.handmadeSecret("ci", "CODACY_PROJECT_TOKEN", "0123456789abcdef0123456789abcdef")
	token := f.adopting(v1alpha1.KindProjectToken, "ci")
	token.SharedSpec().Adopt.TokenID = strconv.FormatInt(byHand.ID, 10)
	f.create(token)
	f.eventuallyStalled(token, v1alpha1.ReasonAdoptionRefused)
	f.Expect(readyCondition(token).Message).To(gomega.ContainSubstring("counts only with a TokenIssuer"))
}

func TestWhatIsNotProvenOrNotTheirsIsNotTakenOver(t *testing.T) {
	t.Parallel()
	f := newCodacy(t, codacyEdition(t, "cloud-2025-07"))
	byHand := f.server.CreateAccountToken(f.account, nil)
	issued := f.issuedCodacyToken(v1alpha1.KindAccountToken, "issued")
	others := f.secret(issued).Data["CODACY_API_TOKEN"]
	value := byHand.Value.Reveal()
	isController := true
	for name, test := range map[string]struct {
		value   string
		secret  func(*corev1.Secret)
		token   func(v1alpha1.Token)
		reason  string
		message string
	}{
		"unknown-value":  {value: "abcdEFGH0123ijkl5678", reason: v1alpha1.ReasonAdoptionRefused, message: "There is no token in the account"},
		"of-a-resource":  {value: string(others), reason: v1alpha1.ReasonAdoptionRefused, message: "another resource's already"},
		"the-credential": {value: f.credential.Value.Reveal(), reason: v1alpha1.ReasonAdoptionRefused, message: "the credential of an issuer"},
		"another-id": {
			value: value, token: func(t v1alpha1.Token) { t.SharedSpec().Adopt.TokenID = "4711" },
			reason: v1alpha1.ReasonAdoptionRefused, message: "spec.adopt.tokenID is 4711",
		},
		"another-name": {
			value: value, token: func(t v1alpha1.Token) { t.SharedSpec().Adopt.SecretRef.Name = "elsewhere" },
			reason: v1alpha1.ReasonAdoptionRefused, message: "spec.secret.name",
		},
		"another-key": {
			value: value, token: func(t v1alpha1.Token) { t.SharedSpec().Adopt.SecretRef.Key = "UNRELATED" },
			reason: v1alpha1.ReasonAdoptionRefused, message: "spec.secret.tokenKey",
		},
		"by-helm": {
			value: value, secret: func(s *corev1.Secret) { s.Labels = map[string]string{"app.kubernetes.io/managed-by": "Helm"} },
			reason: v1alpha1.ReasonSecretManagedElsewhere, message: "Helm",
		},
		"by-argo": {
			value: value, secret: func(s *corev1.Secret) {
				s.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "a:/Secret:b/c"}
			},
			reason: v1alpha1.ReasonSecretManagedElsewhere, message: "Argo CD",
		},
		"by-a-controller": {
			value: value, secret: func(s *corev1.Secret) {
				s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "external-secrets.io/v1", Kind: "ExternalSecret", Name: "ci", UID: "1", Controller: &isController}}
			},
			reason: v1alpha1.ReasonSecretManagedElsewhere, message: "ExternalSecret",
		},
		"immutable": {
			value: value, secret: func(s *corev1.Secret) { s.Immutable = &isController },
			reason: v1alpha1.ReasonSecretConflict, message: "immutable",
		},
		"typed": {
			value: value, secret: func(s *corev1.Secret) { s.Type = "example.com/token" },
			reason: v1alpha1.ReasonAdoptionRefused, message: "Opaque",
		},
		"owned": {
			value: value, secret: func(s *corev1.Secret) {
				s.Annotations = map[string]string{v1alpha1.OwnerAnnotation: "x/AccountToken/y/z/1"}
			},
			reason: v1alpha1.ReasonSecretConflict, message: "annotate secret owned",
		},
	} {
		change := test.secret
		if change == nil {
			change = func(*corev1.Secret) {}
		}
		secret := f.handmadeSecret(name, "CODACY_API_TOKEN", test.value, change)
		token := f.adopting(v1alpha1.KindAccountToken, name)
		if test.token != nil {
			test.token(token)
		}
		f.create(token)
		f.eventuallyStalled(token, test.reason)
		if message := readyCondition(token).Message; !strings.Contains(message, test.message) {
			t.Errorf("%s: %s", name, message)
		}
		f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
		f.eventuallyGone(token)
		var after corev1.Secret
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(secret), &after)).To(gomega.Succeed())
		f.Expect(after.ResourceVersion).To(gomega.Equal(secret.ResourceVersion), "%s: the Secret was touched", name)
	}
	f.Expect(f.server.Accepts(value)).To(gomega.BeTrue())
	f.Expect(f.server.Accepts(f.credential.Value.Reveal())).To(gomega.BeTrue())
}

// What a list shows of a token may be a mask, which anybody can write into a Secret.
func TestAMaskProvesNothing(t *testing.T) {
	t.Parallel()
	behaviour := codacyEdition(t, "cloud-2026-08")
	behaviour.RepositoryListValues = codacytest.MaskedValues
	f := newCodacy(t, behaviour)
	theirs := f.server.CreateRepositoryToken("gh", "acme", "api", "another-team", nil)
	value := theirs.Value.Reveal()
	f.handmadeSecret("ci", "CODACY_PROJECT_TOKEN", value[:4]+strings.Repeat("*", len(value)-4))
	token := f.adopting(v1alpha1.KindProjectToken, "ci")
	f.create(token)
	f.eventuallyStalled(token, v1alpha1.ReasonAdoptionRefused)
}

func TestTheTokenOfAnAdoptedSecretMovesToAnotherKeyAndOverwritesNone(t *testing.T) {
	t.Parallel()
	f := newCodacy(t, codacyEdition(t, "cloud-2025-07"))
	expires := now.Now().Add(80 * 24 * time.Hour)
	f.handmadeSecret("ci", "CODACY_API_TOKEN", f.server.CreateAccountToken(f.account, &expires).Value.Reveal())
	token := f.adopting(v1alpha1.KindAccountToken, "ci")
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	f.Eventually(func() string { return f.secret(token).Annotations[v1alpha1.OwnerAnnotation] }).ShouldNot(gomega.BeEmpty())
	f.change(token, func() { token.SharedSpec().Secret = &v1alpha1.SecretTarget{TokenKey: "UNRELATED"} })
	f.eventuallyStalled(token, v1alpha1.ReasonSecretConflict)
	f.expectSame(f.secret(token).Data["UNRELATED"], []byte("kept"))
	f.change(token, func() { token.SharedSpec().Secret.TokenKey = "MOVED" })
	f.eventuallyRevision(token, 2)
	f.expectKeys(token, "CODACY_API_BASE_URL", "MOVED", "UNRELATED")
}

func TestASecretThatIsAppliedFromGitIsNotTakenOver(t *testing.T) {
	t.Parallel()
	f := newCodacy(t, codacyEdition(t, "cloud-2025-07"))
	byHand := f.server.CreateAccountToken(f.account, nil)
	f.applySecret("ci", byHand.Value.Reveal())
	token := f.adopting(v1alpha1.KindAccountToken, "ci")
	f.create(token)
	f.eventuallyStalled(token, v1alpha1.ReasonSecretManagedElsewhere)
	f.Expect(readyCondition(token).Message).To(gomega.ContainSubstring("kustomize-controller"))
}

func TestASecretThatIsYetToComeIsWaitedFor(t *testing.T) {
	t.Parallel()
	f := newCodacy(t, codacyEdition(t, "cloud-2025-07"))
	expires := now.Now().Add(80 * 24 * time.Hour)
	byHand := f.server.CreateAccountToken(f.account, &expires)
	written := byHand.Value.Reveal() + "\n" // As from a terminal.
	token := f.adopting(v1alpha1.KindAccountToken, "ci")
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	f.handmadeSecret("ci", "CODACY_API_TOKEN", written)
	f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	f.Eventually(func() bool { return string(f.secret(token).Data["CODACY_API_TOKEN"]) == byHand.Value.Reveal() }).Should(gomega.BeTrue())
	f.Expect(f.minted()).To(gomega.BeEmpty())
	f.Expect(token.SharedStatus().Token.Revision).To(gomega.Equal(int64(1)))
}
