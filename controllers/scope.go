package controllers

import (
	"slices"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// Scope is what an installation looks after. The zero Scope is a whole cluster.
type Scope struct {
	// Namespaces are those whose tokens and TokenIssuers are looked after; none: all.
	Namespaces []string
	// WithoutClusterIssuers: only TokenIssuers are served, and nothing is read that belongs to the whole cluster, neither
	// ClusterTokenIssuers nor Namespaces.
	WithoutClusterIssuers bool
}

// Limited says whether there may be namespaces that are not looked after.
func (s *Scope) Limited() bool { return len(s.Namespaces) > 0 }

// covers says whether a namespace is looked after. The cache knows nothing of the others, and asking it is an error.
func (s *Scope) covers(namespace string) bool {
	return !s.Limited() || slices.Contains(s.Namespaces, namespace)
}

// issuerKinds are the kinds of issuers that are served.
func (s *Scope) issuerKinds() []string {
	if s.WithoutClusterIssuers {
		return []string{v1alpha1.KindTokenIssuer}
	}
	return []string{v1alpha1.KindClusterTokenIssuer, v1alpha1.KindTokenIssuer}
}

func (s *Scope) serves(issuerKind string) bool { return slices.Contains(s.issuerKinds(), issuerKind) }
