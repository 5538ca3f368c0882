package manager

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// parsed are the options that flags make, and what is wrong with them.
func parsed(t *testing.T, flags ...string) (*Options, error) {
	t.Helper()
	var options Options
	set := pflag.NewFlagSet("manager", pflag.ContinueOnError)
	options.AddFlags(set)
	if err := set.Parse(flags); err != nil {
		t.Fatal(err)
	}
	return &options, options.Validate()
}

func TestTheScopeIsAWholeClusterUnlessFlagsSayOtherwise(t *testing.T) {
	for _, test := range []struct {
		flags      []string
		namespaces string
		without    bool
	}{
		{nil, "", false},
		{[]string{"--namespaces="}, "", false},
		{[]string{"--namespaces=team-b,team-a,team-b"}, "team-a team-b", false},
		{[]string{"--namespaces=team-a", "--namespaces=team-b"}, "team-a team-b", false},
		{[]string{"--cluster-issuers"}, "", false},
		{[]string{"--cluster-issuers=true"}, "", false},
		{[]string{"--cluster-issuers=false"}, "", true},
		{[]string{"--cluster-issuers=false", "--namespaces=team-a"}, "team-a", true},
	} {
		options, err := parsed(t, test.flags...)
		if err != nil {
			t.Errorf("%v: %s", test.flags, err)
		}
		scope := options.scope()
		if got := strings.Join(scope.Namespaces, " "); got != test.namespaces || scope.WithoutClusterIssuers != test.without || scope.Limited() != (got != "") {
			t.Errorf("%v: %+v", test.flags, scope)
		}
	}
}

func TestFlagsThatMakeNoSenseAreRefusedAndSayWhatToWrite(t *testing.T) {
	for _, test := range []struct {
		flags []string
		says  []string
	}{
		{[]string{"--namespaces=team-a,Team_B"}, []string{"--namespaces", `"Team_B"`, "such as team-a,team-b"}},
		{[]string{"--namespaces=team-a, team-b"}, []string{`" team-b"`, "names alone, separated by commas"}},
		{[]string{"--namespaces=team-a,,team-b,*"}, []string{`""`, `"*"`}},
		{[]string{"--namespaces=" + strings.Repeat("a", 64)}, []string{"63"}},
		{[]string{"--default-issuer=issuer.yaml", "--cluster-issuers=false"}, []string{"--default-issuer", "--cluster-issuers=false", "leave out one"}},
		{[]string{"--authority-max-staleness=14s"}, []string{"--authority-max-staleness", "at least 15s", "takes 10s"}},
	} {
		_, err := parsed(t, test.flags...)
		if err == nil {
			t.Errorf("%v is accepted", test.flags)
			continue
		}
		for _, words := range test.says {
			if !strings.Contains(err.Error(), words) {
				t.Errorf("%v: %q does not say %s", test.flags, err, words)
			}
		}
		if strings.Contains(err.Error(), `"team-a"`) {
			t.Errorf("%v: %q complains about a name that is one", test.flags, err)
		}
	}
}
