package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/token"
)

// connect has an issuer connected to Codacy with the credential that its Secret holds now, and asks whose that is if it is
// not known yet. docs/connect-codacy.md, The issuer.
func (r *IssuerReconciler) connect(ctx context.Context, i v1alpha1.Issuer) (*verdict, error) {
	spec := i.SharedSpec()
	if i.Kind() == v1alpha1.KindTokenIssuer && !r.allows(spec.Codacy.URL) {
		r.Services.Disconnect(keyOf(i))
		return &verdict{
			reason: v1alpha1.ReasonHostNotAllowed, stalled: true,
			message: fmt.Sprintf("The operator sends no credential of a namespace to %s: have the host added to its flag --allowed-hosts, or a ClusterTokenIssuer made for it.", spec.Codacy.URL),
		}, nil
	}
	credential, missing, err := r.credential(ctx, i)
	if err != nil {
		return nil, err
	}
	if missing != "" {
		r.Services.Disconnect(keyOf(i))
		return &verdict{reason: v1alpha1.ReasonCredentialsMissing, message: missing, again: r.Clock.Now().Add(credentialsRecheck)}, nil
	}
	connection, err := r.Services.Connect(keyOf(i), codacy.Config{
		UID: i.GetUID(), URL: spec.Codacy.URL, CABundle: spec.Codacy.CABundle, Credential: credential, Interval: spec.Interval(),
	})
	if err != nil {
		r.Services.Disconnect(keyOf(i))
		return failedConnecting(err)
	}
	if r.Services.Get(keyOf(i)) == connection {
		return r.recheck(ctx, i, connection)
	}
	return r.begin(ctx, i, connection)
}

// begin takes a new connection into use, once it is known whose credential it has.
func (r *IssuerReconciler) begin(ctx context.Context, i v1alpha1.Issuer, connection *codacy.Connection) (*verdict, error) {
	status := i.SharedStatus()
	if foundInOrder(status, connection) && r.Services.Get(keyOf(i)) == nil {
		// Found in order before the operator started: a restart asks nothing.
		connection.Believe(*status.Account, status.Capabilities)
		r.Services.Use(connection)
		return connected(connection.Account()), nil
	}
	if standing := r.tries.standing(i, connection); standing != nil {
		return standing, nil
	}
	r.Services.Disconnect(keyOf(i)) // What the spec or the Secret no longer says is not used any more.
	account, err := connection.Identify(ctx)
	if err != nil {
		return r.tries.note(i, connection, err)
	}
	if status.Account != nil && status.Account.ID == account.ID {
		connection.Believe(account, status.Capabilities)
	}
	expires, err := connection.CredentialExpiration(ctx)
	if err != nil {
		return r.tries.note(i, connection, err)
	}
	err = r.patchStatus(ctx, i, func(status *v1alpha1.IssuerStatus) {
		status.CredentialExpirationTime = nil
		if !expires.IsZero() {
			at := metav1.NewTime(expires)
			status.CredentialExpirationTime = &at
		}
	})
	if err != nil {
		return nil, err
	}
	r.tries.forget(keyOf(i))
	r.Services.Use(connection)
	return connected(account), nil
}

// foundInOrder says whether the status tells of this very credential, and that it was accepted.
func foundInOrder(status *v1alpha1.IssuerStatus, connection *codacy.Connection) bool {
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	return status.Account != nil && status.CredentialSHA256 == connection.CredentialSHA256() && ready != nil && ready.Reason != v1alpha1.ReasonCredentialsRefused
}

// recheck finds out whether a connection that did not work works again.
func (r *IssuerReconciler) recheck(ctx context.Context, i v1alpha1.Issuer, connection *codacy.Connection) (*verdict, error) {
	down := connection.Unavailable()
	switch {
	case down == nil && !connection.CredentialRefused():
		r.tries.forget(keyOf(i))
		return connected(connection.Account()), nil
	case down == nil:
		if standing := r.tries.standing(i, connection); standing != nil {
			return standing, nil
		}
	case connection.ProbeTime() > 0:
		return r.unavailable(connection, down), nil
	}
	_, err := connection.Identify(ctx)
	if err == nil {
		r.tries.forget(keyOf(i))
		return connected(connection.Account()), nil
	}
	if down = connection.Unavailable(); down != nil {
		return r.unavailable(connection, down), nil
	}
	return r.tries.note(i, connection, err)
}

func (r *IssuerReconciler) unavailable(connection *codacy.Connection, down *issuer.Error) *verdict {
	return &verdict{reason: down.Reason, message: down.Message, again: r.Clock.Now().Add(connection.ProbeTime())}
}

func connected(account v1alpha1.IssuerAccount) *verdict {
	return &verdict{ready: true, reason: v1alpha1.ReasonAvailable, message: fmt.Sprintf("Connected as %s: tokens can be asked for.", accountName(&account))}
}

// accountName is what people call an account: its name, or else its address or id.
func accountName(account *v1alpha1.IssuerAccount) string {
	switch {
	case account.Name != "":
		return account.Name
	case account.Email != "":
		return account.Email
	default:
		return account.ID
	}
}

// allows says whether a TokenIssuer may connect to a URL. A host without a port is that host's standard port.
func (r *IssuerReconciler) allows(address string) bool {
	parsed, err := url.Parse(address)
	return err == nil && slices.ContainsFunc(r.AllowedHosts, func(host string) bool {
		return strings.TrimSuffix(host, ":443") == strings.TrimSuffix(parsed.Host, ":443")
	})
}

// wellFormed says whether a text can be sent as a credential.
func wellFormed(credential token.Value) bool {
	return !strings.ContainsFunc(credential.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' })
}

// failedConnecting is the verdict on an issuer whose spec does not make a connection.
func failedConnecting(err error) (*verdict, error) {
	known := new(issuer.Error)
	if !errors.As(err, &known) {
		return nil, err
	}
	return &verdict{reason: known.Reason, message: known.Message, stalled: known.Stalled}, nil
}
