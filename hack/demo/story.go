package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/tokensteward/tokensteward/internal/testenv"
)

// getEvents shows what was done in team-a.
const getEvents = "kubectl -n team-a get events -o custom-columns=KIND:.involvedObject.kind,NAME:.involvedObject.name,REASON:.reason,MESSAGE:.message"

// tell runs a story; the first step that does not do what it says ends it with an error.
func tell(ctx context.Context, w *world, tale func(*story)) error {
	s := &story{world: w, ctx: ctx}
	tale(s)
	s.end()
	return s.err
}

// story runs step after step; after a failure it does nothing more.
type story struct {
	*world
	ctx context.Context
	// service is where consumers use their tokens.
	service   service
	chapters  int
	consumers []*consumer
	err       error
}

func (s *story) chapter(title string) {
	if s.err == nil {
		s.chapters++
		fmt.Printf("\n== %d. %s\n", s.chapters, title)
	}
}

// say explains something.
func (s *story) say(text string) {
	if s.err == nil {
		fmt.Printf("\n(%s)\n", text)
	}
}

// shell prints a command, runs it, and prints what it prints, which must contain the expected texts.
func (s *story) shell(command string, expected ...string) (output string) {
	if s.err != nil {
		return ""
	}
	fmt.Printf("\n$ %s\n", command)
	shell := s.command(command)
	printed, err := shell.CombinedOutput()
	output = string(printed)
	fmt.Print(output)
	if err != nil {
		s.err = fmt.Errorf("%q: %w", command, err)
		return output
	}
	for _, text := range expected {
		if !strings.Contains(output, text) {
			s.err = fmt.Errorf("%q: the output does not contain %q", command, text)
			return output
		}
	}
	return output
}

func (s *story) command(command string) *exec.Cmd {
	shell := exec.CommandContext(s.ctx, "/bin/sh", "-c", command)
	shell.Dir = testenv.Root()
	path := []string{os.Getenv("KUBEBUILDER_ASSETS"), filepath.Join(testenv.Root(), "bin"), os.Getenv("PATH")} // kubectl, and its plugin.
	shell.Env = append(s.controlPlane.Environ(), "PATH="+strings.Join(path, string(filepath.ListSeparator)))
	return shell
}

// patiently is shell for a command that takes its time: now and then it says what is being waited for.
func (s *story) patiently(waitingFor func() string, command string, expected ...string) {
	began, ended := time.Now(), make(chan struct{})
	var talking sync.WaitGroup
	talking.Go(func() {
		for tick := time.NewTicker(15 * time.Second); ; {
			select {
			case <-ended:
				return
			case <-tick.C:
				fmt.Printf("  … %3.0f s: %s\n", time.Since(began).Seconds(), waitingFor())
			}
		}
	})
	s.shell(command, expected...)
	close(ended)
	talking.Wait()
}

// end ends the consumers and says what came of it.
func (s *story) end() {
	for _, c := range s.consumers {
		s.err = errors.Join(s.err, c.lines.Close(), c.process.Wait())
	}
	if s.err == nil {
		fmt.Printf("\nEvery step did what it says (%s).\n", time.Now().Format(time.RFC3339))
	}
}
