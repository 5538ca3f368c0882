package codacy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/api"
)

// failed says what is the matter when a request about the tokens of a place came to nothing. A refusal can mean several
// things, so it asks on. docs/codacy.md, What Codacy answers.
func (c *Connection) failed(ctx context.Context, p place, err error) *issuer.Error {
	var no *refusal
	if !errors.As(err, &no) {
		return c.unavailable(err)
	}
	switch no.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
	default:
		return &issuer.Error{
			Reason: v1alpha1.ReasonServiceRefused, Stalled: true,
			Message: fmt.Sprintf("%s to a request about the tokens of %s, which is not foreseen. Is spec.codacy.url of the issuer the address of Codacy itself?", no, p),
		}
	}
	if _, err := c.Identify(ctx); err != nil {
		var known *issuer.Error
		errors.As(err, &known)
		return known
	}
	if p.kind == v1alpha1.KindAccountToken {
		return &issuer.Error{
			Reason: v1alpha1.ReasonUnsupported, Stalled: true,
			Message: fmt.Sprintf("%s to a request about the account's tokens, though it accepts the credential: the tokens of accounts need Codacy Self-hosted 4.2 or newer.", no),
		}
	}
	answer, err := c.api.GetRepositoryWithResponse(ctx, p.provider, p.organization, p.repository)
	var hidden *refusal
	switch {
	case errors.As(err, &hidden) && hidden.status == http.StatusNotFound:
		return &issuer.Error{
			Reason: v1alpha1.ReasonRepositoryNotFound, Stalled: true,
			Message: fmt.Sprintf("Codacy shows no such thing as %s to the account %s. Check the name, and that the repository is added to Codacy; the account needs the repository admin role.", p, describe(c.Account())),
		}
	case errors.As(err, &hidden):
		return c.roleMissing(p, "none that Codacy tells of")
	case err != nil:
		return c.unavailable(err)
	case answer.JSON200 == nil:
		return c.unavailable(errUnknownAnswer)
	}
	permission := answer.JSON200.Data.Permission
	switch {
	case permission == nil:
		return c.roleMissing(p, "one that Codacy does not tell")
	case *permission == api.PermissionAdmin && no.status == http.StatusNotFound:
		return &issuer.Error{
			Reason: v1alpha1.ReasonUnsupported, Stalled: true,
			Message: fmt.Sprintf("Codacy knows %s and not the tokens of repositories: they need Codacy Self-hosted 5.1.0 or newer.", p),
		}
	case *permission == api.PermissionAdmin:
		return c.roleMissing(p, "that of the repository, which is not enough here")
	case *permission == api.PermissionRead || *permission == api.PermissionWrite:
		return c.roleMissing(p, string(*permission))
	default:
		return c.roleMissing(p, "another one")
	}
}

func (c *Connection) roleMissing(p place, role string) *issuer.Error {
	return &issuer.Error{
		Reason: v1alpha1.ReasonRoleMissing, Stalled: true,
		Message: fmt.Sprintf("The account %s needs the repository admin role for %s and has %s: on Bitbucket, make it an admin of the organization. It is tried again by and by.",
			describe(c.Account()), p, role),
	}
}

// turn takes the permits for so many requests, or says how long to wait for them.
func (c *Connection) turn(resource types.UID, requests int) error {
	wait := c.client.limiter.turn(resource, requests, c.options.Clock.Now())
	if wait <= 0 {
		return nil
	}
	return &issuer.Error{
		Reason: v1alpha1.ReasonWaitingForTurn, RetryAfter: max(wait, time.Millisecond), NothingMinted: true,
		Message: fmt.Sprintf("Waiting for a turn: the operator makes at most %s to %s.", c.options.Limits[c.host], c.host),
	}
}
