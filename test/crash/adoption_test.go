package crash_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
	"github.com/tokensteward/tokensteward/internal/testenv"
	"github.com/tokensteward/tokensteward/internal/token"
)

// play is a story of one resource, of which each request may be the last of a process. It ends as it began.
type play struct {
	name string
	run  func(ctx context.Context, at int, when moment) (requests []string, fatal bool)
}

// TestLeakMatrixOfTakingOverAndLeaving goes on from TestLeakMatrix: tokens that were made by hand are taken over, tokens are
// left behind on purpose, and an issuer's credential rotates and revokes itself.
func TestLeakMatrixOfTakingOverAndLeaving(t *testing.T) {
	ctx, controlPlane := startControlPlane(t)
	var rows []row
	defer func() { printTable(rows) }()
	for i, c := range classes(t) {
		if c.name != "cloud-2025-07 AccountToken" && !fullMatrix {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			m := newMatrix(ctx, t, controlPlane, c, fmt.Sprintf("taking-%d", i), "--leader-elect=false")
			defer m.close(ctx)
			plays := []play{{"retention", m.retain}}
			if c.kind == v1alpha1.KindAccountToken || c.behaviour.RepositoryListValues == codacytest.FullValues {
				plays = append(plays, play{"adoption", m.adopt})
			}
			if c.kind == v1alpha1.KindAccountToken {
				plays = append(plays, play{"self-rotation", m.rotateItself}, play{"self-revocation", m.revokeItself})
			}
			for _, p := range plays {
				rows = append(rows, row{class: c.name, scenario: p.name})
				m.row = &rows[len(rows)-1]
				m.playAtEveryRequest(ctx, p)
			}
		})
	}
}

func (m *matrix) playAtEveryRequest(ctx context.Context, p play) {
	moments := []moment{before, after}
	if !fullMatrix {
		moments = []moment{after} // Which leaves behind what a kill before the next request does.
	}
	most := 100
	if m.alike {
		most = 14 // As in atEveryRequest.
	}
	for _, when := range moments {
		for at := 1; at <= most; at++ {
			asked := m.server.Requests()[m.creates()]
			requests, fatal := p.run(ctx, at, when)
			m.row.asked += m.server.Requests()[m.creates()] - asked
			m.conclude(p.name, requests, at, when, fatal)
			if !fatal {
				break
			}
			m.row.kills++
		}
	}
}

// watched has what a story does killed at a request, while people make tokens by hand and somebody reads the Secret.
func (m *matrix) watched(ctx context.Context, token v1alpha1.Token, at int, when moment, act func(), done func() bool) (requests []string, fatal bool) {
	m.t.Helper()
	stopHand := m.handiwork(ctx)
	killed := m.arm(at, when)
	act()
	requests, fatal = m.await(ctx, killed, m.answering(ctx, token, done))
	m.eventuallyDone(ctx, token, done)
	stopHand()
	return requests, fatal
}

// adopt: a token that expires soon is taken over, and so replaced at once; then the resource is deleted.
func (m *matrix) adopt(ctx context.Context, at int, when moment) (requests []string, fatal bool) {
	m.next++
	adopting := m.newToken(fmt.Sprintf("adopting-%d", m.next))
	name := adopting.GetName()
	adopting.SharedSpec().Rotation = atOnce()
	adopting.SharedSpec().Adopt = &v1alpha1.Adoption{SecretRef: v1alpha1.AdoptedSecretReference{Name: name}}
	byHand := m.makeByHandUntil(time.Now().Add(24 * time.Hour))
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: name},
		Data:       map[string][]byte{m.secret: []byte(byHand.Value.Reveal()), "UNRELATED": []byte("kept")},
	}
	m.create(ctx, secret)
	poller := m.pollSecret(ctx, adopting)
	requests, fatal = m.watched(ctx, adopting, at, when, func() { m.create(ctx, adopting) }, func() bool { return m.isRotated(ctx, adopting) })
	m.eventuallySees(poller)
	poller.stop()
	if m.server.Accepts(byHand.Value.Reveal()) {
		m.row.leaked++
		m.t.Errorf("%s: the token that was taken over is still accepted", name)
	}
	m.witness(ctx, adopting, false)
	m.delete(ctx, adopting)
	m.eventuallyDone(ctx, adopting, func() bool { return m.gone(ctx, adopting) })
	m.witness(ctx, adopting, true)
	if err := m.k8s.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil || string(secret.Data["UNRELATED"]) != "kept" || secret.Data[m.secret] != nil {
		m.t.Errorf("%s: of the Secret that was taken over something else is left than what was not the operator's (%v)", name, err)
	}
	m.delete(ctx, secret)
	return requests, fatal
}

func (m *matrix) makeByHandUntil(expires time.Time) codacytest.Token {
	if m.kind == v1alpha1.KindAccountToken {
		return m.server.CreateAccountToken(m.account, &expires)
	}
	return m.server.CreateRepositoryToken("gh", "acme", "api", fmt.Sprintf("adopted-%d", m.next), &expires)
}

// retain: a resource is deleted, and what was in its Secret is left behind.
func (m *matrix) retain(ctx context.Context, at int, when moment) (requests []string, fatal bool) {
	m.next++
	retained := m.newToken(fmt.Sprintf("retained-%d", m.next))
	name := retained.GetName()
	retained.SharedSpec().DeletionPolicy = v1alpha1.DeletionPolicyRetain
	m.create(ctx, retained)
	m.eventuallyDone(ctx, retained, func() bool { return m.ready(ctx, retained) })
	time.Sleep(quiet) // The Events of the mint must not be counted as those of the deletion.
	value := m.secretValue(ctx, retained)
	poller := m.pollSecret(ctx, retained)
	requests, fatal = m.watched(ctx, retained, at, when, func() { m.delete(ctx, retained) }, func() bool { return m.gone(ctx, retained) })
	m.eventuallySees(poller)
	poller.stop()
	m.witness(ctx, retained, true, value)
	var secret corev1.Secret
	if err := m.k8s.Get(ctx, client.ObjectKey{Namespace: m.namespace, Name: name}, &secret); err != nil {
		m.t.Fatal(err)
	}
	if string(secret.Data[m.secret]) != value || secret.Annotations[v1alpha1.OwnerAnnotation] != "" || len(secret.OwnerReferences) > 0 {
		m.t.Errorf("%s: the Secret was not left as it is, and to nobody", name)
	}
	var issuer v1alpha1.ClusterTokenIssuer
	if err := m.k8s.Get(ctx, client.ObjectKey{Name: m.namespace}, &issuer); err != nil {
		m.t.Fatal(err)
	}
	recorded := 0
	for _, entry := range issuer.Status.Retained {
		if strings.HasSuffix(entry.Owner, "/"+name) {
			recorded++
		}
	}
	if recorded != 1 {
		m.t.Errorf("%s: %d tokens are recorded as left behind, want 1", name, recorded)
	}
	m.delete(ctx, &secret)
	for _, living := range m.minted() {
		m.server.RevokeInWebUI(living.ID)
	}
	return requests, fatal
}

// root is an AccountToken that takes the issuer's credential over.
func (m *matrix) root() *v1alpha1.AccountToken {
	return &v1alpha1.AccountToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: testenv.Namespace, Name: m.namespace},
		Spec: v1alpha1.AccountTokenSpec{TokenSpec: v1alpha1.TokenSpec{
			IssuerRef: v1alpha1.IssuerReference{Name: m.namespace}, Rotation: atOnce(),
			Secret: &v1alpha1.SecretTarget{TokenKey: v1alpha1.DefaultCredentialsKey},
			Adopt:  &v1alpha1.Adoption{SecretRef: v1alpha1.AdoptedSecretReference{Name: m.namespace}},
		}},
	}
}

// newCredential has the issuer use a credential that somebody made by hand, and that expires soon.
func (m *matrix) newCredential(ctx context.Context) codacytest.Token {
	m.t.Helper()
	credential := m.makeByHandUntil(time.Now().Add(24 * time.Hour))
	key := client.ObjectKey{Namespace: testenv.Namespace, Name: m.namespace}
	m.eventually("the credentials Secret is written", func() bool { // Deleted with its resource, or still there.
		var secret corev1.Secret
		there := m.k8s.Get(ctx, key, &secret) == nil
		secret.Data = map[string][]byte{v1alpha1.DefaultCredentialsKey: []byte(credential.Value.Reveal())}
		if secret.Namespace, secret.Name = key.Namespace, key.Name; there {
			return secret.DeletionTimestamp.IsZero() && m.k8s.Update(ctx, &secret) == nil
		}
		return m.k8s.Create(ctx, &secret) == nil
	})
	m.eventually("the issuer uses the new credential", func() bool { return m.uses(ctx, credential.Value.SHA256()) })
	time.Sleep(quiet)
	return credential
}

func (m *matrix) uses(ctx context.Context, sha256 string) bool {
	var issuer v1alpha1.ClusterTokenIssuer
	return m.k8s.Get(ctx, client.ObjectKey{Name: m.namespace}, &issuer) == nil && issuer.Status.CredentialSHA256 == sha256 &&
		meta.IsStatusConditionTrue(issuer.Status.Conditions, v1alpha1.ConditionReady)
}

// rotateItself: the credential is taken over and replaced by another, with which the issuer goes on.
func (m *matrix) rotateItself(ctx context.Context, at int, when moment) (requests []string, fatal bool) {
	credential, root := m.newCredential(ctx), m.root()
	rotated := func() bool {
		return m.isRotated(ctx, root) && m.uses(ctx, token.SHA256([]byte(m.secretValue(ctx, root))))
	}
	poller := m.pollSecret(ctx, root)
	requests, fatal = m.watched(ctx, root, at, when, func() { m.create(ctx, root) }, rotated)
	m.eventuallySees(poller)
	poller.stop()
	if m.server.Accepts(credential.Value.Reveal()) {
		m.row.leaked++
		m.t.Errorf("%s: the credential that was replaced is still accepted", root.Name)
	}
	m.witness(ctx, root, false)
	m.deleteRoot(ctx, root)
	m.witness(ctx, root, true)
	m.newCredential(ctx)
	return requests, fatal
}

// revokeItself: the resource that has the credential is deleted.
func (m *matrix) revokeItself(ctx context.Context, at int, when moment) (requests []string, fatal bool) {
	m.newCredential(ctx)
	root := m.root()
	m.create(ctx, root)
	m.eventuallyDone(ctx, root, func() bool {
		return m.isRotated(ctx, root) && m.uses(ctx, token.SHA256([]byte(m.secretValue(ctx, root))))
	})
	time.Sleep(quiet)
	requests, fatal = m.watched(ctx, root, at, when, func() { m.delete(ctx, root) }, m.rootGone(ctx, root))
	m.witness(ctx, root, true)
	m.newCredential(ctx)
	return requests, fatal
}

func (m *matrix) deleteRoot(ctx context.Context, root *v1alpha1.AccountToken) {
	m.t.Helper()
	m.delete(ctx, root)
	m.eventually("the credential's resource is gone", m.rootGone(ctx, root))
}

// rootGone says whether a resource with the credential is gone. A process that is killed before it hears that the credential
// has revoked itself leaves a resource that waits for an hour, to be sure. Here a person sees that Codacy refuses the
// credential, and does not wait.
func (m *matrix) rootGone(ctx context.Context, root *v1alpha1.AccountToken) func() bool {
	return func() bool {
		current := root.DeepCopy()
		if m.k8s.Get(ctx, client.ObjectKeyFromObject(root), current) != nil {
			return m.gone(ctx, root)
		}
		var issuer v1alpha1.ClusterTokenIssuer
		if m.k8s.Get(ctx, client.ObjectKey{Name: m.namespace}, &issuer) != nil || current.DeletionTimestamp.IsZero() {
			return false
		}
		stalled := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionStalled)
		if stalled == nil || stalled.Reason != v1alpha1.ReasonCredentialsRefused || v1alpha1.Abandoned(current) {
			return false
		}
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"true"}}}`, v1alpha1.AbandonAnnotation)
		if err := m.k8s.Patch(ctx, current, client.RawPatch("application/merge-patch+json", patch)); client.IgnoreNotFound(err) != nil {
			m.t.Fatal(err)
		}
		return false
	}
}
