package codacytest

import (
	"fmt"
	"net/http"
	"time"
)

// BodyUse is what an edition does with the body of createRepositoryApiToken.
type BodyUse string

// What is done with a body.
const (
	// HonoursBody: a name and an expiry, or no body at all.
	HonoursBody BodyUse = "honours"
	IgnoresBody BodyUse = "ignores"
	// RefusesBody with 400, even an empty object.
	RefusesBody BodyUse = "refuses"
)

// ValueForm is how much of a token's value a list shows.
type ValueForm string

// How a list shows values.
const (
	FullValues ValueForm = "full"
	// MaskedValues: the first four characters, then asterisks.
	MaskedValues  ValueForm = "masked"
	EmptyValues   ValueForm = "empty"
	MissingValues ValueForm = "missing"
)

// RateLimit is how many requests one source may make.
type RateLimit struct {
	// Requests in each Period, which begins with a source's first request.
	Requests int
	Period   time.Duration
	// Status of the answer to the requests beyond: 503, 504 or 429.
	Status int
	// RetryAfter, in whole seconds, says how long to wait; 0 says nothing.
	RetryAfter time.Duration
}

// ExpiredError is what the legacy API answers to a repository token that has expired.
type ExpiredError struct {
	Status int
	// Body is JSON.
	Body string
}

// Behaviour is everything in which editions of Codacy differ, or in which it is not known what Codacy does.
type Behaviour struct {
	// Version is what getVersion answers.
	Version string

	// RepositoryTokens: their operations exist; if not they are answered with 404.
	RepositoryTokens bool
	// RevokesMany: deleteRepositoryApiTokens exists.
	RevokesMany bool
	// RepositoryTokenBody also says whether repository tokens have names and an expiry: only if it is honoured.
	RepositoryTokenBody BodyUse
	// AccountExpiry: expiresAt of a new account token is honoured; if not it is ignored.
	AccountExpiry bool
	// AccountExpiryRequired: an account token without expiresAt is refused with 400. It needs AccountExpiry.
	AccountExpiryRequired bool
	// DefaultLifetime of a token that is made without expiresAt where it could have one; 0: it never expires.
	DefaultLifetime time.Duration
	// EchoesExpiry: answers tell when a token expires, if it does.
	EchoesExpiry bool
	// ShowsCreatedAt: answers tell when a token was created.
	ShowsCreatedAt bool

	// RepositoryListValues is how lists show the values of repository tokens. Those of account tokens are always full.
	RepositoryListValues ValueForm
	// RepositoryPage is the most repository tokens in one answer. The next page is at the undocumented parameter cursor.
	// 0: all are in one answer, and it says nothing of pages.
	RepositoryPage int
	// KeepsExpired: a token that expired stays in lists, and counts for RepositoryLimit and for clashes of names.
	KeepsExpired bool

	// RepositoryLimit is the most tokens of a repository; 0: there is no limit.
	RepositoryLimit int
	// LimitStatus answers the token beyond RepositoryLimit: 400, 409 or 422.
	LimitStatus int
	// NameClashStatus answers a name that another token of the repository has: 400, 409 or 422.
	NameClashStatus int
	// NoRoleStatus answers who may not do something in a repository: 401, 403 or 404.
	NoRoleStatus int
	// UnknownTokenIs404: revoking a token that does not exist is answered with 404; if not with 204.
	UnknownTokenIs404 bool

	// Expired is how the legacy API tells that a repository token has expired.
	Expired ExpiredError
	// RateLimit of each source address; nil: there is none.
	RateLimit *RateLimit
}

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// Editions are the names that Edition knows, the newest first.
var Editions = []string{"cloud-2026-08", "cloud-2025-07", "self-hosted-16", "self-hosted-4.2"}

// Edition is how an edition of Codacy behaves, with a choice for what is not known. The error says which names there are.
func Edition(name string) (Behaviour, error) {
	b := Behaviour{
		RepositoryTokens:     true,
		RepositoryTokenBody:  IgnoresBody,
		ShowsCreatedAt:       true,
		RepositoryListValues: FullValues,
		RepositoryLimit:      100,
		LimitStatus:          http.StatusBadRequest,
		NameClashStatus:      http.StatusConflict,
		NoRoleStatus:         http.StatusForbidden,
		UnknownTokenIs404:    true,
		Expired:              ExpiredError{Status: http.StatusUnauthorized, Body: `{"error":"token expired"}`},
	}
	cloud := &RateLimit{Requests: 2500, Period: 5 * time.Minute, Status: http.StatusServiceUnavailable}
	switch name {
	case "cloud-2026-08":
		b.Version, b.RateLimit = "2026.08", cloud
		b.RevokesMany = true
		b.RepositoryTokenBody = HonoursBody
		b.RepositoryListValues = MissingValues
		b.AccountExpiry, b.EchoesExpiry, b.KeepsExpired = true, true, true
		b.DefaultLifetime = year
	case "cloud-2025-07":
		b.Version, b.RateLimit = "2025.07", cloud
		b.AccountExpiry, b.EchoesExpiry = true, true
	case "self-hosted-16":
		b.Version = "16.0.0"
		b.ShowsCreatedAt = false
	case "self-hosted-4.2":
		b.Version = "4.2.0"
		b.RepositoryTokens = false
		b.ShowsCreatedAt = false
	default:
		return Behaviour{}, fmt.Errorf("there is no edition %q of Codacy here, only %q", name, Editions)
	}
	return b, nil
}

// repositoryNames says whether repository tokens have names.
func (b *Behaviour) repositoryNames() bool { return b.RepositoryTokenBody == HonoursBody }
