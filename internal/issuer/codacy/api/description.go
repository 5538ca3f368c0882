// Package api is a client of Codacy's API v3, made from a description of the operations that the operator uses.
package api

import _ "embed" // for Description

// Description is openapi.yaml, from which the client is made: what tests hold requests and answers to.
//
//go:embed openapi.yaml
var Description []byte
