package testenv

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/internal/authority"
)

const operatorStartTimeout = time.Minute

// Operator is a running manager process.
type Operator struct {
	// AuthorityURL is where it checks tokens; CAFile holds the CA of its certificate.
	AuthorityURL string
	CAFile       string
	// MetricsURL is where it serves its metrics.
	MetricsURL string
	LogFile    string

	process   *exec.Cmd
	ended     chan struct{}
	directory string
}

// BuildOperator builds the manager from this repository into a directory and returns the path of the binary.
func BuildOperator(ctx context.Context, directory string) (string, error) {
	binary := filepath.Join(directory, "manager")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/manager")
	build.Dir = Root()
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, output)
	}
	return binary, nil
}

// StartOperator starts a manager binary and waits until it is ready. More flags may be given to it.
func StartOperator(ctx context.Context, binary, kubeconfig string, flags ...string) (*Operator, error) {
	const tries = 3 // An address that was free may be taken a moment later.
	for try := 1; ; try++ {
		o, err := startOperator(ctx, binary, kubeconfig, flags...)
		if err == nil || try == tries || !strings.Contains(err.Error(), "address already in use") {
			return o, err
		}
	}
}

func startOperator(ctx context.Context, binary, kubeconfig string, flags ...string) (*Operator, error) {
	directory, err := os.MkdirTemp("", "tokensteward-operator-")
	if err != nil {
		return nil, err
	}
	authorityAddress, metricsAddress, probeAddress := FreeAddress(), FreeAddress(), FreeAddress()
	o := &Operator{
		AuthorityURL: "https://" + authorityAddress, MetricsURL: "http://" + metricsAddress + "/metrics",
		CAFile: filepath.Join(directory, "ca.crt"), LogFile: filepath.Join(directory, "operator.log"),
		directory: directory, ended: make(chan struct{}),
	}
	log, err := os.Create(o.LogFile)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	o.process = exec.Command(binary, append([]string{
		"--kubeconfig=" + kubeconfig, "--authority-bind-address=" + authorityAddress,
		"--metrics-bind-address=" + metricsAddress, "--metrics-authentication=false", "--health-probe-bind-address=" + probeAddress,
	}, flags...)...)
	o.process.Stdout, o.process.Stderr = log, log
	if err := o.process.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", binary, err)
	}
	go func() {
		_ = o.process.Wait() // How it ended is in the log.
		close(o.ended)
	}()
	err = o.waitReady(ctx, "http://"+probeAddress+"/readyz")
	if err == nil {
		err = o.writeCA(ctx, kubeconfig)
	}
	if err != nil {
		o.Stop()
		return nil, fmt.Errorf("%w; its log: %s", err, o.Log())
	}
	return o, nil
}

func (o *Operator) waitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, operatorStartTimeout)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.New("the operator did not become ready in time")
		case <-o.ended:
			return errors.New("the operator ended before it was ready")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (o *Operator) writeCA(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	reader, err := client.New(config, client.Options{})
	if err != nil {
		return err
	}
	var published corev1.ConfigMap
	err = reader.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: authority.CAConfigMapName}, &published)
	if apierrors.IsNotFound(err) {
		return nil // It was given a certificate.
	}
	if err != nil {
		return fmt.Errorf("reading the authority's CA: %w", err)
	}
	return os.WriteFile(o.CAFile, []byte(published.Data["ca.crt"]), 0o600)
}

// Client is an HTTP client that trusts the authority.
func (o *Operator) Client() (*http.Client, error) {
	ca, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
	}, nil
}

// Log is what the process has logged so far.
func (o *Operator) Log() string {
	log, err := os.ReadFile(o.LogFile)
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// PID is the process's number.
func (o *Operator) PID() int { return o.process.Process.Pid }

// Kill ends the process at once, with SIGKILL. It leaves the log.
func (o *Operator) Kill() {
	_ = o.process.Process.Kill() // It may have ended by itself.
	<-o.ended
}

// Freeze stops the process where it is, with SIGSTOP, until Thaw.
func (o *Operator) Freeze() { _ = o.process.Process.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (o *Operator) Thaw() { _ = o.process.Process.Signal(syscall.SIGCONT) }

// HasEnded says whether the process has ended.
func (o *Operator) HasEnded() bool {
	select {
	case <-o.ended:
		return true
	default:
		return false
	}
}

// Stop ends the process in order.
func (o *Operator) Stop() {
	_ = o.process.Process.Signal(syscall.SIGTERM) // It may have ended by itself.
	<-o.ended
}

// Remove removes the process's files, the log included.
func (o *Operator) Remove() error { return os.RemoveAll(o.directory) }
