package lifecycle

import (
	"slices"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// The rules of what is being deleted: the resource, or the namespace around it. docs/tokens.md, Deletion.

func namespaceGone(o *Observation) *Plan {
	if !o.NamespaceGone {
		return nil
	}
	if ended := o.ended(); len(ended) > 0 {
		if _, blocked := o.blocked(Revoke); !blocked {
			return o.revoke(ended)
		}
	}
	return o.waitAtMost(&Problem{
		Reason:  v1alpha1.ReasonNamespaceTerminating,
		Message: "The namespace does not exist any more, and nothing can be written in it: create it again, and delete it once more.",
	}, GoneRecheck)
}

func deleting(o *Observation) *Plan {
	if !o.Deleting {
		return nil
	}
	ended := o.ended()
	switch {
	case !o.Finalizer:
		return &Plan{Action: Wait}
	case o.Retain && !o.Secret.Confirmed && o.unseen():
		return &Plan{Action: ReadSecret} // What it holds is retained, whatever the status knows of it.
	case o.Retain && o.Pending != nil && o.inSecret(o.Pending):
		return &Plan{Action: Finish}
	case o.Pending != nil:
		problem, blocked := o.blocked(Settle)
		if !blocked {
			return &Plan{Action: Settle}
		}
		if plan := o.revoke(ended); plan != nil {
			return plan // What is known need not wait for what is not.
		}
		return o.waitOrAbandon(problem, []Token{*o.Pending})
	case len(ended) > 0:
		if plan := o.revoke(ended); plan != nil {
			return plan
		}
		problem, _ := o.blocked(Revoke)
		return o.waitOrAbandon(problem, ended)
	case o.Needed != nil && !o.Retain:
		return o.waitAtMost(o.Needed, NeededRecheck)
	case o.Secret.State == SecretOurs && o.Retain:
		return &Plan{Action: LetGoSecret}
	case o.Secret.State == SecretOurs:
		return &Plan{Action: DeleteSecret}
	case !o.Secret.Confirmed:
		return &Plan{Action: ReadSecret}
	case len(o.tokens()) > 0:
		return o.leaveBehind(o.tokens())
	default:
		return &Plan{Action: Release}
	}
}

// unseen says whether there is a token, or may be one, of which the status does not know that it was in the Secret.
func (o *Observation) unseen() bool {
	return o.Pending != nil || slices.ContainsFunc(o.Previous, func(t Token) bool { return t.Replaced.IsZero() })
}

// ended are the tokens that end now with the resource: all of them, unless they are retained. Then it is those that never were
// in the Secret, so that nobody can have them. What the operator itself asks the service with ends when nothing else is left
// to ask for, and nobody else needs it.
func (o *Observation) ended() (tokens []Token) {
	var last []Token
	for _, t := range o.tokens() {
		retained := o.Retain && (!t.Replaced.IsZero() || o.inSecret(&t) || o.Current != nil && t.Revision == o.Current.Revision)
		switch {
		case retained:
		case t.InUse && (o.Needed != nil || !t.dead(o.Now)):
			last = append(last, t)
		default:
			tokens = append(tokens, t)
		}
	}
	if len(tokens) > 0 || o.Pending != nil || o.Needed != nil {
		return tokens
	}
	return last
}

// waitOrAbandon is what becomes of tokens that can't be revoked, or of an attempt that can't be settled.
func (o *Observation) waitOrAbandon(problem *Problem, tokens []Token) *Plan {
	if o.Abandon && problem != nil && !problem.Passes() {
		return o.leaveBehind(tokens)
	}
	return o.wait(problem)
}

func (o *Observation) leaveBehind(tokens []Token) *Plan {
	if failure, failed := o.failed(LeaveBehind); failed {
		return o.wait(failure.Problem)
	}
	plan := &Plan{Action: LeaveBehind}
	for i := range tokens {
		plan.Revisions = append(plan.Revisions, tokens[i].Revision)
	}
	return plan
}

// Passes says whether a problem is no more than a matter of a little time.
func (p *Problem) Passes() bool {
	switch p.Reason {
	case v1alpha1.ReasonProgressing, v1alpha1.ReasonWaitingForTurn, v1alpha1.ReasonSettling:
		return true
	default:
		return false
	}
}

// tokens are the current one and the previous ones.
func (o *Observation) tokens() []Token {
	if o.Current == nil {
		return o.Previous
	}
	return append(o.Previous[:len(o.Previous):len(o.Previous)], *o.Current)
}

func namespaceTerminating(o *Observation) *Plan {
	if !o.NamespaceTerminating {
		return nil
	}
	return o.wait(&Problem{
		Reason:  v1alpha1.ReasonNamespaceTerminating,
		Message: "The namespace is being deleted, and this token with it; nothing is minted any more.",
	})
}
