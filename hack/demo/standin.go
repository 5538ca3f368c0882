package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// standIn is a process of hack/codacy-standin.
type standIn struct {
	story *story
	// directory is where it wrote its CA and an account token.
	directory string
	// url and ui are its addresses.
	url, ui string

	process *exec.Cmd
}

func (s *story) standIn() *standIn {
	c := &standIn{story: s}
	if s.err != nil {
		return c
	}
	if c.directory, s.err = os.MkdirTemp("", "codacy-standin-"); s.err != nil {
		return c
	}
	command := "bin/codacy-standin --edition cloud-2026-08 --directory " + c.directory
	fmt.Printf("\n$ %s &\n", command)
	c.process = s.command("exec " + command) // It takes the shell's place, and so its signals.
	c.process.Stderr = os.Stderr
	output, err := c.process.StdoutPipe()
	if err == nil {
		err = c.process.Start()
	}
	if s.err = err; err != nil {
		c.process = nil
		return c
	}
	c.listen(output)
	return c
}

// listen shows what the process says until it has told its addresses. The rest explains what the story will show.
func (c *standIn) listen(output io.Reader) {
	lines := bufio.NewScanner(output)
	for c.ui == "" && lines.Scan() {
		fmt.Println(lines.Text())
		if address, ok := cutField(lines.Text(), "Codacy:"); ok {
			c.url = address
		}
		if address, ok := cutField(lines.Text(), "Web UI:"); ok {
			c.ui = address
		}
	}
	if c.url == "" || c.ui == "" {
		c.story.err = fmt.Errorf("the stand-in did not tell its addresses: %w", io.ErrUnexpectedEOF)
	}
	go func() { _, _ = io.Copy(io.Discard, output) }() // Lest it waits for a reader.
}

// cutField is the first word after a label at the begin of a line.
func cutField(line, label string) (field string, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(line), label)
	if words := strings.Fields(rest); ok && len(words) > 0 {
		return words[0], true
	}
	return "", false
}

func (c *standIn) file(name string) string { return filepath.Join(c.directory, name) }

// inWebUI does what a person would in Codacy's web UI, and gives what that shows: no value ever.
func (c *standIn) inWebUI(method, path string) (shown string) {
	s := c.story
	if s.err != nil {
		return ""
	}
	var status string
	if status, shown, s.err = c.ask(s.ctx, method, path); s.err == nil {
		fmt.Printf("\nweb UI: %s %s → %s\n", method, c.ui+path, strings.TrimSpace(status+" "+shown))
	}
	return shown
}

func (c *standIn) ask(ctx context.Context, method, path string) (status, shown string, err error) {
	request, err := http.NewRequestWithContext(ctx, method, c.ui+path, nil)
	if err != nil {
		return "", "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && response.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s %s in the web UI: %s", method, path, response.Status)
	}
	return response.Status, strings.TrimSpace(string(body)), err
}

// lists is how often the tokens of a repository were listed.
func (c *standIn) lists() int {
	var requests map[string]int
	_, shown, err := c.ask(c.story.ctx, http.MethodGet, "/requests")
	if err == nil {
		err = json.Unmarshal([]byte(shown), &requests)
	}
	if err != nil {
		return 0 // It only says how the wait gets on.
	}
	return requests["listRepositoryApiTokens"]
}

// stop ends the process and removes its files.
func (c *standIn) stop() {
	if c.process != nil {
		_ = c.process.Process.Signal(syscall.SIGTERM) // It may have ended by itself.
		_ = c.process.Wait()
	}
	c.story.err = errors.Join(c.story.err, os.RemoveAll(c.directory))
}
