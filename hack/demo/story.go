package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/internal/testenv"
)

const (
	accepted = `200 {"success":"token accepted"}`
	refused  = `401 {"error":"not found"}`
)

// tell runs the story; the first step that does not do what it says ends it with an error.
func tell(ctx context.Context, w *world) error {
	s := &story{world: w, ctx: ctx}

	s.chapter("An issuer: its account alice may reach the organization gh/acme, and the namespace team-a may have tokens of it")
	s.shell("kubectl create namespace team-a", "created")
	s.shell("cat config/samples/issuer.yaml", "builtIn")
	s.shell("kubectl apply -f config/samples/issuer.yaml", "created")
	s.shell("kubectl wait --for=condition=Ready clustertokenissuer/default --timeout=60s", "condition met")

	s.chapter("A token for alice, and one for each of two projects")
	s.shell("cat config/samples/accounttoken.yaml config/samples/projecttokens.yaml", "kind: ProjectToken")
	s.shell("kubectl apply -f config/samples/accounttoken.yaml -f config/samples/projecttokens.yaml", "created")
	s.shell("kubectl -n team-a wait --for=condition=Ready accounttoken/alice projecttoken/website projecttoken/backend --timeout=60s", "condition met")
	s.shell("kubectl -n team-a get tokensteward", "alice", "gh/acme/website", "gh/acme/backend", "True")

	s.chapter("The tokens are in Secrets, under keys that are names of environment variables (the values stay there)")
	s.shell("kubectl -n team-a describe secret alice backend-ci", "API_TOKEN:", "BACKEND_TOKEN:", "bytes")

	s.chapter("Processes start with a Secret as their environment, as containers do with envFrom, and use it")
	alice, website := s.consumer("alice"), s.consumer("website")
	alice.calls("gh/acme/website", accepted)
	alice.calls("gh/acme/backend", accepted)
	alice.calls("gh/umbrella/website", refused)
	website.calls("gh/acme/website", accepted)
	website.calls("gh/acme/backend", refused)

	s.chapter("A second token of the same account is revoked alone: the first goes on")
	s.shell("kubectl apply -f config/samples/accounttoken-laptop.yaml", "created")
	s.shell("kubectl -n team-a wait --for=condition=Ready accounttoken/alice-laptop --timeout=60s", "condition met")
	laptop := s.consumer("alice-laptop")
	laptop.calls("gh/acme/website", accepted)
	s.shell("kubectl -n team-a delete accounttoken alice-laptop", "deleted")
	laptop.calls("gh/acme/website", refused)
	alice.calls("gh/acme/website", accepted)

	s.chapter("Deleted resources take their tokens and Secrets along; the same processes are refused")
	s.shell("kubectl -n team-a delete accounttoken,projecttoken --all", "deleted")
	alice.calls("gh/acme/website", refused)
	website.calls("gh/acme/website", refused)
	s.shell("kubectl -n team-a get secrets", "No resources found")
	s.shell("kubectl -n team-a get events -o custom-columns=KIND:.involvedObject.kind,NAME:.involvedObject.name,REASON:.reason,MESSAGE:.message", "Issued", "Revoked")

	s.end()
	return s.err
}

// story runs step after step; after a failure it does nothing more.
type story struct {
	*world
	ctx       context.Context
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

// shell prints a command, runs it, and prints what it prints, which must contain the expected texts.
func (s *story) shell(command string, expected ...string) {
	if s.err != nil {
		return
	}
	fmt.Printf("\n$ %s\n", command)
	shell := exec.CommandContext(s.ctx, "/bin/sh", "-c", command)
	shell.Dir = testenv.Root()
	shell.Env = append(os.Environ(), "KUBECONFIG="+s.controlPlane.Kubeconfig, "PATH="+os.Getenv("KUBEBUILDER_ASSETS")+string(filepath.ListSeparator)+os.Getenv("PATH"))
	output, err := shell.CombinedOutput()
	fmt.Print(string(output))
	if err != nil {
		s.err = fmt.Errorf("%q: %w", command, err)
		return
	}
	for _, text := range expected {
		if !strings.Contains(string(output), text) {
			s.err = fmt.Errorf("%q: the output does not contain %q", command, text)
			return
		}
	}
}

// consumer is a process that was started with a Secret as its environment.
type consumer struct {
	story   *story
	secret  string
	process *exec.Cmd
	paths   io.WriteCloser
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
	c.process = exec.CommandContext(s.ctx, executable, consumerMode)
	c.process.Stderr = os.Stderr
	c.process.Env = []string{"AUTHORITY=" + s.operator.AuthorityURL, "AUTHORITY_CA=" + s.operator.CAFile}
	for key, value := range secret.Data {
		c.process.Env = append(c.process.Env, key+"="+string(value))
	}
	var answers io.ReadCloser
	c.paths, err = c.process.StdinPipe()
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

// calls asks the process to use its token on a path.
func (c *consumer) calls(path, want string) {
	s := c.story
	if s.err != nil {
		return
	}
	if _, s.err = fmt.Fprintln(c.paths, path); s.err != nil {
		return
	}
	var answer string
	if answer, s.err = c.answers.ReadString('\n'); s.err != nil {
		return
	}
	answer = strings.TrimSpace(answer)
	fmt.Printf("%-30s GET …/authorize/%-20s → %s\n", fmt.Sprintf("process %d (%s):", c.process.Process.Pid, c.secret), path, answer)
	if answer != want {
		s.err = fmt.Errorf("%s called %s and got %q instead of %q", c.secret, path, answer, want)
	}
}

// end ends the consumers and says what came of it.
func (s *story) end() {
	for _, c := range s.consumers {
		s.err = errors.Join(s.err, c.paths.Close(), c.process.Wait())
	}
	if s.err == nil {
		fmt.Printf("\nEvery step did what it says (%s).\n", time.Now().Format(time.RFC3339))
	}
}
