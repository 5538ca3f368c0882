package controllers

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/metrics"
	"github.com/tokensteward/tokensteward/internal/resources"
)

// SetupMetrics has the resources' metrics collected as long as the manager runs.
func SetupMetrics(mgr ctrl.Manager, services *codacy.Services, scope Scope) error {
	collector := &metrics.Collector{Leads: mgr.Elected(), Source: &metricsSource{client: mgr.GetClient(), services: services, scope: scope}}
	err := ctrlmetrics.Registry.Register(collector)
	if registered := new(prometheus.AlreadyRegisteredError); errors.As(err, registered) { // Of a manager that ends just now.
		ctrlmetrics.Registry.Unregister(registered.ExistingCollector)
		err = ctrlmetrics.Registry.Register(collector)
	}
	if err != nil {
		return err
	}
	return mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		<-ctx.Done()
		ctrlmetrics.Registry.Unregister(collector)
		return nil
	}))
}

// metricsSource reads from the cache, and copies nothing.
type metricsSource struct {
	client   client.Reader
	services *codacy.Services
	scope    Scope
}

func (s *metricsSource) Issuers(ctx context.Context) ([]v1alpha1.Issuer, error) {
	return listIssuers(ctx, uncopied{s.client}, &s.scope)
}

func (s *metricsSource) Tokens(ctx context.Context) ([]v1alpha1.Token, error) {
	return resources.Tokens(ctx, uncopied{s.client})
}

func (s *metricsSource) Available(i v1alpha1.Issuer) (available, ok bool) {
	c := s.services.Get(keyOf(i))
	if c == nil {
		return false, false
	}
	return c.Unavailable() == nil, true
}

func (s *metricsSource) RequestsLeft() map[string]float64 { return s.services.RequestsLeft() }

// uncopied lists what the cache has itself, which must not be changed.
type uncopied struct{ client.Reader }

func (u uncopied) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	return u.Reader.List(ctx, list, append(options, client.UnsafeDisableDeepCopy)...)
}
