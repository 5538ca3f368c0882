package codacytest

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
)

// repository is the one in a request's path, and what the account may do there; else refused is the answer.
func (s *Server) repository(c *call) (found *repository, role Role, refused *answer) {
	found = s.world.repositories[path(c.parameters[0], c.parameters[1], c.parameters[2])]
	if found == nil || !found.added {
		no := refuse(http.StatusNotFound, "there is no such repository")
		return nil, None, &no
	}
	role = found.role(c.account.id)
	if role == None {
		no := refuse(s.behaviour.NoRoleStatus, "the account may not see the repository")
		return nil, None, &no
	}
	return found, role, nil
}

// administered is the same for who wants to do something with its tokens: which is its path.
func (s *Server) administered(c *call) (of string, refused *answer) {
	if !s.behaviour.RepositoryTokens {
		no := refuse(http.StatusNotFound, "there is no such operation")
		return "", &no
	}
	found, role, refused := s.repository(c)
	if refused != nil {
		return "", refused
	}
	if role != Admin {
		no := refuse(s.behaviour.NoRoleStatus, "only admins may do that")
		return "", &no
	}
	return path(found.provider, found.organization, found.name), nil
}

func (s *Server) getRepository(c *call) answer {
	found, role, refused := s.repository(c)
	if refused != nil {
		return *refused
	}
	return respond(http.StatusOK, map[string]any{"data": found.show(role)})
}

// show is a repository as answers have it.
func (r *repository) show(role Role) map[string]any {
	state := "Added"
	if !r.added {
		state = "NotAdded"
	}
	return map[string]any{"provider": r.provider, "owner": r.organization, "name": r.name, "permission": role, "addedState": state}
}

// listOrganizationRepositories shows what the account can see.
func (s *Server) listOrganizationRepositories(c *call) answer {
	limit, refused := c.limit()
	if refused != nil {
		return *refused
	}
	known := false
	var all []string
	for key, r := range s.world.repositories {
		if r.provider == c.parameters[0] && r.organization == c.parameters[1] {
			known = true
			if r.role(c.account.id) != None {
				all = append(all, key)
			}
		}
	}
	if !known {
		return refuse(http.StatusNotFound, "there is no such organization")
	}
	slices.Sort(all)
	page, next, ok := pageOf(all, func(key string) string { return key }, c.query.Get("cursor"), limit)
	if !ok {
		return refuse(http.StatusBadRequest, "cursor is none of this list")
	}
	shown := []map[string]any{}
	for _, key := range page {
		r := s.world.repositories[key]
		shown = append(shown, r.show(r.role(c.account.id)))
	}
	return respond(http.StatusOK, map[string]any{"data": shown, "pagination": pagination{Cursor: next, Limit: limit, Total: len(all)}})
}

// tokensOf are the tokens of a repository that are in lists.
func (s *Server) tokensOf(of string, c *call) []*Token {
	return s.world.list(func(t *Token) bool { return t.Repository == of && s.listed(t, c.now) })
}

func (s *Server) listRepositoryAPITokens(c *call) answer {
	of, refused := s.administered(c)
	if refused != nil {
		return *refused
	}
	tokens := s.tokensOf(of, c)
	if s.behaviour.RepositoryPage > 0 {
		return s.listPage(c, tokens, s.behaviour.RepositoryPage, s.behaviour.RepositoryListValues)
	}
	shown := list{Data: []apiToken{}}
	for _, t := range tokens {
		shown.Data = append(shown.Data, s.show(t, s.behaviour.RepositoryListValues))
	}
	return respond(http.StatusOK, shown)
}

func (s *Server) createRepositoryAPIToken(c *call) answer {
	of, refused := s.administered(c)
	if refused != nil {
		return *refused
	}
	t := Token{Kind: RepositoryToken, Repository: of, Created: c.now}
	switch asked, ok := c.newToken(); s.behaviour.RepositoryTokenBody {
	case HonoursBody:
		if !ok {
			return refuse(http.StatusBadRequest, "the body is not the JSON of a new token")
		}
		if refused := s.honour(&t, asked); refused != nil {
			return *refused
		}
	case RefusesBody:
		if asked != nil || !ok {
			return refuse(http.StatusBadRequest, "send no body")
		}
	}
	existing := s.tokensOf(of, c)
	if most := s.behaviour.RepositoryLimit; most > 0 && len(existing) >= most {
		return refuse(s.behaviour.LimitStatus, "the repository has too many tokens")
	}
	for _, other := range existing {
		if s.behaviour.repositoryNames() && other.Name == t.Name {
			return refuse(s.behaviour.NameClashStatus, "the repository has a token of that name")
		}
	}
	return respond(http.StatusCreated, map[string]apiToken{"data": s.show(s.world.add(t), FullValues)})
}

var tokenName = regexp.MustCompile(`^[A-Za-z0-9-]{1,100}$`)

// honour gives a token the name and the expiry that were asked for, or else its own; nil unless it refuses.
func (s *Server) honour(t *Token, asked *newToken) (refused *answer) {
	if asked == nil {
		t.Name, t.Expires = generatedName(), s.defaultExpiry(t.Created)
		return nil
	}
	if asked.Name == nil || asked.ExpiresAt == nil {
		no := refuse(http.StatusBadRequest, "send both name and expiresAt, or no body")
		return &no
	}
	if !tokenName.MatchString(*asked.Name) {
		no := refuse(http.StatusBadRequest, "a name is 1 to 100 letters, digits and dashes")
		return &no
	}
	expires, ok := expiry(*asked.ExpiresAt, t.Created)
	if !ok {
		no := refuse(http.StatusBadRequest, wrongExpiry)
		return &no
	}
	t.Name, t.Expires = *asked.Name, expires
	return nil
}

func (s *Server) deleteRepositoryAPIToken(c *call) answer {
	of, refused := s.administered(c)
	if refused != nil {
		return *refused
	}
	return s.revoke(c.parameters[3], func(t *Token) bool { return t.Repository == of })
}

// deleteRepositoryAPITokens revokes all or, if one is unknown and that matters, none.
func (s *Server) deleteRepositoryAPITokens(c *call) answer {
	if !s.behaviour.RevokesMany {
		return refuse(http.StatusNotFound, "there is no such operation")
	}
	of, refused := s.administered(c)
	if refused != nil {
		return *refused
	}
	var asked struct {
		IDs []int64 `json:"ids"`
	}
	if json.Unmarshal(c.body, &asked) != nil || len(asked.IDs) < 1 || len(asked.IDs) > 100 {
		return refuse(http.StatusBadRequest, "send 1 to 100 ids")
	}
	for _, id := range asked.IDs {
		if t := s.world.tokens[id]; s.behaviour.UnknownTokenIs404 && (t == nil || t.Repository != of) {
			return refuse(http.StatusNotFound, "there is no such token")
		}
	}
	for _, id := range asked.IDs {
		if t := s.world.tokens[id]; t != nil && t.Repository == of {
			delete(s.world.tokens, id)
		}
	}
	return respond(http.StatusNoContent, nil)
}
