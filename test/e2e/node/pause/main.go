// Pause is the first process of each pod and of the node itself: it holds their namespaces, and buries orphans.
// Given an address, it forwards to it what connects to the listener in file descriptor 3.
package main

import (
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	if len(os.Args) > 1 {
		listener, err := net.FileListener(os.NewFile(3, "listener"))
		if err != nil {
			panic(err)
		}
		go forward(listener, os.Args[1])
	}
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		for pid := 1; pid > 0; {
			pid, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil) // An error says that there is no child left.
		}
	}
}

func forward(listener net.Listener, address string) {
	for {
		from, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go func() {
			defer from.Close()
			to, err := net.Dial("tcp", address)
			if err != nil {
				return // Nobody listens there yet: the client will try again.
			}
			defer to.Close()
			go pipe(to, from)
			pipe(from, to)
		}()
	}
}

// pipe ends both connections as soon as one of them has ended.
func pipe(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
}
