package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/token"
)

const (
	serviceTimeout = 30 * time.Second
	// longestPause is how long a service that wants to be left alone is waited for.
	longestPause = time.Minute
)

func keyOf(i v1alpha1.Issuer) codacy.Key {
	return codacy.Key{Kind: i.Kind(), NamespacedName: client.ObjectKeyFromObject(i)}
}

// dial connects to the Codacy of an issuer, with a token that is to be tried there.
func (p *plugin) dial(i v1alpha1.Issuer, value token.Value) (*codacy.Connection, error) {
	spec := i.SharedSpec().Codacy
	return p.services.Connect(keyOf(i), codacy.Config{UID: i.GetUID(), URL: spec.URL, CABundle: spec.CABundle, Credential: value})
}

// dialAs connects to the Codacy of an issuer as the issuer does. Whoever may make a TokenIssuer may name any Secret and any host in it:
// a credential is shown only where the operator found it in order, and no Secret that is none.
func (p *plugin) dialAs(ctx context.Context, c client.Reader, i v1alpha1.Issuer) (*codacy.Connection, error) {
	if known := p.services.Get(keyOf(i)); known != nil {
		return known, nil
	}
	ref, status := i.SharedSpec().Codacy.CredentialsSecretRef, i.SharedStatus()
	if condition := ready(i, status.Conditions); condition.Status != metav1.ConditionTrue || condition.ObservedGeneration != i.GetGeneration() || status.Account == nil {
		return nil, fmt.Errorf("the issuer is not ready, so that its credential is shown to nobody: %s", condition.Message)
	}
	key := v1alpha1.CredentialsKey(i, p.operatorNamespace, ref.Name)
	var secret corev1.Secret
	if err := c.Get(ctx, key, &secret); err != nil {
		return nil, fmt.Errorf("the issuer's credential: %w", err)
	}
	value := token.NewValue(strings.TrimSpace(string(secret.Data[ref.Key])))
	if value.SHA256() != status.CredentialSHA256 {
		return nil, fmt.Errorf("the issuer's credential: what the Secret %s holds under %s is not what the operator found in order; it looks again within moments", key, ref.Key)
	}
	connection, err := p.dial(i, value)
	if err != nil {
		return nil, err
	}
	connection.Believe(*status.Account, status.Capabilities)
	p.services.Use(connection)
	return connection, nil
}

// patiently asks again if a service wants to be left alone for a little while.
func (p *plugin) patiently(ctx context.Context, ask func(context.Context) error) error {
	const tries = 4
	for try := 1; ; try++ {
		err := ask(ctx)
		var failed *issuer.Error
		if !errors.As(err, &failed) || failed.Stalled || failed.RetryAfter == 0 || failed.RetryAfter > longestPause || try == tries {
			return err
		}
		p.progress("%s Trying again in %s.", failed.Message, failed.RetryAfter.Round(time.Second))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.clock.After(failed.RetryAfter):
		}
	}
}
