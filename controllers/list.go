package controllers

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/resources"
)

// listIssuers lists the issuers of all kinds that are served.
func listIssuers(ctx context.Context, reader client.Reader, scope *Scope) (all []v1alpha1.Issuer, err error) {
	for _, kind := range scope.issuerKinds() {
		some, err := resources.Issuers(ctx, reader, kind)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// countUsers counts the resources that refer to an issuer.
func countUsers(ctx context.Context, reader client.Reader, i v1alpha1.Issuer) (users int, err error) {
	tokens, err := resources.Tokens(ctx, reader, usersOf(i)...)
	return len(tokens), err
}
