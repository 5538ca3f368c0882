package controllers_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// logged is what the operator's log has on resources of this name in the fixture's namespace, or on an issuer of this name.
func (f *fixture) logged(name string) (lines []string) {
	f.t.Helper()
	for _, text := range strings.Split(strings.TrimSpace(logs.String()), "\n") {
		var line map[string]any
		f.Expect(json.Unmarshal([]byte(text), &line)).To(gomega.Succeed(), "a line is a JSON object")
		if line["name"] != name || (line["namespace"] != f.namespace && line["namespace"] != "") {
			continue
		}
		said := fmt.Sprint(line["level"], ": ", line["controllerKind"], ": ", line["msg"], ", ", line["reason"])
		for _, field := range []string{"revision", "revisions"} {
			if line[field] != nil {
				said += fmt.Sprint(", ", line[field])
			}
		}
		lines = append(lines, said)
	}
	return lines
}

func TestTheLogHasOneLineForEachThingThatHappened(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.accountToken("ci")
	token.Spec.IssuerRef.Name = f.namespace + "-late"
	f.create(token)
	f.eventuallyReady(token, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound)
	f.touch(token)
	late := f.issuer.DeepCopy()
	late.ObjectMeta = metav1.ObjectMeta{Name: token.Spec.IssuerRef.Name}
	f.create(late)
	f.eventuallyReady(token, metav1.ConditionTrue, "")
	f.annotate(token, v1alpha1.RotateRequestAnnotation, "now")
	f.eventuallyRevision(token, 2)
	f.touch(token)
	f.Expect(k8s.Delete(f.ctx, token)).To(gomega.Succeed())
	f.eventuallyGone(token)

	f.Eventually(func() []string {
		return slices.DeleteFunc(f.logged("ci"), func(line string) bool { return strings.Contains(line, v1alpha1.ReasonIssuerNotReady) }) // It may be seen or not.
	}).WithTimeout(5 * time.Second).Should(gomega.Equal([]string{
		"info: AccountToken: Waiting, IssuerNotFound",
		"info: AccountToken: Issued a token, first, 1",
		"info: AccountToken: Issued a token, requested, 2",
		"info: AccountToken: Revoked tokens, deleted, [1 2]",
	}))
	f.Expect(f.logged(late.Name)).To(gomega.Equal([]string{"info: ClusterTokenIssuer: The issuer is ready, Available"}))
}
