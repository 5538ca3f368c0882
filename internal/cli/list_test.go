package cli_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// lines are those of a text, without the last, empty one.
func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }

func TestListHasWhatHasNoTokenFirstAndThenWhatExpiresNext(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, duration := range map[string]time.Duration{"late": 48 * time.Hour, "soon": 24 * time.Hour} {
		token := &v1alpha1.AccountToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name},
			Spec:       v1alpha1.AccountTokenSpec{TokenSpec: f.spec(f.namespace), Account: "alice"},
		}
		token.Spec.Duration = &metav1.Duration{Duration: duration}
		f.create(token)
		f.eventuallyReady(token)
	}
	f.projectToken("broken", "no-such-issuer", "web")
	f.Eventually(func() string { return f.run("list", f.here(), "-o", "wide").out }).Should(gomega.MatchRegexp("projecttoken/broken +False .*no-such-issuer"))

	listed := f.run("list", f.here())
	f.Expect(listed.err).NotTo(gomega.HaveOccurred())
	rows := lines(listed.out)
	f.Expect(rows).To(gomega.HaveLen(4))
	f.Expect(strings.Fields(rows[0])).To(gomega.Equal(strings.Fields("NAMESPACE TOKEN READY OF EXPIRES RENEWAL OLD HELD BY")))
	f.Expect(rows[1]).To(gomega.MatchRegexp(`^\S+ +projecttoken/broken +False +gh/acme/web +- +- +0 +-$`))
	f.Expect(rows[2]).To(gomega.MatchRegexp(`^\S+ +accounttoken/soon +True +alice +in 23h +in 1[0-9]h +0 +-$`))
	f.Expect(rows[3]).To(gomega.MatchRegexp(`^\S+ +accounttoken/late +True +alice +in 47h`))

	f.Expect(f.run("list").out).To(gomega.And(gomega.ContainSubstring(f.namespace), gomega.ContainSubstring("accounttoken/late")), "all namespaces")
	f.Expect(lines(f.run("list", f.here(), "-o", "name").out)).To(gomega.Equal([]string{
		"projecttoken.tokensteward.io/broken", "accounttoken.tokensteward.io/soon", "accounttoken.tokensteward.io/late",
	}))
	var list struct {
		Kind  string
		Items []v1alpha1.AccountToken
	}
	f.Expect(json.Unmarshal([]byte(f.run("list", f.here(), "-o", "json").out), &list)).To(gomega.Succeed())
	f.Expect(list.Kind).To(gomega.Equal("List"))
	f.Expect(list.Items).To(gomega.HaveLen(3))
	f.Expect(list.Items[1].TypeMeta).To(gomega.Equal(metav1.TypeMeta{APIVersion: "tokensteward.io/v1alpha1", Kind: "AccountToken"}))
	f.Expect(list.Items[1].Name).To(gomega.Equal("soon"))
	f.Expect(list.Items[1].ManagedFields).To(gomega.BeEmpty())
	f.Expect(f.run("list", f.here(), "-o", "yaml").out).To(gomega.HavePrefix("apiVersion: v1\nitems:\n"))
	f.Expect(f.run("list", "-A", f.here()).err).To(gomega.MatchError(gomega.ContainSubstring("not both")))
	f.Expect(f.run("list", "-o", "toml").err).To(gomega.MatchError(gomega.ContainSubstring("json, yaml, name and wide")))
}

func TestListNamesThePodsThatHoldAReplacedToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.suspended("held") // Lest the operator corrects what no pod is there for.
	replaced := metav1.Now()
	before := token.DeepCopy()
	token.Status.OwnerUID = token.UID
	token.Status.PreviousTokens = []v1alpha1.PreviousToken{{ID: "x", Revision: 3, ReplacedTime: &replaced, HeldBy: []v1alpha1.PodName{"web-1", "web-2"}}}
	f.Eventually(func() error {
		return operator.Status().Patch(f.t.Context(), token, client.MergeFrom(before))
	}).Should(gomega.Succeed())
	f.Expect(f.run("list", f.here()).out).To(gomega.MatchRegexp(`Suspended +alice .* 1 +web-1 \(revision 3\), web-2 \(revision 3\)\n`))
}

func TestListActsAsTheUserAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.eventuallyReady(f.accountToken("ci", f.namespace, "alice"))
	f.mayView("viewer-" + f.namespace)
	as := "--as=viewer-" + f.namespace
	f.Expect(f.run("list", f.here(), as).out).To(gomega.ContainSubstring("accounttoken/ci"))
	f.Expect(f.run("list", as).err).To(gomega.MatchError(gomega.And(gomega.ContainSubstring("forbidden"), gomega.ContainSubstring("--namespace"))))
	refused := f.run("rotate", "ci", f.here(), as, "-o", "json")
	f.Expect(refused.err).To(gomega.MatchError(gomega.ContainSubstring("forbidden")))
	f.Expect(refused.out).To(gomega.ContainSubstring(`"items": []`), "what was not asked for is not shown")
	status := f.run("status", f.here(), as)
	f.Expect(status.err).NotTo(gomega.HaveOccurred())
	f.Expect(status.progress).To(gomega.ContainSubstring("Only TokenIssuers are shown"))
	f.Expect(status.out).To(gomega.ContainSubstring("All of 1 tokens are as they should be."))
	verified := f.run("verify", "ci", f.here(), as)
	f.Expect(verified.err).To(gomega.HaveOccurred())
	f.Expect(verified.out).To(gomega.MatchRegexp(`accounttoken/ci +Unknown .*can't be read.*forbidden`))
}
