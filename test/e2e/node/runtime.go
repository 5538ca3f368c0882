package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const (
	pauseImage    = "tokensteward.invalid/pause:node"
	volumePlugins = "/var/lib/kubelet/volumeplugins"
	socket        = "run/containerd/containerd.sock"

	// The keys that are not about folders: oom_score_adj can't be lowered in every virtual machine, and an AppArmor
	// profile would be loaded into the machine's kernel.
	containerdConfig = `version = 2
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + pauseImage + `"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "%s"
    conf_dir = "%s"
`
	// Each pod has a link of its own to the node, so that all it sends passes kube-proxy's rules. With a bridge, the
	// answers of a Service in the same node would take a short cut past them.
	networkConfig = `{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "ipMasq": false, "ipam": {
  "type": "host-local", "ranges": [[{"subnet": "` + podSubnet + `"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
`
	// No image is removed and no pod evicted, however full the disk is: images can't be pulled again.
	kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: ` + nodeAddress + `
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: "%s"}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix:///` + socket + `
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "0%%", nodefs.available: "0%%", nodefs.inodesFree: "0%%", imagefs.available: "0%%"}
resolvConf: "%s"
volumePluginDir: ` + volumePlugins + `
`
)

// needed are programs of the distribution, with the packages that Debian has them in. Only those of missing programs are
// installed: others may conflict with what is there from elsewhere.
var needed = []struct{ program, pack string }{
	{"containerd", "containerd"}, {"containerd-shim-runc-v2", "containerd"}, {"ctr", "containerd"}, {"runc", "runc"},
	{"ptp", "containernetworking-plugins"}, {"host-local", "containernetworking-plugins"},
	{"loopback", "containernetworking-plugins"},
	{"nft", "nftables"}, {"ip", "iproute2"}, {"nsenter", "util-linux"},
}

// InstallPackages installs, where there is apt-get, what a node needs of the distribution.
func InstallPackages(ctx context.Context, progress func(format string, a ...any)) error {
	programs, packages := missing()
	if len(programs) == 0 {
		return nil
	}
	if find("apt-get") == "" {
		return fmt.Errorf("these programs are missing: %s; install containerd, runc, the CNI plugins in /opt/cni/bin, "+
			"nftables, iproute2 and util-linux", strings.Join(programs, ", "))
	}
	progress("installing %s for %s", strings.Join(packages, ", "), strings.Join(programs, ", "))
	install := append([]string{"apt-get", "install", "-y", "--no-install-recommends"}, packages...)
	for _, arguments := range [][]string{{"apt-get", "update"}, install} {
		command := exec.CommandContext(ctx, arguments[0], arguments[1:]...)
		command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if output, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(arguments, " "), err, output)
		}
	}
	if programs, _ := missing(); len(programs) > 0 {
		return fmt.Errorf("these programs are still missing: %s; install them", strings.Join(programs, ", "))
	}
	return nil
}

func missing() (programs, packages []string) {
	for _, n := range needed {
		if find(n.program) != "" {
			continue
		}
		programs = append(programs, n.program)
		if !slices.Contains(packages, n.pack) {
			packages = append(packages, n.pack)
		}
	}
	return programs, packages
}

func (n *Node) startRuntime(ctx context.Context) error {
	for path, content := range map[string]string{
		"containerd.toml":      fmt.Sprintf(containerdConfig, filepath.Dir(find("ptp")), n.path("cni")),
		"cni/10-pods.conflist": networkConfig,
		"kubelet.yaml":         fmt.Sprintf(kubeletConfig, n.path("ca.crt"), n.path("resolv.conf")),
		"resolv.conf":          "", // Nobody answers there: a lookup fails at once.
	} {
		if err := os.WriteFile(n.path(path), []byte(content), 0o600); err != nil {
			return err
		}
	}
	if err := n.run("containerd", "--config", n.path("containerd.toml")); err != nil {
		return err
	}
	if err := WriteImage(n.path("pause.tar"), pauseImage, n.path("pause")); err != nil {
		return err
	}
	if err := until(ctx, func() error { _, err := os.Stat(n.path(socket)); return err }); err != nil {
		return err
	}
	return n.Load(ctx, n.path("pause.tar"))
}

// buildPause builds the node's first process, which is the pause image's program too.
func (n *Node) buildPause(ctx context.Context) error {
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", n.path("pause"),
		"github.com/tokensteward/tokensteward/test/e2e/node/pause")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, output)
	}
	return nil
}

// Load imports the archive of an image, as `docker save` or an OCI tool writes it. A pod must use it with
// imagePullPolicy Never.
func (n *Node) Load(ctx context.Context, archive string) error {
	return Load(ctx, n.directory, archive)
}

// Load imports the archive of an image into the node that runs in a directory.
func Load(ctx context.Context, directory, archive string) error {
	archive, err := filepath.Abs(archive)
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, find("ctr"), "--address=/proc/self/cwd/"+socket, "--namespace=k8s.io", "images", "import", archive)
	command.Dir = directory // The path of a socket must be short.
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("importing %s: %w: %s", archive, err, output)
	}
	return nil
}

// removeCgroups removes what the containers of a node that has ended leave in the kernel.
func (n *Node) removeCgroups() error {
	var all error
	for _, folder := range n.cgroups() {
		all = errors.Join(all, removeCgroup(folder))
	}
	return all
}

// cgroups are those of the node's containers: one each, or with version 1 one for each controller.
func (n *Node) cgroups() []string {
	var all []string
	for _, container := range matches(n.path("run/containerd/io.containerd.runtime.v2.task/k8s.io/*")) {
		for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
			all = append(all, matches(filepath.Join(root, "k8s.io", filepath.Base(container)))...)
		}
	}
	return all
}

func matches(pattern string) []string {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		panic(err) // The pattern is wrong.
	}
	return paths
}

// removeCgroup removes a cgroup and those in it; the folders alone count, their files can't be removed.
func removeCgroup(folder string) error {
	var folders []string
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		return err
	})
	for _, path := range slices.Backward(folders) {
		err = errors.Join(err, os.Remove(path))
	}
	_ = os.Remove(filepath.Dir(folder)) // The k8s.io above; it is not empty if another containerd uses it.
	return err
}
