package controllers

import (
	"errors"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
)

// tries remembers which credentials were not found in order, so that the service is asked again at a later time, or when
// something changed, and not each time that an issuer is looked at.
type tries struct {
	clock clock.PassiveClock

	mu   sync.Mutex
	last map[codacy.Key]try
}

type try struct {
	verdict          verdict
	credentialSHA256 string
	generation       int64
	requested        string
}

func newTries(clk clock.PassiveClock) *tries {
	return &tries{clock: clk, last: map[codacy.Key]try{}}
}

func tryOf(i v1alpha1.Issuer, connection *codacy.Connection) try {
	return try{credentialSHA256: connection.CredentialSHA256(), generation: i.GetGeneration(), requested: i.GetAnnotations()[v1alpha1.ReconcileRequestAnnotation]}
}

// standing is what the latest try came to, if there is no reason for another one yet.
func (t *tries) standing(i v1alpha1.Issuer, connection *codacy.Connection) *verdict {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, ok := t.last[keyOf(i)]
	now := tryOf(i, connection)
	now.verdict = last.verdict
	if !ok || now != last || !t.clock.Now().Before(last.verdict.again) {
		return nil
	}
	return &last.verdict
}

// note remembers what a try came to; an error that says nothing of the credential is handed back.
func (t *tries) note(i v1alpha1.Issuer, connection *codacy.Connection, err error) (*verdict, error) {
	known := new(issuer.Error)
	if !errors.As(err, &known) {
		return nil, err
	}
	wait := max(known.RetryAfter, unavailableRetry)
	if known.Stalled {
		wait = max(stalledRetry, i.SharedSpec().Interval())
	}
	noted := tryOf(i, connection)
	noted.verdict = verdict{reason: known.Reason, message: known.Message, stalled: known.Stalled, again: t.clock.Now().Add(wait)}
	if known.CredentialGone {
		noted.verdict.refused, noted.verdict.triedAt = connection.CredentialSHA256(), t.clock.Now()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last[keyOf(i)] = noted
	return &noted.verdict, nil
}

func (t *tries) forget(key codacy.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.last, key)
}

// unavailableRetry is how long an issuer waits that was not connected yet and had no answer.
const unavailableRetry = 30 * time.Second
