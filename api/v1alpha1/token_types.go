package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TokenSpec is the part of the spec that AccountToken and ProjectToken share.
// +kubebuilder:validation:XValidation:rule="!has(self.adopt) || (has(oldSelf.adopt) && self.adopt == oldSelf.adopt)",message="adopt can be set only when the resource is created"
// +kubebuilder:validation:XValidation:rule="!has(self.renewBefore) || !has(self.duration) || !self.renewBefore.matches('^([0-9]+(h|m|s))+$') || !self.duration.matches('^([0-9]+(h|m|s))+$') || duration(self.renewBefore) < duration(self.duration)",message="renewBefore must be shorter than duration"
type TokenSpec struct {
	// The issuer that hands out this token.
	// +optional
	// +kubebuilder:default={}
	IssuerRef IssuerReference `json:"issuerRef,omitempty"`

	// How long each token lives, from 1h to 8760h (a year), in Go's notation: 2160h is 90 days, and the default.
	// A change applies from the next token on.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+(h|m|s))+$')",message="write a duration in hours, minutes or seconds: 2160h, not 90d"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]+(h|m|s))+$') || (duration(self) >= duration('1h') && duration(self) <= duration('8760h'))",message="must be between 1h and 8760h (a year)"
	Duration *metav1.Duration `json:"duration,omitempty"`

	// How long before its expiry a token is replaced, from 1m, and shorter than duration. By default a third of duration.
	// A change applies from the next token on.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+(h|m|s))+$')",message="write a duration in hours, minutes or seconds: 720h, not 30d"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]+(h|m|s))+$') || (duration(self) >= duration('1m') && duration(self) <= duration('8760h'))",message="must be between 1m and 8760h (a year)"
	RenewBefore *metav1.Duration `json:"renewBefore,omitempty"`

	// What becomes of a token that was replaced.
	// +optional
	Rotation *Rotation `json:"rotation,omitempty"`

	// Workloads in the namespace of this resource to restart after a rotation, once every container that starts is given
	// the new token: half a minute after the Secret changed.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	RolloutRestartTargets []RolloutRestartTarget `json:"rolloutRestartTargets,omitempty"`

	// The Secret that the token is written to.
	// +optional
	Secret *SecretTarget `json:"secret,omitempty"`

	// A token that was made by hand, to be taken over as the first of this resource. It can be set only when the resource
	// is created; to leave it out later changes nothing.
	// +optional
	Adopt *Adoption `json:"adopt,omitempty"`

	// What becomes of the tokens when this resource is deleted. Revoke ends them, and deletes the Secret. Retain leaves what
	// was in the Secret at the service, and the Secret as it is; that is for tokens of Codacy alone.
	// +optional
	// +kubebuilder:validation:Enum=Revoke;Retain
	// +kubebuilder:validation:MaxLength=6
	// +kubebuilder:default=Revoke
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// Stops everything but the deletion of this resource: no token is minted, renewed or revoked, and the Secret is left
	// as it is. The token that is there goes on until it expires.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// Rotation says how long a replaced token stays valid.
type Rotation struct {
	// How long a replaced token stays valid at least after the Secret changed, though not past its own expiry, from 0s to
	// 8760h. By default 24h. A change applies from the next replacement on.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+(h|m|s))+$')",message="write a duration in hours, minutes or seconds: 48h, not 2d"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]+(h|m|s))+$') || duration(self) <= duration('8760h')",message="must be at most 8760h (a year)"
	GracePeriod *metav1.Duration `json:"gracePeriod,omitempty"`

	// How much longer a replaced token is kept while a container holds it that started before the Secret changed, from 0s,
	// which is not at all, to 8760h. By default until the token's own expiry.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+(h|m|s))+$')",message="write a duration in hours, minutes or seconds: 48h, not 2d"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]+(h|m|s))+$') || duration(self) <= duration('8760h')",message="must be at most 8760h (a year)"
	WaitForConsumers *metav1.Duration `json:"waitForConsumers,omitempty"`
}

// RolloutRestartTarget names a workload that is restarted after a rotation.
type RolloutRestartTarget struct {
	// The workload's kind.
	// +required
	// +kubebuilder:validation:Enum=Deployment;StatefulSet;DaemonSet
	// +kubebuilder:validation:MaxLength=11
	Kind string `json:"kind"`

	// The workload's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`
}

// Adoption names a token that was made by hand.
type Adoption struct {
	// The Secret with the token, which must be the one that this resource writes. Its other keys are kept.
	// +required
	SecretRef AdoptedSecretReference `json:"secretRef"`

	// The service's id of the token. It is needed only where the service shows no values in lists, and counts only with a
	// TokenIssuer.
	// +optional
	// +kubebuilder:validation:Pattern=`^[0-9]{1,19}$`
	// +kubebuilder:validation:MaxLength=19
	TokenID string `json:"tokenID,omitempty"`
}

// AdoptedSecretReference names the key of a Secret that holds a token.
type AdoptedSecretReference struct {
	// The Secret's name, in the namespace of this resource.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`

	// The key in it. By default, and if it is set necessarily, the key that this resource writes tokens to.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// DeletionPolicy says what becomes of the tokens of a deleted resource.
type DeletionPolicy string

// The deletion policies.
const (
	DeletionPolicyRevoke DeletionPolicy = "Revoke"
	DeletionPolicyRetain DeletionPolicy = "Retain"
)

// IssuerReference names the issuer of a token.
type IssuerReference struct {
	// The issuer's kind: a ClusterTokenIssuer, or a TokenIssuer in the namespace of this resource.
	// +optional
	// +kubebuilder:validation:Enum=ClusterTokenIssuer;TokenIssuer
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:default=ClusterTokenIssuer
	Kind string `json:"kind,omitempty"`

	// The issuer's name.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:default=default
	Name string `json:"name,omitempty"`
}

// SecretTarget says where a token is written.
type SecretTarget struct {
	// The Secret's name, in the namespace of this resource. By default, the name of this resource.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name,omitempty"`

	// The key that holds the token, and with envFrom the name of the environment variable.
	// By default API_TOKEN for an AccountToken and PROJECT_TOKEN for a ProjectToken, with CODACY_ before it for a token
	// of Codacy.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	// +kubebuilder:validation:XValidation:rule="self != '.' && !self.startsWith('..')",message="a Secret's key can't be . and can't begin with .."
	TokenKey string `json:"tokenKey,omitempty"`

	// More that the Secret should hold.
	// +optional
	Template *SecretTemplate `json:"template,omitempty"`
}

// SecretTemplate is what a Secret holds besides the token.
type SecretTemplate struct {
	// Labels and annotations of the Secret. The labels of this resource are not copied to it.
	// +optional
	Metadata *SecretMetadata `json:"metadata,omitempty"`

	// Keys of the Secret besides the token's own, which is always there, and their values as Go templates.
	// .Token, .TokenID, .Revision, .IssueTime, .ExpirationTime, .Account, .Provider, .Organization, .Repository and .URL
	// can be used, and the functions that docs/secrets.md lists. They replace the keys that a token of Codacy gets by default.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Data map[string]TemplateText `json:"data,omitempty"`
}

// TemplateText is a Go template.
// +kubebuilder:validation:MaxLength=8192
type TemplateText string

// SecretMetadata is metadata of a Secret.
type SecretMetadata struct {
	// Labels of the Secret.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// Annotations of the Secret.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`
}

// AnnotationValue is the value of an annotation.
// +kubebuilder:validation:MaxLength=4096
type AnnotationValue string

// MaxRevision is the highest revision that there can be: a rotation every second for thirty years does not come there.
const MaxRevision = 1_000_000_000

// TokenStatus is the part of the status that AccountToken and ProjectToken share. Only the operator may write it: for
// the built-in issuer it is the ledger that tokens are checked against (docs/architecture.md, The ledger).
// +kubebuilder:validation:XValidation:rule="!has(self.token) || !has(self.pending) || self.token.revision != self.pending.revision",message="token and pending have the same revision: only the operator may write a status"
// +kubebuilder:validation:XValidation:rule="!has(self.previousTokens) || self.previousTokens.all(p, (!has(self.token) || p.revision != self.token.revision) && (!has(self.pending) || p.revision != self.pending.revision))",message="a previous token has the revision of token or pending: only the operator may write a status"
type TokenStatus struct {
	// The generation of the spec that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// What is true of this token now: Ready, and while they apply Reconciling and Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// The uid of the resource that this status was written for. A status under another uid, as after a restore from a
	// backup, is not believed.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=36
	OwnerUID types.UID `json:"ownerUID,omitempty"`

	// The token that the Secret holds.
	// +optional
	Token *IssuedToken `json:"token,omitempty"`

	// When the token will be replaced. Chosen once for each token; sooner only if somebody asks for it.
	// +optional
	RenewalTime *metav1.Time `json:"renewalTime,omitempty"`

	// The Secret that holds the token.
	// +optional
	SecretRef *SecretReference `json:"secretRef,omitempty"`

	// An attempt to mint a token that is not finished.
	// +optional
	Pending *PendingToken `json:"pending,omitempty"`

	// The latest revision of which a mint was begun. No revision is used twice, also if nothing came of it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000
	LastRevision int64 `json:"lastRevision,omitempty"`

	// The annotation rotate-requested-at that was last complied with.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	LastRotateRequest string `json:"lastRotateRequest,omitempty"`

	// When the workloads of spec.rolloutRestartTargets are to be restarted, since the Secret changed. Absent once they were.
	// +optional
	RestartTime *metav1.Time `json:"restartTime,omitempty"`

	// When the token of spec.adopt was taken over.
	// +optional
	AdoptedTime *metav1.Time `json:"adoptedTime,omitempty"`

	// When the latest tokens were minted that were not due: the first one, and one for every time that the value in the Secret
	// was lost. Five at most; a sixth time marks a MintStorm. They are forgotten when the spec changes, or somebody asks for a
	// rotation.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=6
	Mints []metav1.Time `json:"mints,omitempty"`

	// Replaced tokens that are not revoked yet, the oldest first.
	// +optional
	// +listType=map
	// +listMapKey=revision
	// +kubebuilder:validation:MaxItems=32
	PreviousTokens []PreviousToken `json:"previousTokens,omitempty"`
}

// IssuedToken describes a token. The token itself is in the Secret alone.
type IssuedToken struct {
	// The service's id of the token.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ID string `json:"id,omitempty"`

	// Counts the tokens of this resource, from 1.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000
	Revision int64 `json:"revision"`

	// The SHA-256 of the token, in lowercase hexadecimal.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	SHA256 string `json:"sha256"`

	// When the token was minted.
	IssueTime metav1.Time `json:"issueTime"`

	// When the token expires. Absent if it does not, or the service does not tell.
	// +optional
	ExpirationTime *metav1.Time `json:"expirationTime,omitempty"`

	// The token's name at the service, where it has one.
	// +optional
	// +kubebuilder:validation:MaxLength=100
	Name string `json:"name,omitempty"`

	// The service that it is a token of, and whose account made it. Absent for a built-in token.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	URL string `json:"url,omitempty"`

	// The service's id of the account that made it.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	AccountID string `json:"accountID,omitempty"`
}

// PendingToken is the record of an attempt to mint a token. It is written before the service is asked, so that no
// token can exist which nobody remembers.
type PendingToken struct {
	// The revision that the token will have.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000
	Revision int64 `json:"revision"`

	// When the attempt began.
	StartTime metav1.Time `json:"startTime"`

	// The id of the token, where the operator chooses it, or where nothing else tells the token from others: then it is
	// written down as soon as the service has answered.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ID string `json:"id,omitempty"`

	// The SHA-256 of the token, where the id is known.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	SHA256 string `json:"sha256,omitempty"`

	// The expiry that was asked for.
	// +optional
	ExpirationTime *metav1.Time `json:"expirationTime,omitempty"`

	// The name that was asked for, where the service may know names.
	// +optional
	// +kubebuilder:validation:MaxLength=100
	Name string `json:"name,omitempty"`

	// The service that it is a token of, and whose account made it. Absent for a built-in token.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	URL string `json:"url,omitempty"`

	// The service's id of the account that made it.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	AccountID string `json:"accountID,omitempty"`

	// Neither name nor expiry may tell the token from others, so the ids of all tokens that there were before are in
	// listedIDs.
	// +optional
	Listed bool `json:"listed,omitempty"`

	// The ids of all tokens that there were before.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	ListedIDs []ServiceID `json:"listedIDs,omitempty"`

	// The ids that came up since, and one of which may be the token of this attempt.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	AmbiguousIDs []ServiceID `json:"ambiguousIDs,omitempty"`
}

// ServiceID is a service's id of a token.
// +kubebuilder:validation:MaxLength=64
type ServiceID string

// PreviousToken is a token, or an attempt to mint one, that another has replaced and that is not yet revoked.
type PreviousToken struct {
	// The service's id of the token.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ID string `json:"id,omitempty"`

	// The token's revision.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000
	Revision int64 `json:"revision"`

	// The SHA-256 of the token, in lowercase hexadecimal.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	SHA256 string `json:"sha256,omitempty"`

	// When the token expires.
	// +optional
	ExpirationTime *metav1.Time `json:"expirationTime,omitempty"`

	// When the Secret stopped to hold it. Absent if it was never seen in the Secret: an attempt that did not get so far.
	// +optional
	ReplacedTime *metav1.Time `json:"replacedTime,omitempty"`

	// When it will be revoked, unless a container still holds it. Absent for an attempt, which is revoked as soon as the
	// Secret holds a later revision.
	// +optional
	RevokeTime *metav1.Time `json:"revokeTime,omitempty"`

	// Pods, at most five of them, with a container that started before the Secret changed and still holds the token.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=5
	HeldBy []PodName `json:"heldBy,omitempty"`

	// When an attempt at a service was closed. If that had no token of it, it is asked once more an hour later.
	// +optional
	ClosedTime *metav1.Time `json:"closedTime,omitempty"`

	// The token's name at the service, where it has one.
	// +optional
	// +kubebuilder:validation:MaxLength=100
	Name string `json:"name,omitempty"`

	// The service that it is a token of, and whose account made it. Absent for a built-in token.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	URL string `json:"url,omitempty"`

	// The service's id of the account that made it.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	AccountID string `json:"accountID,omitempty"`
}

// PodName is the name of a pod.
// +kubebuilder:validation:MaxLength=253
type PodName string

// SecretReference names a Secret in the namespace of the resource.
type SecretReference struct {
	// The Secret's name.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}
