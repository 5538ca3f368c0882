package controllers

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
)

// writeSecret puts the token of the open attempt into the Secret: value, owner, id and revision in one write. It
// creates the Secret, or updates it at the resourceVersion that was read before the intent was recorded. If somebody
// else wrote it since, it tries once more, provided that the attempt is still the open one and the Secret still ours.
func (r *TokenReconciler) writeSecret(ctx context.Context, s *state, minted issuer.Token, revision int64) error {
	err := r.tryWriteSecret(ctx, s, minted, revision)
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
	if getErr := r.observeSecretLive(ctx, s); getErr != nil {
		return getErr
	}
	if s.observedSecret().State == lifecycle.SecretForeign {
		return err
	}
	return r.tryWriteSecret(ctx, s, minted, revision)
}

func (r *TokenReconciler) tryWriteSecret(ctx context.Context, s *state, minted issuer.Token, revision int64) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.token.GetNamespace(), Name: v1alpha1.SecretName(s.token)}}
	if s.secret != nil {
		secret = s.secret.DeepCopy()
	}
	metav1.SetMetaDataLabel(&secret.ObjectMeta, v1alpha1.ManagedLabel, "true")
	metav1.SetMetaDataAnnotation(&secret.ObjectMeta, v1alpha1.OwnerAnnotation, s.owner)
	metav1.SetMetaDataAnnotation(&secret.ObjectMeta, v1alpha1.TokenIDAnnotation, minted.ID)
	metav1.SetMetaDataAnnotation(&secret.ObjectMeta, v1alpha1.RevisionAnnotation, strconv.FormatInt(revision, 10))
	isController := true
	secret.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: s.token.Kind(), Name: s.token.GetName(), UID: s.token.GetUID(),
		Controller: &isController,
	}}
	secret.Type = corev1.SecretTypeOpaque
	secret.Data = map[string][]byte{s.tokenKey: []byte(minted.Value.Reveal())}

	var err error
	if s.secret == nil {
		err = r.Client.Create(ctx, secret)
	} else {
		err = r.Client.Update(ctx, secret)
	}
	if err != nil {
		return secretError(secret.Name, err)
	}
	s.secret, s.secretIsLive = secret, true
	return nil
}

// deleteSecret deletes the Secret that was observed, and no other that may have taken its place.
func (r *TokenReconciler) deleteSecret(ctx context.Context, s *state) error {
	uid, version := s.secret.UID, s.secret.ResourceVersion
	err := r.Client.Delete(ctx, s.secret, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting the Secret: %w", err)
	}
	s.secret = nil
	return nil
}

// secretError is what may be said of a failed write of a Secret. The API server's own words are kept back: an
// admission policy or webhook may have put the value into them.
func secretError(name string, err error) error {
	switch reason := apierrors.ReasonForError(err); reason {
	case metav1.StatusReasonConflict:
		return apierrors.NewConflict(corev1.Resource("secrets"), name, nil)
	case metav1.StatusReasonAlreadyExists:
		return apierrors.NewAlreadyExists(corev1.Resource("secrets"), name)
	case metav1.StatusReasonUnknown:
		return fmt.Errorf("writing the Secret %q: no usable answer from the API server (%T)", name, err)
	default:
		return fmt.Errorf("writing the Secret %q: the API server refused it (%s)", name, reason)
	}
}
