// Command client calls a service that the built-in authority protects, ten times a second, with the token that was in a
// Secret when it started, as a container that has it in its environment. It prints how often it was answered what.
//
// It needs nothing but the standard library, so that many of them start quickly.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run() error {
	secret := flag.String("secret", "", "the Secret's URL at the API server")
	key := flag.String("key", "", "the token's key in it")
	apiCA := flag.String("api-ca", "", "the file with the CA of the API server")
	certificate := flag.String("certificate", "", "the files, without .crt and .key, of the certificate to show there")
	url := flag.String("url", "", "what to call")
	ca := flag.String("ca", "", "the file with its CA")
	pause := flag.Duration("pause", 100*time.Millisecond, "the time from call to call")
	flag.Parse()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1) // Who started it is gone.
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()

	value, err := tokenIn(ctx, *secret, *key, *apiCA, *certificate)
	if err != nil {
		return err
	}
	caller, err := trusting(*ca)
	if err != nil {
		return err
	}
	// By the status of the answer; 0 is none.
	counts := map[int]int{}
	ticker := time.NewTicker(*pause)
	for ready := false; ctx.Err() == nil; {
		status := call(caller, *url, value)
		counts[status]++
		if !ready && status != 0 && status != http.StatusServiceUnavailable {
			ready = true
			fmt.Println("ready")
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	return json.NewEncoder(os.Stdout).Encode(counts)
}

// tokenIn reads the Secret, once.
func tokenIn(ctx context.Context, url, key, caFile, certificateName string) (string, error) {
	reader, err := trusting(caFile)
	if err != nil {
		return "", err
	}
	defer reader.CloseIdleConnections()
	certificate, err := tls.LoadX509KeyPair(certificateName+".crt", certificateName+".key")
	if err != nil {
		return "", err
	}
	reader.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{certificate}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := reader.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var secret struct{ Data map[string][]byte }
	if err := json.NewDecoder(response.Body).Decode(&secret); err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK || len(secret.Data[key]) == 0 {
		return "", fmt.Errorf("reading the Secret: %s, and no token", response.Status)
	}
	return string(secret.Data[key]), nil
}

func trusting(caFile string) (*http.Client, error) {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("there is no CA in " + caFile)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	return &http.Client{Timeout: 5 * time.Second, Transport: transport}, nil
}

// call asks the authority as the proxy before a service does, and returns the status of its answer; 0 if there is none.
func call(caller *http.Client, url, value string) int {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	request.Header.Set("api-token", value)
	response, err := caller.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}
