// Package manager wires the operator together: the controllers on the leader, the authority in every replica.
package manager

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	ctrlmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/controllers"
	"github.com/tokensteward/tokensteward/internal/authority"
	"github.com/tokensteward/tokensteward/internal/installation"
	"github.com/tokensteward/tokensteward/internal/issuer/builtin"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/version"
)

// Scheme knows every type that the operator reads or writes.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// How fast a connection that died in silence is found out, so that a watch on it counts as lost: client-go pings a
// connection after so many seconds without traffic, and gives it up after so many without an answer.
const (
	pingAfterSeconds   = 5
	pingTimeoutSeconds = 5
	detection          = (pingAfterSeconds + pingTimeoutSeconds) * time.Second
)

// pingConnections makes client-go find dead connections within detection. Call it before the first client is made.
func pingConnections() error {
	return errors.Join(
		os.Setenv("HTTP2_READ_IDLE_TIMEOUT_SECONDS", strconv.Itoa(pingAfterSeconds)),
		os.Setenv("HTTP2_PING_TIMEOUT_SECONDS", strconv.Itoa(pingTimeoutSeconds)))
}

// Run runs the operator until a signal ends it. The clock is what tokens live by.
func Run(options *Options, clk clock.PassiveClock) error {
	if err := options.Validate(); err != nil {
		return err
	}
	log := zap.New(zap.UseFlagOptions(&options.Log))
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	log.Info("tokensteward starts", "version", version.Version)
	if err := pingConnections(); err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	ctx := ctrl.SetupSignalHandler()
	mgr, err := New(ctx, config, options, clk)
	if err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// New makes the manager with all its parts, ready to start. The clock is what tokens live by.
func New(ctx context.Context, config *rest.Config, options *Options, clk clock.PassiveClock) (ctrlmanager.Manager, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // The API server's own priority and fairness decide.
	scope := options.scope()
	freshness := authority.NewFreshness(clock.RealClock{})
	_, isReal := clk.(clock.RealClock)
	several := !isReal // With another clock there may be several in one process, one after the other.
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Controller:                    ctrlconfig.Controller{SkipNameValidation: &several},
		Scheme:                        Scheme(),
		Cache:                         cacheOptions(freshness, scope, options.Namespace),
		LeaderElection:                options.LeaderElection,
		LeaderElectionID:              "tokensteward",
		LeaderElectionNamespace:       options.Namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &options.LeaseDuration,
		RenewDeadline:                 &options.RenewDeadline,
		RetryPeriod:                   &options.RetryPeriod,
		Metrics:                       metricsOptions(options),
		HealthProbeBindAddress:        options.ProbeAddress,
	})
	if err != nil {
		return nil, fmt.Errorf("making the manager: %w", err)
	}
	live, err := client.NewWithWatch(config, client.Options{Scheme: mgr.GetScheme(), HTTPClient: mgr.GetHTTPClient(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	if scope.Limited() {
		live = &namespaced{WithWatch: live, namespaces: scope.Namespaces}
		if err := checkPermissions(ctx, live, scope.Namespaces); err != nil {
			return nil, err
		}
	}
	if options.DefaultIssuer != "" {
		if err := applyDefaultIssuer(ctx, live, options.DefaultIssuer, defaultIssuerPatience); err != nil {
			return nil, err
		}
	}
	if err := addControllers(ctx, mgr, live, options, clk); err != nil {
		return nil, err
	}
	if scope.WithoutClusterIssuers {
		err = addReadiness(ctx, mgr)
	} else {
		err = addAuthority(ctx, mgr, live, freshness, options, clk)
	}
	if err != nil {
		return nil, err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	return mgr, nil
}

func metricsOptions(options *Options) metricsserver.Options {
	served := metricsserver.Options{BindAddress: options.MetricsAddress}
	if options.MetricsAuthentication {
		served.SecureServing, served.FilterProvider = true, filters.WithAuthenticationAndAuthorization
	}
	return served
}

func addControllers(ctx context.Context, mgr ctrlmanager.Manager, live client.WithWatch, options *Options, clk clock.PassiveClock) error {
	id, err := installation.Establish(ctx, live, options.Namespace, options.InstallationID)
	if err != nil {
		return err
	}
	services := codacy.NewServices(codacy.Options{
		Clock: clk, InstallationID: id, Limits: options.limits(), Timeout: options.ServiceTimeout, BreakerPause: options.ServicePause,
		// It is sent within the renew deadline, and answered within the timeout; the rest is for gateways and queues that go
		// on when the client has given up.
		RequestLifetime: options.RenewDeadline + 4*options.ServiceTimeout,
	})
	tokens := controllers.TokenReconciler{
		Client: mgr.GetClient(), Live: live, Clock: clk, Recorder: mgr.GetEventRecorder("tokensteward"),
		InstallationID: id, BuiltIn: builtin.Issuer{}, Services: services, RenewDeadline: options.RenewDeadline,
		Namespace: options.Namespace, Scope: options.scope(),
	}
	if err := controllers.SetupAccountTokens(mgr, tokens); err != nil {
		return err
	}
	if err := controllers.SetupProjectTokens(mgr, tokens); err != nil {
		return err
	}
	if err := controllers.SetupMetrics(mgr, services, options.scope()); err != nil {
		return err
	}
	return controllers.SetupIssuers(mgr, controllers.IssuerReconciler{
		Client: mgr.GetClient(), Live: live, Clock: clk, Services: services, Namespace: options.Namespace, AllowedHosts: options.AllowedHosts,
		Scope: options.scope(),
	})
}

func addAuthority(ctx context.Context, mgr ctrlmanager.Manager, live client.Client, freshness *authority.Freshness, options *Options, clk clock.PassiveClock) error {
	if err := mgr.Add(freshness); err != nil {
		return err
	}
	judge, err := authority.New(ctx, clk, mgr.GetCache(), live, freshness, options.AuthorityMaxStaleness-detection)
	if err != nil {
		return err
	}
	var config *tls.Config
	if options.AuthorityCertDir != "" {
		watcher, err := certwatcher.New(filepath.Join(options.AuthorityCertDir, "tls.crt"), filepath.Join(options.AuthorityCertDir, "tls.key"))
		if err != nil {
			return fmt.Errorf("--authority-cert-dir: %w", err)
		}
		if err := mgr.Add(watcher); err != nil {
			return err
		}
		config = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: watcher.GetCertificate}
	} else {
		certificate := &authority.SelfMadeCertificate{
			Client: live, Clock: clk, Namespace: options.Namespace,
			DNSNames: options.dnsNames(), IPs: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		}
		if err := certificate.Refresh(ctx); err != nil {
			return err
		}
		if err := mgr.Add(certificate); err != nil {
			return err
		}
		config = certificate.TLS()
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", options.AuthorityAddress)
	if err != nil {
		return fmt.Errorf("--authority-bind-address: %w", err)
	}
	if err := mgr.AddReadyzCheck("authority", func(*http.Request) error { return judge.Ready() }); err != nil {
		return err
	}
	return mgr.Add(&authority.Server{Authority: judge, Listener: listener, TLS: config})
}
