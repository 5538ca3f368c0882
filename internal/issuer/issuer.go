// Package issuer is the contract between the engine and a service that hands out tokens.
package issuer

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/token"
)

// MaxLifetime is the longest life that is ever asked for: a year, which services allow at most, less five minutes
// for clocks that differ.
const MaxLifetime = 365*24*time.Hour - 5*time.Minute

// Issuer is a service that hands out tokens, as seen for one issuer resource. Its methods may be called from several
// goroutines. The package issuertest holds every implementation to these promises:
//
//   - a token comes to life with the write of the record of its attempt or with Mint, never by Prepare;
//   - whatever Prepare, Mint or a crash between them left behind, Settle with the record alone leaves nothing that
//     Revoke with that record would not end;
//   - no value appears in an error, or in the printed form of anything that is returned.
type Issuer interface {
	// Prepare draws up an attempt. The engine writes its Record into the resource's status, and only then calls Mint.
	Prepare(ctx context.Context, request Request) (Attempt, error)

	// Mint makes the token of an attempt whose Record was written. The returned token is accepted by the service.
	// It is never called twice for one attempt. An error leaves the attempt open.
	Mint(ctx context.Context, attempt Attempt) (Token, error)

	// Settle finds out what became of an attempt of which only the Record is left, because the process that began it
	// is gone or its answer was lost. It can be repeated.
	Settle(ctx context.Context, record v1alpha1.PendingToken) (Settlement, error)

	// Revoke ends a token, or what may be left of an attempt. After nil, and once the engine has struck it off the
	// status, it is accepted no more. Revoking what is revoked already is a success.
	Revoke(ctx context.Context, reference Reference) error
}

// Request is what a new token should be.
type Request struct {
	// Kind is AccountToken or ProjectToken.
	Kind string
	// Subject is the account's name, or the project as provider/organization/repository.
	Subject string
	// UID is the resource's.
	UID types.UID
	// Revision counts the tokens of the resource.
	Revision int64
	// Now is the time of the attempt, and Lifetime how long the token should live from then.
	Now      time.Time
	Lifetime time.Duration
}

// Attempt is an attempt to mint a token: what is written down of it, and what must not be.
type Attempt struct {
	Record v1alpha1.PendingToken
	// Value is the token's, if it is chosen before the service knows it.
	Value token.Value
}

// Token is a token that exists.
type Token struct {
	ID             string
	Value          token.Value
	ExpirationTime time.Time
}

// Settlement is what Settle found.
type Settlement struct {
	// Token is the attempt's token, if the service has it and shows its value; else nil, and the attempt can only be
	// closed and another one made.
	Token *Token
}

// Reference names a token, or an attempt to mint one, by what status records of it.
type Reference struct {
	ID     string
	SHA256 string
}
