package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// consumerMode makes this program a consumer: a process that was given a token in its environment and knows nothing of
// Kubernetes.
const consumerMode = "consumer"

// consume reads one path a line, asks the authority whether its token may reach that, and prints the answer. The
// token stays what it was when the process began, as in a pod with envFrom.
func consume(paths io.Reader, answers io.Writer) int {
	header, value := "api-token", os.Getenv("API_TOKEN")
	for _, name := range []string{"PROJECT_TOKEN", "BACKEND_TOKEN"} {
		if token := os.Getenv(name); token != "" {
			header, value = "project-token", token
		}
	}
	if value == "" {
		fmt.Fprintln(os.Stderr, "consumer: no token in the environment")
		return 1
	}
	ca, err := os.ReadFile(os.Getenv("AUTHORITY_CA"))
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(ca) {
		fmt.Fprintln(os.Stderr, "consumer: no CA in the file that AUTHORITY_CA names")
		return 1
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	caller := &http.Client{Timeout: 10 * time.Second, Transport: transport}
	lines := bufio.NewScanner(paths)
	for lines.Scan() {
		fmt.Fprintln(answers, call(caller, header, value, lines.Text()))
	}
	return 0
}

func call(caller *http.Client, header, value, path string) string {
	request, err := http.NewRequest(http.MethodGet, os.Getenv("AUTHORITY")+"/v1/issuers/default/authorize/"+path, nil)
	if err != nil {
		return err.Error()
	}
	request.Header.Set(header, value)
	response, err := caller.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s", response.StatusCode, strings.TrimSpace(string(body)))
}
