//go:build e2e

package e2e_test

import (
	"bufio"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// consumer is a pod in team-a that has a Secret as its environment and calls with its token, five times a second.
type consumer struct {
	*stories
	name string
}

// startConsumer starts a pod with the arguments for test/e2e/consumer.
func (s *stories) startConsumer(name, secretName string, arguments ...string) *consumer {
	s.Helper()
	caFile := "/ca/authority.crt"
	if arguments[0] == "upload" {
		caFile = "/ca/codacy.crt"
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: name},
		Spec: corev1.PodSpec{
			// So that the names work where there is no DNS, too.
			HostAliases: []corev1.HostAlias{
				{IP: s.serviceIP(namespace, "tokensteward-authority"), Hostnames: []string{service}},
			},
			AutomountServiceAccountToken: ptr.To(false), TerminationGracePeriodSeconds: ptr.To(int64(0)),
			Containers: []corev1.Container{{
				Name: "consumer", Image: consumerImage, ImagePullPolicy: corev1.PullNever, Args: arguments,
				Env:             []corev1.EnvVar{{Name: "CA_FILE", Value: caFile}},
				EnvFrom:         []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: secretName}}}},
				VolumeMounts:    []corev1.VolumeMount{{Name: "ca", MountPath: "/ca"}},
				SecurityContext: restricted(),
			}},
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: ptr.To(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Volumes: []corev1.Volume{{Name: "ca", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: "ca"},
			}}}},
		},
	}
	if err := s.client.Create(s.ctx, pod); err != nil {
		s.Fatal(err)
	}
	s.kubectl("-n", "team-a", "wait", "--for=condition=Ready", "pod/"+name, "--timeout=60s")
	return &consumer{stories: s, name: name}
}

func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

func (w *world) serviceIP(inNamespace, name string) string {
	w.Helper()
	var found corev1.Service
	if err := w.client.Get(w.ctx, client.ObjectKey{Namespace: inNamespace, Name: name}, &found); err != nil {
		w.Fatal(err)
	}
	return found.Spec.ClusterIP
}

// answer is what a call was answered.
type answer struct {
	time time.Time
	text string
}

// answers are those since a time, in their order.
func (c *consumer) answers(since time.Time) (answers []answer) {
	c.Helper()
	stream, err := c.typed.CoreV1().Pods("team-a").GetLogs(c.name, &corev1.PodLogOptions{
		Timestamps: true, SinceTime: ptr.To(metav1.NewTime(since)),
	}).Stream(c.ctx)
	if err != nil {
		c.Fatalf("the log of %s: %v", c.name, err)
	}
	defer stream.Close()
	for lines := bufio.NewScanner(stream); lines.Scan(); {
		stamp, text, _ := strings.Cut(lines.Text(), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			c.Fatalf("the log of %s has the line %q", c.name, lines.Text())
		}
		if at.Before(since) {
			continue // The API server has only whole seconds.
		}
		answers = append(answers, answer{at, text})
	}
	return answers
}

// eventually waits until a call that is made from now on is answered so.
func (c *consumer) eventually(want string) {
	c.Helper()
	from, last := time.Now(), ""
	for time.Since(from) < patience {
		for _, a := range c.answers(from) {
			if last = a.text; last == want {
				return
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	c.Fatalf("%s is not answered %q but %q", c.name, want, last)
}

// onlyAcceptedSince: each call succeeded, and there were calls all the time.
func (c *consumer) onlyAcceptedSince(since time.Time) {
	c.Helper()
	answers, last := c.answers(since), since
	for _, a := range answers {
		if !strings.HasPrefix(a.text, "200 ") {
			c.Errorf("%s was answered %q at %s", c.name, a.text, a.time.Format(time.TimeOnly))
		}
		last = a.time
	}
	if len(answers) < 10 || time.Since(last) > 10*time.Second {
		c.Errorf("%s made %d calls, the last one %s ago", c.name, len(answers), time.Since(last))
	}
	c.Logf("%s: %d calls, each accepted", c.name, len(answers))
}

// neverRefused: no call was refused, though some may have found nobody to answer.
func (c *consumer) neverRefused() {
	c.Helper()
	counts := map[string]int{}
	for _, a := range c.answers(time.Time{}.Add(time.Second)) {
		kind, _, _ := strings.Cut(a.text, " ")
		counts[kind]++
		if kind != "200" && kind != "error" && kind != "503" {
			c.Errorf("%s was answered %q at %s", c.name, a.text, a.time.Format(time.TimeOnly))
		}
	}
	c.Logf("%s: %s", c.name, strings.TrimPrefix(fmt.Sprint(counts), "map"))
}

func (c *consumer) stop() {
	c.Helper()
	c.kubectl("-n", "team-a", "delete", "pod", c.name, "--wait")
}
