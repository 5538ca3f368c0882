package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// listTokens lists tokens of the kind that the list is for.
func listTokens(ctx context.Context, reader client.Reader, list client.ObjectList, options ...client.ListOption) ([]v1alpha1.Token, error) {
	if err := reader.List(ctx, list, options...); err != nil {
		return nil, fmt.Errorf("listing tokens: %w", err)
	}
	var tokens []v1alpha1.Token
	err := meta.EachListItem(list, func(o runtime.Object) error {
		tokens = append(tokens, o.(v1alpha1.Token))
		return nil
	})
	return tokens, err
}

// namespaceTerminates passes the update with which a namespace begins to terminate.
var namespaceTerminates = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	DeleteFunc:  func(event.DeleteEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
	},
}
