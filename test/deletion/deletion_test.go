package deletion_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

func TestANamespaceTakesItsTokensAlong(t *testing.T) {
	t.Parallel()
	s := newStory(t, "namespace-first")
	s.deleteNamespace()
	s.eventuallyGoneWithAll()
}

func TestAnIssuerThatIsDeletedFirstWaitsForItsTokens(t *testing.T) {
	t.Parallel()
	s := newStory(t, "issuer-first")
	s.kubectl(nil, "delete", "tokenissuer", credentials, "--wait=false")
	s.eventuallyReady(s.issuer, v1alpha1.ReasonInUse)
	late := s.projectToken("late", "repository-0")
	s.create(late)
	s.eventuallyReady(late, v1alpha1.ReasonIssuerNotReady)
	s.checkAllLive()
	s.checkHeld()

	s.kubectl(nil, "delete", "projecttokens,accounttokens", "--all", "--wait=false")
	s.eventuallyGone(s.issuer)
	s.checkNoneLeft()
	for _, token := range append(s.tokens, late) {
		if holds := s.gone(token); holds != "" {
			t.Errorf("the issuer is gone before its tokens: %s", holds)
		}
	}
	// The credential is the user's, and stays.
	secret := s.credentialsSecret()
	s.eventually("the credentials Secret is let go", func() string {
		if err := s.k8s.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil {
			t.Fatal(err)
		}
		if _, marked := secret.Labels[v1alpha1.ManagedLabel]; marked || len(secret.Finalizers) > 0 {
			return fmt.Sprintf("labels %v, finalizers %v", secret.Labels, secret.Finalizers)
		}
		return ""
	})
	s.deleteNamespace()
	s.eventuallyGoneWithAll()
}

func TestCredentialsCanBeDeletedAndCreatedAnew(t *testing.T) {
	t.Parallel()
	s := newStory(t, "credentials-first")
	// This waits until the Secret is gone.
	s.kubectl(nil, "delete", "secret", credentials, "--timeout=1m")
	s.eventuallyReady(s.issuer, v1alpha1.ReasonCredentialsMissing)
	late := s.projectToken("late", "repository-0")
	s.create(late)
	s.eventuallyReady(late, v1alpha1.ReasonIssuerNotReady)
	s.checkAllLive()
	s.createCredentials()
	s.eventuallyReady(s.issuer, v1alpha1.ReasonAvailable)
	s.eventuallyReady(late, v1alpha1.ReasonIssued)

	// At once, and with another credential of the account, which alone counts from then on.
	former := s.credential
	s.credential = s.service.CreateAccountToken(s.account, nil)
	s.kubectl(nil, "delete", "secret", credentials, "--timeout=1m")
	s.createCredentials()
	s.service.RevokeInWebUI(former.ID)
	_, s.byHand = s.living()
	later := s.projectToken("later", "repository-1")
	s.create(later)
	s.eventuallyReady(later, v1alpha1.ReasonIssued)
	s.eventuallyReady(s.issuer, v1alpha1.ReasonAvailable)

	made, _ := s.living()
	for _, id := range s.made {
		if !slices.Contains(made, id) {
			t.Errorf("token %d was lost", id)
		}
	}
	s.tokens = append(s.tokens, late, later)
	if len(made) != len(s.tokens) {
		t.Errorf("the service has %d tokens for %d resources", len(made), len(s.tokens))
	}
	for _, token := range s.tokens {
		if ready := s.ready(token); ready.Reason != v1alpha1.ReasonIssued || token.SharedStatus().Token.Revision != 1 {
			t.Errorf("%s is %s, and no longer of its first revision", token.GetName(), ready.Reason)
		}
	}
	s.deleteNamespace()
	s.eventuallyGoneWithAll()
}

// It runs before those that are parallel, which need the operator.
func TestANamespaceWaitsForTheOperator(t *testing.T) {
	s := newStory(t, "operator-down")
	if err := s.killOperator(); err != nil {
		t.Fatal(err)
	}
	// Deleted by itself, it would be let go. When the operator sees it, that is over.
	s.kubectl(nil, "delete", "secret", credentials, "--wait=false")
	s.deleteNamespace()
	s.eventuallyWaiting()
	s.checkAllLive()
	s.checkHeld()
	if err := s.startOperator(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.eventuallyGoneWithAll()
}

func TestANamespaceWaitsForTheService(t *testing.T) {
	t.Parallel()
	s := newStory(t, "service-down")
	// It goes down by and by: the first tokens are revoked, and it is not told. For the other stories it is up.
	const untold, enough = 3, 20
	var mu sync.Mutex
	var failed int
	revoked := map[string]bool{} // By path: an HTTP client may itself send a request again whose connection was cut.
	s.service.Fault(func(operation string, r *http.Request) codacytest.Fault {
		if r.Header.Get("api-token") != s.credential.Value.Reveal() {
			return codacytest.Fault{}
		}
		mu.Lock()
		defer mu.Unlock()
		failed++
		if strings.HasPrefix(operation, "delete") && (revoked[r.URL.Path] || len(revoked) < untold) {
			revoked[r.URL.Path] = true
			return codacytest.Fault{Kind: codacytest.CutAfterActing}
		}
		return codacytest.Fault{Kind: codacytest.CutBeforeActing}
	})
	s.deleteNamespace()
	s.eventuallyWaiting()
	// A service that is down is asked once in a while, so it has been down for some time.
	s.eventually("the operator has tried often enough", func() string {
		mu.Lock()
		defer mu.Unlock()
		if len(revoked) < untold || failed < enough {
			return fmt.Sprintf("%d tokens revoked, %d requests", len(revoked), failed)
		}
		return ""
	})
	made, _ := s.living()
	if len(made) != allTokens-untold {
		t.Errorf("the service has %d tokens, want %d", len(made), allTokens-untold)
	}
	s.eventuallyWaiting()
	s.checkHeld()
	s.service.Fault(nil)
	s.eventuallyGoneWithAll()
}

func (s *story) deleteNamespace() {
	s.Helper()
	s.kubectl(nil, "delete", "namespace", s.namespace, "--wait=false")
}

// eventuallyGoneWithAll waits until the namespace is gone, and so all that was in it, and checks what is left of it.
func (s *story) eventuallyGoneWithAll() {
	s.Helper()
	s.eventuallyGone(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}})
	s.checkNoneLeft()
	for _, o := range append([]client.Object{s.issuer, s.credentialsSecret()}, objects(s.tokens)...) {
		if holds := s.gone(o); holds != "" {
			s.Errorf("it outlives its namespace: %s", holds)
		}
	}
}

// eventuallyWaiting waits until the namespace controller has deleted all there is, and waits for these resources. All of
// them are still there.
func (s *story) eventuallyWaiting() {
	s.Helper()
	s.eventually("the namespace waits for what has finalizers", func() string {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}
		if err := s.k8s.Get(s.Context(), client.ObjectKeyFromObject(namespace), namespace); err != nil {
			s.Fatal(err)
		}
		if !slices.ContainsFunc(namespace.Status.Conditions, func(c corev1.NamespaceCondition) bool {
			return c.Type == corev1.NamespaceFinalizersRemaining && c.Status == corev1.ConditionTrue
		}) {
			return fmt.Sprintf("%v", namespace.Status.Conditions)
		}
		for _, o := range append([]client.Object{s.issuer, s.credentialsSecret()}, objects(s.tokens)...) {
			if err := s.k8s.Get(s.Context(), client.ObjectKeyFromObject(o), o); err != nil {
				s.Fatalf("it is needed to revoke the tokens: %s", err)
			}
			if o.GetDeletionTimestamp().IsZero() {
				return o.GetName() + " is not deleted"
			}
		}
		return ""
	})
}

// checkHeld: issuer and credentials are held by their finalizers.
func (s *story) checkHeld() {
	s.Helper()
	for finalizer, o := range map[string]client.Object{v1alpha1.Finalizer: s.issuer, v1alpha1.CredentialsFinalizer: s.credentialsSecret()} {
		if err := s.k8s.Get(s.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			s.Fatal(err)
		}
		if !slices.Contains(o.GetFinalizers(), finalizer) {
			s.Errorf("the %T has the finalizers %v, want %s among them", o, o.GetFinalizers(), finalizer)
		}
	}
}

func objects(tokens []v1alpha1.Token) (all []client.Object) {
	for _, token := range tokens {
		all = append(all, token)
	}
	return all
}
