// Package testenv starts a real etcd and kube-apiserver with the operator's CRDs and permissions, for the tests and
// the demo. KUBEBUILDER_ASSETS names the directory of their binaries; hack/controlplane/assets.sh provides one.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/manager"
)

// Namespace is where the operator runs.
const Namespace = "tokensteward-system"

// ControlPlane is a running etcd and kube-apiserver.
type ControlPlane struct {
	// Admin may do everything.
	Admin *rest.Config
	// Client acts as Admin, and reads live.
	Client client.Client
	// Kubeconfig is a file with Admin in it.
	Kubeconfig string
	// OperatorKubeconfig is a file with the operator's service account in it: it may do what config/default lets it.
	OperatorKubeconfig string
	// Operator is that service account.
	Operator *rest.Config

	environment *envtest.Environment
	directory   string
}

// Start starts a control plane and installs config/default; no pods run, so the operator does not. Stop must be called in
// the end, also after a crash of what was tested. The API server can be given more flags.
func Start(ctx context.Context, apiServerFlags ...string) (*ControlPlane, error) {
	return StartOn(ctx, "", apiServerFlags...)
}

// StartOn is Start with etcd's data in a directory, which Stop leaves. If there is a cluster in it already, that goes on.
func StartOn(ctx context.Context, data string, apiServerFlags ...string) (*ControlPlane, error) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return nil, errors.New("KUBEBUILDER_ASSETS is not set: run `make test`, or export KUBEBUILDER_ASSETS=$(hack/controlplane/assets.sh)")
	}
	directory, err := os.MkdirTemp("", "tokensteward-")
	if err != nil {
		return nil, err
	}
	cp := &ControlPlane{environment: &envtest.Environment{ControlPlaneStopTimeout: time.Minute}, directory: directory}
	if data != "" {
		cp.environment.ControlPlane.Etcd = &envtest.Etcd{DataDir: data}
	}
	for _, flag := range apiServerFlags {
		name, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
		cp.environment.ControlPlane.GetAPIServer().Configure().Set(name, value)
	}
	if err := cp.start(ctx); err != nil {
		return nil, errors.Join(err, cp.Stop())
	}
	return cp, nil
}

func (cp *ControlPlane) start(ctx context.Context) error {
	var err error
	if cp.Admin, err = cp.environment.Start(); err != nil {
		return fmt.Errorf("starting etcd and kube-apiserver: %w", err)
	}
	cp.Admin.QPS = -1
	if cp.Client, err = client.New(cp.Admin, client.Options{Scheme: manager.Scheme()}); err != nil {
		return err
	}
	cp.Kubeconfig = filepath.Join(cp.directory, "kubeconfig")
	if err := os.WriteFile(cp.Kubeconfig, cp.environment.KubeConfig, 0o600); err != nil {
		return err
	}
	command := cp.Kubectl(ctx, "apply", "--server-side", "-k", filepath.Join(Root(), "config", "default"))
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl apply -k config/default: %w: %s", err, output)
	}
	if err := cp.waitForCRDs(ctx); err != nil {
		return fmt.Errorf("waiting for the CRDs: %w", err)
	}
	user, err := cp.environment.AddUser(envtest.User{
		Name:   OperatorUser,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + Namespace, "system:authenticated"},
	}, nil)
	if err != nil {
		return fmt.Errorf("making the operator's credentials: %w", err)
	}
	cp.Operator = user.Config()
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return err
	}
	cp.OperatorKubeconfig = filepath.Join(cp.directory, "operator.kubeconfig")
	return os.WriteFile(cp.OperatorKubeconfig, kubeconfig, 0o600)
}

// waitForCRDs waits until the API server tells of each kind, and has kubectl forget what it learnt before.
func (cp *ControlPlane) waitForCRDs(ctx context.Context) error {
	api, err := discovery.NewDiscoveryClientForConfig(cp.Admin)
	if err != nil {
		return err
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		_, lists, err := api.ServerGroupsAndResources() // What kubectl asks: not at once what a CRD's condition says.
		if err != nil {
			return false, nil //nolint:nilerr // It is asked again.
		}
		kinds := sets.New("AccountToken", "ProjectToken", "ClusterTokenIssuer", "TokenIssuer")
		for _, list := range lists {
			for _, resource := range list.APIResources {
				if list.GroupVersion == v1alpha1.GroupVersion.String() {
					kinds.Delete(resource.Kind)
				}
			}
		}
		return kinds.Len() == 0, nil
	})
	return errors.Join(err, os.RemoveAll(cp.kubectlCache()))
}

func (cp *ControlPlane) kubectlCache() string { return filepath.Join(cp.directory, "cache") }

// Environ is the environment in which kubectl, its plugins and helm talk to this control plane as the admin.
func (cp *ControlPlane) Environ() []string {
	// What kubectl knows of an API server it remembers by its address, which another one had before.
	return append(os.Environ(), "KUBECONFIG="+cp.Kubeconfig, "KUBECACHEDIR="+cp.kubectlCache())
}

// Kubectl is a kubectl command that acts as the admin.
func (cp *ControlPlane) Kubectl(ctx context.Context, arguments ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), arguments...)
	command.Env = cp.Environ()
	return command
}

// OperatorUser is the operator's service account, as it authenticates.
const OperatorUser = "system:serviceaccount:" + Namespace + ":tokensteward"

// AwaitPermission waits until the API server goes by a change of permissions: it takes a moment to see one.
func (cp *ControlPlane) AwaitPermission(ctx context.Context, user string, attributes authorizationv1.ResourceAttributes, allowed bool) error {
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &attributes}}
		err := cp.Client.Create(ctx, review)
		return review.Status.Allowed == allowed, err
	})
	if err != nil {
		return fmt.Errorf("waiting until %s may (%t) %s %s: %w", user, allowed, attributes.Verb, attributes.Resource, err)
	}
	return nil
}

// ControllerManager is a command that runs a kube-controller-manager with the controllers that delete something, which is for the
// caller to start and to end. Without one no namespace ever goes.
func (cp *ControlPlane) ControllerManager() (*exec.Cmd, error) {
	binary := filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kube-controller-manager")
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("there is no kube-controller-manager in $KUBEBUILDER_ASSETS: run `make test`, or "+
			"export KUBEBUILDER_ASSETS=$(hack/controlplane/assets.sh kube-controller-manager): %w", err)
	}
	return exec.Command(binary, "--kubeconfig="+cp.Kubeconfig, "--leader-elect=false", "--secure-port=0",
		"--controllers=namespace-controller,garbage-collector-controller"), nil
}

// Stop ends the control plane and removes its files.
func (cp *ControlPlane) Stop() error {
	return errors.Join(cp.environment.Stop(), os.RemoveAll(cp.directory))
}

// Root is the folder of the repository: the nearest one above the working directory that holds the LICENSE.
func Root() string {
	directory, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(directory, "LICENSE")); err == nil {
			return directory
		}
		if parent := filepath.Dir(directory); parent != directory {
			directory = parent
			continue
		}
		break
	}
	panic("the working directory is not within the repository")
}

// FreeAddress is an address on loopback that nobody listens on, and that stays free until it is listened on, also anew: it is
// of a range from which neither outgoing connections nor those who leave the choice to the system get a port.
func FreeAddress() string {
	for range 1000 {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(10000)))
		if err == nil {
			defer listener.Close()
			return listener.Addr().String()
		}
	}
	panic("there is no free port")
}
