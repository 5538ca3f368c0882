package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/resources"
)

// injection is what inject was asked to do.
type injection struct {
	tokenName  string
	prefix     string
	containers []string
	files      resource.FilenameOptions
	dryRun     string
	printing   *genericclioptions.PrintFlags
}

func (p *plugin) inject() *cobra.Command {
	in := &injection{printing: genericclioptions.NewPrintFlags("token injected")}
	cmd := &cobra.Command{
		Use:   "inject KIND/NAME --token [KIND/]NAME",
		Short: "Have the containers of a workload take a token with envFrom",
		Long: "Have the containers of a workload take a token as environment variables: it adds an envFrom with the token's Secret to its pod template.\n" +
			"That the token is there already changes nothing.\n\n" +
			"With --filename and --dry-run=client the workload is read from a file and the cluster is asked for the token alone, for manifests that are in Git.",
		Example: "  kubectl steward inject deployment/web --token ci --namespace team-a\n" +
			"  kubectl steward inject -f deployment.yaml --token projecttoken/ci --namespace team-a --dry-run=client -o yaml",
		RunE: func(cmd *cobra.Command, args []string) error { return p.runInject(cmd.Context(), in, args) },
	}
	in.printing.AddFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&in.tokenName, "token", "", "The AccountToken or ProjectToken, in the namespace of the workload.")
	flags.StringSliceVarP(&in.containers, "container", "c", nil, "The containers that are to have it, init containers among them. By default all but those.")
	flags.StringSliceVarP(&in.files.Filenames, "filename", "f", nil, "A file with the workload, or - for the standard input, in place of KIND/NAME.")
	flags.StringVar(&in.prefix, "prefix", "", "Begin the names of the variables with this.")
	flags.StringVar(&in.dryRun, "dry-run", "none", "none, server or client: with client nothing is sent, only printed what would be.")
	flags.Lookup("dry-run").NoOptDefVal = "unspecified"
	_ = cmd.MarkFlagRequired("token") // It fails for a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc("token", p.completeTokens)
	return cmd
}

func (p *plugin) runInject(ctx context.Context, in *injection, args []string) error {
	switch {
	case !slices.Contains([]string{"none", "server", "client"}, in.dryRun):
		return errors.New("--dry-run must be none, server or client, as in --dry-run=client")
	case len(args) > 0 && len(in.files.Filenames) > 0:
		return errors.New("name workloads or files, and not both")
	case len(args) == 0 && len(in.files.Filenames) == 0:
		return errors.New("name a workload, as in deployment/web, or a file with --filename")
	}
	if in.dryRun != "none" {
		if err := in.printing.Complete("%s (" + in.dryRun + " dry run)"); err != nil {
			return err
		}
	}
	printer, err := in.printing.ToPrinter()
	if err != nil {
		return err
	}
	c, _, namespace, err := p.connect()
	if err != nil {
		return err
	}
	infos, err := p.workloads(in, args, namespace)
	if err != nil {
		return err
	}
	// All of them are judged before the first one is sent.
	changed := make([]bool, len(infos))
	workloads := 0
	for i, info := range infos {
		object, ok := info.Object.(*unstructured.Unstructured)
		if !ok {
			return fmt.Errorf("%s can't be read", info.Name)
		}
		if _, err := templatePath(object); err != nil && len(in.files.Filenames) > 0 {
			continue // A file may hold a Service, too.
		}
		workloads++
		if changed[i], err = p.injectInto(ctx, c, in, object, namespace); err != nil {
			return fmt.Errorf("%s/%s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	if workloads == 0 {
		return errNoTemplate
	}
	for i, info := range infos {
		if changed[i] && in.dryRun != "client" {
			if info.Object, err = in.send(info, info.Object.(*unstructured.Unstructured)); err != nil {
				return err
			}
		}
		if changed[i] || in.printing.OutputFormat != nil && *in.printing.OutputFormat != "" {
			if err := printer.PrintObj(info.Object, p.Out); err != nil {
				return err
			}
		}
	}
	return nil
}

// injectInto changes a workload in memory, if its containers would then have the token, and says whether it did not take it already.
func (p *plugin) injectInto(ctx context.Context, c client.Reader, in *injection, object *unstructured.Unstructured, namespace string) (changed bool, err error) {
	namespace = cmp.Or(object.GetNamespace(), namespace)
	t, err := getToken(ctx, c, namespace, in.tokenName)
	if err != nil {
		return false, err
	}
	status := t.SharedStatus()
	if status.Token == nil {
		message := fmt.Sprintf("containers do not start without the Secret of %s, which has no token yet: %s", reference(t), readyToken(t).Message)
		if in.dryRun != "client" {
			return false, errors.New(message)
		}
		p.progress("%s", message)
	}
	if by := keptBy(object); by != "" && in.dryRun != "client" {
		p.progress("%s/%s is kept by %s, which may take this out again: change it there. --filename with --dry-run=client -o yaml changes a manifest.", object.GetKind(), object.GetName(), by)
	}
	others, err := resources.Tokens(ctx, c, client.InNamespace(namespace))
	if err != nil {
		return false, err
	}
	variable := func(t v1alpha1.Token) string {
		current := t.SharedStatus().Token
		return v1alpha1.TokenKey(t, current != nil && current.URL != "")
	}
	sameVariable := map[string]string{}
	for _, other := range others {
		if reference(other) != reference(t) && variable(other) == variable(t) {
			sameVariable[v1alpha1.SecretName(other)] = reference(other)
		}
	}
	secret := v1alpha1.SecretName(t)
	changed, err = addEnvFrom(object, source{secret: secret, prefix: in.prefix, variable: in.prefix + variable(t), sameVariable: sameVariable}, in.containers)
	if err == nil && !changed {
		p.progress("%s/%s takes the Secret %s already", object.GetKind(), object.GetName(), secret)
	}
	return changed, err
}

// keptBy is what keeps a workload as it is written elsewhere; empty if nothing is seen to.
func keptBy(object *unstructured.Unstructured) string {
	switch labels, annotations := object.GetLabels(), object.GetAnnotations(); {
	case labels["kustomize.toolkit.fluxcd.io/name"] != "" || labels["helm.toolkit.fluxcd.io/name"] != "":
		return "Flux"
	case labels["argocd.argoproj.io/instance"] != "" || annotations["argocd.argoproj.io/tracking-id"] != "":
		return "Argo CD"
	case labels["app.kubernetes.io/managed-by"] == "Helm":
		return "Helm"
	}
	return ""
}

// workloads reads what is to be changed: from files alone, if the cluster is not to be asked for it.
func (p *plugin) workloads(in *injection, args []string, namespace string) ([]*resource.Info, error) {
	builder := resource.NewBuilder(p.flags).Unstructured().NamespaceParam(namespace).FilenameParam(false, &in.files).Flatten()
	if in.dryRun == "client" && len(in.files.Filenames) > 0 {
		builder = builder.Local()
	} else {
		builder = builder.DefaultNamespace().ResourceTypeOrNameArgs(false, args...).Latest()
	}
	return builder.Do().Infos()
}

// send changes a workload in the cluster, if nobody else did meanwhile: lists are replaced whole.
func (in *injection) send(info *resource.Info, object *unstructured.Unstructured) (runtime.Object, error) {
	template, err := templatePath(object)
	if err != nil {
		return nil, err
	}
	patch := map[string]any{"metadata": map[string]any{"resourceVersion": object.GetResourceVersion()}}
	for _, list := range containerLists {
		containers, found, err := unstructured.NestedSlice(object.Object, at(template, list)...)
		if err == nil && found {
			err = unstructured.SetNestedSlice(patch, containers, at(template, list)...)
		}
		if err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(patch)
	if err != nil {
		return nil, err
	}
	helper := resource.NewHelper(info.Client, info.Mapping).WithFieldManager(fieldManager).DryRun(in.dryRun == "server")
	changed, err := helper.Patch(info.Namespace, info.Name, types.MergePatchType, text, nil)
	if apierrors.IsConflict(err) {
		return nil, fmt.Errorf("%s/%s was changed by somebody else at the same moment: try again", object.GetKind(), object.GetName())
	}
	return changed, err
}

// containerLists are where the spec of a pod has containers.
var containerLists = []string{"containers", "initContainers"}

// at is a path with one more step.
func at(path []string, step string) []string { return append(slices.Clone(path), step) }

var errNoTemplate = errors.New("it has no pod template, as Deployments, StatefulSets, DaemonSets, Jobs and CronJobs have")

// templatePath is where a workload has the spec of its pods.
func templatePath(object *unstructured.Unstructured) ([]string, error) {
	for _, path := range [][]string{{"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"}} {
		if _, found, err := unstructured.NestedSlice(object.Object, at(path, "containers")...); found && err == nil {
			return path, nil
		}
	}
	return nil, errNoTemplate
}

// source is what containers are to take.
type source struct {
	secret, prefix string
	// variable is the one that the token is in. sameVariable are other tokens that set it, by their Secrets.
	variable     string
	sameVariable map[string]string
}

// addEnvFrom has containers take a Secret, and says whether they did not already.
func addEnvFrom(object *unstructured.Unstructured, s source, names []string) (changed bool, err error) {
	template, err := templatePath(object)
	if err != nil {
		return false, err
	}
	missing := slices.Clone(names)
	for _, list := range containerLists {
		containers, found, err := unstructured.NestedSlice(object.Object, at(template, list)...)
		if err != nil {
			return false, err
		}
		for i := range containers {
			container, ok := containers[i].(map[string]any)
			if !ok {
				return false, errors.New("one of its containers can't be read")
			}
			name, _ := container["name"].(string)
			if named := slices.Contains(names, name); !named && (len(names) > 0 || list != "containers") {
				continue
			}
			missing = slices.DeleteFunc(missing, func(wanted string) bool { return wanted == name })
			added, err := s.addTo(container)
			if err != nil {
				return false, fmt.Errorf("the container %s: %w", name, err)
			}
			changed = changed || added
		}
		if found {
			if err := unstructured.SetNestedSlice(object.Object, containers, at(template, list)...); err != nil {
				return false, err
			}
		}
	}
	if len(missing) > 0 {
		return false, fmt.Errorf("it has no container %q", missing[0])
	}
	return changed, nil
}

// addTo has one container take a Secret, unless it has the variable from elsewhere: it would not see the token, or not the other one.
func (s *source) addTo(container map[string]any) (added bool, err error) {
	variables, _, err := unstructured.NestedSlice(container, "env")
	if err != nil {
		return false, err
	}
	for _, variable := range variables {
		if set, ok := variable.(map[string]any); ok && set["name"] == s.variable {
			return false, fmt.Errorf("it sets %s itself, and that counts: take that out of env first, or name the token's variable otherwise with --prefix", s.variable)
		}
	}
	sources, _, err := unstructured.NestedSlice(container, "envFrom")
	if err != nil {
		return false, err
	}
	for _, taken := range sources {
		from, ok := taken.(map[string]any)
		if !ok {
			continue
		}
		secret, _, _ := unstructured.NestedString(from, "secretRef", "name")
		prefix, _ := from["prefix"].(string)
		if prefix != s.prefix {
			continue
		}
		if secret == s.secret {
			return false, nil
		}
		if other := s.sameVariable[secret]; other != "" {
			return false, fmt.Errorf("it takes %s already, which sets the same variable, %s: give this one another with --prefix, or with spec.secret.tokenKey", other, s.variable)
		}
	}
	entry := map[string]any{"secretRef": map[string]any{"name": s.secret}}
	if s.prefix != "" {
		entry["prefix"] = s.prefix
	}
	container["envFrom"] = append(sources, entry)
	return true, nil
}
