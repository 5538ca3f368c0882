package codacytest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// apiToken is the form of a token in answers.
type apiToken struct {
	ID        int64   `json:"id"`
	Token     *string `json:"token,omitempty"`
	Name      string  `json:"name,omitempty"`
	ExpiresAt string  `json:"expiresAt,omitempty"`
	CreatedAt string  `json:"createdAt,omitempty"`
}

// list is the form of lists in answers.
type list struct {
	Data       []apiToken  `json:"data"`
	Pagination *pagination `json:"pagination,omitempty"`
}

type pagination struct {
	Cursor string `json:"cursor,omitempty"`
	Limit  int    `json:"limit"`
	Total  int    `json:"total"`
}

// show is a token as answers show it.
func (s *Server) show(t *Token, form ValueForm) apiToken {
	shown := apiToken{ID: t.ID}
	value := t.Value.Reveal()
	switch form {
	case FullValues:
		shown.Token = &value
	case MaskedValues:
		masked := value[:4] + strings.Repeat("*", len(value)-4)
		shown.Token = &masked
	case EmptyValues:
		shown.Token = new(string)
	}
	if t.Kind == RepositoryToken && s.behaviour.repositoryNames() {
		shown.Name = t.Name
	}
	if t.Expires != nil && s.behaviour.EchoesExpiry {
		shown.ExpiresAt = t.Expires.UTC().Format(time.RFC3339)
	}
	if s.behaviour.ShowsCreatedAt {
		shown.CreatedAt = t.Created.UTC().Format(time.RFC3339)
	}
	return shown
}

// pageOf is the page that begins after the item that a cursor names, of items in the order of their keys; not ok if the cursor is none.
func pageOf[T any](items []T, key func(T) string, cursor string, limit int) (page []T, next string, ok bool) {
	const begins = "after "
	if cursor != "" {
		decoded, err := base64.RawURLEncoding.DecodeString(cursor)
		after, ok := strings.CutPrefix(string(decoded), begins)
		if err != nil || !ok {
			return nil, "", false
		}
		for len(items) > 0 && key(items[0]) <= after {
			items = items[1:]
		}
	}
	page = items[:min(len(items), limit)]
	if len(page) < len(items) {
		next = base64.RawURLEncoding.EncodeToString([]byte(begins + key(page[limit-1])))
	}
	return page, next, true
}

// limit is how many items a request wants to a page; refused is the answer if that is no number that can be had.
func (c *call) limit() (limit int, refused *answer) {
	const most = 100
	if !c.query.Has("limit") {
		return most, nil
	}
	limit, err := strconv.Atoi(c.query.Get("limit"))
	if err != nil || limit < 1 || limit > most {
		no := refuse(http.StatusBadRequest, "limit is from 1 to 100")
		return 0, &no
	}
	return limit, nil
}

// listed says whether a token is in lists.
func (s *Server) listed(t *Token, now time.Time) bool {
	return s.behaviour.KeepsExpired || !t.expired(now)
}

func (s *Server) getVersion(*call) answer {
	return respond(http.StatusOK, map[string]string{"data": s.behaviour.Version})
}

func (s *Server) getUser(c *call) answer {
	type user struct {
		ID          int64    `json:"id"`
		Name        string   `json:"name,omitempty"`
		MainEmail   string   `json:"mainEmail"`
		OtherEmails []string `json:"otherEmails"`
		IsAdmin     bool     `json:"isAdmin"`
		IsActive    bool     `json:"isActive"`
		Created     string   `json:"created"`
	}
	return respond(http.StatusOK, map[string]user{"data": {
		ID: c.account.id, Name: c.account.name, MainEmail: c.account.email, OtherEmails: []string{},
		IsActive: c.account.active, Created: c.account.created.UTC().Format(time.RFC3339),
	}})
}

func (s *Server) getUserAPITokens(c *call) answer {
	limit, refused := c.limit()
	if refused != nil {
		return *refused
	}
	tokens := s.world.list(func(t *Token) bool {
		return t.Kind == AccountToken && t.Account == c.account.id && s.listed(t, c.now)
	})
	return s.listPage(c, tokens, limit, FullValues)
}

// listPage is the page that a request asks for.
func (s *Server) listPage(c *call, tokens []*Token, limit int, form ValueForm) answer {
	page, next, ok := pageOf(tokens, func(t *Token) string { return fmt.Sprintf("%019d", t.ID) }, c.query.Get("cursor"), limit)
	if !ok {
		return refuse(http.StatusBadRequest, "cursor is none of this list")
	}
	shown := list{Data: []apiToken{}, Pagination: &pagination{Cursor: next, Limit: limit, Total: len(tokens)}}
	for _, t := range page {
		shown.Data = append(shown.Data, s.show(t, form))
	}
	return respond(http.StatusOK, shown)
}

// newToken is the body of a request to create a token.
type newToken struct {
	Name      *string `json:"name"`
	ExpiresAt *string `json:"expiresAt"`
}

// newToken reads the body; nil if there is none, not ok if it is no such body.
func (c *call) newToken() (asked *newToken, ok bool) {
	if len(bytes.TrimSpace(c.body)) == 0 {
		return nil, true
	}
	return asked, json.Unmarshal(c.body, &asked) == nil && asked != nil
}

// expiry reads an expiry: a time of RFC 3339 in the future, at most a year from now; not ok if it is none.
func expiry(text string, now time.Time) (expires *time.Time, ok bool) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || !at.After(now) || at.After(now.AddDate(1, 0, 0)) {
		return nil, false
	}
	at = at.Truncate(time.Second)
	return &at, true
}

// defaultExpiry is when a token expires for which no expiry was asked; nil if never.
func (s *Server) defaultExpiry(now time.Time) *time.Time {
	if s.behaviour.DefaultLifetime == 0 {
		return nil
	}
	at := now.Add(s.behaviour.DefaultLifetime).Truncate(time.Second)
	return &at
}

const wrongExpiry = "expiresAt is a time of RFC 3339 in the future, at most one year from now"

func (s *Server) createUserAPIToken(c *call) answer {
	t := Token{Kind: AccountToken, Account: c.account.id, Created: c.now}
	if s.behaviour.AccountExpiry {
		asked, ok := c.newToken()
		switch {
		case !ok:
			return refuse(http.StatusBadRequest, "the body is not the JSON of a new token")
		case asked != nil && asked.ExpiresAt != nil:
			if t.Expires, ok = expiry(*asked.ExpiresAt, c.now); !ok {
				return refuse(http.StatusBadRequest, wrongExpiry)
			}
		case s.behaviour.AccountExpiryRequired:
			return refuse(http.StatusBadRequest, "expiresAt is required")
		default:
			t.Expires = s.defaultExpiry(c.now)
		}
	}
	return respond(http.StatusOK, s.show(s.world.add(t), FullValues))
}

func (s *Server) deleteUserAPIToken(c *call) answer {
	return s.revoke(c.parameters[0], func(t *Token) bool { return t.Kind == AccountToken && t.Account == c.account.id })
}

// revoke revokes the token with an id, if it is among those that the request may revoke.
func (s *Server) revoke(id string, among func(*Token) bool) answer {
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return refuse(http.StatusBadRequest, "the id of a token is a number")
	}
	if t := s.world.tokens[number]; t != nil && among(t) {
		delete(s.world.tokens, number)
	} else if s.behaviour.UnknownTokenIs404 {
		return refuse(http.StatusNotFound, "there is no such token")
	}
	return respond(http.StatusNoContent, nil)
}
