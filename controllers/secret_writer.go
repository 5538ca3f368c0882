package controllers

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

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
// docs/secrets.md, and docs/architecture.md, Minting.
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
	if recordErr := r.recordTakenOut(ctx, s); recordErr != nil {
		return recordErr
	}
	return r.putSecret(ctx, s, content)
}

// rewriteSecret brings the other keys and the metadata up to date around the token that the Secret holds.
func (r *TokenReconciler) rewriteSecret(ctx context.Context, s *state) error {
	err := r.putSecret(ctx, s, s.current(token.NewValue(string(s.inSecret()))))
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
	return fmt.Errorf("%w %q with the token, though not with a placeholder: an admission policy or webhook minds the value itself; have it exempt this Secret", errSecretRefused, s.secretKey().Name)
}

// tryWriteSecret finds out with a dry run, and a placeholder for the token, whether and why the API server refuses the
// Secret. What it says to that can be shown, unless it has something of what the Secret holds now: a policy sees that, too.
func (r *TokenReconciler) tryWriteSecret(ctx context.Context, s *state) error {
	secret, err := s.newSecret(placeholder)
	if err != nil {
		return err
	}
	if s.hasAdopted() {
		for key := range s.theirs(secret) {
			secret.Data[key] = nil // A policy may put what it refuses into its words.
		}
	}
	switch err := s.put(ctx, client.NewDryRunClient(r.Client), secret); {
	case err == nil:
		s.secretRefused, s.secretTried = nil, true
	case !isRefusal(err):
		return fmt.Errorf("trying to write the Secret %q: %w", secret.Name, inOurWords(err, secret.Name))
	default:
		why := truncate(err.Error())
		if s.secret != nil && s.repeatsSecret(err.Error()) {
			why = "an admission policy or webhook refuses it, in words that have a part of what the Secret holds: see the policies for Secrets in this namespace"
		}
		s.secretRefused, s.secretRefusedAgain = &lifecycle.Problem{
			Reason: v1alpha1.ReasonSecretRefused, Stalled: true,
			Message: fmt.Sprintf("The Secret can't be written: %s. It is tried again every %s.", why, lifecycle.RefusedRetry),
		}, true
	}
	return nil
}

// repeatsSecret says whether a text has a part of what the Secret holds now, as it is or as base64, but for what anybody may know.
func (s *state) repeatsSecret(text string) bool {
	known := s.defaultData()
	for key, value := range s.secret.Data {
		part := 16 // Of a file, less may be anything, such as "https://www.".
		if key == s.tokenKey {
			part = 8
		}
		if !bytes.Equal(known[key], value) && repeats(text, value, part) {
			return true
		}
	}
	return false
}

// repeats says whether a text has as long a part of a value.
func repeats(text string, value []byte, part int) bool {
	for _, form := range []string{string(value), base64.StdEncoding.EncodeToString(value)} {
		for from := 0; from+part <= len(form); from++ {
			if strings.Contains(text, form[from:from+part]) {
				return true
			}
		}
	}
	return false
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
	case apierrors.IsAlreadyExists(err):
		return apierrors.NewAlreadyExists(corev1.Resource("secrets"), secret.Name)
	case isRefusal(err):
		return errSecretRefused
	default:
		return fmt.Errorf("writing the Secret %q: %w", secret.Name, inOurWords(err, secret.Name))
	}
}

// inOurWords says what became of a request that changes a Secret; a conflict is one still. In the API server's there may be what
// the Secret holds: an admission policy or webhook may have put it there.
func inOurWords(err error, name string) error {
	switch {
	case apierrors.IsConflict(err):
		return apierrors.NewConflict(corev1.Resource("secrets"), name, nil)
	case isRefusal(err):
		return fmt.Errorf("refused by the API server (%q)", apierrors.ReasonForError(err))
	default:
		return fmt.Errorf("no usable answer from the API server (%T, %q)", err, apierrors.ReasonForError(err))
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

// deleteSecret deletes the Secret that was observed, and no other that may have taken its place. What somebody else put into
// one that was taken over is left.
func (r *TokenReconciler) deleteSecret(ctx context.Context, s *state) error {
	if s.hasAdopted() {
		if theirs := s.theirs(s.secret); len(theirs) > 0 {
			return r.releaseSecret(ctx, s, func(secret *corev1.Secret) {
				if secret.Immutable != nil && *secret.Immutable {
					return // Its token is revoked; that is all that can be done.
				}
				secret.Data = theirs
				delete(secret.Annotations, v1alpha1.TokenIDAnnotation)
				delete(secret.Annotations, v1alpha1.RevisionAnnotation)
			})
		}
	}
	uid, version := s.secret.UID, s.secret.ResourceVersion
	err := r.Client.Delete(ctx, s.secret, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting the Secret %q: %w", s.secret.Name, inOurWords(err, s.secret.Name))
	}
	s.secret, s.secretIsLive = nil, true
	return nil
}

// letGoSecret has the Secret outlive the resource, with the token in it. Its annotations go on to tell a person which one.
func (r *TokenReconciler) letGoSecret(ctx context.Context, s *state) error {
	// That its token was in the Secret must be known when the Secret tells it no more.
	r.sawInSecret(s)
	if err := r.patchStatus(ctx, s); err != nil {
		return fmt.Errorf("recording what the Secret holds: %w", err)
	}
	return r.releaseSecret(ctx, s, func(secret *corev1.Secret) {
		if secret.Labels[v1alpha1.ManagedLabel] == v1alpha1.ManagedTokens {
			secret.Labels[v1alpha1.ManagedLabel] = v1alpha1.ManagedRetained
		}
	})
}

// releaseSecret takes off the Secret what makes it this resource's.
func (r *TokenReconciler) releaseSecret(ctx context.Context, s *state, change func(*corev1.Secret)) error {
	secret := s.secret.DeepCopy()
	change(secret)
	delete(secret.Annotations, v1alpha1.OwnerAnnotation)
	delete(secret.Annotations, v1alpha1.TemplatedAnnotation)
	if secret.Labels[v1alpha1.ManagedLabel] == v1alpha1.ManagedTokens {
		delete(secret.Labels, v1alpha1.ManagedLabel)
	}
	secret.OwnerReferences = s.othersReferences(secret)
	switch err := r.Client.Update(ctx, secret); {
	case apierrors.IsNotFound(err):
		s.secret, s.secretIsLive = nil, true
	case err != nil:
		return fmt.Errorf("releasing the Secret %q: %w", secret.Name, inOurWords(err, secret.Name))
	default:
		s.secret, s.secretIsLive = secret, true
	}
	return nil
}
