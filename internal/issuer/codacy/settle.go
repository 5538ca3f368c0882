package codacy

import (
	"context"
	"slices"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
)

// Settle implements issuer.Issuer. docs/codacy.md, How a token is found again.
func (c *Connection) Settle(ctx context.Context, inquiry issuer.Inquiry) (issuer.Settlement, error) {
	p, err := placeOf(inquiry.Kind, inquiry.Subject)
	if err != nil {
		return issuer.Settlement{}, err
	}
	record := &inquiry.Record
	if record.ID != "" {
		return issuer.Settlement{Lost: record.ID}, nil // It was written down before the value got lost.
	}
	if err := c.recorded(p, record.URL, record.AccountID); err != nil {
		return issuer.Settlement{}, err
	}
	if record.Listed {
		// A token that is being minted meanwhile would pass for the one of this attempt.
		end, ok := c.services.begin(c.exclusive(p))
		if !ok {
			return issuer.Settlement{}, anotherIsUnderWay(p)
		}
		defer end()
	}
	if err := c.turn(inquiry.UID, 1); err != nil {
		return issuer.Settlement{}, err
	}
	ctx, _ = withPermits(ctx, 1)
	all, err := c.list(ctx, p)
	if err != nil {
		return issuer.Settlement{}, c.failed(ctx, p, err)
	}
	mine, candidates := c.search(p, record, all, &inquiry)
	switch {
	case mine != nil:
		return c.found(p, all, mine, &inquiry), nil
	case len(candidates) > 0:
		return issuer.Settlement{Ambiguous: candidates}, nil
	}
	if lived := record.StartTime.Add(c.options.RequestLifetime); inquiry.Now.Before(lived) {
		return issuer.Settlement{NotBefore: lived}, nil
	}
	return issuer.Settlement{Recognizable: !record.Listed || recognizes(c.capabilitiesOf(p.kind))}, nil
}

// search finds the token of an attempt in a list, or those that may be it.
func (c *Connection) search(p place, record *v1alpha1.PendingToken, all []listed, inquiry *issuer.Inquiry) (mine *listed, candidates []string) {
	if mine := named(all, record.Name); mine != nil {
		return mine, nil
	}
	// Whoever wrote the value into the Secret got it from the service. That a list shows the same proves which one it is.
	inSecret := func(t *listed) bool { return whole(t.value) && t.value.Reveal() == inquiry.InSecret.Reveal() }
	stranger := func(t *listed) bool {
		// The issuer may have taken up what the Secret holds.
		if slices.Contains(record.ListedIDs, v1alpha1.ServiceID(t.id)) || c.isCredential(p, t) && !inSecret(t) || inquiry.Disowned(t.id) {
			return true
		}
		_, known := inquiry.Known(t.id)
		return known
	}
	var expiring, unheard []*listed
	for i := range all {
		t := &all[i]
		switch {
		case record.ExpirationTime != nil && t.expires.Equal(record.ExpirationTime.Time):
			if !stranger(t) && !otherName(t, record.Name) {
				expiring = append(expiring, t)
			}
		case record.Listed && !stranger(t) && !c.options.isOurs(t.name):
			unheard = append(unheard, t)
		}
	}
	switch seen := c.capabilitiesOf(p.kind); {
	case len(expiring) == 1:
		return expiring[0], nil
	case len(expiring) > 1:
		return nil, ids(expiring)
	case recognizes(seen):
		return nil, nil // It would have been recognized.
	}
	if at := slices.IndexFunc(unheard, inSecret); at >= 0 {
		return unheard[at], nil
	}
	return nil, ids(unheard)
}

// found is a token that was found, with its value if anybody knows it.
func (c *Connection) found(p place, all []listed, t *listed, inquiry *issuer.Inquiry) issuer.Settlement {
	value, ok := c.shown(p, all, t, inquiry.Known)
	if !ok {
		value = inquiry.InSecret
	}
	if value.IsEmpty() {
		return issuer.Settlement{Lost: t.id}
	}
	return issuer.Settlement{Token: &issuer.Token{ID: t.id, Name: truncate(t.name, maxName), Value: value, ExpirationTime: t.expires}}
}

// isCredential: the issuer's own credential is nobody's token.
func (c *Connection) isCredential(p place, t *listed) bool {
	return p.kind == v1alpha1.KindAccountToken && t.value.Reveal() == c.config.Credential.Reveal()
}

// otherName says whether a token has a name, and not the one that an attempt asked for.
func otherName(t *listed, asked string) bool { return asked != "" && t.name != "" && t.name != asked }

func named(all []listed, name string) *listed {
	for i := range all {
		if name != "" && all[i].name == name {
			return &all[i]
		}
	}
	return nil
}

func ids(tokens []*listed) []string {
	var all []string
	for _, t := range tokens {
		all = append(all, t.id)
	}
	return all
}
