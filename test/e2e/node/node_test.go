//go:build e2e

package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestThePodsOfTheNodeReachEachOtherAndLeaveNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := InstallPackages(ctx, t.Logf); err != nil {
		t.Fatal(err)
	}
	before := machine()
	n, err := Start(ctx, filepath.Join(t.TempDir(), "node"), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, n, before)

	loadVisitor(ctx, t, n)
	kubectl(ctx, t, n, "apply", "--filename=testdata/pods.yaml")
	for pod, answers := range map[string][]string{
		"first":  {"GREETING is good morning", "http://10.0.0.80 answers 200 OK good morning", "https://10.0.0.1/version answers 200", "done"},
		"second": {"http://10.0.0.80 answers 200 OK good morning", "serviceaccounts answers 403 Forbidden", "done"},
	} {
		var log string
		err := until(ctx, func() error {
			output, err := n.Kubectl(ctx, "logs", "--namespace=visitors", pod).CombinedOutput()
			if log = string(output); err == nil && !strings.Contains(log, "\ndone\n") {
				err = errors.New("it is not done")
			}
			return err
		})
		if err != nil {
			t.Fatalf("the pod %s: %v: %s", pod, err, log)
		}
		for _, answer := range answers {
			if !strings.Contains(log, answer) {
				t.Errorf("the pod %s does not say %q, but %s", pod, answer, log)
			}
		}
	}
	if output := kubectl(ctx, t, n, "exec", "--namespace=visitors", "second", "--", "/visitor", "once", "http://10.0.0.80"); !strings.Contains(output, "good morning") {
		t.Errorf("exec prints %q", output)
	}
	kubectl(ctx, t, n, "delete", "pod", "second", "--namespace=visitors", "--grace-period=0", "--force")
	kubectl(ctx, t, n, "create", "namespace", "empty")
	kubectl(ctx, t, n, "delete", "namespace", "empty", "--timeout=1m")
	// The pod first is still there: to end it is for Stop to do.
}

func loadVisitor(ctx context.Context, t *testing.T, n *Node) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "visitor")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./testdata/visitor")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, output)
	}
	if err := WriteImage(binary+".tar", "tokensteward.invalid/visitor:test", binary); err != nil {
		t.Fatal(err)
	}
	if err := n.Load(ctx, binary+".tar"); err != nil {
		t.Fatal(err)
	}
}

func kubectl(ctx context.Context, t *testing.T, n *Node, arguments ...string) string {
	t.Helper()
	output, err := n.Kubectl(ctx, arguments...).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v: %s", strings.Join(arguments, " "), err, output)
	}
	return string(output)
}

func stop(t *testing.T, n *Node, before []string) {
	t.Helper()
	if t.Failed() {
		t.Log(n.Logs())
	}
	cgroups := n.cgroups()
	mounts, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", n.first.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if len(cgroups) == 0 || len(processesWith(mounts)) < 8 {
		t.Errorf("the test looks for the wrong things: cgroups %q, processes %q", cgroups, processesWith(mounts))
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
	for _, cgroup := range cgroups {
		if _, err := os.Stat(cgroup); err == nil {
			t.Errorf("%s is left", cgroup)
		}
	}
	if left := processesWith(mounts); len(left) > 0 {
		t.Errorf("these processes are left: %q", left)
	}
	if _, err := os.Stat(n.directory); err == nil {
		t.Errorf("%s is left", n.directory)
	}
	if after := machine(); !slices.Equal(before, after) {
		t.Errorf("before the node the machine had %q, and after it %q", before, after)
	}
}

// machine is what else a node might change of the machine.
func machine() []string {
	var all []string
	for _, command := range []string{
		"ip -brief address", "ip route", "nft list tables", "sort /proc/self/mountinfo",
		"cd /proc/sys; cat vm/overcommit_memory kernel/panic kernel/panic_on_oops kernel/keys/root_max* net/ipv4/ip_forward",
		"ls -d /run/* /var/lib/* /var/log/* /opt/* /usr/libexec/* /etc/*",
	} {
		output, err := exec.Command("sh", "-c", command).CombinedOutput()
		all = append(all, fmt.Sprintln(command, string(output), err))
	}
	return all
}

// processesWith are the processes that see certain mounts.
func processesWith(mounts string) []string {
	var all []string
	for _, link := range matches("/proc/[0-9]*/ns/mnt") {
		if is, err := os.Readlink(link); err == nil && is == mounts {
			all = append(all, link)
		}
	}
	return all
}
