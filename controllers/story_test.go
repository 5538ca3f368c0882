package controllers_test

import (
	"net/http"
	"testing"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

const refusedBody = `{"error":"not found"}` + "\n"

func TestATokenIsMintedUsedAndRevoked(t *testing.T) {
	f := newFixture(t)
	alice, second := f.accountToken("alice"), f.accountToken("alice-2")
	api := f.projectToken("api", "api")
	for _, o := range []v1alpha1.Token{alice, second, api} {
		f.create(o)
	}
	for _, o := range []v1alpha1.Token{alice, second, api} {
		f.eventuallyReady(o, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	}
	account, other, project := f.secret(alice).Data["API_TOKEN"], f.secret(second).Data["API_TOKEN"], f.secret(api).Data["PROJECT_TOKEN"]

	for _, test := range []struct {
		name, header string
		value        []byte
		path         string
		want         int
	}{
		{"the account token without a target", "api-token", account, "", http.StatusOK},
		{"the account token for a repository of its organization", "api-token", account, "/gh/acme/api", http.StatusOK},
		{"the account token for the organization", "api-token", account, "/gh/acme", http.StatusOK},
		{"the account token as a bearer", "Authorization", append([]byte("Bearer "), account...), "/gh/acme/web", http.StatusOK},
		{"the account token for another organization", "api-token", account, "/gh/other/api", http.StatusUnauthorized},
		{"the account token under the header of project tokens", "project-token", account, "", http.StatusUnauthorized},
		{"the project token for its repository", "project-token", project, "/gh/acme/api", http.StatusOK},
		{"the project token for another repository", "project-token", project, "/gh/acme/web", http.StatusUnauthorized},
		{"the project token for the organization", "project-token", project, "/gh/acme", http.StatusUnauthorized},
	} {
		if status, body := f.authorize(f.issuer.Name, test.header, test.value, test.path); status != test.want {
			t.Errorf("%s: %d %s, want %d", test.name, status, body, test.want)
		} else if test.want == http.StatusUnauthorized && body != refusedBody {
			t.Errorf("%s: refused with %q", test.name, body)
		}
	}

	f.Expect(k8s.Delete(f.ctx, second)).To(gomega.Succeed())
	f.eventuallyGone(second)
	if status, body := f.authorize(f.issuer.Name, "api-token", other, ""); status != http.StatusUnauthorized || body != refusedBody {
		t.Errorf("the deleted resource's token: %d %s", status, body)
	}
	if status, _ := f.authorize(f.issuer.Name, "api-token", account, ""); status != http.StatusOK {
		t.Errorf("the account's other token: %d after the first was revoked", status)
	}
	err := k8s.Get(f.ctx, client.ObjectKey{Namespace: f.namespace, Name: "alice-2"}, &corev1.Secret{})
	f.Expect(apierrors.IsNotFound(err)).To(gomega.BeTrue(), "the Secret of a deleted resource is still there")
}

func (f *fixture) eventuallyGone(o client.Object) {
	f.t.Helper()
	f.Eventually(func() bool {
		return apierrors.IsNotFound(k8s.Get(f.ctx, client.ObjectKeyFromObject(o), o))
	}).Should(gomega.BeTrue(), "it is still there")
}
