package controllers

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
	"github.com/tokensteward/tokensteward/internal/resources"
	"github.com/tokensteward/tokensteward/internal/token"
)

// A token of an account may be what an issuer asks its service with: because the resource has taken the issuer's credential
// over, or because the issuer takes its credential from the resource's Secret. docs/adopt.md, A credential that rotates itself.

// observeUse finds the issuers that take their credential from the resource's Secret, and if it is being deleted whether others
// need them. Whoever has a copy of the token elsewhere, and an issuer that uses that, has no say in it.
func (r *TokenReconciler) observeUse(ctx context.Context, s *state) error {
	if s.token.Kind() != v1alpha1.KindAccountToken {
		return nil
	}
	var err error
	s.takers, err = r.takersOf(ctx, s)
	for _, i := range s.takers {
		s.asking = append(s.asking, r.credentialHashesOf(i)...)
	}
	if err != nil || s.token.GetDeletionTimestamp().IsZero() || v1alpha1.Abandoned(s.token) {
		return err // Who abandons it gives up who needs it.
	}
	for _, i := range s.takers {
		others, err := countUsers(ctx, r.Client, i)
		if err != nil {
			return err
		}
		if keyOf(i) == issuerKey(s.token) {
			others--
		}
		if others > 0 {
			s.needed = &lifecycle.Problem{
				Reason: v1alpha1.ReasonInUse,
				Message: fmt.Sprintf("Being deleted, and kept while %s %q asks Codacy with it for other resources: %d left. Delete them, "+
					"or have the issuer take another Secret.", i.Kind(), i.GetName(), others),
			}
			return nil
		}
	}
	return nil
}

// takersOf are the issuers that take their credential from the resource's Secret.
func (r *TokenReconciler) takersOf(ctx context.Context, s *state) (takers []v1alpha1.Issuer, err error) {
	key := s.secretKey()
	for _, kind := range r.Scope.issuerKinds() {
		options := []client.ListOption{client.MatchingFields{credentialsIndex: key.Name}}
		if kind == v1alpha1.KindTokenIssuer {
			options = append(options, client.InNamespace(key.Namespace))
		} else if key.Namespace != r.Namespace {
			continue
		}
		issuers, err := resources.Issuers(ctx, r.Client, kind, options...)
		if err != nil {
			return nil, err
		}
		for _, i := range issuers {
			if i.SharedSpec().Codacy.CredentialsSecretRef.Key == s.tokenKey {
				takers = append(takers, i)
			}
		}
	}
	return takers, nil
}

// inUse says whether the operator asks a service with a token of this resource, or is about to: with the current one, if an
// issuer takes it from the Secret.
func (s *state) inUse(sha256 string) bool {
	if current := s.token.SharedStatus().Token; len(s.takers) > 0 && current != nil && current.SHA256 == sha256 {
		return true
	}
	return sha256 != "" && slices.Contains(s.asking, sha256)
}

// credentialHashesOf are the hashes of the credentials that an issuer asks its service with, and did when it was connected last.
func (r *TokenReconciler) credentialHashesOf(i v1alpha1.Issuer) []string {
	hashes := []string{i.SharedStatus().CredentialSHA256}
	if c := r.Services.Get(keyOf(i)); c != nil {
		hashes = append(hashes, c.CredentialSHA256())
	}
	return hashes
}

// credentialOfOthers refuses to take over a token that an issuer asks its service with, unless the Secret is where it takes it
// from: then the issuer takes up the next one by itself.
func (r *TokenReconciler) credentialOfOthers(ctx context.Context, s *state, value token.Value) error {
	issuers, err := listIssuers(ctx, r.Client, &r.Scope)
	if err != nil {
		return err
	}
	for _, i := range issuers {
		taken := slices.ContainsFunc(s.takers, func(taker v1alpha1.Issuer) bool { return keyOf(taker) == keyOf(i) })
		if !taken && i.SharedSpec().Codacy != nil && slices.Contains(r.credentialHashesOf(i), value.SHA256()) {
			return &issuer.Error{
				Reason: v1alpha1.ReasonAdoptionRefused, Stalled: true,
				Message: fmt.Sprintf("The Secret %q holds the credential of an issuer, which would be revoked when it is replaced. "+
					"Name the issuer's own credentials Secret in spec.adopt.secretRef, or another token.", s.secretKey().Name),
			}
		}
	}
	return nil
}

// isRefused says whether the service has refused a token of this resource, as the credential of an issuer, again and again:
// that proves that it is gone. docs/adr/0024.
func (s *state) isRefused(sha256 string) bool {
	return sha256 != "" && slices.ContainsFunc(s.takers, func(i v1alpha1.Issuer) bool {
		refusal := i.SharedStatus().CredentialRefusal
		return refusal != nil && refusal.SHA256 == sha256 && refusal.LastTime.Sub(refusal.FirstTime.Time) >= stalledRetry
	})
}
