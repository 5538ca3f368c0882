//go:build e2e

package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/tokensteward/tokensteward/internal/testenv"
	"github.com/tokensteward/tokensteward/test/e2e/node"
)

func startNode(ctx context.Context, progress func(format string, a ...any)) (*cluster, error) {
	progress("building what a node needs; the first time takes minutes")
	build := exec.CommandContext(ctx, filepath.Join(testenv.Root(), "hack", "controlplane", "assets.sh"),
		"kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
	build.Stderr = os.Stderr
	assets, err := build.Output()
	if err != nil {
		return nil, err
	}
	if err := os.Setenv("KUBEBUILDER_ASSETS", strings.TrimSpace(string(assets))); err != nil {
		return nil, err
	}
	n, err := node.Start(ctx, filepath.Join(testenv.Root(), "bin", "e2e", "node"), progress)
	if err != nil {
		return nil, err
	}
	return &cluster{
		kubeconfig: n.Kubeconfig, load: n.Load, stop: n.Stop, logs: n.Logs,
		kill: func(ctx context.Context, _, containerID string) error {
			return run(n.Command(ctx, "ctr", "--namespace", "k8s.io", "task", "kill", "--signal", "SIGKILL", containerID))
		},
	}, nil
}
