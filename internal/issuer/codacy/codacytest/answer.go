package codacytest

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// answer is what is to be sent.
type answer struct {
	status int
	header http.Header
	// body is encoded as JSON, unless it is a page, broken or endless.
	body any
}

// page is HTML.
type page string

// broken is sent as JSON, and is none.
type broken string

// respond is an answer with a body in JSON; nil: without a body.
func respond(status int, body any) answer {
	return answer{status: status, header: http.Header{}, body: body}
}

// apiError is the form of errors of the API v3.
type apiError struct {
	Message string   `json:"message"`
	Actions []string `json:"actions"`
	Error   string   `json:"error"`
}

// constants are Codacy's words for statuses.
var constants = map[int]string{
	http.StatusBadRequest:          "BadRequest",
	http.StatusUnauthorized:        "Unauthorized",
	http.StatusForbidden:           "Forbidden",
	http.StatusNotFound:            "NotFound",
	http.StatusConflict:            "Conflict",
	http.StatusUnprocessableEntity: "UnprocessableEntity",
	http.StatusTooManyRequests:     "TooManyRequests",
	http.StatusInternalServerError: "InternalServerError",
	http.StatusServiceUnavailable:  "ServiceUnavailable",
	http.StatusGatewayTimeout:      "GatewayTimeout",
}

// refuse is an error of the API v3.
func refuse(status int, why string) answer { return refuseAs(status, constants[status], why) }

func refuseAs(status int, constant, why string) answer {
	return respond(status, apiError{Message: Marker + ": " + why, Actions: []string{}, Error: constant})
}

// legacyError is the form of errors of the API v2.
func legacyError(status int, what string) answer {
	return respond(status, map[string]string{"error": what})
}

func (c *call) notFound(why string) answer {
	if c.legacy {
		return legacyError(http.StatusNotFound, "not found")
	}
	return refuse(http.StatusNotFound, why)
}

// gatewayPage is what a gateway before the service answers.
func gatewayPage(status int) answer {
	return respond(status, page(fmt.Sprintf("<html><body><h1>%d %s</h1>%s</body></html>\n", status, http.StatusText(status), Marker)))
}

// retryAfter adds for how long to go away; 0 adds nothing.
func (a answer) retryAfter(wait time.Duration) answer {
	if wait > 0 {
		a.header.Set("Retry-After", strconv.Itoa(int(wait.Seconds())))
	}
	return a
}

func (a answer) write(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	var encoded []byte
	switch body := a.body.(type) {
	case nil:
	case page:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		encoded = []byte(body)
	case broken:
		w.Header().Set("Content-Type", "application/json")
		encoded = []byte(body)
	case endless:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(a.status)
		body.stream(w)
		return
	default:
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		var err error
		if encoded, err = json.Marshal(a.body); err != nil {
			panic(err) // All bodies are of our own types.
		}
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(encoded) // The client may have gone.
}

func isJSON(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && mediaType == "application/json"
}
