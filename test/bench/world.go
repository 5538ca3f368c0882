package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

// world is a real kube-apiserver and etcd, and what is measured on them.
type world struct {
	controlPlane *testenv.ControlPlane
	k8s          client.WithWatch
	// raw reads the API server's own metrics.
	raw     *rest.RESTClient
	results *results
}

func newWorld(ctx context.Context, r *results) (*world, error) {
	controlPlane, err := testenv.Start(ctx)
	if err != nil {
		return nil, err
	}
	config := rest.CopyConfig(controlPlane.Admin)
	config.QPS = -1
	k8s, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	config.GroupVersion, config.NegotiatedSerializer = &corev1.SchemeGroupVersion, codecs.WithoutConversion()
	raw, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	return &world{controlPlane: controlPlane, k8s: k8s, raw: raw, results: r}, nil
}

// counts are requests that the API server answered, by verb and resource: "PATCH accounttokens/status".
type counts map[string]float64

// requests reads them from the API server's metrics. Leases, health checks and watches are left out.
func (w *world) requests(ctx context.Context) (counts, error) {
	stream, err := w.raw.Get().AbsPath("/metrics").Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bufio.NewReader(stream))
	if err != nil {
		return nil, err
	}
	family := families["apiserver_request_total"]
	if family == nil {
		return nil, errors.New("the API server does not count its requests")
	}
	found := counts{}
	for _, metric := range family.GetMetric() {
		label := map[string]string{}
		for _, pair := range metric.GetLabel() {
			label[pair.GetName()] = pair.GetValue()
		}
		resource := label["resource"]
		if label["subresource"] != "" {
			resource += "/" + label["subresource"]
		}
		if resource != "" && resource != "leases" && label["verb"] != "WATCH" {
			found[label["verb"]+" "+resource] += metric.GetCounter().GetValue()
		}
	}
	return found, nil
}

// since are the requests that came after others.
func (c counts) since(before counts) counts {
	later := counts{}
	for what, count := range c {
		if more := count - before[what]; more > 0 {
			later[what] = more
		}
	}
	return later
}

// without leaves out what the benchmark itself did.
func (c counts) without(what string, count int) counts {
	rest := maps.Clone(c)
	if rest[what] -= float64(count); rest[what] <= 0 {
		delete(rest, what)
	}
	return rest
}

// writes are all that change something.
func (c counts) writes() (total float64) {
	for what, count := range c {
		switch verb, _, _ := strings.Cut(what, " "); verb {
		case "POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION":
			total += count
		}
	}
	return total
}

func (c counts) reads() (total float64) {
	for _, count := range c {
		total += count
	}
	return total - c.writes()
}

// startOperator starts bin/manager.
func (w *world) startOperator(ctx context.Context, flags ...string) (*testenv.Operator, error) {
	return testenv.StartOperator(ctx, filepath.Join(testenv.Root(), "bin", "manager"), w.controlPlane.OperatorKubeconfig,
		append([]string{"--leader-elect=false"}, flags...)...)
}

// account is the one that tokens speak for.
const account = "bench"

// prepare makes a built-in issuer.
func (w *world) prepare(ctx context.Context) error {
	return w.k8s.Create(ctx, &v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec: v1alpha1.ClusterTokenIssuerSpec{
			BuiltIn: &v1alpha1.BuiltInIssuer{Accounts: []v1alpha1.Account{{Name: account, Access: []v1alpha1.AccessPath{"gh/acme"}}}},
			Grants:  []v1alpha1.Grant{{NamespaceSelector: &v1alpha1.NamespaceSelector{}, Accounts: []v1alpha1.AccountPattern{account, "Robot"}}},
		},
	})
}

// withOperator prepares, and runs the operator for a while.
func (w *world) withOperator(ctx context.Context, do func(*testenv.Operator) error) error {
	if err := w.prepare(ctx); err != nil {
		return err
	}
	operator, err := w.startOperator(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(operator), end(operator))
}

func end(operator *testenv.Operator) error {
	operator.Stop()
	return operator.Remove()
}

// awaitIssuer waits until an issuer is ready, so that what it takes is not counted for its tokens.
func (w *world) awaitIssuer(ctx context.Context, name string) error {
	var issuer v1alpha1.ClusterTokenIssuer
	for started := time.Now(); time.Since(started) < time.Minute; {
		if err := w.k8s.Get(ctx, client.ObjectKey{Name: name}, &issuer); err != nil {
			return err
		}
		if meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionReady) {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("the issuer %s does not get ready", name)
}

func (w *world) namespace(ctx context.Context, name string) error {
	return w.k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

func newToken(namespace, issuer string, i int) *v1alpha1.AccountToken {
	token := &v1alpha1.AccountToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("token-%d", i)},
		Spec: v1alpha1.AccountTokenSpec{TokenSpec: v1alpha1.TokenSpec{
			IssuerRef: v1alpha1.IssuerReference{Name: issuer}, Rotation: &v1alpha1.Rotation{GracePeriod: &metav1.Duration{}},
		}},
	}
	if issuer == "default" {
		token.Spec.Account = account
	}
	return token
}

// workers has so many goroutines do something for each number below n.
func workers(count, n int, do func(i int) error) error {
	var all sync.WaitGroup
	problems := make([]error, count)
	for worker := range count {
		all.Go(func() {
			for i := worker; i < n && problems[worker] == nil; i += count {
				problems[worker] = do(i)
			}
		})
	}
	all.Wait()
	return errors.Join(problems...)
}
