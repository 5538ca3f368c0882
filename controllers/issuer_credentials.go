package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/grant"
	"github.com/tokensteward/tokensteward/internal/resources"
	"github.com/tokensteward/tokensteward/internal/token"
)

// credentialsRecheck is how soon a credentials Secret is looked for again. It is not ours before it is found, so the
// cache does not tell when it is created.
const credentialsRecheck = 5 * time.Second

// issuersOfSecret are the issuers that take their credential from a Secret.
func (r *IssuerReconciler) issuersOfSecret(ctx context.Context, o client.Object) []reconcile.Request {
	if o.GetLabels()[v1alpha1.ManagedLabel] != v1alpha1.ManagedCredentials {
		return nil
	}
	issuers, err := resources.Issuers(ctx, r.Client, r.kind)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing issuers from the cache")
	}
	var requests []reconcile.Request
	for _, i := range issuers {
		if r.takesFrom(i, client.ObjectKeyFromObject(o)) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(i)})
		}
	}
	return requests
}

func (r *IssuerReconciler) takesFrom(i v1alpha1.Issuer, secret types.NamespacedName) bool {
	spec := i.SharedSpec().Codacy
	return spec != nil && v1alpha1.CredentialsKey(i, r.Namespace, spec.CredentialsSecretRef.Name) == secret
}

// credential reads the issuer's credential, and holds its Secret; missing says what is not there.
func (r *IssuerReconciler) credential(ctx context.Context, i v1alpha1.Issuer) (credential token.Value, missing string, err error) {
	reference := i.SharedSpec().Codacy.CredentialsSecretRef
	key := v1alpha1.CredentialsKey(i, r.Namespace, reference.Name)
	var secret corev1.Secret
	switch err := r.Live.Get(ctx, key, &secret); {
	case client.IgnoreNotFound(err) != nil:
		return token.Value{}, "", fmt.Errorf("reading the credentials Secret: %w", err)
	case apierrors.IsNotFound(err):
		return token.Value{}, fmt.Sprintf("There is no Secret %q in the namespace %q: create it, with an account API token of Codacy under the key %q.", key.Name, key.Namespace, reference.Key), nil
	}
	if secret.Type == corev1.SecretTypeServiceAccountToken {
		// It speaks for somebody to the API server: whoever names it here must not have it sent anywhere.
		return token.Value{}, fmt.Sprintf("The Secret %q in the namespace %q holds the token of a ServiceAccount, which is sent to nobody: name one with an account API token of Codacy.", key.Name, key.Namespace), nil
	}
	held, err := r.holdCredentials(ctx, i, &secret)
	if err != nil {
		return token.Value{}, "", err
	}
	if !held {
		return token.Value{}, fmt.Sprintf("The Secret %q in the namespace %q was deleted: create it anew, with an account API token of Codacy under the key %q.", key.Name, key.Namespace, reference.Key), nil
	}
	credential = token.NewValue(strings.TrimSpace(string(secret.Data[reference.Key])))
	switch {
	case credential.IsEmpty():
		missing = fmt.Sprintf("The Secret %q in the namespace %q has nothing under the key %q: put an account API token of Codacy there.", key.Name, key.Namespace, reference.Key)
	case !wellFormed(credential):
		missing = fmt.Sprintf("The Secret %q in the namespace %q has something under the key %q that can't be a token: put an account API token of Codacy there, and nothing else.", key.Name, key.Namespace, reference.Key)
	}
	return credential, missing, nil
}

// holdCredentials has a credentials Secret followed, and kept in a namespace that is being deleted until the tokens that it
// is needed for are revoked; false if it is being deleted on its own account, and was let go.
func (r *IssuerReconciler) holdCredentials(ctx context.Context, i v1alpha1.Issuer, secret *corev1.Secret) (held bool, err error) {
	if err := r.rememberCredentials(ctx, i, secret.Name); err != nil {
		return false, err
	}
	if secret.DeletionTimestamp.IsZero() {
		return true, r.patchCredentials(ctx, secret, func(o client.Object) {
			controllerutil.AddFinalizer(o, v1alpha1.CredentialsFinalizer)
			o.SetLabels(merged(o.GetLabels(), v1alpha1.ManagedLabel, v1alpha1.ManagedCredentials))
		})
	}
	if terminating, err := r.terminating(ctx, secret.Namespace); err != nil || terminating {
		return terminating, err
	}
	return false, r.dropFinalizer(ctx, secret)
}

// terminating says whether the namespace of a credentials Secret is being deleted.
func (r *IssuerReconciler) terminating(ctx context.Context, name string) (bool, error) {
	if r.Scope.WithoutClusterIssuers {
		return r.refusesWhatIsNew(ctx, name)
	}
	namespace := grant.NamespaceMetadata()
	if err := r.Client.Get(ctx, types.NamespacedName{Name: name}, namespace); err != nil {
		return false, fmt.Errorf("reading the namespace of the credentials Secret: %w", err)
	}
	return !namespace.DeletionTimestamp.IsZero(), nil
}

// refusesWhatIsNew tells of a namespace that may not be read whether it is being deleted, with a dry run: the API server then
// refuses whatever is new, and says why. It does so before quotas and admission policies have a say, so one of theirs means
// that it is not being deleted. If the operator has lost its Role there, the Secret can't be let go either.
func (r *IssuerReconciler) refusesWhatIsNew(ctx context.Context, name string) (bool, error) {
	probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name, GenerateName: "tokensteward-"}}
	err := client.NewDryRunClient(r.Client).Create(ctx, probe)
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return true, nil
	case err == nil || isRefusal(err):
		return false, nil
	default:
		return false, fmt.Errorf("finding out whether the namespace of the credentials Secret is being deleted: %w", err)
	}
}

// rememberCredentials writes down which Secrets carry the finalizer, before one does, and lets those go that are not used
// any more.
func (r *IssuerReconciler) rememberCredentials(ctx context.Context, i v1alpha1.Issuer, name string) error {
	now := v1alpha1.CredentialsSecretName(name)
	for _, former := range slices.Clone(i.SharedStatus().CredentialsSecretNames) {
		if former == now {
			continue
		}
		if err := r.releaseCredentials(ctx, i, string(former)); err != nil {
			return err
		}
	}
	return r.patchStatus(ctx, i, func(status *v1alpha1.IssuerStatus) {
		status.CredentialsSecretNames = []v1alpha1.CredentialsSecretName{now}
	})
}

// releaseCredentials takes the finalizer off a Secret, unless another issuer needs it.
func (r *IssuerReconciler) releaseCredentials(ctx context.Context, i v1alpha1.Issuer, name string) error {
	key := v1alpha1.CredentialsKey(i, r.Namespace, name)
	others, err := listIssuers(ctx, r.Client, &r.Scope)
	if err != nil {
		return fmt.Errorf("finding out who needs the credentials Secret: %w", err)
	}
	for _, other := range others {
		if other.GetUID() != i.GetUID() && r.takesFrom(other, key) {
			return nil
		}
	}
	var secret corev1.Secret
	if err := r.Live.Get(ctx, key, &secret); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("reading the credentials Secret: %w", err)
	}
	return r.dropFinalizer(ctx, &secret)
}

func (r *IssuerReconciler) dropFinalizer(ctx context.Context, secret *corev1.Secret) error {
	return r.patchCredentials(ctx, secret, func(o client.Object) {
		controllerutil.RemoveFinalizer(o, v1alpha1.CredentialsFinalizer)
		labels := merged(o.GetLabels(), v1alpha1.ManagedLabel, "")
		delete(labels, v1alpha1.ManagedLabel)
		o.SetLabels(labels)
	})
}

// patchCredentials changes the metadata of a credentials Secret, and sends nothing else of it.
func (r *IssuerReconciler) patchCredentials(ctx context.Context, secret *corev1.Secret, change func(client.Object)) error {
	stored := &metav1.PartialObjectMetadata{ObjectMeta: *secret.ObjectMeta.DeepCopy()}
	stored.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	changed := stored.DeepCopy()
	if change(changed); slices.Equal(stored.Finalizers, changed.Finalizers) && stored.Labels[v1alpha1.ManagedLabel] == changed.Labels[v1alpha1.ManagedLabel] {
		return nil
	}
	err := r.Client.Patch(ctx, changed, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("changing the label and the finalizer of the credentials Secret %q: %w", secret.Name, inOurWords(err, secret.Name))
	}
	return nil
}

func merged(labels map[string]string, key, value string) map[string]string {
	all := map[string]string{key: value}
	for k, v := range labels {
		if k != key {
			all[k] = v
		}
	}
	return all
}
