package controllers_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// scraper is a service account, and its token.
func (f *fixture) scraper(name string) (token string) {
	f.t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name}}
	f.create(account)
	request := &authenticationv1.TokenRequest{}
	f.Expect(k8s.SubResource("token").Create(f.ctx, account, request)).To(gomega.Succeed())
	issued.Add("a service account's token", request.Status.Token)
	return request.Status.Token
}

// scrape asks for metrics, with a token or, if it is empty, without.
func (f *fixture) scrape(token string) (status int, body string) {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.ctx, http.MethodGet, metricsURL, nil)
	f.Expect(err).NotTo(gomega.HaveOccurred())
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := insecureClient.Do(request)
	f.Expect(err).NotTo(gomega.HaveOccurred())
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	f.Expect(err).NotTo(gomega.HaveOccurred())
	return response.StatusCode, string(content)
}

func TestMetricsAreForThoseWhomTheAPIServerAllowsThem(t *testing.T) {
	f := newCodacy(t, codacyEdition(t, "cloud-2026-08"))
	status, _ := f.scrape("")
	f.Expect(status).To(gomega.Equal(http.StatusUnauthorized))
	stranger := f.scraper("stranger")
	status, _ = f.scrape(stranger)
	f.Expect(status).To(gomega.Equal(http.StatusForbidden))

	prometheus := f.scraper("prometheus")
	f.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: f.namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "tokensteward-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: f.namespace, Name: "prometheus"}},
	})
	var body string
	f.Eventually(func() int { status, body = f.scrape(prometheus); return status }).Should(gomega.Equal(http.StatusOK))
	f.Expect(body).To(gomega.ContainSubstring("workqueue_depth"))

	// What happens to a token shows, and goes with it.
	token := f.issuedCodacyToken(v1alpha1.KindProjectToken, "shown")
	ofToken := `issuer="` + f.issuer.Name + `",issuer_kind="ClusterTokenIssuer",issuer_namespace="",kind="ProjectToken",name="shown",namespace="` + f.namespace + `"`
	ofIssuer := `issuer="` + f.issuer.Name + `",issuer_kind="ClusterTokenIssuer",issuer_namespace=""`
	shows := func(lines ...string) func() bool {
		return func() bool {
			_, body := f.scrape(prometheus)
			for _, line := range lines {
				if !strings.Contains(body, line) {
					return false
				}
			}
			return true
		}
	}
	f.rotate(token, "once")
	f.Eventually(shows(
		"tokensteward_token_ready{"+ofToken+"} 1",
		"tokensteward_token_expiration_timestamp_seconds{"+ofToken+"}",
		"tokensteward_issuer_ready{"+ofIssuer+"} 1",
		"tokensteward_issuer_service_available{"+ofIssuer+"} 1",
		`tokensteward_minted_tokens_total{cause="first",`+ofIssuer+`,kind="ProjectToken"} 1`,
		`tokensteward_minted_tokens_total{cause="requested",`+ofIssuer+`,kind="ProjectToken"} 1`,
		`tokensteward_service_request_duration_seconds_count{code="201",`+ofIssuer+`,operation="createRepositoryApiToken"} 2`,
	)).Should(gomega.BeTrue())
	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyGone(token)
	f.Eventually(shows(`tokensteward_revoked_tokens_total{` + ofIssuer + `,kind="ProjectToken"} 2`)).Should(gomega.BeTrue())
	f.Eventually(shows(ofToken)).Should(gomega.BeFalse())
	f.Expect(k8s.Delete(f.ctx, f.issuer)).To(gomega.Succeed())
	f.eventuallyGone(f.issuer)
	f.Eventually(shows(ofIssuer)).Should(gomega.BeFalse())
}
