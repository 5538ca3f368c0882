package codacy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/api"
	"github.com/tokensteward/tokensteward/internal/token"
)

const (
	// maxTokens is how many tokens Codacy allows a repository.
	maxTokens = 100
	// maxListedIDs is how many ids an attempt can record; the schema has the same bound.
	maxListedIDs = 1000
	// fingerprintShare of a token's life is the range from which its exact expiry is chosen, to be known again by it.
	fingerprintShare = 0.03
	// minPrune is how many fingerprints, or places, are kept without a look whether some are of no use any more.
	minPrune = 1000
	// maxName is how long the name of a token may be that the status records; the schema has the same bound.
	maxName = 100
	// uidCharacters of a resource's UID are in the names of its tokens.
	uidCharacters = 20
)

// uidPart is the part of a name that tells whose the token is.
func uidPart(uid types.UID) string { return string(uid)[:min(len(uid), uidCharacters)] }

// recognizes says whether an attempt to mint can be found again by its name or its expiry, from what the service was seen
// to do. If not, what there was before has to be written down.
func recognizes(seen v1alpha1.TokenCapabilities) bool {
	return is(seen.Names) || is(seen.EchoedExpiration)
}

// Prepare implements issuer.Issuer. docs/codacy.md, How a token is found again.
func (c *Connection) Prepare(ctx context.Context, request issuer.Request) (issuer.Attempt, error) {
	p, err := placeOf(request.Kind, request.Subject)
	if err != nil {
		return issuer.Attempt{}, err
	}
	seen := c.capabilitiesOf(p.kind)
	attempt := issuer.Attempt{Kind: request.Kind, Subject: request.Subject, Release: func() {}}
	requests := 1
	if !recognizes(seen) {
		requests = 2
		end, ok := c.services.begin(c.exclusive(p))
		if !ok {
			return issuer.Attempt{}, anotherIsUnderWay(p)
		}
		attempt.Release = end
	}
	record, err := c.prepare(ctx, p, &request, requests)
	if err != nil {
		attempt.Release()
		return issuer.Attempt{}, err
	}
	attempt.Record = *record
	return attempt, nil
}

func (c *Connection) prepare(ctx context.Context, p place, request *issuer.Request, requests int) (*v1alpha1.PendingToken, error) {
	if err := c.turn(request.UID, requests); err != nil {
		return nil, err
	}
	record := &v1alpha1.PendingToken{Revision: request.Revision, URL: c.config.URL, AccountID: c.Account().ID}
	if requests > 1 {
		ctx, _ := withPermits(ctx, 1)
		found, err := c.list(ctx, p)
		if err != nil {
			return nil, c.failed(ctx, p, err)
		}
		if len(found) > maxListedIDs {
			return nil, &issuer.Error{
				Reason: v1alpha1.ReasonTokenLimitReached, Stalled: true, NothingMinted: true,
				Message: fmt.Sprintf("There are more than %d tokens in %s, so that a new one could not be told from them: revoke those that nobody uses.", maxListedIDs, p),
			}
		}
		record.Listed = true
		for _, t := range found {
			record.ListedIDs = append(record.ListedIDs, v1alpha1.ServiceID(t.id))
		}
	}
	now := c.options.Clock.Now().Truncate(time.Second)
	record.StartTime = metav1.NewTime(now)
	lifetime := min(request.Lifetime, issuer.MaxLifetime)
	expires := metav1.NewTime(now.Add(lifetime))
	if p.kind == v1alpha1.KindProjectToken {
		record.Name = fmt.Sprintf("%s%s-%d", c.options.namePrefix(), uidPart(request.UID), request.Revision)
	}
	if record.Name == "" || !is(c.capabilitiesOf(p.kind).Names) {
		expires = metav1.NewTime(c.fingerprint(expires.Time, lifetime))
	}
	record.ExpirationTime = &expires
	return record, nil
}

// fingerprint is an expiry, to the second, that no other attempt of this process has.
func (c *Connection) fingerprint(latest time.Time, lifetime time.Duration) time.Time {
	const tries = 100 // The life of an hour has no more seconds to choose from.
	c.mu.Lock()
	defer c.mu.Unlock()
	var at time.Time
	for range tries {
		earlier := time.Duration(rand.Float64() * fingerprintShare * float64(lifetime)) //nolint:gosec // A spread, not a secret.
		if at = latest.Add(-earlier).Truncate(time.Second); !c.fingerprints[at.Unix()] {
			break
		}
	}
	if len(c.fingerprints) >= c.pruneFingerprintsAt {
		now := c.options.Clock.Now().Unix() // What has expired is nobody's any more.
		maps.DeleteFunc(c.fingerprints, func(expires int64, _ bool) bool { return expires < now })
		c.pruneFingerprintsAt = max(minPrune, 2*len(c.fingerprints))
	}
	c.fingerprints[at.Unix()] = true
	return at
}

// Mint implements issuer.Issuer. One request, if all goes well; it is never repeated unless it was refused.
func (c *Connection) Mint(ctx context.Context, attempt issuer.Attempt) (issuer.Token, error) {
	p, err := placeOf(attempt.Kind, attempt.Subject)
	if err != nil {
		return issuer.Token{}, err
	}
	ctx, _ = withPermits(ctx, 1) // That Prepare took.
	seen := c.capabilitiesOf(p.kind)
	bare := c.sendsNoBody(p.kind)
	created, err := c.create(ctx, p, &attempt.Record, bare)
	var no *refusal
	if errors.As(err, &no) && no.status == http.StatusBadRequest && !bare && !recognizes(seen) {
		// An edition from before names and expiry may mind the body. Nothing was made, so another request is no second one,
		// unless it was the name that was minded.
		if cause := c.notMinted(ctx, p, &attempt.Record, err); cause.Reason != v1alpha1.ReasonServiceRefused || !cause.NothingMinted {
			return issuer.Token{}, cause
		}
		bare = true
		created, err = c.create(ctx, p, &attempt.Record, bare)
		if err == nil && created.Name == nil && created.ExpiresAt == nil {
			c.sendNoBody(p.kind)
		}
	}
	if err != nil {
		return issuer.Token{}, c.notMinted(ctx, p, &attempt.Record, err)
	}
	minted := issuer.Token{ID: strconv.FormatInt(created.ID, 10), Value: created.Token}
	if created.Name != nil {
		minted.Name = truncate(*created.Name, maxName)
	}
	if created.ExpiresAt != nil {
		minted.ExpirationTime = *created.ExpiresAt
	}
	if !bare {
		c.learn(p.kind, func(seen *v1alpha1.TokenCapabilities) bool {
			changed := attempt.Record.Name != "" && setTo(&seen.Names, minted.Name == attempt.Record.Name)
			return setTo(&seen.EchoedExpiration, minted.ExpirationTime.Equal(attempt.Record.ExpirationTime.Time)) || changed
		})
	}
	return minted, nil
}

// create makes a token. bare: with an empty body, as editions want it that know neither names nor expiry.
func (c *Connection) create(ctx context.Context, p place, record *v1alpha1.PendingToken, bare bool) (*api.CreatedAPIToken, error) {
	var body io.Reader
	if !bare {
		expires := record.ExpirationTime.UTC()
		var asked any = api.NewRepositoryAPIToken{Name: record.Name, ExpiresAt: expires}
		if p.kind == v1alpha1.KindAccountToken {
			asked = api.NewUserAPIToken{ExpiresAt: &expires}
		}
		encoded, err := json.Marshal(asked)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(encoded)
	}
	var created *api.CreatedAPIToken
	if p.kind == v1alpha1.KindAccountToken {
		answer, err := c.api.CreateUserAPITokenWithBodyWithResponse(ctx, contentType, body)
		if err != nil {
			return nil, err
		}
		created = answer.JSON200
	} else {
		answer, err := c.api.CreateRepositoryAPITokenWithBodyWithResponse(ctx, p.provider, p.organization, p.repository, contentType, body)
		if err != nil {
			return nil, err
		}
		if answer.JSON201 != nil {
			created = &answer.JSON201.Data
		}
	}
	// A value that is masked, or can't be sent in a header, is of no use to anybody. The attempt is settled as one without an answer.
	if created == nil || created.ID <= 0 || !whole(created.Token) {
		return nil, errUnknownAnswer
	}
	return created, nil
}

// notMinted says why there is no token, or why that can't be told.
func (c *Connection) notMinted(ctx context.Context, p place, record *v1alpha1.PendingToken, err error) *issuer.Error {
	var no *refusal
	if !errors.As(err, &no) {
		return c.failed(ctx, p, err)
	}
	switch no.status {
	case http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity:
	default:
		failure := c.failed(ctx, p, err)
		failure.NothingMinted = true
		return failure
	}
	refused := &issuer.Error{
		Reason: v1alpha1.ReasonServiceRefused, Stalled: true, NothingMinted: true,
		Message: fmt.Sprintf("%s to the request for a token in %s, which has room for one. Do the clocks of Codacy and of this cluster agree?", no, p),
	}
	found, err := c.list(ctx, p)
	if err != nil {
		// If it was the name that was refused, then an earlier request of this very attempt took it.
		refused.NothingMinted = record.Name == ""
		return refused
	}
	for _, t := range found {
		if record.Name != "" && t.name == record.Name {
			// An earlier request for this very attempt, which came in late.
			return &issuer.Error{Reason: v1alpha1.ReasonSettling, Message: "Codacy has a token of the name that was asked for; it is looked for."}
		}
	}
	if p.kind == v1alpha1.KindProjectToken && len(found) >= maxTokens {
		refused.Reason = v1alpha1.ReasonTokenLimitReached
		refused.Message = fmt.Sprintf("%s has %d tokens, and Codacy allows no more: revoke in Codacy those that nobody uses, then annotate this resource with %s.",
			capitalized(p.String()), len(found), v1alpha1.ReconcileRequestAnnotation)
	}
	return refused
}

func (c *Connection) sendsNoBody(kind string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bare[kind]
}

func (c *Connection) sendNoBody(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bare[kind] = true
}

// exclusive names the place where, as long as tokens are not recognized, one is minted at a time.
func (c *Connection) exclusive(p place) string {
	account := ""
	if p.kind == v1alpha1.KindAccountToken {
		account = c.Account().ID
	}
	return fmt.Sprintf("%s|%s|%s", c.config.URL, account, p)
}

func anotherIsUnderWay(p place) *issuer.Error {
	return &issuer.Error{
		Reason: v1alpha1.ReasonWaitingForTurn, RetryAfter: time.Second, NothingMinted: true,
		Message: fmt.Sprintf("Another token is being minted in %s, where one is at a time. This one comes next by itself.", p),
	}
}

// shown is the value of a listed token; not ok if the list shows none, or one of which nobody knows whether it is whole.
func (c *Connection) shown(p place, all []listed, t *listed, known func(id string) (sha256 string, known bool)) (value token.Value, ok bool) {
	if !whole(t.value) {
		return token.Value{}, false
	}
	proven := is(c.capabilitiesOf(p.kind).ListedValues)
	for i := range all {
		other := &all[i]
		sha256, _ := known(other.id)
		proven = proven || c.isCredential(p, other) || sha256 == other.value.SHA256()
	}
	return t.value, proven
}

// whole says whether a value may be one: no mask has so many letters and digits, and nothing else.
func whole(value token.Value) bool {
	text := value.Reveal()
	letters := map[rune]bool{}
	for _, r := range text {
		if (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_' {
			return false
		}
		letters[r] = true
	}
	return len(text) >= 16 && len(letters) >= 6
}
