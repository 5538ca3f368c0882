// Package cli is the kubectl plugin `kubectl steward`. It acts with the permissions of its user, and asks the operator for
// nothing. docs/kubectl-steward.md describes it.
package cli

import (
	"fmt"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/resources"
)

// fieldManager is who the API server takes the plugin for. It does not begin with kubectl: Flux undoes what a manager of such a name
// did by hand.
const fieldManager = "tokensteward-cli"

var scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	return s
}()

// plugin is what all commands share.
type plugin struct {
	genericiooptions.IOStreams
	flags             *genericclioptions.ConfigFlags
	operatorNamespace string
	clock             clock.Clock

	// services has the connections that were made as an issuer makes them.
	services *codacy.Services
}

// New is the command `kubectl steward`.
func New(streams genericiooptions.IOStreams, clk clock.Clock, version string) *cobra.Command {
	log.SetLogger(logr.Discard()) // controller-runtime's client has one, and complains if nobody sets it.
	p := &plugin{
		IOStreams: streams, flags: genericclioptions.NewConfigFlags(true), clock: clk,
		services: codacy.NewServices(codacy.Options{Clock: clk, Timeout: serviceTimeout, BreakerPause: longestPause}),
	}
	p.flags.BearerToken = nil // A credential has no place among a process' arguments.
	root := &cobra.Command{
		Use:   "kubectl-steward",
		Short: "See and drive the API tokens that Tokensteward manages",
		Long: "See and drive the API tokens that Tokensteward manages.\n\n" +
			"Every command acts with your own permissions. None prints the value of a token.",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl steward"},
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	p.flags.AddFlags(root.PersistentFlags())
	root.PersistentFlags().StringVar(&p.operatorNamespace, "operator-namespace", "tokensteward-system", "The namespace that Tokensteward is installed in.")
	root.AddCommand(p.list(), p.rotate(), p.revoke(), p.verify(), p.inject(), p.generate(), p.orphans(), p.status())
	return root
}

// connect gives a client, the configuration it was made of, and the namespace that was asked for, or that is the current one.
func (p *plugin) connect() (client.Client, *rest.Config, string, error) {
	config, err := p.flags.ToRESTConfig()
	if err != nil {
		return nil, nil, "", err
	}
	config.WarningHandler = rest.NewWarningWriter(p.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
	config.QPS = -1 // The API server's own fairness is enough, and many tokens are many requests.
	c, err := client.New(config, client.Options{Scheme: scheme, FieldOwner: fieldManager})
	if err != nil {
		return nil, nil, "", fmt.Errorf("connecting to the API server: %w", err)
	}
	namespace, _, err := p.flags.ToRawKubeConfigLoader().Namespace()
	return c, config, namespace, err
}

// progress tells how it goes, apart from what the command prints.
func (p *plugin) progress(format string, arguments ...any) {
	_, _ = fmt.Fprintln(p.ErrOut, Visible(fmt.Sprintf(format, arguments...)))
}

// completeTokens offers the names of the tokens in the namespace.
func (p *plugin) completeTokens(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, _, namespace, err := p.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	tokens, err := resources.Tokens(cmd.Context(), c, client.InNamespace(namespace))
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, t := range tokens {
		names = append(names, reference(t))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
