package manager

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// namespaced is a client that may read some namespaces and no others. What is listed without a namespace it lists in each of
// them. If one of the lists fails, or is not whole, there is none: who asks which tokens are somebody's must not get a list
// that lacks some.
type namespaced struct {
	client.WithWatch
	namespaces []string
}

// List implements client.Reader.
func (n *namespaced) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	asked := (&client.ListOptions{}).ApplyOptions(options)
	inNamespaces, err := n.IsObjectNamespaced(list)
	if err != nil {
		return fmt.Errorf("listing: %w", err)
	}
	if !inNamespaces || asked.Namespace != "" {
		return n.WithWatch.List(ctx, list, options...)
	}
	if asked.Limit != 0 || asked.Continue != "" {
		return errors.New("a list of several namespaces can't come in parts: list one namespace, or without a limit")
	}
	var all []runtime.Object
	for _, namespace := range n.namespaces {
		part := list.DeepCopyObject().(client.ObjectList)
		if err := n.WithWatch.List(ctx, part, append(slices.Clone(options), client.InNamespace(namespace))...); err != nil {
			return fmt.Errorf("listing in the namespace %q: %w", namespace, err)
		}
		if part.GetContinue() != "" {
			return fmt.Errorf("listing in the namespace %q: the API server answered with a part of the list", namespace)
		}
		items, err := meta.ExtractList(part)
		if err != nil {
			return fmt.Errorf("listing in the namespace %q: %w", namespace, err)
		}
		all = append(all, items...)
	}
	list.SetResourceVersion("") // Each namespace was listed at another.
	return meta.SetList(list, all)
}

// Watch implements client.WithWatch, for a single namespace.
func (n *namespaced) Watch(ctx context.Context, list client.ObjectList, options ...client.ListOption) (watch.Interface, error) {
	inNamespaces, err := n.IsObjectNamespaced(list)
	if err != nil {
		return nil, fmt.Errorf("watching: %w", err)
	}
	if inNamespaces && (&client.ListOptions{}).ApplyOptions(options).Namespace == "" {
		return nil, errors.New("several namespaces can't be watched at once: watch one namespace")
	}
	return n.WithWatch.Watch(ctx, list, options...)
}
