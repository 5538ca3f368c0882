package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/resources"
)

func (p *plugin) list() *cobra.Command {
	var out output
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the tokens of all namespaces, the next one to expire first",
		Long: "List the tokens of all namespaces, or of one with --namespace: those first whose Secret holds no token, then the next one to expire.\n\n" +
			"HELD BY names pods with a container that started before the Secret changed, and that still holds a replaced token.",
		Example: "  kubectl steward list\n  kubectl steward list --namespace team-a -o wide",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			c, _, namespace, err := p.connect()
			if err != nil {
				return err
			}
			var options []client.ListOption
			if cmd.Flags().Changed("namespace") {
				if all {
					return errors.New("use --namespace or --all-namespaces, and not both")
				}
				options = append(options, client.InNamespace(namespace))
			}
			tokens, err := resources.Tokens(cmd.Context(), c, options...)
			if apierrors.IsForbidden(err) && options == nil {
				return fmt.Errorf("%w; with --namespace only that one is listed", err)
			}
			if err != nil {
				return err
			}
			if len(tokens) == 0 && (out.format == "" || out.format == "wide") {
				p.progress("There are no tokens. docs/tokens.md says how to ask for one.")
				return nil
			}
			slices.SortStableFunc(tokens, byExpiry)
			full, err := listOf(tokens)
			if err != nil {
				return err
			}
			return out.print(p.Out, full, namesOf(tokens), tableOf(tokens, p.clock.Now()))
		},
	}
	out.addFlag(cmd.Flags())
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "In all namespaces, as without it.")
	return cmd
}

// byExpiry has tokens without any first, and those that do not expire last.
func byExpiry(a, b v1alpha1.Token) int {
	class := func(t v1alpha1.Token) int {
		switch current := t.SharedStatus().Token; {
		case current == nil:
			return 0
		case current.ExpirationTime != nil:
			return 1
		default:
			return 2
		}
	}
	if c := cmp.Compare(class(a), class(b)); c != 0 {
		return c
	}
	if class(a) == 1 {
		if c := a.SharedStatus().Token.ExpirationTime.Compare(b.SharedStatus().Token.ExpirationTime.Time); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(reference(a), reference(b)))
}

func tableOf(tokens []v1alpha1.Token, now time.Time) table {
	t := table{columns: []string{
		"Namespace", "Token", "Ready", "Of", "Expires", "Renewal", "Old", "Held by", "+Revision", "+Secret", "+Issuer", "+Expiration time", "+Status",
	}}
	for _, token := range tokens {
		status := token.SharedStatus()
		condition := readyToken(token)
		var revision any = "-"
		var expires *metav1.Time
		if status.Token != nil {
			revision, expires = status.Token.Revision, status.Token.ExpirationTime
		}
		state := string(condition.Status)
		if token.GetDeletionTimestamp() != nil {
			state = "Deleting"
		} else if token.SharedSpec().Suspend {
			state += ",Suspended"
		}
		t.rows = append(t.rows, []any{
			token.GetNamespace(), reference(token), state, token.Subject(), from(now, expires), from(now, status.RenewalTime),
			len(status.PreviousTokens), heldBy(status), revision, v1alpha1.SecretName(token), issuerName(token), stamp(expires), condition.Message,
		})
	}
	return t
}

// heldBy names the pods that hold replaced tokens.
func heldBy(status *v1alpha1.TokenStatus) string {
	var holders []string
	for i := range status.PreviousTokens {
		previous := &status.PreviousTokens[i]
		for _, pod := range previous.HeldBy {
			holders = append(holders, fmt.Sprintf("%s (revision %d)", pod, previous.Revision))
		}
	}
	if len(holders) == 0 {
		return "-"
	}
	return strings.Join(holders, ", ")
}
