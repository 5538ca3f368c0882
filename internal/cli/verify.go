package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/token"
)

// verdict is what was found out of a token.
type verdict struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Revision  int64  `json:"revision,omitempty"`
	// Accepted is Yes, No, or Unknown if it could not be asked.
	Accepted string `json:"accepted"`
	// AskedOf is who was asked.
	AskedOf string `json:"askedOf,omitempty"`
	Message string `json:"message"`
}

// The answers to whether a token is accepted.
const (
	yes     = "Yes"
	no      = "No"
	unknown = "Unknown"
)

func (v *verdict) say(accepted, format string, arguments ...any) *verdict {
	v.Accepted, v.Message = accepted, fmt.Sprintf(format, arguments...)
	return v
}

func (p *plugin) verify() *cobra.Command {
	var (
		chosen selection
		out    output
		asked  authorityFlags
	)
	cmd := &cobra.Command{
		Use:   "verify [KIND/]NAME...",
		Short: "Ask whether tokens are accepted now",
		Long: "Ask whether the tokens that are in the Secrets are accepted now. It prints no value.\n\n" +
			"You need to be allowed to read the Secrets. A built-in token is shown to the authority, through a port that is forwarded to the operator\n" +
			"unless --authority-url is given; an account token of Codacy, to Codacy. No request of Codacy is known that only tries a project token, so for\n" +
			"one of those Codacy is asked, with the issuer's credential, whether it still has the token: that needs the permission to read that Secret.\n\n" +
			"The exit status is 0 if all are accepted, and 1 if one is not, or that could not be found out.",
		Example:           "  kubectl steward verify projecttoken/ci --namespace team-a\n  kubectl steward verify --all --namespace team-a",
		ValidArgsFunction: p.completeTokens,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			c, config, namespace, err := p.connect()
			if err != nil {
				return err
			}
			chosen.names = args
			tokens, err := chosen.of(cmd.Context(), c, namespace)
			if err != nil {
				return err
			}
			v := &verifier{plugin: p, client: c, config: config, flags: &asked}
			defer v.close()
			var verdicts []*verdict
			rejected := 0
			t := table{columns: []string{"Namespace", "Token", "Accepted", "Revision", "+Asked of", "Message"}}
			for _, tok := range tokens {
				found := v.verify(cmd.Context(), tok)
				verdicts = append(verdicts, found)
				if found.Accepted != yes {
					rejected++
				}
				t.rows = append(t.rows, []any{tok.GetNamespace(), reference(tok), found.Accepted, found.Revision, found.AskedOf, found.Message})
			}
			if err := out.print(p.Out, verdicts, namesOf(tokens), t); err != nil {
				return err
			}
			if rejected > 0 {
				return fmt.Errorf("%d of %d tokens: not accepted, or not found out", rejected, len(tokens))
			}
			return nil
		},
	}
	chosen.addFlags(cmd.Flags())
	out.addFlag(cmd.Flags())
	asked.add(cmd.Flags())
	return cmd
}

// verifier asks whoever a token is for.
type verifier struct {
	*plugin
	client    client.Client
	config    *rest.Config
	flags     *authorityFlags
	authority *authorityClient
}

func (v *verifier) close() {
	if v.authority != nil {
		v.authority.close()
	}
}

func (v *verifier) verify(ctx context.Context, t v1alpha1.Token) *verdict {
	found := &verdict{Kind: t.Kind(), Namespace: t.GetNamespace(), Name: t.GetName()}
	value, err := v.read(ctx, t)
	current := t.SharedStatus().Token
	if current != nil {
		found.Revision = current.Revision
	}
	switch {
	case errors.Is(err, errBeingReplaced):
		return found.say(unknown, "It is being replaced just now: ask again in a moment.")
	case err != nil:
		return found.say(unknown, "%v", err)
	case current == nil:
		return found.say(no, "There is no token yet. %s", readyToken(t).Message)
	case value.IsEmpty():
		return found.say(no, "The Secret %s does not hold the token of revision %d under %s: somebody changed or deleted it. Unless the resource is suspended, the operator puts it right.",
			v1alpha1.SecretName(t), current.Revision, v1alpha1.TokenKey(t, current.URL != ""))
	case current.URL == "":
		v.askAuthority(ctx, t, value, found)
	case t.Kind() == v1alpha1.KindAccountToken:
		v.askCodacy(ctx, t, value, found)
	default:
		v.askWhetherListed(ctx, t, found)
	}
	return found
}

var errBeingReplaced = errors.New("the Secret and the status are not of one revision")

// read gives what the Secret holds, if that is the token that the status speaks of; else it is empty. The Secret is written before the
// status, so they are read again if they differ.
func (v *verifier) read(ctx context.Context, t v1alpha1.Token) (token.Value, error) {
	const tries = 3
	for try := 1; ; try++ {
		if err := v.client.Get(ctx, client.ObjectKeyFromObject(t), t); err != nil {
			return token.Value{}, err
		}
		status := t.SharedStatus()
		if status.Token == nil {
			return token.Value{}, nil
		}
		var secret corev1.Secret
		err := v.client.Get(ctx, client.ObjectKey{Namespace: t.GetNamespace(), Name: v1alpha1.SecretName(t)}, &secret)
		if client.IgnoreNotFound(err) != nil {
			return token.Value{}, fmt.Errorf("the Secret can't be read: %w", err)
		}
		held := secret.Data[v1alpha1.TokenKey(t, status.Token.URL != "")]
		if status.AdoptedTime != nil {
			held = bytes.TrimSpace(held) // Who wrote it by hand may have left white space around it.
		}
		if token.SHA256(held) == status.Token.SHA256 {
			return token.NewValue(string(held)), nil
		}
		underWay := status.Pending != nil || secret.Annotations[v1alpha1.RevisionAnnotation] != strconv.FormatInt(status.Token.Revision, 10)
		if try == tries || !underWay {
			if status.Pending != nil {
				return token.Value{}, errBeingReplaced
			}
			return token.Value{}, nil
		}
		select {
		case <-ctx.Done():
			return token.Value{}, ctx.Err()
		case <-v.clock.After(time.Second):
		}
	}
}

// askAuthority shows a token to the authority that is built into the operator.
func (v *verifier) askAuthority(ctx context.Context, t v1alpha1.Token, value token.Value, found *verdict) {
	if v.authority == nil {
		authority, err := v.reachAuthority(ctx)
		if err != nil {
			found.say(unknown, "The authority can't be reached: %v", err)
			return
		}
		v.authority = authority
	}
	found.AskedOf = "the authority"
	accepted, err := v.authority.accepts(ctx, t, value)
	switch {
	case err != nil:
		found.say(unknown, "The authority does not say: %v", err)
	case accepted:
		found.say(yes, "Accepted as %s.", t.Subject())
	default:
		found.say(no, "Refused. Is the account or project still granted to this namespace, by the issuer %s?", t.SharedSpec().IssuerRef.Name)
	}
}

// askCodacy shows an account token to Codacy: whoever it is accepted as can read its own profile.
func (v *verifier) askCodacy(ctx context.Context, t v1alpha1.Token, value token.Value, found *verdict) {
	i, err := v.issuer(ctx, t)
	if err != nil {
		found.say(unknown, "%v", err)
		return
	}
	found.AskedOf = t.SharedStatus().Token.URL
	connection, err := v.dial(i, value)
	if err != nil {
		found.say(unknown, "%v", err)
		return
	}
	var who v1alpha1.IssuerAccount
	err = v.patiently(ctx, func(ctx context.Context) (err error) {
		who, err = connection.Identify(ctx)
		return err
	})
	var refused *issuer.Error
	switch {
	case errors.As(err, &refused) && refused.Reason == v1alpha1.ReasonCredentialsRefused:
		found.say(no, "Codacy does not accept it: it was revoked, or has expired.")
	case err != nil:
		found.say(unknown, "%v", err)
	case who.ID != t.SharedStatus().Token.AccountID:
		found.say(no, "Codacy accepts it as the account %s, and it was made for %s: look into this.", who.ID, t.SharedStatus().Token.AccountID)
	default:
		found.say(yes, "Accepted as %s.", t.Subject())
	}
}

// askWhetherListed asks Codacy for the tokens of a repository: no request is known that does nothing but try a project token.
func (v *verifier) askWhetherListed(ctx context.Context, t v1alpha1.Token, found *verdict) {
	current := t.SharedStatus().Token
	i, err := v.issuer(ctx, t)
	if err != nil {
		found.say(unknown, "%v", err)
		return
	}
	connection, err := v.dialAs(ctx, v.client, i)
	if err != nil {
		found.say(unknown, "Codacy has no request that tries a project token, and its list can't be asked for: %v", err)
		return
	}
	found.AskedOf = current.URL
	var listed []codacy.Listed
	err = v.patiently(ctx, func(ctx context.Context) (err error) {
		listed, err = connection.Tokens(ctx, t.Kind(), t.Subject())
		return err
	})
	at := slices.IndexFunc(listed, func(l codacy.Listed) bool { return l.ID == current.ID })
	switch {
	case err != nil:
		found.say(unknown, "%v", err)
	case at < 0:
		found.say(no, "Codacy does not have the token %s of %s any more.", current.ID, t.Subject())
	case current.ExpirationTime != nil && !v.clock.Now().Before(current.ExpirationTime.Time):
		found.say(no, "It expired at %s.", stamp(current.ExpirationTime))
	default:
		found.say(yes, "Codacy has the token %s of %s.", current.ID, t.Subject())
	}
}

// issuer is the issuer of a token of Codacy, if it leads to where the token was made: a value is shown to nobody else.
func (v *verifier) issuer(ctx context.Context, t v1alpha1.Token) (v1alpha1.Issuer, error) {
	ref := t.SharedSpec().IssuerRef
	var i v1alpha1.Issuer = &v1alpha1.ClusterTokenIssuer{}
	if ref.Kind == v1alpha1.KindTokenIssuer {
		i = &v1alpha1.TokenIssuer{}
	}
	if err := v.client.Get(ctx, v1alpha1.IssuerName(t), i); err != nil {
		return nil, fmt.Errorf("the issuer can't be read: %w", err)
	}
	if spec := i.SharedSpec().Codacy; spec == nil || spec.URL != t.SharedStatus().Token.URL {
		return nil, fmt.Errorf("the issuer %s does not lead to %s, where the token was made", ref.Name, t.SharedStatus().Token.URL)
	}
	return i, nil
}
