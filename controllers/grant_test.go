package controllers_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

func TestAGrantThatIsWithdrawnEndsTheTokenAndGivenBackItIsTheSameToken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		withdraw, giveBack func(*v1alpha1.ClusterTokenIssuerSpec)
		reason             string
	}{
		"the grant": {
			func(s *v1alpha1.ClusterTokenIssuerSpec) { s.Grants[0].Accounts = nil },
			func(s *v1alpha1.ClusterTokenIssuerSpec) { s.Grants[0].Accounts = []v1alpha1.AccountPattern{"a*"} },
			v1alpha1.ReasonNotGranted,
		},
		"the account": {
			func(s *v1alpha1.ClusterTokenIssuerSpec) { s.BuiltIn.Accounts = nil },
			func(s *v1alpha1.ClusterTokenIssuerSpec) { s.BuiltIn.Accounts = []v1alpha1.Account{{Name: "alice"}} },
			v1alpha1.ReasonUnknownAccount,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			alice := f.issuedAccountToken("alice")
			value := f.secret(alice).Data["API_TOKEN"]
			f.changeIssuer(test.withdraw)
			f.eventuallyReady(alice, metav1.ConditionFalse, test.reason)
			f.expectStatus(value, http.StatusUnauthorized)
			f.changeIssuer(test.giveBack)
			f.eventuallyReady(alice, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			f.expectStatus(value, http.StatusOK)
			f.eventuallyRevision(alice, 1)
		})
	}
}

func TestAccessIsFollowedAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	alice := f.issuedAccountToken("alice")
	value := f.secret(alice).Data["API_TOKEN"]
	reaches := func(path string) int {
		status, _ := f.authorize(f.issuer.Name, "api-token", value, path)
		return status
	}
	f.Expect(reaches("/gh/acme/web")).To(gomega.Equal(http.StatusOK))
	f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) {
		s.BuiltIn.Accounts[0].Access = []v1alpha1.AccessPath{"gl/other/api"}
	})
	f.Expect(reaches("/gh/acme/web")).To(gomega.Equal(http.StatusUnauthorized))
	f.Expect(reaches("/gl/other/api")).To(gomega.Equal(http.StatusOK))
	f.Expect(reaches("/gl/other/web")).To(gomega.Equal(http.StatusUnauthorized))
}

func TestObjectsAtEveryBoundOfTheirSchemaWork(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) {
		for i := len(s.BuiltIn.Accounts); i < 1024; i++ {
			s.BuiltIn.Accounts = append(s.BuiltIn.Accounts, v1alpha1.Account{Name: fmt.Sprintf("%s-%04d", strings.Repeat("a", 58), i)})
		}
		for i := range 256 {
			s.BuiltIn.Accounts[1023].Access = append(s.BuiltIn.Accounts[1023].Access, v1alpha1.AccessPath(fmt.Sprintf("gh/%s/%03d", strings.Repeat("o", 253), i)))
		}
		for len(s.Grants) < 64 {
			s.Grants = append(s.Grants, v1alpha1.Grant{NamespaceSelector: &v1alpha1.NamespaceSelector{}, Accounts: []v1alpha1.AccountPattern{"none"}})
		}
		s.Grants[63].Accounts = []v1alpha1.AccountPattern{v1alpha1.AccountPattern(strings.Repeat("a", 58) + "-*")}
	})
	token := f.accountToken(strings.Repeat("n", 253))
	token.Spec.Account = strings.Repeat("a", 58) + "-1023"
	template := &v1alpha1.SecretTemplate{
		Metadata: &v1alpha1.SecretMetadata{Labels: map[string]v1alpha1.LabelValue{}, Annotations: map[string]v1alpha1.AnnotationValue{}},
		Data:     map[string]v1alpha1.TemplateText{},
	}
	for i := range 32 {
		key := fmt.Sprintf("%s-%02d", strings.Repeat("k", 60), i)
		template.Metadata.Labels[key] = v1alpha1.LabelValue(strings.Repeat("v", 63))
		template.Metadata.Annotations[key] = v1alpha1.AnnotationValue(strings.Repeat("v", 4096))
		template.Data[key] = v1alpha1.TemplateText(strings.Repeat("t", 8192))
	}
	token.Spec.Secret = &v1alpha1.SecretTarget{
		Name: strings.Repeat("s", 253), TokenKey: strings.Repeat("K", 253), Template: template,
	}
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	secret := f.secret(token)
	f.Expect(secret.Data).To(gomega.HaveLen(33))
	status, _ := f.authorize(f.issuer.Name, "api-token", secret.Data[strings.Repeat("K", 253)], "/gh/"+strings.Repeat("o", 253)+"/255")
	f.Expect(status).To(gomega.Equal(http.StatusOK))
	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyGone(token)
}

func TestKubectlGetShowsTheColumnsThatUsersNeed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	api := f.projectToken("api", "api")
	f.create(api)
	f.eventuallyReady(api, metav1.ConditionTrue, "")
	for _, c := range []struct {
		arguments string
		wanted    []string
	}{
		// First, since kubectl does not read anew what kinds there are when it does not know a category.
		{"get tokensteward", []string{"projecttoken.tokensteward.io/api"}},
		{"get ptok", []string{"NAME", "READY", "PROJECT", "SECRET", "EXPIRES", "RENEWAL", "AGE", "api", "True", "gh/acme/api", api.Status.RenewalTime.UTC().Format("2006-01-02T15:04:05Z")}},
		{"get ptok -o wide", []string{"ISSUER", "REVISION", "STATUS", f.issuer.Name, `The Secret "api" holds revision 1.`}},
		{"get ctiss -o wide", []string{f.issuer.Name, "Tokens can be asked for."}},
		{"get atok", []string{"No resources found"}},
		{"describe projecttoken", []string{"Issued", "holds revision 1"}},
	} {
		output, err := controlPlane.Kubectl(f.ctx, append([]string{"-n", f.namespace}, strings.Fields(c.arguments)...)...).CombinedOutput()
		f.Expect(err).NotTo(gomega.HaveOccurred(), string(output))
		for _, text := range c.wanted {
			if !strings.Contains(string(output), text) {
				t.Errorf("kubectl %s does not show %q:\n%s", c.arguments, text, output)
			}
		}
		if strings.Contains(string(output), "<invalid>") {
			t.Errorf("kubectl %s shows an invalid time:\n%s", c.arguments, output)
		}
	}
}
