package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	logTail    = 4 << 10
)

// furnish gives the node's first process the mounts and the network of a machine of its own: what Kubernetes and
// containerd write outside the node's directory goes into it too. The files over /proc/sys hold what kubelet would
// otherwise set for the whole machine. Without -n, mount would write into the machine's /run.
const furnish = `
mount -n --make-rslave /
mount -n -t proc none /proc
mount -n --bind "$1/run" /run
mount -n --bind "$1/lib" /var/lib
mount -n --bind "$1/log" /var/log
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
	kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
	file="$1/sysctl/$(basename "${setting%=*}")"
	echo "${setting#*=}" >"$file"
	mount -n --bind "$file" "/proc/sys/${setting%=*}"
done
echo 1 >/proc/sys/net/ipv4/ip_forward
ip link set lo up
ip address add "$2/32" dev lo
`

// hidden are the folders of the machine that the node sees its own ones instead of.
var hidden = []string{"/run", "/var/run", "/var/lib", "/var/log", "/proc"}

// enter starts the node's first process, in namespaces of its own. When it ends, by Stop or because this process was
// killed, the kernel ends all others on the node, and takes its mounts and its network away.
func (n *Node) enter(ctx context.Context) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	inherited, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer inherited.Close()
	for _, kubeconfig := range []struct{ path, address string }{
		{n.Kubeconfig, listener.Addr().String()}, {n.path("node.kubeconfig"), nodeAddress + ":6443"},
	} {
		if err := n.writeKubeconfig(kubeconfig.path, kubeconfig.address); err != nil {
			return err
		}
	}
	first := exec.Command(n.path("pause"), nodeAddress+":6443")
	first.ExtraFiles, first.SysProcAttr = []*os.File{inherited, n.lock}, inOwnNamespaces()
	if err := n.start(first, "pause"); err != nil {
		return err
	}
	n.first = first.Process
	if output, err := n.Command(ctx, "sh", "-euc", furnish, "sh", n.directory, nodeAddress).CombinedOutput(); err != nil {
		return fmt.Errorf("making the node's mounts and network: %w: %s", err, output)
	}
	return nil
}

// run starts one of the node's components.
func (n *Node) run(program string, arguments ...string) error {
	command := n.Command(context.Background(), program, arguments...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us to handle, in Stop.
	return n.start(command, filepath.Base(program))
}

// start starts a command that is to run until Stop; Start fails if it ends before.
func (n *Node) start(command *exec.Cmd, name string) error {
	log, err := os.Create(n.path("logs/" + name))
	if err != nil {
		return err
	}
	defer log.Close()
	command.Stdout, command.Stderr = log, log
	started := make(chan error)
	n.running.Go(func() {
		// The kernel counts the thread as the parent; a locked one lives until the goroutine ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait() // The state has all that it says.
			n.fail(fmt.Errorf("%s ended, with %s; its log says why", name, command.ProcessState))
		}
	})
	if err := <-started; err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	return nil
}

// Command is a program that runs on the node, with its mounts and its network: curl can reach a Service there.
func (n *Node) Command(ctx context.Context, program string, arguments ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(n.first.Pid), "--mount", "--net", "--pid", "--", program}
	command := exec.CommandContext(ctx, "nsenter", append(enter, arguments...)...)
	command.Env = []string{"PATH=" + searchPath} // No proxy of the machine's is for the node.
	command.WaitDelay = time.Second              // What nsenter started outlives it.
	return command
}

// Kubectl is a kubectl command that acts as the cluster's admin.
func (n *Node) Kubectl(ctx context.Context, arguments ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, filepath.Join(n.assets, "kubectl"), arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+n.Kubeconfig, "KUBECACHEDIR="+n.path("cache"))
	return command
}

// Logs are the ends of the components' logs.
func (n *Node) Logs() string {
	var all strings.Builder
	for _, file := range matches(n.path("logs/*")) {
		content, err := os.ReadFile(file)
		if err != nil {
			content = []byte(err.Error())
		}
		fmt.Fprintf(&all, "--- %s\n%s\n", filepath.Base(file), content[max(0, len(content)-logTail):])
	}
	return all.String()
}

// find returns the path of a program of the machine, or nothing. The CNI plugins are not in PATH anywhere.
func find(program string) string {
	for _, folder := range strings.Split("/opt/cni/bin:/usr/lib/cni:"+searchPath, ":") {
		path := filepath.Join(folder, program)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}
