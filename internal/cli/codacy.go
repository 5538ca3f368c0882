package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
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

// dial connects to the Codacy of an issuer, with a credential that may be another one than its own.
func (p *plugin) dial(i v1alpha1.Issuer, credential token.Value) (*codacy.Connection, error) {
	spec := i.SharedSpec().Codacy
	services := codacy.NewServices(codacy.Options{Clock: p.clock, Timeout: serviceTimeout, BreakerPause: longestPause})
	key := codacy.Key{Kind: i.Kind(), NamespacedName: client.ObjectKeyFromObject(i)}
	return services.Connect(key, codacy.Config{UID: i.GetUID(), URL: spec.URL, CABundle: spec.CABundle, Credential: credential})
}

// dialAs connects to the Codacy of an issuer as the issuer does.
func (p *plugin) dialAs(ctx context.Context, c client.Reader, i v1alpha1.Issuer) (*codacy.Connection, error) {
	ref := i.SharedSpec().Codacy.CredentialsSecretRef
	key := client.ObjectKey{Namespace: p.operatorNamespace, Name: ref.Name}
	if i.GetNamespace() != "" {
		key.Namespace = i.GetNamespace()
	}
	var secret corev1.Secret
	if err := c.Get(ctx, key, &secret); err != nil {
		return nil, fmt.Errorf("the issuer's credential: %w", err)
	}
	value := token.NewValue(strings.TrimSpace(string(secret.Data[ref.Key])))
	if value.IsEmpty() {
		return nil, fmt.Errorf("the issuer's credential: the Secret %s has no key %s", key, ref.Key)
	}
	connection, err := p.dial(i, value)
	if err != nil {
		return nil, err
	}
	connection.Believe(account(i), i.SharedStatus().Capabilities)
	return connection, nil
}

func account(i v1alpha1.Issuer) v1alpha1.IssuerAccount {
	if known := i.SharedStatus().Account; known != nil {
		return *known
	}
	return v1alpha1.IssuerAccount{}
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
