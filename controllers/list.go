package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
