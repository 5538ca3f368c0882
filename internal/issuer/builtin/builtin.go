// Package builtin is the issuer that is built into the operator. The status of the token resources is its ledger: a
// hash that stands there is accepted by the authority, one that does not is refused. So there is no service to ask,
// and recording an attempt, or taking a token out of the status, is all that it takes to make or to revoke one.
package builtin

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
)

// Issuer implements issuer.Issuer.
type Issuer struct{}

var _ issuer.Issuer = Issuer{}

// Prepare chooses the token. It comes to life when the record, with its hash, is in the resource's status.
func (Issuer) Prepare(_ context.Context, request issuer.Request) (issuer.Attempt, error) {
	value, err := newValue(request.Kind)
	if err != nil {
		return issuer.Attempt{}, err
	}
	started := metav1.NewTime(request.Now.Truncate(time.Second))
	expires := metav1.NewTime(started.Add(min(request.Lifetime, issuer.MaxLifetime)))
	return issuer.Attempt{
		Kind: request.Kind, Subject: request.Subject, Value: value,
		Record: v1alpha1.PendingToken{
			Revision:       request.Revision,
			StartTime:      started,
			ID:             fmt.Sprintf("%s-%d", request.UID, request.Revision),
			SHA256:         value.SHA256(),
			ExpirationTime: &expires,
		},
	}, nil
}

// Mint hands out the token, which the record brought to life.
func (Issuer) Mint(_ context.Context, attempt issuer.Attempt) (issuer.Token, error) {
	return issuer.Token{
		ID:             attempt.Record.ID,
		Value:          attempt.Value,
		ExpirationTime: attempt.Record.ExpirationTime.Time,
	}, nil
}

// Settle finds nothing: the value of a lost attempt is known to nobody.
func (Issuer) Settle(context.Context, issuer.Inquiry) (issuer.Settlement, error) {
	return issuer.Settlement{}, nil
}

// Revoke has nothing to ask: the engine takes the token out of the status, and then it is refused.
func (Issuer) Revoke(context.Context, issuer.Reference) error { return nil }

// Entry is one hash that the ledger accepts.
type Entry struct {
	ID       string
	Revision int64
	SHA256   string
	IssuedAt time.Time
	Expires  time.Time
}

// Entries reads what a resource's status, if it is to be believed, accepts: the token, the open attempt and the
// previous tokens. A resource that is being deleted, or whose status was written for another one, accepts nothing.
func Entries(t v1alpha1.Token) []Entry {
	status := t.SharedStatus()
	if t.SharedSpec().IssuerRef.Kind == v1alpha1.KindTokenIssuer {
		return nil // Only a ClusterTokenIssuer can be built in.
	}
	if !t.GetDeletionTimestamp().IsZero() || status.OwnerUID != t.GetUID() {
		return nil
	}
	entries := make([]Entry, 0, 2+len(status.PreviousTokens))
	add := func(id string, revision int64, sha256, url string, issued, expires *metav1.Time) {
		// A built-in token always expires, and is of no service; else it is not one of ours.
		if sha256 != "" && expires != nil && url == "" {
			entry := Entry{ID: id, Revision: revision, SHA256: sha256, Expires: expires.Time}
			if issued != nil {
				entry.IssuedAt = issued.Time
			}
			entries = append(entries, entry)
		}
	}
	if current := status.Token; current != nil {
		add(current.ID, current.Revision, current.SHA256, current.URL, &current.IssueTime, current.ExpirationTime)
	}
	if pending := status.Pending; pending != nil {
		add(pending.ID, pending.Revision, pending.SHA256, pending.URL, &pending.StartTime, pending.ExpirationTime)
	}
	for i := range status.PreviousTokens {
		previous := &status.PreviousTokens[i]
		add(previous.ID, previous.Revision, previous.SHA256, previous.URL, nil, previous.ExpirationTime)
	}
	return entries
}
