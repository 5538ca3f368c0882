package controllers

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

func TestAVersionOlderThanWhatWasWrittenIsNotDecidedUpon(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Now())
	at := func(uid types.UID, version string) *v1alpha1.AccountToken {
		return &v1alpha1.AccountToken{ObjectMeta: metav1.ObjectMeta{UID: uid, ResourceVersion: version}}
	}
	w := newWritten(clock)
	expect := func(moment string, o *v1alpha1.AccountToken, want bool) {
		t.Helper()
		if got := w.isAhead(o); got != want {
			t.Errorf("%s: %v", moment, got)
		}
	}
	expect("nothing was written", at("a", "9"), false)
	w.note(at("a", "10"))
	expect("the cache is behind, by number and not by letter", at("a", "9"), true)
	expect("another resource", at("b", "9"), false)
	expect("the cache has caught up", at("a", "10"), false)
	if len(w.versions) != 0 {
		t.Error("it remembers what the cache knows")
	}
	w.note(at("a", "10"))
	expect("somebody else wrote since", at("a", "11"), false)
	w.note(at("a", "10"))
	clock.SetTime(clock.Now().Add(2 * time.Minute))
	expect("the API server was set back", at("a", "9"), false)

	w.noteGone("c")
	expect("it was released, and the cache still has it", at("c", "9"), true)
	clock.SetTime(clock.Now().Add(2 * time.Minute))
	expect("the API server was set back before that", at("c", "9"), false)

	// What was deleted does not come into the cache any more, and is not remembered for ever.
	for i := range minPrune - 1 {
		w.note(at(types.UID(fmt.Sprint(i)), "10"))
	}
	clock.SetTime(clock.Now().Add(2 * time.Minute))
	w.note(at("last", "10"))
	if len(w.versions) != 1 {
		t.Errorf("it remembers %d resources that are long gone", len(w.versions)-1)
	}
	expect("the last one is remembered", at("last", "9"), true)
}
