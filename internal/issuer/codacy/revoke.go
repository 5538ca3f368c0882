package codacy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
)

// Revoke implements issuer.Issuer. docs/codacy.md, Revoking.
func (c *Connection) Revoke(ctx context.Context, reference issuer.Reference) error {
	p, err := placeOf(reference.Kind, reference.Subject)
	if err != nil {
		return err
	}
	if err := c.recorded(p, reference.URL, reference.AccountID); err != nil {
		return err
	}
	if err := c.turn(reference.UID, 1); err != nil {
		return err
	}
	ctx, _ = withPermits(ctx, 1)
	if reference.ID != "" {
		return c.revoke(ctx, p, reference.ID)
	}
	all, err := c.list(ctx, p)
	if err != nil {
		return c.failed(ctx, p, err)
	}
	late := named(all, reference.Name)
	if late == nil {
		var expiring []*listed
		for i := range all {
			t := &all[i]
			if reference.ExpirationTime.IsZero() || !t.expires.Equal(reference.ExpirationTime) || otherName(t, reference.Name) ||
				c.isCredential(p, t) || reference.Disowned(t.id) {
				continue
			}
			if _, known := reference.Known(t.id); !known {
				expiring = append(expiring, t)
			}
		}
		if len(expiring) > 1 {
			return issuer.Ambiguous(p.String(), ids(expiring))
		}
		if len(expiring) == 1 {
			late = expiring[0]
		}
	}
	if late == nil {
		return nil
	}
	return c.revoke(ctx, p, late.id)
}

// revoke ends a token. That it is not there is believed only if a list, begun after that was said, proves it: a repository
// that was removed or renamed, and an account without the role, are answered in the same way.
func (c *Connection) revoke(ctx context.Context, p place, id string) error {
	err := c.delete(ctx, p, id)
	var no *refusal
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &no):
		return c.failed(ctx, p, err)
	case no.status != http.StatusNotFound:
		return c.failed(ctx, p, err)
	}
	all, err := c.list(ctx, p)
	switch {
	case err != nil && !errors.As(err, &no):
		return c.failed(ctx, p, err)
	case err != nil:
		return &issuer.Error{
			Reason: v1alpha1.ReasonRevocationUnproven, Stalled: true,
			Message: fmt.Sprintf("Codacy says that token %s is not there, and does not show the tokens of %s (%s) to prove it: "+
				"it was removed or renamed, or the issuer's account lost the repository admin role. Give it the role back; the revocation is tried again.", id, p, no),
		}
	case slices.ContainsFunc(all, func(t listed) bool { return t.id == id }):
		return &issuer.Error{
			Reason: v1alpha1.ReasonRevocationUnproven, Stalled: true,
			Message: fmt.Sprintf("Codacy lists token %s of %s, and says that it is not there when it is to be revoked: revoke it in Codacy.", id, p),
		}
	}
	return nil
}

func (c *Connection) delete(ctx context.Context, p place, id string) error {
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return errors.New("the id of the token is not one of Codacy's")
	}
	var status int
	if p.kind == v1alpha1.KindAccountToken {
		answer, err := c.api.DeleteUserAPITokenWithResponse(ctx, number)
		if err != nil {
			return err
		}
		status = answer.StatusCode()
	} else {
		answer, err := c.api.DeleteRepositoryAPITokenWithResponse(ctx, p.provider, p.organization, p.repository, number)
		if err != nil {
			return err
		}
		status = answer.StatusCode()
	}
	if status != http.StatusNoContent {
		return errUnknownAnswer
	}
	return nil
}

// recorded checks that a token was made where this connection leads. Elsewhere its id means nothing, or somebody else's
// token.
func (c *Connection) recorded(p place, url, account string) error {
	if url != c.config.URL {
		return &issuer.Error{
			Reason: v1alpha1.ReasonAccountChanged, Stalled: true,
			Message: fmt.Sprintf("The token was made at %s, and the issuer now connects to %s: point the issuer, recreated, to where it was.", url, c.config.URL),
		}
	}
	if mine := c.Account(); p.kind == v1alpha1.KindAccountToken && account != mine.ID {
		return &issuer.Error{
			Reason: v1alpha1.ReasonAccountChanged, Stalled: true,
			Message: fmt.Sprintf("The token belongs to the account %s, and the issuer's credential to %s: put a credential of the former into the credentials Secret.", account, describe(mine)),
		}
	}
	return nil
}
