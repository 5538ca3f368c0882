package controllers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/grant"
	"github.com/tokensteward/tokensteward/internal/issuer/builtin"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
	"github.com/tokensteward/tokensteward/internal/token"
)

// What a resource may be, each a bit.
const (
	isProject = 1 << iota
	isDeleted
	isHeld // By the finalizer.
	isSuspended
	adopts
	isOfCodacy // And its issuer is not connected yet.
	isRetained
	hasSecret
	isRefused
)

const (
	fuzzUID   = types.UID("8d2f4c1e-0c55-4d1c-9a39-7f1f6f4c2b10")
	fuzzValue = "tsa_the-value-that-nobody-may-see-0123456789-abcdefgh"
	fuzzOther = "tsa_another-value-nobody-may-see-0123456789-abcdefgh"
	fuzzURL   = "https://codacy.acme.example"
)

var fuzzNow = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

// foundSecret is what stands in the Secret before the operator sees it.
type foundSecret struct {
	Data                map[string]string
	Labels, Annotations map[string]string
	Type                corev1.SecretType
	Immutable           *bool
	Owners              []metav1.OwnerReference
}

// A status may be one that somebody made up, that came with a backup, or that another version left; a Secret may have anything.
// A reconcile makes of them a Secret that is whole, or leaves it, and keeps to what the status is believed for.
func FuzzAnyStatusAndSecretAreSafeInAReconcile(f *testing.F) {
	const (
		current  = `"token":{"id":"u-3","revision":3,"sha256":"{sha}","issueTime":"2026-07-01T12:00:00Z","expirationTime":"2026-10-01T12:00:00Z"},"lastRevision":3,"renewalTime":"2026-09-01T12:00:00Z"`
		previous = `"previousTokens":[{"id":"u-1","revision":1,"sha256":"{othersha}","expirationTime":"2026-10-01T12:00:00Z"},{"id":"u-2","revision":2,"sha256":"%s","expirationTime":"2026-10-01T12:00:00Z","replacedTime":"2026-07-01T12:00:00Z","revokeTime":"2026-07-02T12:00:00Z"}]`
		pending  = `"pending":{"revision":4,"startTime":"2026-08-01T11:00:00Z","id":"u-4","sha256":"{othersha}","expirationTime":"2026-10-01T12:00:00Z"}`
		atCodacy = `"token":{"id":"3","revision":3,"sha256":"{sha}","issueTime":"2026-07-01T12:00:00Z","url":"{url}","accountID":"7"},"pending":{"revision":4,"startTime":"2026-08-01T11:00:00Z","name":"n","url":"{url}"}`
		stalled  = `"conditions":[{"type":"Stalled","status":"True","reason":"SecretRefused","message":"Over the quota.","lastTransitionTime":"2026-08-01T11:00:00Z"}]`
		ours     = `{"Data":{"API_TOKEN":"{value}"},"Labels":{"tokensteward.io/managed":"true"},"Annotations":{"tokensteward.io/owner":"{owner}","tokensteward.io/revision":"3","tokensteward.io/token-id":"u-3"},"Type":"Opaque"}`
	)
	hex := strings.Repeat("ab", 32)
	statuses := []string{
		`{}`, `{"ownerUID":"{uid}"}`, `{"ownerUID":"{uid}",` + current + `}`, `{"ownerUID":"another",` + current + `,` + pending + `}`, `{` + current + `}`,
		`{"ownerUID":"{uid}",` + current + `,` + fmt.Sprintf(previous, hex) + `}`, `{"ownerUID":"{uid}",` + current + `,` + pending + `}`,
		`{"ownerUID":"{uid}",` + pending + `,` + fmt.Sprintf(previous, "{sha}") + `}`, `{"ownerUID":"{uid}",` + atCodacy + `}`, `{"ownerUID":"{uid}",` + current + `,` + stalled + `}`,
		`{"ownerUID":"{uid}","token":{"revision":1,"sha256":"x"},"mints":["2026-08-01T11:59:00Z","2026-08-01T11:59:01Z","2026-08-01T11:59:02Z","2026-08-01T11:59:03Z","2026-08-01T11:59:04Z"]}`,
		`{"ownerUID":"{uid}",` + current + `,"adoptedTime":"2026-07-01T12:00:00Z"}`, `{"ownerUID":"{uid}","lastRevision":9223372036854775806}`,
		`{"ownerUID":"{uid}","token":{"id":"u-3","revision":3,"sha256":"{sha}","issueTime":"2020-01-01T00:00:00Z","expirationTime":"2020-02-01T00:00:00Z"},"restartTime":"2020-01-01T00:00:00Z"}`,
		`{"ownerUID":"{uid}","token":null,"pending":{"revision":1},"previousTokens":[{"revision":1}]}`,
		`{"ownerUID":"{uid}",` + current + `,"previousTokens":[{"revision":2,"sha256":"{othersha}"},{"revision":2,"sha256":"` + hex + `","replacedTime":"2026-07-01T12:00:00Z","revokeTime":"2026-07-02T12:00:00Z"}]}`,
	}
	secrets := []string{
		`{}`, ours, strings.Replace(ours, "{value}", "{other}", 1), strings.Replace(ours, "{owner}", "{owner}-of-another", 1), strings.Replace(ours, `"tokensteward.io/owner":"{owner}",`, "", 1),
		strings.Replace(ours, `"Type"`, `"Immutable":true,"Type"`, 1), `{"Data":{"API_TOKEN":"{value}","mine":"{other}"},"Type":"Opaque"}`, `{"Data":{"API_TOKEN":""},"Type":"kubernetes.io/tls"}`,
		strings.Replace(ours, `"Labels"`, `"Owners":[{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u","controller":true}],"Labels"`, 1),
		strings.Replace(ours, `"tokensteward.io/revision"`, `"tokensteward.io/templated":"label: annotation:tokensteward.io/owner key:API_TOKEN key:mine :","tokensteward.io/revision"`, 1),
	}
	for i, status := range statuses {
		for j, secret := range secrets {
			template := []string{"", "{{ .Token }}", "{{ .Account }}{{ .ExpirationTime }}", "{{ range }}"}[(i+j)%4]
			// Not each with each in every way: go test runs them all.
			f.Add([]uint16{
				isHeld | hasSecret, hasSecret, isHeld | hasSecret | isDeleted, isHeld | hasSecret | isOfCodacy,
				isHeld | hasSecret | isDeleted | isRetained | isOfCodacy, isHeld | hasSecret | isSuspended, isHeld | hasSecret | isRefused | isProject,
			}[(i+j)%7], status, secret, template)
		}
		f.Add(uint16(isHeld), status, `{}`, "")
		f.Add(uint16(isHeld|isOfCodacy|adopts|hasSecret), status, secrets[6], "")
	}
	f.Fuzz(func(t *testing.T, is uint16, statusJSON, secretJSON, template string) {
		w := &fuzzWorld{T: t, is: is}
		if !w.make(statusJSON, secretJSON, template) {
			t.Skip("no status, or no Secret")
		}
		before := w.read()
		err := w.reconcile()
		after := w.read()
		w.wantSilence(err, &after)
		w.wantWholeSecret(&before, &after)
		w.wantNoBeliefInAnothersStatus(&before, &after)
		if !isSensible(before.token) || err != nil {
			return
		}
		w.wantContinuity(&before, &after)
		again := w.reconcile()
		if rested := w.read(); again == nil && !after.same(&rested) {
			t.Errorf("a second reconcile has done more: %s", difference(&after, &rested))
		}
	})
}

// fuzzWorld is an API server with one resource, and the operator.
type fuzzWorld struct {
	*testing.T
	is     uint16
	token  v1alpha1.Token
	owner  string
	server client.WithWatch
	r      *TokenReconciler
	log    bytes.Buffer
}

func (w *fuzzWorld) has(bit uint16) bool { return w.is&bit != 0 }

// seen is what the API server has.
type seen struct {
	token  v1alpha1.Token
	secret *corev1.Secret
}

func (s *seen) same(other *seen) bool { return difference(s, other) == "" }

func difference(a, b *seen) string {
	switch {
	case (a.token == nil) != (b.token == nil) || (a.secret == nil) != (b.secret == nil):
		return "something is gone, or came"
	case a.secret != nil && a.secret.ResourceVersion != b.secret.ResourceVersion:
		return "the Secret was written"
	case a.token != nil && a.token.GetResourceVersion() != b.token.GetResourceVersion():
		return fmt.Sprintf("the resource was written: %+v, then %+v", a.token.SharedStatus(), b.token.SharedStatus())
	default:
		return ""
	}
}

// make makes the world; false if its texts are none.
func (w *fuzzWorld) make(statusJSON, secretJSON, template string) bool {
	w.token = &v1alpha1.AccountToken{Spec: v1alpha1.AccountTokenSpec{Account: "alice"}}
	if w.has(isProject) {
		w.token = &v1alpha1.ProjectToken{Spec: v1alpha1.ProjectTokenSpec{Project: v1alpha1.Project{Provider: "gh", Organization: "acme", Repository: "api"}}}
	}
	w.owner = fmt.Sprintf("inst01/%s/team-a/mine/%s", w.token.Kind(), fuzzUID)
	spell := strings.NewReplacer("{value}", fuzzValue, "{other}", fuzzOther, "{sha}", token.SHA256([]byte(fuzzValue)), "{othersha}", token.SHA256([]byte(fuzzOther)),
		"{uid}", string(fuzzUID), "{owner}", w.owner, "{url}", fuzzURL)
	var found foundSecret
	if json.Unmarshal([]byte(spell.Replace(statusJSON)), w.token.SharedStatus()) != nil || json.Unmarshal([]byte(spell.Replace(secretJSON)), &found) != nil {
		return false
	}
	if strings.Contains(statusJSON, "value-nobody-may-see") || strings.Contains(statusJSON, "{value}") || strings.Contains(statusJSON, "{other}") || strings.Contains(template, "-nobody-may-see") {
		return false // Whoever writes a token where it can be read has shown it.
	}
	w.token.SetNamespace("team-a")
	w.token.SetName("mine")
	w.token.SetUID(fuzzUID)
	w.token.SetGeneration(1)
	spec := w.token.SharedSpec()
	spec.IssuerRef = v1alpha1.IssuerReference{Kind: v1alpha1.KindClusterTokenIssuer, Name: "default"}
	spec.Suspend = w.has(isSuspended)
	spec.Secret = &v1alpha1.SecretTarget{Name: "mine", TokenKey: "API_TOKEN"}
	if template != "" {
		spec.Secret.Template = &v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{"extra": v1alpha1.TemplateText(template)}}
	}
	if w.has(isRetained) {
		spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
	}
	if w.has(adopts) {
		spec.Adopt = &v1alpha1.Adoption{SecretRef: v1alpha1.AdoptedSecretReference{Name: "mine"}}
	}
	var finalizers []string
	if w.has(isHeld) {
		finalizers = append(finalizers, v1alpha1.Finalizer)
	}
	if w.has(isDeleted) {
		w.token.SetDeletionTimestamp(&metav1.Time{Time: fuzzNow.Add(-time.Minute)})
		finalizers = append(finalizers, "example.com/another") // So that it can be looked at afterwards.
	}
	w.token.SetFinalizers(finalizers)

	i := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	i.Spec.BuiltIn = &v1alpha1.BuiltInIssuer{}
	if w.has(isOfCodacy) {
		i.Spec.BuiltIn, i.Spec.Codacy = nil, &v1alpha1.CodacyIssuer{URL: fuzzURL}
	}
	i.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAvailable}}
	objects := []client.Object{w.token, i, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-a"}}}
	if w.has(hasSecret) {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "mine", UID: "uid-of-the-secret", Labels: found.Labels, Annotations: found.Annotations, OwnerReferences: found.Owners},
			Type:       found.Type, Immutable: found.Immutable,
		}
		for key, value := range found.Data {
			if len(validation.IsConfigMapKey(key)) > 0 {
				return false
			}
			if secret.Data == nil {
				secret.Data = map[string][]byte{}
			}
			secret.Data[key] = []byte(value)
		}
		objects = append(objects, secret)
	}
	w.run(objects)
	return true
}

var fuzzScheme = func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	return scheme
}()

// run starts an operator beside an API server with these objects.
func (w *fuzzWorld) run(objects []client.Object) {
	w.Helper()
	builder := fake.NewClientBuilder().WithScheme(fuzzScheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.AccountToken{}, &v1alpha1.ProjectToken{}, &v1alpha1.ClusterTokenIssuer{}, &v1alpha1.TokenIssuer{})
	for _, o := range []client.Object{&v1alpha1.AccountToken{}, &v1alpha1.ProjectToken{}} {
		builder.WithIndex(o, issuerIndex, func(o client.Object) []string {
			ref := o.(v1alpha1.Token).SharedSpec().IssuerRef
			return []string{issuerIndexValue(ref.Kind, ref.Name)}
		})
	}
	for _, o := range []client.Object{&v1alpha1.ClusterTokenIssuer{}, &v1alpha1.TokenIssuer{}} {
		builder.WithIndex(o, credentialsIndex, func(client.Object) []string { return nil })
	}
	w.server = builder.Build()
	cached := interceptor.NewClient(w.server, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			err := c.Get(ctx, key, o, options...)
			if secret, ok := o.(*corev1.Secret); ok && err == nil && !slices.Contains([]string{v1alpha1.ManagedTokens, v1alpha1.ManagedCredentials}, secret.Labels[v1alpha1.ManagedLabel]) {
				return apierrors.NewNotFound(corev1.Resource("secrets"), key.Name) // The cache has no other.
			}
			return err
		},
	})
	clock := clocktesting.NewFakePassiveClock(fuzzNow)
	w.r = &TokenReconciler{
		Client: cached, Live: w.server, Clock: clock, Recorder: &fuzzRecorder{&w.log}, InstallationID: "inst01", BuiltIn: builtin.Issuer{},
		Services: codacy.NewServices(codacy.Options{Clock: clock}), RenewDeadline: time.Hour, Namespace: "tokensteward-system",
		obstacles: newObstacles(w.server), written: newWritten(clock), failures: newFailures(clock), orphans: newOrphans(clock), holderSightings: newHolderSightings(), podLists: &singleflight.Group{},
		kind: kind{
			newToken: func() v1alpha1.Token { return reflect.New(reflect.TypeOf(w.token).Elem()).Interface().(v1alpha1.Token) },
			newList: func() client.ObjectList {
				if w.has(isProject) {
					return &v1alpha1.ProjectTokenList{}
				}
				return &v1alpha1.AccountTokenList{}
			},
			builtInRefusal: func(*v1alpha1.ClusterTokenIssuer, grant.Namespace, v1alpha1.Token) *lifecycle.Problem {
				return w.refusal()
			},
			codacyRefusal: func(v1alpha1.Issuer, grant.Namespace, v1alpha1.Token) *lifecycle.Problem { return w.refusal() },
		},
	}
}

func (w *fuzzWorld) refusal() *lifecycle.Problem {
	if !w.has(isRefused) {
		return nil
	}
	return &lifecycle.Problem{Reason: v1alpha1.ReasonNotGranted, Message: "Not granted."}
}

// fuzzRecorder keeps Events with the log.
type fuzzRecorder struct{ log *bytes.Buffer }

func (r *fuzzRecorder) Eventf(_, _ runtime.Object, eventType, reason, action, note string, arguments ...any) {
	fmt.Fprintln(r.log, eventType, reason, action, fmt.Sprintf(note, arguments...))
}

func (r *fuzzRecorder) AnnotatedEventf(_, _ runtime.Object, annotations map[string]string, eventType, reason, action, note string, arguments ...any) {
	fmt.Fprintln(r.log, annotations, eventType, reason, action, fmt.Sprintf(note, arguments...))
}

func (w *fuzzWorld) reconcile() error {
	w.Helper()
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel() // Whoever waits for a Secret to go.
	logger := funcr.New(func(prefix, arguments string) { fmt.Fprintln(&w.log, prefix, arguments) }, funcr.Options{})
	_, err := w.r.Reconcile(ctrl.LoggerInto(ctx, logger), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "team-a", Name: "mine"}})
	if err != nil && strings.Contains(err.Error(), "no rest after") && isSensible(w.token) {
		w.Errorf("it comes to no rest: %v", err)
	}
	return err
}

func (w *fuzzWorld) read() (s seen) {
	w.Helper()
	key := types.NamespacedName{Namespace: "team-a", Name: "mine"}
	s.token = w.r.kind.newToken()
	if err := w.server.Get(w.Context(), key, s.token); err != nil {
		w.Fatal(err)
	}
	s.secret = &corev1.Secret{}
	if err := w.server.Get(w.Context(), key, s.secret); apierrors.IsNotFound(err) {
		s.secret = nil
	} else if err != nil {
		w.Fatal(err)
	}
	return s
}

// isSensible: a status that the operator could have written, by what the schema and its own way to count see to.
func isSensible(t v1alpha1.Token) bool {
	status := t.SharedStatus()
	if status.OwnerUID != t.GetUID() {
		return true // It is not believed.
	}
	revisions, hashes := map[int64]bool{}, map[string]bool{}
	fits := func(revision int64, sha256 string) bool {
		ok := revision >= 1 && revision < 1<<62 && !revisions[revision] && (sha256 == "" || !hashes[sha256])
		revisions[revision], hashes[sha256] = true, true
		return ok
	}
	ok := len(status.PreviousTokens) <= lifecycle.MaxPrevious && status.LastRevision >= 0 && status.LastRevision < 1<<62
	if status.Token != nil {
		ok = fits(status.Token.Revision, status.Token.SHA256) && status.Token.SHA256 != "" && ok
	}
	if status.Pending != nil {
		ok = fits(status.Pending.Revision, status.Pending.SHA256) && ok
	}
	for i := range status.PreviousTokens {
		ok = fits(status.PreviousTokens[i].Revision, status.PreviousTokens[i].SHA256) && ok
	}
	return ok
}

// wantSilence: no value that was or is in the Secret is told anywhere.
func (w *fuzzWorld) wantSilence(err error, after *seen) {
	w.Helper()
	told := w.log.String()
	if err != nil {
		told += err.Error()
	}
	for _, condition := range after.token.SharedStatus().Conditions {
		told += condition.Message
	}
	values := []string{fuzzValue, fuzzOther}
	if after.secret != nil && len(after.secret.Data["API_TOKEN"]) == len(fuzzValue) {
		values = append(values, string(after.secret.Data["API_TOKEN"]))
	}
	for _, value := range values {
		if strings.Contains(told, value) {
			w.Fatal("a value is in an error, a condition, an Event or the log")
		}
	}
}

// ours says whether the Secret may be written, by what docs/secrets.md says.
func (w *fuzzWorld) ours(s *seen) bool {
	annotations := s.secret.Annotations
	believed := s.token.SharedStatus().OwnerUID == s.token.GetUID()
	if annotations[v1alpha1.OwnerAnnotation] != "" {
		return annotations[v1alpha1.OwnerAnnotation] == w.owner
	}
	return s.secret.Labels[v1alpha1.ManagedLabel] == v1alpha1.ManagedTokens || believed && s.token.SharedStatus().AdoptedTime != nil
}

// wantWholeSecret: a Secret is left as it is, or is written with value, owner, id and revision of one token.
func (w *fuzzWorld) wantWholeSecret(before, after *seen) {
	w.Helper()
	if before.secret != nil && after.secret != nil && before.secret.ResourceVersion == after.secret.ResourceVersion {
		return
	}
	switch {
	case before.secret != nil && !w.ours(before):
		w.Fatal("a Secret was written, or deleted, that is somebody else's")
	case before.secret != nil && w.has(isSuspended) && !w.has(isDeleted):
		w.Fatal("the Secret of a suspended resource was written")
	case w.has(isDeleted):
		if after.secret != nil && after.secret.Annotations[v1alpha1.OwnerAnnotation] == w.owner {
			w.Error("a Secret was written for a resource that is being deleted")
		}
		return
	case after.secret == nil && before.secret == nil:
		return
	case after.secret == nil:
		w.Fatal("the Secret of a resource that lives was deleted")
	case before.secret != nil && before.secret.Immutable != nil && *before.secret.Immutable:
		w.Error("an immutable Secret was written")
	}
	value := after.secret.Data["API_TOKEN"]
	if len(value) == 0 {
		w.Fatal("the Secret has no token")
	}
	for key := range after.secret.Data {
		if len(validation.IsConfigMapKey(key)) > 0 {
			w.Errorf("the Secret has the key %q", key)
		}
	}
	annotations := after.secret.Annotations
	if annotations[v1alpha1.OwnerAnnotation] != w.owner || after.secret.Labels[v1alpha1.ManagedLabel] == "" {
		w.Error("the Secret does not say whose it is")
	}
	sha256, id, revision := token.SHA256(value), annotations[v1alpha1.TokenIDAnnotation], annotations[v1alpha1.RevisionAnnotation]
	status := after.token.SharedStatus()
	one := status.Token != nil && status.Token.SHA256 == sha256 && status.Token.ID == id && strconv.FormatInt(status.Token.Revision, 10) == revision
	one = one || status.Pending != nil && status.Pending.SHA256 == sha256 && status.Pending.ID == id && strconv.FormatInt(status.Pending.Revision, 10) == revision
	if !one {
		w.Error("the Secret has been written with a value, an id and a revision that are not those of one token")
	}
	text := secretTemplate(w.token).Data["extra"]
	if text != "" && len(after.secret.Data["extra"]) == 0 || text == "{{ .Token }}" && !bytes.Equal(after.secret.Data["extra"], value) {
		w.Error("the Secret has not what its template says")
	}
}

// wantNoBeliefInAnothersStatus: of a status that was written for another resource nothing is taken over.
func (w *fuzzWorld) wantNoBeliefInAnothersStatus(before, after *seen) {
	w.Helper()
	was, is := before.token.SharedStatus(), after.token.SharedStatus()
	if was.OwnerUID == fuzzUID {
		return
	}
	known := &claims{hashes: map[string]string{}, names: map[string]bool{}}
	if known.add(before.token, fuzzURL); len(known.hashes)+len(known.names) > 0 || len(builtin.Entries(before.token)) > 0 {
		w.Error("a status of another resource claims, or accepts, tokens")
	}
	if is.OwnerUID != fuzzUID {
		if !reflect.DeepEqual(was, is) {
			w.Error("a status was written, and is still another resource's")
		}
		return
	}
	for _, record := range is.Records() {
		if slices.ContainsFunc(was.Records(), func(r v1alpha1.TokenRecord) bool {
			return record.SHA256 != "" && r.SHA256 == record.SHA256 || record.Name != "" && r.Name == record.Name
		}) {
			w.Error("a token was taken over from a status of another resource")
		}
	}
	if is.LastRevision > 1 || len(is.PreviousTokens) > 0 || is.AdoptedTime != nil || len(is.Mints) > 1 {
		w.Error("something else was taken over from a status of another resource")
	}
	if strings.Contains(w.log.String(), "Revoked ") {
		w.Error("a token of another resource counts as revoked")
	}
}

// wantContinuity: what a status is believed for goes on as it should.
func (w *fuzzWorld) wantContinuity(before, after *seen) {
	w.Helper()
	was, is := before.token.SharedStatus(), after.token.SharedStatus()
	if len(is.PreviousTokens) <= lifecycle.MaxPrevious && !isSensible(after.token) {
		w.Error("a status that made sense does not any more")
	}
	if len(is.PreviousTokens) > lifecycle.MaxPrevious+2 {
		w.Errorf("there are %d previous tokens", len(is.PreviousTokens))
	}
	if w.has(isDeleted) {
		return
	}
	if len(is.Records()) > 0 && is.OwnerUID == fuzzUID && !slices.Contains(after.token.GetFinalizers(), v1alpha1.Finalizer) {
		w.Error("a resource has tokens, and no finalizer holds it")
	}
	if was.OwnerUID != fuzzUID {
		return
	}
	accepted := func(s *seen, sha256 string) bool {
		return slices.ContainsFunc(builtin.Entries(s.token), func(e builtin.Entry) bool { return e.SHA256 == sha256 && fuzzNow.Before(e.Expires) })
	}
	if before.secret != nil && before.secret.Annotations[v1alpha1.OwnerAnnotation] == w.owner {
		if held := token.SHA256(before.secret.Data["API_TOKEN"]); accepted(before, held) && !accepted(after, held) {
			w.Error("what the Secret held was accepted, and is not any more")
		}
	}
	for revision, expires := range expiries(was) {
		if _, ok := expiries(is)[revision]; ok || !w.has(isOfCodacy) {
			continue
		}
		if expires == nil || expires.After(fuzzNow.Add(-lifecycle.ExpiryMargin)) {
			w.Errorf("revision %d was forgotten, and the service could not be asked", revision)
		}
	}
	known := &claims{hashes: map[string]string{}, names: map[string]bool{}}
	known.add(after.token, fuzzURL)
	for _, record := range is.Records() {
		if _, ok := known.hashes[record.ID]; record.URL == fuzzURL && record.ID != "" && !ok || record.Name != "" && !known.names[record.Name] {
			w.Error("a token that a resource has is not claimed")
		}
	}
}

// expiries of all that a status knows of, by revision.
func expiries(status *v1alpha1.TokenStatus) map[int64]*metav1.Time {
	all := map[int64]*metav1.Time{}
	if status.Token != nil {
		all[status.Token.Revision] = status.Token.ExpirationTime
	}
	if status.Pending != nil {
		all[status.Pending.Revision] = status.Pending.ExpirationTime
	}
	for i := range status.PreviousTokens {
		all[status.PreviousTokens[i].Revision] = status.PreviousTokens[i].ExpirationTime
	}
	return all
}
