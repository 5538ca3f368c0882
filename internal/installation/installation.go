// Package installation knows the id that tells this installation's Secrets and tokens from those of others. docs/restore.md.
package installation

import (
	"context"
	"crypto/rand"
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// ConfigMapName is that of the ConfigMap, in the operator's namespace, that remembers the id.
	ConfigMapName = "tokensteward-installation"
	// idKey holds the id that was made, and inUseKey the one that the operator goes by, which --installation-id may say.
	idKey    = "id"
	inUseKey = "in-use"
)

var valid = regexp.MustCompile(`^[a-z0-9]{6,20}$`)

// Valid says whether a text can be an installation id: 6 to 20 lowercase letters and digits.
func Valid(id string) bool { return valid.MatchString(id) }

// Establish gives the id of this installation: the one that was chosen for it or, if that is empty, one that is made once and
// kept, so that a reinstalled operator knows its own again. It leaves a note of it for Current.
func Establish(ctx context.Context, c client.Client, namespace, chosen string) (string, error) {
	kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: ConfigMapName}}
	err := c.Get(ctx, client.ObjectKeyFromObject(kept), kept)
	if apierrors.IsNotFound(err) {
		id := chosen
		if id == "" {
			id = strings.ToLower(rand.Text()[:10])
		}
		kept.Data = map[string]string{idKey: id, inUseKey: id}
		err = c.Create(ctx, kept)
		if apierrors.IsAlreadyExists(err) {
			err = c.Get(ctx, client.ObjectKeyFromObject(kept), kept)
		}
	}
	if err != nil {
		return "", fmt.Errorf("the installation id in the ConfigMap %s/%s: %w", namespace, ConfigMapName, err)
	}
	id := chosen
	if id == "" {
		id = kept.Data[idKey]
	}
	if !Valid(id) {
		return "", fmt.Errorf("the ConfigMap %s/%s holds no valid installation id under %q: restore it, or set --installation-id; "+
			"with another id the operator takes the Secrets it wrote for somebody else's", namespace, ConfigMapName, idKey)
	}
	if kept.Data[inUseKey] != id {
		if kept.Data == nil {
			kept.Data = map[string]string{}
		}
		kept.Data[inUseKey] = id
		if err := c.Update(ctx, kept); err != nil {
			return "", fmt.Errorf("noting the installation id in the ConfigMap %s/%s: %w", namespace, ConfigMapName, err)
		}
	}
	return id, nil
}

// Current is the id that the operator in a namespace noted.
func Current(ctx context.Context, c client.Reader, namespace string) (string, error) {
	var kept corev1.ConfigMap
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ConfigMapName}, &kept); err != nil {
		return "", fmt.Errorf("the installation id: %w", err)
	}
	if id := kept.Data[inUseKey]; Valid(id) {
		return id, nil
	}
	return "", fmt.Errorf("the ConfigMap %s/%s does not say which installation id is in use: is the operator of this version, and running?", namespace, ConfigMapName)
}
