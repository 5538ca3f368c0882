package codacy

import (
	"context"
	"regexp"
	"strings"
	"time"
)

// Listed is a token as Codacy lists it.
type Listed struct {
	Named
	// ExpirationTime is zero if the service does not tell.
	ExpirationTime time.Time
}

// Tokens are all that Codacy lists where the tokens of a subject are. It is for people who look for what was left there; the
// operator looks with Look.
func (c *Connection) Tokens(ctx context.Context, kind, subject string) ([]Listed, error) {
	p, err := placeOf(kind, subject)
	if err != nil {
		return nil, err
	}
	all, err := c.list(ctx, p)
	if err != nil {
		return nil, c.failed(ctx, p, err)
	}
	tokens := make([]Listed, 0, len(all))
	for i := range all {
		tokens = append(tokens, Listed{Named{all[i].id, all[i].name}, all[i].expires})
	}
	return tokens, nil
}

// namePrefix begins the names of all tokens of this installation.
func (o *Options) namePrefix() string { return "ts-" + o.InstallationID + "-" }

// isOurs says whether a name is one of this installation's.
func (o *Options) isOurs(name string) bool { return strings.HasPrefix(name, o.namePrefix()) }

var ourName = regexp.MustCompile(`^ts-([a-z0-9]{6,20})-[0-9a-f-]{20}-[0-9]+$`)

// Installation is the one that made a token, by its name; empty if no operator like this one has named it.
func (n *Named) Installation() string {
	if parts := ourName.FindStringSubmatch(n.Name); parts != nil {
		return parts[1]
	}
	return ""
}
