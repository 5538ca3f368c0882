// The consumer is what the pods of the end-to-end tests run: it takes a token from its environment, as envFrom puts it
// there, calls a service with it five times a second, and prints what it is answered. It never prints the token.
//
//	consumer authorize URL   asks the built-in authority; API_TOKEN or PROJECT_TOKEN is the token
//	consumer upload          uploads test coverage to CODACY_API_BASE_URL; CODACY_PROJECT_TOKEN is the token
//
// CA_FILE names the file with the CA of the service's certificate.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	interval = 200 * time.Millisecond
	report   = `{"total":50,"fileReports":[{"filename":"main.go","coverage":{"1":1,"2":0}}]}`
	coverage = "/2.0/coverage/4b825dc642cb6eb9a060e54bf8d69288fbee4904/go?partial=false"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "consumer:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	ca, err := os.ReadFile(os.Getenv("CA_FILE"))
	if err != nil {
		return fmt.Errorf("CA_FILE: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return errors.New("CA_FILE holds no certificate")
	}
	request, err := newRequest(arguments)
	if err != nil {
		return err
	}
	caller := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		// A connection for each call: what counts is what a client finds that has just begun.
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}
	for range time.Tick(interval) {
		fmt.Println(call(caller, request))
	}
	return nil
}

// newRequest makes requests, each the same.
func newRequest(arguments []string) (func() (*http.Request, error), error) {
	switch {
	case len(arguments) == 2 && arguments[0] == "authorize":
		header, value := "api-token", os.Getenv("API_TOKEN")
		if value == "" {
			header, value = "project-token", os.Getenv("PROJECT_TOKEN")
		}
		return with(http.MethodGet, arguments[1], "", header, value)
	case len(arguments) == 1 && arguments[0] == "upload":
		return with(http.MethodPost, os.Getenv("CODACY_API_BASE_URL")+coverage, report, "project-token", os.Getenv("CODACY_PROJECT_TOKEN"))
	default:
		return nil, errors.New("usage: consumer authorize URL | consumer upload")
	}
}

func with(method, url, body, header, value string) (func() (*http.Request, error), error) {
	if value == "" {
		return nil, errors.New("no token in the environment")
	}
	return func() (*http.Request, error) {
		request, err := http.NewRequest(method, url, strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		request.Header.Set(header, value)
		request.Header.Set("Content-Type", "application/json")
		return request, nil
	}, nil
}

// call gives the answer as a status and what it was with, or the error.
func call(caller *http.Client, newRequest func() (*http.Request, error)) string {
	request, err := newRequest()
	if err != nil {
		return "error " + err.Error()
	}
	response, err := caller.Do(request)
	if err != nil {
		return "error " + err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if err != nil {
		return "error " + err.Error()
	}
	return fmt.Sprintf("%d %s", response.StatusCode, strings.TrimSpace(string(body)))
}
