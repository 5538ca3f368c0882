package rotate_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tokensteward/tokensteward/internal/testenv"
)

// pause is between two calls of a client.
const pause = 100 * time.Millisecond

// counts are how often calls were answered with which status. 0 is that the authority could not be reached, and 503 that
// it could not tell: then the client calls again.
type counts map[int]int

func (c counts) refused() int { return c[http.StatusUnauthorized] }

// odd are the answers that should never be.
func (c counts) odd() (odd int) {
	for status, count := range c {
		switch status {
		case 0, http.StatusOK, http.StatusUnauthorized, http.StatusServiceUnavailable:
		default:
			odd += count
		}
	}
	return odd
}

func (c counts) String() string {
	return fmt.Sprintf("%d calls were accepted, %d refused, %d could not be judged and %d did not reach the authority",
		c[http.StatusOK], c.refused(), c[http.StatusServiceUnavailable], c[0])
}

// buildClient builds what the processes run.
func buildClient(ctx context.Context, directory string) (string, error) {
	binary := filepath.Join(directory, "client")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./test/rotate/client")
	build.Dir = testenv.Root()
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, output)
	}
	return binary, nil
}

// process is a client, seen from outside.
type process struct {
	command *exec.Cmd
	output  *bufio.Reader
	errors  bytes.Buffer
}

func startProcess(program string, arguments ...string) (*process, error) {
	p := &process{command: exec.Command(program, arguments...)}
	p.command.Env = []string{"GOMAXPROCS=1"}
	p.command.Stderr = &p.errors
	if _, err := p.command.StdinPipe(); err != nil { // It is open as long as this process lives.
		return nil, err
	}
	output, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.output = bufio.NewReader(output)
	return p, p.command.Start()
}

// awaitReady waits until its first call was answered.
func (p *process) awaitReady() error {
	line, err := p.output.ReadString('\n')
	if err == nil && line == "ready\n" {
		return nil
	}
	_ = p.command.Process.Kill() // It may have ended by itself.
	return fmt.Errorf("a client did not become ready: %w", errors.Join(err, p.command.Wait(), errors.New(p.errors.String())))
}

// stop ends it in order and returns what it has counted.
func (p *process) stop() (c counts, err error) {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		return c, err
	}
	printed, err := io.ReadAll(p.output)
	if err := errors.Join(err, p.command.Wait()); err != nil {
		return c, fmt.Errorf("a client ended: %w: %s", err, p.errors.String())
	}
	return c, json.Unmarshal(printed, &c)
}
