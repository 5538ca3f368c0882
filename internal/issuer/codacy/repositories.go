package codacy

import (
	"context"
	"errors"
	"fmt"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/api"
)

// Repository is one of an organization, as Codacy lists it.
type Repository struct {
	Name string
	// Added to Codacy: else it has no tokens. True if Codacy does not tell.
	Added bool
	// Administered by the account, which having tokens takes. True if Codacy does not tell.
	Administered bool
}

// Repositories are all of an organization that the account can see, in Codacy's order. It is for people who want tokens for many of
// them (docs/runbooks.md); the operator asks for none. Its error is an *issuer.Error.
func (c *Connection) Repositories(ctx context.Context, provider, organization string) ([]Repository, error) {
	listed, err := collect("repositories", func(cursor string) ([]api.Repository, *api.Pagination, error) {
		most := int32(mostInPage)
		parameters := &api.ListOrganizationRepositoriesParams{Limit: &most}
		if cursor != "" {
			parameters.Cursor = &cursor
		}
		answer, err := c.api.ListOrganizationRepositoriesWithResponse(ctx, provider, organization, parameters)
		if err != nil {
			return nil, nil, err
		}
		page, err := known(answer.JSON200)
		if err != nil {
			return nil, nil, err
		}
		return page.Data, page.Pagination, nil
	}, func(r *api.Repository) string { return r.Name })
	var no *refusal
	if errors.As(err, &no) {
		if _, err := c.Identify(ctx); err != nil {
			return nil, err
		}
		return nil, &issuer.Error{
			Reason: v1alpha1.ReasonServiceRefused, Stalled: true,
			Message: fmt.Sprintf("%s to a request for the repositories of %s/%s. Is there such an organization at Codacy, and can the account of the issuer see it?", no, provider, organization),
		}
	}
	if err != nil {
		return nil, c.unavailable(err)
	}
	repositories := make([]Repository, 0, len(listed))
	for i := range listed {
		r := &listed[i]
		repositories = append(repositories, Repository{
			Name: r.Name, Added: r.AddedState == nil || *r.AddedState != api.AddedStateNotAdded, Administered: r.Permission == nil || *r.Permission == api.PermissionAdmin,
		})
	}
	return repositories, nil
}
