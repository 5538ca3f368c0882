package lifecycle

import (
	"encoding/json"
	"flag"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// The property test draws its observations from this seed, or a new one each time if it is 0.
var seed = flag.Uint64("seed", 0, "of the property test; 0: a new one")

const (
	observations = 20_000
	// mostSteps is how many decisions one reconcile may take. The engine gives up after as many.
	mostSteps = 12
	// mostPrevious is how many previous tokens the schema of the status allows.
	mostPrevious = 32
)

func TestPlansKeepTheirPromisesWhateverIsObserved(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	for n := range uint64(observations) {
		m := newModel(rand.New(rand.NewPCG(*seed, n)))
		if broken := m.run(); broken != "" {
			t.Fatalf("%s\nobserved first: %s\nobserved then: %s\nplans: %s\nrepeat it with: go test ./internal/lifecycle -args -seed=%d (observation %d)",
				broken, show(m.began), show(m.observed), show(m.plans), *seed, n)
		}
	}
}

// model is a world in which plans are carried out, now and then by a process that is killed in the middle, and in which
// others do this and that between one reconcile and the next.
type model struct {
	*rand.Rand
	observed Observation
	// live is the Secret that the API server has, before the one that it had; unlabeled: the cache does not show it.
	live, before Secret
	unlabeled    bool
	// refuses: the API server does not let the Secret be written.
	refuses bool
	// outside: the tokens are made by a service outside of the cluster, which chooses their values, fails now and then, and
	// forgets tokens; forgot: it did so with the current one.
	outside, forgot bool
	// thief: all that others do is to take the token out of the Secret, or to put another one there.
	thief bool
	// minted is when tokens were minted that were not due, since the spec changed; counted: the open attempt is one of them.
	minted  []time.Time
	counted bool
	// restarts: workloads are restarted for every token that replaces another one; restarted are the revisions for which
	// they were.
	restarts  bool
	restarted map[int64]bool

	// leftInSecret is what the Secret held when it was let go.
	leftInSecret string

	crashes, reconciles int
	// began is what the reconcile observed first, and plans are what it decided.
	began Observation
	plans []Plan
}

func newModel(random *rand.Rand) *model {
	m := &model{Rand: random, crashes: random.IntN(2), reconciles: 1 + random.IntN(4), outside: random.IntN(2) == 0}
	m.restarts, m.restarted = random.IntN(2) == 0, map[int64]bool{}
	m.observed = randomObservation(random, m.outside)
	m.live, m.forgot = m.observed.Secret, m.observed.Missing
	if m.refuses = m.chance(25); m.chance(10) {
		m.thief, m.reconciles = true, 10
	}
	if !m.observed.Secret.Confirmed && m.chance(50) { // The cache is behind.
		m.live = randomSecret(random, &m.observed)
	}
	m.began = clone(m.observed)
	return m
}

func (m *model) chance(percent int) bool { return m.IntN(100) < percent }

// run decides and acts until there is nothing to do, several times, and says which promise a plan broke.
func (m *model) run() (broken string) {
	for {
		before, spare := clone(m.observed), slices.Clone(spareOf(m.observed.Previous))
		plan := Decide(m.observed)
		m.plans = append(m.plans, plan)
		if !reflect.DeepEqual(before, m.observed) || !slices.Equal(spare, spareOf(m.observed.Previous)) {
			return "a decision changed what it judges"
		}
		if broken := m.forbidden(&plan); broken != "" {
			return broken
		}
		if plan.Action == Wait {
			broken := m.waits(&plan)
			if m.reconciles--; broken != "" || m.reconciles == 0 {
				return broken
			}
			m.others(&plan)
			continue
		}
		if len(m.plans) == mostSteps {
			return "no rest after " + strconv.Itoa(mostSteps) + " steps"
		}
		m.apply(&plan)
		if len(m.observed.Previous) > mostPrevious {
			return "more previous tokens than the status can hold"
		}
	}
}

// spareOf is the room behind a slice, into which a careless append writes.
func spareOf(tokens []Token) []Token { return tokens[len(tokens):cap(tokens)] }

// forbidden says what a plan does that none may ever do.
func (m *model) forbidden(plan *Plan) string {
	o := &m.observed
	if _, blocked := m.kept(plan.Action); blocked {
		return "asked a service that can't be asked, or did again what failed before its time"
	}
	switch plan.Action {
	case Mint:
		switch {
		case o.Adopting:
			return "minted before the token made by hand was taken over"
		case o.HoldsCurrent() && !m.rotationDue():
			return "minted for nothing"
		case o.HoldsCurrent() && !m.renewalDue() && !m.lostAttempt() && m.accepted() >= 3:
			return "minted because it was asked for, beside three tokens that live"
		case m.lostAttempt() && !o.Secret.Tried:
			return "minted after a failed attempt without a dry run"
		case plan.Unscheduled == (o.HoldsCurrent() && !m.lostAttempt()):
			return "took a lost token for one that is due, or the other way round"
		case !o.Finalizer:
			return "minted without the finalizer"
		case o.Refusal != nil || o.IssuerProblem != nil:
			return "minted though the issuer does not give it"
		case plan.Unscheduled && o.Storm != nil:
			return "minted in a storm"
		case plan.Unscheduled && max(within(o.Now, o.Mints), within(o.Now, m.minted)) >= MaxUnscheduledMints:
			return "minted too often within an hour"
		case len(o.Previous) >= MaxPrevious:
			return "minted beside too many previous tokens"
		case plan.Revision <= o.LastRevision,
			o.Current != nil && plan.Revision <= o.Current.Revision,
			slices.ContainsFunc(o.Previous, func(p Token) bool { return plan.Revision <= p.Revision }):
			return "minted under a revision that is not new"
		}
		return m.mayWrite()
	case Rewrite:
		if !o.HoldsCurrent() || !o.Secret.Outdated {
			return "rewrote a Secret that was up to date, or to be replaced"
		}
		return m.mayWrite()
	case TryWrite:
		if o.Secret.RefusedAgain || o.Secret.Tried || o.Secret.Refused == nil && !m.lostAttempt() {
			return "tried what was not refused, or was tried before"
		}
		unrefused := *m
		unrefused.observed.Secret.Refused = nil
		return unrefused.mayWrite()
	case ReadSecret:
		if o.Secret.Confirmed {
			return "read the Secret again"
		}
	case AddFinalizer:
		if o.Finalizer || o.Deleting {
			return "added a finalizer that is there, or can't be"
		}
	case SeekHolders:
		return m.maySeek(plan.Revisions)
	case Revoke:
		return m.mayRevoke(plan.Revisions)
	case StrikeOff:
		return m.mayStrikeOff(plan.Revisions)
	case Look:
		switch {
		case o.Current == nil || o.LookAt.IsZero() || o.LookAt.After(o.Now):
			return "looked at the service for nothing, or too early"
		case o.Deleting || o.NamespaceTerminating || o.Suspended || o.SpecProblem != nil:
			return "looked at the service for a resource that is to be left alone"
		case !o.HoldsCurrent() || o.Secret.Outdated || o.Pending != nil:
			return "looked at the service before the Secret was in order"
		}
	case Settle:
		if o.Pending == nil || (!o.Secret.Confirmed && !o.Deleting) {
			return "settled what is not open, or may be finished"
		}
	case Finish:
		if (o.Deleting && !o.Retain) || !o.Secret.Confirmed || o.Secret.State != SecretOurs || o.Secret.SHA256 != o.Pending.SHA256 {
			return "finished an attempt whose token is not in the Secret"
		}
	case Adopt:
		return m.mayAdopt()
	case Restart:
		switch {
		case o.RestartAt.IsZero() || o.RestartAt.After(o.Now):
			return "restarted workloads for nothing, or too early"
		case o.Deleting || o.NamespaceTerminating || o.Suspended:
			return "restarted workloads for a resource that is to be left alone"
		case !o.HoldsCurrent():
			return "restarted workloads that would not be given the current token"
		case m.restarted[o.Current.Revision]:
			return "restarted workloads twice for one token"
		}
	case DeleteSecret:
		switch {
		case o.Retain:
			return "deleted a Secret that is retained"
		case !o.Deleting || o.Secret.State != SecretOurs || o.exists():
			return "deleted a Secret that is not ours or is needed"
		}
	case LetGoSecret:
		switch {
		case !o.Deleting || !o.Retain || o.Secret.State != SecretOurs:
			return "let go of a Secret that is not ours or is not retained"
		case o.Pending != nil || len(m.toRevoke()) > 0:
			return "let go of a Secret before what is not retained had ended"
		}
	case LeaveBehind:
		return m.mayLeave(plan.Revisions)
	case Release:
		if !o.Deleting || o.exists() || m.live.State == SecretOurs {
			return "released the finalizer while tokens live, or their Secret"
		}
	}
	return ""
}

// mayWrite says why the Secret may not be written now, with whatever token.
func (m *model) mayWrite() string {
	switch o := &m.observed; {
	case o.Pending != nil:
		return "wrote while an attempt is open"
	case o.NamespaceTerminating:
		return "wrote into a namespace that is being deleted"
	case o.Deleting:
		return "wrote for a resource that is being deleted"
	case o.Suspended:
		return "wrote for a resource that is suspended"
	case o.SpecProblem != nil:
		return "wrote for a spec that is wrong"
	case !o.Secret.Confirmed:
		return "wrote before the Secret was read"
	case o.Secret.State == SecretForeign || o.Secret.Conflict != nil:
		return "wrote a Secret that is somebody else's or immutable"
	case o.Secret.Refused != nil:
		return "wrote what is refused"
	}
	return ""
}

// mayAdopt says why the token that was made by hand may not be taken over now.
func (m *model) mayAdopt() string {
	switch o := &m.observed; {
	case !o.Adopting || o.exists():
		return "took over a token once more, or beside others"
	case o.Deleting || o.NamespaceTerminating || o.Suspended || o.SpecProblem != nil:
		return "took over a token for a resource that is to be left alone"
	case !o.Finalizer:
		return "took over a token without the finalizer"
	case o.Refusal != nil || o.IssuerProblem != nil:
		return "took over a token though the issuer does not give it"
	case !o.Secret.Confirmed || o.Secret.Conflict != nil:
		return "took over a token from a Secret that was not read, or is not to be written"
	}
	return ""
}

// mayLeave says why one of these tokens, or the open attempt, may not be left behind now.
func (m *model) mayLeave(revisions []int64) string {
	o := &m.observed
	switch {
	case len(revisions) == 0:
		return "left nothing behind"
	case !o.Deleting:
		return "left tokens of a resource behind that lives"
	case !o.Retain && !o.Abandon:
		return "left tokens behind that nobody wants to live on"
	case o.Pending != nil && !slices.Equal(revisions, []int64{o.Pending.Revision}):
		return "left tokens behind before the open attempt was settled"
	case o.Pending != nil:
		if !m.hopeless(Settle) {
			return "left an attempt behind that can be settled, or may be by and by"
		}
		return ""
	}
	ending := m.toRevoke()
	hopeless := m.hopeless(Revoke)
	for _, revision := range revisions {
		abandoned := slices.IndexFunc(ending, func(t Token) bool { return t.Revision == revision })
		switch {
		case !slices.ContainsFunc(m.all(), func(t Token) bool { return t.Revision == revision }):
			return "left a token behind that is not there"
		case abandoned >= 0 && !hopeless:
			return "left a token behind that can be revoked, or may be by and by"
		case abandoned >= 0 && m.provenDead(&ending[abandoned]):
			return "left a token behind that is dead"
		case abandoned >= 0:
		case !o.Retain:
			return "left a token behind that is needed"
		case len(ending) > 0:
			return "left a token behind before what is not retained had ended"
		case !o.Secret.Confirmed || o.Secret.State == SecretOurs || m.live.State == SecretOurs:
			return "left a token behind before its Secret was let go"
		}
	}
	return m.ordered(revisions)
}

// hopeless says whether an action can't be done for a reason that does not pass, and the user does not insist on it.
func (m *model) hopeless(action Action) bool {
	problem, kept := m.kept(action)
	passing := []*Problem{nil, progressing, waitingForTurn, stillSettling}
	return kept && m.observed.Abandon && !slices.Contains(passing, problem)
}

// ordered says whether what the operator asks the service with comes before other tokens.
func (m *model) ordered(revisions []int64) string {
	for _, t := range m.toRevoke() {
		if at := slices.Index(revisions, t.Revision); t.InUse && !m.provenDead(&t) && at >= 0 && at < len(revisions)-1 {
			return "ended what the operator asks the service with before the rest"
		}
	}
	return ""
}

// all are the previous tokens and the current one.
func (m *model) all() []Token {
	tokens := slices.Clone(m.observed.Previous)
	if m.observed.Current != nil {
		tokens = append(tokens, *m.observed.Current)
	}
	return tokens
}

// retained says whether the user wants a token to outlive the resource, which is what the Secret gave to somebody.
func (m *model) retained(t *Token) bool {
	o := &m.observed
	return o.Retain && (!t.Replaced.IsZero() || o.Current != nil && o.Current.Revision == t.Revision || o.inSecret(t))
}

// kept says whether something keeps an action from being done, and what is to be told of it.
func (m *model) kept(action Action) (problem *Problem, kept bool) {
	o := &m.observed
	if o.ServiceProblem != nil && slices.Contains([]Action{Mint, Settle, Revoke, Look, Adopt}, action) {
		return o.ServiceProblem, true
	}
	if failure := o.Failures[action]; failure.Until.After(o.Now) {
		return failure.Problem, true
	}
	return nil, false
}

func (m *model) renewalDue() bool {
	o := &m.observed
	return !o.RenewalTime.IsZero() && !o.RenewalTime.After(o.Now)
}

func (m *model) rotationDue() bool { return m.renewalDue() || m.observed.Requested }

// accepted counts the previous tokens that the service accepts.
func (m *model) accepted() int {
	return len(slices.DeleteFunc(slices.Clone(m.observed.Previous), func(p Token) bool { return p.Absent || p.expired(m.observed.Now) }))
}

// mayBeHeld says whether a container may hold a token that is to be kept for it.
func (m *model) mayBeHeld(p *Token) bool {
	return m.observed.Now.Before(p.HeldUntil) && (p.Held || p.SeekAt.IsZero())
}

// toSeek are the tokens whose holders are to be looked for.
func (m *model) toSeek() (revisions []int64) {
	o := &m.observed
	for _, p := range o.Previous {
		inSecret := o.Secret.State == SecretOurs && p.SHA256 != "" && o.Secret.SHA256 == p.SHA256
		if !p.Replaced.IsZero() && !p.RevokeAt.After(o.Now) && !p.expired(o.Now) && !inSecret && m.mayBeHeld(&p) && !p.SeekAt.After(o.Now) {
			revisions = append(revisions, p.Revision)
		}
	}
	return revisions
}

func (m *model) maySeek(revisions []int64) string {
	switch o := &m.observed; {
	case o.Deleting || o.NamespaceTerminating || o.Suspended:
		return "looked for holders of a resource that is to be left alone"
	case len(revisions) == 0 || !slices.Equal(revisions, m.toSeek()):
		return "looked for holders for nothing, or too early"
	}
	return ""
}

// lostAttempt says whether, since the current token was made, there was another that never got into the Secret.
func (m *model) lostAttempt() bool {
	o := &m.observed
	return slices.ContainsFunc(o.Previous, func(p Token) bool {
		return p.Replaced.IsZero() && !p.Absent && (o.Current == nil || o.Current.Revision < p.Revision)
	})
}

// mayStrikeOff says why one of these tokens may not be struck off without being revoked.
func (m *model) mayStrikeOff(revisions []int64) string {
	o := &m.observed
	tokens := m.toRevoke()
	_, kept := m.kept(Revoke)
	_, unsettled := m.kept(Settle)
	switch {
	case len(revisions) == 0:
		return "struck off nothing"
	case !kept:
		return "struck off what could be revoked"
	case o.Deleting && o.Pending != nil && !unsettled:
		return "struck off tokens before the open attempt was settled"
	case !o.Deleting && (o.Suspended || o.NamespaceTerminating || !o.Secret.Confirmed):
		return "struck off tokens of a resource that is to be left alone, or before the Secret was read"
	}
	for _, revision := range revisions {
		at := slices.IndexFunc(tokens, func(p Token) bool { return p.Revision == revision })
		if at < 0 {
			return "struck off a token that is not there, or needed"
		}
		if !m.provenDead(&tokens[at]) {
			return "struck off a token that may live"
		}
	}
	if o.Deleting {
		return m.ordered(revisions)
	}
	return ""
}

// provenDead says whether a token is known to be gone, so that the service need not be asked to end it.
func (m *model) provenDead(t *Token) bool { return t.Refused || dead(t, m.observed.Now) }

// dead says whether a token ended an hour ago, by the word of the service.
func dead(t *Token, now time.Time) bool {
	return !t.Absent && !t.Expires.IsZero() && now.Sub(t.Expires) >= time.Hour
}

// mayRevoke says why one of these tokens may not be revoked now.
func (m *model) mayRevoke(revisions []int64) string {
	o := &m.observed
	ending := o.Deleting || o.NamespaceGone
	switch {
	case len(revisions) == 0:
		return "revoked nothing"
	case o.Suspended && !ending:
		return "revoked while suspended"
	}
	for _, revision := range revisions {
		at := slices.IndexFunc(o.Previous, func(p Token) bool { return p.Revision == revision })
		if at < 0 && (o.Current == nil || o.Current.Revision != revision) {
			return "revoked a token that is not there"
		}
		token := o.Current
		if at >= 0 {
			token = &o.Previous[at]
		}
		switch {
		case ending && m.retained(token):
			return "revoked a token that is retained"
		case o.Retain && m.leftInSecret != "" && m.leftInSecret == token.SHA256:
			return "revoked what was left in the Secret on purpose"
		case ending && o.Retain && m.live.State == SecretOurs && token.SHA256 != "" && m.live.SHA256 == token.SHA256:
			return "revoked what the Secret holds, which is retained"
		case ending && token.InUse && o.Needed != nil:
			return "revoked a token that is needed"
		case ending || at >= 0 && token.expired(o.Now):
			continue
		case at < 0:
			return "revoked the current token"
		case token.InUse:
			return "revoked a token that the operator asks the service with"
		}
		previous := o.Previous[at]
		closedLongAgo := !previous.Closed.IsZero() && o.Now.Sub(previous.Closed) >= time.Hour
		switch attempt := previous.Replaced.IsZero() && !closedLongAgo; {
		case m.live.State == SecretOurs && previous.SHA256 != "" && m.live.SHA256 == previous.SHA256:
			return "revoked what the Secret holds"
		case attempt && previous.Absent:
			return "asked too early for a token of an attempt that had none"
		case attempt && (o.Current == nil || o.Current.Revision < revision):
			return "revoked an attempt that may still be on its way into the Secret"
		case previous.RevokeAt.After(o.Now):
			return "revoked a token within its grace period"
		case !attempt && m.mayBeHeld(&previous):
			return "revoked a token that a container may hold"
		}
	}
	if o.Deleting {
		return m.ordered(revisions)
	}
	return ""
}

// within counts the times that are less than an hour from now.
func within(now time.Time, times []time.Time) int {
	count := 0
	for _, at := range times {
		if now.Sub(at).Abs() < time.Hour {
			count++
		}
	}
	return count
}

// exists says whether there is a token, or may be one.
func (o *Observation) exists() bool {
	return o.Current != nil || o.Pending != nil || len(o.Previous) > 0
}

// waits says what is wrong with a plan to wait: a cause that is none, a time that is past, or one by which a change
// would be missed.
func (m *model) waits(plan *Plan) string {
	o := &m.observed
	if o.Deleting && !o.Finalizer {
		return ""
	}
	if !m.because(plan.Problem) {
		return "waits without cause"
	}
	there := o.Current != nil && !o.Current.expired(o.Now)
	if there && !o.HoldsCurrent() && !o.Secret.Confirmed && !o.NamespaceTerminating && !o.Deleting {
		return "says that the token is lost before the Secret was read"
	}
	if !plan.Next.IsZero() && !plan.Next.After(o.Now) {
		return "waits for what is past"
	}
	if broken := m.leaves(); broken != "" {
		return broken
	}
	if plan.Problem == o.Secret.Refused && o.Secret.Refused != nil && (plan.Next.IsZero() || plan.Next.After(o.Now.Add(RefusedRetry))) {
		return "waits too long with a write that is refused"
	}
	if plan.Problem == othersNeedIt && (plan.Next.IsZero() || plan.Next.After(o.Now.Add(NeededRecheck))) {
		return "waits too long for what nothing tells of: that a token is not needed any more"
	}
	if o.Adopting && !o.Deleting && plan.Problem == managedElsewhere && (plan.Next.IsZero() || plan.Next.After(o.Now.Add(AdoptRecheck))) {
		return "waits too long for what nothing tells of: that a Secret may be written"
	}
	longest := 400 * day
	if !plan.Next.IsZero() {
		longest = plan.Next.Sub(o.Now)
	}
	later := clone(*o)
	later.Storm = storm(plan)
	later.Now = o.Now.Add(time.Duration(m.Int64N(int64(longest))))
	then := Decide(later)
	if then.Action != Wait || !reflect.DeepEqual(then.Problem, plan.Problem) {
		return "missed by waiting: " + show(then)
	}
	if !o.Deleting && later.HoldsCurrent() != o.HoldsCurrent() {
		return "missed by waiting: the token's expiry"
	}
	return ""
}

// leaves says what is left undone that needs no Secret to be written.
func (m *model) leaves() string {
	o := &m.observed
	if !o.Deleting && (o.Suspended || o.NamespaceTerminating) {
		return ""
	}
	_, unrevoked := m.kept(Revoke)
	for _, t := range m.toRevoke() {
		switch {
		case !unrevoked:
			return "leaves a token that is to be revoked"
		case m.provenDead(&t):
			return "leaves a token that is to be struck off"
		}
	}
	if _, failed := m.kept(Restart); !failed && !o.Deleting && o.HoldsCurrent() && !o.RestartAt.IsZero() && !o.RestartAt.After(o.Now) {
		return "leaves workloads that are to be restarted"
	}
	if !o.Deleting && len(m.toSeek()) > 0 {
		return "leaves a token whose holders are to be looked for"
	}
	if _, unseen := m.kept(Look); !unseen && m.inOrder() && !o.LookAt.IsZero() && !o.LookAt.After(o.Now) {
		return "leaves a token that is to be looked for"
	}
	return ""
}

// toRevoke are the tokens that have had their time.
func (m *model) toRevoke() []Token {
	o := &m.observed
	if o.Deleting {
		ending := slices.DeleteFunc(m.all(), func(t Token) bool { return m.retained(&t) })
		last := func(t Token) bool { return t.InUse && (o.Needed != nil || !m.provenDead(&t)) }
		before := slices.DeleteFunc(slices.Clone(ending), last)
		if len(before) > 0 || o.Pending != nil || o.Needed != nil {
			return before
		}
		return ending
	}
	return slices.DeleteFunc(slices.Clone(o.Previous), func(p Token) bool {
		switch {
		case p.expired(o.Now):
			return false
		case o.Secret.State == SecretOurs && p.SHA256 != "" && o.Secret.SHA256 == p.SHA256:
			return true
		case p.InUse:
			return true
		case !p.Replaced.IsZero():
			return p.RevokeAt.After(o.Now) || m.mayBeHeld(&p)
		case !p.Absent && o.Current != nil && o.Current.Revision > p.Revision:
			return false
		default:
			return p.Closed.IsZero() || o.Now.Sub(p.Closed) < time.Hour
		}
	})
}

// inOrder says whether there is nothing to mint, to settle or to write.
func (m *model) inOrder() bool {
	o := &m.observed
	return !o.Deleting && !o.NamespaceTerminating && !o.Suspended && o.SpecProblem == nil &&
		o.HoldsCurrent() && !o.Missing && o.Pending == nil && !o.Secret.Outdated && !m.rotationDue()
}

// because says whether a problem, or none, is what keeps a token from being minted, or from being as it should be, or one
// from being revoked that has had its time.
func (m *model) because(problem *Problem) bool {
	o := &m.observed
	settling, unsettled := m.kept(Settle)
	minting, unminted := m.kept(m.coming())
	revoking, unrevoked := m.kept(Revoke)
	looking, _ := m.kept(Look)
	open, holds := o.Pending != nil, o.HoldsCurrent() && !o.Missing
	switch {
	case o.Deleting && open:
		if m.hopeless(Settle) {
			return m.notLeft(problem)
		}
		return unsettled && problem == settling
	case o.Deleting && len(m.toRevoke()) > 0:
		if m.hopeless(Revoke) {
			return m.notLeft(problem)
		}
		return unrevoked && problem == revoking
	case o.Deleting && o.Retain:
		return o.exists() && o.Secret.Confirmed && o.Secret.State != SecretOurs && m.notLeft(problem)
	case o.Deleting:
		return o.exists() && o.Needed != nil && problem == o.Needed
	}

	unblocked := !o.NamespaceTerminating && !o.Suspended && o.SpecProblem == nil
	outdated := holds && o.Secret.Outdated
	// left: nothing is to be done but what the service keeps from being done; told: there is something to say of it.
	left := m.inOrder() || o.Suspended && holds
	overdue := len(m.toRevoke()) > 0
	told := o.Refusal != nil || open && settling != nil ||
		!open && !o.Suspended && (overdue && revoking != nil || looking != nil && o.ServiceProblem == nil)
	switch {
	case problem == nil && open && !o.Suspended:
		return unblocked && unsettled && !told
	case problem == nil:
		return left && !told || unblocked && !outdated && (!holds || m.rotationDue()) && unminted && minting == nil
	case problem == settling && open:
		return unsettled && o.Refusal == nil && (unblocked || o.Suspended && holds)
	case problem == minting && !open && unblocked && (!holds || m.rotationDue() && !outdated):
		return unminted && o.Refusal == nil && o.IssuerProblem == nil
	case problem == revoking && !open:
		return left && !o.Suspended && unrevoked && overdue && o.Refusal == nil
	case problem == looking:
		return left && !open && !o.Suspended && o.Refusal == nil && o.ServiceProblem == nil
	}
	switch problem.Reason {
	case v1alpha1.ReasonNamespaceTerminating:
		return o.NamespaceTerminating
	case v1alpha1.ReasonSuspended:
		return o.Suspended && !holds
	case v1alpha1.ReasonInvalidTemplate:
		return problem == o.SpecProblem && !o.Suspended
	case v1alpha1.ReasonNotGranted:
		return problem == o.Refusal && (unblocked && (open || !outdated) || o.Suspended)
	case v1alpha1.ReasonIssuerNotReady:
		return problem == o.IssuerProblem && unblocked && !outdated && !open
	case v1alpha1.ReasonSecretConflict:
		return problem == o.Secret.Conflict && o.Secret.Confirmed && unblocked && !open
	case v1alpha1.ReasonSecretRefused:
		return problem == o.Secret.Refused && o.Secret.RefusedAgain && unblocked && !open && !o.Adopting
	case v1alpha1.ReasonSecretManagedElsewhere:
		return problem == o.Secret.Conflict && o.Secret.Confirmed && unblocked && o.Adopting
	case v1alpha1.ReasonMintStorm:
		return !o.Adopting && (!holds || m.lostAttempt()) && (problem == o.Storm || within(o.Now, o.Mints) >= MaxUnscheduledMints) && unblocked && !open
	case v1alpha1.ReasonRevisionsUsedUp:
		return o.LastRevision >= v1alpha1.MaxRevision
	case v1alpha1.ReasonTooManyPrevious:
		crowd := len(o.Previous) >= MaxPrevious || o.Requested && !m.renewalDue() && holds && m.accepted() >= 3
		return crowd && unblocked && !outdated && !open && !o.Adopting
	default:
		return false
	}
}

// coming is the action by which a resource that has no token gets one.
func (m *model) coming() Action {
	if m.observed.Adopting {
		return Adopt
	}
	return Mint
}

// notLeft says whether tokens wait to be left behind, and a problem, or none, is what that waits for.
func (m *model) notLeft(problem *Problem) bool {
	leaving, failed := m.kept(LeaveBehind)
	return failed && problem == leaving
}

// storm is what the resource's condition remembers of a storm.
func storm(plan *Plan) *Problem {
	if plan.Problem == nil || plan.Problem.Reason != v1alpha1.ReasonMintStorm {
		return nil
	}
	return plan.Problem
}

// others let time pass until the next reconcile, and do something in the meantime.
func (m *model) others(plan *Plan) {
	o := &m.observed
	o.Storm = storm(plan)
	if plan.Problem != o.Secret.Refused { // The condition forgets it.
		o.Secret.Refused = nil
	}
	o.Now = o.Now.Add(time.Duration(m.IntN(15)) * time.Minute)
	deed := m.IntN(12)
	if m.outside {
		deed = m.IntN(20)
	}
	switch {
	case m.thief:
		deed = 0
	case !plan.Next.IsZero() && m.chance(50):
		o.Now = plan.Next
	}
	switch deed {
	case 0, 1: // Somebody takes the token away, and perhaps puts one there that is an older one.
		stolen := Secret{State: SecretState(m.IntN(2))}
		if o.Adopting {
			stolen.State = SecretAbsent
		}
		if stolen.State == SecretOurs && len(o.Previous) > 0 {
			stolen.SHA256 = o.Previous[m.IntN(len(o.Previous))].SHA256
		}
		m.put(stolen)
	case 2:
		m.put(randomSecret(m.Rand, o))
	case 3:
		m.unlabeled = true
	case 4, 5, 6: // The spec changes.
		o.Suspended, o.SpecProblem = m.chance(30), nil
		if m.chance(30) {
			o.SpecProblem = wrongSpec
		}
		o.Requested, o.Retain = m.chance(30), m.outside && m.chance(50)
		if o.Adopting && m.chance(30) {
			o.Adopting = false
			for _, made := range []*Secret{&m.live, &m.before} {
				if made.State == SecretForeign { // It is to be left alone from now on.
					made.Conflict = conflict
				}
			}
		}
		o.Storm, o.Mints, m.minted, o.Failures = nil, nil, nil, nil
		m.counted = false
		m.live.Outdated = m.live.State == SecretOurs
	case 7, 8: // The issuer does.
		if o.IssuerProblem, o.Refusal = nil, nil; m.chance(30) {
			o.IssuerProblem = notReady
		} else if m.chance(30) {
			o.Refusal = notGranted
		}
	case 9:
		m.refuses = !m.refuses
	case 10: // Somebody takes the finalizer away.
		o.Finalizer = o.Finalizer && o.Deleting
	case 11:
		o.Deleting = true
	case 12, 13: // The service goes down, or comes back.
		if o.ServiceProblem != nil {
			o.ServiceProblem = nil
		} else {
			o.ServiceProblem = randomServiceProblem(m.Rand)
		}
	case 14: // It loses the token, and somebody else's look may have shown that.
		m.forgot = o.Current != nil
		o.Missing = m.forgot && m.chance(30)
	case 15:
		o.Failures = randomFailures(m.Rand, o.Now)
	case 16:
		o.Abandon = !o.Abandon
	case 17: // The operator asks the service with the token in the Secret, or with another one, from now on.
		use(o, m.chance(70))
	case 18:
		if o.Needed = nil; o.inUse() && m.chance(50) {
			o.Needed = othersNeedIt
		}
	case 19: // Somebody else ends a token, and it takes a while to be proven.
		if o.Current != nil && m.chance(50) {
			o.Current.Refused = true
		} else if len(o.Previous) > 0 {
			o.Previous[m.IntN(len(o.Previous))].Refused = true
		}
	}
	m.begin()
}

// put is a write of the Secret.
func (m *model) put(secret Secret) { m.before, m.live = m.live, secret }

// begin is the beginning of another reconcile: it sees of the Secret what the cache shows, which may be behind and has
// nothing without our label.
func (m *model) begin() {
	switch {
	case m.unlabeled:
		m.see(Secret{}, false)
	case m.chance(20) && !m.observed.Deleting:
		m.see(m.before, false)
	default:
		m.see(m.live, false)
	}
	m.observed.Secret.RefusedAgain, m.observed.Secret.Tried = false, false
	m.began, m.plans = clone(m.observed), nil
}

func (m *model) see(secret Secret, confirmed bool) {
	o := &m.observed
	secret.Confirmed, secret.Refused, secret.RefusedAgain = confirmed, o.Secret.Refused, o.Secret.RefusedAgain
	secret.Tried = o.Secret.Tried
	o.Secret = secret
}

// apply carries out a plan as the engine does.
func (m *model) apply(plan *Plan) {
	o := &m.observed
	switch plan.Action {
	case AddFinalizer:
		o.Finalizer = true
	case ReadSecret:
		m.see(m.live, true)
		for i := range o.Previous {
			seen := &o.Previous[i]
			if o.Secret.State == SecretOurs && seen.SHA256 != "" && o.Secret.SHA256 == seen.SHA256 && seen.Replaced.IsZero() {
				seen.Replaced, seen.RevokeAt, seen.HeldUntil = o.Now, o.Now.Add(day), o.Now.Add(time.Duration(m.IntN(3))*day)
			}
		}
	case TryWrite:
		m.tryWrite()
	case Rewrite:
		if m.refuses {
			m.tryWrite()
			return
		}
		m.live.Outdated, m.unlabeled = false, false
		m.see(m.live, true)
	case SeekHolders:
		for i := range o.Previous {
			if p := &o.Previous[i]; slices.Contains(plan.Revisions, p.Revision) {
				p.Held, p.SeekAt = m.chance(50), o.Now.Add(time.Minute)
			}
		}
	case Mint:
		o.LastRevision = plan.Revision
		if o.Requested && o.RenewalTime.After(o.Now) {
			o.RenewalTime = o.Now
		}
		o.Requested = false
		o.Pending = &Token{Revision: plan.Revision, Expires: m.expiry()}
		if !m.outside {
			o.Pending.SHA256 = valueOf(plan.Revision)
		}
		if m.counted = plan.Unscheduled; m.counted {
			o.Mints = append(o.Mints, o.Now)
			o.Mints = o.Mints[max(0, len(o.Mints)-MaxUnscheduledMints):]
			m.minted = append(m.minted, o.Now)
		}
		if m.killed() {
			return
		}
		if m.fails(Mint, limitReached) {
			if m.chance(50) { // It is sure that nothing was made.
				m.dropAttempt()
			}
			return
		}
		m.write()
	case Finish:
		m.finish()
	case Settle:
		if m.fails(Settle, ambiguous) {
			return
		}
		shown := m.chance(50) || m.live.State == SecretOurs && m.live.SHA256 == valueOf(o.Pending.Revision)
		if shown && !o.Deleting && !o.NamespaceTerminating && o.Secret.Conflict == nil && o.Secret.Refused == nil {
			m.write()
			return
		}
		closed := Token{Revision: o.Pending.Revision, SHA256: o.Pending.SHA256, Expires: o.Pending.Expires}
		if m.outside {
			closed.Closed, closed.Absent = o.Now, !shown && m.chance(50)
		}
		if closed.Absent {
			m.dropAttempt()
			if m.chance(50) { // Its token would not be recognized, should it come up late.
				return
			}
		}
		o.Previous, o.Pending = append(o.Previous, closed), nil
	case Revoke:
		revisions := plan.Revisions
		if m.fails(Revoke, unproven) { // Of one or another.
			revisions = slices.DeleteFunc(slices.Clone(revisions), func(int64) bool { return m.chance(50) })
		}
		m.drop(revisions)
	case StrikeOff:
		m.drop(plan.Revisions)
	case Adopt:
		if m.live.State == SecretAbsent {
			m.fail(Adopt, notTaken)
			return
		}
		if m.fails(Adopt, notTaken) {
			return
		}
		o.Adopting, o.LastRevision = false, 1
		o.Current = &Token{Revision: 1, SHA256: valueOf(1), Expires: m.expiry()}
		o.RenewalTime = AdoptedRenewalTime(o.Now, o.Current.Expires, 90*day, 30*day, m.Float64())
		m.put(Secret{State: SecretOurs, SHA256: valueOf(1), Outdated: true})
		m.see(m.live, true)
	case Restart:
		if m.chance(30) {
			m.fail(Restart, notRestarted)
			return
		}
		o.RestartAt, m.restarted[o.Current.Revision] = time.Time{}, true
		delete(o.Failures, Restart)
	case Look:
		o.LookAt = o.Now.Add(time.Duration(1+m.IntN(60)) * time.Minute)
		if !m.fails(Look, roleMissing) {
			o.Missing = m.forgot
		}
	case LeaveBehind:
		if m.fails(LeaveBehind, listFull) || m.killed() {
			return // In the second case they are written down twice.
		}
		if m.drop(plan.Revisions); o.Pending != nil && slices.Contains(plan.Revisions, o.Pending.Revision) {
			o.Pending = nil
		}
	case LetGoSecret:
		if m.live.State == SecretOurs {
			for i := range o.Previous { // It is written down before.
				if p := &o.Previous[i]; p.Replaced.IsZero() && p.SHA256 != "" && p.SHA256 == m.live.SHA256 {
					p.Replaced = o.Now
				}
			}
			letGo := m.live
			m.leftInSecret = letGo.SHA256
			letGo.State, letGo.Conflict = SecretForeign, conflict
			m.put(letGo)
		}
		m.see(m.live, true)
		m.killed()
	case DeleteSecret:
		if m.live.State != SecretAbsent && (m.live.State != o.Secret.State || m.live.SHA256 != o.Secret.SHA256) {
			m.begin() // A conflict: the cache was behind.
			return
		}
		m.put(Secret{})
		m.see(m.live, true)
	case Release:
		o.Finalizer = false
	}
}

// fails says whether an action at the service comes to nothing, and records that as the engine does.
func (m *model) fails(action Action, problem *Problem) bool {
	o := &m.observed
	if !m.outside || !m.chance(30) {
		delete(o.Failures, action)
		return false
	}
	m.fail(action, problem)
	return true
}

// fail records that an action came to nothing.
func (m *model) fail(action Action, problem *Problem) {
	o := &m.observed
	failure := Failure{Problem: problem, Until: o.Now.Add(time.Duration(1+m.IntN(3000)) * time.Second)}
	if m.chance(30) {
		failure.Problem = nil
	}
	if o.Failures == nil {
		o.Failures = map[Action]Failure{}
	}
	o.Failures[action] = failure
}

// dropAttempt forgets an attempt of which there is no token, and that it was made.
func (m *model) dropAttempt() {
	o := &m.observed
	if m.counted {
		o.Mints, m.minted = o.Mints[:len(o.Mints)-1], m.minted[:len(m.minted)-1]
	}
	o.Pending, m.counted = nil, false
}

// expiry is what the service says of a new token: a service outside of the cluster may say nothing, or what it likes.
func (m *model) expiry() time.Time {
	says := m.IntN(100)
	switch {
	case m.outside && says < 20:
		return time.Time{}
	case m.outside && says < 40:
		return m.observed.Now.Add(time.Duration(1+m.IntN(400)) * day)
	default:
		return m.observed.Now.Add(90 * day)
	}
}

func valueOf(revision int64) string { return "revision " + strconv.FormatInt(revision, 10) }

// drop strikes tokens off the status.
func (m *model) drop(revisions []int64) {
	o := &m.observed
	dropped := func(p Token) bool { return slices.Contains(revisions, p.Revision) }
	o.Previous = slices.DeleteFunc(o.Previous, dropped)
	if o.Current != nil && dropped(*o.Current) {
		o.Current, o.RenewalTime = nil, time.Time{}
	}
	if !o.inUse() {
		o.Needed = nil
	}
}

// inUse says whether the operator asks the service with a token of this resource.
func (o *Observation) inUse() bool {
	return o.Current != nil && o.Current.InUse || slices.ContainsFunc(o.Previous, func(p Token) bool { return p.InUse })
}

// use has the operator ask the service with the current token, or with none of this resource any more.
func use(o *Observation, current bool) {
	for i := range o.Previous {
		o.Previous[i].InUse = false
	}
	if o.Current != nil {
		o.Current.InUse = current
	}
	if !o.inUse() {
		o.Needed = nil
	}
}

// tryWrite is a dry run.
func (m *model) tryWrite() {
	o := &m.observed
	o.Secret.Refused, o.Secret.Tried = nil, true
	if m.refuses {
		o.Secret.Refused, o.Secret.RefusedAgain, o.Secret.Tried = refused, true, false
	}
}

// write puts the token of the open attempt into the Secret, unless that is refused.
func (m *model) write() {
	if m.refuses {
		m.tryWrite()
		return
	}
	m.put(Secret{State: SecretOurs, SHA256: valueOf(m.observed.Pending.Revision)})
	m.unlabeled = false
	if m.killed() {
		return
	}
	m.see(m.live, true)
	m.finish()
}

func (m *model) finish() {
	o := &m.observed
	if o.Current != nil {
		if m.restarts {
			o.RestartAt = o.Now.Add(30 * time.Second)
		}
		previous := *o.Current
		previous.Replaced, previous.RevokeAt, previous.HeldUntil = o.Now, o.Now.Add(day), o.Now.Add(time.Duration(m.IntN(3))*day)
		o.Previous = append(o.Previous, previous)
	}
	o.Current, o.Pending = o.Pending, nil
	o.Current.SHA256 = valueOf(o.Current.Revision)
	o.Missing, m.forgot = false, false
	o.RenewalTime = RenewalTime(o.Now, o.Current.Expires, 90*day, 30*day, m.Float64())
}

// killed says whether the process ends here; some runs have one such end. Another process begins anew, and knows of no
// failure and of no holder.
func (m *model) killed() bool {
	if m.crashes == 0 || m.IntN(2) == 0 {
		return false
	}
	m.crashes--
	m.observed.Failures = nil
	for i := range m.observed.Previous {
		m.observed.Previous[i].Held, m.observed.Previous[i].SeekAt = false, time.Time{}
	}
	m.begin()
	return true
}

// randomObservation is any observation in which no two tokens share a revision. outside: of a service outside of the cluster.
func randomObservation(random *rand.Rand, outside bool) Observation {
	chance := func(percent int) bool { return random.IntN(100) < percent }
	when := func() time.Time {
		if chance(10) {
			return noon
		}
		return noon.Add(time.Duration(random.IntN(200)-100) * time.Hour)
	}
	revisions := random.Perm(40)
	newToken := func() *Token {
		revision := int64(revisions[0]) + 1
		revisions = revisions[1:]
		made := &Token{Revision: revision, SHA256: valueOf(revision)}
		if chance(80) {
			made.Expires = when()
		}
		return made
	}

	o := Observation{
		Now: noon, Deleting: chance(15), Finalizer: chance(80), NamespaceTerminating: chance(10), Suspended: chance(10),
	}
	if chance(15) {
		o.IssuerProblem = notReady
	}
	if chance(15) {
		o.Refusal = notGranted
	}
	if chance(10) {
		o.SpecProblem = wrongSpec
	}
	if chance(10) {
		o.Storm = oldStorm
	}
	for range random.IntN(6) {
		o.Mints = append(o.Mints, noon.Add(-time.Duration(random.IntN(100))*time.Minute))
	}
	if chance(10) {
		o.Mints = append(o.Mints, noon.Add(365*day))
	}
	if chance(70) {
		o.Current = newToken()
	}
	if chance(70) {
		o.RenewalTime = when()
	}
	o.Requested = chance(15)
	if o.Current != nil && chance(20) {
		o.RestartAt = when()
	}
	for range random.IntN(4) {
		previous := newToken()
		if chance(60) {
			previous.Replaced, previous.RevokeAt = noon.Add(-time.Hour), when()
			if chance(50) {
				previous.HeldUntil = when()
			}
			if previous.Held = chance(40); previous.Held || chance(50) {
				previous.SeekAt = when()
			}
		} else if outside {
			previous.Closed = noon.Add(-time.Duration(random.IntN(120)) * time.Minute)
			if previous.Absent = chance(50); previous.Absent {
				previous.SHA256 = ""
			}
		}
		o.Previous = append(o.Previous, *previous)
	}
	if chance(30) {
		if o.Pending = newToken(); outside && chance(50) {
			o.Pending.SHA256 = "" // The service is yet to choose it.
		}
	}
	if chance(70) {
		o.LastRevision = int64(random.IntN(50))
	}
	if chance(10) { // A crowd that is not due.
		for len(o.Previous) < 26+random.IntN(6) {
			previous := newToken()
			previous.Expires, previous.Replaced, previous.RevokeAt = time.Time{}, noon.Add(-time.Hour), noon.Add(day)
			o.Previous = append(o.Previous, *previous)
		}
	}
	if outside {
		if chance(15) {
			o.ServiceProblem = randomServiceProblem(random)
		}
		o.Retain, o.Abandon = chance(30), chance(30)
		for i := range o.Previous {
			o.Previous[i].Refused = chance(5)
		}
		if o.Current != nil {
			o.Current.Refused = chance(5)
		}
		credential := random.IntN(5) // What is a credential was in a Secret.
		if credential == 0 && o.Current != nil {
			o.Current.InUse = true
		} else if credential < len(o.Previous) && !o.Previous[credential].Replaced.IsZero() {
			o.Previous[credential].InUse = true
		}
		if o.inUse() && chance(50) {
			o.Needed = othersNeedIt
		}
		o.Failures = randomFailures(random, noon)
		o.Missing = o.Current != nil && chance(15)
		if chance(70) {
			o.LookAt = when()
		}
	}
	if outside && chance(10) { // Nothing is there yet but what was made by hand.
		o.Adopting, o.Current, o.Pending, o.Previous, o.Needed = true, nil, nil, nil, nil
		o.RenewalTime, o.RestartAt, o.LookAt, o.Missing, o.LastRevision = time.Time{}, time.Time{}, time.Time{}, false, 0
	}
	o.Secret = randomSecret(random, &o)
	o.Secret.Confirmed = chance(50)
	if chance(20) {
		o.Secret.Refused, o.Secret.RefusedAgain = refused, chance(30)
	}
	return o
}

// randomServiceProblem may be one that passes.
func randomServiceProblem(random *rand.Rand) *Problem {
	return []*Problem{serviceDown, serviceDown, progressing}[random.IntN(3)]
}

// randomFailures are any of the actions that can fail, some of which may be tried again by now.
func randomFailures(random *rand.Rand, now time.Time) map[Action]Failure {
	failures := map[Action]Failure{}
	for _, failed := range []struct {
		action  Action
		problem *Problem
	}{
		{Mint, limitReached}, {Settle, ambiguous}, {Settle, stillSettling}, {Revoke, unproven}, {Revoke, waitingForTurn}, {Look, roleMissing},
		{Adopt, notTaken}, {Restart, notRestarted}, {LeaveBehind, listFull},
	} {
		if random.IntN(4) > 0 {
			continue
		}
		failure := Failure{Problem: failed.problem, Until: now.Add(time.Duration(random.IntN(120)-30) * time.Minute)}
		if random.IntN(3) == 0 {
			failure.Problem = nil
		}
		failures[failed.action] = failure
	}
	return failures
}

// randomSecret is any Secret that may be there beside these tokens.
func randomSecret(random *rand.Rand, o *Observation) Secret {
	secret := Secret{State: SecretState(random.IntN(3))}
	if secret.State == SecretAbsent {
		return secret
	}
	if o.Adopting { // It is nobody's yet.
		secret.State = SecretForeign
		if random.IntN(4) == 0 {
			secret.Conflict = managedElsewhere
		}
		return secret
	}
	values := []string{"", "edited"}
	if o.Current != nil {
		values = append(values, o.Current.SHA256, o.Current.SHA256, o.Current.SHA256)
	}
	if o.Pending != nil {
		values = append(values, valueOf(o.Pending.Revision))
	}
	for i := range min(3, len(o.Previous)) {
		values = append(values, o.Previous[i].SHA256)
	}
	secret.SHA256, secret.Outdated = values[random.IntN(len(values))], random.IntN(3) == 0
	switch {
	case secret.State == SecretForeign:
		secret.Conflict = conflict
	case random.IntN(10) == 0:
		secret.Conflict = immutable
	}
	return secret
}

func clone(o Observation) Observation {
	if o.Current != nil {
		current := *o.Current
		o.Current = &current
	}
	if o.Pending != nil {
		pending := *o.Pending
		o.Pending = &pending
	}
	o.Previous, o.Mints, o.Failures = slices.Clone(o.Previous), slices.Clone(o.Mints), maps.Clone(o.Failures)
	return o
}

func show(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
