// Package issuertest holds every implementation of issuer.Issuer to the promises that are written there.
package issuertest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/token"
)

// Harness is an issuer and the service behind it, with no token yet, and the part that the engine plays.
type Harness struct {
	Issuer issuer.Issuer
	// Request is what the engine would ask for, at the service's present time, as the token of a revision.
	Request func(revision int64, lifetime time.Duration) issuer.Request
	// Record writes the intent into the status. An attempt that is open there is closed, as after Settle.
	Record func(v1alpha1.PendingToken)
	// Forget strikes a token or an attempt off the status, after its Revoke.
	Forget func(issuer.Reference)
	// Accepts says whether the service accepts a value now, and Live how many tokens it accepts.
	Accepts func(token.Value) bool
	Live    func() int
	// Advance lets time go by at the service.
	Advance func(time.Duration)
}

// Run holds an issuer to its promises. Every case gets a new harness.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	t.Helper()
	for _, promise := range []struct {
		name string
		keep func(*suite)
	}{
		{"Prepare alone brings nothing to life", prepareAlone},
		{"a minted token is accepted and is the one that was recorded", minted},
		{"two attempts never give the same token", twoAttempts},
		{"attempts that are prepared at the same time differ too", atTheSameTime},
		{"a token lives as long as was asked for, and no longer than MaxLifetime", lifetime},
		{"a token ends when it says it expires", expiry},
		{"Revoke ends one token, and repeating it succeeds", revoke},
		{"an attempt that was recorded and never minted leaves nothing behind", neverMinted},
		{"an attempt whose answer was lost leaves nothing behind", answerLost},
		{"Settle can be repeated, also after Revoke", settleAgain},
		{"nothing that is returned prints a value", printed},
		{"no error prints a value", errorsPrinted},
	} {
		t.Run(promise.name, func(t *testing.T) {
			promise.keep(&suite{T: t, Harness: newHarness(t)})
		})
	}
}

type suite struct {
	*testing.T
	Harness
}

const day = 24 * time.Hour

func prepareAlone(s *suite) {
	attempt := s.prepare(1, day)
	s.wantLive(0)
	s.wantAccepted(attempt.Value, false)
}

func minted(s *suite) {
	attempt, got := s.mint(1, day)
	s.wantLive(1)
	s.wantAccepted(got.Value, true)
	record := attempt.Record
	if record.Revision != 1 {
		s.Errorf("the record of revision 1 is of revision %d", record.Revision)
	}
	if got.ID == "" || (record.ID != "" && record.ID != got.ID) {
		s.Errorf("the id is %q, recorded was %q", got.ID, record.ID)
	}
	if record.SHA256 != "" && record.SHA256 != got.Value.SHA256() {
		s.Error("the recorded hash is another token's")
	}
	if record.ExpirationTime != nil && !record.ExpirationTime.Time.Equal(got.ExpirationTime) {
		s.Errorf("it expires at %s, recorded was %s", got.ExpirationTime, record.ExpirationTime)
	}
}

func twoAttempts(s *suite) {
	_, first := s.mint(1, day)
	_, second := s.mint(2, day)
	if first.Value.Reveal() == second.Value.Reveal() || first.ID == second.ID {
		s.Error("both gave the same token")
	}
	s.wantAccepted(first.Value, true)
	s.wantAccepted(second.Value, true)
	s.wantLive(2)
}

func atTheSameTime(s *suite) {
	values := make([]token.Value, 20)
	var all sync.WaitGroup
	for i := range values {
		all.Go(func() {
			attempt, err := s.Issuer.Prepare(s.Context(), s.Request(1, day))
			if err != nil {
				s.Errorf("Prepare: %v", err)
			}
			values[i] = attempt.Value
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for _, value := range values {
		if seen[value.Reveal()] {
			s.Fatal("two of them chose the same value")
		}
		seen[value.Reveal()] = !value.IsEmpty()
	}
}

func lifetime(s *suite) {
	for i, asked := range []time.Duration{time.Hour, 90 * day, issuer.MaxLifetime, 3650 * day} {
		now := s.Request(1, asked).Now
		_, got := s.mint(int64(i)+1, asked)
		longest := min(asked, issuer.MaxLifetime)
		if lives := got.ExpirationTime.Sub(now); !got.ExpirationTime.IsZero() && (lives > longest || lives < longest*9/10) {
			s.Errorf("asked for %s, it lives for %s", asked, lives)
		}
	}
}

func expiry(s *suite) {
	_, got := s.mint(1, time.Hour)
	if got.ExpirationTime.IsZero() {
		s.Skip("the service's tokens do not expire")
	}
	s.Advance(got.ExpirationTime.Sub(s.Request(1, day).Now) - time.Second)
	s.wantAccepted(got.Value, true)
	s.Advance(time.Second)
	s.wantAccepted(got.Value, false)
	s.wantLive(0)
}

func revoke(s *suite) {
	attempt, first := s.mint(1, day)
	_, second := s.mint(2, day)
	reference := referenceTo(attempt.Record, &first)
	s.revoke(reference)
	s.revoke(reference) // As after a crash before the status was written.
	s.Forget(reference)
	s.wantAccepted(first.Value, false)
	s.wantAccepted(second.Value, true)
	s.wantLive(1)
	s.revoke(reference)
	s.wantLive(1)
}

func neverMinted(s *suite) {
	attempt := s.prepare(1, day)
	s.Record(attempt.Record)
	s.abandon(attempt.Record)
	s.wantAccepted(attempt.Value, false)
}

func answerLost(s *suite) {
	attempt, lost := s.mint(1, day)
	s.abandon(attempt.Record)
	s.wantAccepted(lost.Value, false)
}

func settleAgain(s *suite) {
	attempt, lost := s.mint(1, day)
	first := s.settle(attempt.Record)
	for range 2 {
		again := s.settle(attempt.Record)
		switch {
		case (first.Token == nil) != (again.Token == nil):
			s.Fatal("Settle found something else the second time")
		case first.Token != nil && again.Token.Value.Reveal() != lost.Value.Reveal():
			s.Fatal("Settle found another token than the attempt's")
		}
	}
	if live := s.Live(); live > 1 {
		s.Errorf("after Settle the attempt has %d tokens", live)
	}
	s.abandon(attempt.Record)
	if s.settle(attempt.Record).Token != nil {
		s.Error("Settle found a token that is revoked")
	}
	s.abandon(attempt.Record)
}

func printed(s *suite) {
	attempt, got := s.mint(1, day)
	settlement := s.settle(attempt.Record)
	for name, value := range map[string]any{
		"an Attempt": attempt, "a pointer to an Attempt": &attempt, "a Token": got, "a pointer to a Token": &got,
		"a Settlement": settlement, "a Settlement's Token": settlement.Token,
	} {
		encoded, err := json.Marshal(value)
		if err != nil {
			s.Errorf("%s as JSON: %v", name, err)
		}
		s.wantRedacted(name+" as JSON", string(encoded), got.Value)
		for _, format := range []string{"%v", "%+v", "%#v"} {
			s.wantRedacted(name+" with "+format, fmt.Sprintf(format, value), got.Value)
		}
	}
}

func errorsPrinted(s *suite) {
	attempt, got := s.mint(1, day)
	reference := referenceTo(attempt.Record, &got)
	ended, cancel := context.WithCancel(s.Context())
	cancel()
	other := s.prepare(2, day)
	s.Record(other.Record)
	_, mintErr := s.Issuer.Mint(ended, other)
	_, settleErr := s.Issuer.Settle(ended, attempt.Record)
	for name, err := range map[string]error{"Mint": mintErr, "Settle": settleErr, "Revoke": s.Issuer.Revoke(ended, reference)} {
		if err != nil { // An issuer that need not ask its service has no reason to fail.
			s.wantRedacted("the error of "+name, err.Error(), got.Value)
			s.wantRedacted("the error of "+name, err.Error(), other.Value)
		}
	}
}

func (s *suite) prepare(revision int64, lifetime time.Duration) issuer.Attempt {
	s.Helper()
	attempt, err := s.Issuer.Prepare(s.Context(), s.Request(revision, lifetime))
	if err != nil {
		s.Fatalf("Prepare: %v", err)
	}
	return attempt
}

func (s *suite) mint(revision int64, lifetime time.Duration) (issuer.Attempt, issuer.Token) {
	s.Helper()
	attempt := s.prepare(revision, lifetime)
	s.Record(attempt.Record)
	got, err := s.Issuer.Mint(s.Context(), attempt)
	if err != nil {
		s.Fatalf("Mint: %v", err)
	}
	return attempt, got
}

func (s *suite) settle(record v1alpha1.PendingToken) issuer.Settlement {
	s.Helper()
	settlement, err := s.Issuer.Settle(s.Context(), record)
	if err != nil {
		s.Fatalf("Settle: %v", err)
	}
	return settlement
}

func (s *suite) revoke(reference issuer.Reference) {
	s.Helper()
	if err := s.Issuer.Revoke(s.Context(), reference); err != nil {
		s.Fatalf("Revoke: %v", err)
	}
}

// abandon does to an attempt of which only the record is left what the engine does to it when its resource is deleted.
func (s *suite) abandon(record v1alpha1.PendingToken) {
	s.Helper()
	reference := referenceTo(record, s.settle(record).Token)
	s.revoke(reference)
	s.Forget(reference)
	s.wantLive(0)
}

// referenceTo is by the record, or by the token once that is known.
func referenceTo(record v1alpha1.PendingToken, found *issuer.Token) issuer.Reference {
	if found != nil {
		return issuer.Reference{ID: found.ID, SHA256: found.Value.SHA256()}
	}
	return issuer.Reference{ID: record.ID, SHA256: record.SHA256}
}

func (s *suite) wantLive(want int) {
	s.Helper()
	if got := s.Live(); got != want {
		s.Errorf("the service accepts %d tokens, want %d", got, want)
	}
}

func (s *suite) wantAccepted(value token.Value, want bool) {
	s.Helper()
	if value.IsEmpty() && !want {
		return // An attempt whose value the service chooses: nobody can present that yet.
	}
	if got := s.Accepts(value); got != want {
		s.Errorf("accepted: %v, want %v", got, want)
	}
}

func (s *suite) wantRedacted(name, text string, value token.Value) {
	s.Helper()
	if !value.IsEmpty() && strings.Contains(text, value.Reveal()) {
		s.Errorf("%s shows the value", name)
	}
}
