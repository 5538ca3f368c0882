package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// floorWorkers work beside each other, as in the operator.
const floorWorkers = 10

// floor is the least that can be done: a bare loop that does for each resource only what an operator that may die at any
// moment can't avoid. It runs until it is killed.
func floor(ctx context.Context, kubeconfig, namespace string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1
	k8s, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	changes, err := k8s.Watch(ctx, &v1alpha1.AccountTokenList{}, client.InNamespace(namespace))
	if err != nil {
		return err
	}
	queue := make(chan *v1alpha1.AccountToken, 100_000)
	for range floorWorkers {
		go func() {
			for t := range queue {
				if err := floorToken(ctx, k8s, t); err != nil {
					fmt.Fprintln(os.Stderr, "floor:", err)
				}
			}
		}()
	}
	fmt.Println("ready")
	for change := range changes.ResultChan() {
		if t, is := change.Object.(*v1alpha1.AccountToken); is && change.Type == watch.Added {
			queue <- t
		}
	}
	return nil
}

// floorToken: finalizer, intent, Secret, status, Event.
func floorToken(ctx context.Context, k8s client.Client, t *v1alpha1.AccountToken) error {
	patch := client.MergeFromWithOptions(t.DeepCopy(), client.MergeFromWithOptimisticLock{})
	t.Finalizers = []string{v1alpha1.Finalizer}
	if err := k8s.Patch(ctx, t, patch); err != nil {
		return err
	}
	value := rand.Text()
	sum := sha256.Sum256([]byte(value))
	hash, now := hex.EncodeToString(sum[:]), metav1.Now()
	patch = client.MergeFromWithOptions(t.DeepCopy(), client.MergeFromWithOptimisticLock{})
	t.Status.OwnerUID, t.Status.LastRevision = t.UID, 1
	t.Status.Pending = &v1alpha1.PendingToken{Revision: 1, StartTime: now, ID: value[:16], SHA256: hash}
	if err := k8s.Status().Patch(ctx, t, patch); err != nil {
		return err
	}
	owner := metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindAccountToken, Name: t.Name, UID: t.UID}
	if err := k8s.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: t.Namespace, Name: t.Name, OwnerReferences: []metav1.OwnerReference{owner}},
		Data:       map[string][]byte{"API_TOKEN": []byte(value)},
	}); err != nil {
		return err
	}
	patch = client.MergeFromWithOptions(t.DeepCopy(), client.MergeFromWithOptimisticLock{})
	t.Status.Token = &v1alpha1.IssuedToken{ID: value[:16], Revision: 1, SHA256: hash, IssueTime: now}
	t.Status.Pending, t.Status.ObservedGeneration = nil, t.Generation
	t.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIssued, LastTransitionTime: now}}
	if err := k8s.Status().Patch(ctx, t, patch); err != nil {
		return err
	}
	return k8s.Create(ctx, &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: t.Namespace, Name: t.Name + "." + hash[:16]}, EventTime: metav1.NewMicroTime(time.Now()),
		Regarding:           corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindAccountToken, Namespace: t.Namespace, Name: t.Name, UID: t.UID},
		ReportingController: "floor", ReportingInstance: "floor", Reason: "Issued", Action: "Mint", Type: corev1.EventTypeNormal, Note: "Issued revision 1.",
	})
}

// withFloor runs the floor as a process of its own.
func (w *world) withFloor(ctx context.Context, namespace string, do func(pid int) error) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	process := exec.CommandContext(ctx, self, "floor", w.controlPlane.OperatorKubeconfig, namespace)
	process.Stderr = os.Stderr
	output, err := process.StdoutPipe()
	if err != nil {
		return err
	}
	if err := process.Start(); err != nil {
		return err
	}
	defer func() { _ = process.Process.Kill(); _ = process.Wait() }()
	if _, err := output.Read(make([]byte, 1)); err != nil { // Then it watches.
		return err
	}
	return do(process.Process.Pid)
}
