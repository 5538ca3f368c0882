package controllers

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
	"github.com/tokensteward/tokensteward/internal/token"
)

// adopting says whether a token that was made by hand is to be taken over. It is done once, and only by a resource that never
// had a token.
func (s *state) adopting() bool {
	status := s.token.SharedStatus()
	return s.token.SharedSpec().Adopt != nil && status.AdoptedTime == nil &&
		status.LastRevision == 0 && status.Token == nil && status.Pending == nil && len(status.PreviousTokens) == 0
}

// hasAdopted says whether the Secret was somebody's before it was this resource's, so that what else it holds is not ours.
func (s *state) hasAdopted() bool { return s.token.SharedStatus().AdoptedTime != nil }

// inSecret is the token that the Secret holds. Who wrote one by hand may have left white space around it.
func (s *state) inSecret() []byte {
	if s.adopting() || s.hasAdopted() {
		return bytes.TrimSpace(s.secret.Data[s.tokenKey])
	}
	return s.secret.Data[s.tokenKey]
}

// adopt takes over the token in the Secret: it writes into the status that the token is this resource's. From then on it is
// as any other, and the Secret is rewritten as any other. docs/adopt.md.
func (r *TokenReconciler) adopt(ctx context.Context, s *state) error {
	spec, status := s.token.SharedSpec(), s.token.SharedStatus()
	value := token.NewValue(string(s.inSecret()))
	if err := r.credentialOfOthers(ctx, s, value); err != nil {
		return err
	}
	leftThere, err := r.leftAt(ctx, s.url)
	if err != nil {
		return err
	}
	known, failed := r.resourcesWith(ctx, s.url)
	found, err := s.codacy.Find(ctx, codacy.Handmade{
		Kind: s.token.Kind(), Subject: s.token.Subject(), UID: s.token.GetUID(), Value: value, ID: spec.Adopt.TokenID,
		MayNameID: spec.IssuerRef.Kind == v1alpha1.KindTokenIssuer, Known: known,
		Left: leftThere.hashes,
	})
	if err == nil {
		s.mintLocks = append(s.mintLocks, found.Release)
	}
	if failure := failed(); failure != nil {
		return failure
	}
	if err != nil {
		return fmt.Errorf("taking a token over: %w", err)
	}
	r.failures.succeeded(s, lifecycle.Adopt)

	now := metav1.NewTime(r.Clock.Now())
	share := rand.Float64() //nolint:gosec // A spread, not a secret.
	renewal := metav1.NewTime(lifecycle.AdoptedRenewalTime(now.Time, found.ExpirationTime, spec.TokenDuration(), spec.TokenRenewBefore(), share))
	status.Token = &v1alpha1.IssuedToken{
		ID: found.ID, Name: found.Name, Revision: 1, SHA256: value.SHA256(), IssueTime: now,
		ExpirationTime: expiration(found.ExpirationTime), URL: s.url, AccountID: s.codacy.Account().ID,
	}
	status.LastRevision, status.RenewalTime, status.AdoptedTime = 1, &renewal, &now
	status.SecretRef = &v1alpha1.SecretReference{Name: v1alpha1.SecretName(s.token)}
	// Before anybody else may take it over.
	if err := r.patchStatus(ctx, s); err != nil {
		return fmt.Errorf("recording that a token was taken over: %w", err)
	}
	ctrl.LoggerFrom(ctx).Info("Took a token over", "id", found.ID, "secret", v1alpha1.SecretName(s.token), "renewal", renewal.Time)
	r.Recorder.Eventf(s.token, nil, corev1.EventTypeNormal, eventAdopted, "Adopt", "Took over the token %s in the Secret %q as revision 1; it is replaced at %s",
		found.ID, v1alpha1.SecretName(s.token), renewal.UTC().Format(time.RFC3339))
	return nil
}

// observeAdoption finds what is wrong with spec.adopt itself.
func (s *state) observeAdoption() *lifecycle.Problem {
	adoption := s.token.SharedSpec().Adopt
	refuse := func(message string, arguments ...any) *lifecycle.Problem {
		return &lifecycle.Problem{Reason: v1alpha1.ReasonAdoptionRefused, Stalled: true, Message: fmt.Sprintf(message, arguments...)}
	}
	switch {
	case s.builtIn:
		return refuse("A built-in issuer knows no token that was made by hand: leave spec.adopt out.")
	case adoption.SecretRef.Name != v1alpha1.SecretName(s.token):
		return refuse("spec.adopt.secretRef names the Secret %q, and the token would be written to %q: set spec.secret.name of a new resource to the former, "+
			"so that whoever uses the token gets the next one.", adoption.SecretRef.Name, v1alpha1.SecretName(s.token))
	case s.url != "" && adoption.SecretRef.Key != "" && adoption.SecretRef.Key != s.tokenKey: // Without its issuer the key is not known.
		return refuse("spec.adopt.secretRef names the key %q, and the token would be written under %q: set spec.secret.tokenKey to the former, "+
			"so that whoever uses the token gets the next one.", adoption.SecretRef.Key, s.tokenKey)
	}
	return nil
}

// adoptionConflict says why the token in a Secret can't be taken over; nil if it can.
func (s *state) adoptionConflict() *lifecycle.Problem {
	name := s.secretKey().Name
	if s.secret == nil {
		return &lifecycle.Problem{
			Reason:  v1alpha1.ReasonSecretNotFound,
			Message: fmt.Sprintf("There is no Secret %q, whose token is to be taken over: create it.", name),
		}
	}
	manager := managerOf(s.secret)
	switch {
	case s.secret.Annotations[v1alpha1.OwnerAnnotation] != "" && s.secret.Annotations[v1alpha1.OwnerAnnotation] != s.owner:
		return s.foreignSecret()
	case manager != "":
		return &lifecycle.Problem{
			Reason: v1alpha1.ReasonSecretManagedElsewhere, Stalled: true,
			Message: fmt.Sprintf("The Secret %q is made by %s, which would put the old token back: take it out there, so that the Secret stays and nobody else writes it.", name, manager),
		}
	case s.secret.Type != corev1.SecretTypeOpaque:
		return &lifecycle.Problem{
			Reason: v1alpha1.ReasonAdoptionRefused, Stalled: true,
			Message: fmt.Sprintf("The Secret %q is of the type %q, and tokens are written to Opaque ones alone.", name, s.secret.Type),
		}
	case s.secret.Immutable != nil && *s.secret.Immutable:
		return immutableSecret(s.secret)
	case len(s.inSecret()) == 0:
		return &lifecycle.Problem{
			Reason:  v1alpha1.ReasonSecretNotFound,
			Message: fmt.Sprintf("The Secret %q has nothing under the key %q: put the token that is to be taken over there, or name its key in spec.secret.tokenKey.", name, s.tokenKey),
		}
	}
	return nil
}

// marks are labels and annotations by which those who make Secrets mark them; by is empty if the value says who it is.
var marks = []struct{ key, by string }{
	{"meta.helm.sh/release-name", "Helm"},
	{"helm.toolkit.fluxcd.io/name", "Flux"},
	{"kustomize.toolkit.fluxcd.io/name", "Flux"},
	{"argocd.argoproj.io/tracking-id", "Argo CD"},
	{"argocd.argoproj.io/instance", "Argo CD"},
	{"reconcile.external-secrets.io/created-by", "External Secrets"},
	{"reconcile.external-secrets.io/managed", "External Secrets"},
	{"reconcile.external-secrets.io/data-hash", "External Secrets"},
	{"cert-manager.io/certificate-name", "cert-manager"},
	{"app.kubernetes.io/managed-by", ""},
}

// managers are the names under which those write who make Secrets, though not by server-side apply.
var managers = []string{"argocd-controller", "argocd-application-controller", "helm", "helm-controller", "kustomize-controller", "external-secrets"}

// appliesData tells fields that hold what a Secret does from its metadata.
var appliesData = regexp.MustCompile(`"f:(data|stringData)"`)

// managerOf names who makes a Secret again and again; empty if nobody is seen to.
func managerOf(secret *corev1.Secret) string {
	if controller := metav1.GetControllerOf(secret); controller != nil {
		return fmt.Sprintf("the %s %q", foreign(controller.Kind), foreign(controller.Name))
	}
	for _, mark := range marks {
		for _, marked := range []map[string]string{secret.Labels, secret.Annotations} {
			if value, ok := marked[mark.key]; ok {
				return fmt.Sprintf("%s (%s)", cmp.Or(mark.by, foreign(value), "somebody else"), mark.key)
			}
		}
	}
	for _, entry := range secret.ManagedFields {
		applies := entry.Operation == metav1.ManagedFieldsOperationApply && !strings.HasPrefix(entry.Manager, "kubectl")
		applies = applies || slices.Contains(managers, entry.Manager)
		if applies && entry.FieldsV1 != nil && appliesData.MatchString(entry.FieldsV1.GetRawString()) {
			return fmt.Sprintf("%q, which applies its data", entry.Manager)
		}
	}
	return ""
}
