package authority

import (
	"context"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/grant"
	"github.com/tokensteward/tokensteward/internal/metrics"
)

// facts are what a judgement goes by besides the token's own record. They are shared: nobody may change what they return.
type facts interface {
	// issuer is nil if there is none of the name.
	issuer(ctx context.Context, name string) (*v1alpha1.ClusterTokenIssuer, error)
	// namespace is not found if there is none of the name.
	namespace(ctx context.Context, name string) (found grant.Namespace, ok bool, err error)
}

// read are facts that are asked for one by one.
type read struct{ reader client.Reader }

func (r read) issuer(ctx context.Context, name string) (*v1alpha1.ClusterTokenIssuer, error) {
	var found v1alpha1.ClusterTokenIssuer
	if err := r.reader.Get(ctx, types.NamespacedName{Name: name}, &found); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	return &found, nil
}

func (r read) namespace(ctx context.Context, name string) (grant.Namespace, bool, error) {
	found := grant.NamespaceMetadata()
	if err := r.reader.Get(ctx, types.NamespacedName{Name: name}, found); err != nil {
		return grant.Namespace{}, false, client.IgnoreNotFound(err)
	}
	return grant.Namespace{Name: name, Labels: found.Labels}, true, nil
}

// followed are facts that informers keep up to date: at every request they are wanted, and a cache would copy them each time.
type followed struct {
	mu         sync.RWMutex
	issuers    map[string]*v1alpha1.ClusterTokenIssuer
	namespaces map[string]grant.Namespace

	synced []interface{ HasSynced() bool }
}

func newFollowed(ctx context.Context, informers cache.Informers) (*followed, error) {
	f := &followed{issuers: map[string]*v1alpha1.ClusterTokenIssuer{}, namespaces: map[string]grant.Namespace{}}
	for _, o := range []client.Object{&v1alpha1.ClusterTokenIssuer{}, grant.NamespaceMetadata()} {
		registration, err := follow(ctx, informers, o, f.put, f.remove)
		if err != nil {
			return nil, fmt.Errorf("watching issuers and namespaces: %w", err)
		}
		f.synced = append(f.synced, registration)
	}
	return f, nil
}

// follow has every change of a kind told: what there is now, or, as far as it is known, what is gone.
func follow(ctx context.Context, informers cache.Informers, o client.Object, put, remove func(any)) (interface{ HasSynced() bool }, error) {
	informer, err := informers.GetInformer(ctx, o, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, err
	}
	return informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: put, UpdateFunc: func(_, o any) { put(o) },
		DeleteFunc: remove,
	})
}

// lastKnown is what an informer knows of an object whose deletion it tells.
func lastKnown(o any) any {
	if tombstone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		return tombstone.Obj
	}
	return o
}

func (f *followed) put(o any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch o := o.(type) {
	case *v1alpha1.ClusterTokenIssuer:
		f.issuers[o.Name] = o
	case *metav1.PartialObjectMetadata:
		f.namespaces[o.Name] = grant.Namespace{Name: o.Name, Labels: o.Labels}
	}
}

func (f *followed) remove(o any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch o := lastKnown(o).(type) {
	case *v1alpha1.ClusterTokenIssuer:
		delete(f.issuers, o.Name)
		metrics.ForgetDecisions(o.Name) // In every replica: each of them counts.
	case *metav1.PartialObjectMetadata:
		delete(f.namespaces, o.Name)
	}
}

func (f *followed) issuer(_ context.Context, name string) (*v1alpha1.ClusterTokenIssuer, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.issuers[name], nil
}

func (f *followed) namespace(_ context.Context, name string) (grant.Namespace, bool, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	found, ok := f.namespaces[name]
	return found, ok, nil
}
