package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// service is where consumers use their tokens.
type service struct {
	// caFile holds the CA of its certificate.
	caFile string
	// environment is what consumers need to know besides what is in the Secret.
	environment []string
	// request is how their requests are shown, with a verb for what they are told to ask for.
	request string
}

// consumer is a process that was started with a Secret as its environment.
type consumer struct {
	story   *story
	secret  string
	process *exec.Cmd
	lines   io.WriteCloser
	answers *bufio.Reader
}

func (s *story) consumer(secretName string) *consumer {
	c := &consumer{story: s, secret: secretName}
	if s.err != nil {
		return c
	}
	var secret corev1.Secret
	if s.err = s.controlPlane.Client.Get(s.ctx, client.ObjectKey{Namespace: "team-a", Name: secretName}, &secret); s.err != nil {
		return c
	}
	executable, err := os.Executable()
	if err != nil {
		s.err = err
		return c
	}
	c.process = exec.CommandContext(s.ctx, executable, consumerMode, s.service.caFile)
	c.process.Stderr = os.Stderr
	c.process.Env = append([]string{}, s.service.environment...) // Not nil, which would stand for our own.
	for key, value := range secret.Data {
		c.process.Env = append(c.process.Env, key+"="+string(value))
	}
	var answers io.ReadCloser
	c.lines, err = c.process.StdinPipe()
	if err == nil {
		answers, err = c.process.StdoutPipe()
	}
	if err == nil {
		c.answers = bufio.NewReader(answers)
		err = c.process.Start()
	}
	s.err = err
	if err == nil {
		s.consumers = append(s.consumers, c)
		fmt.Printf("\n(process %d starts with the Secret %s as its environment)\n", c.process.Process.Pid, secretName)
	}
	return c
}

// calls has the process use its token to ask for something.
func (c *consumer) calls(what, want string) {
	s := c.story
	if s.err != nil {
		return
	}
	if _, s.err = fmt.Fprintln(c.lines, what); s.err != nil {
		return
	}
	var answer string
	if answer, s.err = c.answers.ReadString('\n'); s.err != nil {
		return
	}
	answer = strings.TrimSpace(answer)
	fmt.Printf("%-30s "+s.service.request+" → %s\n", fmt.Sprintf("process %d (%s):", c.process.Process.Pid, c.secret), what, answer)
	if answer != want {
		s.err = fmt.Errorf("%s asked for %s and got %q instead of %q", c.secret, what, answer, want)
	}
}
