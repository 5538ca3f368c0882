package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
)

// lookedUp is whether the service was seen not to have the current token any more, and when to look next.
func (s *state) lookedUp() (missing bool, next time.Time) {
	current := s.token.SharedStatus().Token
	if s.codacy == nil || current == nil {
		return false, time.Time{}
	}
	return s.codacy.Sight(s.token.Kind(), s.token.Subject(), current.ID, current.IssueTime.Time)
}

// look finds out whether the service still has the tokens that resources have, and whether it has some of ours that none
// has. docs/codacy.md, Looking and Orphans.
func (r *TokenReconciler) look(ctx context.Context, s *state) error {
	const busy = 2 * time.Second
	own := &claims{hashes: map[string]string{}, names: map[string]bool{}}
	own.add(s.token, s.url)
	_, due := s.lookedUp()
	named, done, err := s.codacy.Look(ctx, s.token.Kind(), s.token.Subject(), due, func(id string) (string, bool) {
		sha256, ok := own.hashes[id]
		return sha256, ok
	})
	if err != nil {
		return fmt.Errorf("looking tokens up: %w", err)
	}
	if !done {
		r.failures.postpone(s, lifecycle.Look, busy)
		s.failures = r.failures.of(s)
		return nil
	}
	r.failures.succeeded(s, lifecycle.Look)
	s.failures = r.failures.of(s)
	if s.token.Kind() != v1alpha1.KindProjectToken {
		return nil // Tokens of accounts have no names.
	}
	orphaned, err := r.findOrphans(ctx, s, named)
	if err != nil {
		return err
	}
	if !mayRevokeOrphans(s.orphanPolicy, &r.Scope) || len(orphaned) == 0 {
		return nil
	}
	return r.revokeOrphans(ctx, s, orphaned)
}
