// Package node brings up a Kubernetes cluster of one node, in which pods really run, for the end-to-end tests. It needs
// Linux and root, containerd and runc, and neither a container registry nor Docker: images are loaded from archives.
//
// The node is a handful of processes in Linux namespaces of their own, so that nothing of it is on the machine but these
// processes and its directory. Pods reach each other, Services and the API server. They reach neither the machine nor the
// internet, there is no DNS, and the machine reaches the API server alone: through it, kubectl has exec, logs and
// port-forward, and Command runs a program on the node.
package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	nodeName          = "node"
	nodeAddress       = "10.1.0.1"
	podSubnet         = "10.244.0.0/24"
	serviceSubnet     = "10.0.0.0/24"
	apiServiceAddress = "10.0.0.1"

	// lockFile is in each directory of a node, and locked as long as the node runs. Start empties no other directory.
	lockFile = "node.lock"

	startTimeout = 5 * time.Minute
	stopTimeout  = 10 * time.Second
)

// Node is a running cluster.
type Node struct {
	// Kubeconfig is a file with which the cluster's admin reaches the API server, through loopback.
	Kubeconfig string

	directory string
	assets    string
	progress  func(format string, a ...any)

	lock    *os.File
	first   *os.Process
	running sync.WaitGroup
	fail    context.CancelCauseFunc
}

// Start brings a node up in a directory, which holds nothing else; leftovers of a node there are removed. It takes the
// binaries of Kubernetes from KUBEBUILDER_ASSETS. Stop must be called in the end.
func Start(ctx context.Context, directory string, progress func(format string, a ...any)) (*Node, error) {
	directory, err := filepath.Abs(directory)
	if err != nil {
		return nil, err
	}
	assets, err := filepath.Abs(os.Getenv("KUBEBUILDER_ASSETS"))
	if err != nil {
		return nil, err
	}
	n := &Node{
		Kubeconfig: filepath.Join(directory, "kubeconfig"), directory: directory, assets: assets, progress: progress,
	}
	if err := n.check(); err != nil {
		return nil, err
	}
	if err := InstallPackages(ctx, progress); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	limited, n.fail = context.WithCancelCause(limited)
	if err := n.up(limited); err != nil {
		if n.lock != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w; the ends of the logs:\n%s", err, n.Logs())
		}
		return nil, errors.Join(err, n.Stop())
	}
	return n, nil
}

func (n *Node) check() error {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return errors.New("a node needs Linux and root: run this in a virtual machine or with sudo")
	}
	var missing []string
	for _, binary := range []string{"etcd", "kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler",
		"kubelet", "kube-proxy"} {
		if _, err := os.Stat(n.binary(binary)); err != nil {
			missing = append(missing, binary)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("KUBEBUILDER_ASSETS is %q, without %s; export KUBEBUILDER_ASSETS="+
			"$(hack/controlplane/assets.sh kube-controller-manager kube-scheduler kubelet kube-proxy)",
			os.Getenv("KUBEBUILDER_ASSETS"), strings.Join(missing, ", "))
	}
	for _, path := range []string{n.directory, n.assets} {
		for _, folder := range hidden {
			if strings.HasPrefix(path+"/", folder+"/") {
				return fmt.Errorf("a node can't use %s: it does not see the machine's %s; choose a directory elsewhere", path, folder)
			}
		}
	}
	return nil
}

func (n *Node) up(ctx context.Context) error {
	for _, phase := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"directory and certificates", n.prepare},
		{"namespaces", n.enter},
		{"containerd", n.startRuntime},
		{"API server", n.startControlPlane},
		{"kubelet and controllers", n.startNode},
	} {
		began := time.Now()
		if err := phase.run(ctx); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = fmt.Errorf("%w (%w)", cause, err)
			}
			return fmt.Errorf("bringing up the %s: %w", phase.name, err)
		}
		n.progress("%s: ready after %.1f s", phase.name, time.Since(began).Seconds())
	}
	return nil
}

// prepare makes the directory, after it removed what a node that was killed left there.
func (n *Node) prepare(ctx context.Context) error {
	entries, err := os.ReadDir(n.directory)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		if _, err := os.Stat(n.path(lockFile)); err != nil {
			return fmt.Errorf("%s holds something else than a node; choose an empty directory", n.directory)
		}
		if err := n.takeLock(); err != nil {
			return err
		}
		if err := n.remove(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(n.directory, 0o755); err != nil {
		return err
	}
	if err := n.takeLock(); err != nil {
		return err
	}
	for _, folder := range []string{"run", "lib", "log", "logs", "sysctl", "cni"} {
		if err := os.Mkdir(n.path(folder), 0o755); err != nil {
			return err
		}
	}
	if err := n.certificates(); err != nil {
		return err
	}
	return n.buildPause(ctx)
}

// takeLock locks the directory. The node's first process inherits the lock, and has it until it ends.
func (n *Node) takeLock() error {
	lock, err := os.OpenFile(n.path(lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := until(ctx, func() error { return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }); err != nil {
		_ = lock.Close()
		return fmt.Errorf("locking %s: %w; stop the node that runs there, or choose another directory", lock.Name(), err)
	}
	n.lock = lock
	return nil
}

func (n *Node) startControlPlane(ctx context.Context) error {
	if err := n.run(n.binary("etcd"), "--data-dir="+n.path("etcd"), "--unsafe-no-fsync"); err != nil {
		return err
	}
	if err := n.run(n.binary("kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379",
		"--bind-address="+nodeAddress, "--advertise-address="+nodeAddress, "--secure-port=6443",
		"--service-cluster-ip-range="+serviceSubnet, "--authorization-mode=RBAC",
		"--client-ca-file="+n.path("ca.crt"),
		"--tls-cert-file="+n.path("apiserver.crt"), "--tls-private-key-file="+n.path("apiserver.key"),
		"--kubelet-client-certificate="+n.path("admin.crt"), "--kubelet-client-key="+n.path("admin.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+n.path("serviceaccounts.crt"),
		"--service-account-signing-key-file="+n.path("serviceaccounts.key")); err != nil {
		return err
	}
	return until(ctx, func() error { return n.kubectl(ctx, "get", "--raw=/readyz") })
}

func (n *Node) startNode(ctx context.Context) error {
	kubeconfig := "--kubeconfig=" + n.path("node.kubeconfig")
	for _, component := range [][]string{
		{"kubelet", kubeconfig, "--config=" + n.path("kubelet.yaml"), "--hostname-override=" + nodeName, "--node-ip=" + nodeAddress},
		{"kube-controller-manager", kubeconfig, "--leader-elect=false", "--secure-port=0", "--use-service-account-credentials",
			"--service-account-private-key-file=" + n.path("serviceaccounts.key"), "--root-ca-file=" + n.path("ca.crt"),
			"--flex-volume-plugin-dir=" + volumePlugins},
		{"kube-scheduler", kubeconfig, "--leader-elect=false", "--secure-port=0"},
		{"kube-proxy", kubeconfig, "--proxy-mode=nftables", "--hostname-override=" + nodeName, "--cluster-cidr=" + podSubnet,
			"--conntrack-max-per-core=0"}, // 0: the limit is the machine's, leave it.
	} {
		if err := n.run(n.binary(component[0]), component[1:]...); err != nil {
			return err
		}
	}
	for _, wanted := range [][]string{
		{"--for=create", "node/" + nodeName},
		{"--for=condition=Ready", "node/" + nodeName},
		{"--for=create", "serviceaccount/default", "--namespace=default"},
		{"--for=create", "configmap/kube-root-ca.crt", "--namespace=default"},
	} {
		if err := n.kubectl(ctx, append([]string{"wait", "--timeout=" + startTimeout.String()}, wanted...)...); err != nil {
			return err
		}
	}
	return nil
}

// until waits until a function has no error any more, and returns its last one.
func until(ctx context.Context, ok func() error) error {
	for {
		err := ok()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (n *Node) kubectl(ctx context.Context, arguments ...string) error {
	if output, err := n.Kubectl(ctx, arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", strings.Join(arguments, " "), err, output)
	}
	return nil
}

func (n *Node) binary(name string) string { return filepath.Join(n.assets, name) }

// Stop ends all that runs on the node, and removes its directory.
func (n *Node) Stop() error {
	if n.first != nil {
		_ = n.first.Kill() // It may have ended by itself.
	}
	n.running.Wait()
	return n.remove()
}

// remove removes the node's directory and cgroups, if they are ours. Of a node that was killed, some processes may still
// be about to die.
func (n *Node) remove() error {
	if n.lock == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := until(ctx, func() error {
		if err := n.removeCgroups(); err != nil {
			return err
		}
		return os.RemoveAll(n.directory)
	})
	_ = n.lock.Close() // Nothing was written to it.
	n.lock = nil
	return err
}
