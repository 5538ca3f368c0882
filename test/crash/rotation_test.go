package crash_test

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/token"
)

// rotateRequest is the value of the annotation that asks for a rotation.
const rotateRequest = "now"

// atOnce has a replaced token revoked as soon as the Secret holds the next one. So a process that revokes too early is
// found out, and so is one that forgets to revoke.
func atOnce() *v1alpha1.Rotation {
	return &v1alpha1.Rotation{GracePeriod: &metav1.Duration{}, WaitForConsumers: &metav1.Duration{}}
}

func (s *scene) askToRotate(ctx context.Context, token client.Object) {
	s.t.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RotateRequestAnnotation, rotateRequest)
	asked := token.DeepCopyObject().(client.Object)
	if err := s.k8s.Patch(ctx, asked, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		s.t.Fatal(err)
	}
}

// isRotated says whether a later token is the current one, and all others are revoked.
func (s *scene) isRotated(ctx context.Context, token client.Object) bool {
	return s.hasRevision(ctx, token, 2) && s.ready(ctx, token)
}

// checkRotated: the Secret holds the token that the status names, which is not the replaced one. One rotation is one mint,
// unless something went wrong meanwhile.
func (s *scene) checkRotated(ctx context.Context, rotated client.Object, secretKey, replaced string, wentWrong bool) {
	s.t.Helper()
	current := rotated.DeepCopyObject().(v1alpha1.Token)
	var secret corev1.Secret
	for _, o := range []client.Object{current, &secret} {
		if err := s.k8s.Get(ctx, client.ObjectKeyFromObject(rotated), o); err != nil {
			s.t.Fatal(err)
		}
	}
	name, status, value := rotated.GetName(), current.SharedStatus(), secret.Data[secretKey]
	switch {
	case replaced == "" || len(value) == 0:
		s.t.Errorf("%s: no value was seen, so nothing is checked", name)
	case string(value) == replaced:
		s.t.Errorf("%s: the Secret still holds the token that was to be replaced", name)
	}
	if status.LastRotateRequest != rotateRequest {
		s.t.Errorf("%s: the request that was complied with is %q, want %q", name, status.LastRotateRequest, rotateRequest)
	}
	if status.Token == nil {
		s.t.Fatalf("%s: the status has no token", name)
	}
	revision := status.Token.Revision
	if status.Token.SHA256 != token.SHA256(value) || secret.Annotations[v1alpha1.RevisionAnnotation] != strconv.FormatInt(revision, 10) {
		s.t.Errorf("%s: the Secret does not hold the token of revision %d that the status names", name, revision)
	}
	if revision < 2 || !wentWrong && revision != 2 {
		s.t.Errorf("%s: one rotation led to revision %d", name, revision)
	}
}

func (s *scene) valueIn(ctx context.Context, token client.Object, secretKey string) string {
	s.t.Helper()
	var secret corev1.Secret
	if err := s.k8s.Get(ctx, client.ObjectKeyFromObject(token), &secret); err != nil {
		s.t.Fatal(err)
	}
	return string(secret.Data[secretKey])
}

// holds says whether a Secret holds a value still. Without a grace period a value may be refused as soon as it does not: a
// poller that was refused has found something only if it does.
func (s *scene) holds(ctx context.Context, key client.ObjectKey, secretKey, value string) bool {
	var secret corev1.Secret
	return s.k8s.Get(ctx, key, &secret) == nil && string(secret.Data[secretKey]) == value
}

// eventuallySees waits until a poller has checked what the Secret holds now.
func (s *scene) eventuallySees(p *poller) {
	s.t.Helper()
	seen := p.seen.Load()
	s.eventually("the poller saw a value, without which it checks nothing", func() bool {
		return s.t.Failed() || p.seen.Load() > seen+1 // The first of them may have been read before.
	})
}
