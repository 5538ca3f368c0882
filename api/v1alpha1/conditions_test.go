package v1alpha1_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestEveryReasonIsDocumented(t *testing.T) {
	source, err := os.ReadFile("conditions.go")
	if err != nil {
		t.Fatal(err)
	}
	reasons := regexp.MustCompile(`\tReason\w+\s+= "(\w+)"`).FindAllStringSubmatch(string(source), -1)
	if len(reasons) < 15 {
		t.Fatalf("found %d reasons in conditions.go", len(reasons))
	}
	var docs strings.Builder
	for _, page := range []string{"tokens.md", "rotation.md", "clustertokenissuer.md"} {
		content, err := os.ReadFile("../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		docs.Write(content)
	}
	for _, reason := range reasons {
		if !strings.Contains(docs.String(), "`"+reason[1]+"`") {
			t.Errorf("the reason %s is in no page of docs/", reason[1])
		}
	}
}
