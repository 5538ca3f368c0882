//go:build e2e && !linux

package e2e_test

import (
	"context"
	"errors"
)

func startNode(context.Context, func(format string, a ...any)) (*cluster, error) {
	return nil, errors.New("there is no cluster: set KUBECONFIG and E2E_LOAD, or install kind and Docker, or run this as root on Linux")
}
