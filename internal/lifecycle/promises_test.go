package lifecycle

import (
	"reflect"
	"slices"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

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
		case o.HoldsCurrent() && !m.renewalDue() && !o.Compromised && !m.lostAttempt() && m.accepted() >= 3:
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

func (m *model) rotationDue() bool {
	return m.renewalDue() || m.observed.Requested || m.observed.Compromised
}

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
		crowd := len(o.Previous) >= MaxPrevious || o.Requested && !o.Compromised && !m.renewalDue() && holds && m.accepted() >= 3
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
