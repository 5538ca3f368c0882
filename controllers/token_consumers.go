package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
)

const (
	// secretLag is how long after a Secret changed a kubelet may still give its old value to a container that starts.
	secretLag = 30 * time.Second
	// seekInterval is how long to wait before the holders of a token are looked for again.
	seekInterval = 2 * time.Minute
	// podPage is how many pods are read at a time.
	podPage = 500
)

// holderSightings remember who was found to hold replaced tokens, by resource and revision. They are forgotten with the process,
// which costs a list of pods. docs/rotation.md, Who still holds the previous token.
type holderSightings struct {
	mu   sync.Mutex
	last map[types.UID]map[int64]sighting
}

type sighting struct {
	// replaced is when the token left the Secret; if it was in it again since, the sighting is of no use.
	replaced time.Time
	// held: a container holds it, or it can't be known. again is when to look again.
	held  bool
	again time.Time
}

func newHolderSightings() *holderSightings {
	return &holderSightings{last: map[types.UID]map[int64]sighting{}}
}

// of is what was found out about a replaced token; the zero sighting: nothing.
func (s *holderSightings) of(uid types.UID, previous *v1alpha1.PreviousToken) sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.last[uid][previous.Revision]
	if !found.replaced.Equal(timeOf(previous.ReplacedTime)) {
		return sighting{}
	}
	return found
}

// note remembers what was found out about tokens, and forgets what is not among the previous ones any more.
func (s *holderSightings) note(uid types.UID, previous []v1alpha1.PreviousToken, found map[int64]sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := map[int64]sighting{}
	for i := range previous {
		revision := previous[i].Revision
		if seen, ok := s.last[uid][revision]; ok {
			kept[revision] = seen
		}
		if seen, ok := found[revision]; ok {
			kept[revision] = seen
		}
	}
	if s.last[uid] = kept; len(kept) == 0 {
		delete(s.last, uid)
	}
}

func (s *holderSightings) forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.last, uid)
}

// heldUntil is how long a replaced token is kept at most for who holds it; the zero time for one that never was in the
// Secret. One without an expiry is kept as long as a token of the resource lives.
func heldUntil(spec *v1alpha1.TokenSpec, previous *v1alpha1.PreviousToken) time.Time {
	if previous.ReplacedTime == nil || previous.RevokeTime == nil {
		return time.Time{}
	}
	expires := timeOf(previous.ExpirationTime)
	until := previous.ReplacedTime.Add(spec.TokenDuration())
	if wait, ok := spec.WaitForConsumers(); ok {
		until = previous.RevokeTime.Add(wait)
	} else if !expires.IsZero() {
		until = expires
	}
	if !expires.IsZero() && until.After(expires) {
		return expires
	}
	return until
}

// seekHolders looks for the pods that hold the tokens of these revisions. If it may not list pods, any may be held.
func (r *TokenReconciler) seekHolders(ctx context.Context, s *state, revisions []int64) error {
	pods, err := r.podsOf(ctx, s.token.GetNamespace())
	forbidden := apierrors.IsForbidden(err)
	if err != nil && !forbidden {
		return fmt.Errorf("looking for pods that hold a replaced token: %w", err)
	}
	status, again := s.token.SharedStatus(), r.Clock.Now().Add(seekInterval)
	found := map[int64]sighting{}
	for i := range status.PreviousTokens {
		previous := &status.PreviousTokens[i]
		revision := previous.Revision
		if previous.ReplacedTime == nil || !slices.Contains(revisions, revision) {
			continue
		}
		names := holders(pods, v1alpha1.SecretName(s.token), previous.ReplacedTime.Add(secretLag))
		if len(names) > 0 && previous.HeldBy == nil {
			s.heldSince = append(s.heldSince, revision)
		}
		previous.HeldBy = nil
		for _, name := range shownHolders(names) {
			previous.HeldBy = append(previous.HeldBy, v1alpha1.PodName(name))
		}
		found[revision] = sighting{replaced: previous.ReplacedTime.Time, held: len(names) > 0 || forbidden, again: again}
	}
	r.holderSightings.note(s.token.GetUID(), status.PreviousTokens, found)
	return nil
}

// podsOf reads the pods of a namespace, page by page. They are not cached: they are asked for seldom, and there are many. Who asks
// while they are being read shares them, as when many tokens are replaced together; nobody may change them.
func (r *TokenReconciler) podsOf(ctx context.Context, namespace string) ([]corev1.Pod, error) {
	shared, err, _ := r.podLists.Do(namespace, func() (any, error) {
		var pods []corev1.Pod
		var page corev1.PodList
		for {
			if err := r.Live.List(ctx, &page, client.InNamespace(namespace), client.Limit(podPage), client.Continue(page.Continue)); err != nil {
				return nil, err
			}
			pods = append(pods, page.Items...)
			if page.Continue == "" {
				return pods, nil
			}
			page.Items = nil
		}
	})
	pods, _ := shared.([]corev1.Pod)
	return pods, err
}

// keptNote tells which replaced tokens are kept for whom; empty if none is.
func (r *TokenReconciler) keptNote(s *state, o *lifecycle.Observation) string {
	var notes strings.Builder
	status := s.token.SharedStatus()
	for i := range status.PreviousTokens {
		previous, seen := &status.PreviousTokens[i], &o.Previous[i]
		if !seen.Held || !o.Now.Before(seen.HeldUntil) {
			continue
		}
		until := seen.HeldUntil.UTC().Format(time.RFC3339)
		if len(previous.HeldBy) == 0 {
			fmt.Fprintf(&notes, " Revision %d is kept until %s, since the operator may not list pods and so can't see who holds it.", previous.Revision, until)
		} else {
			fmt.Fprintf(&notes, " Revision %d is kept, until %s at most, for pods that started with it: %s.", previous.Revision, until, podNames(previous.HeldBy))
		}
	}
	return notes.String()
}

func podNames(names []v1alpha1.PodName) string {
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = string(name)
	}
	if len(names) == maxHolders {
		texts = append(texts, "and perhaps more")
	}
	return strings.Join(texts, ", ")
}
