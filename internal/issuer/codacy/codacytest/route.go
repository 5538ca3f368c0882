package codacytest

import (
	"net/http"
	"net/url"
	"strings"
)

// route leads a method and a path to an operation.
type route struct {
	operation string
	method    string
	// pattern of the path; a star stands for one segment.
	pattern string
	// legacy operations are those of the API v2, with errors in another form.
	legacy bool
	// authenticated operations ask for a token of an account.
	authenticated bool
	// handle is called with Server.mu held.
	handle func(*Server, *call) answer
}

const (
	organizationPattern = "/api/v3/organizations/*/*/repositories"
	repositoryPattern   = organizationPattern + "/*"
)

var routes = []route{
	{operation: "getVersion", method: http.MethodGet, pattern: "/api/v3/version", handle: (*Server).getVersion},
	{operation: "getUser", method: http.MethodGet, pattern: "/api/v3/user", authenticated: true, handle: (*Server).getUser},
	{operation: "getUserApiTokens", method: http.MethodGet, pattern: "/api/v3/user/tokens", authenticated: true, handle: (*Server).getUserAPITokens},
	{operation: "createUserApiToken", method: http.MethodPost, pattern: "/api/v3/user/tokens", authenticated: true, handle: (*Server).createUserAPIToken},
	{operation: "deleteUserApiToken", method: http.MethodDelete, pattern: "/api/v3/user/tokens/*", authenticated: true, handle: (*Server).deleteUserAPIToken},
	{operation: "listOrganizationRepositories", method: http.MethodGet, pattern: organizationPattern, authenticated: true, handle: (*Server).listOrganizationRepositories},
	{operation: "getRepository", method: http.MethodGet, pattern: repositoryPattern, authenticated: true, handle: (*Server).getRepository},
	{operation: "listRepositoryApiTokens", method: http.MethodGet, pattern: repositoryPattern + "/tokens", authenticated: true, handle: (*Server).listRepositoryAPITokens},
	{operation: "createRepositoryApiToken", method: http.MethodPost, pattern: repositoryPattern + "/tokens", authenticated: true, handle: (*Server).createRepositoryAPIToken},
	{operation: "deleteRepositoryApiToken", method: http.MethodDelete, pattern: repositoryPattern + "/tokens/*", authenticated: true, handle: (*Server).deleteRepositoryAPIToken},
	{operation: "deleteRepositoryApiTokens", method: http.MethodPost, pattern: repositoryPattern + "/tokens/delete", authenticated: true, handle: (*Server).deleteRepositoryAPITokens},

	{operation: "reportCoverage", method: http.MethodPost, pattern: "/2.0/coverage/*/*", legacy: true, handle: (*Server).withRepositoryToken},
	{operation: "finishCoverage", method: http.MethodPost, pattern: "/2.0/commit/*/coverageFinal", legacy: true, handle: (*Server).withRepositoryToken},
	{operation: "reportCoverage", method: http.MethodPost, pattern: "/2.0/*/*/*/commit/*/coverage/*", legacy: true, handle: (*Server).withAccountToken},
	{operation: "finishCoverage", method: http.MethodPost, pattern: "/2.0/*/*/*/commit/*/coverageFinal", legacy: true, handle: (*Server).withAccountToken},
}

// match finds a request's route, and what stands in its path where the pattern has stars.
func match(r *http.Request) (found route, parameters []string) {
	for _, candidate := range routes {
		if parameters, ok := segments(candidate.pattern, r.URL); ok && candidate.method == r.Method {
			return candidate, parameters
		}
	}
	return route{
		operation: Unknown, legacy: strings.HasPrefix(r.URL.Path, "/2.0/"),
		handle: func(_ *Server, c *call) answer { return c.notFound("there is no such operation") },
	}, nil
}

// segments compares a path with a pattern one segment at a time, each unescaped on its own.
func segments(pattern string, u *url.URL) (parameters []string, ok bool) {
	wanted, got := strings.Split(pattern, "/"), strings.Split(u.EscapedPath(), "/")
	if len(wanted) != len(got) {
		return nil, false
	}
	for i, segment := range got {
		if wanted[i] != "*" {
			if segment != wanted[i] {
				return nil, false
			}
			continue
		}
		parameter, err := url.PathUnescape(segment)
		if err != nil || parameter == "" {
			return nil, false
		}
		parameters = append(parameters, parameter)
	}
	return parameters, true
}
