package chart_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/tokensteward/tokensteward/internal/testenv"
)

// Where a permission holds: the headings of docs/security.md.
const (
	inNamespaces = "In the namespaces that it looks after"
	ofCluster    = "Of the cluster"
	inOwn        = "In its own namespace"
	ofUsers      = "Of users"
	threats      = "Threats"
)

// clusterScoped are the resources that are in no namespace.
var clusterScoped = []string{"clustertokenissuers", "clustertokenissuers/status", "namespaces", "tokenreviews", "subjectaccessreviews"}

// permission is one verb on one resource. with names the values of the chart that it needs.
type permission struct{ where, group, resource, verb string }

// documented reads the tables of docs/security.md: each permission with the values of the chart that it depends on.
func documented(t *testing.T) map[permission][]string {
	t.Helper()
	permissions := map[permission][]string{}
	for where, rows := range tables(t) {
		if where == ofUsers || where == threats {
			continue
		}
		for _, row := range rows {
			if len(row) != 5 || row[4] == "" {
				t.Fatalf("%s: not a row of five that says what for: %q", where, row)
			}
			group := code.FindString(row[0])
			if row[0] == "core" {
				group = "``"
			}
			for _, resource := range codes(row[1]) {
				for _, verb := range codes(row[2]) {
					p := permission{where, strings.Trim(group, "`"), resource, verb}
					if _, twice := permissions[p]; twice {
						t.Errorf("documented twice: %v", p)
					}
					permissions[p] = codes(row[3])
				}
			}
		}
	}
	if len(permissions) < 40 {
		t.Fatalf("%d permissions found in docs/security.md", len(permissions))
	}
	return permissions
}

var code = regexp.MustCompile("`[^`]+`")

func codes(cell string) (found []string) {
	for _, quoted := range code.FindAllString(cell, -1) {
		found = append(found, strings.Trim(quoted, "`"))
	}
	return found
}

// tables are the rows of the tables in docs/security.md, by heading, without their own heads.
func tables(t *testing.T) map[string][][]string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(testenv.Root(), "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	found, heading := map[string][][]string{}, ""
	for line := range strings.Lines(string(content)) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		case strings.HasPrefix(line, "|") && slices.Contains([]string{inNamespaces, ofCluster, inOwn, ofUsers, threats}, heading):
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			found[heading] = append(found[heading], cells)
		}
	}
	for heading := range found {
		found[heading] = found[heading][2:]
	}
	return found
}

// rendered are the permissions that the chart gives the operator. A ClusterRole holds in its namespaces, too.
func rendered(t *testing.T, objects []*unstructured.Unstructured) sets.Set[permission] {
	t.Helper()
	permissions := sets.New[permission]()
	for _, o := range objects {
		isRole := o.GetKind() == "Role" || o.GetKind() == "ClusterRole"
		if !isRole || strings.HasSuffix(o.GetName(), "-view") || strings.HasSuffix(o.GetName(), "-edit") {
			continue
		}
		var role rbacv1.ClusterRole
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role); err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			for p := range expand(rule) {
				switch {
				case o.GetNamespace() == namespace:
					p.where = inOwn
				case o.GetNamespace() != "":
					p.where = inNamespaces
				case slices.Contains(clusterScoped, p.resource):
					p.where = ofCluster
				default:
					p.where = inNamespaces
				}
				permissions.Insert(p)
			}
		}
	}
	return permissions
}

func expand(rule rbacv1.PolicyRule) sets.Set[permission] {
	permissions := sets.New[permission]()
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				permissions.Insert(permission{"", group, resource, verb})
			}
		}
	}
	return permissions
}

func TestThePermissionsAreTheDocumentedOnes(t *testing.T) {
	documented := documented(t)
	for name, test := range map[string]struct {
		values values
		// with are the values that docs/security.md makes permissions depend on.
		with []string
	}{
		"defaults":         {"", []string{"metrics.enabled", "metrics.authentication", "clusterIssuers.enabled", "permissions.listPods"}},
		"no pods":          {"permissions: {listPods: false}", []string{"metrics.enabled", "metrics.authentication", "clusterIssuers.enabled"}},
		"a default issuer": {builtInIssuer, []string{"metrics.enabled", "metrics.authentication", "clusterIssuers.enabled", "defaultIssuer.enabled", "permissions.listPods"}},
		"everything": {
			"permissions: {listPods: true, restartWorkloads: true}" + builtInIssuer,
			[]string{"metrics.enabled", "metrics.authentication", "clusterIssuers.enabled", "defaultIssuer.enabled", "permissions.listPods", "permissions.restartWorkloads"},
		},
		"no cluster issuers":                       {"clusterIssuers: {enabled: false}", []string{"metrics.enabled", "metrics.authentication", "permissions.listPods"}},
		"one namespace":                            {"namespaces: [team-a]", []string{"metrics.enabled", "metrics.authentication", "clusterIssuers.enabled", "namespaces", "permissions.listPods"}},
		"one namespace and everything":             {"namespaces: [team-a]\npermissions: {listPods: true, restartWorkloads: true}" + builtInIssuer, []string{"metrics.enabled", "metrics.authentication", "clusterIssuers.enabled", "namespaces", "defaultIssuer.enabled", "permissions.listPods", "permissions.restartWorkloads"}},
		"one namespace and nothing of the cluster": {noClusterScope, []string{"metrics.enabled", "namespaces", "permissions.listPods"}},
	} {
		t.Run(name, func(t *testing.T) {
			want := sets.New[permission]()
			for p, with := range documented {
				if sets.New(test.with...).HasAll(with...) {
					want.Insert(p)
				}
			}
			got := rendered(t, render(t, test.values))
			for p := range got.Difference(want) {
				t.Errorf("the operator may, and docs/security.md does not say so: %v", p)
			}
			for p := range want.Difference(got) {
				t.Errorf("docs/security.md says so, and the operator may not: %v", p)
			}
		})
	}
}

func TestThePermissionsAreThoseThatTheCodeAsksFor(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(testenv.Root(), "config", "rbac", "role.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want, got := rendered(t, parse(t, string(content))), rendered(t, render(t, "permissions: {restartWorkloads: true}"))
	if !want.Equal(got) {
		t.Errorf("the markers in controllers/ have, and the chart has not: %v; the other way round: %v",
			want.Difference(got).UnsortedList(), got.Difference(want).UnsortedList())
	}
}

func TestTheRolesOfUsersAreTheDocumentedOnes(t *testing.T) {
	want, got := sets.New[permission](), sets.New[permission]()
	for _, row := range tables(t)[ofUsers] {
		for _, role := range codes(row[0]) {
			for _, resource := range codes(row[1]) {
				for _, verb := range codes(row[2]) {
					want.Insert(permission{role, "tokensteward.io", resource, verb})
				}
			}
		}
	}
	for _, o := range render(t, "") {
		if o.GetKind() != "ClusterRole" {
			continue
		}
		var role rbacv1.ClusterRole
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role); err != nil {
			t.Fatal(err)
		}
		for label, value := range role.Labels {
			to, ok := strings.CutPrefix(label, "rbac.authorization.k8s.io/aggregate-to-")
			if !ok || value != "true" {
				continue
			}
			for _, rule := range role.Rules {
				for p := range expand(rule) {
					p.where = to
					got.Insert(p)
				}
			}
		}
	}
	if len(want) == 0 || !want.Equal(got) {
		t.Errorf("documented, and not so: %v; the other way round: %v", want.Difference(got).UnsortedList(), got.Difference(want).UnsortedList())
	}
}

// testName is how the name of a test function begins, and how it goes on.
var testName = regexp.MustCompile(`^Test[A-Z][A-Za-z0-9]*$`)

func TestEveryThreatIsRefusedByTestsThatThereAre(t *testing.T) {
	existing := testFunctions(t)
	rows := tables(t)[threats]
	if len(rows) < 20 {
		t.Fatalf("%d threats found in docs/security.md", len(rows))
	}
	named := sets.New[string]()
	for _, row := range rows {
		if len(row) != 3 {
			t.Fatalf("not a row of three: %q", row)
		}
		names := codes(row[2])
		if len(names) == 0 {
			t.Errorf("no test shows what stands against this: %s", row[0])
		}
		for _, name := range names {
			if !testName.MatchString(name) || existing[name] == "" {
				t.Errorf("docs/security.md names a test that does not exist: %s", name)
			}
			named.Insert(name)
		}
	}
	for name, file := range existing {
		if filepath.Base(file) == "attack_test.go" && !named.Has(name) {
			t.Errorf("%s has an attack that docs/security.md does not name: %s", file, name)
		}
	}
}

var testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// testFunctions are the tests of this repository, and the file that each is in.
func testFunctions(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(testenv.Root(), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		for _, match := range testFunction.FindAllSubmatch(content, -1) {
			found[string(match[1])] = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
