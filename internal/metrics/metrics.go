// Package metrics defines the operator's own metrics. make generate lists them in docs/metrics.md, with their helps.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// Of an issuer.
var issuerLabels = []string{"issuer_kind", "issuer_namespace", "issuer"}

// Why a token was minted.
const (
	// CauseFirst: the resource had none.
	CauseFirst = "first"
	// CauseDue: the one before was due to be replaced.
	CauseDue = "due"
	// CauseRequested: somebody asked for it.
	CauseRequested = "requested"
	// CauseLost: the one before was not in the Secret any more, or not at the service, or had expired.
	CauseLost = "lost"
)

var (
	// AuthorityDecisions counts what the authority was asked, by issuer ("-" for one that does not exist) and decision.
	AuthorityDecisions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tokensteward_authority_decisions_total",
		Help: "Tokens that the built-in authority was asked about, by issuer and decision (docs/authority.md#its-metric).",
	}, []string{"issuer", "decision"})

	// OrphanedTokens counts the tokens at a service that carry a name of this installation and belong to no resource.
	OrphanedTokens = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tokensteward_orphaned_tokens",
		Help: "Tokens at the issuer's service that carry a name of this installation and have belonged to no resource for an hour (docs/codacy.md#orphans).",
	}, issuerLabels)

	// LeftTokens counts the tokens that were left at a service when their resource was deleted.
	LeftTokens = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tokensteward_left_tokens_total",
		Help: "Tokens that were left at the issuer's service when their resource was deleted, as its deletionPolicy or the annotation abandon says (docs/tokens.md#deletion).",
	}, issuerLabels)

	// MintedTokens counts the tokens that were minted and written into a Secret, by kind of resource and by cause.
	MintedTokens = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tokensteward_minted_tokens_total",
		Help: "Tokens that were minted and written into a Secret, by kind of resource and by cause: first, due, requested or lost. All but the first are rotations.",
	}, append([]string{"kind", "cause"}, issuerLabels...))

	// RevokedTokens counts the tokens that were revoked.
	RevokedTokens = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tokensteward_revoked_tokens_total",
		Help: "Tokens that were revoked, by kind of resource.",
	}, append([]string{"kind"}, issuerLabels...))

	// ServiceRequests are the requests to issuers' services: how many, and how long they took.
	ServiceRequests = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "tokensteward_service_request_duration_seconds",
		Help:    "Requests to the issuer's service, by operation, as its API calls it, and by code, the status of the answer; none if there was none.",
		Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
	}, append([]string{"operation", "code"}, issuerLabels...))
)

// Forget drops the series of an issuer that is gone. Counters of what happened go with it.
func Forget(kind, namespace, name string) {
	labels := prometheus.Labels{"issuer_kind": kind, "issuer_namespace": namespace, "issuer": name}
	OrphanedTokens.DeletePartialMatch(labels)
	LeftTokens.DeletePartialMatch(labels)
	MintedTokens.DeletePartialMatch(labels)
	RevokedTokens.DeletePartialMatch(labels)
	ServiceRequests.DeletePartialMatch(labels)
}

// ForgetDecisions drops the series of what the authority decided for an issuer that is gone.
func ForgetDecisions(issuer string) {
	AuthorityDecisions.DeletePartialMatch(prometheus.Labels{"issuer": issuer})
}

func init() { //nolint:gochecknoinits // Where controller-runtime wants them registered.
	metrics.Registry.MustRegister(AuthorityDecisions, OrphanedTokens, LeftTokens, MintedTokens, RevokedTokens, ServiceRequests)
}
