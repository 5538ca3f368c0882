package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/resources"
)

// claims are the tokens of a service that resources have, in all namespaces that are looked after. Beyond those it is as with
// a second cluster: names, expiries and ids tell whose a token is, and where they don't a person is asked. None of them is taken
// over again, or taken for orphaned: docs/adopt.md, What proves it, and docs/codacy.md, Orphans.
type claims struct {
	// hashes by id; empty for a token whose value nobody knows.
	hashes map[string]string
	// names of tokens, and of attempts that may yet turn out to have one.
	names map[string]bool
}

// add what the status of a resource records.
func (c *claims) add(t v1alpha1.Token, url string) {
	if t.SharedStatus().OwnerUID != t.GetUID() {
		return
	}
	for _, record := range t.SharedStatus().Records() {
		if record.ID != "" && sameService(record.URL, url) {
			c.hashes[record.ID] = record.SHA256
		}
		// No two tokens of an installation have one name, and one service may have two addresses.
		if record.Name != "" {
			c.names[record.Name] = true
		}
	}
}

// sameService says whether two URLs lead to one service: the port may be written out.
func sameService(a, b string) bool { return withoutPort(a) == withoutPort(b) }

func withoutPort(url string) string {
	host, path, found := strings.Cut(strings.TrimPrefix(url, "https://"), "/")
	if host = strings.TrimSuffix(host, ":443"); !found {
		return host
	}
	return host + "/" + path
}

// claimsOn collects the claims on the tokens of the reconciler's kind at a service. Whoever is about to claim or to end a token because
// nobody else has it must ask the API server, not the cache.
func (r *TokenReconciler) claimsOn(ctx context.Context, reader client.Reader, url string, options ...client.ListOption) (*claims, error) {
	tokens, err := resources.TokensIn(ctx, reader, r.kind.newList(), options...)
	if err != nil {
		return nil, err
	}
	c := &claims{hashes: map[string]string{}, names: map[string]bool{}}
	for _, t := range tokens {
		c.add(t, url)
	}
	return c, nil
}

// knower answers whether some resource has a token, or it was left behind on purpose; failed as for resourcesWith.
func (r *TokenReconciler) knower(ctx context.Context, url string) (known func(id string) (sha256 string, known bool), failed func() error) {
	resources, resourcesFailed := r.resourcesWith(ctx, url)
	var leftThere *left
	var err error
	known = func(id string) (string, bool) {
		if sha256, ok := resources(id); ok {
			return sha256, ok
		}
		if leftThere == nil && err == nil {
			leftThere, err = r.leftAt(ctx, url)
		}
		if err != nil {
			return "", true
		}
		_, ok := leftThere.hashes[id]
		return "", ok
	}
	return known, func() error { return errors.Join(resourcesFailed(), err) }
}

// left are tokens of the reconciler's kind that were left at a service on purpose: their hashes, where they are known, by id, and
// their names.
type left struct {
	hashes map[string]string
	names  map[string]bool
}

func (r *TokenReconciler) leftAt(ctx context.Context, url string) (*left, error) {
	issuers, err := listIssuers(ctx, r.Client, &r.Scope)
	if err != nil {
		return nil, err
	}
	all := &left{hashes: map[string]string{}, names: map[string]bool{}}
	kind := r.kind.newToken().Kind()
	for _, i := range issuers {
		if i.SharedSpec().Codacy == nil {
			continue
		}
		for _, t := range i.SharedStatus().Retained {
			if !strings.HasPrefix(t.Owner, kind+"/") {
				continue
			}
			if t.ID != "" && sameService(i.SharedSpec().Codacy.URL, url) {
				all.hashes[t.ID] = t.SHA256
			}
			if t.Name != "" {
				all.names[t.Name] = true
			}
		}
	}
	return all, nil
}

// resourcesWith answers whether some resource has a token, and asks the API server for that at most once, and only if it is
// asked. If that fails, every token counts as somebody's, and failed says why.
func (r *TokenReconciler) resourcesWith(ctx context.Context, url string) (known func(id string) (sha256 string, known bool), failed func() error) {
	var collected *claims
	var err error
	known = func(id string) (string, bool) {
		if collected == nil && err == nil {
			collected, err = r.claimsOn(ctx, r.Live, url)
		}
		if err != nil {
			return "", true
		}
		sha256, ok := collected.hashes[id]
		return sha256, ok
	}
	failed = func() error {
		if err != nil {
			return fmt.Errorf("finding out which tokens are somebody's: %w", err)
		}
		return nil
	}
	return known, failed
}

// disowned says whether the user declared an id to be somebody else's.
func (s *state) disowned(id string) bool {
	return slices.ContainsFunc(strings.Split(s.token.GetAnnotations()[v1alpha1.NotMineAnnotation], ","), func(entry string) bool {
		return strings.TrimSpace(entry) == id
	})
}
