package cli

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/resources"
)

// overview is how an installation is.
type overview struct {
	Tokens  int            `json:"tokens"`
	Issuers []issuerState  `json:"issuers"`
	Failing []failingToken `json:"failing"`
}

// issuerState is how an issuer is.
type issuerState struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Ready     string `json:"ready"`
	Message   string `json:"message"`
	// URL is empty for a built-in issuer.
	URL                      string       `json:"url,omitempty"`
	Account                  string       `json:"account,omitempty"`
	CredentialExpirationTime *metav1.Time `json:"credentialExpirationTime,omitempty"`
	Tokens                   int          `json:"tokens"`
	Failing                  int          `json:"failing"`
	// RequestsLeft may be made now to the issuer's host. Absent if there is no limit, or it could not be found out.
	RequestsLeft *int `json:"requestsLeft,omitempty"`
}

// failingToken is a token that is not as it should be.
type failingToken struct {
	Kind      string      `json:"kind"`
	Namespace string      `json:"namespace"`
	Name      string      `json:"name"`
	Reason    string      `json:"reason"`
	Since     metav1.Time `json:"since"`
	Message   string      `json:"message"`
}

func (p *plugin) status() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the issuers, how many requests they have left, and the tokens that fail",
		Long: "Show the issuers, how many requests they have left, and the tokens that fail: those that are not Ready, and those that are and that a\n" +
			"person has to do something about. With --namespace, those of one namespace.\n\n" +
			"The requests left come from the operator's metrics, through a port that is forwarded to it; for that you need to be allowed to forward ports to\n" +
			"its pods, and to make a token of the ServiceAccount that may read the metrics. Without it the rest is shown.",
		Example: "  kubectl steward status\n  kubectl steward status -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			c, config, namespace, err := p.connect()
			if err != nil {
				return err
			}
			var options []client.ListOption
			if cmd.Flags().Changed("namespace") {
				options = append(options, client.InNamespace(namespace))
			}
			issuers, err := listIssuers(cmd.Context(), c, options...)
			if apierrors.IsForbidden(err) && options != nil {
				p.progress("Only TokenIssuers are shown: %v", err)
				issuers, err = resources.Issuers(cmd.Context(), c, v1alpha1.KindTokenIssuer, options...)
			}
			if err != nil {
				return err
			}
			tokens, err := resources.Tokens(cmd.Context(), c, options...)
			if err != nil {
				return err
			}
			found := overviewOf(issuers, tokens)
			if slices.ContainsFunc(issuers, func(i v1alpha1.Issuer) bool { return i.SharedSpec().Codacy != nil }) {
				left, err := p.requestsLeft(cmd.Context(), c, config)
				if err != nil {
					p.progress("How many requests are left could not be found out: %v", err)
				}
				found.budget(left)
			}
			return p.printOverview(&out, found)
		},
	}
	out.addFlag(cmd.Flags())
	return cmd
}

func overviewOf(issuers []v1alpha1.Issuer, tokens []v1alpha1.Token) *overview {
	found := &overview{Tokens: len(tokens), Issuers: []issuerState{}, Failing: []failingToken{}}
	all, failing := map[string]int{}, map[string]int{}
	for _, t := range tokens {
		all[issuerName(t)]++
		if why := failure(t); why != nil {
			failing[issuerName(t)]++
			found.Failing = append(found.Failing, failingToken{
				Kind: t.Kind(), Namespace: t.GetNamespace(), Name: t.GetName(), Reason: why.Reason, Since: why.LastTransitionTime, Message: why.Message,
			})
		}
	}
	for _, i := range issuers {
		condition, name := ready(i, i.SharedStatus().Conditions), nameOf(i)
		state := issuerState{
			Kind: i.Kind(), Namespace: i.GetNamespace(), Name: i.GetName(), Ready: string(condition.Status), Message: condition.Message,
			CredentialExpirationTime: i.SharedStatus().CredentialExpirationTime, Tokens: all[name], Failing: failing[name],
		}
		if codacy := i.SharedSpec().Codacy; codacy != nil {
			state.URL = codacy.URL
		}
		if account := i.SharedStatus().Account; account != nil {
			state.Account = cmp.Or(account.Name, account.Email, account.ID)
		}
		found.Issuers = append(found.Issuers, state)
	}
	return found
}

// failure is the condition that says what is wrong with a token; nil if nothing is.
func failure(t v1alpha1.Token) *metav1.Condition {
	conditions := t.SharedStatus().Conditions
	for i := range conditions {
		if conditions[i].Type == v1alpha1.ConditionStalled && conditions[i].Status == metav1.ConditionTrue {
			return &conditions[i]
		}
	}
	if condition := readyToken(t); condition.Status != metav1.ConditionTrue {
		return &condition
	}
	return nil
}

// budget notes how many requests may be made to which host.
func (o *overview) budget(left map[string]int) {
	for i := range o.Issuers {
		address, err := url.Parse(o.Issuers[i].URL)
		if err != nil {
			continue
		}
		if requests, ok := left[strings.TrimSuffix(address.Host, ":443")]; ok {
			o.Issuers[i].RequestsLeft = &requests
		}
	}
}

func (p *plugin) printOverview(out *output, found *overview) error {
	var names []string
	issuers := table{columns: []string{"Issuer", "Ready", "Service", "Account", "Credential expires", "Requests left", "Tokens", "Failing", "+Status"}}
	for i := range found.Issuers {
		s := &found.Issuers[i]
		left := "-"
		if s.RequestsLeft != nil {
			left = strconv.Itoa(*s.RequestsLeft)
		}
		issuers.rows = append(issuers.rows, []any{
			strings.TrimPrefix(s.Namespace+"/"+s.Name, "/"), s.Ready, cmp.Or(s.URL, "built in"), cmp.Or(s.Account, "-"),
			from(p.clock.Now(), s.CredentialExpirationTime), left, s.Tokens, s.Failing, s.Message,
		})
	}
	failing := table{columns: []string{"Namespace", "Token", "Reason", "Since", "Message"}}
	for i := range found.Failing {
		f := &found.Failing[i]
		kind := strings.ToLower(f.Kind)
		names = append(names, fmt.Sprintf("%s.%s/%s", kind, v1alpha1.GroupVersion.Group, f.Name))
		failing.rows = append(failing.rows, []any{f.Namespace, kind + "/" + f.Name, f.Reason, from(p.clock.Now(), &f.Since), f.Message})
	}
	if err := out.print(p.Out, found, names, issuers); err != nil || out.format != "" && out.format != "wide" {
		return err
	}
	if len(found.Failing) == 0 {
		_, err := fmt.Fprintf(p.Out, "\nAll of %d tokens are as they should be.\n", found.Tokens)
		return err
	}
	if _, err := fmt.Fprintf(p.Out, "\n%d of %d tokens fail:\n", len(found.Failing), found.Tokens); err != nil {
		return err
	}
	return failing.print(p.Out, out.format == "wide")
}
