// Package grant judges who may have which token, and what a token may reach. It is pure: the engine asks it before
// it mints, and the authority asks it again at every request, so that a change of an issuer is followed at once.
// docs/clustertokenissuer.md, spec.builtIn and spec.grants.
package grant

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// Namespace is what a grant looks at in a namespace.
type Namespace struct {
	Name   string
	Labels map[string]string
}

// NamespaceMetadata is what is read of a namespace: a grant looks at nothing else in it.
func NamespaceMetadata() *metav1.PartialObjectMetadata {
	metadata := &metav1.PartialObjectMetadata{}
	metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return metadata
}

// AccountKnown says whether a built-in issuer lists an account.
func AccountKnown(issuer *v1alpha1.ClusterTokenIssuer, account string) bool {
	return findAccount(issuer, account) != nil
}

// Account says whether an issuer grants a namespace tokens of an account, under any of the account's names.
func Account(issuer *v1alpha1.ClusterTokenIssuer, namespace Namespace, names ...string) bool {
	return granted(issuer, namespace, func(g *v1alpha1.Grant) bool {
		for _, pattern := range g.Accounts {
			for _, name := range names {
				if name != "" && matches(string(pattern), name, false) {
					return true
				}
			}
		}
		return false
	})
}

// Project says whether an issuer grants a namespace tokens of a project.
func Project(issuer *v1alpha1.ClusterTokenIssuer, namespace Namespace, project v1alpha1.Project) bool {
	return granted(issuer, namespace, func(g *v1alpha1.Grant) bool {
		for _, pattern := range g.Projects {
			if projectMatches(string(pattern), project) {
				return true
			}
		}
		return false
	})
}

// Target is what a request wants to reach: nothing in particular (all empty), an organization (no Repository), or one
// repository.
type Target struct{ Provider, Organization, Repository string }

// AccountReaches says whether the account's access covers the target at this moment.
func AccountReaches(issuer *v1alpha1.ClusterTokenIssuer, account string, target Target) bool {
	found := findAccount(issuer, account)
	if found == nil {
		return false
	}
	if target == (Target{}) {
		return true
	}
	for _, path := range found.Access {
		provider, rest, whole := strings.Cut(string(path), "/")
		organization, repository, one := strings.Cut(rest, "/")
		if !whole || provider != target.Provider || !sameName(target.Provider, organization, target.Organization) {
			continue
		}
		if !one || (target.Repository != "" && sameName(target.Provider, repository, target.Repository)) {
			return true
		}
	}
	return false
}

// ProjectReaches says whether a project's token covers the target: that one repository and nothing else.
func ProjectReaches(project v1alpha1.Project, target Target) bool {
	if target == (Target{}) {
		return true
	}
	return target.Repository != "" && project.Provider == target.Provider &&
		sameName(project.Provider, string(project.Organization), target.Organization) &&
		sameName(project.Provider, string(project.Repository), target.Repository)
}

// Access is what an account may reach.
func Access(issuer *v1alpha1.ClusterTokenIssuer, account string) []string {
	found := findAccount(issuer, account)
	if found == nil {
		return nil
	}
	access := make([]string, 0, len(found.Access))
	for _, path := range found.Access {
		access = append(access, string(path))
	}
	return access
}

func findAccount(issuer *v1alpha1.ClusterTokenIssuer, name string) *v1alpha1.Account {
	if issuer.Spec.BuiltIn == nil {
		return nil
	}
	for i := range issuer.Spec.BuiltIn.Accounts {
		if account := &issuer.Spec.BuiltIn.Accounts[i]; account.Name == name {
			return account
		}
	}
	return nil
}

func granted(issuer *v1alpha1.ClusterTokenIssuer, namespace Namespace, covers func(*v1alpha1.Grant) bool) bool {
	for i := range issuer.Spec.Grants {
		if g := &issuer.Spec.Grants[i]; selects(g, namespace) && covers(g) {
			return true
		}
	}
	return false
}

func selects(g *v1alpha1.Grant, namespace Namespace) bool {
	for _, name := range g.Namespaces {
		if string(name) == namespace.Name {
			return true
		}
	}
	if g.NamespaceSelector == nil {
		return false
	}
	if len(g.NamespaceSelector.MatchExpressions) == 0 { // The authority asks at every request, and no selector is made for these.
		for key, value := range g.NamespaceSelector.MatchLabels {
			if has, ok := namespace.Labels[key]; !ok || has != string(value) {
				return false
			}
		}
		return true
	}
	selector, err := metav1.LabelSelectorAsSelector(labelSelector(g.NamespaceSelector))
	// A selector that Kubernetes does not understand selects nothing; the issuer's condition says so.
	return err == nil && selector.Matches(labels.Set(namespace.Labels))
}

func labelSelector(s *v1alpha1.NamespaceSelector) *metav1.LabelSelector {
	selector := &metav1.LabelSelector{MatchLabels: make(map[string]string, len(s.MatchLabels))}
	for key, value := range s.MatchLabels {
		selector.MatchLabels[key] = string(value)
	}
	for _, requirement := range s.MatchExpressions {
		values := make([]string, 0, len(requirement.Values))
		for _, value := range requirement.Values {
			values = append(values, string(value))
		}
		selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: requirement.Key, Operator: requirement.Operator, Values: values,
		})
	}
	return selector
}

// ValidateSelectors returns the first error in the issuer's namespace selectors that the schema can't see.
func ValidateSelectors(issuer *v1alpha1.ClusterTokenIssuer) error {
	for i := range issuer.Spec.Grants {
		if s := issuer.Spec.Grants[i].NamespaceSelector; s != nil {
			if _, err := metav1.LabelSelectorAsSelector(labelSelector(s)); err != nil {
				return err
			}
		}
	}
	return nil
}

func projectMatches(pattern string, project v1alpha1.Project) bool {
	provider, rest, _ := strings.Cut(pattern, "/")
	organization, repository, complete := strings.Cut(rest, "/")
	fold := foldsCase(project.Provider)
	return complete && !strings.Contains(repository, "/") && matches(provider, project.Provider, false) &&
		matches(organization, string(project.Organization), fold) && matches(repository, string(project.Repository), fold)
}

// Key is the same of two projects that are one to their provider, however their names are written.
func Key(project v1alpha1.Project) string {
	if foldsCase(project.Provider) {
		return strings.ToLower(project.String())
	}
	return project.String()
}

// foldsCase says whether upper and lower case are the same to a provider: they are to the ones in the cloud.
func foldsCase(provider string) bool {
	return provider == "gh" || provider == "gl" || provider == "bb"
}

func sameName(provider, a, b string) bool {
	fold := foldsCase(provider)
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if !sameLetter(a[i], b[i], fold) {
			return false
		}
	}
	return true
}

// sameLetter compares two letters, if fold in lower case. Names have no letters beyond those of ASCII, and what a request asks
// for may have: the Kelvin sign, which Unicode takes for a k, names something else.
func sameLetter(a, b byte, fold bool) bool {
	return a == b || fold && lower(a) == lower(b)
}

func lower(letter byte) byte {
	if letter >= 'A' && letter <= 'Z' {
		return letter + 'a' - 'A'
	}
	return letter
}

// matches compares a name with a pattern in which * stands for any number of characters. The authority asks for it at every
// request, so nothing is copied.
func matches(pattern, name string, fold bool) bool {
	at, star, tried := 0, -1, 0
	for i := 0; i < len(name); {
		switch {
		case at < len(pattern) && pattern[at] == '*':
			star, tried = at, i
			at++
		case at < len(pattern) && sameLetter(pattern[at], name[i], fold):
			at++
			i++
		case star >= 0: // The last * stands for one character more.
			tried++
			at, i = star+1, tried
		default:
			return false
		}
	}
	return strings.Trim(pattern[at:], "*") == ""
}
