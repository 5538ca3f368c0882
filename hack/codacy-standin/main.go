// The stand-in plays Codacy on this machine, so that the operator, or whatever else uses Codacy's API tokens, can be tried
// without an account there. It has a second, small API for what a person would do in Codacy's web UI, and to make it fail.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/utils/clock"

	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

const usage = `Play Codacy, with one account and one repository.

  go run ./hack/codacy-standin --edition cloud-2026-08 --directory "$(mktemp -d)"

Into the directory go ca.crt, the CA of the certificate, and token, an API token of the account. The web UI is a second
address, without TLS:

  GET    /tokens        the tokens that live, without their values
  POST   /tokens        make one by hand: {"kind":"account"} or {"kind":"repository","name":"ci"}, with "expiresAt" if it is
                        to expire; its value is written into the directory, and the answer tells the file
  DELETE /tokens/<id>   revoke one
  GET    /ca.crt        the CA of the certificate
  GET    /requests      how many requests there were of each operation, and how many of them were refused
  POST   /fault         make the next requests of an operation fail: {"operation":"createRepositoryApiToken",
                        "kind":"act-then-504","count":2}, with "status" and "retryAfterSeconds", "delaySeconds" or "url" where
                        the kind has a use for it; instead of the fault before. Kinds:
                        %s

Flags:
`

// options are the flags.
type options struct {
	edition, listen, listenUI, directory, tokenFile, account, email, repository string
	names                                                                       []string
}

func main() {
	o := options{}
	flags := pflag.NewFlagSet("codacy-standin", pflag.ContinueOnError)
	flags.StringVar(&o.edition, "edition", codacytest.Editions[0], "which Codacy to be: "+strings.Join(codacytest.Editions, ", "))
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "address of Codacy")
	flags.StringVar(&o.listenUI, "listen-ui", "127.0.0.1:0", "loopback address of the web UI")
	flags.StringVar(&o.directory, "directory", "", "where to write ca.crt and token (required)")
	flags.StringSliceVar(&o.names, "names", nil, "names and IP addresses for the certificate, besides those of loopback")
	flags.StringVar(&o.tokenFile, "token-file", "", "a file with the value that the account's API token is to have; by default one is made")
	flags.StringVar(&o.account, "account", "Robot", "name of the account")
	flags.StringVar(&o.email, "email", "robot@acme.example", "e-mail address of the account")
	flags.StringVar(&o.repository, "repository", "gh/acme/api", "the repository: provider/organization/name")
	flags.Usage = func() {
		fmt.Fprintf(os.Stderr, usage, faultKinds())
		flags.PrintDefaults()
	}
	err := flags.Parse(os.Args[1:])
	if err == nil {
		err = run(&o)
	}
	if err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "codacy-standin:", err)
		os.Exit(1)
	}
}

// faultKinds are all, for people.
func faultKinds() string {
	var names []string
	for _, kind := range codacytest.FaultKinds {
		names = append(names, string(kind))
	}
	return strings.Join(names, ", ")
}

func run(o *options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	behaviour, err := codacytest.Edition(o.edition)
	if err != nil {
		return err
	}
	repository := strings.Split(o.repository, "/")
	if len(repository) != 3 || o.directory == "" {
		return errors.New("--directory is required, and --repository is provider/organization/name; see --help")
	}
	if err := os.MkdirAll(o.directory, 0o700); err != nil {
		return err
	}
	codacy := codacytest.New(clock.RealClock{}, behaviour)
	ui := &webUI{codacy: codacy, directory: o.directory, account: codacy.AddAccount(o.account, o.email), repository: [3]string(repository)}
	codacy.AddRepository(repository[0], repository[1], repository[2])
	if err := ui.giveToken(o.tokenFile); err != nil {
		return err
	}

	running, err := codacytest.StartTLS(codacy, o.listen, o.names...)
	if err != nil {
		return err
	}
	defer running.Close()
	ui.ca = running.CAPEM
	if err := os.WriteFile(filepath.Join(o.directory, "ca.crt"), running.CAPEM, 0o600); err != nil {
		return err
	}
	listener, err := listenLoopback(ctx, o.listenUI)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: ui.handler(), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // Until Close.
	defer server.Close()

	explain(o, running.URL, "http://"+listener.Addr().String())
	<-ctx.Done()
	return nil
}

// listenLoopback refuses addresses that others can reach: the web UI asks nobody for a password.
func listenLoopback(ctx context.Context, address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if at, ok := listener.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
		listener.Close()
		return nil, fmt.Errorf("--listen-ui %s is not a loopback address", address)
	}
	return listener, nil
}

func explain(o *options, url, ui string) {
	fmt.Printf(`Playing %s, with the repository %s.

  Codacy:  %s
  Web UI:  %s    (--help tells what it can do)

To connect an operator that runs on this machine, in another shell:

kubectl -n tokensteward-system create secret generic codacy --from-file=CODACY_API_TOKEN=%s
kubectl apply -f - <<END
apiVersion: tokensteward.io/v1alpha1
kind: ClusterTokenIssuer
metadata:
  name: codacy
spec:
  codacy:
    url: %s
    caBundle: $(base64 < %s | tr -d '\n')
    credentialsSecretRef:
      name: codacy
  grants:
    - namespaces: [team-a]
      accounts: ["*"]
      projects: ["*/*/*"]
END

Ctrl-C ends it.
`, o.edition, o.repository, url, ui, filepath.Join(o.directory, "token"), url, filepath.Join(o.directory, "ca.crt"))
}
