//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
)

const (
	codacyPort    = 8443
	mintOperation = "createRepositoryApiToken"
)

// codacy is the stand-in, in a pod. Its web UI, which asks nobody for a password, is reached through kubectl alone.
type codacy struct {
	*stories
	// host is its address and port within the cluster, and ca that of its certificate.
	host, ca string
	// credential is an API token of its account. It never expires.
	credential string
	ui         string
}

func startCodacy(s *stories) *codacy {
	s.Helper()
	s.apply(`
apiVersion: v1
kind: Service
metadata: {name: codacy, namespace: codacy}
spec:
  selector: {app: codacy}
  ports: [{port: 8443}]
`)
	c := &codacy{stories: s, credential: rand.Text()}
	ip := s.serviceIP("codacy", "codacy")
	c.host = fmt.Sprintf("%s:%d", ip, codacyPort)
	s.apply(secret("codacy", "account", "token", c.credential))
	s.apply(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: codacy, namespace: codacy, labels: {app: codacy}}
spec:
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: codacy
      image: %s
      imagePullPolicy: Never
      args: [--edition=cloud-2026-08, "--listen=:%d", "--listen-ui=127.0.0.1:8081", "--names=%s", --directory=/data/codacy, --token-file=/account/token]
      readinessProbe: {tcpSocket: {port: %[2]d}, periodSeconds: 1}
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: data, mountPath: /data}, {name: account, mountPath: /account, readOnly: true}]
  volumes:
    - {name: data, emptyDir: {}}
    - {name: account, secret: {secretName: account}}
`, codacyImage, codacyPort, ip))
	s.kubectl("-n", "codacy", "wait", "--for=condition=Ready", "pod/codacy", "--timeout=60s")
	c.forward()
	c.ca = c.ask(http.MethodGet, "/ca.crt", "")
	return c
}

var forwarding = regexp.MustCompile(`Forwarding from (127\.0\.0\.1:\d+)`)

// forward has kubectl carry connections to the web UI until the tests end.
func (c *codacy) forward() {
	c.Helper()
	command := c.command(kubectlBinary(), "-n", "codacy", "port-forward", "pod/codacy", ":8081")
	output, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		c.Fatal(err)
	}
	for lines := bufio.NewScanner(output); lines.Scan(); {
		if found := forwarding.FindStringSubmatch(lines.Text()); found != nil {
			c.ui = "http://" + found[1]
			go drain(command, output)
			return
		}
	}
	c.Fatalf("kubectl port-forward ended: %v", command.Wait())
}

// drain reads what a process prints, lest it waits for a reader, until it ends with the tests.
func drain(command *exec.Cmd, output io.Reader) {
	_, _ = io.Copy(io.Discard, output)
	_ = command.Wait()
}

func (c *codacy) ask(method, path, body string) string {
	c.Helper()
	request, err := http.NewRequestWithContext(c.ctx, method, c.ui+path, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.Fatal(err)
	}
	defer response.Body.Close()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(response.Body); err != nil || response.StatusCode >= http.StatusBadRequest {
		c.Fatalf("the stand-in's web UI: %s %s: %s %v", method, path, response.Status, err)
	}
	return answer.String()
}

// requests counts those of an operation.
func (c *codacy) requests(operation string) int {
	c.Helper()
	var counts map[string]int
	if err := json.Unmarshal([]byte(c.ask(http.MethodGet, "/requests", "")), &counts); err != nil {
		c.Fatal(err)
	}
	return counts[operation]
}

func (c *codacy) fault(operation, kind string, count int) {
	c.Helper()
	c.ask(http.MethodPost, "/fault", fmt.Sprintf(`{"operation":%q,"kind":%q,"count":%d}`, operation, kind, count))
}

// living counts the repository's tokens whose name tells that they are of the resource with a UID; "": all.
func (c *codacy) living(uid string) (count int) {
	c.Helper()
	var tokens []struct{ Kind, Name string }
	if err := json.Unmarshal([]byte(c.ask(http.MethodGet, "/tokens", "")), &tokens); err != nil {
		c.Fatal(err)
	}
	part := uid[:min(len(uid), 20)]
	for _, t := range tokens {
		if t.Kind == "repository" && strings.Contains(t.Name, part) {
			count++
		}
	}
	return count
}

// issuer is an issuer that connects to the stand-in.
func (c *codacy) issuer(kind, name, inNamespace, more string) string {
	return fmt.Sprintf(`
apiVersion: tokensteward.io/v1alpha1
kind: %s
metadata: {name: %s, namespace: %q}
spec:
  codacy:
    url: https://%s
    caBundle: %s
    credentialsSecretRef: {name: codacy}
%s
`, kind, name, inNamespace, c.host, base64.StdEncoding.EncodeToString([]byte(c.ca)), more)
}
