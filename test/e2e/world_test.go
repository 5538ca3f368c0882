//go:build e2e

package e2e_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/testenv"
	"github.com/tokensteward/tokensteward/test/e2e/node"
)

const patience = 2 * time.Minute

// The images of the programs that the tests bring along.
const (
	consumerImage = "localhost/e2e-consumer:e2e"
	codacyImage   = "localhost/codacy-standin:e2e"
)

// namespaces are those that the tests make.
var namespaces = []string{namespace, "team-a", "team-b", "codacy"}

// prepare loads the images and makes the namespaces; all of them admit only restricted pods.
func (w *world) prepare() {
	w.Helper()
	bin := filepath.Join(testenv.Root(), "bin")
	archives := []string{filepath.Join(bin, "image.tar")}
	for ref, binary := range map[string]string{consumerImage: "consumer", codacyImage: "codacy-standin"} {
		archive := filepath.Join(w.TempDir(), binary+".tar")
		if err := node.WriteImage(archive, ref, filepath.Join(bin, "e2e", binary)); err != nil {
			w.Fatal(err)
		}
		archives = append(archives, archive)
	}
	for _, archive := range archives {
		if err := w.load(w.ctx, archive); err != nil {
			w.Fatal(err)
		}
	}
	for _, name := range namespaces {
		w.apply(fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata:
  name: %s
  labels: {pod-security.kubernetes.io/enforce: restricted}
`, name))
	}
}

// eventually waits for something that the cluster is about to do.
func (w *world) eventually(what string, holds func() bool) {
	w.Helper()
	w.eventuallyWithin(patience, what, holds)
}

func (w *world) eventuallyWithin(limit time.Duration, what string, holds func() bool) {
	w.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// pods are the operator's.
func (w *world) pods() []corev1.Pod {
	w.Helper()
	var list corev1.PodList
	if err := w.client.List(w.ctx, &list, client.InNamespace(namespace), client.MatchingLabels{"app.kubernetes.io/name": "tokensteward"}); err != nil {
		w.Fatal(err)
	}
	return list.Items
}

func (w *world) readyPods() (ready []corev1.Pod) {
	w.Helper()
	for _, pod := range w.pods() {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue && pod.DeletionTimestamp.IsZero() {
				ready = append(ready, pod)
			}
		}
	}
	return ready
}

// leader is the process that leads: the name of its pod, _ and what tells it from others in that pod.
func (w *world) leader() string {
	w.Helper()
	var lease coordinationv1.Lease
	if err := w.client.Get(w.ctx, client.ObjectKey{Namespace: namespace, Name: "tokensteward"}, &lease); err != nil {
		w.Fatal(err)
	}
	if lease.Spec.HolderIdentity == nil {
		w.Fatal("nobody leads")
	}
	return *lease.Spec.HolderIdentity
}

// containerID is what the container runtime calls a pod's container.
func (w *world) containerID(name string) string {
	w.Helper()
	var pod corev1.Pod
	if err := w.client.Get(w.ctx, client.ObjectKey{Namespace: namespace, Name: name}, &pod); err != nil {
		w.Fatal(err)
	}
	_, id, _ := strings.Cut(pod.Status.ContainerStatuses[0].ContainerID, "://")
	return id
}

// uid is that of a ProjectToken.
func (w *world) uid(inNamespace, name string) string {
	w.Helper()
	var token v1alpha1.ProjectToken
	if err := w.client.Get(w.ctx, client.ObjectKey{Namespace: inNamespace, Name: name}, &token); err != nil {
		w.Fatal(err)
	}
	return string(token.UID)
}

func configMap(inNamespace, name string, data map[string]string) string {
	return manifest("v1", "ConfigMap", inNamespace, name, map[string]any{"data": data})
}

// secret is a file's content: kubectl gets it from its standard input, not among its arguments.
func secret(inNamespace, name, key, value string) string {
	return manifest("v1", "Secret", inNamespace, name, map[string]any{"stringData": map[string]string{key: value}})
}

func projectToken(inNamespace, name, issuerKind, issuer string) string {
	return manifest("tokensteward.io/v1alpha1", "ProjectToken", inNamespace, name, map[string]any{"spec": map[string]any{
		"issuerRef": map[string]string{"kind": issuerKind, "name": issuer},
		"project":   map[string]string{"provider": "gh", "organization": "acme", "repository": "api"},
	}})
}

func manifest(apiVersion, kind, inNamespace, name string, content map[string]any) string {
	content["apiVersion"], content["kind"] = apiVersion, kind
	content["metadata"] = map[string]string{"namespace": inNamespace, "name": name}
	text, err := yaml.Marshal(content)
	if err != nil {
		panic(err) // Of texts and maps of them.
	}
	return string(text)
}
