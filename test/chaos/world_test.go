//go:build chaos

package chaos_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

const replicas = 3

// world is everything that can be harmed: the control plane, the operator's processes with the cables that connect them to it, and
// Codacy.
type world struct {
	t            *testing.T
	directory    string
	controlPlane *testenv.ControlPlane
	codacy       *codacytest.Server
	served       *codacytest.Running
	managers     [replicas]*replica
	witness      *exec.Cmd
	testimony    lockedText

	mu sync.Mutex
	// restarted are processes of the control plane that took the place of others.
	restarted []*os.Process
	// over: none is to be started any more.
	over bool
}

// replica is a process of the operator.
type replica struct {
	mu       sync.Mutex
	cable    *cable
	config   string
	clock    string
	operator *testenv.Operator
}

type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	w := &world{t: t, directory: t.TempDir()}
	w.controlPlane = must[*testenv.ControlPlane](t)(testenv.Start(t.Context()))
	t.Cleanup(func() {
		w.killRestarted()
		if err := w.controlPlane.Stop(); err != nil {
			t.Log(err)
		}
	})
	w.startControllerManager()
	behaviour := must[codacytest.Behaviour](t)(codacytest.Edition("cloud-2026-08"))
	behaviour.RateLimit = nil
	w.codacy = codacytest.New(clock.RealClock{}, behaviour)
	w.served = must[*codacytest.Running](t)(codacytest.StartTLS(w.codacy, "127.0.0.1:0"))
	t.Cleanup(func() { _ = w.served.Close() })

	binary := w.build("manager")
	for i := range w.managers {
		w.managers[i] = w.newReplica(i)
		check(t, w.managers[i].start(w, binary))
	}
	t.Cleanup(func() {
		for _, r := range w.managers {
			r.kill()
		}
	})
	w.startWitness(w.build("witness"))
	return w
}

// build builds a program of this test.
func (w *world) build(program string) (binary string) {
	w.t.Helper()
	binary = filepath.Join(w.directory, program)
	build := exec.CommandContext(w.t.Context(), "go", "build", "-o", binary, "./test/chaos/"+program)
	build.Dir = testenv.Root()
	if output, err := build.CombinedOutput(); err != nil {
		w.t.Fatalf("building the %s: %v: %s", program, err, output)
	}
	return binary
}

func (w *world) startControllerManager() {
	w.t.Helper()
	log := must[*os.File](w.t)(os.Create(filepath.Join(w.directory, "kube-controller-manager.log")))
	process := must[*exec.Cmd](w.t)(w.controlPlane.ControllerManager())
	process.Stdout, process.Stderr = log, log
	check(w.t, process.Start())
	w.t.Cleanup(func() { _ = process.Process.Kill(); _ = process.Wait() })
}

func (w *world) newReplica(i int) *replica {
	w.t.Helper()
	config := must[[]byte](w.t)(os.ReadFile(w.controlPlane.OperatorKubeconfig))
	parsed := must1(clientcmd.Load(config))
	r := &replica{config: filepath.Join(w.directory, fmt.Sprintf("kubeconfig-%d", i)), clock: filepath.Join(w.directory, fmt.Sprintf("clock-%d", i))}
	for _, cluster := range parsed.Clusters {
		r.cable = must[*cable](w.t)(newCable(strings.TrimPrefix(cluster.Server, "https://")))
		cluster.Server = "https://" + r.cable.address()
	}
	check(w.t, clientcmd.WriteToFile(*parsed, r.config))
	r.setClock(0)
	return r
}

func must1[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func (r *replica) setClock(off time.Duration) { _ = os.WriteFile(r.clock, []byte(off.String()), 0o600) }

func (r *replica) start(w *world, binary string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	started, err := testenv.StartOperator(w.t.Context(), binary, r.config, "--leader-elect", "--zap-devel", "--clock-file="+r.clock,
		"--leader-elect-lease-duration=4s", "--leader-elect-renew-deadline=3s", "--leader-elect-retry-period=500ms",
		"--allowed-hosts="+strings.TrimPrefix(w.served.URL, "https://"), "--service-timeout=2s", "--service-pause=500ms",
		"--authority-max-staleness=15s")
	if err == nil {
		r.operator = started
	}
	return err
}

// running is the process; nil if there is none.
func (r *replica) running() *testenv.Operator {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.operator
}

func (r *replica) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.operator != nil {
		r.operator.Thaw()
		r.operator.Kill()
		_ = r.operator.Remove()
		r.operator = nil
	}
}

// tellWitness names the replicas of the authority.
func (w *world) tellWitness() {
	var authorities struct {
		CA   string
		URLs []string
	}
	for _, r := range w.managers {
		if o := r.running(); o != nil {
			authorities.URLs = append(authorities.URLs, o.AuthorityURL)
			if ca, err := os.ReadFile(o.CAFile); err == nil {
				authorities.CA = string(ca)
			}
		}
	}
	w.write("authorities.json", authorities)
}

// write writes a file in one step.
func (w *world) write(name string, content any) {
	text := must1(json.Marshal(content))
	file := filepath.Join(w.directory, name)
	if err := os.WriteFile(file+".new", text, 0o600); err == nil {
		_ = os.Rename(file+".new", file)
	}
}

func (w *world) startWitness(binary string) {
	w.t.Helper()
	admin := w.controlPlane.Admin
	w.write("api.json", map[string]string{"url": "https://" + strings.Trim(strings.TrimPrefix(admin.Host, "https://"), "/"), "ca": string(admin.CAData), "cert": string(admin.CertData), "key": string(admin.KeyData)})
	w.write("codacy.json", map[string]string{"url": w.served.URL, "ca": string(w.served.CAPEM)})
	w.tellWitness()
	w.witness = exec.Command(binary, w.directory)
	w.witness.Stdout, w.witness.Stderr = &w.testimony, os.Stderr
	check(w.t, w.witness.Start())
	w.t.Cleanup(func() { _ = w.witness.Process.Kill() })
}

// processOf finds a process of the control plane by its program: a child of this one.
func processOf(program string) (pid int, arguments []string) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[0] == "Z" || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		line, err := os.ReadFile(filepath.Join(filepath.Dir(stat), "cmdline"))
		if err != nil {
			continue
		}
		arguments := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
		if filepath.Base(arguments[0]) == program {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
			return pid, arguments
		}
	}
	return 0, nil
}

// restart kills a process of the control plane, and starts it again after a while; also if it ends by itself then, as a kubelet
// does: its port may be taken for a moment, or etcd not answer.
func (w *world) restart(program string, after time.Duration) {
	pid, arguments := processOf(program)
	if pid == 0 {
		return
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	time.Sleep(after)
	log := must1(os.OpenFile(filepath.Join(w.directory, program+".log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600))
	go func() {
		defer func() { _ = log.Close() }()
		for {
			process := exec.Command(arguments[0], arguments[1:]...)
			process.Stdout, process.Stderr = log, log
			began := time.Now()
			if !w.runs(process) {
				return
			}
			_ = process.Wait()
			if process.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
				return // Then whoever killed it starts another one.
			}
			time.Sleep(max(0, time.Second-time.Since(began)))
		}
	}()
}

// runs starts a process of the control plane, unless the test is over.
func (w *world) runs(process *exec.Cmd) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return false
	}
	if err := process.Start(); err != nil {
		w.t.Errorf("starting %s again: %v", process.Path, err)
		return false
	}
	w.restarted = append(w.restarted, process.Process)
	return true
}

func (w *world) killRestarted() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	for _, process := range w.restarted {
		_ = process.Kill()
	}
}

// freeze stops a process of the control plane for a while.
func freeze(program string, duration time.Duration) {
	if pid, _ := processOf(program); pid != 0 {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
		time.Sleep(duration)
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
}

// cable connects a replica to the API server, and can be pulled.
type cable struct {
	listener net.Listener
	target   string
	pulled   atomic.Bool

	mu    sync.Mutex
	lines map[net.Conn]bool
}

func newCable(target string) (*cable, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &cable{listener: listener, target: target, lines: map[net.Conn]bool{}}
	go func() {
		for {
			line, err := listener.Accept()
			if err != nil {
				return
			}
			go c.carry(line)
		}
	}()
	return c, nil
}

func (c *cable) address() string { return c.listener.Addr().String() }

func (c *cable) carry(line net.Conn) {
	defer func() { _ = line.Close() }()
	if c.pulled.Load() {
		return
	}
	other, err := net.Dial("tcp", c.target)
	if err != nil {
		return
	}
	defer func() { _ = other.Close() }()
	c.mu.Lock()
	c.lines[line], c.lines[other] = true, true
	c.mu.Unlock()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{line, other}, {other, line}} {
		go func() { _, _ = io.Copy(way[0], way[1]); done <- struct{}{} }()
	}
	<-done
	c.mu.Lock()
	delete(c.lines, line)
	delete(c.lines, other)
	c.mu.Unlock()
}

// pull cuts all connections and lets none come about, for a while.
func (c *cable) pull(duration time.Duration) {
	c.pulled.Store(true)
	c.mu.Lock()
	for line := range c.lines {
		_ = line.Close()
	}
	c.mu.Unlock()
	time.Sleep(duration)
	c.pulled.Store(false)
}
