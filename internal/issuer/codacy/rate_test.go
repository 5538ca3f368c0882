package codacy_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

var narrow = codacy.Limit{Requests: 60, Period: 5 * time.Minute, Burst: 6}

// limited is a new process with a limit, in which the time of each request is kept.
type limited struct {
	*standIn
	mu sync.Mutex
	at []time.Time
}

func newLimited(t *testing.T, name string, kind string) *limited {
	t.Helper()
	l := &limited{standIn: newStandIn(t, edition(t, name))}
	l.restart(patient)
	l.learn(kind)
	l.restartKnowing(func(o *codacy.Options) {
		o.Timeout = patience
		o.Limits = map[string]codacy.Limit{strings.TrimPrefix(l.running.URL, "https://"): narrow}
	})
	l.server.OnRequest(func(_, when string) {
		if when == codacytest.Before {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.at = append(l.at, l.clock.Now())
		}
	})
	return l
}

// wantWithin: in no period there are more requests than the limit allows.
func (l *limited) wantWithin(limit codacy.Limit) {
	l.Helper()
	most, begin := 0, 0
	for end, at := range l.at {
		for at.Sub(l.at[begin]) >= limit.Period {
			begin++
		}
		most = max(most, end-begin+1)
	}
	if allowed := limit.Requests + limit.Burst; most > allowed {
		l.Errorf("in %s there were %d requests, want %d at most", limit.Period, most, allowed)
	}
}

// member is a resource in an hour that is played: at its time it does what is next.
type member struct {
	uid     types.UID
	next    time.Time
	step    func(m *member) error
	revoked int
}

// play has an hour go by for all members.
func (l *limited) hour(members []*member, more func()) {
	l.Helper()
	for end := l.clock.Now().Add(time.Hour); l.clock.Now().Before(end); l.advance(time.Second) {
		for _, m := range members {
			if m.next.After(l.clock.Now()) {
				continue
			}
			if err := m.step(m); err != nil {
				known := new(issuer.Error)
				if !errors.As(err, &known) {
					l.Fatal(err)
				}
				wait := known.RetryAfter
				if known.Stalled {
					wait = 10 * time.Minute // As the engine does.
				}
				m.next = l.clock.Now().Add(wait)
			}
		}
		more()
	}
}

// mintAndRevoke has a member mint, revoke and begin again, as fast as it may.
func (l *limited) mintAndRevoke(kind string) func(*member) error {
	open := map[types.UID]*issuer.Reference{}
	return func(m *member) error {
		if ended := open[m.uid]; ended != nil {
			err := l.connection.Revoke(l.Context(), *ended)
			if err == nil {
				delete(open, m.uid)
				m.revoked++
			}
			return err
		}
		request := l.request(kind, int64(m.revoked)+1, 90*day)
		request.UID = m.uid
		attempt, err := l.connection.Prepare(l.Context(), request)
		if err != nil {
			return err
		}
		defer attempt.Release()
		minted, err := l.connection.Mint(l.Context(), attempt)
		if err != nil {
			return err
		}
		ended := reference(kind, &attempt, minted.ID)
		ended.UID = m.uid
		open[m.uid] = &ended
		return nil
	}
}

func (l *limited) members(count int, step func(*member) error) (all []*member) {
	for i := range count {
		all = append(all, &member{uid: types.UID(fmt.Sprintf("%08d-0000-0000-0000-000000000000", i)), next: l.clock.Now(), step: step})
	}
	return all
}

func TestAnHourOfMintingRevokingAndLookingStaysWithinTheLimit(t *testing.T) {
	for _, row := range []struct {
		edition, kind string
		members       int
		// each is what a token costs from its minting to its end.
		each int
	}{
		{"cloud-2026-08", v1alpha1.KindProjectToken, 40, 2}, {"cloud-2026-08", v1alpha1.KindAccountToken, 40, 2}, {"self-hosted-16", v1alpha1.KindProjectToken, 5, 3},
	} {
		t.Run(row.edition+"/"+row.kind, func(t *testing.T) {
			t.Parallel()
			l := newLimited(t, row.edition, row.kind)
			members := l.members(row.members, l.mintAndRevoke(row.kind))
			looks := 0
			l.hour(members, func() {
				if _, done, err := l.connection.Look(t.Context(), row.kind, subjects[row.kind], l.clock.Now(), nobodyKnows); err != nil {
					t.Fatal(err)
				} else if done {
					looks++
				}
			})
			l.wantWithin(narrow)
			ended := 0
			for _, m := range members {
				ended += m.revoked
				if m.revoked == 0 {
					t.Errorf("%s never had its turn", m.uid)
				}
			}
			if most := 12 * narrow.Requests; len(l.at) < most*8/10 || ended*row.each < most*7/10 {
				t.Errorf("%d requests and %d tokens: the limit allows %d requests", len(l.at), ended, most)
			}
			if looks > 12*narrow.Requests/5+2 {
				t.Errorf("there were %d looks, more than a fifth", looks)
			}
		})
	}
}

func TestAnHourOfLookingUsesAFifth(t *testing.T) {
	l := newLimited(t, "cloud-2026-08", v1alpha1.KindProjectToken)
	looks := 0
	l.hour(nil, func() {
		if _, done, err := l.connection.Look(t.Context(), v1alpha1.KindProjectToken, subjects[v1alpha1.KindProjectToken], l.clock.Now(), nobodyKnows); err != nil {
			t.Fatal(err)
		} else if done {
			looks++
		}
	})
	if want := 12 * narrow.Requests / 5; looks > want+1 || looks < want-1 || len(l.at) != looks {
		t.Errorf("%d looks with %d requests in an hour, want %d", looks, len(l.at), want)
	}
}

// Who is refused asks why, which is more than the one request that it had a turn for.
func TestAnHourOfRefusalsStaysWithinTheLimit(t *testing.T) {
	l := newLimited(t, "cloud-2026-08", v1alpha1.KindProjectToken)
	l.server.SetRole(l.account, "gh", "acme", "api", codacytest.Write)
	l.hour(l.members(200, l.mintAndRevoke(v1alpha1.KindProjectToken)), func() {})
	l.wantWithin(narrow)
	if len(l.at) < 6*narrow.Requests {
		t.Errorf("there were %d requests, so that nothing was tested", len(l.at))
	}
}

// The pages after the first one are requests, too.
func TestAnHourOfLookingAtManyPagesUsesAFifth(t *testing.T) {
	l := newLimited(t, "cloud-2026-08", v1alpha1.KindAccountToken)
	for range 250 {
		l.byHand(v1alpha1.KindAccountToken)
	}
	l.hour(nil, func() {
		if _, _, err := l.connection.Look(t.Context(), v1alpha1.KindAccountToken, "", l.clock.Now(), nobodyKnows); err != nil {
			t.Fatal(err)
		}
	})
	if want := 12 * narrow.Requests / 5; len(l.at) > want+3 || len(l.at) < want/2 {
		t.Errorf("%d requests in an hour, want %d", len(l.at), want)
	}
}

func TestWhoHasNoTurnIsToldWhenAndAsksForNothing(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			l := newLimited(t, "cloud-2026-08", kind)
			attempt := issuer.Attempt{Record: v1alpha1.PendingToken{URL: l.running.URL, AccountID: l.connection.Account().ID}}
			// Each for another resource.
			request := l.request(kind, 1, day)
			_, err := l.connection.Prepare(t.Context(), request)
			got := l.wantReason(err, v1alpha1.ReasonWaitingForTurn, false)
			l.wantWords(got, "60 requests in 5m0s", "127.0.0.1")
			if !got.NothingMinted || got.RetryAfter != 5*time.Second {
				t.Errorf("nothing minted: %t, to be tried again after %s, want 5s", got.NothingMinted, got.RetryAfter)
			}
			inquiry := l.inquiry(kind, attempt.Record)
			inquiry.UID = "second"
			_, err = l.connection.Settle(t.Context(), inquiry)
			if got := l.wantReason(err, v1alpha1.ReasonWaitingForTurn, false); got.RetryAfter != 10*time.Second {
				t.Errorf("to be tried again after %s, want 10s", got.RetryAfter)
			}
			ended := reference(kind, &attempt, "1")
			ended.UID = "third"
			if got := l.wantReason(l.connection.Revoke(t.Context(), ended), v1alpha1.ReasonWaitingForTurn, false); got.RetryAfter != 15*time.Second {
				t.Errorf("to be tried again after %s, want 15s", got.RetryAfter)
			}
			if _, done, err := l.connection.Look(t.Context(), kind, subjects[kind], l.clock.Now(), nobodyKnows); done || err != nil {
				t.Errorf("somebody looked while others wait: %v", err)
			}
			if len(l.at) != 0 {
				t.Errorf("there were %d requests", len(l.at))
			}
			l.advance(5 * time.Second)
			if _, err := l.connection.Prepare(t.Context(), request); err != nil {
				t.Errorf("its turn has come: %v", err)
			}
		})
	}
}

// Repetitions are not waited for, but count.
func TestRepetitionsOfARequestCountForTheLimit(t *testing.T) {
	l := newLimited(t, "cloud-2026-08", v1alpha1.KindProjectToken)
	l.advance(time.Hour) // A burst of six is possible.
	l.server.Fault(codacytest.Times(2, "listRepositoryApiTokens", refusing(http.StatusServiceUnavailable, 0)))
	inquiry := l.inquiry(v1alpha1.KindProjectToken, v1alpha1.PendingToken{URL: l.running.URL, AccountID: l.connection.Account().ID})
	if _, err := l.connection.Settle(t.Context(), inquiry); err != nil {
		t.Fatal(err)
	}
	var waits []time.Duration
	for i := range 4 {
		request := l.request(v1alpha1.KindProjectToken, 1, day)
		request.UID = types.UID(fmt.Sprint(i))
		wait := time.Duration(0)
		if _, err := l.connection.Prepare(t.Context(), request); err != nil {
			wait = l.wantReason(err, v1alpha1.ReasonWaitingForTurn, false).RetryAfter
		}
		waits = append(waits, wait)
	}
	if !slices.Equal(waits, []time.Duration{0, 0, 0, 5 * time.Second}) {
		t.Errorf("after three requests of a burst of six, the next ones wait for %v", waits)
	}
}
