package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

const (
	// connections to the authority, each of which asks again as soon as it has an answer.
	connections = 16
	// rounds of load, on the authority and on the empty handler in turn.
	rounds, round = 5, 4 * time.Second
)

// authorityLoad holds the authority against a server whose handler does nothing, both over HTTPS and HTTP/1.1.
func authorityLoad(ctx context.Context, w *world, _ *options) error {
	const n, namespace, scenario = compared, "asked", "authority, 16 connections"
	return w.withOperator(ctx, func(operator *testenv.Operator) error {
		if _, err := w.burst(ctx, operator.PID(), namespace, "default", n); err != nil {
			return err
		}
		var secret corev1.Secret
		if err := w.k8s.Get(ctx, client.ObjectKeyFromObject(newToken(namespace, "default", 0)), &secret); err != nil {
			return err
		}
		ca, err := os.ReadFile(operator.CAFile)
		if err != nil {
			return err
		}
		empty, stop, err := startEmpty(ctx)
		if err != nil {
			return err
		}
		defer stop()
		authority := &target{operator.AuthorityURL + "/v1/issuers/default/authorize", ca, string(secret.Data["API_TOKEN"])}
		var ours, theirs, ratios []float64
		for range rounds {
			a, err := authority.load(ctx)
			if err != nil {
				return err
			}
			b, err := empty.load(ctx)
			if err != nil {
				return err
			}
			ours, theirs, ratios = append(ours, a), append(theirs, b), append(ratios, a/b)
		}
		for _, values := range [][]float64{ours, theirs, ratios} {
			slices.Sort(values)
		}
		w.results.report(scenario, "answers per second", ours[rounds/2], "")
		w.results.report(scenario, "answers per second of an empty handler", theirs[rounds/2], "")
		w.results.holdLeast(scenario, "answers / the empty handler's", ratios[rounds/2], "×", 0.8)
		return nil
	})
}

// target is a server under load.
type target struct {
	url   string
	ca    []byte
	value string
}

// load asks with each connection as often as it can, and returns the answers per second.
func (t *target) load(ctx context.Context) (perSecond float64, err error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(t.ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	caller := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	var answers atomic.Int64
	var all sync.WaitGroup
	problems := make([]error, connections)
	start := time.Now()
	for i := range connections {
		all.Go(func() {
			for time.Since(start) < round {
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, http.NoBody)
				if err != nil {
					problems[i] = err
					return
				}
				request.Header.Set("api-token", t.value)
				response, err := caller.Do(request)
				if err != nil {
					problems[i] = err
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
				if response.StatusCode != http.StatusOK {
					problems[i] = fmt.Errorf("the answer was %d", response.StatusCode)
					return
				}
				answers.Add(1)
			}
		})
	}
	all.Wait()
	return float64(answers.Load()) / time.Since(start).Seconds(), errors.Join(problems...)
}

// startEmpty runs serveEmpty as a process of its own.
func startEmpty(ctx context.Context) (*target, func(), error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	process := exec.CommandContext(ctx, self, "empty")
	process.Stderr = os.Stderr
	output, err := process.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := process.Start(); err != nil {
		return nil, nil, err
	}
	stop := func() { _ = process.Process.Kill(); _ = process.Wait() }
	var running codacytest.Running
	if err := json.NewDecoder(output).Decode(&running); err != nil {
		stop()
		return nil, nil, err
	}
	return &target{url: running.URL, ca: running.CAPEM}, stop, nil
}

// serveEmpty serves HTTPS with a handler that does nothing, and a certificate of the kind that the authority makes itself. It
// prints where, and the CA.
func serveEmpty(ctx context.Context) error {
	running, err := codacytest.StartTLS(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(running); err != nil {
		return err
	}
	<-ctx.Done()
	return running.Close()
}
