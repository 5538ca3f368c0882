package codacytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/tokensteward/tokensteward/internal/issuer/codacy/api"
)

// description of the API, parsed.
var description = sync.OnceValue(func() *openapi3.T {
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.PlainBodyDecoder)
	parsed, err := openapi3.NewLoader().LoadFromData(api.Description)
	if err != nil {
		panic(fmt.Sprintf("codacytest: the description of Codacy's API can't be read: %v", err))
	}
	return parsed
})

// Check has each request to the API v3 that a handler gets, and each of its answers, compared with the description of the
// API, and differences reported, without what was sent. Answers that are faulty on purpose are not compared.
func Check(handler http.Handler, report func(error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			panic(http.ErrAbortHandler) // The request never arrived.
		}
		_ = r.Body.Close() // It was read to its end.
		exchange := begin(r, body, report)
		r.Body = io.NopCloser(bytes.NewReader(body))
		recorded := &recorder{ResponseWriter: w, status: http.StatusOK}
		handler.ServeHTTP(recorded, r)
		exchange.end(recorded.status, w.Header(), recorded.body.Bytes())
	})
}

// recorder passes an answer on and keeps it.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) {
	if r.Header().Get(faultyHeader) == "" {
		r.body.Write(p)
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// CheckTransport does what Check does on a client's side, with each request that is sent.
func CheckTransport(next http.RoundTripper, report func(error)) http.RoundTripper {
	return transport(func(r *http.Request) (*http.Response, error) {
		body, err := readAll(r.Body)
		if err != nil {
			return nil, err
		}
		exchange := begin(r, body, report)
		sent := r.Clone(r.Context())
		if r.Body != nil && r.Body != http.NoBody {
			sent.Body = io.NopCloser(bytes.NewReader(body))
		}
		response, err := next.RoundTrip(sent)
		if err != nil || response.Header.Get(faultyHeader) != "" {
			return response, err
		}
		answered, err := readAll(response.Body)
		if err != nil {
			return nil, err
		}
		response.Body = io.NopCloser(bytes.NewReader(answered))
		exchange.end(response.StatusCode, response.Header, answered)
		return response, nil
	})
}

type transport func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func readAll(body io.ReadCloser) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	defer body.Close()
	return io.ReadAll(body)
}

// exchange is a request that was compared with the description, and of which the answer is still to be.
type exchange struct {
	input  *openapi3filter.RequestValidationInput
	report func(error)
}

// begin compares a request. It is nil for requests that are not of the API v3, or none of its operations.
func begin(r *http.Request, body []byte, report func(error)) *exchange {
	const base = "/api/v3/"
	at := strings.Index(r.URL.EscapedPath(), base)
	if at < 0 {
		return nil
	}
	route, parameters := describedRoute(r.Method, r.URL.EscapedPath()[at+len(base)-1:])
	if route == nil {
		report(fmt.Errorf("%s of a path that is not in the description", r.Method))
		return nil
	}
	compared := r.Clone(r.Context())
	compared.Body, compared.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	e := &exchange{report: report, input: &openapi3filter.RequestValidationInput{
		Request: compared, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc: hasToken, RejectWhenRequestBodyNotSpecified: true, IncludeResponseStatus: true, SkipSettingDefaults: true,
		},
	}}
	if err := openapi3filter.ValidateRequest(r.Context(), e.input); err != nil {
		report(fmt.Errorf("the request %s: %s", route.Operation.OperationID, outline(err)))
	}
	return e
}

// end compares the answer.
func (e *exchange) end(status int, header http.Header, body []byte) {
	if e == nil || header.Get(faultyHeader) != "" {
		return
	}
	answered := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: e.input, Status: status, Header: header, Options: e.input.Options,
	}
	answered.SetBodyBytes(body)
	operation := e.input.Route.Operation.OperationID
	if err := openapi3filter.ValidateResponse(e.input.Request.Context(), answered); err != nil {
		e.report(fmt.Errorf("the answer %d to %s: %s", status, operation, outline(err)))
	}
	if status == http.StatusNoContent && len(body) > 0 {
		e.report(fmt.Errorf("the answer %d to %s has a body", status, operation))
	}
}

// stars turns a path of the description into a pattern of a route.
var stars = regexp.MustCompile(`\{[^}]*\}`)

// describedRoute is the operation of a path, with the values of its path parameters; nil if there is none.
func describedRoute(method, escapedPath string) (*routers.Route, map[string]string) {
	asked, err := url.Parse(escapedPath)
	if err != nil {
		return nil, nil
	}
	for template, item := range description().Paths.Map() {
		operation := item.GetOperation(method)
		values, ok := segments(stars.ReplaceAllString(template, "*"), asked)
		if operation == nil || !ok {
			continue
		}
		parameters := map[string]string{}
		for i, name := range stars.FindAllString(template, -1) {
			parameters[strings.Trim(name, "{}")] = values[i]
		}
		return &routers.Route{Spec: description(), Path: template, PathItem: item, Method: method, Operation: operation}, parameters
	}
	return nil, nil
}

// hasToken says whether a request has the header that its operation asks for.
func hasToken(_ context.Context, input *openapi3filter.AuthenticationInput) error {
	name := input.SecurityScheme.Name
	if input.RequestValidationInput.Request.Header.Get(name) == "" {
		return fmt.Errorf("there is no header %s", name)
	}
	return nil
}

// outline says what is wrong and where, and nothing of what was sent: that may be the value of a token.
func outline(err error) string {
	var (
		unlike       *openapi3.SchemaError
		request      *openapi3filter.RequestError
		response     *openapi3filter.ResponseError
		unauthorized *openapi3filter.SecurityRequirementsError
	)
	var parts []string
	if errors.As(err, &unauthorized) {
		parts = append(parts, unauthorized.Error()) // Made of hasToken's words.
	}
	if errors.As(err, &request) {
		if request.Parameter != nil {
			parts = append(parts, "parameter "+request.Parameter.Name)
		}
		parts = append(parts, request.Reason)
	}
	if errors.As(err, &response) {
		parts = append(parts, response.Reason)
	}
	if errors.As(err, &unlike) {
		parts = append(parts, fmt.Sprintf("not the %s of /%s", unlike.SchemaField, strings.Join(unlike.JSONPointer(), "/")))
	}
	if len(parts) == 0 {
		return "it is not as described"
	}
	return strings.Join(parts, ": ")
}
