//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/internal/manager"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

const kindCluster = "tokensteward-e2e"

// cluster is where the tests run: the one of KUBECONFIG, or one of kind, or a node of our own.
type cluster struct {
	kubeconfig string
	// load makes the image in an archive known to the nodes.
	load func(ctx context.Context, archive string) error
	stop func() error
	// kill ends the container of a pod in the operator's namespace with SIGKILL, or with what comes nearest to it.
	kill func(ctx context.Context, pod, containerID string) error
	// logs tells, after a failure, what the cluster itself has to say.
	logs func() string
}

func findCluster(ctx context.Context, progress func(format string, a ...any)) (*cluster, error) {
	if kubeconfig := os.Getenv("KUBECONFIG"); kubeconfig != "" {
		return givenCluster(ctx, kubeconfig, progress)
	}
	if usable(ctx, "kind", "version") && usable(ctx, "docker", "info") {
		return startKind(ctx, progress)
	}
	progress("no KUBECONFIG, and no kind with Docker: bringing up a node on this machine")
	return startNode(ctx, progress)
}

func usable(ctx context.Context, name string, arguments ...string) bool {
	return exec.CommandContext(ctx, name, arguments...).Run() == nil
}

// givenCluster is one that the tests leave as it was, but for what they loaded. E2E_LOAD is a command that gets an archive as its last
// argument and makes the image in it known to the nodes, for example "kind load image-archive --name my-cluster".
func givenCluster(ctx context.Context, kubeconfig string, progress func(format string, a ...any)) (*cluster, error) {
	load := strings.Fields(os.Getenv("E2E_LOAD"))
	if len(load) == 0 {
		return nil, fmt.Errorf("KUBECONFIG is set: say in E2E_LOAD how images get into that cluster, as a command that is given an archive, such as `kind load image-archive --name my-cluster`")
	}
	for _, name := range namespaces {
		found, err := exec.CommandContext(ctx, kubectlBinary(), "get", "namespace", name, "--ignore-not-found", "-o", "name").CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("the cluster of KUBECONFIG does not answer: %w: %s", err, found)
		}
		if len(found) > 0 {
			return nil, fmt.Errorf("the cluster of KUBECONFIG has the namespace %s, which the tests would remove in the end: use a cluster without it", name)
		}
	}
	progress("using the cluster of KUBECONFIG=%s", kubeconfig)
	return &cluster{
		kubeconfig: kubeconfig,
		load: func(ctx context.Context, archive string) error {
			command := exec.CommandContext(ctx, load[0], append(load[1:], archive)...)
			command.Dir = testenv.Root()
			return run(command)
		},
		stop: func() error {
			return run(exec.CommandContext(context.WithoutCancel(ctx), kubectlBinary(), append([]string{"delete", "namespace", "--ignore-not-found"}, namespaces...)...))
		},
		kill: func(ctx context.Context, pod, _ string) error {
			return run(exec.CommandContext(ctx, kubectlBinary(), "-n", namespace, "delete", "pod", pod, "--grace-period=0", "--force"))
		},
		logs: func() string { return "" },
	}, nil
}

func startKind(ctx context.Context, progress func(format string, a ...any)) (*cluster, error) {
	progress("creating the kind cluster %s", kindCluster)
	kubeconfig := filepath.Join(testenv.Root(), "bin", "e2e.kubeconfig")
	if err := run(exec.CommandContext(ctx, "kind", "create", "cluster", "--name", kindCluster, "--kubeconfig", kubeconfig, "--wait", "3m")); err != nil {
		return nil, err
	}
	return &cluster{
		kubeconfig: kubeconfig,
		load: func(ctx context.Context, archive string) error {
			return run(exec.CommandContext(ctx, "kind", "load", "image-archive", "--name", kindCluster, archive))
		},
		stop: func() error {
			return run(exec.CommandContext(context.WithoutCancel(ctx), "kind", "delete", "cluster", "--name", kindCluster))
		},
		kill: func(ctx context.Context, _, containerID string) error {
			return run(exec.CommandContext(ctx, "docker", "exec", kindCluster+"-control-plane", "ctr", "--namespace", "k8s.io", "task", "kill", "--signal", "SIGKILL", containerID))
		},
		logs: func() string { return "" },
	}, nil
}

// The programs that a user would type.
func helmBinary() string    { return filepath.Join(testenv.Root(), "bin", "helm") }
func kubectlBinary() string { return filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl") }

// run tells what a failed command said.
func run(command *exec.Cmd) error {
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(command.Args, " "), err, output)
	}
	return nil
}

// world is a cluster with what the stories need to look at it.
type world struct {
	*testing.T
	*cluster

	ctx    context.Context
	client client.Client
	typed  kubernetes.Interface
	// cache is kubectl's of what kinds there are: it goes by the API server's address, which another one had before.
	cache string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx := t.Context()
	ctrl.SetLogger(logr.Discard())
	progress := func(format string, a ...any) { t.Logf(format, a...) }
	c, err := findCluster(ctx, progress)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, cluster: c, ctx: ctx, cache: t.TempDir()}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(w.everything())
		}
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	})
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	if w.client, err = client.New(config, client.Options{Scheme: manager.Scheme()}); err != nil {
		t.Fatal(err)
	}
	if w.typed, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) environ() []string {
	return append(os.Environ(), "KUBECONFIG="+w.kubeconfig, "KUBECACHEDIR="+w.cache)
}

func (w *world) command(name string, arguments ...string) *exec.Cmd {
	command := exec.CommandContext(w.ctx, name, arguments...)
	command.Dir = testenv.Root()
	command.Env = append(w.environ(), "HELM="+helmBinary(), "KUBECTL="+kubectlBinary(),
		"PATH="+filepath.Join(testenv.Root(), "bin")+string(os.PathListSeparator)+os.Getenv("PATH")) // Where the plugin is.
	return command
}

// kubectl gives what kubectl prints.
func (w *world) kubectl(arguments ...string) string {
	w.Helper()
	output, err := w.command(kubectlBinary(), arguments...).CombinedOutput()
	if err != nil {
		w.Fatalf("kubectl %s: %v: %s", strings.Join(arguments, " "), err, output)
	}
	return string(output)
}

// apply applies YAML, as a user does.
func (w *world) apply(text string) {
	w.Helper()
	command := w.command(kubectlBinary(), "apply", "-f", "-")
	command.Stdin = strings.NewReader(text)
	if output, err := command.CombinedOutput(); err != nil {
		w.Fatalf("kubectl apply: %v: %s\n%s", err, output, text)
	}
}

func (w *world) helm(arguments ...string) {
	w.Helper()
	if output, err := w.command(helmBinary(), arguments...).CombinedOutput(); err != nil {
		w.Fatalf("helm %s: %v: %s", strings.Join(arguments, " "), err, output)
	}
}

// everything is what one wants to see after a failure. No Secret is among it.
func (w *world) everything() string {
	var text strings.Builder
	for _, arguments := range [][]string{
		{"get", "pods", "--all-namespaces", "-o", "wide"},
		{"get", "tokensteward,clustertokenissuers", "--all-namespaces", "-o", "yaml"},
		{"get", "events", "--all-namespaces"},
		{"-n", namespace, "logs", "--selector", "app.kubernetes.io/name=tokensteward", "--tail", "80", "--prefix"},
	} {
		command := exec.CommandContext(context.WithoutCancel(w.ctx), kubectlBinary(), arguments...)
		command.Env = w.environ()
		output, err := command.CombinedOutput()
		fmt.Fprintf(&text, "\n$ kubectl %s (%v)\n%s", strings.Join(arguments, " "), err, output)
	}
	return text.String() + w.logs()
}
