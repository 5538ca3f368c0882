package deletion_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

const (
	repositories  = 8
	projectTokens = 40
	accountTokens = 10
	allTokens     = projectTokens + accountTokens
	// credentials is the name of the issuer, and of its Secret.
	credentials = "codacy"
)

// story is one namespace with an issuer, its credentials and its tokens.
type story struct {
	*testing.T
	*stage
	k8s        client.Client
	namespace  string
	account    int64
	credential codacytest.Token
	issuer     *v1alpha1.TokenIssuer
	tokens     []v1alpha1.Token
	// made are the tokens at the service that the operator made, byHand those that others did.
	made, byHand []int64
}

// newStory brings a namespace to where everything in it is ready.
func newStory(t *testing.T, name string) *story {
	t.Helper()
	s := &story{T: t, stage: &theStage, k8s: theStage.controlPlane.Client, namespace: name}
	s.account = s.service.AddAccount(name, name+"@acme.example")
	s.credential = s.service.CreateAccountToken(s.account, nil)
	expires := time.Now().Add(90 * 24 * time.Hour)
	for i := range repositories {
		repository := fmt.Sprintf("repository-%d", i)
		s.service.AddRepository("gh", name, repository)
		s.service.CreateRepositoryToken("gh", name, repository, "ci", &expires)
		// Another installation's, or somebody's who likes such names.
		s.service.CreateRepositoryToken("gh", name, repository, "ts-another-01234567-89ab-cdef-0-1", nil)
		s.service.CreateAccountToken(s.account, &expires)
	}
	_, s.byHand = s.living()

	s.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	s.createCredentials()
	s.issuer = &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: credentials},
		Spec: v1alpha1.TokenIssuerSpec{IssuerSpec: v1alpha1.IssuerSpec{Codacy: &v1alpha1.CodacyIssuer{
			URL: s.served.URL, CABundle: s.served.CAPEM, CredentialsSecretRef: v1alpha1.SecretKeyReference{Name: credentials},
		}}},
	}
	s.create(s.issuer)
	for i := range projectTokens {
		s.tokens = append(s.tokens, s.projectToken(fmt.Sprintf("project-%d", i), fmt.Sprintf("repository-%d", i%repositories)))
	}
	for i := range accountTokens {
		s.tokens = append(s.tokens, &v1alpha1.AccountToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: fmt.Sprintf("account-%d", i)}, Spec: v1alpha1.AccountTokenSpec{TokenSpec: fromIssuer},
		})
	}
	for _, token := range s.tokens {
		s.create(token)
	}
	s.eventually("all are ready", func() string {
		for _, token := range s.tokens {
			if ready := s.ready(token); ready.Reason != v1alpha1.ReasonIssued {
				return fmt.Sprintf("%s: %s", token.GetName(), ready.Message)
			}
		}
		return ""
	})
	s.made, _ = s.living()
	if len(s.made) != allTokens {
		t.Fatalf("the service has %d tokens for %d resources", len(s.made), allTokens)
	}
	return s
}

var fromIssuer = v1alpha1.TokenSpec{IssuerRef: v1alpha1.IssuerReference{Kind: v1alpha1.KindTokenIssuer, Name: credentials}}

func (s *story) projectToken(name, repository string) *v1alpha1.ProjectToken {
	return &v1alpha1.ProjectToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec: v1alpha1.ProjectTokenSpec{
			TokenSpec: fromIssuer,
			Project:   v1alpha1.Project{Provider: "gh", Organization: v1alpha1.PathSegment(s.namespace), Repository: v1alpha1.PathSegment(repository)},
		},
	}
}

// living are the ids of the story's tokens at the service, in their order.
func (s *story) living() (made, byHand []int64) {
	for _, token := range s.service.Tokens() {
		if token.Account != s.account && !strings.HasPrefix(token.Repository, "gh/"+s.namespace+"/") {
			continue
		}
		s.values.Add(fmt.Sprintf("the service's token %d", token.ID), token.Value.Reveal())
		if token.HandMade {
			byHand = append(byHand, token.ID)
		} else {
			made = append(made, token.ID)
		}
	}
	return made, byHand
}

// checkNoneLeft: the service has what it had before the story began.
func (s *story) checkNoneLeft() {
	s.Helper()
	made, byHand := s.living()
	if len(made) > 0 {
		s.Errorf("%d tokens are left at the service: %d", len(made), made)
	}
	if !slices.Equal(byHand, s.byHand) {
		s.Errorf("of others' tokens the service has %d, and had %d", byHand, s.byHand)
	}
}

// checkAllLive: the service has every token that was made, and no further one.
func (s *story) checkAllLive() {
	s.Helper()
	made, byHand := s.living()
	if !slices.Equal(made, s.made) {
		s.Errorf("the service has %d tokens, want the same as ever, which were %d", len(made), len(s.made))
	}
	if !slices.Equal(byHand, s.byHand) {
		s.Errorf("of others' tokens the service has %d, and had %d", byHand, s.byHand)
	}
}

// createCredentials is `kubectl create secret`, with the value where no list of processes shows it.
func (s *story) createCredentials() {
	s.Helper()
	s.kubectl(strings.NewReader(s.credential.Value.Reveal()), "create", "secret", "generic", credentials,
		"--from-file="+v1alpha1.DefaultCredentialsKey+"=/dev/stdin")
}

// kubectl acts in the story's namespace.
func (s *story) kubectl(input io.Reader, arguments ...string) {
	s.Helper()
	command := s.controlPlane.Kubectl(s.Context(), append(arguments, "--namespace="+s.namespace)...)
	command.Stdin = input
	if output, err := command.CombinedOutput(); err != nil {
		s.Fatalf("kubectl %s: %s: %s", strings.Join(arguments, " "), err, output)
	}
}

func (s *story) create(o client.Object) {
	s.Helper()
	if err := s.k8s.Create(s.Context(), o); err != nil {
		s.Fatal(err)
	}
}

func (s *story) credentialsSecret() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: credentials}}
}

// ready is the Ready condition of a token or an issuer, or says why there is none.
func (s *story) ready(o client.Object) metav1.Condition {
	s.Helper()
	if err := s.k8s.Get(s.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		return metav1.Condition{Message: err.Error()}
	}
	var conditions []metav1.Condition
	switch o := o.(type) {
	case v1alpha1.Token:
		conditions = o.SharedStatus().Conditions
	case v1alpha1.Issuer:
		conditions = o.SharedStatus().Conditions
	}
	if ready := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady); ready != nil {
		return *ready
	}
	return metav1.Condition{Message: "there is no condition yet"}
}

func (s *story) eventuallyReady(o client.Object, reason string) {
	s.Helper()
	s.eventually(o.GetName()+" is "+reason, func() string {
		if ready := s.ready(o); ready.Reason != reason {
			return ready.Reason + ": " + ready.Message
		}
		return ""
	})
}

// gone says nothing if an object does not exist, and otherwise what holds it.
func (s *story) gone(o client.Object) string {
	s.Helper()
	err := s.k8s.Get(s.Context(), client.ObjectKeyFromObject(o), o)
	if apierrors.IsNotFound(err) {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	if namespace, ok := o.(*corev1.Namespace); ok {
		return fmt.Sprintf("%v, %v", namespace.Spec.Finalizers, namespace.Status.Conditions)
	}
	return fmt.Sprintf("%s has the finalizers %v", o.GetName(), o.GetFinalizers())
}

func (s *story) eventuallyGone(objects ...client.Object) {
	s.Helper()
	for _, o := range objects {
		s.eventually(fmt.Sprintf("the %T %s is gone", o, o.GetName()), func() string { return s.gone(o) })
	}
}

// eventually waits until nothing is missing any more.
func (s *story) eventually(what string, missing func() string) {
	s.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		lacks := missing()
		if lacks == "" {
			return
		}
		if time.Now().After(deadline) {
			made, _ := s.living()
			s.Fatalf("waited in vain until %s: %s; the service has %d tokens", what, lacks, len(made))
		}
	}
}
