package manager

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/tokensteward/tokensteward/controllers"
	"github.com/tokensteward/tokensteward/internal/installation"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
)

// leastStaleness is the least --authority-max-staleness: detection, and a moment for a watch that was lost to come back.
const leastStaleness = detection + 5*time.Second

// Options are the operator's flags.
type Options struct {
	Namespace      string
	InstallationID string
	// Scope is what is looked after.
	Scope controllers.Scope
	// DefaultIssuer is a file with a ClusterTokenIssuer to apply; empty: none.
	DefaultIssuer string

	LeaderElection bool
	LeaseDuration  time.Duration
	RenewDeadline  time.Duration
	RetryPeriod    time.Duration

	// AllowedHosts are those that a TokenIssuer may connect to.
	AllowedHosts []string
	// RateLimits are the limits of requests to hosts, as host=requests/period/burst.
	RateLimits []string
	// ServiceTimeout bounds one request to a service, and ServicePause is how long one that does not answer is left alone.
	ServiceTimeout time.Duration
	ServicePause   time.Duration

	AuthorityAddress  string
	AuthorityCertDir  string
	AuthorityDNSNames []string
	// AuthorityMaxStaleness is how long a replica that is cut off from the API server still answers.
	AuthorityMaxStaleness time.Duration

	MetricsAddress string
	// MetricsAuthentication has metrics served over HTTPS, to whom the API server lets read them.
	MetricsAuthentication bool
	ProbeAddress          string

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
	flags.StringSliceVar(&o.Scope.Namespaces, "namespaces", nil,
		"The namespaces, separated by commas, whose tokens and TokenIssuers are looked after. By default all. With some, orphaned tokens are only reported, and the operator works with Roles in these namespaces and its own.")
	flags.Var((*negated)(&o.Scope.WithoutClusterIssuers), "cluster-issuers",
		"Serve ClusterTokenIssuers and the built-in authority. Without, only TokenIssuers are served, and nothing is read that belongs to the whole cluster.")
	flags.Lookup("cluster-issuers").NoOptDefVal = "true"
	flags.StringVar(&o.DefaultIssuer, "default-issuer", "",
		"A YAML file with a ClusterTokenIssuer, which the operator applies when it starts. It never deletes it.")
	flags.BoolVar(&o.LeaderElection, "leader-elect", true,
		"Let only one of several replicas mint and revoke. Every replica checks tokens.")
	flags.DurationVar(&o.LeaseDuration, "leader-elect-lease-duration", 15*time.Second, "How long a leader that is not heard of stays the leader.")
	flags.DurationVar(&o.RenewDeadline, "leader-elect-renew-deadline", 10*time.Second,
		"How long a leader tries to renew its lease before it gives up. "+
			"If it takes longer to write down that a token is about to be made, the service is not asked for it.")
	flags.DurationVar(&o.RetryPeriod, "leader-elect-retry-period", 2*time.Second, "How long replicas wait between tries to lead.")
	flags.StringSliceVar(&o.AllowedHosts, "allowed-hosts", []string{"app.codacy.com"},
		"Hosts, each with :port if it is not 443, that a TokenIssuer may connect to: whoever may create one decides where a Secret's value is sent. A ClusterTokenIssuer may connect anywhere.")
	flags.StringSliceVar(&o.RateLimits, "service-rate-limits", []string{"app.codacy.com=1000/5m/50"},
		"How many requests the operator makes to a host in a period, and how many of them at once: host=requests/period/burst.")
	flags.DurationVar(&o.ServiceTimeout, "service-timeout", 30*time.Second, "How long a request to an issuer's service may take.")
	flags.DurationVar(&o.ServicePause, "service-pause", 30*time.Second, "How long an issuer's service that does not answer is left alone before it is asked again.")
	flags.StringVar(&o.AuthorityAddress, "authority-bind-address", ":9443", "Where the built-in authority serves HTTPS.")
	flags.StringVar(&o.AuthorityCertDir, "authority-cert-dir", "",
		"The directory with tls.crt and tls.key for the authority, followed when they change. By default it makes its own certificate and publishes the CA in the ConfigMap tokensteward-authority-ca.")
	flags.StringSliceVar(&o.AuthorityDNSNames, "authority-dns-names", nil,
		"Names, besides those of the Service tokensteward-authority and localhost, for the self-made certificate.")
	flags.DurationVar(&o.AuthorityMaxStaleness, "authority-max-staleness", 30*time.Second,
		fmt.Sprintf("How long a replica that is cut off from the API server goes on to answer from what it knows; "+
			"then it answers 503 and is not ready. At least %s.", leastStaleness))
	flags.StringVar(&o.MetricsAddress, "metrics-bind-address", "0", "Where metrics are served; 0 turns them off.")
	flags.BoolVar(&o.MetricsAuthentication, "metrics-authentication", true,
		"Serve metrics over HTTPS, and to those alone whom the API server knows and allows to get /metrics. Without, they are served over HTTP to everybody.")
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
	if o.InstallationID != "" && !installation.Valid(o.InstallationID) {
		problems = append(problems, errors.New("--installation-id must be 6 to 20 lowercase letters and digits"))
	}
	if err := validateNamespaces(o.Scope.Namespaces); err != nil {
		problems = append(problems, err)
	}
	if o.DefaultIssuer != "" && o.Scope.WithoutClusterIssuers {
		problems = append(problems, errors.New("--default-issuer is a ClusterTokenIssuer, and --cluster-issuers=false excludes those: leave out one of the two"))
	}
	if o.RenewDeadline >= o.LeaseDuration || o.RetryPeriod >= o.RenewDeadline || o.RetryPeriod <= 0 {
		problems = append(problems, errors.New("leader election needs retry-period < renew-deadline < lease-duration, all above 0"))
	}
	for _, limit := range o.RateLimits {
		if _, _, err := parseLimit(limit); err != nil {
			problems = append(problems, err)
		}
	}
	if o.ServiceTimeout <= 0 || o.ServicePause <= 0 {
		problems = append(problems, errors.New("--service-timeout and --service-pause must be above 0"))
	}
	if _, _, err := net.SplitHostPort(o.AuthorityAddress); err != nil {
		problems = append(problems, fmt.Errorf("--authority-bind-address must be host:port or :port: %w", err))
	}
	if o.AuthorityMaxStaleness < leastStaleness {
		problems = append(problems, fmt.Errorf("--authority-max-staleness must be at least %s: "+
			"it takes %s to find out that a connection is dead", leastStaleness, detection))
	}
	return errors.Join(problems...)
}

// limits are the rate limits by host. Validate has found them in order.
func (o *Options) limits() map[string]codacy.Limit {
	limits := map[string]codacy.Limit{}
	for _, text := range o.RateLimits {
		if host, limit, err := parseLimit(text); err == nil {
			limits[host] = limit
		}
	}
	return limits
}

func parseLimit(text string) (host string, limit codacy.Limit, err error) {
	wrong := fmt.Errorf("--service-rate-limits: %q is not host=requests/period/burst, such as app.codacy.com=1000/5m/50", text)
	host, rest, _ := strings.Cut(text, "=")
	parts := strings.Split(rest, "/")
	if host == "" || len(parts) != 3 {
		return "", limit, wrong
	}
	limit.Requests, err = strconv.Atoi(parts[0])
	if err == nil {
		limit.Period, err = time.ParseDuration(parts[1])
	}
	if err == nil {
		limit.Burst, err = strconv.Atoi(parts[2])
	}
	if err != nil || limit.Requests < 1 || limit.Period <= 0 || limit.Burst < 1 {
		return "", codacy.Limit{}, wrong
	}
	return host, limit, nil
}

// negated is a flag that says the opposite of the variable behind it.
type negated bool

// Set implements pflag.Value.
func (n *negated) Set(text string) error {
	value, err := strconv.ParseBool(text)
	*n = negated(!value)
	return err
}

func (n *negated) String() string { return strconv.FormatBool(!bool(*n)) }

// Type implements pflag.Value.
func (*negated) Type() string { return "bool" }

func (o *Options) dnsNames() []string {
	service := "tokensteward-authority." + o.Namespace
	return append([]string{service, service + ".svc", service + ".svc.cluster.local", "localhost"}, o.AuthorityDNSNames...)
}
