package controllers

import (
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

// updates passes the updates that a function finds worth a look, and nothing else.
func updates(worth func(before, after client.Object) bool) predicate.Funcs {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc:  func(e event.UpdateEvent) bool { return worth(e.ObjectOld, e.ObjectNew) },
	}
}

// namespaceTerminates passes the update with which a namespace begins to terminate.
var namespaceTerminates = updates(func(before, after client.Object) bool {
	return before.GetDeletionTimestamp().IsZero() != after.GetDeletionTimestamp().IsZero()
})

// changed passes updates and deletions of Secrets; to the cache, the loss of our label is a deletion. Only we create
// Secrets with it.
var changed = predicate.Funcs{CreateFunc: func(event.CreateEvent) bool { return false }}
