package v1alpha1

import (
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// Finalizer holds a token resource until its tokens are revoked, and an issuer until nothing uses it.
	Finalizer = "tokensteward.io/finalizer"
	// OwnerAnnotation, on a Secret, names the one resource that may write it:
	// <installation id>/<kind>/<namespace>/<name>/<uid>.
	OwnerAnnotation = "tokensteward.io/owner"
	// TokenIDAnnotation and RevisionAnnotation, on a Secret, tell a person which token it holds. Whoever may edit the
	// Secret may edit them too, so the operator takes no id from there.
	TokenIDAnnotation  = "tokensteward.io/token-id"
	RevisionAnnotation = "tokensteward.io/revision"
	// TemplatedAnnotation, on a Secret, lists the labels and annotations that came from spec.secret.template, and the keys of a
	// Secret that was taken over, so that they go when they leave the template.
	TemplatedAnnotation = "tokensteward.io/templated"
	// ManagedLabel, on a Secret, says what the operator has to do with it.
	ManagedLabel = "tokensteward.io/managed"
	// ManagedTokens and ManagedCredentials are its values on a Secret with a token, and on one with an issuer's credential,
	// of which only the metadata is touched. No other Secret is ever cached. ManagedRetained is that of a Secret that was left
	// with the token of a resource that is gone: it is nobody's, and its token is not revoked as an orphan.
	ManagedTokens      = "true"
	ManagedCredentials = "credentials"
	ManagedRetained    = "retained"
)

// Annotations that a user may set on a token resource. The operator compares them and never changes them.
const (
	// RotateRequestAnnotation, with any new value, has the token replaced now. The last one handled is in
	// status.lastRotateRequest.
	RotateRequestAnnotation = "tokensteward.io/rotate-requested-at"
	// ReconcileRequestAnnotation, with any new value, has what failed for a cause outside of the cluster tried again now.
	ReconcileRequestAnnotation = "tokensteward.io/reconcile-requested-at"
	// AbandonAnnotation, with the value "true", lets the deletion of a resource finish though a token of it could not be
	// revoked. That is still tried first.
	AbandonAnnotation = "tokensteward.io/abandon"
	// NotMineAnnotation lists, separated by commas, ids of tokens that AmbiguousToken named and that somebody else made.
	NotMineAnnotation = "tokensteward.io/not-mine"
	// CompromisedAnnotation is the revision of a token that is in wrong hands: it is replaced, and revoked as soon as the Secret
	// holds another, without a grace period and whoever holds it. docs/rotation.md, A token that has leaked.
	CompromisedAnnotation = "tokensteward.io/compromised-revision"
)

// RestartAnnotationPrefix, followed by the UID of a token resource, is the annotation on the pod template of a restart target
// that says for which revision it was restarted last.
const RestartAnnotationPrefix = "restart.tokensteward.io/"

// DefaultDuration is the life of a token whose spec.duration is not set.
const DefaultDuration = 90 * 24 * time.Hour

// DefaultGracePeriod is how long a replaced token stays valid at least, if spec.rotation.gracePeriod is not set.
const DefaultGracePeriod = 24 * time.Hour

// Token is what AccountToken and ProjectToken have in common; one engine reconciles both through it.
// +kubebuilder:object:generate=false
type Token interface {
	metav1.Object
	runtime.Object
	// Kind is the resource's kind, whatever its TypeMeta says (decoding into a typed object empties that).
	Kind() string
	// SharedSpec is the part of the spec that both kinds have.
	SharedSpec() *TokenSpec
	// SharedStatus is the part of the status that both kinds have.
	SharedStatus() *TokenStatus
	// Subject is whom or what the token speaks for: the account's name, or the project as provider/organization/repository.
	Subject() string
	// ReportSubject writes Subject into the status, for the column of kubectl get; for a token of whatever account the
	// issuer has, that account's name.
	ReportSubject(issuerAccount string)
}

// TokenRecord is what the status says of a token, or of an attempt to mint one, by which it is known at its service.
// +kubebuilder:object:generate=false
type TokenRecord struct {
	Revision                         int64
	ID, Name, SHA256, URL, AccountID string
	ExpirationTime                   *metav1.Time
}

// Record is the token as its service knows it.
func (t *IssuedToken) Record() TokenRecord {
	return TokenRecord{t.Revision, t.ID, t.Name, t.SHA256, t.URL, t.AccountID, t.ExpirationTime}
}

// Record is the token of the attempt as its service knows it.
func (t *PendingToken) Record() TokenRecord {
	return TokenRecord{t.Revision, t.ID, t.Name, t.SHA256, t.URL, t.AccountID, t.ExpirationTime}
}

// Record is the token as its service knows it.
func (t *PreviousToken) Record() TokenRecord {
	return TokenRecord{t.Revision, t.ID, t.Name, t.SHA256, t.URL, t.AccountID, t.ExpirationTime}
}

// Records are the tokens, and the attempts, that a status knows of: the current one first.
func (s *TokenStatus) Records() (records []TokenRecord) {
	if s.Token != nil {
		records = append(records, s.Token.Record())
	}
	if s.Pending != nil {
		records = append(records, s.Pending.Record())
	}
	for i := range s.PreviousTokens {
		records = append(records, s.PreviousTokens[i].Record())
	}
	return records
}

// SecretName is the name of the Secret that the token is written to.
func SecretName(t Token) string {
	if target := t.SharedSpec().Secret; target != nil && target.Name != "" {
		return target.Name
	}
	return t.GetName()
}

// IssuerName is the name of the issuer of a token. The namespace is empty for a ClusterTokenIssuer.
func IssuerName(t Token) types.NamespacedName {
	ref := t.SharedSpec().IssuerRef
	name := types.NamespacedName{Name: ref.Name}
	if ref.Kind == KindTokenIssuer {
		name.Namespace = t.GetNamespace()
	}
	return name
}

// TokenKey is the key of the token in its Secret, and with envFrom the name of the variable, for a token of Codacy or a built-in
// one.
func TokenKey(t Token, codacy bool) string {
	if target := t.SharedSpec().Secret; target != nil && target.TokenKey != "" {
		return target.TokenKey
	}
	key := "PROJECT_TOKEN"
	if t.Kind() == KindAccountToken {
		key = "API_TOKEN"
	}
	if codacy {
		key = "CODACY_" + key
	}
	return key
}

// TokenDuration is how long the next token of this resource lives.
func (s *TokenSpec) TokenDuration() time.Duration {
	if s.Duration == nil {
		return DefaultDuration
	}
	return s.Duration.Duration
}

// TokenRenewBefore is how long before its expiry a token of this resource is replaced.
func (s *TokenSpec) TokenRenewBefore() time.Duration {
	if s.RenewBefore == nil {
		return s.TokenDuration() / 3
	}
	return s.RenewBefore.Duration
}

// GracePeriod is how long a token of this resource stays valid at least after it was replaced.
func (s *TokenSpec) GracePeriod() time.Duration {
	if s.Rotation == nil || s.Rotation.GracePeriod == nil {
		return DefaultGracePeriod
	}
	return s.Rotation.GracePeriod.Duration
}

// WaitForConsumers is how much longer a replaced token is kept for who still holds it; ok is false if that is until it
// expires.
func (s *TokenSpec) WaitForConsumers() (wait time.Duration, ok bool) {
	if s.Rotation == nil || s.Rotation.WaitForConsumers == nil {
		return 0, false
	}
	return s.Rotation.WaitForConsumers.Duration, true
}

// Abandoned says whether the deletion of a token resource may finish though a token of it could not be revoked.
func Abandoned(t Token) bool { return t.GetAnnotations()[AbandonAnnotation] == "true" }

// CompromisedRevision is the revision of the token that is in wrong hands; 0: none. It is not ok if the annotation names no
// revision that there was.
func CompromisedRevision(t Token) (revision int64, ok bool) {
	said := t.GetAnnotations()[CompromisedAnnotation]
	if said == "" {
		return 0, true
	}
	revision, err := strconv.ParseInt(said, 10, 64)
	if err != nil || revision < 1 || revision > t.SharedStatus().LastRevision {
		return 0, false
	}
	return revision, true
}

// RotateRequest is the rotation that a user asked for and that is yet to be done; empty: none. Of a long annotation the
// beginning counts, which is what the status has room for.
func RotateRequest(t Token) string {
	const most = 253
	asked := t.GetAnnotations()[RotateRequestAnnotation]
	if len(asked) > most {
		asked = strings.ToValidUTF8(asked[:most], "")
	}
	if asked == t.SharedStatus().LastRotateRequest {
		return ""
	}
	return asked
}
