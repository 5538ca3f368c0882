package codacytest

import (
	"encoding/json"
	"net/http"
)

// taken is what the coverage reporter reads when its report was accepted.
func taken() answer {
	return respond(http.StatusOK, map[string]string{"success": "Coverage received"})
}

// withRepositoryToken answers a coverage report with a repository's token.
func (s *Server) withRepositoryToken(c *call) answer {
	t := s.world.holder(RepositoryToken, c.header.Get("project-token"))
	switch {
	case t == nil:
		return c.notFound("")
	case t.expired(c.now):
		return respond(s.behaviour.Expired.Status, json.RawMessage(s.behaviour.Expired.Body))
	default:
		return taken()
	}
}

// withAccountToken answers a coverage report with an account's token, for the repository in its path. All that is wrong
// looks alike.
func (s *Server) withAccountToken(c *call) answer {
	t := s.world.holder(AccountToken, c.header.Get("api-token"))
	of := s.world.repositories[path(c.parameters[0], c.parameters[1], c.parameters[2])]
	if t == nil || t.expired(c.now) || of == nil || of.role(t.Account) == None {
		return c.notFound("")
	}
	return taken()
}
