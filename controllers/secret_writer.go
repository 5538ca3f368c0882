package controllers

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
	"github.com/tokensteward/tokensteward/internal/token"
)

// errSecretRefused: the API server does not let the Secret be written, and will not before somebody changes something.
var errSecretRefused = errors.New("the API server refuses the Secret")

// writeSecret puts the token of the open attempt into the Secret: value, owner, id and revision in one write. It
// creates the Secret, or updates it at the resourceVersion that was read before the intent was recorded. If somebody
// else wrote it since, it tries once more, provided that the attempt is still the open one and the Secret still ours.
func (r *TokenReconciler) writeSecret(ctx context.Context, s *state, content secretContent) error {
	err := r.putSecret(ctx, s, content)
	if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
		return err
	}
	live := r.kind.newToken()
	if getErr := r.Live.Get(ctx, client.ObjectKeyFromObject(s.token), live); getErr != nil {
		return fmt.Errorf("reading the resource after a conflict: %w", getErr)
	}
	pending := live.SharedStatus().Pending
	if live.GetUID() != s.token.GetUID() || !equality.Semantic.DeepEqual(pending, s.token.SharedStatus().Pending) {
		return err
	}
	if readErr := r.readSecret(ctx, s); readErr != nil {
		return readErr
	}
	if s.observedSecret().Conflict != nil {
		return err
	}
	return r.putSecret(ctx, s, content)
}

// rewriteSecret brings the other keys and the metadata up to date around the token that the Secret holds.
func (r *TokenReconciler) rewriteSecret(ctx context.Context, s *state) error {
	err := r.putSecret(ctx, s, s.current(token.NewValue(string(s.secret.Data[s.tokenKey]))))
	if errors.Is(err, errSecretRefused) {
		return r.explainRefusal(ctx, s)
	}
	return err
}

// explainRefusal finds out with a dry run why the API server refused the Secret. If it does not refuse the dry run, it
// minds the token itself, and nothing more can be said.
func (r *TokenReconciler) explainRefusal(ctx context.Context, s *state) error {
	if err := r.tryWriteSecret(ctx, s); err != nil || s.secretRefused != nil {
		return err
	}
	return fmt.Errorf("%w %q with the token, though not with a placeholder", errSecretRefused, s.secretKey().Name)
}

// tryWriteSecret finds out with a dry run, and a placeholder for the token, whether and why the API server refuses the
// Secret. What it says to that can be shown.
func (r *TokenReconciler) tryWriteSecret(ctx context.Context, s *state) error {
	secret, err := s.newSecret(placeholder)
	if err != nil {
		return err
	}
	switch err := s.put(ctx, client.NewDryRunClient(r.Client), secret); {
	case err == nil:
		s.secretRefused, s.secretTried = nil, true
	case !isRefusal(err):
		return fmt.Errorf("trying to write the Secret: %w", err)
	default:
		s.secretRefused, s.secretRefusedAgain = &lifecycle.Problem{
			Reason: v1alpha1.ReasonSecretRefused, Stalled: true,
			Message: fmt.Sprintf("The Secret can't be written: %s. It is tried again every %s.", truncate(err.Error()), lifecycle.RefusedRetry),
		}, true
	}
	return nil
}

// putSecret writes the Secret. Its error keeps the API server's own words back: an admission policy or webhook may have
// put the value into them.
func (r *TokenReconciler) putSecret(ctx context.Context, s *state, content secretContent) error {
	secret, err := s.newSecret(content)
	if err != nil {
		return err
	}
	switch err := s.put(ctx, r.Client, secret); {
	case err == nil:
		s.secret, s.secretIsLive = secret, true
		return nil
	case apierrors.IsConflict(err):
		return apierrors.NewConflict(corev1.Resource("secrets"), secret.Name, nil)
	case apierrors.IsAlreadyExists(err):
		return apierrors.NewAlreadyExists(corev1.Resource("secrets"), secret.Name)
	case isRefusal(err):
		return errSecretRefused
	default:
		return fmt.Errorf("writing the Secret %q: no usable answer from the API server (%T, %q)", secret.Name, err, apierrors.ReasonForError(err))
	}
}

// newSecret is the Secret that was observed, or a new one, with a token in it.
func (s *state) newSecret(content secretContent) (*corev1.Secret, error) {
	key := s.secretKey()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	if s.secret != nil {
		secret = s.secret.DeepCopy()
	}
	return secret, s.applyTo(secret, content)
}

// put creates the Secret, or updates the one that was observed.
func (s *state) put(ctx context.Context, writer client.Writer, secret *corev1.Secret) error {
	if s.secret == nil {
		return writer.Create(ctx, secret)
	}
	return writer.Update(ctx, secret)
}

// isRefusal tells a refusal that lasts from a failure that passes.
func isRefusal(err error) bool {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return false
	}
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err)
}

// deleteSecret deletes the Secret that was observed, and no other that may have taken its place.
func (r *TokenReconciler) deleteSecret(ctx context.Context, s *state) error {
	uid, version := s.secret.UID, s.secret.ResourceVersion
	err := r.Client.Delete(ctx, s.secret, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting the Secret: %w", err)
	}
	s.secret, s.secretIsLive = nil, true
	return nil
}
