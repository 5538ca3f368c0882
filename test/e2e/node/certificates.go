package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const validity = 7 * 24 * time.Hour

// certificates writes, into the node's directory, the CA, the API server's and the admin's certificate, and the key that
// signs the tokens of service accounts.
func (n *Node) certificates() error {
	ca := &x509.Certificate{
		Subject: pkix.Name{CommonName: "node-ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	caKey, err := n.issue("ca", ca, nil, nil)
	if err != nil {
		return err
	}
	server := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(nodeAddress), net.ParseIP(apiServiceAddress)},
	}
	admin := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if _, err := n.issue("apiserver", server, ca, caKey); err != nil {
		return err
	}
	if _, err := n.issue("admin", admin, ca, caKey); err != nil {
		return err
	}
	_, err = n.issue("serviceaccounts", &x509.Certificate{}, ca, caKey)
	return err
}

// issue writes a certificate and its key. Without a CA it is self-signed.
func (n *Node) issue(name string, template, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if ca == nil {
		ca, caKey = template, key
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return nil, err
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(validity)
	certificate, err := x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	keyBytes, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := n.writePEM(name+".crt", "CERTIFICATE", certificate); err != nil {
		return nil, err
	}
	return key, n.writePEM(name+".key", "EC PRIVATE KEY", keyBytes)
}

func (n *Node) writePEM(name, kind string, content []byte) error {
	return os.WriteFile(n.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600)
}

// writeKubeconfig writes a file with which the admin finds the API server at an address.
func (n *Node) writeKubeconfig(path, address string) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["node"] = &clientcmdapi.Cluster{Server: "https://" + address, CertificateAuthority: n.path("ca.crt")}
	config.AuthInfos["admin"] = &clientcmdapi.AuthInfo{ClientCertificate: n.path("admin.crt"), ClientKey: n.path("admin.key")}
	config.Contexts["node"] = &clientcmdapi.Context{Cluster: "node", AuthInfo: "admin"}
	config.CurrentContext = "node"
	if err := clientcmdapi.FlattenConfig(config); err != nil {
		return err
	}
	return clientcmd.WriteToFile(*config, path)
}

func (n *Node) path(name string) string { return filepath.Join(n.directory, name) }
