package controllers_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// badInput is a mistake, what the user is told about it, and what it costs.
type badInput struct {
	// world is made wrong before the token exists, token is the mistake in it.
	world func(*fixture)
	token func(*v1alpha1.AccountToken)
	// reason and message are Ready's; stalled says whether Stalled has them too.
	reason, message string
	stalled         bool
	// cure makes it good again.
	cure func(*fixture, *v1alpha1.AccountToken)
	// silent: the cause is in the spec, so however often the resource is looked at, nothing is asked for.
	silent bool
}

func template(data map[string]v1alpha1.TemplateText) func(*v1alpha1.AccountToken) {
	return func(t *v1alpha1.AccountToken) {
		t.Spec.Secret = &v1alpha1.SecretTarget{Template: &v1alpha1.SecretTemplate{Data: data}}
	}
}

func withoutTemplate(f *fixture, t *v1alpha1.AccountToken) {
	f.change(t, func() { t.Spec.Secret.Template = nil })
}

func TestBadInputIsToldAndCosts(t *testing.T) {
	secretNamed := func(f *fixture) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "token"}}
	}
	var allow func()
	for name, test := range map[string]badInput{
		"an account that the issuer does not have": {
			token:  func(t *v1alpha1.AccountToken) { t.Spec.Account = "mallory" },
			reason: v1alpha1.ReasonUnknownAccount, message: `no account "mallory": add it to spec.builtIn.accounts`,
			cure: func(f *fixture, _ *v1alpha1.AccountToken) {
				f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) {
					s.BuiltIn.Accounts = append(s.BuiltIn.Accounts, v1alpha1.Account{Name: "mallory"})
					s.Grants[0].Accounts = append(s.Grants[0].Accounts, "mallory")
				})
			},
			silent: true,
		},
		"no account": {
			token:  func(t *v1alpha1.AccountToken) { t.Spec.Account = "" },
			reason: v1alpha1.ReasonAccountRequired, message: "set spec.account to one of its accounts", stalled: true,
			cure:   func(f *fixture, t *v1alpha1.AccountToken) { f.change(t, func() { t.Spec.Account = "alice" }) },
			silent: true,
		},
		"an issuer that does not exist": {
			token:  func(t *v1alpha1.AccountToken) { t.Spec.IssuerRef.Name += "-late" },
			reason: v1alpha1.ReasonIssuerNotFound, message: "create it, or name another one",
			cure: func(f *fixture, _ *v1alpha1.AccountToken) {
				late := f.issuer.DeepCopy()
				late.ResourceVersion, late.Name = "", late.Name+"-late"
				f.create(late)
			},
			silent: true,
		},
		"a namespace that is not granted": {
			world:  func(f *fixture) { f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) { s.Grants = nil }) },
			reason: v1alpha1.ReasonNotGranted, message: "add both to an entry of spec.grants",
			cure: func(f *fixture, _ *v1alpha1.AccountToken) {
				f.changeIssuer(func(s *v1alpha1.ClusterTokenIssuerSpec) { s.Grants = f.issuer.Spec.Grants })
			},
			silent: true,
		},
		"a Secret of somebody else": {
			world: func(f *fixture) {
				secret := secretNamed(f)
				secret.StringData = map[string]string{"mine": "x"}
				f.create(secret)
			},
			reason: v1alpha1.ReasonSecretConflict, message: "belongs to somebody else; it is left as it is", stalled: true,
			cure: func(f *fixture, _ *v1alpha1.AccountToken) {
				f.Expect(k8s.Delete(f.ctx, secretNamed(f))).To(gomega.Succeed())
			},
		},
		"a Secret of another resource": {
			world: func(f *fixture) {
				first := f.accountToken("first")
				first.Spec.Secret = &v1alpha1.SecretTarget{Name: "token"}
				f.create(first)
				f.eventuallyReady(first, metav1.ConditionTrue, "")
			},
			reason: v1alpha1.ReasonSecretConflict, message: "/AccountToken/", stalled: true,
			cure: func(f *fixture, _ *v1alpha1.AccountToken) {
				f.Expect(k8s.Delete(f.ctx, f.accountToken("first"))).To(gomega.Succeed())
			},
		},
		"Retain": {
			token:  func(t *v1alpha1.AccountToken) { t.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain },
			reason: v1alpha1.ReasonRetainUnsupported, message: "gone with its resource: set spec.deletionPolicy to Revoke", stalled: true,
			cure: func(f *fixture, t *v1alpha1.AccountToken) {
				f.change(t, func() { t.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRevoke })
			},
			silent: true,
		},
		"a template that does not parse": {
			token:  template(map[string]v1alpha1.TemplateText{"config": "{{ .Token"}),
			reason: v1alpha1.ReasonInvalidTemplate, message: `data["config"]: config:1: unclosed action`, stalled: true,
			cure: withoutTemplate, silent: true,
		},
		"a template that fails": {
			token:  template(map[string]v1alpha1.TemplateText{"config": "{{ .Passwort }}"}),
			reason: v1alpha1.ReasonInvalidTemplate, message: "can't evaluate field Passwort", stalled: true,
			cure: withoutTemplate, silent: true,
		},
		"a template that loops": {
			token:  template(map[string]v1alpha1.TemplateText{"config": "{{ range 1000000000 }}{{ end }}"}),
			reason: v1alpha1.ReasonInvalidTemplate, message: "range can't be used", stalled: true,
			cure: withoutTemplate, silent: true,
		},
		"a template that gives nothing": {
			token:  template(map[string]v1alpha1.TemplateText{"EMPTY": "{{ .Repository }}"}),
			reason: v1alpha1.ReasonInvalidTemplate, message: `data["EMPTY"]: the value is empty`, stalled: true,
			cure: withoutTemplate, silent: true,
		},
		"a template that gives too much": {
			token: template(map[string]v1alpha1.TemplateText{
				"huge": v1alpha1.TemplateText(`{{ $x := "` + strings.Repeat("a", 300) + `" }}{{ replace "a" $x $x }}`)}),
			reason: v1alpha1.ReasonInvalidTemplate, message: "longer than 64 KiB", stalled: true,
			cure: withoutTemplate, silent: true,
		},
		"a key that no Secret can have": {
			token:  template(map[string]v1alpha1.TemplateText{"a key": "x"}),
			reason: v1alpha1.ReasonInvalidTemplate, message: `data["a key"]: not a key that a Secret can have`, stalled: true,
			cure: withoutTemplate, silent: true,
		},
		"the token's own key": {
			token:  template(map[string]v1alpha1.TemplateText{"API_TOKEN": "x"}),
			reason: v1alpha1.ReasonInvalidTemplate, message: "set spec.secret.tokenKey to another one", stalled: true,
			cure: withoutTemplate, silent: true,
		},
		"a label that no object can have": {
			token: func(t *v1alpha1.AccountToken) {
				t.Spec.Secret = &v1alpha1.SecretTarget{Template: &v1alpha1.SecretTemplate{Metadata: &v1alpha1.SecretMetadata{
					Labels: map[string]v1alpha1.LabelValue{"app": "not a value"}}}}
			},
			reason: v1alpha1.ReasonInvalidTemplate, message: "spec.secret.template.metadata.labels", stalled: true,
			cure: withoutTemplate, silent: true,
		},
		"an annotation that only the operator sets": {
			token: func(t *v1alpha1.AccountToken) {
				t.Spec.Secret = &v1alpha1.SecretTarget{Template: &v1alpha1.SecretTemplate{Metadata: &v1alpha1.SecretMetadata{
					Annotations: map[string]v1alpha1.AnnotationValue{v1alpha1.OwnerAnnotation: "me"}}}}
			},
			reason: v1alpha1.ReasonInvalidTemplate, message: "only the operator sets what begins with tokensteward.io/", stalled: true,
			cure: withoutTemplate, silent: true,
		},
		"suspended from the start": {
			token:  func(t *v1alpha1.AccountToken) { t.Spec.Suspend = true },
			reason: v1alpha1.ReasonSuspended, message: "set spec.suspend to false",
			cure:   func(f *fixture, t *v1alpha1.AccountToken) { f.change(t, func() { t.Spec.Suspend = false }) },
			silent: true,
		},
		"a quota that allows no Secret": {
			world: func(f *fixture) {
				quota := &corev1.ResourceQuota{
					ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "none"},
					Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse("0")}},
				}
				f.create(quota)
				quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: quota.Spec.Hard}
				f.Expect(k8s.Status().Update(f.ctx, quota)).To(gomega.Succeed()) // What the quota controller would do.
			},
			reason: v1alpha1.ReasonSecretRefused, message: "exceeded quota: none", stalled: true,
			cure: func(f *fixture, t *v1alpha1.AccountToken) {
				quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "none"}}
				f.Expect(k8s.Delete(f.ctx, quota)).To(gomega.Succeed())
				f.eventuallyTouched(t)
			},
		},
		"an admission policy that wants no Secret": {
			world: func(f *fixture) {
				allow = f.refuseSecrets("'no Secrets here: ' + string(object.data['API_TOKEN'])", admissionv1.Create, admissionv1.Update)
			},
			reason: v1alpha1.ReasonSecretRefused, message: "no Secrets here", stalled: true,
			cure: func(f *fixture, t *v1alpha1.AccountToken) {
				allow()
				f.eventuallyTouched(t)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			if test.world != nil {
				test.world(f)
			}
			token := f.accountToken("token")
			if test.token != nil {
				test.token(token)
			}
			f.create(token)
			f.eventuallyReady(token, metav1.ConditionFalse, test.reason)
			f.Expect(readyCondition(token).Message).To(gomega.ContainSubstring(test.message))
			wanted := []string{"Ready"}
			if test.stalled {
				wanted = append(wanted, "Stalled")
			}
			f.Expect(conditionTypes(token)).To(gomega.ConsistOf(wanted))

			if test.stalled {
				f.expectKstatus(token, kstatus.FailedStatus)
			} else {
				f.expectKstatus(token, kstatus.InProgressStatus)
			}

			before := f.requestsAtRest()
			for range 3 {
				f.touch(token)
			}
			f.Consistently(func() int { return len(f.requests()) - before }, "500ms", "50ms").Should(f.costs(test.silent), "%s", f.requests())
			f.Expect(mintsAttempted(f)).To(gomega.BeNumerically("<=", 1), "minted again and again: %s", f.requests())

			test.cure(f, token)
			f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)
			f.expectStatusAt(token, http.StatusOK)
			f.expectKstatus(token, kstatus.CurrentStatus)
		})
	}
}

// expectKstatus holds a resource to what Flux, and everything else that uses kstatus, takes it for.
func (f *fixture) expectKstatus(t v1alpha1.Token, want kstatus.Status) {
	f.t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(t)
	f.Expect(err).NotTo(gomega.HaveOccurred())
	object := &unstructured.Unstructured{Object: content}
	object.SetAPIVersion(v1alpha1.GroupVersion.String())
	object.SetKind(t.Kind())
	result, err := kstatus.Compute(object)
	f.Expect(err).NotTo(gomega.HaveOccurred())
	f.Expect(result.Status).To(gomega.Equal(want), result.Message)
}

func TestKubectlWaitsForATokenAndTellsOfOneThatFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.create(f.accountToken("good"))
	bad := f.accountToken("bad")
	bad.Spec.Account = "mallory"
	f.create(bad)
	f.eventuallyReady(f.accountToken("good"), metav1.ConditionTrue, "")
	wait := func(timeout string) ([]byte, error) {
		return controlPlane.Kubectl(f.ctx, "-n", f.namespace, "wait", "--for=condition=Ready", "accounttoken/good", "accounttoken/bad", timeout).CombinedOutput()
	}
	output, err := wait("--timeout=2s")
	f.Expect(err).To(gomega.HaveOccurred())
	f.Expect(string(output)).To(gomega.ContainSubstring("accounttoken.tokensteward.io/good condition met"))
	f.Expect(string(output)).To(gomega.ContainSubstring("timed out waiting for the condition on accounttokens/bad"))
	f.Expect(k8s.Delete(f.ctx, bad)).To(gomega.Succeed())
	f.create(f.accountToken("bad"))
	output, err = wait("--timeout=60s")
	f.Expect(err).NotTo(gomega.HaveOccurred(), string(output))
}

// requestsAtRest is the number of requests once there are no more: Events come late.
func (f *fixture) requestsAtRest() (n int) {
	f.t.Helper()
	for quiet := 0; quiet < 5; {
		time.Sleep(50 * time.Millisecond)
		if after := len(f.requests()); after == n {
			quiet++
		} else {
			n, quiet = after, 0
		}
	}
	return n
}

// costs is what three looks at a resource may cost: nothing, or a read, a dry run and a status each.
func (f *fixture) costs(silent bool) gomega.OmegaMatcher {
	if silent {
		return gomega.BeZero()
	}
	return gomega.BeNumerically("<=", 9)
}

// mintsAttempted counts the intents that were recorded.
func mintsAttempted(f *fixture) int {
	var token v1alpha1.AccountToken
	f.Expect(k8s.Get(f.ctx, client.ObjectKey{Namespace: f.namespace, Name: "token"}, &token)).To(gomega.Succeed())
	return len(token.Status.Mints)
}

// refuseSecrets makes an admission policy that refuses what is done with Secrets in the fixture's namespace, until the function
// that it returns is called. Its words are a CEL expression, to give away what a policy can: whatever the operator shows of
// it must not be a token.
func (f *fixture) refuseSecrets(words string, operations ...admissionv1.OperationType) (lift func()) {
	f.t.Helper()
	name := "no-secrets-" + f.namespace
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: operations,
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
			}}}},
			Validations: []admissionv1.Validation{{
				Expression: fmt.Sprintf("request.namespace != %q || request.name == 'probe-ok'", f.namespace), MessageExpression: words,
			}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}
	probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, GenerateName: "probe-"}, StringData: map[string]string{"API_TOKEN": "x", "CODACY_API_TOKEN": "x"}}
	if !slices.Contains(operations, admissionv1.Create) {
		f.create(probe)
	}
	refused := func() bool {
		switch operations[0] {
		case admissionv1.Create:
			return k8s.Create(f.ctx, probe.DeepCopy(), client.DryRunAll) != nil
		case admissionv1.Update:
			return k8s.Update(f.ctx, probe.DeepCopy(), client.DryRunAll) != nil
		default:
			return k8s.Delete(f.ctx, probe.DeepCopy(), client.DryRunAll) != nil
		}
	}
	f.create(policy)
	f.create(binding)
	f.t.Cleanup(func() {
		f.Expect(client.IgnoreNotFound(k8s.Delete(context.WithoutCancel(f.ctx), binding))).To(gomega.Succeed())
	})
	f.Eventually(refused).Should(gomega.BeTrue()) // The API server takes a moment to follow.
	return func() {
		f.t.Helper()
		f.Expect(k8s.Delete(f.ctx, binding)).To(gomega.Succeed())
		f.Expect(k8s.Delete(f.ctx, policy)).To(gomega.Succeed())
		f.Eventually(refused).Should(gomega.BeFalse())
	}
}

// A policy sees what the Secret holds now, too, and may tell.
func TestTheWordsOfAnAdmissionPolicyDoNotGiveAwayWhatASecretHolds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	token := f.issuedAccountToken("told")
	lift := f.refuseSecrets("'it was ' + string(oldObject.data['API_TOKEN'])", admissionv1.Update)
	f.change(token, func() {
		token.Spec.Secret = &v1alpha1.SecretTarget{Template: &v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{"more": "x"}}}
	})
	f.eventuallyStalled(token, v1alpha1.ReasonSecretRefused)
	f.Expect(readyCondition(token).Message).To(gomega.ContainSubstring("in words that have a part of what the Secret holds"))
	lift()
	f.touch(token)
	f.eventuallyReady(token, metav1.ConditionTrue, v1alpha1.ReasonIssued)

	another := f.issuedAccountToken("deleted")
	lift = f.refuseSecrets("'it is ' + string(oldObject.data['API_TOKEN'])", admissionv1.Delete)
	f.Expect(k8s.Delete(f.ctx, another)).To(gomega.Succeed())
	f.Eventually(func() string {
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(another), another)).To(gomega.Succeed())
		return readyCondition(another).Message
	}).Should(gomega.ContainSubstring(`deleting the Secret "deleted": refused by the API server`))
	lift()
	f.touch(another)
	f.eventuallyGone(another)
}

// The credential is in the Secret that the operator labels, and an issuer that can't be looked at says why.
func TestAnIssuerWhoseCredentialsSecretCantBeHeldSaysSoInOurWords(t *testing.T) {
	f := startCodacy(t, codacyEdition(t, "cloud-2026-08"), allowedHost)
	f.putCredential(f.namespace, "codacy", f.credential)
	lift := f.refuseSecrets("'it is ' + string(object.data['CODACY_API_TOKEN'])", admissionv1.Update)
	issuer := f.tokenIssuer("codacy")
	f.create(issuer)
	ready := func() *metav1.Condition {
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(issuer), issuer)).To(gomega.Succeed())
		return meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady)
	}
	f.Eventually(ready).ShouldNot(gomega.BeNil())
	f.Expect(ready().Status).To(gomega.Equal(metav1.ConditionFalse))
	f.Expect(ready().Message).To(gomega.ContainSubstring(`the label and the finalizer of the credentials Secret "codacy": refused by the API server`))
	lift()
	f.Eventually(func() metav1.ConditionStatus { return ready().Status }).Should(gomega.Equal(metav1.ConditionTrue))
}

// change updates a resource's spec, however often it takes.
func (f *fixture) change(t client.Object, change func()) {
	f.t.Helper()
	f.Eventually(func() error {
		if err := k8s.Get(f.ctx, client.ObjectKeyFromObject(t), t); err != nil {
			return err
		}
		change()
		return k8s.Update(f.ctx, t)
	}).Should(gomega.Succeed())
}

// eventuallyTouched touches a resource until it is ready: what was done to the API server's admission takes a moment.
func (f *fixture) eventuallyTouched(t v1alpha1.Token) {
	f.t.Helper()
	f.Eventually(func() metav1.ConditionStatus {
		f.touch(t)
		f.Expect(k8s.Get(f.ctx, client.ObjectKeyFromObject(t), t)).To(gomega.Succeed())
		return readyCondition(t).Status
	}, "20s", "200ms").Should(gomega.Equal(metav1.ConditionTrue))
}

// expectStatusAt asks the authority about the token in a resource's Secret.
func (f *fixture) expectStatusAt(t *v1alpha1.AccountToken, want int) {
	f.t.Helper()
	if got, _ := f.authorize(t.Spec.IssuerRef.Name, "api-token", f.secret(t).Data["API_TOKEN"], ""); got != want {
		f.t.Errorf("the authority answers %d, want %d", got, want)
	}
}
