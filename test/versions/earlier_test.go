package versions_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/testenv"
	"github.com/tokensteward/tokensteward/internal/token"
)

// release is what the operator of a release left in a cluster. What a restored object can't keep, its UID above all, is
// replaced wherever it stands, as is what tells of the stand-in for Codacy: that one is another.
type release struct {
	*scene
	folder string
	// replaced are pairs of what was recorded and what stands for it here.
	replaced []string

	server  *codacytest.Server
	running *codacytest.Running

	alice   *v1alpha1.AccountToken
	website *v1alpha1.ProjectToken
	api     *v1alpha1.ProjectToken
	// recorded is what is stored, by file.
	recorded map[string]*unstructured.Unstructured
}

// parse reads a recorded object.
func (r *release) parse(file string) *unstructured.Unstructured {
	r.Helper()
	text := strings.NewReplacer(r.replaced...).Replace(string(r.load(r.folder, file)))
	encoded, err := yaml.YAMLToJSON([]byte(text))
	r.Expect(err).NotTo(gomega.HaveOccurred())
	o := &unstructured.Unstructured{}
	r.Expect(o.UnmarshalJSON(encoded)).To(gomega.Succeed())
	return o
}

func (r *release) replace(old, by string) {
	r.Helper()
	r.Expect(old).NotTo(gomega.BeEmpty())
	r.replaced = append(r.replaced, old, by)
}

// store stores a recorded object, without its status.
func (r *release) store(file string) {
	r.Helper()
	o := r.parse(file)
	uid := string(o.GetUID())
	o.SetUID("")
	o.SetResourceVersion("")
	if o.GetKind() == v1alpha1.KindClusterTokenIssuer {
		if _, found, err := unstructured.NestedString(o.Object, "spec", "codacy", "url"); err == nil && found {
			ca := base64.StdEncoding.EncodeToString(r.running.CAPEM)
			r.Expect(unstructured.SetNestedField(o.Object, ca, "spec", "codacy", "caBundle")).To(gomega.Succeed())
		}
	}
	r.Expect(r.k8s.Create(r.ctx, o)).To(gomega.Succeed(), file)
	r.replace(uid, string(o.GetUID()))
	r.replace(uid[:20], string(o.GetUID())[:20]) // As the names of tokens at Codacy have it.
	r.recorded[file] = o
}

// storeStatus writes a recorded status with the operator's name: nobody else may.
func (r *release) storeStatus(file string) {
	r.Helper()
	status, err := json.Marshal(map[string]any{"status": r.parse(file).Object["status"]})
	r.Expect(err).NotTo(gomega.HaveOccurred())
	o := r.recorded[file]
	r.Expect(r.operator.Status().Patch(r.ctx, o, client.RawPatch(types.MergePatchType, status))).To(gomega.Succeed(), file)
	r.Expect(o.Object["status"]).To(gomega.Equal(r.parse(file).Object["status"]), "the schema dropped something of the status in %s", file)
}

func secretOf(o *unstructured.Unstructured) *corev1.Secret {
	secret := &corev1.Secret{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, secret); err != nil {
		panic(err)
	}
	return secret
}

// restore brings back what a release left, under its own CRDs.
func restore(t *testing.T, folder string) *release {
	t.Helper()
	r := &release{scene: newScene(t), folder: folder, recorded: map[string]*unstructured.Unstructured{}}
	knowsRotation := bytes.Contains(r.load(folder, filepath.Join("crds", "tokensteward.io_accounttokens")), []byte("\n              rotation:"))
	r.applyCRDs(filepath.Join(folder, "crds"), "rotation", knowsRotation)
	r.alice, r.website, r.api = &v1alpha1.AccountToken{}, &v1alpha1.ProjectToken{}, &v1alpha1.ProjectToken{}
	for file, typed := range map[string]v1alpha1.Token{"accounttoken": r.alice, "projecttoken": r.website, "codacy-projecttoken": r.api} {
		r.Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(r.parse(file).Object, typed)).To(gomega.Succeed())
	}
	// An hour after the latest token was minted, when the one that it replaced still has its time.
	r.clock.SetTime(r.alice.Status.Token.IssueTime.Add(time.Hour))

	behaviour, err := codacytest.Edition("cloud-2026-08")
	r.Expect(err).NotTo(gomega.HaveOccurred())
	r.server = codacytest.New(r.clock, behaviour)
	r.running, err = codacytest.StartTLS(r.server, "127.0.0.1:0")
	r.Expect(err).NotTo(gomega.HaveOccurred())
	t.Cleanup(func() { _ = r.running.Close() })
	url := r.api.Status.Token.URL
	r.replace(url, r.running.URL)
	r.replace(base64.StdEncoding.EncodeToString([]byte(url)), base64.StdEncoding.EncodeToString([]byte(r.running.URL)))

	for _, file := range []string{"installation", "codacy-issuer-secret", "issuer", "codacy-issuer", "accounttoken", "projecttoken", "codacy-projecttoken"} {
		r.store(file)
	}
	r.primeCodacy()
	for _, file := range []string{"accounttoken-secret", "projecttoken-secret", "codacy-projecttoken-secret"} {
		r.store(file)
	}
	for _, file := range []string{"issuer", "codacy-issuer", "accounttoken", "projecttoken", "codacy-projecttoken"} {
		r.storeStatus(file)
	}
	return r
}

// primeCodacy gives the stand-in the account, its credential and the token that were recorded.
func (r *release) primeCodacy() {
	r.Helper()
	account := r.server.AddAccount("robot", "robot@acme.example")
	credential := secretOf(r.recorded["codacy-issuer-secret"]).Data[v1alpha1.DefaultCredentialsKey]
	r.server.AddAccountToken(account, token.NewValue(string(credential)))
	r.server.AddRepository("gh", "acme", "api")
	status := &v1alpha1.ProjectToken{}
	r.Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(r.parse("codacy-projecttoken").Object, status)).To(gomega.Succeed())
	recorded := status.Status.Token
	made := r.server.CreateRepositoryToken("gh", "acme", "api", recorded.Name, &recorded.ExpirationTime.Time)
	value := secretOf(r.parse("codacy-projecttoken-secret")).Data["CODACY_PROJECT_TOKEN"]
	r.replace(base64.StdEncoding.EncodeToString(value), base64.StdEncoding.EncodeToString([]byte(made.Value.Reveal())))
	r.replace(recorded.SHA256, made.Value.SHA256())
	r.replace(recorded.ID, jsonNumber(made.ID))
	r.replace(recorded.AccountID, jsonNumber(account))
}

func jsonNumber(n int64) string {
	text, err := json.Marshal(n)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// tokens are the resources, with the key of the token in their Secrets.
func (r *release) tokens() map[v1alpha1.Token]string {
	return map[v1alpha1.Token]string{r.alice: "TOKEN", r.website: "PROJECT_TOKEN", r.api: "CODACY_PROJECT_TOKEN"}
}

// expectSame compares Secrets, whose values are in no failure's message: what was there is there as it was.
func (r *release) expectSame(before map[string][]byte, after map[string][]byte, name string) {
	r.Helper()
	for key, value := range before {
		r.Expect(string(after[key]) == string(value)).To(gomega.BeTrue(), "the value under %s in the Secret %s changed", key, name)
	}
}

func releases(t *testing.T) []string {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join("testdata", "v*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no releases in testdata: %v", err)
	}
	return folders
}

func TestTodaysOperatorTakesOverWhatAnEarlierVersionLeft(t *testing.T) {
	for _, folder := range releases(t) {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			r := restore(t, folder)
			before := map[string]map[string][]byte{}
			for t := range r.tokens() {
				before[t.GetName()] = r.secret(v1alpha1.SecretName(t)).Data
			}
			first := secretOf(r.parse("accounttoken-secret-before")).Data["TOKEN"]
			living := len(r.server.Tokens())

			r.applyCRDs(filepath.Join(testenv.Root(), "config", "crd", "bases"), "rotation", true)
			r.nothingIsLost()
			r.start()
			r.nothingIsMintedAnew(before, first, living)
			r.tokensRotate(before)
			r.theTokenReplacedByTheEarlierVersionIsRevoked(first)
			r.tokensAreDeleted()
		})
	}
}

// nothingIsLost reads each object with today's types, strictly, and writes it back.
func (r *release) nothingIsLost() {
	r.Helper()
	for file, typed := range map[string]client.Object{
		"accounttoken": &v1alpha1.AccountToken{}, "projecttoken": &v1alpha1.ProjectToken{}, "codacy-projecttoken": &v1alpha1.ProjectToken{},
		"issuer": &v1alpha1.ClusterTokenIssuer{}, "codacy-issuer": &v1alpha1.ClusterTokenIssuer{},
	} {
		stored := r.recorded[file].DeepCopy()
		r.refresh(stored)
		r.Expect(stored.Object["spec"]).To(gomega.Equal(r.recorded[file].Object["spec"]), "today's schema changes the spec in %s", file)
		r.Expect(stored.Object["status"]).To(gomega.Equal(r.recorded[file].Object["status"]), "today's schema changes the status in %s", file)
		r.Expect(runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(stored.Object, typed, true)).To(gomega.Succeed(), file)
		again, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
		r.Expect(err).NotTo(gomega.HaveOccurred())
		for _, part := range []string{"spec", "status"} {
			// Numbers and nothing else may be of another type.
			r.Expect(equality.Semantic.DeepEqual(again[part], stored.Object[part])).To(gomega.BeTrue(), "the %s in %s: %v, was %v", part, file, again[part], stored.Object[part])
		}
		r.Expect(r.k8s.Update(r.ctx, typed)).To(gomega.Succeed(), file)
		r.refresh(stored)
		r.Expect(stored.Object["spec"]).To(gomega.Equal(r.recorded[file].Object["spec"]), "written back: %s", file)
		r.Expect(stored.GetGeneration()).To(gomega.Equal(int64(1)), "written back: %s", file)
	}
}

// nothingIsMintedAnew has the operator write each Secret, and compares.
func (r *release) nothingIsMintedAnew(before map[string]map[string][]byte, first []byte, living int) {
	r.Helper()
	r.eventuallyAnswers(before["alice"]["TOKEN"], 200, "alice")
	r.eventuallyAnswers(first, 200, "the token of alice that was replaced")
	r.eventuallyAnswers(before["website"]["PROJECT_TOKEN"], 200, "website")
	for t, key := range r.tokens() {
		r.refresh(t)
		recorded := t.SharedStatus().DeepCopy()
		// Only an operator that takes the Secret for its own, and the token in it for the current one, adds a label to it.
		r.patch(t, `{"spec":{"secret":{"template":{"metadata":{"labels":{"seen":"today"}}}}}}`)
		r.Eventually(func() string { return r.secret(v1alpha1.SecretName(t)).Labels["seen"] }).Should(gomega.Equal("today"), t.GetName())
		r.eventuallyRevision(t, recorded.Token.Revision)
		status := t.SharedStatus()
		r.Expect(status.Token).To(gomega.Equal(recorded.Token))
		r.Expect(status.PreviousTokens).To(gomega.Equal(recorded.PreviousTokens))
		r.Expect(status.LastRevision).To(gomega.Equal(recorded.LastRevision))
		r.Expect(status.RenewalTime).To(gomega.Equal(recorded.RenewalTime))
		r.Expect(status.Pending).To(gomega.BeNil())
		after := r.secret(v1alpha1.SecretName(t))
		r.expectSame(before[t.GetName()], after.Data, after.Name)
		r.Expect(after.Data).To(gomega.HaveKey(key))
		r.Expect(len(after.Data)).To(gomega.Equal(len(before[t.GetName()])), "keys of the Secret %s", after.Name)
	}
	r.Expect(r.server.Tokens()).To(gomega.HaveLen(living), "tokens at Codacy")
	r.Expect(r.server.Accepts(string(before["api"]["CODACY_PROJECT_TOKEN"]))).To(gomega.BeTrue())
	for _, name := range []string{"default", "codacy"} {
		var issuer v1alpha1.ClusterTokenIssuer
		issuer.Name = name
		r.refresh(&issuer)
		r.Expect(issuer.Status.Conditions[0].Reason).To(gomega.Equal(v1alpha1.ReasonAvailable))
	}
}

// tokensRotate asks for a rotation of each.
func (r *release) tokensRotate(before map[string]map[string][]byte) {
	r.Helper()
	for t, key := range r.tokens() {
		revision := t.SharedStatus().Token.Revision
		r.patch(t, `{"metadata":{"annotations":{"`+v1alpha1.RotateRequestAnnotation+`":"today"}}}`)
		r.eventuallyRevision(t, revision+1)
		value, old := r.secret(v1alpha1.SecretName(t)).Data[key], before[t.GetName()][key]
		r.Expect(string(value) == string(old)).To(gomega.BeFalse(), "the same value twice in the Secret of %s", t.GetName())
		if t == r.api {
			r.Expect(r.server.Accepts(string(value)) && r.server.Accepts(string(old))).To(gomega.BeTrue(), "the new token of api, and the old one in its grace period")
			continue
		}
		r.eventuallyAnswers(value, 200, t.GetName())
		r.eventuallyAnswers(old, 200, t.GetName())
	}
}

func (r *release) theTokenReplacedByTheEarlierVersionIsRevoked(value []byte) {
	r.Helper()
	previous := r.alice.Status.PreviousTokens[0]
	r.Expect(previous.Revision).To(gomega.Equal(int64(1)))
	r.clock.SetTime(previous.RevokeTime.Add(time.Second))
	r.touch(r.alice)
	r.Eventually(func() int64 {
		r.refresh(r.alice)
		return r.alice.Status.PreviousTokens[0].Revision
	}).Should(gomega.Equal(int64(2)))
	r.eventuallyAnswers(value, 401, "a token that was revoked")
}

func (r *release) tokensAreDeleted() {
	r.Helper()
	last := map[string]map[string][]byte{}
	for t := range r.tokens() {
		last[t.GetName()] = maps.Clone(r.secret(v1alpha1.SecretName(t)).Data)
		r.Expect(r.k8s.Delete(r.ctx, t)).To(gomega.Succeed())
	}
	for t := range r.tokens() {
		r.eventuallyGone(t)
		secret := &corev1.Secret{}
		secret.Namespace, secret.Name = namespace, v1alpha1.SecretName(t)
		r.eventuallyGone(secret)
	}
	r.eventuallyAnswers(last["alice"]["TOKEN"], 401, "alice, who is deleted")
	r.eventuallyAnswers(last["website"]["PROJECT_TOKEN"], 401, "website")
	r.Expect(r.server.Accepts(string(last["api"]["CODACY_PROJECT_TOKEN"]))).To(gomega.BeFalse(), "the token of api, which is deleted")
	r.Expect(r.server.Tokens()).To(gomega.HaveLen(1), "the credential alone is left at Codacy")
	for _, name := range []string{"default", "codacy"} {
		issuer := &v1alpha1.ClusterTokenIssuer{}
		issuer.Name = name
		r.Expect(r.k8s.Delete(r.ctx, issuer)).To(gomega.Succeed())
		r.eventuallyGone(issuer)
	}
}
