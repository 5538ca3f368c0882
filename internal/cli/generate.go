package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/grant"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/resources"
)

func (p *plugin) generate() *cobra.Command {
	g := generator{plugin: p}
	cmd := &cobra.Command{
		Use:   "generate PROVIDER/ORGANIZATION",
		Short: "Write ProjectTokens for the repositories of an organization at Codacy",
		Long: "Write ProjectTokens for the repositories of an organization at Codacy as YAML, to be committed or applied.\n\n" +
			"Repositories of which the namespace has a ProjectToken are left out, so that the next run goes on after the last one.\n" +
			"So are those that have no tokens at Codacy, and those that the issuer does not grant to the namespace.\n" +
			"Keep what each run wrote: a resource that leaves Git is deleted, and its token revoked.\n\n" +
			"It asks Codacy with the issuer's credential, which you need to be allowed to read, and changes nothing.",
		Example: "  kubectl steward generate gh/acme --issuer codacy --namespace team-a >tokens-1.yaml\n" +
			"  kubectl steward generate gh/acme --issuer codacy --namespace team-a --match 'web-*' --limit 10",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if g.client, _, g.namespace, err = p.connect(); err != nil {
				return err
			}
			return g.run(cmd.Context(), args[0])
		},
	}
	cmd.Flags().StringVar(&g.issuer, "issuer", "", "The issuer: a ClusterTokenIssuer by its name, a TokenIssuer as namespace/name.")
	cmd.Flags().StringVar(&g.match, "match", "*", "The repositories with such a name: * stands for any characters, ? for one.")
	cmd.Flags().IntVar(&g.limit, "limit", 100, "The most ProjectTokens to write.")
	_ = cmd.MarkFlagRequired("issuer") // It is there.
	return cmd
}

// generator writes ProjectTokens.
type generator struct {
	*plugin
	client    client.Client
	namespace string
	issuer    string
	match     string
	limit     int
}

func (g *generator) run(ctx context.Context, of string) error {
	provider, organization, ok := strings.Cut(of, "/")
	switch _, err := path.Match(g.match, ""); {
	case !ok || !providers[provider] || !pathSegment.MatchString(organization):
		return errors.New("name the organization as PROVIDER/ORGANIZATION, as in gh/acme; providers are gh, ghe, gl, gle, bb and bbe")
	case err != nil:
		return errors.New("--match is no pattern: a [ takes a ]")
	case g.limit < 1:
		return errors.New("--limit must be 1 or more")
	}
	i, err := g.find(ctx)
	if err != nil {
		return err
	}
	connection, err := g.dialAs(ctx, g.client, i)
	if err != nil {
		return fmt.Errorf("with the issuer %s: %w", g.issuer, err)
	}
	var repositories []codacy.Repository
	err = g.patiently(ctx, func(ctx context.Context) (err error) {
		repositories, err = connection.Repositories(ctx, provider, organization)
		return err
	})
	if err != nil {
		return err
	}
	return g.write(ctx, i, provider, organization, repositories)
}

// find is the issuer, if tokens of the namespace can have it.
func (g *generator) find(ctx context.Context) (v1alpha1.Issuer, error) {
	var i v1alpha1.Issuer = &v1alpha1.ClusterTokenIssuer{}
	key := client.ObjectKey{Name: g.issuer}
	if namespace, name, ok := strings.Cut(g.issuer, "/"); ok {
		i, key = &v1alpha1.TokenIssuer{}, client.ObjectKey{Namespace: namespace, Name: name}
	}
	none := fmt.Errorf("no issuer %q that tokens of the namespace %s can have leads to Codacy", g.issuer, g.namespace)
	if key.Namespace != "" && key.Namespace != g.namespace || len(validation.IsDNS1123Subdomain(key.Name)) > 0 {
		return nil, none
	}
	switch err := g.client.Get(ctx, key, i); {
	case apierrors.IsNotFound(err):
		return nil, none
	case err != nil:
		return nil, fmt.Errorf("reading the issuer %q: %w", g.issuer, err)
	case i.SharedSpec().Codacy == nil:
		return nil, none
	}
	return i, nil
}

// write prints a ProjectToken for each repository that is to have one, and says what became of the others.
func (g *generator) write(ctx context.Context, i v1alpha1.Issuer, provider, organization string, repositories []codacy.Repository) error {
	tokens, err := resources.Tokens(ctx, g.client, client.InNamespace(g.namespace))
	if err != nil {
		return err
	}
	names, have := map[string]bool{}, map[string]bool{}
	for _, t := range tokens {
		names[t.GetName()], names[v1alpha1.SecretName(t)] = true, true
		if t, ok := t.(*v1alpha1.ProjectToken); ok {
			have[grant.Key(t.Spec.Project)] = true
		}
	}
	if err := g.addSecrets(ctx, names); err != nil {
		return err
	}
	granted, err := g.grants(ctx, i)
	if err != nil {
		return err
	}
	slices.SortFunc(repositories, func(a, b codacy.Repository) int { return strings.Compare(a.Name, b.Name) })
	written, left := 0, map[string]int{}
	for _, r := range repositories {
		project := v1alpha1.Project{Provider: provider, Organization: v1alpha1.PathSegment(organization), Repository: v1alpha1.PathSegment(r.Name)}
		matches, _ := path.Match(g.match, r.Name) // It is a pattern.
		switch {
		case !matches:
			left["--match is for other names"]++
		case have[grant.Key(project)]:
			left["a ProjectToken of the namespace is for it"]++
		case !pathSegment.MatchString(r.Name):
			left["no ProjectToken can be for such a name"]++
		case !r.Added:
			left["it was not added to Codacy"]++
		case !r.Administered:
			left["the account of the issuer may not administer it"]++
		case !granted(project):
			left["the issuer does not grant it to the namespace"]++
		case written == g.limit:
			left["--limit is reached; run this again when these are applied"]++
		default:
			name := nameFor(r.Name, names)
			names[name], have[grant.Key(project)] = true, true
			if err := g.print(i, name, project); err != nil {
				return err
			}
			written++
		}
	}
	g.progress("Of %d repositories %d get a ProjectToken.", len(repositories), written)
	for _, why := range slices.Sorted(maps.Keys(left)) {
		g.progress("%d left out: %s", left[why], why)
	}
	return nil
}

// addSecrets adds the names of the Secrets in the namespace, with which a resource of the same name would be in conflict.
func (g *generator) addSecrets(ctx context.Context, names map[string]bool) error {
	secrets, err := resources.Secrets(ctx, g.client, client.InNamespace(g.namespace))
	switch {
	case apierrors.IsForbidden(err):
		g.progress("You may not list the Secrets of the namespace %s: if one has the name of a new ProjectToken, that says SecretConflict.", g.namespace)
	case err != nil:
		return err
	}
	for i := range secrets {
		names[secrets[i].Name] = true
	}
	return nil
}

// grants says which projects the issuer grants to the namespace; a TokenIssuer grants all.
func (g *generator) grants(ctx context.Context, i v1alpha1.Issuer) (func(v1alpha1.Project) bool, error) {
	shared, ok := i.(*v1alpha1.ClusterTokenIssuer)
	if !ok {
		return func(v1alpha1.Project) bool { return true }, nil
	}
	namespace := grant.NamespaceMetadata()
	if err := g.client.Get(ctx, client.ObjectKey{Name: g.namespace}, namespace); err != nil {
		return nil, fmt.Errorf("the labels of the namespace, which grants may go by: %w", err)
	}
	in := grant.Namespace{Name: namespace.Name, Labels: namespace.Labels}
	return func(project v1alpha1.Project) bool { return grant.Project(shared, in, project) }, nil
}

// print writes a resource with what has to be in it and no more.
func (g *generator) print(i v1alpha1.Issuer, name string, project v1alpha1.Project) error {
	text, err := yaml.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(),
		"kind":       v1alpha1.KindProjectToken,
		"metadata":   map[string]string{"name": name, "namespace": g.namespace},
		"spec": map[string]any{
			"issuerRef": map[string]string{"kind": i.Kind(), "name": i.GetName()},
			"project":   project,
		},
	})
	if err == nil {
		_, err = fmt.Fprintf(g.Out, "---\n%s", text)
	}
	return err
}

var providers = map[string]bool{"gh": true, "ghe": true, "gl": true, "gle": true, "bb": true, "bbe": true}

// pathSegment is what the schema of v1alpha1.PathSegment lets through, but for . and .., which nothing is called.
var pathSegment = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,253}$`)

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// nameFor makes a name for the resource and its Secret of a repository's name. If it is taken, a piece of a hash tells them apart.
func nameFor(repository string, taken map[string]bool) string {
	const least = 5
	hash := sha256.Sum256([]byte(repository))
	name := notInNames.ReplaceAllString(strings.ToLower(repository), "-")
	name = strings.Trim(name[:min(len(name), validation.DNS1123LabelMaxLength-1-least)], "-")
	for unique, more := name, least; ; more++ {
		if unique != "" && !taken[unique] {
			return unique
		}
		unique = strings.TrimPrefix(name+"-"+hex.EncodeToString(hash[:])[:more], "-")
	}
}
