package manager

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/controllers"
	"github.com/tokensteward/tokensteward/internal/authority"
	"github.com/tokensteward/tokensteward/internal/resources"
)

// ours selects the Secrets that the operator follows.
var ours = resources.Managed(v1alpha1.ManagedTokens, v1alpha1.ManagedCredentials)

// cacheOptions bound what the operator keeps in memory: of all Secrets, only its own and the issuers' credentials, and if it
// looks after some namespaces alone, only what is in these. ClusterTokenIssuers have their credentials in own, the operator's
// namespace.
func cacheOptions(freshness *authority.Freshness, scope controllers.Scope, own string) cache.Options {
	secrets := cache.ByObject{Label: ours}
	options := cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		NewInformer:      freshness.NewInformer,
	}
	if scope.Limited() {
		options.DefaultNamespaces, secrets.Namespaces = map[string]cache.Config{}, map[string]cache.Config{}
		for _, namespace := range scope.Namespaces {
			options.DefaultNamespaces[namespace], secrets.Namespaces[namespace] = cache.Config{}, cache.Config{}
		}
		if !scope.WithoutClusterIssuers {
			secrets.Namespaces[own] = cache.Config{}
		}
	}
	options.ByObject = map[client.Object]cache.ByObject{&corev1.Secret{}: secrets}
	return options
}

// checkPermissions says so if a namespace that was named can't be looked after: otherwise nothing but a cache that never
// syncs would.
func checkPermissions(ctx context.Context, live client.Reader, namespaces []string) error {
	var problems []error
	for _, namespace := range namespaces {
		err := live.List(ctx, &v1alpha1.ProjectTokenList{}, client.InNamespace(namespace), client.Limit(1))
		if apierrors.IsForbidden(err) {
			err = fmt.Errorf("the operator has no permissions in the namespace %q: create it, and the operator's Role and RoleBinding in it, "+
				"or take it out of --namespaces: %w", namespace, err)
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// validateNamespaces says which names are none.
func validateNamespaces(namespaces []string) error {
	var wrong []string
	for _, namespace := range namespaces {
		if len(validation.IsDNS1123Label(namespace)) > 0 {
			wrong = append(wrong, strconv.Quote(namespace))
		}
	}
	if wrong == nil {
		return nil
	}
	return fmt.Errorf("--namespaces: no namespace can have the name %s: write names alone, separated by commas, such as team-a,team-b; "+
		"a name has lowercase letters, digits and -, at most 63, and begins and ends with a letter or digit", strings.Join(wrong, " or "))
}

// scope is what the flags say, with each namespace once.
func (o *Options) scope() controllers.Scope {
	scope := o.Scope
	scope.Namespaces = slices.Compact(slices.Sorted(slices.Values(o.Scope.Namespaces)))
	return scope
}

// addReadiness has a replica that serves no authority be ready once it knows the resources that there are.
func addReadiness(ctx context.Context, mgr ctrlmanager.Manager) error {
	var informers []syncing
	for _, o := range []client.Object{&v1alpha1.AccountToken{}, &v1alpha1.ProjectToken{}, &v1alpha1.TokenIssuer{}} {
		informer, err := mgr.GetCache().GetInformer(ctx, o, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watching resources: %w", err)
		}
		informers = append(informers, informer)
	}
	return mgr.AddReadyzCheck("caches", func(*http.Request) error { return synced(informers) })
}

type syncing interface{ HasSynced() bool }

func synced(informers []syncing) error {
	if slices.ContainsFunc(informers, func(i syncing) bool { return !i.HasSynced() }) {
		return errors.New("the caches have not synced")
	}
	return nil
}
