// Record writes down, as YAML, what the operator of this tree leaves in a cluster: the files that test/versions keeps of
// each release, and begins with. It ran in the tree of the tag.
//
//	KUBEBUILDER_ASSETS=$(hack/controlplane/assets.sh) go run ./hack/record test/versions/testdata/v0.1.0
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/manager"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

const (
	namespace = "team-a"
	patience  = time.Minute
	// untilRenewal is past the time when a token of 30 days is due, and before one of 90 days is.
	untilRenewal = 490 * time.Hour
)

// shiftedClock goes as the real one does, and can be moved ahead.
type shiftedClock struct{ shift atomic.Int64 }

func (c *shiftedClock) Now() time.Time                  { return time.Now().Add(time.Duration(c.shift.Load())) }
func (c *shiftedClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: record DIRECTORY")
		os.Exit(1)
	}
	if err := record(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func record(directory string) (err error) {
	ctrl.SetLogger(logr.Discard())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cp, err := testenv.Start(ctx)
	if err != nil {
		return err
	}
	defer func() {
		cancel() // Open watches hold up the API server's end.
		err = errors.Join(err, cp.Stop())
	}()
	clk := &shiftedClock{}
	behaviour, err := codacytest.Edition("cloud-2026-08")
	if err != nil {
		return err
	}
	server := codacytest.New(clk, behaviour)
	running, err := codacytest.StartTLS(server, "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer running.Close()
	credential := server.CreateAccountToken(server.AddAccount("robot", "robot@acme.example"), nil)
	server.AddRepository("gh", "acme", "api")
	tokens := tokens()
	for _, o := range append(surroundings(running, credential), tokens[0], tokens[1], tokens[2]) {
		if err := cp.Client.Create(ctx, o); err != nil {
			return err
		}
	}
	stop, err := start(ctx, cp, clk)
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if err := await(ctx, cp.Client, t, 1); err != nil {
			return err
		}
	}
	if err := write(ctx, cp, directory, "accounttoken-secret-before", "-n", namespace, "secret/alice-api"); err != nil {
		return err
	}
	clk.shift.Store(int64(untilRenewal))
	for _, t := range tokens { // So that it is looked at.
		patch := []byte(`{"metadata":{"annotations":{"` + v1alpha1.ReconcileRequestAnnotation + `":"now"}}}`)
		if err := cp.Client.Patch(ctx, t, client.RawPatch("application/merge-patch+json", patch)); err != nil {
			return err
		}
	}
	if err := await(ctx, cp.Client, tokens[0], 2); err != nil {
		return err
	}
	if err := stop(); err != nil {
		return err
	}
	return writeAll(ctx, cp, directory)
}

func surroundings(running *codacytest.Running, credential codacytest.Token) []client.Object {
	grants := []v1alpha1.Grant{{
		Namespaces: []v1alpha1.NamespaceName{namespace}, Accounts: []v1alpha1.AccountPattern{"alice", "robot"}, Projects: []v1alpha1.ProjectPattern{"gh/acme/*"},
	}}
	return []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: testenv.Namespace, Name: "codacy"},
			Data:       map[string][]byte{v1alpha1.DefaultCredentialsKey: []byte(credential.Value.Reveal())},
		},
		&v1alpha1.ClusterTokenIssuer{
			ObjectMeta: metav1.ObjectMeta{Name: "default"},
			Spec: v1alpha1.ClusterTokenIssuerSpec{
				BuiltIn: &v1alpha1.BuiltInIssuer{Accounts: []v1alpha1.Account{{Name: "alice", Access: []v1alpha1.AccessPath{"gh/acme"}}}},
				Grants:  grants,
			},
		},
		&v1alpha1.ClusterTokenIssuer{
			ObjectMeta: metav1.ObjectMeta{Name: "codacy"},
			Spec: v1alpha1.ClusterTokenIssuerSpec{
				IssuerSpec: v1alpha1.IssuerSpec{
					Codacy: &v1alpha1.CodacyIssuer{
						URL: running.URL, CABundle: running.CAPEM, CredentialsSecretRef: v1alpha1.SecretKeyReference{Name: "codacy"},
					},
					CheckInterval: &metav1.Duration{Duration: time.Hour},
				},
				Grants: grants,
			},
		},
	}
}

// tokens are one of each kind of the built-in issuer, the first with much in its spec, and one of Codacy.
func tokens() []v1alpha1.Token {
	return []v1alpha1.Token{
		&v1alpha1.AccountToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "alice"},
			Spec: v1alpha1.AccountTokenSpec{
				Account: "alice",
				TokenSpec: v1alpha1.TokenSpec{
					Duration: &metav1.Duration{Duration: 30 * 24 * time.Hour}, DeletionPolicy: v1alpha1.DeletionPolicyRevoke,
					Secret: &v1alpha1.SecretTarget{
						Name: "alice-api", TokenKey: "TOKEN",
						Template: &v1alpha1.SecretTemplate{
							Metadata: &v1alpha1.SecretMetadata{
								Labels:      map[string]v1alpha1.LabelValue{"team": "a"},
								Annotations: map[string]v1alpha1.AnnotationValue{"acme.example/owner": "team-a@acme.example"},
							},
							Data: map[string]v1alpha1.TemplateText{"header": "api-token: {{ .Token }}", "revision": "{{ .Revision }}"},
						},
					},
				},
			},
		},
		&v1alpha1.ProjectToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "website"},
			Spec:       v1alpha1.ProjectTokenSpec{Project: v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: "website"}},
		},
		&v1alpha1.ProjectToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "api"},
			Spec: v1alpha1.ProjectTokenSpec{
				TokenSpec: v1alpha1.TokenSpec{IssuerRef: v1alpha1.IssuerReference{Name: "codacy"}},
				Project:   v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: "api"},
			},
		},
	}
}

func start(ctx context.Context, cp *testenv.ControlPlane, clk *shiftedClock) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	mgr, err := manager.New(ctx, cp.Operator, &manager.Options{
		Namespace: testenv.Namespace, LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		ServiceTimeout: 5 * time.Second, ServicePause: time.Second,
		AuthorityAddress: testenv.FreeAddress(), AuthorityMaxStaleness: 30 * time.Second, MetricsAddress: "0", ProbeAddress: "0",
	}, clk)
	if err != nil {
		cancel()
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	return func() error { cancel(); return <-ended }, nil
}

// await waits until a resource is ready with a revision.
func await(ctx context.Context, k8s client.Client, t v1alpha1.Token, revision int64) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err := k8s.Get(ctx, client.ObjectKeyFromObject(t), t); err != nil {
			return err
		}
		status := t.SharedStatus()
		if meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady) && status.Token != nil && status.Token.Revision == revision {
			return nil
		}
	}
	return fmt.Errorf("%s %s has no revision %d", t.Kind(), t.GetName(), revision)
}

func writeAll(ctx context.Context, cp *testenv.ControlPlane, directory string) error {
	for name, arguments := range map[string][]string{
		"accounttoken":               {"-n", namespace, "accounttoken/alice"},
		"accounttoken-secret":        {"-n", namespace, "secret/alice-api"},
		"projecttoken":               {"-n", namespace, "projecttoken/website"},
		"projecttoken-secret":        {"-n", namespace, "secret/website"},
		"codacy-projecttoken":        {"-n", namespace, "projecttoken/api"},
		"codacy-projecttoken-secret": {"-n", namespace, "secret/api"},
		"issuer":                     {"clustertokenissuer/default"},
		"codacy-issuer":              {"clustertokenissuer/codacy"},
		"codacy-issuer-secret":       {"-n", testenv.Namespace, "secret/codacy"},
		"installation":               {"-n", testenv.Namespace, "configmap/tokensteward-installation"},
	} {
		if err := write(ctx, cp, directory, name, arguments...); err != nil {
			return err
		}
	}
	return os.CopyFS(filepath.Join(directory, "crds"), os.DirFS(filepath.Join(testenv.Root(), "config", "crd", "bases")))
}

func write(ctx context.Context, cp *testenv.ControlPlane, directory, name string, arguments ...string) error {
	text, err := cp.Kubectl(ctx, append([]string{"get", "-o", "yaml"}, arguments...)...).Output()
	if err != nil {
		return fmt.Errorf("kubectl get %v: %w", arguments, err)
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, name+".yaml"), text, 0o644)
}
