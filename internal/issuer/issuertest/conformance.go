// Package issuertest holds every implementation of issuer.Issuer to the promises that are written there.
package issuertest

import (
	"context"
	"encoding/json"
	"errors"
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
	// Accepts says whether the service accepts a value now, and Live how many tokens of the issuer's it accepts.
	Accepts func(token.Value) bool
	Live    func() int
	// Advance lets time go by at the service.
	Advance func(time.Duration)

	// ByHand makes a token where the issuer makes its own, as a person would, and EndByHand revokes one, whoever made it;
	// ByHandLive is how many of those made by hand are accepted. All are nil if nobody else can make tokens there.
	ByHand     func()
	EndByHand  func(id string)
	ByHandLive func() int
	// Alike: nothing tells an attempt's token from one that was made by hand meanwhile.
	Alike bool
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
		{"what somebody else made is neither claimed nor ended", strangers},
		{"what may be the attempt's or somebody else's is named and left alone", alike},
		{"a token that a resource has is not taken for another attempt's", claimed},
		{"nothing that is returned prints a value", printed},
		{"no error prints a value", errorsPrinted},
	} {
		t.Run(promise.name, func(t *testing.T) {
			promise.keep(&suite{T: t, Harness: newHarness(t), known: map[string]string{}, disowned: map[string]bool{}})
		})
	}
}

type suite struct {
	*testing.T
	Harness
	// known are the hashes of the tokens that resources have, by id.
	known map[string]string
	// disowned are the ids that the user said are somebody else's.
	disowned map[string]bool
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
	if record.ExpirationTime != nil && !got.ExpirationTime.IsZero() && !record.ExpirationTime.Time.Equal(got.ExpirationTime) {
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
			var busy *issuer.Error
			switch {
			case errors.As(err, &busy) && busy.Reason == v1alpha1.ReasonWaitingForTurn:
				return // One at a time is fine, too.
			case err != nil:
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
		s.Advance(10 * 365 * day)
		s.wantAccepted(got.Value, true)
		return
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
	reference := s.referenceTo(attempt.Record, &first)
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
	attempt.Release()
	s.abandon(attempt.Record)
	s.wantAccepted(attempt.Value, false)
}

func answerLost(s *suite) {
	attempt, lost := s.mintAndLose(1)
	if s.Alike {
		s.wantAmbiguous(attempt.Record, lost.ID)
		s.EndByHand(lost.ID)
	}
	s.abandon(attempt.Record)
	s.wantAccepted(lost.Value, false)
}

func settleAgain(s *suite) {
	attempt, lost := s.mintAndLose(1)
	if s.Alike {
		s.wantAmbiguous(attempt.Record, lost.ID)
		s.wantAmbiguous(attempt.Record, lost.ID)
		s.wantAccepted(lost.Value, true)
		s.EndByHand(lost.ID)
		s.abandon(attempt.Record)
		s.abandon(attempt.Record)
		return
	}
	first := s.settle(attempt.Record)
	for range 2 {
		again := s.settle(attempt.Record)
		switch {
		case (first.Token == nil) != (again.Token == nil) || first.Lost != again.Lost:
			s.Fatal("Settle found something else the second time")
		case first.Token != nil && again.Token.Value.Reveal() != lost.Value.Reveal():
			s.Fatal("Settle found another token than the attempt's")
		}
	}
	if live := s.Live(); live > 1 {
		s.Errorf("after Settle the attempt has %d tokens", live)
	}
	s.abandon(attempt.Record)
	if again := s.settle(attempt.Record); again.Token != nil || again.Lost != "" {
		s.Error("Settle found a token that is revoked")
	}
	s.abandon(attempt.Record)
}

func strangers(s *suite) {
	if s.ByHand == nil {
		return
	}
	s.ByHand()
	attempt, lost := s.mintAndLose(1)
	if s.Alike {
		s.wantAmbiguous(attempt.Record, lost.ID)
		s.EndByHand(lost.ID)
	} else {
		s.ByHand()
	}
	s.abandon(attempt.Record)
	if made, live := 1+map[bool]int{false: 1}[s.Alike], s.ByHandLive(); live != made {
		s.Errorf("of %d tokens that were made by hand, %d are left", made, live)
	}
}

func alike(s *suite) {
	if !s.Alike {
		return
	}
	attempt, lost := s.mintAndLose(1)
	s.ByHand()
	settlement := s.ask(attempt.Record)
	if len(settlement.Ambiguous) != 2 || settlement.Token != nil || settlement.Lost != "" {
		s.Fatalf("of two tokens that came up, Settle names %d", len(settlement.Ambiguous))
	}
	s.wantAccepted(lost.Value, true)
	for _, id := range settlement.Ambiguous {
		s.disowned[id] = id != lost.ID
	}
	s.wantAmbiguous(attempt.Record, lost.ID)
	s.EndByHand(lost.ID)
	s.abandon(attempt.Record)
	if s.ByHandLive() != 1 {
		s.Error("the token that was made by hand is gone")
	}
}

func claimed(s *suite) {
	attempt := s.prepare(1, day)
	s.Record(attempt.Record)
	attempt.Release()
	other := attempt
	if s.ByHand != nil {
		other, _ = s.mint(2, day)
	}
	settlement := s.settle(attempt.Record)
	if settlement.Token != nil || settlement.Lost != "" || settlement.Ambiguous != nil {
		s.Errorf("of an attempt that was never minted, Settle found something beside revision %d", other.Record.Revision)
	}
}

func printed(s *suite) {
	attempt, got := s.mintAndLose(1)
	settlement := s.ask(attempt.Record)
	for name, value := range map[string]any{
		"an Attempt": attempt, "a pointer to an Attempt": &attempt, "a Token": got, "a pointer to a Token": &got,
		"a Settlement": settlement, "a Settlement's Token": settlement.Token,
	} {
		if _, isAttempt := value.(issuer.Attempt); !isAttempt && !strings.Contains(name, "Attempt") { // Has a function, which JSON has not.
			encoded, err := json.Marshal(value)
			if err != nil {
				s.Errorf("%s as JSON: %v", name, err)
			}
			s.wantRedacted(name+" as JSON", string(encoded), got.Value)
		}
		for _, format := range []string{"%v", "%+v", "%#v"} {
			s.wantRedacted(name+" with "+format, fmt.Sprintf(format, value), got.Value)
		}
	}
}

func errorsPrinted(s *suite) {
	attempt, got := s.mint(1, day)
	reference := s.referenceTo(attempt.Record, &got)
	ended, cancel := context.WithCancel(s.Context())
	cancel()
	other := s.prepare(2, day)
	s.Record(other.Record)
	_, mintErr := s.Issuer.Mint(ended, other)
	other.Release()
	_, settleErr := s.Issuer.Settle(ended, s.inquiry(attempt.Record))
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
	if attempt.Release == nil {
		attempt.Release = func() {}
	}
	return attempt
}

func (s *suite) mint(revision int64, lifetime time.Duration) (issuer.Attempt, issuer.Token) {
	s.Helper()
	attempt := s.prepare(revision, lifetime)
	s.Record(attempt.Record)
	got, err := s.Issuer.Mint(s.Context(), attempt)
	attempt.Release()
	if err != nil {
		s.Fatalf("Mint: %v", err)
	}
	s.known[got.ID] = got.Value.SHA256()
	return attempt, got
}

// mintAndLose mints a token of which only the service and the record of the attempt know afterwards.
func (s *suite) mintAndLose(revision int64) (issuer.Attempt, issuer.Token) {
	s.Helper()
	attempt, lost := s.mint(revision, day)
	delete(s.known, lost.ID)
	return attempt, lost
}

func (s *suite) inquiry(record v1alpha1.PendingToken) issuer.Inquiry {
	request := s.Request(record.Revision, day)
	return issuer.Inquiry{
		Kind: request.Kind, Subject: request.Subject, UID: request.UID, Record: record, Now: request.Now,
		Known:    func(id string) (string, bool) { sha256, ok := s.known[id]; return sha256, ok },
		Disowned: func(id string) bool { return s.disowned[id] },
	}
}

// ask asks once what became of an attempt.
func (s *suite) ask(record v1alpha1.PendingToken) issuer.Settlement {
	s.Helper()
	settlement, err := s.Issuer.Settle(s.Context(), s.inquiry(record))
	if err != nil {
		s.Fatalf("Settle: %v", err)
	}
	return settlement
}

// settle asks until no token can come to life any more.
func (s *suite) settle(record v1alpha1.PendingToken) issuer.Settlement {
	s.Helper()
	settlement := s.ask(record)
	if !settlement.NotBefore.IsZero() {
		s.Advance(settlement.NotBefore.Sub(s.Request(1, day).Now))
		if settlement = s.ask(record); !settlement.NotBefore.IsZero() {
			s.Fatal("Settle has to be asked again at the time when it has to be asked again")
		}
	}
	return settlement
}

func (s *suite) wantAmbiguous(record v1alpha1.PendingToken, id string) {
	s.Helper()
	if got := s.ask(record).Ambiguous; len(got) != 1 || got[0] != id {
		s.Fatalf("Settle names %d tokens as perhaps the attempt's, want the one that is", len(got))
	}
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
	settlement := s.settle(record)
	if settlement.Ambiguous != nil {
		s.Fatal("Settle can't tell which token is the attempt's")
	}
	reference := s.referenceTo(record, settlement.Token)
	if settlement.Lost != "" {
		reference.ID = settlement.Lost
	}
	s.revoke(reference)
	s.Forget(reference)
	s.wantLive(0)
}

// referenceTo is by the record, or by the token once that is known.
func (s *suite) referenceTo(record v1alpha1.PendingToken, found *issuer.Token) issuer.Reference {
	inquiry := s.inquiry(record)
	reference := issuer.Reference{
		Kind: inquiry.Kind, Subject: inquiry.Subject, UID: inquiry.UID, ID: record.ID, SHA256: record.SHA256, Name: record.Name,
		URL: record.URL, AccountID: record.AccountID, Known: inquiry.Known, Disowned: inquiry.Disowned,
	}
	if record.ExpirationTime != nil {
		reference.ExpirationTime = record.ExpirationTime.Time
	}
	if found != nil {
		reference.ID, reference.SHA256 = found.ID, found.Value.SHA256()
	}
	return reference
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
