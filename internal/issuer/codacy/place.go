package codacy

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/api"
	"github.com/tokensteward/tokensteward/internal/token"
)

const (
	// mostInPage is what is asked for where that can be said.
	mostInPage = 100
	// maxPages bounds a list.
	maxPages = 100
)

// place is where tokens are listed together: the issuer's account, if all but kind is empty, or a repository.
type place struct{ kind, provider, organization, repository string }

func placeOf(kind, subject string) (place, error) {
	if kind == v1alpha1.KindAccountToken {
		return place{kind: kind}, nil
	}
	segments := strings.Split(subject, "/")
	if len(segments) != 3 {
		return place{}, fmt.Errorf("%q is not provider/organization/repository", subject)
	}
	return place{kind, segments[0], segments[1], segments[2]}, nil
}

// String names a place to people.
func (p place) String() string {
	if p.kind == v1alpha1.KindAccountToken {
		return "the account"
	}
	return fmt.Sprintf("the repository %s/%s/%s", p.provider, p.organization, p.repository)
}

// listed is a token as a list shows it.
type listed struct {
	id string
	// name is empty, and expires zero, if the service does not tell.
	name    string
	expires time.Time
	// value may be masked, empty or absent.
	value token.Value
}

// list is all tokens of a place. Its error is a *refusal, or a lack of an answer.
func (c *Connection) list(ctx context.Context, p place) ([]listed, error) {
	tokens, err := collect("tokens", func(cursor string) ([]api.APIToken, *api.Pagination, error) {
		page, err := c.page(ctx, p, cursor)
		if err != nil {
			return nil, nil, err
		}
		return page.Data, page.Pagination, nil
	}, func(t *api.APIToken) string {
		if t.ID <= 0 {
			return ""
		}
		return strconv.FormatInt(t.ID, 10)
	})
	if err != nil {
		return nil, err
	}
	all := make([]listed, 0, len(tokens))
	for i := range tokens {
		t := &tokens[i]
		found := listed{id: strconv.FormatInt(t.ID, 10), value: t.Token}
		if t.Name != nil {
			found.name = *t.Name
		}
		if t.ExpiresAt != nil {
			found.expires = *t.ExpiresAt
		}
		all = append(all, found)
	}
	return all, nil
}

// collect reads a list to its end, page by page. key tells the items apart, and is empty for what is none.
func collect[T any](items string, page func(cursor string) ([]T, *api.Pagination, error), key func(*T) string) ([]T, error) {
	var all []T
	seen := map[string]bool{}
	for cursor := ""; ; {
		data, pagination, err := page(cursor)
		if err != nil {
			return nil, err
		}
		if data == nil {
			return nil, errUnknownAnswer
		}
		before := len(all)
		for i := range data {
			k := key(&data[i])
			if k == "" {
				return nil, errUnknownAnswer
			}
			if !seen[k] {
				seen[k] = true
				all = append(all, data[i])
			}
		}
		next := ""
		if pagination != nil && pagination.Cursor != nil {
			next = *pagination.Cursor
		}
		if next == "" {
			// A list that lacks something would pass for the proof that a token is gone.
			if pagination != nil && pagination.Total != nil && len(all) < int(*pagination.Total) {
				return nil, &outage{cause: "its list of " + items + " is not complete"}
			}
			return all, nil
		}
		if next == cursor || len(all) == before || len(all) > mostInPage*maxPages {
			return nil, &outage{cause: "its list of " + items + " does not end"}
		}
		cursor = next
	}
}

func (c *Connection) page(ctx context.Context, p place, cursor string) (*api.APITokenList, error) {
	if p.kind == v1alpha1.KindAccountToken {
		most := int32(mostInPage)
		parameters := &api.GetUserAPITokensParams{Limit: &most}
		if cursor != "" {
			parameters.Cursor = &cursor
		}
		answer, err := c.api.GetUserAPITokensWithResponse(ctx, parameters)
		if err != nil {
			return nil, err
		}
		return known(answer.JSON200)
	}
	// No parameter for pages is documented here, though the answer has room for a cursor.
	withCursor := func(_ context.Context, request *http.Request) error {
		if cursor != "" {
			query := request.URL.Query()
			query.Set("cursor", cursor)
			request.URL.RawQuery = query.Encode()
		}
		return nil
	}
	answer, err := c.api.ListRepositoryAPITokensWithResponse(ctx, p.provider, p.organization, p.repository, withCursor)
	if err != nil {
		return nil, err
	}
	return known(answer.JSON200)
}

// known is the body of an answer, which is nil if its status was a success of another kind than the description has.
func known[T any](body *T) (*T, error) {
	if body == nil {
		return nil, errUnknownAnswer
	}
	return body, nil
}

var errUnknownAnswer = &outage{cause: "its answer is not one of Codacy's API"}
