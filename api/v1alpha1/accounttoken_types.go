package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AccountTokenSpec is what a user asks of an AccountToken.
// +kubebuilder:validation:XValidation:rule="self.issuerRef == oldSelf.issuerRef",message="issuerRef is immutable: create another AccountToken for another issuer"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.account) || (has(self.account) && self.account == oldSelf.account)",message="account is immutable once it is set: create another AccountToken for another account"
// +kubebuilder:validation:XValidation:rule="self.?secret.name == oldSelf.?secret.name",message="secret.name is immutable: create another AccountToken for another Secret"
type AccountTokenSpec struct {
	TokenSpec `json:",inline"`

	// The account that the token speaks for. A built-in issuer must list it in spec.builtIn.accounts. Of Codacy it is the
	// account of the issuer's credential, and need not be set; if it is, as id, name or address, it must be that one.
	// Can be set later, and not changed then.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Account string `json:"account,omitempty"`
}

// AccountTokenStatus is what the operator tells of an AccountToken.
type AccountTokenStatus struct {
	TokenStatus `json:",inline"`

	// The account that the token speaks for.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Account string `json:"account,omitempty"`
}

// AccountToken is an API token with the rights of an account, kept in a Secret.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=atok,categories=tokensteward
// +kubebuilder:selectablefield:JSONPath=`.status.token.sha256`
// +kubebuilder:selectablefield:JSONPath=`.status.pending.sha256`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Account",type=string,JSONPath=`.status.account`
// +kubebuilder:printcolumn:name="Secret",type=string,JSONPath=`.status.secretRef.name`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.token.expirationTime`
// +kubebuilder:printcolumn:name="Renewal",type=string,JSONPath=`.status.renewalTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Issuer",type=string,priority=1,JSONPath=`.spec.issuerRef.name`
// +kubebuilder:printcolumn:name="Revision",type=integer,priority=1,JSONPath=`.status.token.revision`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type AccountToken struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// What is asked for.
	// +required
	Spec AccountTokenSpec `json:"spec"`

	// What is so. Only the operator writes it. Before it has, observedGeneration is -1, so that nobody takes the resource for settled.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status AccountTokenStatus `json:"status,omitzero"`
}

// AccountTokenList is a list of AccountTokens.
// +kubebuilder:object:root=true
type AccountTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []AccountToken `json:"items"`
}

// KindAccountToken is the kind of an AccountToken.
const KindAccountToken = "AccountToken"

// Kind implements Token.
func (t *AccountToken) Kind() string { return KindAccountToken }

// SharedSpec implements Token.
func (t *AccountToken) SharedSpec() *TokenSpec { return &t.Spec.TokenSpec }

// SharedStatus implements Token.
func (t *AccountToken) SharedStatus() *TokenStatus { return &t.Status.TokenStatus }

// Subject implements Token.
func (t *AccountToken) Subject() string { return t.Spec.Account }

// ReportSubject implements Token.
func (t *AccountToken) ReportSubject(issuerAccount string) {
	if t.Status.Account = t.Subject(); t.Status.Account == "" {
		t.Status.Account = issuerAccount
	}
}
