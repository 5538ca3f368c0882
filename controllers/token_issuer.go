package controllers

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/grant"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
)

// issuerKey names the issuer that a token refers to.
func issuerKey(t v1alpha1.Token) codacy.Key {
	return codacy.Key{Kind: t.SharedSpec().IssuerRef.Kind, NamespacedName: v1alpha1.IssuerName(t)}
}

func keyOf(i v1alpha1.Issuer) codacy.Key {
	return codacy.Key{Kind: i.Kind(), NamespacedName: client.ObjectKeyFromObject(i)}
}

func issuerIndexValue(kind, name string) string { return kind + "/" + name }

// usersOf selects the tokens that refer to an issuer.
func usersOf(i v1alpha1.Issuer) []client.ListOption {
	options := []client.ListOption{client.MatchingFields{issuerIndex: issuerIndexValue(i.Kind(), i.GetName())}}
	if i.Kind() == v1alpha1.KindTokenIssuer {
		options = append(options, client.InNamespace(i.GetNamespace()))
	}
	return options
}

func newIssuer(kind string) v1alpha1.Issuer {
	if kind == v1alpha1.KindTokenIssuer {
		return &v1alpha1.TokenIssuer{}
	}
	return &v1alpha1.ClusterTokenIssuer{}
}

// changedConnections are the issuers whose connection changed, or began or ceased to be answered.
func changedConnections(services *codacy.Services) <-chan event.GenericEvent {
	changed := make(chan event.GenericEvent)
	services.OnChange(func(key codacy.Key) {
		i := newIssuer(key.Kind)
		i.SetNamespace(key.Namespace)
		i.SetName(key.Name)
		changed <- event.GenericEvent{Object: i}
	})
	return changed
}

// queueOn makes the queue of a controller wait by the clock that was handed in, if that can be waited by: otherwise, and
// with the real one, it is the default.
func queueOn(clk clock.PassiveClock) func(string, workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
	ticking, ok := clk.(clock.WithTicker)
	if _, isReal := clk.(clock.RealClock); !ok || isReal {
		return nil
	}
	return func(name string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
		return workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[reconcile.Request]{Name: name, Clock: ticking})
	}
}

// recordedURL is the service that made what the status records; empty for a built-in token, or if there is none.
func recordedURL(status *v1alpha1.TokenStatus) string {
	switch {
	case status.Token != nil:
		return status.Token.URL
	case status.Pending != nil:
		return status.Pending.URL
	case len(status.PreviousTokens) > 0:
		return status.PreviousTokens[0].URL
	default:
		return ""
	}
}

// observeIssuer finds out whom to ask for tokens, whether it can be asked, and whether it gives this resource any.
func (r *TokenReconciler) observeIssuer(ctx context.Context, s *state, in grant.Namespace) error {
	key := issuerKey(s.token)
	s.url = recordedURL(s.token.SharedStatus())
	if !r.Scope.serves(key.Kind) {
		r.lackIssuer(s, &lifecycle.Problem{
			Reason: v1alpha1.ReasonIssuerNotServed, Stalled: true,
			Message: fmt.Sprintf("This installation of the operator serves no %ss: name a TokenIssuer in spec.issuerRef of a new resource, "+
				"or have the operator started with --cluster-issuers.", key.Kind),
		})
		return nil
	}
	found := newIssuer(key.Kind)
	switch err := r.Client.Get(ctx, key.NamespacedName, found); {
	case apierrors.IsNotFound(err):
		r.lackIssuer(s, &lifecycle.Problem{
			Reason:  v1alpha1.ReasonIssuerNotFound,
			Message: fmt.Sprintf("There is no %s %q: create it, or name another one in spec.issuerRef of a new resource.", key.Kind, key.Name),
		})
		return nil
	case err != nil:
		return fmt.Errorf("reading the issuer: %w", err)
	}
	if cluster, ok := found.(*v1alpha1.ClusterTokenIssuer); ok && cluster.Spec.BuiltIn != nil {
		s.builtIn = true
		s.refusal = r.kind.builtInRefusal(cluster, in, s.token)
		s.issuerProblem = notReady(found)
		if s.issuer = r.BuiltIn; s.url != "" {
			s.issuer, s.serviceProblem = nil, madeElsewhere(found, s.url)
		}
		return nil
	}
	r.observeCodacy(s, key, found)
	s.refusal = r.kind.codacyRefusal(found, in, s.token)
	return nil
}

// lackIssuer: there is no issuer to ask. Built-in tokens can be revoked without one, those of a service can't.
func (r *TokenReconciler) lackIssuer(s *state, problem *lifecycle.Problem) {
	s.issuerProblem, s.refusal = problem, problem
	if s.issuer = r.BuiltIn; s.url != "" {
		s.issuer, s.serviceProblem = nil, problem
	}
}

func (r *TokenReconciler) observeCodacy(s *state, key codacy.Key, found v1alpha1.Issuer) {
	spec, status := found.SharedSpec(), found.SharedStatus()
	s.url, s.checkInterval, s.orphanPolicy = spec.Codacy.URL, spec.Interval(), spec.OrphanPolicy
	if status.Account != nil {
		s.account = accountName(status.Account)
	}
	s.issuerProblem = notReady(found)
	s.codacy = r.Services.Get(key)
	connecting := &lifecycle.Problem{Reason: v1alpha1.ReasonProgressing, Message: fmt.Sprintf("%s %q is being connected.", key.Kind, key.Name)}
	if s.codacy == nil {
		if s.issuerProblem == nil { // It was ready before the operator started, and is not connected yet.
			s.issuerProblem = connecting
		}
		s.serviceProblem = s.issuerProblem
		switch ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady); {
		case ready == nil || ready.Reason == v1alpha1.ReasonInUse:
			s.serviceProblem = connecting // It was not judged yet, or is kept as it was.
		case ready.Reason == v1alpha1.ReasonProgressing: // It could not be judged, which passes.
			s.serviceProblem = &lifecycle.Problem{Reason: v1alpha1.ReasonProgressing, Message: s.issuerProblem.Message}
		}
		return
	}
	s.issuer = s.codacy
	if s.issuerProblem == nil && (status.Account == nil || status.Account.ID != s.codacy.Account().ID) {
		s.issuerProblem = connecting // Grants go by the account in the status, and its credential was just replaced by another account's.
	}
	if down := s.codacy.Unavailable(); down != nil {
		s.serviceProblem = problemFrom(down)
		s.issuerProblem = s.serviceProblem
	} else if s.codacy.CredentialRefused() {
		s.serviceProblem = s.issuerProblem
		if s.serviceProblem == nil {
			s.serviceProblem = &lifecycle.Problem{Reason: v1alpha1.ReasonIssuerNotReady, Message: fmt.Sprintf("Codacy does not accept the credential of %s %q any more.", key.Kind, key.Name)}
		}
	}
}

func problemFrom(err *issuer.Error) *lifecycle.Problem {
	return &lifecycle.Problem{Reason: err.Reason, Message: err.Message, Stalled: err.Stalled}
}

// notReady says that an issuer gives nobody a token, in its own words; nil if it does.
func notReady(i v1alpha1.Issuer) *lifecycle.Problem {
	if isReady(i.SharedStatus().Conditions) && i.GetDeletionTimestamp().IsZero() {
		return nil
	}
	message := fmt.Sprintf("%s %q is not ready", i.Kind(), i.GetName())
	if ready := meta.FindStatusCondition(i.SharedStatus().Conditions, v1alpha1.ConditionReady); ready != nil && ready.Status != metav1.ConditionTrue {
		message += ": " + ready.Message
	} else {
		message += "."
	}
	return &lifecycle.Problem{Reason: v1alpha1.ReasonIssuerNotReady, Message: truncate(message)}
}

func madeElsewhere(i v1alpha1.Issuer, url string) *lifecycle.Problem {
	return &lifecycle.Problem{
		Reason: v1alpha1.ReasonAccountChanged, Stalled: true,
		Message: fmt.Sprintf("The token was made at %s, and %s %q, which was another one then, does not connect to it: recreate the issuer as it was.", url, i.Kind(), i.GetName()),
	}
}

// later has a resource looked at again, and then before those that nothing is known to be due for: what comes from the first
// list after a start has a low priority, which would stay with it.
func later(wait time.Duration) reconcile.Result {
	return reconcile.Result{RequeueAfter: wait, Priority: new(0)}
}

// requeueAfter is for how long a queue is to hold what waits for a time: never less than a moment.
func requeueAfter(at, now time.Time) reconcile.Result {
	const moment = time.Second
	if at.IsZero() {
		return reconcile.Result{}
	}
	return later(max(at.Sub(now), moment))
}
