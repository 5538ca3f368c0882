// Package controllers holds all that talks to Kubernetes. The way of a token through it: token_observe.go reads,
// internal/lifecycle decides, token_act.go mints and revokes, token_settle.go finds out what became of a lost answer,
// secret_writer.go writes it down, token_report.go tells.
package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/recorder"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/grant"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
	"github.com/tokensteward/tokensteward/internal/resources"
)

// issuerIndex finds the tokens that refer to an issuer, by its kind and name.
const issuerIndex = "spec.issuerRef"

// secretIndex finds the tokens that name a Secret.
const secretIndex = "secret"

// maxSteps bounds the decisions of one reconcile. Even a resource that is deleted in mid-mint takes five.
const maxSteps = 12

// workers are how many resources of a kind are reconciled at a time.
const workers = 10

// conflictRetry is how long to wait for the watch to deliver what another writer changed.
const conflictRetry = time.Second

// TokenReconciler reconciles one kind of token. Every kind has an instance of its own.
type TokenReconciler struct {
	// Client reads from the cache and writes.
	Client client.Client
	// Live reads from the API server itself, and watches single Secrets there.
	Live client.WithWatch
	// Clock tells the time that tokens live by.
	Clock clock.PassiveClock
	// Recorder publishes Events.
	Recorder recorder.EventRecorder
	// InstallationID tells the Secrets of this installation from others'.
	InstallationID string
	// BuiltIn is the issuer of every ClusterTokenIssuer with spec.builtIn.
	BuiltIn issuer.Issuer
	// Services are the connections of the issuers with spec.codacy.
	Services *codacy.Services
	// RenewDeadline is the leader election's: if it took longer to write an intent down, there may be a new leader, and the
	// service is not asked.
	RenewDeadline time.Duration
	// Namespace is the operator's own, where ClusterTokenIssuers have their credentials.
	Namespace string
	// Scope is what the installation looks after.
	Scope Scope

	kind            kind
	obstacles       *obstacles
	written         *written
	failures        *failures
	orphans         *orphans
	holderSightings *holderSightings
	podLists        *singleflight.Group
}

// kind is what the engine needs to know of a kind of token.
type kind struct {
	newToken func() v1alpha1.Token
	newList  func() client.ObjectList
	// builtInRefusal and codacyRefusal say why an issuer does not give a namespace a token; nil if it does.
	builtInRefusal func(*v1alpha1.ClusterTokenIssuer, grant.Namespace, v1alpha1.Token) *lifecycle.Problem
	codacyRefusal  func(v1alpha1.Issuer, grant.Namespace, v1alpha1.Token) *lifecycle.Problem
}

func (r *TokenReconciler) setup(mgr ctrl.Manager, k kind) error {
	r.kind = k
	prototype := k.newToken()
	for field, value := range map[string]func(v1alpha1.Token) string{
		issuerIndex: func(t v1alpha1.Token) string {
			return issuerIndexValue(t.SharedSpec().IssuerRef.Kind, t.SharedSpec().IssuerRef.Name)
		},
		secretIndex: v1alpha1.SecretName,
	} {
		err := mgr.GetFieldIndexer().IndexField(context.Background(), prototype, field, func(o client.Object) []string {
			return []string{value(o.(v1alpha1.Token))}
		})
		if err != nil {
			return fmt.Errorf("indexing %ss by %s: %w", prototype.Kind(), field, err)
		}
	}
	r.obstacles, r.written, r.failures, r.orphans = newObstacles(r.Live), newWritten(r.Clock), newFailures(r.Clock), newOrphans(r.Clock)
	r.holderSightings, r.podLists = newHolderSightings(), &singleflight.Group{}
	afterSetup(r)
	tokens := ctrl.NewControllerManagedBy(mgr).
		Named(strings.ToLower(prototype.Kind())).
		Watches(prototype, r.enqueue()). // In place of For, which gives all the same priority.
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.tokensOfSecret), builder.WithPredicates(changed)).
		WatchesRawSource(source.Channel(r.obstacles.gone, handler.EnqueueRequestsFromMapFunc(r.tokensOfSecret))).
		Watches(&v1alpha1.TokenIssuer{}, handler.EnqueueRequestsFromMapFunc(r.tokensOfIssuer), builder.WithPredicates(r.forgetsIssuers())).
		WatchesRawSource(source.Channel(changedConnections(r.Services), handler.EnqueueRequestsFromMapFunc(r.tokensOfIssuer))).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, NewQueue: queueOn(r.Clock), LogConstructor: r.logger(mgr.GetLogger())})
	if !r.Scope.WithoutClusterIssuers {
		tokens.Watches(&v1alpha1.ClusterTokenIssuer{}, handler.EnqueueRequestsFromMapFunc(r.tokensOfIssuer), builder.WithPredicates(r.forgetsIssuers())).
			WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.tokensOfNamespace),
				builder.WithPredicates(predicate.Or(predicate.LabelChangedPredicate{}, namespaceTerminates)))
	}
	return tokens.Complete(r)
}

// afterSetup is for tests that look at what a reconciler remembers.
var afterSetup = func(*TokenReconciler) {}

// logger names the resource in each line of the log, as For would.
func (r *TokenReconciler) logger(log logr.Logger) func(*reconcile.Request) logr.Logger {
	kind := r.kind.newToken().Kind()
	log = log.WithValues("controller", strings.ToLower(kind), "controllerGroup", v1alpha1.GroupVersion.Group, "controllerKind", kind)
	return func(request *reconcile.Request) logr.Logger {
		if request == nil {
			return log
		}
		return log.WithValues(kind, klog.KRef(request.Namespace, request.Name), "namespace", request.Namespace, "name", request.Name)
	}
}

// enqueue has a resource reconciled when it changes. Where more of an issuer fail or wait than there are workers, its others can
// wait too: they come after those of other issuers. Not so what is to be revoked.
func (r *TokenReconciler) enqueue() handler.Funcs {
	add := func(o client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		t, request := o.(v1alpha1.Token), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)}
		queue, hasPriorities := q.(priorityqueue.PriorityQueue[reconcile.Request])
		if hasPriorities && t.GetDeletionTimestamp().IsZero() && r.failures.crowd(v1alpha1.IssuerName(t)) >= workers {
			queue.AddWithOpts(priorityqueue.AddOpts{Priority: new(handler.LowPriority)}, request)
			return
		}
		q.Add(request)
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(e.Object, q)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(e.ObjectNew, q)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			r.forget(e.Object.GetUID())
			add(e.Object, q)
		},
	}
}

// forget drops what is remembered of a resource that is gone, also of one that somebody took the finalizer off.
func (r *TokenReconciler) forget(uid types.UID) {
	r.written.forget(uid)
	r.failures.forget(uid)
	r.holderSightings.forget(uid)
}

// forgetsIssuers passes everything, and drops what is remembered of an issuer that is gone.
func (r *TokenReconciler) forgetsIssuers() predicate.Predicate {
	return predicate.Funcs{DeleteFunc: func(e event.DeleteEvent) bool {
		r.orphans.forget(keyOf(e.Object.(v1alpha1.Issuer)))
		return true
	}}
}

func (r *TokenReconciler) tokensOfIssuer(ctx context.Context, o client.Object) []reconcile.Request {
	return r.requests(ctx, usersOf(o.(v1alpha1.Issuer))...)
}

func (r *TokenReconciler) tokensOfSecret(ctx context.Context, o client.Object) []reconcile.Request {
	// Credentials of ClusterTokenIssuers are followed in the operator's namespace, whose tokens may be none of ours.
	if !r.Scope.covers(o.GetNamespace()) {
		return nil
	}
	return r.requests(ctx, client.InNamespace(o.GetNamespace()), client.MatchingFields{secretIndex: o.GetName()})
}

func (r *TokenReconciler) tokensOfNamespace(ctx context.Context, o client.Object) []reconcile.Request {
	if !r.Scope.covers(o.GetName()) {
		return nil
	}
	return r.requests(ctx, client.InNamespace(o.GetName()))
}

func (r *TokenReconciler) requests(ctx context.Context, options ...client.ListOption) []reconcile.Request {
	tokens, err := resources.TokensIn(ctx, r.Client, r.kind.newList(), options...)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing tokens from the cache")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(tokens))
	for _, t := range tokens {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(t)})
	}
	return requests
}

// Reconcile brings one token resource a step, or several, nearer to what its spec asks for: observe → decide → act,
// until there is nothing to do, then report.
func (r *TokenReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	s, err := r.observe(ctx, request.NamespacedName)
	if err != nil || s == nil {
		return reconcile.Result{}, err
	}
	defer s.unlockMints()
	var plan lifecycle.Plan
	for range maxSteps {
		plan = lifecycle.Decide(s.observation(r.Clock.Now()))
		if plan.Action == lifecycle.Wait {
			break
		}
		err = r.act(ctx, s, plan)
		if failed := new(issuer.Error); errors.As(err, &failed) {
			r.failures.note(s, plan.Action, failed)
			s.failures, err = r.failures.of(s), nil
		}
		if err != nil || s.released {
			break
		}
	}
	if s.released {
		r.announce(ctx, s)
		return reconcile.Result{}, nil
	}
	if err == nil && plan.Action != lifecycle.Wait {
		err = fmt.Errorf("no rest after %d steps, the last by the rule %q", maxSteps, plan.Rule)
	}
	if reportErr := r.report(ctx, s, plan, err); reportErr != nil && err == nil {
		err = reportErr
	}
	switch {
	case apierrors.IsConflict(err):
		// The cache was behind; what it lacks is on its way and comes with an event of its own.
		return later(conflictRetry), nil
	case err != nil:
		return reconcile.Result{}, err
	}
	if o := s.observedSecret(); plan.Action == lifecycle.Wait && o.Conflict != nil && o.Confirmed && s.secret != nil {
		r.obstacles.await(ctx, s.secret)
	}
	result := requeueAfter(plan.Next, r.Clock.Now())
	if plan.Problem != nil && result.Priority != nil {
		result.Priority = new(handler.LowPriority) // Who fails again and again does not hold up the others.
	}
	return result, nil
}
