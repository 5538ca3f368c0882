package controllers

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

// Bounds of the watches for Secrets that are in the way.
const (
	maxObstacles = 200
	// obstacleRecheck is how soon a Secret is looked at again whose watch ended for another reason than its deletion.
	obstacleRecheck = time.Minute
)

// obstacles watches the Secrets that are in somebody's way, each by its name, until they are deleted. They are not
// ours, so the cache does not have them, and all Secrets of a cluster are nothing that an operator should hold.
type obstacles struct {
	live client.WithWatch
	gone chan event.GenericEvent

	mu      sync.Mutex
	watched map[types.NamespacedName]struct{}
}

func newObstacles(live client.WithWatch) *obstacles {
	return &obstacles{live: live, gone: make(chan event.GenericEvent), watched: map[types.NamespacedName]struct{}{}}
}

// await sends the Secret to gone once it is deleted, unless the context ends before. Past maxObstacles it is looked at
// again every minute instead.
func (o *obstacles) await(ctx context.Context, secret *corev1.Secret) {
	key := client.ObjectKeyFromObject(secret)
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.watched[key]; ok {
		return
	}
	follow := len(o.watched) < maxObstacles
	o.watched[key] = struct{}{}
	version := secret.ResourceVersion
	go func() {
		if !follow || !o.deleted(ctx, key, version) {
			select {
			case <-ctx.Done():
			case <-time.After(obstacleRecheck): //nolint:forbidigo // No cache is waited for: a watch that failed is not begun anew at once.
			}
		}
		o.mu.Lock()
		delete(o.watched, key)
		o.mu.Unlock()
		metadata := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		select {
		case <-ctx.Done():
		case o.gone <- event.GenericEvent{Object: metadata}:
		}
	}()
}

// deleted waits until the Secret is deleted; false if the watch ended before.
func (o *obstacles) deleted(ctx context.Context, key types.NamespacedName, version string) bool {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	stream, err := o.live.Watch(ctx, list, client.InNamespace(key.Namespace), client.MatchingFields{"metadata.name": key.Name},
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}})
	if err != nil {
		return false
	}
	defer stream.Stop()
	for change := range stream.ResultChan() {
		if change.Type == watch.Deleted {
			return true
		}
	}
	return false
}
