package manager

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

// The ConfigMap, in the operator's namespace, that remembers the installation id.
const (
	installationConfigMap = "tokensteward-installation"
	installationKey       = "id"
)

var installationID = regexp.MustCompile(`^[a-z0-9]{6,20}$`)

// installation is the id that tells this installation's Secrets and tokens from those of others. It is made once and
// kept, so that a reinstalled operator knows its own again.
func installation(ctx context.Context, c client.Client, namespace string) (string, error) {
	kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: installationConfigMap}}
	err := c.Get(ctx, client.ObjectKeyFromObject(kept), kept)
	if apierrors.IsNotFound(err) {
		kept.Data = map[string]string{installationKey: strings.ToLower(rand.Text()[:10])}
		err = c.Create(ctx, kept)
		if apierrors.IsAlreadyExists(err) {
			err = c.Get(ctx, client.ObjectKeyFromObject(kept), kept)
		}
	}
	if err != nil {
		return "", fmt.Errorf("the installation id in the ConfigMap %s/%s: %w", namespace, installationConfigMap, err)
	}
	id := kept.Data[installationKey]
	if !installationID.MatchString(id) {
		return "", fmt.Errorf("the ConfigMap %s/%s holds no valid installation id under %q: restore it, or set --installation-id; "+
			"with another id the operator takes the Secrets it wrote for somebody else's", namespace, installationConfigMap, installationKey)
	}
	return id, nil
}
