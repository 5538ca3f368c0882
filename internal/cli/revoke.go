package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/resources"
	"github.com/tokensteward/tokensteward/internal/token"
)

// mostOfAValue is how much is read of a value; none is longer.
const mostOfAValue = 4096

func (p *plugin) revoke() *cobra.Command {
	var (
		found   bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "revoke {[KIND/]NAME | --found}",
		Short: "End a token that is in wrong hands, at once",
		Long: "End a token that is in wrong hands, at once: the Secret gets another one, and then it is revoked, without a grace period and whoever holds it.\n\n" +
			"With --found it reads the value from standard input, and finds out whose it is. The value is compared by its hash; it is not printed, nor sent anywhere.\n\n" +
			"It sets the annotation " + v1alpha1.CompromisedAnnotation + ", for which you need to be allowed to patch the resource, and for --found to list tokens.",
		Example:           "  kubectl steward revoke projecttoken/ci --namespace team-a\n  kubectl steward revoke --found < value",
		ValidArgsFunction: p.completeTokens,
		RunE: func(cmd *cobra.Command, args []string) error {
			if found == (len(args) > 0) || len(args) > 1 {
				return errors.New("name one token, as in projecttoken/ci, or say --found and give its value on standard input")
			}
			if timeout <= 0 {
				return errors.New("--timeout must be more than 0s")
			}
			c, _, namespace, err := p.connect()
			if err != nil {
				return err
			}
			var t v1alpha1.Token
			var revision int64
			if found {
				t, revision, err = p.whose(cmd.Context(), c)
			} else if t, err = getToken(cmd.Context(), c, namespace, args[0]); err == nil {
				revision, err = currentRevision(t)
			}
			if err != nil {
				return err
			}
			asked := revision
			if before := underWay(t); before != 0 && before != revision {
				if found { // One annotation names one revision: naming another one would give the first its time back.
					return fmt.Errorf("%s: revision %d is still to be revoked, and only one is at a time: wait until it is, and say this again", reference(t), before)
				}
				p.progress("%s: revision %d is still to be revoked; waiting for that, and leaving revision %d alone", reference(t), before, revision)
				revision = before
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := p.end(ctx, c, t, revision); err != nil || revision == asked {
				return err
			}
			return fmt.Errorf("%s: that was revision %d, which was asked for before: if revision %d is to end, too, say this again", reference(t), revision, asked)
		},
	}
	cmd.Flags().BoolVar(&found, "found", false, "Read the token's value from standard input, and find out whose it is.")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "How long it is waited until the token is revoked.")
	return cmd
}

func currentRevision(t v1alpha1.Token) (int64, error) {
	if current := t.SharedStatus().Token; current != nil {
		return current.Revision, nil
	}
	return 0, fmt.Errorf("%s has no token", reference(t))
}

// whose finds the resource, and the revision, of the value on standard input.
func (p *plugin) whose(ctx context.Context, c client.Client) (v1alpha1.Token, int64, error) {
	value, err := io.ReadAll(io.LimitReader(p.In, mostOfAValue))
	if err != nil {
		return nil, 0, fmt.Errorf("reading the value: %w", err)
	}
	value = bytes.TrimSpace(value)
	if len(value) == 0 {
		return nil, 0, errors.New("there is no value on standard input")
	}
	sha256 := token.SHA256(value)
	tokens, err := resources.Tokens(ctx, c)
	if err != nil {
		return nil, 0, err
	}
	for _, t := range tokens {
		for _, record := range t.SharedStatus().Records() {
			if record.SHA256 == sha256 {
				p.progress("It is revision %d of %s in the namespace %s.", record.Revision, reference(t), t.GetNamespace())
				return t, record.Revision, nil
			}
		}
	}
	return nil, 0, errors.New("no resource has this token: it was made by hand or by another installation, or is revoked. At Codacy, look for it in the list of the account or the repository")
}

// end has a revision replaced and revoked, and waits until it is.
func (p *plugin) end(ctx context.Context, c client.Client, t v1alpha1.Token, revision int64) error {
	name := reference(t)
	changed := t.DeepCopyObject().(v1alpha1.Token)
	if err := annotate(ctx, c, changed, v1alpha1.CompromisedAnnotation, strconv.FormatInt(revision, 10)); err != nil {
		return err
	}
	if changed.SharedSpec().Suspend {
		return fmt.Errorf("%s is suspended: its token is revoked once spec.suspend is false. To end it without another one, delete the resource", name)
	}
	told, err := p.awaitToken(ctx, c, changed,
		func() bool { return !has(changed, revision) }, func() string { return readyToken(changed).Message })
	record, _ := recordOf(changed, revision)
	switch {
	case wait.Interrupted(err):
		return fmt.Errorf("%s still has revision %d: %s It is not given up: see kubectl describe %s --namespace %s", name, revision, told, name, t.GetNamespace())
	case apierrors.IsNotFound(err) && mayOutlive(changed, record): // A resource that goes keeps its last status.
		return fmt.Errorf("%s was deleted meanwhile, and may have left its token at the service: revoke it there. Its id is %s", name, cmp.Or(record.ID, "not known"))
	case apierrors.IsNotFound(err):
		p.progress("%s: revision %d is revoked, and the resource is deleted", name, revision)
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	}
	p.progress("%s: revision %d is revoked", name, revision)
	if current := changed.SharedStatus().Token; current != nil {
		p.progress("%s: the Secret %s holds revision %d; a container that took the old one as an environment variable has to be started anew", name, v1alpha1.SecretName(changed), current.Revision)
	}
	return nil
}

// underWay is the revision that was said to be in wrong hands, and is not revoked yet; 0: none.
func underWay(t v1alpha1.Token) int64 {
	if revision, _ := v1alpha1.CompromisedRevision(t); has(t, revision) {
		return revision
	}
	return 0
}

// recordOf is what is known of a revision; not ok if the resource has it no more.
func recordOf(t v1alpha1.Token, revision int64) (record v1alpha1.TokenRecord, ok bool) {
	records := t.SharedStatus().Records()
	at := slices.IndexFunc(records, func(r v1alpha1.TokenRecord) bool { return r.Revision == revision })
	if at < 0 {
		return v1alpha1.TokenRecord{}, false
	}
	return records[at], true
}

// mayOutlive says whether a token may live on when its resource is deleted. What the built-in authority has is gone with it.
func mayOutlive(t v1alpha1.Token, record v1alpha1.TokenRecord) bool {
	return record.URL != "" && (t.SharedSpec().DeletionPolicy == v1alpha1.DeletionPolicyRetain || v1alpha1.Abandoned(t))
}

// has says whether a resource still has a revision.
func has(t v1alpha1.Token, revision int64) bool {
	_, ok := recordOf(t, revision)
	return ok
}
