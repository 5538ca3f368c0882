package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/installation"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/resources"
)

// orphan is a token at Codacy with the name of an installation, that no resource of this cluster has.
type orphan struct {
	Installation string `json:"installation"`
	Issuer       string `json:"issuer"`
	Project      string `json:"project"`
	ID           string `json:"id"`
	Name         string `json:"name"`
	// ExpirationTime is absent if Codacy does not tell.
	ExpirationTime *metav1.Time `json:"expirationTime,omitempty"`
	// Secret names the token still, so that somebody may use it.
	Secret  string `json:"secret,omitempty"`
	Revoked bool   `json:"revoked,omitempty"`

	url  string
	from *codacy.Connection
}

func (p *plugin) orphans() *cobra.Command {
	var (
		out output
		s   = search{plugin: p}
		end bool
		yes bool
	)
	cmd := &cobra.Command{
		Use:   "orphans",
		Short: "List tokens at Codacy that no resource has, and revoke them",
		Long: "List project tokens at Codacy that carry a name of this installation and that no resource of the cluster has.\n" +
			"With --installation-id those of another one, such as that of a cluster that is no more.\n\n" +
			"It asks Codacy for the tokens of the projects of all ProjectTokens in the cluster, and of those that --project names, with the\n" +
			"credentials of their issuers. You need to be allowed to read these, and to list resources and Secrets in all namespaces.\n\n" +
			"A token that a Secret of the operator names, or that was left behind on purpose, is never revoked.",
		Example: "  kubectl steward orphans\n  kubectl steward orphans --installation-id k3j9x2m7qa --project gh/acme/website --issuer codacy --revoke",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if cmd.Flags().Changed("namespace") {
				return errors.New("orphans belong to no namespace: leave --namespace out")
			}
			var err error
			if s.client, _, _, err = p.connect(); err != nil {
				return err
			}
			found, incomplete := s.run(cmd.Context())
			if errors.Is(incomplete, errNotSearched) {
				return incomplete
			}
			if end && len(found) > 0 {
				if err := s.revoke(cmd.Context(), found, yes); err != nil {
					incomplete = errors.Join(incomplete, err)
				}
			}
			t, names := tableOfOrphans(found), []string{}
			for i := range found {
				names = append(names, found[i].Name)
			}
			if len(found) == 0 && (out.format == "" || out.format == "wide") {
				p.progress("There are no orphaned tokens of the installation %s in the projects that were asked for.", s.installation)
				return incomplete
			}
			return errors.Join(out.print(p.Out, found, names, t), incomplete)
		},
	}
	out.addFlag(cmd.Flags())
	cmd.Flags().StringVar(&s.installation, "installation-id", "", "The installation whose tokens are meant. By default the one in this cluster.")
	cmd.Flags().StringVar(&s.issuer, "issuer", "", "Ask with this issuer alone: a ClusterTokenIssuer by its name, a TokenIssuer as namespace/name.")
	cmd.Flags().StringSliceVar(&s.projects, "project", nil, "Look in this project, too, as provider/organization/repository. It needs --issuer.")
	cmd.Flags().BoolVar(&end, "revoke", false, "Revoke what is found.")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "Do not ask before revoking.")
	return cmd
}

func tableOfOrphans(found []orphan) table {
	t := table{columns: []string{"Project", "ID", "Name", "Expires", "Revoked", "Note", "+Issuer"}}
	for i := range found {
		o, revoked, note := &found[i], no, ""
		if o.Revoked {
			revoked = yes
		}
		if o.Secret != "" {
			note = "the Secret " + o.Secret + " names it"
		}
		t.rows = append(t.rows, []any{o.Project, o.ID, o.Name, stamp(o.ExpirationTime), revoked, note, o.Issuer})
	}
	return t
}

// search looks for orphans.
type search struct {
	*plugin
	client       client.Client
	installation string
	issuer       string
	projects     []string
}

// errNotSearched: nothing can be said.
var errNotSearched = errors.New("orphans were not looked for")

// spot is a project at a Codacy.
type spot struct{ url, project string }

// run finds the orphans. What it could not look into is in the error, beside what it found.
func (s *search) run(ctx context.Context) ([]orphan, error) {
	fail := func(err error) ([]orphan, error) { return nil, fmt.Errorf("%w: %w", errNotSearched, err) }
	if s.installation == "" {
		id, err := installation.Current(ctx, s.client, s.operatorNamespace)
		if err != nil {
			return fail(fmt.Errorf("%w; --installation-id names it", err))
		}
		s.installation = id
	}
	if !installation.Valid(s.installation) {
		return fail(errors.New("--installation-id must be 6 to 20 lowercase letters and digits"))
	}
	spots, err := s.spots(ctx)
	if err != nil {
		return fail(err)
	}
	var found []orphan
	var incomplete []error
	order := slices.SortedFunc(maps.Keys(spots), func(a, b spot) int {
		return cmp.Or(cmp.Compare(a.url, b.url), cmp.Compare(a.project, b.project))
	})
	for i, at := range order {
		s.progress("Asking %s for the tokens of %s (%d of %d)", at.url, at.project, i+1, len(order))
		some, err := s.look(ctx, at, spots[at])
		if err != nil {
			incomplete = append(incomplete, fmt.Errorf("%s: %w", at.project, err))
		}
		found = append(found, some...)
	}
	// Whoever made a token of those lists had written it down before, so what is read now tells of all of them.
	if found, err = s.unclaimed(ctx, found); err != nil {
		return fail(err)
	}
	return found, errors.Join(incomplete...)
}

// spots are where to look, and the issuers that may see it.
func (s *search) spots(ctx context.Context) (map[spot][]v1alpha1.Issuer, error) {
	issuers := map[string]v1alpha1.Issuer{}
	all, err := listIssuers(ctx, s.client)
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		if name := nameOf(i); i.SharedSpec().Codacy != nil && (s.issuer == "" || s.issuer == name) {
			issuers[name] = i
		}
	}
	if len(issuers) == 0 {
		return nil, fmt.Errorf("no issuer leads to Codacy, or none that --issuer=%q names", s.issuer)
	}
	spots := map[spot][]v1alpha1.Issuer{}
	add := func(i v1alpha1.Issuer, project string) {
		at := spot{i.SharedSpec().Codacy.URL, project}
		if !slices.Contains(spots[at], i) {
			spots[at] = append(spots[at], i)
		}
	}
	tokens, err := resources.Tokens(ctx, s.client)
	if err != nil {
		return nil, err
	}
	for _, t := range tokens {
		if i := issuers[issuerName(t)]; i != nil && t.Kind() == v1alpha1.KindProjectToken {
			add(i, t.Subject())
		}
	}
	if len(s.projects) > 0 && s.issuer == "" {
		return nil, errors.New("--project needs --issuer, to know whom to ask")
	}
	for _, project := range s.projects {
		add(issuers[s.issuer], project)
	}
	return spots, nil
}

// look lists the tokens in a project that carry a name of the installation, with the first issuer that can.
func (s *search) look(ctx context.Context, at spot, issuers []v1alpha1.Issuer) ([]orphan, error) {
	var failed []error
	for _, i := range issuers {
		name := nameOf(i)
		connection, err := s.dialAs(ctx, s.client, i)
		if err != nil {
			failed = append(failed, fmt.Errorf("with the issuer %s: %w", name, err))
			continue
		}
		var listed []codacy.Listed
		err = s.patiently(ctx, func(ctx context.Context) (err error) {
			listed, err = connection.Tokens(ctx, v1alpha1.KindProjectToken, at.project)
			return err
		})
		if err != nil {
			failed = append(failed, fmt.Errorf("with the issuer %s: %w", name, err))
			continue
		}
		var found []orphan
		for _, l := range listed {
			if l.Installation() != s.installation {
				continue
			}
			o := orphan{Installation: s.installation, Issuer: name, Project: at.project, ID: l.ID, Name: l.Name, url: at.url, from: connection}
			if !l.ExpirationTime.IsZero() {
				expires := metav1.NewTime(l.ExpirationTime)
				o.ExpirationTime = &expires
			}
			found = append(found, o)
		}
		return found, nil
	}
	return nil, errors.Join(failed...)
}

// unclaimed are those that no resource has and that nobody left behind on purpose, with the Secrets that name them. One Codacy may have
// several addresses, so they are compared by name and id alone, which can only spare more of them.
func (s *search) unclaimed(ctx context.Context, found []orphan) ([]orphan, error) {
	claimed := map[string]bool{}
	tokens, err := resources.Tokens(ctx, s.client)
	if err != nil {
		return nil, err
	}
	for _, t := range tokens {
		for _, record := range t.SharedStatus().Records() {
			claimed[record.ID], claimed[record.Name] = true, true
		}
	}
	issuers, err := listIssuers(ctx, s.client)
	if err != nil {
		return nil, err
	}
	for _, i := range issuers {
		for _, left := range i.SharedStatus().Retained {
			claimed[left.ID], claimed[left.Name] = true, true
		}
	}
	// All Secrets: one that was left behind is not labelled as the operator's any more.
	secrets, err := resources.Secrets(ctx, s.client)
	if err != nil {
		return nil, err
	}
	named := map[string]string{}
	for i := range secrets {
		if id := secrets[i].Annotations[v1alpha1.TokenIDAnnotation]; id != "" {
			named[id] = client.ObjectKeyFromObject(&secrets[i]).String()
		}
	}
	left := []orphan{}
	for i := range found {
		if o := found[i]; !claimed[o.ID] && !claimed[o.Name] {
			o.Secret = named[o.ID]
			left = append(left, o)
		}
	}
	return left, nil
}

// revoke ends orphans, if the user means it.
func (s *search) revoke(ctx context.Context, found []orphan, sure bool) error {
	free := 0
	for i := range found {
		if found[i].Secret == "" {
			free++
		}
	}
	if free == 0 {
		return errors.New("a Secret names each of them, so none is revoked: delete the Secrets that nobody uses")
	}
	if !sure {
		if err := tableOfOrphans(found).print(s.ErrOut, true); err != nil {
			return err
		}
		if err := s.confirm(ctx, free); err != nil {
			return err
		}
	}
	var failed []error
	done := 0
	for i := range found {
		o := &found[i]
		err := s.patiently(ctx, func(ctx context.Context) error {
			// Somebody may have taken it over a moment ago.
			still, err := s.unclaimed(ctx, []orphan{*o})
			if err != nil || len(still) == 0 || still[0].Secret != "" {
				return err
			}
			err = o.from.Revoke(ctx, issuer.Reference{Kind: v1alpha1.KindProjectToken, Subject: o.Project, ID: o.ID, URL: o.url}) //nolint:forbidigo // It belongs to no resource, so no engine sees to it.
			o.Revoked = err == nil
			return err
		})
		switch {
		case ctx.Err() != nil:
			return errors.Join(append(failed, fmt.Errorf("interrupted: %d of %d were revoked", done, free))...)
		case err != nil:
			failed = append(failed, fmt.Errorf("%s of %s was not revoked: %w", o.ID, o.Project, err))
		case o.Revoked:
			done++
			s.progress("Revoked the token %s of %s (%d of %d)", o.ID, o.Project, done, free)
		}
	}
	return errors.Join(failed...)
}

// confirm asks the user.
func (s *search) confirm(ctx context.Context, tokens int) error {
	_, _ = fmt.Fprintf(s.ErrOut, "Revoke %d tokens of the installation %s? Whoever uses one will be refused, also in another cluster. Type yes: ", tokens, s.installation)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(s.In).ReadString('\n')
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case said := <-answer:
		if said != "yes" {
			return errors.New("nothing was revoked; --yes revokes without asking")
		}
		return nil
	}
}
