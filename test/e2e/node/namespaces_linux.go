package node

import "syscall"

// inOwnNamespaces starts a process as the first one of new namespaces. It dies with the thread that started it.
func inOwnNamespaces() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL, Setpgid: true,
	}
}
