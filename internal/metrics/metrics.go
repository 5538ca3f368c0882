// Package metrics defines the operator's own metrics. Their names are documented in docs/authority.md, docs/codacy.md
// and docs/tokens.md.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// AuthorityDecisions counts what the authority was asked, by issuer ("-" for one that does not exist) and decision.
var AuthorityDecisions = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "tokensteward_authority_decisions_total",
	Help: "Tokens that the built-in authority was asked about, by issuer and decision.",
}, []string{"issuer", "decision"})

// OrphanedTokens counts the tokens at a service that carry a name of this installation and belong to no resource.
var OrphanedTokens = prometheus.NewGaugeVec(prometheus.GaugeOpts{
	Name: "tokensteward_orphaned_tokens",
	Help: "Tokens at the issuer's service that carry a name of this installation and have belonged to no resource for an hour.",
}, []string{"issuer_kind", "issuer_namespace", "issuer"})

// LeftTokens counts the tokens that were left at a service when their resource was deleted.
var LeftTokens = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "tokensteward_left_tokens_total",
	Help: "Tokens that were left at the issuer's service when their resource was deleted, as its deletionPolicy or the annotation abandon says.",
}, []string{"issuer_kind", "issuer_namespace", "issuer"})

func init() { //nolint:gochecknoinits // Where controller-runtime wants them registered.
	metrics.Registry.MustRegister(AuthorityDecisions, OrphanedTokens, LeftTokens)
}
