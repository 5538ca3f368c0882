package manager

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/pflag"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// Options are the operator's flags.
type Options struct {
	Namespace      string
	InstallationID string

	LeaderElection bool
	LeaseDuration  time.Duration
	RenewDeadline  time.Duration
	RetryPeriod    time.Duration

	AuthorityAddress  string
	AuthorityCertDir  string
	AuthorityDNSNames []string
	// AuthorityMaxStaleness is how long a replica that is cut off from the API server still answers.
	AuthorityMaxStaleness time.Duration

	MetricsAddress string
	ProbeAddress   string

	Log zap.Options
}

// AddFlags defines the flags with their defaults. The ones of controller-runtime, --kubeconfig and --zap-…, come along.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	namespace := os.Getenv("POD_NAMESPACE")
	if namespace == "" {
		namespace = "tokensteward-system"
	}
	flags.StringVar(&o.Namespace, "namespace", namespace,
		"The operator's own namespace: it keeps the installation id, the leader's lease and the authority's certificate there. By default $POD_NAMESPACE.")
	flags.StringVar(&o.InstallationID, "installation-id", "",
		"Tells this installation's Secrets and tokens from others': 6 to 20 lowercase letters and digits. By default one is made once and kept in a ConfigMap.")
	flags.BoolVar(&o.LeaderElection, "leader-elect", true,
		"Let only one of several replicas mint and revoke. Every replica checks tokens.")
	flags.DurationVar(&o.LeaseDuration, "leader-elect-lease-duration", 15*time.Second, "How long a leader that is not heard of stays the leader.")
	flags.DurationVar(&o.RenewDeadline, "leader-elect-renew-deadline", 10*time.Second,
		"How long a leader tries to renew its lease before it gives up. A mint that takes longer is not carried on.")
	flags.DurationVar(&o.RetryPeriod, "leader-elect-retry-period", 2*time.Second, "How long replicas wait between tries to lead.")
	flags.StringVar(&o.AuthorityAddress, "authority-bind-address", ":9443", "Where the built-in authority serves HTTPS.")
	flags.StringVar(&o.AuthorityCertDir, "authority-cert-dir", "",
		"The directory with tls.crt and tls.key for the authority, followed when they change. By default it makes its own certificate and publishes the CA in the ConfigMap tokensteward-authority-ca.")
	flags.StringSliceVar(&o.AuthorityDNSNames, "authority-dns-names", nil,
		"Names, besides those of the Service tokensteward-authority and localhost, for the self-made certificate.")
	flags.DurationVar(&o.AuthorityMaxStaleness, "authority-max-staleness", 30*time.Second,
		"How long a replica that is cut off from the API server goes on to answer from what it knows; then it answers 503 and is not ready. At least 15s.")
	flags.StringVar(&o.MetricsAddress, "metrics-bind-address", "0", "Where metrics are served over HTTP; 0 turns them off.")
	flags.StringVar(&o.ProbeAddress, "health-probe-bind-address", ":8081", "Where /healthz and /readyz are served over HTTP; 0 turns them off.")

	controllerRuntime := flag.NewFlagSet("", flag.ContinueOnError)
	flag.CommandLine.VisitAll(func(f *flag.Flag) { controllerRuntime.Var(f.Value, f.Name, f.Usage) })
	o.Log.BindFlags(controllerRuntime)
	flags.AddGoFlagSet(controllerRuntime)
}

// Validate says what is wrong with the flags, all at once.
func (o *Options) Validate() error {
	var problems []error
	if o.Namespace == "" {
		problems = append(problems, errors.New("--namespace is empty: name the namespace that the operator runs in"))
	}
	if o.InstallationID != "" && !installationID.MatchString(o.InstallationID) {
		problems = append(problems, errors.New("--installation-id must be 6 to 20 lowercase letters and digits"))
	}
	if o.RenewDeadline >= o.LeaseDuration || o.RetryPeriod >= o.RenewDeadline || o.RetryPeriod <= 0 {
		problems = append(problems, errors.New("leader election needs retry-period < renew-deadline < lease-duration, all above 0"))
	}
	if _, _, err := net.SplitHostPort(o.AuthorityAddress); err != nil {
		problems = append(problems, fmt.Errorf("--authority-bind-address must be host:port or :port: %w", err))
	}
	if o.AuthorityMaxStaleness < 15*time.Second {
		problems = append(problems, errors.New("--authority-max-staleness must be at least 15s: it takes 10s to find out that a connection is dead"))
	}
	return errors.Join(problems...)
}

func (o *Options) dnsNames() []string {
	service := "tokensteward-authority." + o.Namespace
	return append([]string{service, service + ".svc", service + ".svc.cluster.local", "localhost"}, o.AuthorityDNSNames...)
}
