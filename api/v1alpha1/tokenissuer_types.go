package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TokenIssuerSpec describes a service that hands out tokens to one namespace.
// +kubebuilder:validation:XValidation:rule="has(self.codacy)",message="codacy is required: a TokenIssuer is a connection to Codacy"
// +kubebuilder:validation:XValidation:rule="!has(self.codacy) || !has(oldSelf.codacy) || self.codacy.url == oldSelf.codacy.url",message="codacy.url is immutable: create another TokenIssuer for another instance"
type TokenIssuerSpec struct {
	IssuerSpec `json:",inline"`
}

// TokenIssuer is a connection to a service that hands out tokens, for the namespace that it is in.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=tiss,categories=tokensteward
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Account",type=string,JSONPath=`.status.account.name`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.codacy.url`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type TokenIssuer struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// What is asked for.
	// +required
	Spec TokenIssuerSpec `json:"spec"`

	// What is so. Only the operator writes it. Before it has, observedGeneration is -1, so that nobody takes the resource for settled.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status IssuerStatus `json:"status,omitzero"`
}

// TokenIssuerList is a list of TokenIssuers.
// +kubebuilder:object:root=true
type TokenIssuerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []TokenIssuer `json:"items"`
}

// KindTokenIssuer is the kind of a TokenIssuer.
const KindTokenIssuer = "TokenIssuer"

// Kind implements Issuer.
func (i *TokenIssuer) Kind() string { return KindTokenIssuer }

// SharedSpec implements Issuer.
func (i *TokenIssuer) SharedSpec() *IssuerSpec { return &i.Spec.IssuerSpec }

// SharedStatus implements Issuer.
func (i *TokenIssuer) SharedStatus() *IssuerStatus { return &i.Status }
