package codacytest

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"time"

	"github.com/tokensteward/tokensteward/internal/token"
)

// Role is what an account may do in a repository.
type Role string

// Roles. Only an Admin may do anything with the repository's tokens.
const (
	Admin Role = "admin"
	Write Role = "write"
	Read  Role = "read"
	None  Role = "none"
)

// The kinds of tokens.
const (
	AccountToken    = "account"
	RepositoryToken = "repository"
)

// Token is a token that Codacy issued.
type Token struct {
	ID   int64
	Kind string
	// Account is whose it is, if its Kind is AccountToken.
	Account int64
	// Repository is whose it is, if its Kind is RepositoryToken: provider/organization/repository.
	Repository string
	Name       string
	Value      token.Value
	Created    time.Time
	// Expires is nil if it never does.
	Expires *time.Time
	// HandMade: it was made in the web UI.
	HandMade bool
}

func (t *Token) expired(now time.Time) bool { return t.Expires != nil && !now.Before(*t.Expires) }

type account struct {
	id          int64
	name, email string
	created     time.Time
	active      bool
}

type repository struct {
	provider, organization, name string
	// added to Codacy: else it is in its organization's list alone.
	added bool
	// roles of accounts; who is not in here is an Admin.
	roles map[int64]Role
}

func (r *repository) role(account int64) Role {
	if role, ok := r.roles[account]; ok {
		return role
	}
	return Admin
}

// world is what Codacy knows. Its methods are called with Server.mu held.
type world struct {
	accounts     map[int64]*account
	repositories map[string]*repository
	tokens       map[int64]*Token
}

// path is provider/organization/repository. A slash in a name is escaped, lest two repositories share a path.
func path(provider, organization, name string) string {
	return url.PathEscape(provider) + "/" + url.PathEscape(organization) + "/" + url.PathEscape(name)
}

// list is the tokens for which keep is true, in the order of their ids.
func (w *world) list(keep func(*Token) bool) []*Token {
	var found []*Token
	for _, t := range w.tokens {
		if keep(t) {
			found = append(found, t)
		}
	}
	slices.SortFunc(found, func(a, b *Token) int { return cmp.Compare(a.ID, b.ID) })
	return found
}

// holder is the token with a value, expired or not; nil if there is none, or if whose it is may use none.
func (w *world) holder(kind, value string) *Token {
	for _, t := range w.tokens {
		if t.Kind == kind && t.Value.Reveal() == value {
			if kind == AccountToken && !w.accounts[t.Account].active {
				return nil
			}
			return t
		}
	}
	return nil
}

// add gives a token an id and, unless it has one, a value, and brings it to life.
func (w *world) add(t Token) *Token {
	for t.ID == 0 || w.tokens[t.ID] != nil {
		t.ID = randomID()
	}
	switch {
	case !t.Value.IsEmpty():
	case t.Kind == AccountToken:
		t.Value = token.NewValue(randomText("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", 20))
	default:
		t.Value = token.NewValue(randomText("0123456789abcdef", 32))
	}
	w.tokens[t.ID] = &t
	return &t
}

// randomID is positive, and in no order: nobody may think that a larger one is younger.
func randomID() int64 {
	id, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		panic(err) // crypto/rand does not fail.
	}
	return id.Int64() + 1
}

func randomText(letters string, length int) string {
	text := make([]byte, length)
	for i := range text {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(letters))))
		if err != nil {
			panic(err) // crypto/rand does not fail.
		}
		text[i] = letters[n.Int64()]
	}
	return string(text)
}

func generatedName() string {
	random := make([]byte, 4)
	_, _ = rand.Read(random) // It never fails.
	return "token-" + hex.EncodeToString(random)
}

// AddAccount makes an account that is active, and Admin in every repository.
func (s *Server) AddAccount(name, email string) (id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id == 0 || s.world.accounts[id] != nil {
		id = randomID()
	}
	s.world.accounts[id] = &account{id: id, name: name, email: email, created: s.clock.Now(), active: true}
	return id
}

// DeactivateAccount ends an account's access, and so that of its tokens.
func (s *Server) DeactivateAccount(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world.accounts[id].active = false
}

// AddRepository makes a repository.
func (s *Server) AddRepository(provider, organization, name string) {
	s.addRepository(provider, organization, name, true)
}

// OfferRepository makes a repository that nobody has added to Codacy: it is in its organization's list alone.
func (s *Server) OfferRepository(provider, organization, name string) {
	s.addRepository(provider, organization, name, false)
}

func (s *Server) addRepository(provider, organization, name string, added bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world.repositories[path(provider, organization, name)] = &repository{
		provider: provider, organization: organization, name: name, added: added, roles: map[int64]Role{},
	}
}

// RemoveRepository removes a repository with its tokens.
func (s *Server) RemoveRepository(provider, organization, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	removed := path(provider, organization, name)
	delete(s.world.repositories, removed)
	for id, t := range s.world.tokens {
		if t.Repository == removed {
			delete(s.world.tokens, id)
		}
	}
}

// SetRole sets what an account may do in a repository, which must exist.
func (s *Server) SetRole(account int64, provider, organization, name string, role Role) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world.repositories[path(provider, organization, name)].roles[account] = role
}

// CreateAccountToken makes a token as in the web UI; expires is nil if it never does. It panics if there is no such account.
func (s *Server) CreateAccountToken(account int64, expires *time.Time) Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.world.accounts[account] == nil {
		panic(fmt.Sprintf("codacytest: there is no account %d", account))
	}
	return *s.world.add(Token{Kind: AccountToken, Account: account, Created: s.clock.Now(), Expires: expires, HandMade: true})
}

// AddAccountToken brings a token to life whose value was chosen elsewhere, and that never expires. It panics if there is no
// such account.
func (s *Server) AddAccountToken(account int64, value token.Value) Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.world.accounts[account] == nil {
		panic(fmt.Sprintf("codacytest: there is no account %d", account))
	}
	return *s.world.add(Token{Kind: AccountToken, Account: account, Value: value, Created: s.clock.Now(), HandMade: true})
}

// CreateRepositoryToken makes a token as in the web UI; expires is nil if it never does. It panics if there is no such
// repository.
func (s *Server) CreateRepositoryToken(provider, organization, repository, name string, expires *time.Time) Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := path(provider, organization, repository)
	if s.world.repositories[of] == nil {
		panic("codacytest: there is no repository " + of)
	}
	return *s.world.add(Token{Kind: RepositoryToken, Repository: of, Name: name, Created: s.clock.Now(), Expires: expires, HandMade: true})
}

// RevokeInWebUI revokes a token; false if there is none with that id.
func (s *Server) RevokeInWebUI(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.world.tokens[id]
	delete(s.world.tokens, id)
	return ok
}

// Tokens are those that were not revoked and have not expired, in the order of their ids.
func (s *Server) Tokens() []Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	var living []Token
	for _, t := range s.world.list(func(t *Token) bool { return !t.expired(now) }) {
		living = append(living, *t)
	}
	return living
}

// Accepts says whether a value is that of a token that can be used now.
func (s *Server) Accepts(value string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, kind := range []string{AccountToken, RepositoryToken} {
		if t := s.world.holder(kind, value); t != nil && !t.expired(s.clock.Now()) {
			return true
		}
	}
	return false
}
