// Package bench measures the operator, as a process of its own, on a real kube-apiserver and etcd. It reports and
// asserts nothing but that the work was done.
package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// deletions in one run of BenchmarkDeleteToRefusal.
const deletions = 200

// BenchmarkDeleteToRefusal measures, for 200 resources one after the other, the time from the API server's answer to
// the delete to the authority's first refusal of the token.
func BenchmarkDeleteToRefusal(b *testing.B) {
	ctrl.SetLogger(logr.Discard())
	ctx, cancel := context.WithCancel(b.Context())
	controlPlane, err := testenv.Start(ctx)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cancel()
		if err := controlPlane.Stop(); err != nil {
			b.Error(err)
		}
	})
	operator := startOperator(ctx, b, controlPlane)
	caller, err := operator.Client()
	if err != nil {
		b.Fatal(err)
	}
	k8s := controlPlane.Client
	must(b, k8s.Create(ctx, &v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec: v1alpha1.ClusterTokenIssuerSpec{
			BuiltIn: &v1alpha1.BuiltInIssuer{},
			Grants:  []v1alpha1.Grant{{NamespaceSelector: &v1alpha1.NamespaceSelector{}, Projects: []v1alpha1.ProjectPattern{"*/*/*"}}},
		},
	}))

	var delays []time.Duration
	for b.Loop() {
		for i := range deletions {
			token := &v1alpha1.ProjectToken{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("token-%d", i)},
				Spec:       v1alpha1.ProjectTokenSpec{Project: v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: "api"}},
			}
			must(b, k8s.Create(ctx, token))
			value := await(ctx, b, k8s, token)
			if !accepts(ctx, b, caller, operator.AuthorityURL, value) {
				b.Fatal("a token in a Secret is refused")
			}
			must(b, k8s.Delete(ctx, token))
			deleted := time.Now()
			for accepts(ctx, b, caller, operator.AuthorityURL, value) {
			}
			delays = append(delays, time.Since(deleted))
			must(b, wait.PollUntilContextTimeout(ctx, 5*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
				err := k8s.Get(ctx, client.ObjectKeyFromObject(token), token)
				return err != nil, client.IgnoreNotFound(err)
			}))
		}
	}
	slices.Sort(delays)
	b.ReportMetric(0, "ns/op") // The whole run's time says nothing.
	b.ReportMetric(milliseconds(delays[len(delays)/2]), "ms-median")
	b.ReportMetric(milliseconds(delays[len(delays)*99/100]), "ms-p99")
	b.ReportMetric(float64(len(delays)), "deletions")
}

func startOperator(ctx context.Context, b *testing.B, controlPlane *testenv.ControlPlane) *testenv.Operator {
	b.Helper()
	operator, err := testenv.StartOperator(ctx, filepath.Join(testenv.Root(), "bin", "manager"), controlPlane.OperatorKubeconfig)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		operator.Stop()
		if err := operator.Remove(); err != nil {
			b.Error(err)
		}
	})
	return operator
}

// await returns the value of a resource's token as soon as its Secret is there.
func await(ctx context.Context, b *testing.B, k8s client.Client, token *v1alpha1.ProjectToken) (value string) {
	b.Helper()
	must(b, wait.PollUntilContextTimeout(ctx, 5*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		var secret corev1.Secret
		if err := k8s.Get(ctx, client.ObjectKeyFromObject(token), &secret); err != nil {
			return false, client.IgnoreNotFound(err)
		}
		value = string(secret.Data["PROJECT_TOKEN"])
		return true, nil
	}))
	return value
}

func accepts(ctx context.Context, b *testing.B, caller *http.Client, url, value string) bool {
	b.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/issuers/default/authorize", nil)
	must(b, err)
	request.Header.Set("project-token", value)
	response, err := caller.Do(request)
	must(b, err)
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	must(b, err)
	return response.StatusCode == http.StatusOK
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
