// Package issuer is the contract between the engine and a service that hands out tokens. docs/architecture.md, Issuers.
package issuer

import (
	"context"
	"fmt"
	"strings"
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
//   - nothing that somebody else made is claimed by Settle, or ended by Revoke;
//   - no value appears in an error, or in the printed form of anything that is returned.
//
// What a service refuses, or fails to do, comes back as an *Error.
type Issuer interface {
	// Prepare draws up an attempt. The engine writes its Record into the resource's status, and only then calls Mint.
	Prepare(ctx context.Context, request Request) (Attempt, error)

	// Mint makes the token of an attempt whose Record was written. The returned token is accepted by the service.
	// It is never called twice for one record. An error leaves the attempt open, unless it is an *Error with
	// NothingMinted.
	Mint(ctx context.Context, attempt Attempt) (Token, error)

	// Settle finds out what became of an attempt of which only the Record is left, because the process that began it
	// is gone or its answer was lost. It can be repeated.
	Settle(ctx context.Context, inquiry Inquiry) (Settlement, error)

	// Revoke ends a token, or what may be left of an attempt. After nil, and once the engine has struck it off the
	// status, it is accepted no more. Revoking what is revoked already is a success, if the service proves it.
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
	Kind    string
	Subject string
	Record  v1alpha1.PendingToken
	// Value is the token's, if it is chosen before the service knows it.
	Value token.Value
	// Release is to be called once what became of the attempt is in the status, or it was given up: until then, where a
	// service's tokens can't be told apart, nothing else is minted beside it. It may be nil.
	Release func()
}

// Token is a token that exists.
type Token struct {
	ID    string
	Name  string
	Value token.Value
	// ExpirationTime is what the service says; zero if it does not.
	ExpirationTime time.Time
}

// Inquiry asks what became of an attempt.
type Inquiry struct {
	Kind    string
	Subject string
	// UID is the resource's.
	UID    types.UID
	Record v1alpha1.PendingToken
	Now    time.Time
	// Known says whether some resource has the token of this id, and its hash if that is known. Disowned says whether the
	// user said that it is somebody else's.
	Known    func(id string) (sha256 string, known bool)
	Disowned func(id string) bool
	// InSecret is what the resource's Secret holds, if that was written for the revision of the attempt. Whoever may edit the
	// Secret may have put it there.
	InSecret token.Value
}

// Settlement is what Settle found: one of these, or nothing at all.
type Settlement struct {
	// Token is the attempt's token, and its value is known.
	Token *Token
	// Lost is the id of the attempt's token, the value of which is known to nobody.
	Lost string
	// NotBefore is when to ask again: there is nothing yet, and a token may still come to life.
	NotBefore time.Time
	// Ambiguous are tokens of which one may be the attempt's. None may be touched.
	Ambiguous []string
	// Recognizable: should a token of the attempt come to life after all, Revoke finds it by its record.
	Recognizable bool
}

// Reference names a token, or an attempt to mint one, by what status records of it.
type Reference struct {
	Kind    string
	Subject string
	// UID is the resource's.
	UID    types.UID
	ID     string
	SHA256 string
	// Of an attempt without an id: the name and the expiry that were asked for.
	Name           string
	ExpirationTime time.Time
	// URL and AccountID are the service, and the account there, that it was made with. Empty for a built-in token.
	URL       string
	AccountID string
	// Known says whether some resource has the token of this id, and Disowned whether the user said that it is somebody
	// else's.
	Known    func(id string) (sha256 string, known bool)
	Disowned func(id string) bool
}

// Error is what a service refused, or failed to do. Its text can be shown.
type Error struct {
	// Reason is one of the reasons of conditions, and Message a sentence that says what to do next.
	Reason  string
	Message string
	// Stalled: nothing gets better before a person acts.
	Stalled bool
	// CredentialGone: the service itself does not know the credential.
	CredentialGone bool
	// NothingMinted: Mint made no token, and none will come to life.
	NothingMinted bool
	// RetryAfter is how long to wait at least before it is tried again; 0: as the engine sees fit.
	RetryAfter time.Duration
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Ambiguous is the error of an attempt of which one of several tokens may be the token, or none.
func Ambiguous(place string, candidates []string) *Error {
	return &Error{
		Reason: v1alpha1.ReasonAmbiguousToken, Stalled: true,
		Message: fmt.Sprintf("An attempt to mint had no answer, and meanwhile tokens came up in %s that may be its own: %s. "+
			"Revoke there what nobody made by hand, or say which ones are somebody else's with the annotation %s: %q.",
			place, strings.Join(candidates, ", "), v1alpha1.NotMineAnnotation, strings.Join(candidates, ",")),
	}
}
