package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

func (p *plugin) rotate() *cobra.Command {
	var (
		chosen  selection
		out     output
		waiting bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "rotate [KIND/]NAME...",
		Short: "Have tokens replaced now",
		Long: "Have tokens replaced now. Whoever still uses the previous one can go on for the grace period of the resource.\n\n" +
			"It sets the annotation " + v1alpha1.RotateRequestAnnotation + ", for which you need to be allowed to patch the resource.",
		Example:           "  kubectl steward rotate projecttoken/ci --namespace team-a --wait\n  kubectl steward rotate --all --namespace team-a",
		ValidArgsFunction: p.completeTokens,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			c, _, namespace, err := p.connect()
			if err != nil {
				return err
			}
			if waiting && timeout <= 0 {
				return errors.New("--timeout must be more than 0s")
			}
			chosen.names = args
			tokens, err := chosen.of(cmd.Context(), c, namespace)
			if err != nil {
				return err
			}
			// All are asked for before any is waited for.
			var asked []*rotation
			var failed []error
			for _, t := range tokens {
				r, err := p.ask(cmd.Context(), c, t)
				if err != nil {
					failed = append(failed, err)
					continue
				}
				asked = append(asked, r)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			shown := []v1alpha1.Token{}
			for _, r := range asked {
				if waiting {
					if err := p.await(ctx, c, r); err != nil {
						failed = append(failed, err)
					}
				}
				shown = append(shown, r.token)
			}
			if out.format != "" {
				full, err := listOf(shown)
				if err != nil {
					return err
				}
				failed = append(failed, out.print(p.Out, full, namesOf(shown), tableOf(shown, p.clock.Now())))
			}
			return errors.Join(failed...)
		},
	}
	chosen.addFlags(cmd.Flags())
	out.addFlag(cmd.Flags())
	cmd.Flags().BoolVar(&waiting, "wait", false, "Wait until the Secrets hold the new tokens.")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "How long --wait waits, for all of them together.")
	return cmd
}

// rotation is one that was asked for.
type rotation struct {
	token v1alpha1.Token
	// request is the value of the annotation, and before the revision that there was; 0 if there was none.
	request string
	before  int64
}

// ask has a token replaced.
func (p *plugin) ask(ctx context.Context, c client.Client, t v1alpha1.Token) (*rotation, error) {
	name := reference(t)
	if t.GetDeletionTimestamp() != nil {
		return nil, fmt.Errorf("%s is being deleted", name)
	}
	r := &rotation{token: t.DeepCopyObject().(v1alpha1.Token), request: p.clock.Now().UTC().Format(time.RFC3339Nano)}
	if current := t.SharedStatus().Token; current != nil {
		r.before = current.Revision
	}
	if err := annotate(ctx, c, r.token, v1alpha1.RotateRequestAnnotation, r.request); err != nil {
		return nil, err
	}
	switch {
	case t.SharedSpec().Suspend:
		p.progress("%s is suspended: there will be a new token once spec.suspend is false", name)
	case r.before == 0:
		p.progress("%s: asked for a new token; there is none yet", name)
	default:
		p.progress("%s: asked for a new token in place of revision %d", name, r.before)
	}
	return r, nil
}

// done says whether there is the token that was asked for; also if somebody else asked a moment later, who then gets it.
func (r *rotation) done() bool {
	status := r.token.SharedStatus()
	return status.Pending == nil && status.Token != nil && status.Token.Revision > r.before &&
		(status.LastRotateRequest == r.request || r.token.GetAnnotations()[v1alpha1.RotateRequestAnnotation] != r.request)
}

// await waits until a token that was asked for is in its Secret, and tells what it waits for.
func (p *plugin) await(ctx context.Context, c client.Client, r *rotation) error {
	t, name := r.token, reference(r.token)
	if t.SharedSpec().Suspend {
		return fmt.Errorf("%s is suspended, so there is nothing to wait for", name)
	}
	told, err := p.awaitToken(ctx, c, t, r.done, func() string {
		if condition := readyToken(t); condition.Status != metav1.ConditionTrue {
			return condition.Message
		}
		return ""
	})
	switch {
	case wait.Interrupted(err):
		return fmt.Errorf("%s has no new token yet: %s It is not given up: see kubectl describe %s --namespace %s", name, told, name, t.GetNamespace())
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	}
	status := t.SharedStatus()
	p.progress("%s: the Secret %s holds revision %d", name, v1alpha1.SecretName(t), status.Token.Revision)
	for i := range status.PreviousTokens {
		if previous := &status.PreviousTokens[i]; previous.RevokeTime != nil {
			p.progress("%s: revision %d stays valid until %s, and as long as a pod holds it", name, previous.Revision, stamp(previous.RevokeTime))
		}
	}
	return nil
}
