package grant_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/grant"
)

// A grant, or an account's access, covers what it says and nothing else, by another way to find that out.
func FuzzAGrantCoversWhatItsPatternSays(f *testing.F) {
	for _, pattern := range []string{"*", "a*", "*e", "al*ce", "a*b*a", "**", "", "alice", "a*a", "*" + strings.Repeat("a*", 100) + "b"} {
		for _, name := range []string{"alice", "a", "aba", "", "Alice", strings.Repeat("a", 250)} {
			f.Add(pattern, name, "gh", "acme", "web")
		}
	}
	for _, provider := range []string{"gh", "ghe", "gl", "*"} {
		f.Add("gh/acme/*", "web", provider, "Acme", "WEB")
		f.Add("*/ac*/w*b", "web", provider, "acme", "w.b")
		f.Add("gh/kme/s", "web", provider, "\u212ame", "\u017f") // The Kelvin sign and the long s, which are k and s to Unicode alone.
	}
	f.Fuzz(func(t *testing.T, pattern, name, provider, organization, repository string) {
		if len(pattern) > 511 || len(name+provider+organization+repository) > 1024 {
			t.Skip("longer than the schema lets it be")
		}
		namespace := grant.Namespace{Name: "team-a"}
		issuer := issuerWith(v1alpha1.Grant{
			Namespaces: []v1alpha1.NamespaceName{"team-a"}, Accounts: []v1alpha1.AccountPattern{v1alpha1.AccountPattern(pattern)},
			Projects: []v1alpha1.ProjectPattern{v1alpha1.ProjectPattern(pattern)},
		})
		issuer.Spec.BuiltIn.Accounts = []v1alpha1.Account{{Name: name, Access: []v1alpha1.AccessPath{v1alpha1.AccessPath(pattern)}}}
		project := v1alpha1.Project{Provider: provider, Organization: v1alpha1.PathSegment(organization), Repository: v1alpha1.PathSegment(repository)}

		began := time.Now()
		if got, want := grant.Account(issuer, namespace, name), name != "" && glob(pattern, name); got != want {
			t.Errorf("%q covers the account %q: %t", pattern, name, got)
		}
		segments := strings.Split(pattern, "/")
		want := len(segments) == 3 && glob(segments[0], provider) &&
			glob(folded(provider, segments[1]), folded(provider, organization)) && glob(folded(provider, segments[2]), folded(provider, repository))
		if got := grant.Project(issuer, namespace, project); got != want {
			t.Errorf("%q covers the project %q: %t", pattern, project, got)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
		if grant.Account(issuer, grant.Namespace{Name: "team-b"}, name) || grant.Project(issuer, grant.Namespace{Name: "team-b"}, project) {
			t.Error("it covers a namespace that it does not name")
		}

		target := grant.Target{Provider: provider, Organization: organization, Repository: repository}
		same := func(a, b string) bool { return folded(provider, a) == folded(provider, b) }
		covers := target == grant.Target{} ||
			len(segments) >= 2 && segments[0] == provider && same(segments[1], organization) &&
				(len(segments) == 2 || len(segments) == 3 && repository != "" && same(segments[2], repository))
		if got := grant.AccountReaches(issuer, name, target); got != covers {
			t.Errorf("an account with %q reaches %q: %t", pattern, target, got)
		}
		if grant.AccountReaches(issuer, name+"x", target) {
			t.Error("an account that is not there reaches something")
		}
		of := v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: "web"}
		covers = target == grant.Target{} || provider == "gh" && same("acme", organization) && same("web", repository)
		if got := grant.ProjectReaches(of, target); got != covers {
			t.Errorf("the project %s reaches %q: %t", of, target, got)
		}
	})
}

// glob compares by trying all ways, which it remembers.
func glob(pattern, name string) bool {
	matching := make([]bool, len(name)+1) // matching[i]: the pattern so far matches name[:i].
	matching[0] = true
	for i := range len(pattern) {
		next := make([]bool, len(name)+1)
		for j := range next {
			if pattern[i] == '*' {
				next[j] = matching[j] || j > 0 && next[j-1]
			} else {
				next[j] = j > 0 && matching[j-1] && pattern[i] == name[j-1]
			}
		}
		matching = next
	}
	return matching[len(name)]
}

// folded is a name as its provider compares it. Names have no letters beyond those of ASCII, so what only Unicode holds for
// the same is another name.
func folded(provider, name string) string {
	if provider != "gh" && provider != "gl" && provider != "bb" {
		return name
	}
	bytes := []byte(name)
	for i, b := range bytes {
		if b >= 'A' && b <= 'Z' {
			bytes[i] = b + 'a' - 'A'
		}
	}
	return string(bytes)
}
