package manager

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// world has a ProjectToken and a Secret in each of three namespaces, and a ClusterTokenIssuer. What is listed goes through
// list, which may be nil.
func world(list func(context.Context, client.WithWatch, client.ObjectList, *client.ListOptions) error) client.WithWatch {
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{v1alpha1.KindProjectToken, "ProjectTokenList"} {
		mapper.Add(v1alpha1.GroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	for _, kind := range []string{"Secret", "SecretList"} {
		mapper.Add(corev1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	for _, kind := range []string{v1alpha1.KindClusterTokenIssuer, "ClusterTokenIssuerList"} {
		mapper.Add(v1alpha1.GroupVersion.WithKind(kind), meta.RESTScopeRoot)
	}
	objects := []client.Object{&v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}}}
	for _, namespace := range []string{"team-a", "team-b", "team-c"} {
		objects = append(objects,
			&v1alpha1.ProjectToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web", Labels: map[string]string{"of": namespace}}},
			&v1alpha1.ProjectToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "api"}},
			&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"}})
	}
	return fake.NewClientBuilder().WithScheme(Scheme()).WithRESTMapper(mapper).WithObjects(objects...).
		WithIndex(&v1alpha1.ProjectToken{}, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} }).
		WithInterceptorFuncs(interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, into client.ObjectList, options ...client.ListOption) error {
				if list == nil {
					return c.List(ctx, into, options...)
				}
				return list(ctx, c, into, (&client.ListOptions{}).ApplyOptions(options))
			},
		}).Build()
}

func names(list client.ObjectList) (names []string) {
	items, _ := meta.ExtractList(list)
	for _, item := range items {
		o := item.(client.Object)
		names = append(names, strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/"))
	}
	return names
}

func TestWhatIsListedWithoutANamespaceIsListedInEachOfThem(t *testing.T) {
	ofSecrets := &metav1.PartialObjectMetadataList{}
	ofSecrets.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	for name, test := range map[string]struct {
		list    client.ObjectList
		options []client.ListOption
		want    string
	}{
		"all":               {&v1alpha1.ProjectTokenList{}, nil, "team-a/api team-a/web team-c/api team-c/web"},
		"selected by field": {&v1alpha1.ProjectTokenList{}, []client.ListOption{client.MatchingFields{"metadata.name": "web"}}, "team-a/web team-c/web"},
		"selected by label": {&v1alpha1.ProjectTokenList{}, []client.ListOption{client.MatchingLabels{"of": "team-c"}}, "team-c/web"},
		"metadata":          {ofSecrets, nil, "team-a/web team-c/web"},
		"one namespace":     {&v1alpha1.ProjectTokenList{}, []client.ListOption{client.InNamespace("team-c")}, "team-c/api team-c/web"},
		"of the cluster":    {&v1alpha1.ClusterTokenIssuerList{}, nil, "default"},
		"used before":       {&v1alpha1.ProjectTokenList{Items: []v1alpha1.ProjectToken{{}}}, []client.ListOption{client.MatchingLabels{"of": "nobody"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := &namespaced{WithWatch: world(nil), namespaces: []string{"team-a", "team-c"}}
			if err := c.List(t.Context(), test.list, test.options...); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(names(test.list), " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestEveryOptionOfAListIsPassedOn(t *testing.T) {
	var asked []string
	c := &namespaced{namespaces: []string{"team-a", "team-c"}, WithWatch: world(
		func(_ context.Context, _ client.WithWatch, _ client.ObjectList, options *client.ListOptions) error {
			raw := options.AsListOptions()
			asked = append(asked, options.Namespace+" "+raw.FieldSelector+" "+raw.LabelSelector+" "+raw.ResourceVersion)
			return nil
		})}
	err := c.List(t.Context(), &v1alpha1.ProjectTokenList{}, client.MatchingFields{"status.token.sha256": "abc"}, client.MatchingLabels{"a": "b"},
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: "0"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"team-a status.token.sha256=abc a=b 0", "team-c status.token.sha256=abc a=b 0"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
}

func TestAListThatIsNotWholeIsAnError(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "projecttokens"}, "", errors.New("no Role"))
	for name, test := range map[string]struct {
		list    func(context.Context, client.WithWatch, client.ObjectList, *client.ListOptions) error
		options []client.ListOption
		says    string
	}{
		"refused in one namespace": {
			func(ctx context.Context, c client.WithWatch, into client.ObjectList, options *client.ListOptions) error {
				if options.Namespace == "team-c" {
					return forbidden
				}
				return c.List(ctx, into, options)
			}, nil, `"team-c"`,
		},
		"answered in part": {
			func(ctx context.Context, c client.WithWatch, into client.ObjectList, options *client.ListOptions) error {
				err := c.List(ctx, into, options)
				if options.Namespace == "team-a" {
					into.SetContinue("more")
				}
				return err
			}, nil, `"team-a"`,
		},
		"asked for in part": {nil, []client.ListOption{client.Limit(1)}, "without a limit"},
		"asked to go on":    {nil, []client.ListOption{client.Continue("more")}, "without a limit"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &namespaced{WithWatch: world(test.list), namespaces: []string{"team-a", "team-c"}}
			var list v1alpha1.ProjectTokenList
			err := c.List(t.Context(), &list, test.options...)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("the error is %v", err)
			}
			if len(list.Items) > 0 {
				t.Errorf("there is a list, of %v", names(&list))
			}
			if name == "refused in one namespace" && !apierrors.IsForbidden(err) {
				t.Error("what the API server said got lost")
			}
		})
	}
}

func TestOneNamespaceIsWatchedAndSeveralAreNot(t *testing.T) {
	c := &namespaced{WithWatch: world(nil), namespaces: []string{"team-a", "team-c"}}
	if _, err := c.Watch(t.Context(), &v1alpha1.ProjectTokenList{}); err == nil {
		t.Error("a watch of one namespace passes for one of all")
	}
	for _, list := range []client.ObjectList{&v1alpha1.ProjectTokenList{}, &v1alpha1.ClusterTokenIssuerList{}} {
		var options []client.ListOption
		if _, ok := list.(*v1alpha1.ProjectTokenList); ok {
			options = append(options, client.InNamespace("team-a"))
		}
		stream, err := c.Watch(t.Context(), list, options...)
		if err != nil {
			t.Fatal(err)
		}
		stream.Stop()
	}
}

func TestANamespaceWithoutPermissionsIsNamed(t *testing.T) {
	c := world(func(_ context.Context, _ client.WithWatch, _ client.ObjectList, options *client.ListOptions) error {
		if options.Namespace == "team-a" {
			return nil
		}
		return apierrors.NewForbidden(schema.GroupResource{Resource: "projecttokens"}, "", errors.New("no Role"))
	})
	if err := checkPermissions(t.Context(), c, []string{"team-a"}); err != nil {
		t.Error(err)
	}
	err := checkPermissions(t.Context(), c, []string{"team-a", "team-b", "team-c"})
	if err == nil {
		t.Fatal("no error")
	}
	for words, want := range map[string]bool{`"team-a"`: false, `"team-b"`: true, `"team-c"`: true, "--namespaces": true, "RoleBinding": true} {
		if strings.Contains(err.Error(), words) != want {
			t.Errorf("the error says %s: %t, want %t: %s", words, !want, want, err)
		}
	}
}

func TestWithoutTheAuthorityAReplicaIsReadyOnceAllCachesHaveSynced(t *testing.T) {
	if err := synced([]syncing{has(true), has(false), has(true)}); err == nil {
		t.Error("ready before a cache has synced")
	}
	if err := synced([]syncing{has(true), has(true)}); err != nil {
		t.Error(err)
	}
}

type has bool

func (h has) HasSynced() bool { return bool(h) }
