package lifecycle

import "time"

// deletions are the cases of the rule for a resource that is being deleted.
var deletions = map[string]decision{
	"nothing is left to do once the finalizer is released": {
		healthy(), func(o *Observation) { o.Deleting, o.Finalizer = true, false },
		Plan{Action: Wait},
	},
	"an open attempt is settled first": {
		healthy(), func(o *Observation) { o.Deleting, o.Pending = true, openFourth },
		Plan{Action: Settle},
	},
	"an open attempt is not finished, though the Secret holds its token": {
		healthy(), func(o *Observation) { o.Deleting, o.Pending, o.Secret.SHA256 = true, openFourth, "fourth" },
		Plan{Action: Settle},
	},
	"an open attempt is settled whatever the Secret holds: it is not read for that": {
		healthy(), func(o *Observation) { o.Deleting, o.Pending, o.Secret.Confirmed = true, openFourth, false },
		Plan{Action: Settle},
	},
	"then every token is revoked, also one that has its grace period": {
		healthy(), func(o *Observation) { o.Deleting, o.Previous = true, []Token{neverSeen, replaced} },
		Plan{Action: Revoke, Revisions: []int64{1, 2, 3}},
	},
	"a current token without previous ones is revoked": {
		healthy(), func(o *Observation) { o.Deleting = true },
		Plan{Action: Revoke, Revisions: []int64{3}},
	},
	"previous tokens without a current one are revoked": {
		begun(), func(o *Observation) { o.Deleting, o.Previous = true, []Token{neverSeen} },
		Plan{Action: Revoke, Revisions: []int64{1}},
	},
	"a previous token is revoked, though the Secret holds it": {
		healthy(), func(o *Observation) { o.Deleting, o.Previous, o.Secret.SHA256 = true, []Token{replaced}, "second" },
		Plan{Action: Revoke, Revisions: []int64{2, 3}},
	},
	"tokens are revoked before anything is asked about the Secret": {
		healthy(), func(o *Observation) { o.Deleting, o.Secret = true, Secret{} },
		Plan{Action: Revoke, Revisions: []int64{3}},
	},
	"tokens are revoked whatever becomes of the namespace, the issuer and the grant": {
		healthy(), func(o *Observation) {
			o.Deleting, o.NamespaceTerminating, o.IssuerProblem, o.Refusal = true, true, notReady, notGranted
		},
		Plan{Action: Revoke, Revisions: []int64{3}},
	},
	"tokens are revoked though the resource is suspended, its spec wrong and its Secret not to be written": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Suspended, o.SpecProblem, o.Storm = true, true, wrongSpec, oldStorm
			o.Secret.Conflict, o.Secret.Refused = immutable, refused
		},
		Plan{Action: Revoke, Revisions: []int64{3}},
	},
	"an open attempt waits for the service": {
		healthy(), func(o *Observation) { o.Deleting, o.Pending, o.ServiceProblem = true, openFourth, serviceDown },
		Plan{Action: Wait, Problem: serviceDown, Next: renewal},
	},
	"or until it may be asked again what became of it": {
		begun(), func(o *Observation) {
			o.Deleting, o.Pending, o.Failures = true, openFourth, failing(Settle, ambiguous, soon)
		},
		Plan{Action: Wait, Problem: ambiguous, Next: soon},
	},
	"of which there may be nothing to tell": {
		begun(), func(o *Observation) { o.Deleting, o.Pending, o.Failures = true, openFourth, failing(Settle, nil, soon) },
		Plan{Action: Wait, Next: soon},
	},
	"the tokens that are known are revoked meanwhile": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Pending, o.Previous, o.Failures = true, openFourth, []Token{replaced}, failing(Settle, ambiguous, soon)
		},
		Plan{Action: Revoke, Revisions: []int64{2, 3}},
	},
	"it is settled when the time for that is there, whatever else failed": {
		healthy(), func(o *Observation) { o.Deleting, o.Pending, o.Failures = true, openFourth, allFailingBut(Settle) },
		Plan{Action: Settle},
	},
	"tokens wait for the service": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Previous, o.ServiceProblem = true, []Token{neverSeen, replaced}, serviceDown
		},
		Plan{Action: Wait, Problem: serviceDown, Next: teaTime},
	},
	"or until it may be asked again to revoke them": {
		healthy(), func(o *Observation) { o.Deleting, o.Failures = true, failing(Revoke, unproven, soon) },
		Plan{Action: Wait, Problem: unproven, Next: soon},
	},
	"of which, too, there may be nothing to tell": {
		healthy(), func(o *Observation) { o.Deleting, o.Failures = true, failing(Revoke, nil, soon) },
		Plan{Action: Wait, Next: soon},
	},
	"that the service can't be asked is told before what it refused": {
		healthy(), func(o *Observation) {
			o.Deleting, o.ServiceProblem, o.Failures = true, serviceDown, failing(Revoke, unproven, soon)
		},
		Plan{Action: Wait, Problem: serviceDown, Next: soon},
	},
	"tokens are revoked when the time for that is there, whatever else failed": {
		healthy(), func(o *Observation) { o.Deleting, o.Failures = true, allFailingBut(Revoke) },
		Plan{Action: Revoke, Revisions: []int64{3}},
	},
	"of those that wait, the ones that expired an hour ago are struck off": {
		healthy(), func(o *Observation) {
			o.Deleting, o.ServiceProblem = true, serviceDown
			o.Previous = []Token{neverSeen, replacedLongAgo(2, time.Hour), replacedLongAgo(4, time.Hour-1)}
		},
		Plan{Action: StrikeOff, Revisions: []int64{2}},
	},
	"also the current one, and also if it was the revocation that failed": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Failures = true, failing(Revoke, unproven, soon)
			o.Previous, o.Current.Expires = []Token{replacedLongAgo(2, day)}, noon.Add(-time.Hour)
		},
		Plan{Action: StrikeOff, Revisions: []int64{2, 3}},
	},
	"but not those of which the service did not say that they expire": {
		healthy(), func(o *Observation) {
			o.Deleting, o.ServiceProblem, o.Current.Expires = true, serviceDown, time.Time{}
			o.Previous = []Token{{Revision: 2, Absent: true, Expires: noon.Add(-day), Closed: noon.Add(-2 * day)}}
		},
		Plan{Action: Wait, Problem: serviceDown, Next: renewal},
	},
	"while the service can be asked, what expired is revoked as well": {
		healthy(), func(o *Observation) { o.Deleting, o.Previous = true, []Token{replacedLongAgo(2, day)} },
		Plan{Action: Revoke, Revisions: []int64{2, 3}},
	},
	"a closed attempt of which the service had no token is not waited for": {
		begun(), func(o *Observation) { o.Deleting, o.Previous = true, []Token{absent} },
		Plan{Action: Revoke, Revisions: []int64{4}},
	},
	"then the Secret is deleted": {
		begun(), func(o *Observation) { o.Deleting, o.Secret.State = true, SecretOurs },
		Plan{Action: DeleteSecret},
	},
	"the Secret is deleted as the cache shows it: the deletion finds out whether that is so": {
		begun(), func(o *Observation) { o.Deleting, o.Secret = true, Secret{State: SecretOurs} },
		Plan{Action: DeleteSecret},
	},
	"an immutable Secret is deleted, also of a suspended resource": {
		begun(), func(o *Observation) {
			o.Deleting, o.Suspended, o.Secret.State, o.Secret.Conflict = true, true, SecretOurs, immutable
		},
		Plan{Action: DeleteSecret},
	},
	"that the cache shows no Secret does not mean that there is none": {
		begun(), func(o *Observation) { o.Deleting, o.Secret.Confirmed = true, false },
		Plan{Action: ReadSecret},
	},
	"that the cache shows somebody else's Secret does not mean that it is": {
		begun(), func(o *Observation) {
			o.Deleting, o.Secret = true, foreign
			o.Secret.Confirmed = false
		},
		Plan{Action: ReadSecret},
	},
	"a Secret of somebody else stays": {
		begun(), func(o *Observation) { o.Deleting, o.Secret = true, foreign },
		Plan{Action: Release},
	},
	"neither the Secret nor the finalizer needs the service: the Secret is deleted": {
		begun(), func(o *Observation) {
			o.Deleting, o.Secret.State, o.ServiceProblem, o.Failures = true, SecretOurs, serviceDown, failing(Revoke, unproven, soon)
		},
		Plan{Action: DeleteSecret},
	},
	"and the finalizer is released": {
		begun(), func(o *Observation) {
			o.Deleting, o.ServiceProblem, o.Failures = true, serviceDown, failing(Revoke, unproven, soon)
		},
		Plan{Action: Release},
	},
	"in the end the finalizer is released": {
		begun(), func(o *Observation) { o.Deleting = true },
		Plan{Action: Release},
	},

	// The tokens are retained.
	"of a token that is retained an open attempt is settled first all the same": {
		healthy(), func(o *Observation) { o.Deleting, o.Retain, o.Pending = true, true, openFourth },
		Plan{Action: Settle},
	},
	"and waited for, if it can't be": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Retain, o.Pending, o.ServiceProblem = true, true, openFourth, serviceDown
		},
		Plan{Action: Wait, Problem: serviceDown, Next: renewal},
	},
	"what never was in the Secret is revoked meanwhile, and nothing else": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Retain, o.Pending, o.Failures = true, true, openFourth, failing(Settle, ambiguous, soon)
			o.Previous = []Token{neverSeen, replaced}
		},
		Plan{Action: Revoke, Revisions: []int64{1}},
	},
	"tokens that never were in the Secret are not retained: nobody can have them": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Retain, o.Previous = true, true, []Token{neverSeen, replaced, absent}
		},
		Plan{Action: Revoke, Revisions: []int64{1, 4}},
	},
	"they wait for the service, and the Secret for them": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Retain, o.Previous, o.ServiceProblem = true, true, []Token{neverSeen, replaced}, serviceDown
		},
		Plan{Action: Wait, Problem: serviceDown, Next: teaTime},
	},
	"or until it may be asked again": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Retain, o.Previous, o.Failures = true, true, []Token{neverSeen}, failing(Revoke, unproven, soon)
		},
		Plan{Action: Wait, Problem: unproven, Next: soon},
	},
	"then the Secret is let go, and not deleted": {
		healthy(), func(o *Observation) { o.Deleting, o.Retain, o.Previous = true, true, []Token{replaced} },
		Plan{Action: LetGoSecret},
	},
	"as the cache shows it": {
		healthy(), func(o *Observation) { o.Deleting, o.Retain, o.Secret.Confirmed = true, true, false },
		Plan{Action: LetGoSecret},
	},
	"also if it is immutable or holds another value, the resource is suspended, its spec wrong, and the service can't be asked": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Retain, o.Suspended, o.SpecProblem, o.ServiceProblem = true, true, true, wrongSpec, serviceDown
			o.Secret.SHA256, o.Secret.Conflict, o.Secret.Refused = "edited", immutable, refused
		},
		Plan{Action: LetGoSecret},
	},
	"also if no token is left": {
		begun(), func(o *Observation) { o.Deleting, o.Retain, o.Secret.State = true, true, SecretOurs },
		Plan{Action: LetGoSecret},
	},
	"that the cache shows no Secret does not mean that it was let go": {
		healthy(), func(o *Observation) { o.Deleting, o.Retain, o.Secret = true, true, Secret{} },
		Plan{Action: ReadSecret},
	},
	"nor that it shows one that is not ours": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Retain, o.Secret = true, true, foreign
			o.Secret.Confirmed = false
		},
		Plan{Action: ReadSecret},
	},
	"once it was let go, the tokens that were in it are left behind": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Retain, o.Secret, o.Previous = true, true, foreign, []Token{replaced}
		},
		Plan{Action: LeaveBehind, Revisions: []int64{2, 3}},
	},
	"also if somebody deleted it": {
		robbed(), func(o *Observation) { o.Deleting, o.Retain = true, true },
		Plan{Action: LeaveBehind, Revisions: []int64{3}},
	},
	"also without a current one": {
		begun(), func(o *Observation) { o.Deleting, o.Retain, o.Previous = true, true, []Token{replaced} },
		Plan{Action: LeaveBehind, Revisions: []int64{2}},
	},
	"the service is not needed for that, nor what it refused": {
		robbed(), func(o *Observation) {
			o.Deleting, o.Retain, o.ServiceProblem, o.Failures = true, true, serviceDown, allFailingBut(LeaveBehind)
		},
		Plan{Action: LeaveBehind, Revisions: []int64{3}},
	},
	"a token is not left behind before that can be written down": {
		robbed(), func(o *Observation) {
			o.Deleting, o.Retain, o.Failures = true, true, failing(LeaveBehind, listFull, soon)
		},
		Plan{Action: Wait, Problem: listFull, Next: soon},
	},
	"of which there may be nothing to tell either": {
		robbed(), func(o *Observation) { o.Deleting, o.Retain, o.Failures = true, true, failing(LeaveBehind, nil, soon) },
		Plan{Action: Wait, Next: soon},
	},
	"the Secret is let go all the same": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Retain, o.Failures = true, true, failing(LeaveBehind, listFull, soon)
		},
		Plan{Action: LetGoSecret},
	},
	"in the end the finalizer is released, and the Secret stays": {
		begun(), func(o *Observation) { o.Deleting, o.Retain, o.Secret = true, true, foreign },
		Plan{Action: Release},
	},

	// What can't be revoked may be abandoned.
	"what may be abandoned is revoked all the same, if it can be": {
		healthy(), func(o *Observation) { o.Deleting, o.Abandon, o.Previous = true, true, []Token{neverSeen, replaced} },
		Plan{Action: Revoke, Revisions: []int64{1, 2, 3}},
	},
	"and an attempt settled": {
		healthy(), func(o *Observation) { o.Deleting, o.Abandon, o.Pending = true, true, openFourth },
		Plan{Action: Settle},
	},
	"and revoked again, when the time for that is there": {
		healthy(), func(o *Observation) { o.Deleting, o.Abandon, o.Failures = true, true, allFailingBut(Revoke) },
		Plan{Action: Revoke, Revisions: []int64{3}},
	},
	"it is left behind while the service can't be asked": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Abandon, o.Previous, o.ServiceProblem = true, true, []Token{neverSeen, replaced}, serviceDown
		},
		Plan{Action: LeaveBehind, Revisions: []int64{1, 2, 3}},
	},
	"or if it could not be revoked": {
		healthy(), func(o *Observation) { o.Deleting, o.Abandon, o.Failures = true, true, failing(Revoke, unproven, soon) },
		Plan{Action: LeaveBehind, Revisions: []int64{3}},
	},
	"but not if there is nothing to tell of that": {
		healthy(), func(o *Observation) { o.Deleting, o.Abandon, o.Failures = true, true, failing(Revoke, nil, soon) },
		Plan{Action: Wait, Next: soon},
	},
	"nor while the issuer is getting ready": {
		healthy(), func(o *Observation) { o.Deleting, o.Abandon, o.ServiceProblem = true, true, progressing },
		Plan{Action: Wait, Problem: progressing, Next: renewal},
	},
	"though its revocation failed before that": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Abandon, o.ServiceProblem, o.Failures = true, true, progressing, failing(Revoke, unproven, soon)
		},
		Plan{Action: Wait, Problem: progressing, Next: soon},
	},
	"nor while others are before it": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Abandon, o.Failures = true, true, failing(Revoke, waitingForTurn, soon)
		},
		Plan{Action: Wait, Problem: waitingForTurn, Next: soon},
	},
	"nor an attempt that may still come to something": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Abandon, o.Pending, o.Failures = true, true, openFourth, failing(Settle, stillSettling, soon)
			o.Current = nil
		},
		Plan{Action: Wait, Problem: stillSettling, Next: soon},
	},
	"nor one of which there is nothing to tell": {
		begun(), func(o *Observation) {
			o.Deleting, o.Abandon, o.Pending, o.Failures = true, true, openFourth, failing(Settle, nil, soon)
		},
		Plan{Action: Wait, Next: soon},
	},
	"an attempt that can't be settled is left behind": {
		begun(), func(o *Observation) {
			o.Deleting, o.Abandon, o.Pending, o.Failures = true, true, openFourth, failing(Settle, ambiguous, soon)
		},
		Plan{Action: LeaveBehind, Revisions: []int64{4}},
	},
	"after what can be revoked": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Abandon, o.Pending, o.Failures = true, true, openFourth, failing(Settle, ambiguous, soon)
			o.Previous = []Token{replaced}
		},
		Plan{Action: Revoke, Revisions: []int64{2, 3}},
	},
	"and before what can't": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Abandon, o.Pending, o.ServiceProblem, o.Previous = true, true, openFourth, serviceDown, []Token{replaced}
		},
		Plan{Action: LeaveBehind, Revisions: []int64{4}},
	},
	"what expired long ago is struck off, and not left behind with the rest": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Abandon, o.ServiceProblem, o.Previous = true, true, serviceDown, []Token{replacedLongAgo(2, time.Hour)}
		},
		Plan{Action: StrikeOff, Revisions: []int64{2}},
	},
	"what is to be abandoned waits until that can be written down": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Abandon, o.ServiceProblem, o.Failures = true, true, serviceDown, failing(LeaveBehind, listFull, soon)
		},
		Plan{Action: Wait, Problem: listFull, Next: soon},
	},
	"an attempt does, too": {
		begun(), func(o *Observation) {
			o.Deleting, o.Abandon, o.Pending, o.ServiceProblem = true, true, openFourth, serviceDown
			o.Failures = failing(LeaveBehind, listFull, soon)
		},
		Plan{Action: Wait, Problem: listFull, Next: soon},
	},
	"if the service can be asked by then it is revoked": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Abandon, o.Failures = true, true, failing(LeaveBehind, listFull, soon)
		},
		Plan{Action: Revoke, Revisions: []int64{3}},
	},
	"the Secret of what was abandoned is deleted": {
		begun(), func(o *Observation) {
			o.Deleting, o.Abandon, o.Secret.State, o.ServiceProblem = true, true, SecretOurs, serviceDown
		},
		Plan{Action: DeleteSecret},
	},
	"and then the finalizer released": {
		begun(), func(o *Observation) { o.Deleting, o.Abandon, o.ServiceProblem = true, true, serviceDown },
		Plan{Action: Release},
	},
	"of a token that is retained what never was in the Secret may be abandoned, before the Secret is let go": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Retain, o.Abandon, o.ServiceProblem = true, true, true, serviceDown
			o.Previous = []Token{neverSeen, replaced}
		},
		Plan{Action: LeaveBehind, Revisions: []int64{1}},
	},
	"then the Secret is let go as otherwise": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Retain, o.Abandon, o.ServiceProblem, o.Previous = true, true, true, serviceDown, []Token{replaced}
		},
		Plan{Action: LetGoSecret},
	},

	// What the Secret holds is retained, though the status does not know it yet.
	"retained is also what the Secret holds of an open attempt": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Retain, o.Pending, o.Secret.SHA256 = true, true, openFourth, "fourth"
		},
		Plan{Action: Finish},
	},
	"which is looked for first": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Retain, o.Pending, o.Secret.Confirmed = true, true, openFourth, false
		},
		Plan{Action: ReadSecret},
	},
	"and of a closed one": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Retain, o.Previous, o.Secret.SHA256 = true, true, []Token{neverSeen}, neverSeen.SHA256
		},
		Plan{Action: LetGoSecret},
	},
	"which is looked for first, too": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Retain, o.Previous, o.Secret.Confirmed = true, true, []Token{neverSeen}, false
		},
		Plan{Action: ReadSecret},
	},

	// The operator itself asks the service with one of the tokens.
	"what the operator asks the service with is not revoked beside others": {
		healthy(), func(o *Observation) { o.Deleting, o.Previous = true, []Token{inUse(replaced), neverSeen} },
		Plan{Action: Revoke, Revisions: []int64{1, 3}},
	},
	"but when nothing else is left": {
		begun(), func(o *Observation) { o.Deleting, o.Previous = true, []Token{inUse(replaced)} },
		Plan{Action: Revoke, Revisions: []int64{2}},
	},
	"nor while it is not known what came of an attempt": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Pending, o.Failures, o.Current.InUse, o.Previous = true, openFourth, failing(Settle, ambiguous, soon), true, []Token{neverSeen}
		},
		Plan{Action: Revoke, Revisions: []int64{1}},
	},
	"which alone it waits for": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Pending, o.Failures, o.Current.InUse = true, openFourth, failing(Settle, ambiguous, soon), true
		},
		Plan{Action: Wait, Problem: ambiguous, Next: soon},
	},
	"it is left behind last": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Abandon, o.ServiceProblem, o.Previous = true, true, serviceDown, []Token{inUse(replaced), neverSeen}
		},
		Plan{Action: LeaveBehind, Revisions: []int64{1, 3}},
	},
	"unless it is dead anyway": {
		healthy(), func(o *Observation) {
			o.Deleting, o.ServiceProblem, o.Previous = true, serviceDown, []Token{gone(inUse(replaced))}
		},
		Plan{Action: StrikeOff, Revisions: []int64{2}},
	},
	"while it is needed the others are revoked": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Needed, o.Previous = true, othersNeedIt, []Token{neverSeen, inUse(replaced)}
		},
		Plan{Action: Revoke, Revisions: []int64{1, 3}},
	},
	"while it is needed an attempt is settled": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Needed, o.Pending, o.Current.InUse = true, othersNeedIt, openFourth, true
		},
		Plan{Action: Settle},
	},
	"if that has to wait, the others are revoked": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Needed, o.Pending, o.Failures = true, othersNeedIt, openFourth, failing(Settle, ambiguous, soon)
			o.Current.InUse, o.Previous = true, []Token{neverSeen}
		},
		Plan{Action: Revoke, Revisions: []int64{1}},
	},
	"and it is waited for": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Needed, o.Pending, o.Failures = true, othersNeedIt, openFourth, failing(Settle, ambiguous, soon)
			o.Current.InUse = true
		},
		Plan{Action: Wait, Problem: ambiguous, Next: soon},
	},
	"that the others can't be revoked is told before that it is needed": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Needed, o.Failures = true, othersNeedIt, failing(Revoke, unproven, soon)
			o.Current.InUse, o.Previous = true, []Token{neverSeen}
		},
		Plan{Action: Wait, Problem: unproven, Next: soon},
	},
	"they may be abandoned": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Abandon, o.Needed, o.ServiceProblem = true, true, othersNeedIt, serviceDown
			o.Current.InUse, o.Previous = true, []Token{neverSeen}
		},
		Plan{Action: LeaveBehind, Revisions: []int64{1}},
	},
	"then it waits, and its Secret with it, and in a moment it is seen again whether it is needed": {
		healthy(), func(o *Observation) { o.Deleting, o.Needed, o.Current.InUse = true, othersNeedIt, true },
		Plan{Action: Wait, Problem: othersNeedIt, Next: noon.Add(5 * time.Second)},
	},
	"in a moment, though something else is due later": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Needed, o.Current.InUse, o.RenewalTime = true, othersNeedIt, true, noon.Add(5*time.Second+1)
		},
		Plan{Action: Wait, Problem: othersNeedIt, Next: noon.Add(5 * time.Second)},
	},
	"or as soon as something else is due": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Needed, o.Current.InUse, o.RenewalTime = true, othersNeedIt, true, noon.Add(time.Second)
		},
		Plan{Action: Wait, Problem: othersNeedIt, Next: noon.Add(time.Second)},
	},
	"what is needed is not abandoned": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Abandon, o.Needed, o.Current.InUse, o.ServiceProblem = true, true, othersNeedIt, true, serviceDown
		},
		Plan{Action: Wait, Problem: othersNeedIt, Next: noon.Add(5 * time.Second)},
	},
	"nor struck off, though it expired": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Needed, o.ServiceProblem = true, othersNeedIt, serviceDown
			o.Current.InUse, o.Current.Expires, o.RenewalTime = true, noon.Add(-time.Hour), time.Time{}
		},
		Plan{Action: Wait, Problem: othersNeedIt, Next: noon.Add(5 * time.Second)},
	},
	"once it is not needed any more it is revoked": {
		healthy(), func(o *Observation) { o.Deleting, o.Current.InUse = true, true },
		Plan{Action: Revoke, Revisions: []int64{3}},
	},
	"a token that is retained lives on anyway, so that nobody's need is waited for": {
		healthy(), func(o *Observation) { o.Deleting, o.Retain, o.Needed, o.Current.InUse = true, true, othersNeedIt, true },
		Plan{Action: LetGoSecret},
	},
	"and it is left behind like any other": {
		robbed(), func(o *Observation) {
			o.Deleting, o.Retain, o.Needed, o.Previous = true, true, othersNeedIt, []Token{inUse(replaced)}
		},
		Plan{Action: LeaveBehind, Revisions: []int64{2, 3}},
	},

	// The service has refused a token, which proves that it is gone.
	"a token that the service refuses is struck off, though the service can't be asked": {
		healthy(), func(o *Observation) {
			o.Deleting, o.ServiceProblem, o.Previous = true, serviceDown, []Token{neverSeen, gone(replaced)}
		},
		Plan{Action: StrikeOff, Revisions: []int64{2}},
	},
	"also if it does not expire, and the operator asked the service with it": {
		healthy(), func(o *Observation) {
			o.Deleting, o.ServiceProblem = true, serviceDown
			o.Current.InUse, o.Current.Refused, o.Current.Expires = true, true, time.Time{}
		},
		Plan{Action: StrikeOff, Revisions: []int64{3}},
	},
	"also if its revocation failed": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Failures, o.Current.Refused = true, failing(Revoke, unproven, soon), true
		},
		Plan{Action: StrikeOff, Revisions: []int64{3}},
	},
	"and it is not left behind": {
		healthy(), func(o *Observation) {
			o.Deleting, o.Abandon, o.ServiceProblem, o.Current.Refused = true, true, serviceDown, true
		},
		Plan{Action: StrikeOff, Revisions: []int64{3}},
	},
	"while the service can be asked it is revoked like any other": {
		healthy(), func(o *Observation) { o.Deleting, o.Current.Refused = true, true },
		Plan{Action: Revoke, Revisions: []int64{3}},
	},
}
