package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
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

// listIssuers lists the issuers of all kinds that are served.
func listIssuers(ctx context.Context, reader client.Reader, scope *Scope) (all []v1alpha1.Issuer, err error) {
	for _, kind := range scope.issuerKinds() {
		some, err := listIssuersOf(ctx, reader, kind)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

func listIssuersOf(ctx context.Context, reader client.Reader, kind string, options ...client.ListOption) (all []v1alpha1.Issuer, err error) {
	var cluster v1alpha1.ClusterTokenIssuerList
	var namespaced v1alpha1.TokenIssuerList
	if kind == v1alpha1.KindClusterTokenIssuer {
		err = reader.List(ctx, &cluster, options...)
	} else {
		err = reader.List(ctx, &namespaced, options...)
	}
	if err != nil {
		return nil, fmt.Errorf("listing issuers: %w", err)
	}
	for i := range cluster.Items {
		all = append(all, &cluster.Items[i])
	}
	for i := range namespaced.Items {
		all = append(all, &namespaced.Items[i])
	}
	return all, nil
}

// countUsers counts the resources that refer to an issuer.
func countUsers(ctx context.Context, reader client.Reader, i v1alpha1.Issuer) (users int, err error) {
	for _, list := range []client.ObjectList{&v1alpha1.AccountTokenList{}, &v1alpha1.ProjectTokenList{}} {
		tokens, err := listTokens(ctx, reader, list, usersOf(i)...)
		if err != nil {
			return 0, err
		}
		users += len(tokens)
	}
	return users, nil
}

// credentialsKey names the credentials Secret of this name of an issuer: a ClusterTokenIssuer has its own in the operator's
// namespace.
func credentialsKey(i v1alpha1.Issuer, operatorNamespace, name string) types.NamespacedName {
	if i.Kind() == v1alpha1.KindTokenIssuer {
		return types.NamespacedName{Namespace: i.GetNamespace(), Name: name}
	}
	return types.NamespacedName{Namespace: operatorNamespace, Name: name}
}
