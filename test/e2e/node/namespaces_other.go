//go:build !linux

package node

import "syscall"

func inOwnNamespaces() *syscall.SysProcAttr { return nil } // Start refuses before.
