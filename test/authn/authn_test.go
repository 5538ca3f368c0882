// Package authn_test lets a real kube-apiserver, and a service that uses RFC 7662, ask a real operator process who the
// bearer of a built-in token is.
package authn_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/cert"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/manager"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

func TestAnAPIServerAcceptsABuiltInTokenAndRBACDecidesByItsName(t *testing.T) {
	g := gomega.NewWithT(t)
	g.SetDefaultEventuallyTimeout(30 * time.Second)
	ctrl.SetLogger(logr.Discard())
	ctx, cancel := context.WithCancel(t.Context())

	// The API server must know the authority's certificate from its start, so this one is given and not self-made.
	directory, address := t.TempDir(), testenv.FreeAddress()
	certificate, key, err := cert.GenerateSelfSignedCertKey("localhost", nil, nil)
	g.Expect(err).NotTo(gomega.HaveOccurred())
	g.Expect(os.WriteFile(filepath.Join(directory, "tls.crt"), certificate, 0o600)).To(gomega.Succeed())
	g.Expect(os.WriteFile(filepath.Join(directory, "tls.key"), key, 0o600)).To(gomega.Succeed())
	_, port, err := net.SplitHostPort(address)
	g.Expect(err).NotTo(gomega.HaveOccurred())
	webhook := filepath.Join(directory, "webhook.kubeconfig")
	g.Expect(clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"authority": {
			Server: "https://localhost:" + port + "/v1/issuers/default/tokenreview", CertificateAuthorityData: certificate,
		}},
		Contexts:       map[string]*clientcmdapi.Context{"authority": {Cluster: "authority"}},
		CurrentContext: "authority",
	}, webhook)).To(gomega.Succeed())

	controlPlane, err := testenv.Start(ctx,
		"--authentication-token-webhook-config-file="+webhook, "--authentication-token-webhook-version=v1",
		"--authentication-token-webhook-cache-ttl=1s")
	g.Expect(err).NotTo(gomega.HaveOccurred())
	t.Cleanup(func() {
		cancel()
		if err := controlPlane.Stop(); err != nil {
			t.Error(err)
		}
	})
	binary, err := testenv.BuildOperator(ctx, directory)
	g.Expect(err).NotTo(gomega.HaveOccurred())
	operator, err := testenv.StartOperator(ctx, binary, controlPlane.OperatorKubeconfig,
		"--authority-bind-address="+address, "--authority-cert-dir="+directory)
	g.Expect(err).NotTo(gomega.HaveOccurred())
	t.Cleanup(func() {
		operator.Stop()
		if err := operator.Remove(); err != nil {
			t.Error(err)
		}
	})

	k8s := controlPlane.Client
	alice := &v1alpha1.AccountToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "alice"},
		Spec:       v1alpha1.AccountTokenSpec{Account: "alice"},
	}
	for _, object := range []client.Object{
		&v1alpha1.ClusterTokenIssuer{
			ObjectMeta: metav1.ObjectMeta{Name: "default"},
			Spec: v1alpha1.ClusterTokenIssuerSpec{
				BuiltIn: &v1alpha1.BuiltInIssuer{Accounts: []v1alpha1.Account{{Name: "alice"}}},
				Grants:  []v1alpha1.Grant{{Namespaces: []v1alpha1.NamespaceName{"default"}, Accounts: []v1alpha1.AccountPattern{"alice"}}},
			},
		},
		&rbacv1.Role{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "reader"},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}}},
		},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "reader"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "tokensteward:account:alice"}},
		},
		alice,
	} {
		g.Expect(k8s.Create(ctx, object)).To(gomega.Succeed())
	}
	var secret corev1.Secret
	g.Eventually(func() error { return k8s.Get(ctx, client.ObjectKeyFromObject(alice), &secret) }).Should(gomega.Succeed())

	config := rest.AnonymousClientConfig(controlPlane.Admin)
	config.BearerToken = string(secret.Data["API_TOKEN"])
	bearer, err := client.New(config, client.Options{Scheme: manager.Scheme(), Mapper: k8s.RESTMapper()})
	g.Expect(err).NotTo(gomega.HaveOccurred())

	roots := x509.NewCertPool()
	g.Expect(roots.AppendCertsFromPEM(certificate)).To(gomega.BeTrue())
	service := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	introspect := func() (answer struct {
		Active bool
		Sub    string
	}) {
		response, err := service.PostForm("https://localhost:"+port+"/v1/issuers/default/introspect", url.Values{"token": {config.BearerToken}})
		g.Expect(err).NotTo(gomega.HaveOccurred())
		defer response.Body.Close()
		g.Expect(json.NewDecoder(response.Body).Decode(&answer)).To(gomega.Succeed())
		return answer
	}
	g.Expect(introspect().Active).To(gomega.BeTrue())
	g.Expect(introspect().Sub).To(gomega.Equal("tokensteward:account:alice"))

	whoami := &authenticationv1.SelfSubjectReview{}
	g.Expect(bearer.Create(ctx, whoami)).To(gomega.Succeed())
	g.Expect(whoami.Status.UserInfo.Username).To(gomega.Equal("tokensteward:account:alice"))
	g.Expect(whoami.Status.UserInfo.Groups).To(gomega.ConsistOf("system:authenticated"))
	g.Expect(bearer.List(ctx, &corev1.ConfigMapList{}, client.InNamespace("default"))).To(gomega.Succeed())
	g.Expect(apierrors.IsForbidden(bearer.List(ctx, &corev1.SecretList{}, client.InNamespace("default")))).To(gomega.BeTrue())

	g.Expect(k8s.Delete(ctx, alice)).To(gomega.Succeed())
	g.Eventually(func() bool { return introspect().Active }).Should(gomega.BeFalse())
	g.Eventually(func() bool { // The API server remembers a yes for as long as its flag says.
		return apierrors.IsUnauthorized(bearer.List(ctx, &corev1.ConfigMapList{}, client.InNamespace("default")))
	}).Should(gomega.BeTrue(), "the API server still accepts the token of a deleted resource")
}
