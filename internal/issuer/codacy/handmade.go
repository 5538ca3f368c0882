package codacy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/token"
)

// Handmade is what is known of a token that somebody made by hand.
type Handmade struct {
	Kind, Subject string
	// UID is that of the resource that is to have it.
	UID   types.UID
	Value token.Value
	// ID is what its user says that its id is; it may be empty. MayNameID says whether that counts.
	ID        string
	MayNameID bool
	// Left are the hashes, by id, of tokens that were left behind on purpose.
	Left map[string]string
	// Known says whether some resource has the token of this id.
	Known func(id string) (sha256 string, known bool)
}

// Found is a token that was made by hand, and proven to be the one. As long as Release was not called nobody else finds it.
type Found struct {
	issuer.Token
	Release func()
}

// Find looks for a token that was made by hand. That the service lists its value, or that it was left behind with the same hash,
// proves that whoever has the value speaks of this token. Where lists hide values the word of the user counts, of a token of a repository and within a namespace alone.
// Its error is an *issuer.Error. docs/adopt.md, What proves it.
func (c *Connection) Find(ctx context.Context, handmade Handmade) (Found, error) {
	p, err := placeOf(handmade.Kind, handmade.Subject)
	if err != nil {
		return Found{}, err
	}
	release, ok := c.services.begin(c.exclusive(p))
	if !ok {
		return Found{}, anotherIsUnderWay(p)
	}
	t, err := c.find(ctx, p, &handmade)
	if err != nil {
		release()
		return Found{}, err
	}
	return Found{Token: issuer.Token{ID: t.id, Name: truncate(t.name, maxName), Value: handmade.Value, ExpirationTime: t.expires}, Release: release}, nil
}

func (c *Connection) find(ctx context.Context, p place, handmade *Handmade) (*listed, error) {
	if err := c.turn(handmade.UID, 1); err != nil {
		return nil, err
	}
	ctx, _ = withPermits(ctx, 1)
	all, err := c.list(ctx, p)
	if err != nil {
		return nil, c.failed(ctx, p, err)
	}
	if !whole(handmade.Value) {
		return nil, notAdopted("What is in the Secret can't be a token of Codacy: put the token there, whole.")
	}
	at := slices.IndexFunc(all, func(t listed) bool {
		return t.value.Reveal() == handmade.Value.Reveal() || handmade.Left[t.id] == handmade.Value.SHA256()
	})
	if at < 0 {
		if at, err = c.findByID(p, all, handmade); err != nil {
			return nil, err
		}
	} else if handmade.ID != "" && handmade.ID != all[at].id {
		return nil, notAdopted("The token in the Secret has the id %s in %s, and spec.adopt.tokenID is %s: correct it, or leave it out.", all[at].id, p, handmade.ID)
	}
	if _, known := handmade.Known(all[at].id); known {
		return nil, notAdopted("The token %s of %s is another resource's already: delete that, with deletionPolicy: Retain, to have it taken over here.", all[at].id, p)
	}
	return &all[at], nil
}

// findByID is where a list has the token that the user names, if it does not show which one has the value.
func (c *Connection) findByID(p place, all []listed, handmade *Handmade) (at int, err error) {
	at = slices.IndexFunc(all, func(t listed) bool { return t.id == handmade.ID })
	switch {
	case len(all) == 0, p.kind == v1alpha1.KindAccountToken, slices.ContainsFunc(all, func(t listed) bool { return whole(t.value) }):
		return 0, notAdopted("There is no token in %s with the value that is in the Secret: put the token there, or make a resource without spec.adopt.", p)
	case handmade.ID == "":
		return 0, notAdopted("Codacy does not show the values of the tokens in %s, so that nothing proves which one is in the Secret: "+
			"name its id in spec.adopt.tokenID of a new resource, with a TokenIssuer.", p)
	case !handmade.MayNameID:
		return 0, notAdopted("Codacy does not show the values of the tokens in %s, and spec.adopt.tokenID counts only with a TokenIssuer, "+
			"which is the namespace's own: use one.", p)
	case at < 0:
		return 0, notAdopted("There is no token %s in %s: correct spec.adopt.tokenID in a new resource.", handmade.ID, p)
	case strings.HasPrefix(all[at].name, "ts-"):
		return 0, notAdopted("The token %s of %s was made by an operator like this one, and only its value would prove that it is yours: "+
			"make a resource without spec.adopt.", handmade.ID, p)
	}
	return at, nil
}

func notAdopted(message string, arguments ...any) *issuer.Error {
	return &issuer.Error{Reason: v1alpha1.ReasonAdoptionRefused, Stalled: true, Message: fmt.Sprintf(message, arguments...)}
}
