package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
	"github.com/tokensteward/tokensteward/internal/token"
)

// A token of an account may be what an issuer asks its service with: because the resource has taken the issuer's credential
// over, or because the issuer takes its credential from the resource's Secret. docs/adopt.md, A credential that rotates itself.

// inUse says whether the operator asks a service with a token of this resource.
func (s *state) inUse(sha256 string) bool {
	return sha256 != "" && s.token.Kind() == v1alpha1.KindAccountToken && len(s.services.UsedBy(sha256)) > 0
}

// observeNeed finds out whether a token that is about to be revoked is what others' are revoked with.
func (r *TokenReconciler) observeNeed(ctx context.Context, s *state) error {
	if s.token.GetDeletionTimestamp().IsZero() {
		return nil
	}
	status := s.token.SharedStatus()
	var hashes []string
	if status.Token != nil {
		hashes = append(hashes, status.Token.SHA256)
	}
	for i := range status.PreviousTokens {
		hashes = append(hashes, status.PreviousTokens[i].SHA256)
	}
	for _, sha256 := range slices.DeleteFunc(hashes, func(sha256 string) bool { return !s.inUse(sha256) }) {
		for _, key := range s.services.UsedBy(sha256) {
			others, err := r.othersUsing(ctx, s, key)
			if err != nil {
				return err
			}
			if others > 0 {
				s.needed = &lifecycle.Problem{
					Reason: v1alpha1.ReasonInUse,
					Message: fmt.Sprintf("Being deleted, and kept while %s %q asks Codacy with it for other resources: %d left. Delete them, "+
						"or put another credential into the issuer's Secret.", key.Kind, key.Name, others),
				}
				return nil
			}
		}
	}
	return nil
}

// othersUsing counts the resources that refer to an issuer, beside this one.
func (r *TokenReconciler) othersUsing(ctx context.Context, s *state, key codacy.Key) (int, error) {
	i := newIssuer(key.Kind)
	i.SetNamespace(key.Namespace)
	i.SetName(key.Name)
	users, err := countUsers(ctx, r.Client, i)
	if key == issuerKey(s.token) {
		users--
	}
	return users, err
}

// credentialOfOthers refuses to take over a token that an issuer asks its service with, unless the Secret is where it takes it
// from: then the issuer takes up the next one by itself.
func (r *TokenReconciler) credentialOfOthers(ctx context.Context, s *state, value token.Value) error {
	issuers, err := listIssuers(ctx, r.Client, &r.Scope)
	if err != nil {
		return err
	}
	users := s.services.UsedBy(value.SHA256())
	for _, i := range issuers {
		if !slices.Contains(users, keyOf(i)) {
			continue
		}
		reference := i.SharedSpec().Codacy.CredentialsSecretRef
		if credentialsKey(i, r.Namespace, reference.Name) != s.secretKey() || reference.Key != s.tokenKey {
			return &issuer.Error{
				Reason: v1alpha1.ReasonAdoptionRefused, Stalled: true,
				Message: fmt.Sprintf("The Secret %q holds the credential of an issuer, which would be revoked when it is replaced. "+
					"Name the issuer's own credentials Secret in spec.adopt.secretRef, or another token.", s.secretKey().Name),
			}
		}
	}
	return nil
}

// isRefused says whether the service has refused a token of this resource, which is the issuer's credential, for so long that
// it is proven to be gone.
func (s *state) isRefused(sha256 string) bool { return sha256 != "" && s.refused == sha256 }

// refusedCredential is the hash of an issuer's credential that was refused at least twice, as far apart as its tries are; empty
// if there is none.
func refusedCredential(i v1alpha1.Issuer, now time.Time) string {
	const margin = 5 * time.Minute
	stalled := meta.FindStatusCondition(i.SharedStatus().Conditions, v1alpha1.ConditionStalled)
	if stalled == nil || stalled.Reason != v1alpha1.ReasonCredentialsRefused || now.Sub(stalled.LastTransitionTime.Time) < refusedRetry(i)+margin {
		return ""
	}
	return i.SharedStatus().CredentialSHA256
}
