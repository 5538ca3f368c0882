package controllers

import "k8s.io/apimachinery/pkg/types"

// OnSetup has a function called with each reconciler of tokens that is set up from now on.
func OnSetup(f func(*TokenReconciler)) { afterSetup = f }

// Remembered says which of its memories have something of a resource.
func (r *TokenReconciler) Remembered(uid types.UID) (where []string) {
	note := func(name string, has bool) {
		if has {
			where = append(where, name)
		}
	}
	r.failures.mu.Lock()
	_, has := r.failures.last[uid]
	r.failures.mu.Unlock()
	note("failures", has)
	r.holderSightings.mu.Lock()
	_, has = r.holderSightings.last[uid]
	r.holderSightings.mu.Unlock()
	note("sightings", has)
	r.written.mu.Lock()
	// That a resource was released is known until the cache shows it, or for a minute.
	version, has := r.written.versions[uid]
	r.written.mu.Unlock()
	note("written", has && version.number != "")
	return where
}
