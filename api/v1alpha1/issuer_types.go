package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// CodacyCloud is the URL of Codacy Cloud.
const CodacyCloud = "https://app.codacy.com"

// DefaultCredentialsKey is the key of the credential in an issuer's credentials Secret.
const DefaultCredentialsKey = "CODACY_API_TOKEN" //nolint:gosec // The name of a key.

// DefaultCheckInterval is how often tokens are looked up at the service.
const DefaultCheckInterval = time.Hour

// CredentialsFinalizer holds the credentials Secret of an issuer in a namespace that is being deleted, until the tokens
// that it is needed for are revoked.
const CredentialsFinalizer = "tokensteward.io/credentials"

// Issuer is what TokenIssuer and ClusterTokenIssuer have in common; one controller reconciles both through it.
// +kubebuilder:object:generate=false
type Issuer interface {
	metav1.Object
	runtime.Object
	// Kind is the resource's kind, whatever its TypeMeta says.
	Kind() string
	// SharedSpec is the part of the spec that both kinds have.
	SharedSpec() *IssuerSpec
	// SharedStatus is the status.
	SharedStatus() *IssuerStatus
}

// IssuerSpec is the part of the spec that TokenIssuer and ClusterTokenIssuer share.
type IssuerSpec struct {
	// Codacy Cloud, or an instance of Codacy Self-hosted.
	// +optional
	Codacy *CodacyIssuer `json:"codacy,omitempty"`

	// How often tokens are looked up at the service, to notice one that was revoked there: at least 1m, or 0s for never.
	// 1h by default. The built-in authority has no use for it.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+(h|m|s))+$')",message="write a duration in hours, minutes or seconds: 90m"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^([0-9]+(h|m|s))+$') || duration(self) == duration('0s') || (duration(self) >= duration('1m') && duration(self) <= duration('8760h'))",message="must be 0s, or between 1m and 8760h"
	CheckInterval *metav1.Duration `json:"checkInterval,omitempty"`

	// What becomes of tokens at the service that carry a name of this installation and that the status of no resource
	// records, once the operator has seen them for an hour: Report counts them in a metric. Revoke revokes them, too.
	// +optional
	// +kubebuilder:validation:Enum=Report;Revoke
	// +kubebuilder:validation:MaxLength=6
	// +kubebuilder:default=Report
	OrphanPolicy OrphanPolicy `json:"orphanPolicy,omitempty"`
}

// OrphanPolicy says what becomes of tokens that belong to no resource any more.
type OrphanPolicy string

// The orphan policies.
const (
	OrphanPolicyReport OrphanPolicy = "Report"
	OrphanPolicyRevoke OrphanPolicy = "Revoke"
)

// CodacyIssuer is a connection to Codacy.
type CodacyIssuer struct {
	// Where Codacy is: https://app.codacy.com, which is the default, or an instance of Codacy Self-hosted. The path
	// /api/v3 is appended. Immutable.
	// +optional
	// +kubebuilder:default="https://app.codacy.com"
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*$`
	URL string `json:"url,omitempty"`

	// The Secret with an account API token of Codacy: of a TokenIssuer in its own namespace, of a ClusterTokenIssuer in
	// the operator's.
	// +required
	CredentialsSecretRef SecretKeyReference `json:"credentialsSecretRef"`

	// Certificates, as PEM, to trust besides the system's: for an instance with a private CA.
	// +optional
	// +kubebuilder:validation:MaxLength=262144
	CABundle []byte `json:"caBundle,omitempty"`
}

// SecretKeyReference names a key of a Secret.
type SecretKeyReference struct {
	// The Secret's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`

	// The key in it.
	// +optional
	// +kubebuilder:default=CODACY_API_TOKEN
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// IssuerStatus is what the operator tells of an issuer. Nothing in it changes with each token.
type IssuerStatus struct {
	// The generation of the spec that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// What is true of this issuer now.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Whose the credential is.
	// +optional
	Account *IssuerAccount `json:"account,omitempty"`

	// The SHA-256 of the credential that was found in order, in lowercase hexadecimal.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	CredentialSHA256 string `json:"credentialSHA256,omitempty"`

	// When the credential expires, where the service tells.
	// +optional
	CredentialExpirationTime *metav1.Time `json:"credentialExpirationTime,omitempty"`

	// A credential that the service refused when it was tried last. Absent while it is accepted.
	// +optional
	CredentialRefusal *CredentialRefusal `json:"credentialRefusal,omitempty"`

	// What the service was seen to do.
	// +optional
	Capabilities *Capabilities `json:"capabilities,omitempty"`

	// Tokens that were left at the service on purpose when their resource was deleted, until they expire.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	Retained []RetainedToken `json:"retained,omitempty"`

	// The credentials Secrets, now and formerly, that carry the operator's finalizer.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	CredentialsSecretNames []CredentialsSecretName `json:"credentialsSecretNames,omitempty"`
}

// CredentialRefusal tells of a credential that the service does not accept.
type CredentialRefusal struct {
	// The SHA-256 of the credential, in lowercase hexadecimal.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	SHA256 string `json:"sha256"`

	// When it was refused first.
	FirstTime metav1.Time `json:"firstTime"`

	// When it was refused last.
	LastTime metav1.Time `json:"lastTime"`
}

// RetainedToken is a token, or an attempt to mint one, that was left at the service on purpose.
type RetainedToken struct {
	// The resource that had it, as kind/namespace/name.
	// +kubebuilder:validation:MaxLength=530
	Owner string `json:"owner"`

	// The service's id of the token. Absent for an attempt of which it was not known whether it made a token.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ID string `json:"id,omitempty"`

	// The token's name at the service, where it has one.
	// +optional
	// +kubebuilder:validation:MaxLength=100
	Name string `json:"name,omitempty"`

	// The SHA-256 of the token, in lowercase hexadecimal, where it is known. Who has the value may have it taken over again.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	SHA256 string `json:"sha256,omitempty"`

	// When the token expires. Absent if it does not, or the service does not tell.
	// +optional
	ExpirationTime *metav1.Time `json:"expirationTime,omitempty"`

	// When it was left behind.
	RetainedTime metav1.Time `json:"retainedTime"`
}

// CredentialsSecretName is the name of a Secret.
// +kubebuilder:validation:MaxLength=253
type CredentialsSecretName string

// IssuerAccount is the account at the service that a credential belongs to.
type IssuerAccount struct {
	// The service's id of the account.
	// +kubebuilder:validation:MaxLength=64
	ID string `json:"id"`

	// The account's name.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// The account's address for mail.
	// +optional
	// +kubebuilder:validation:MaxLength=320
	Email string `json:"email,omitempty"`
}

// Capabilities are what a service was seen to do with each kind of token. It decides how an attempt whose answer was lost
// is found again (docs/codacy.md, How a token is found again).
type Capabilities struct {
	// Of account tokens.
	// +optional
	AccountTokens TokenCapabilities `json:"accountTokens,omitzero"`

	// Of project tokens.
	// +optional
	ProjectTokens TokenCapabilities `json:"projectTokens,omitzero"`
}

// TokenCapabilities are what a service was seen to do with one kind of token. What is absent was not seen yet.
type TokenCapabilities struct {
	// A token got the name that was asked for.
	// +optional
	Names *bool `json:"names,omitempty"`

	// The answer had exactly the expiry that was asked for.
	// +optional
	EchoedExpiration *bool `json:"echoedExpiration,omitempty"`

	// Lists show the values of tokens.
	// +optional
	ListedValues *bool `json:"listedValues,omitempty"`
}

// Interval is how often tokens are looked up at the service; 0: never.
func (s *IssuerSpec) Interval() time.Duration {
	if s.CheckInterval == nil {
		return DefaultCheckInterval
	}
	return s.CheckInterval.Duration
}

// CredentialsKey names the credentials Secret of this name of an issuer: a ClusterTokenIssuer has its own in the operator's
// namespace.
func CredentialsKey(i Issuer, operatorNamespace, name string) types.NamespacedName {
	if i.Kind() == KindTokenIssuer {
		return types.NamespacedName{Namespace: i.GetNamespace(), Name: name}
	}
	return types.NamespacedName{Namespace: operatorNamespace, Name: name}
}
