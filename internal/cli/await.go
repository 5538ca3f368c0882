package cli

import (
	"context"
	"fmt"
	"maps"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// pollInterval is how often a resource is looked at that is waited for.
const pollInterval = time.Second

// annotate sets an annotation of a token, which then is as the API server has it.
func annotate(ctx context.Context, c client.Client, t v1alpha1.Token, key, value string) error {
	before := t.DeepCopyObject().(v1alpha1.Token)
	annotations := maps.Clone(t.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[key] = value
	t.SetAnnotations(annotations)
	if err := c.Patch(ctx, t, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("%s: %w", reference(t), err)
	}
	return nil
}

// awaitToken looks at a token until something is so of it, and tells meanwhile what it waits for, if there is something to tell:
// the last of that is returned. It fails at once if the token is gone, or may not be seen.
func (p *plugin) awaitToken(ctx context.Context, c client.Client, t v1alpha1.Token, so func() bool, waitsFor func() string) (told string, err error) {
	name := reference(t)
	tell := func(message string) {
		if message != "" && message != told {
			p.progress("%s: waiting: %s", name, message)
			told = message
		}
	}
	err = wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (done bool, err error) {
		err = c.Get(ctx, client.ObjectKeyFromObject(t), t)
		switch {
		case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
			return false, err
		case err != nil:
			tell(err.Error()) // The API server may be back in a moment.
			return false, nil
		case so():
			return true, nil
		}
		tell(waitsFor())
		return false, nil
	})
	return told, err
}
