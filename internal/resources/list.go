// Package resources lists the operator's resources, and its Secrets, for the operator and for the kubectl plugin.
package resources

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// Tokens lists the tokens of both kinds.
func Tokens(ctx context.Context, reader client.Reader, options ...client.ListOption) (all []v1alpha1.Token, err error) {
	for _, list := range []client.ObjectList{&v1alpha1.AccountTokenList{}, &v1alpha1.ProjectTokenList{}} {
		tokens, err := TokensIn(ctx, reader, list, options...)
		if err != nil {
			return nil, err
		}
		all = append(all, tokens...)
	}
	return all, nil
}

// TokensIn lists tokens of the kind that the list is for.
func TokensIn(ctx context.Context, reader client.Reader, list client.ObjectList, options ...client.ListOption) ([]v1alpha1.Token, error) {
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

// Secrets lists Secrets without what they hold.
func Secrets(ctx context.Context, reader client.Reader, options ...client.ListOption) ([]metav1.PartialObjectMetadata, error) {
	secrets := &metav1.PartialObjectMetadataList{}
	secrets.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	err := reader.List(ctx, secrets, options...)
	return secrets.Items, err
}

// Managed selects Secrets by what the operator has to do with them.
func Managed(values ...string) labels.Selector {
	requirement, err := labels.NewRequirement(v1alpha1.ManagedLabel, selection.In, values)
	utilruntime.Must(err)
	return labels.NewSelector().Add(*requirement)
}

// Issuers lists the issuers of a kind.
func Issuers(ctx context.Context, reader client.Reader, kind string, options ...client.ListOption) (all []v1alpha1.Issuer, err error) {
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
