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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// injection is what inject was asked to do.
type injection struct {
	tokenName  string
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
	flags.StringSliceVarP(&in.containers, "container", "c", nil, "The containers that are to have it. By default all but init containers.")
	flags.StringSliceVarP(&in.files.Filenames, "filename", "f", nil, "A file with the workload, or - for the standard input, in place of KIND/NAME.")
	flags.StringVar(&in.dryRun, "dry-run", "none", "none, server or client: with client nothing is sent, only printed what would be.")
	_ = cmd.MarkFlagRequired("token") // It fails for a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc("token", p.completeTokens)
	return cmd
}

func (p *plugin) runInject(ctx context.Context, in *injection, args []string) error {
	if !slices.Contains([]string{"none", "server", "client"}, in.dryRun) {
		return fmt.Errorf("--dry-run=%q is not one of none, server and client", in.dryRun)
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
	for _, info := range infos {
		object, ok := info.Object.(*unstructured.Unstructured)
		if !ok {
			return fmt.Errorf("%s is not a workload", info.Name)
		}
		t, err := getToken(ctx, c, cmp.Or(object.GetNamespace(), namespace), in.tokenName)
		if err != nil {
			return err
		}
		if condition := ready(t.SharedStatus().Conditions); condition.Status != metav1.ConditionTrue {
			p.progress("%s is not Ready, and containers do not start without its Secret: %s", reference(t), condition.Message)
		}
		changed, err := addEnvFrom(object, v1alpha1.SecretName(t), in.containers)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", object.GetKind(), object.GetName(), err)
		}
		if changed && in.dryRun != "client" {
			if info.Object, err = in.send(info, object); err != nil {
				return err
			}
		}
		if !changed {
			p.progress("%s/%s takes the Secret %s already", object.GetKind(), object.GetName(), v1alpha1.SecretName(t))
		}
		if err := printer.PrintObj(info.Object, p.Out); err != nil {
			return err
		}
	}
	return nil
}

// workloads reads what is to be changed: from files alone, if the cluster is not to be asked for it.
func (p *plugin) workloads(in *injection, args []string, namespace string) ([]*resource.Info, error) {
	builder := resource.NewBuilder(p.flags).Unstructured().NamespaceParam(namespace).FilenameParam(false, &in.files).Flatten()
	if in.dryRun == "client" && len(in.files.Filenames) > 0 {
		builder = builder.Local()
	} else {
		builder = builder.DefaultNamespace().ResourceTypeOrNameArgs(false, args...).Latest()
	}
	if len(args) == 0 && len(in.files.Filenames) == 0 {
		return nil, errors.New("name a workload, as in deployment/web, or a file with --filename")
	}
	return builder.Do().Infos()
}

// send changes a workload in the cluster, if nobody else did meanwhile: lists are replaced whole.
func (in *injection) send(info *resource.Info, object *unstructured.Unstructured) (runtime.Object, error) {
	template, err := templatePath(object)
	if err != nil {
		return nil, err
	}
	containers, _, err := unstructured.NestedSlice(object.Object, append(template, "containers")...)
	if err != nil {
		return nil, err
	}
	patch := map[string]any{"metadata": map[string]any{"resourceVersion": object.GetResourceVersion()}}
	if err := unstructured.SetNestedSlice(patch, containers, append(template, "containers")...); err != nil {
		return nil, err
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

// templatePath is where a workload has the spec of its pods.
func templatePath(object *unstructured.Unstructured) ([]string, error) {
	for _, path := range [][]string{{"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"}} {
		if _, found, err := unstructured.NestedSlice(object.Object, append(path, "containers")...); found && err == nil {
			return path, nil
		}
	}
	return nil, errors.New("it has no pod template, as Deployments, StatefulSets, DaemonSets, Jobs and CronJobs have")
}

// addEnvFrom has containers take a Secret, and says whether they did not already.
func addEnvFrom(object *unstructured.Unstructured, secret string, names []string) (changed bool, err error) {
	template, err := templatePath(object)
	if err != nil {
		return false, err
	}
	containers, _, err := unstructured.NestedSlice(object.Object, append(template, "containers")...)
	if err != nil {
		return false, err
	}
	missing := slices.Clone(names)
	for i := range containers {
		container, ok := containers[i].(map[string]any)
		if !ok {
			return false, errors.New("a container of it is not one")
		}
		name, _ := container["name"].(string)
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		missing = slices.DeleteFunc(missing, func(wanted string) bool { return wanted == name })
		sources, _, err := unstructured.NestedSlice(container, "envFrom")
		if err != nil {
			return false, fmt.Errorf("the container %s: %w", name, err)
		}
		if slices.ContainsFunc(sources, func(source any) bool {
			from, ok := source.(map[string]any)
			taken, _, _ := unstructured.NestedString(from, "secretRef", "name")
			return ok && taken == secret && from["prefix"] == nil
		}) {
			continue
		}
		container["envFrom"] = append(sources, map[string]any{"secretRef": map[string]any{"name": secret}})
		changed = true
	}
	if len(missing) > 0 {
		return false, fmt.Errorf("it has no container %q", missing[0])
	}
	return changed, unstructured.SetNestedSlice(object.Object, containers, append(template, "containers")...)
}
