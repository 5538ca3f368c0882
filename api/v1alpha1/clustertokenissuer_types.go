package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ClusterTokenIssuerSpec describes a service that hands out tokens, and who in the cluster may ask it for which.
// +kubebuilder:validation:XValidation:rule="has(self.codacy) != has(self.builtIn)",message="set exactly one of codacy and builtIn"
// +kubebuilder:validation:XValidation:rule="has(self.codacy) == has(oldSelf.codacy) && (!has(self.codacy) || self.codacy.url == oldSelf.codacy.url)",message="which service an issuer connects to is immutable: create another ClusterTokenIssuer for another one"
type ClusterTokenIssuerSpec struct {
	IssuerSpec `json:",inline"`

	// The authority that is built into the operator: it hands out tokens and checks them, with nothing outside the
	// cluster.
	// +optional
	BuiltIn *BuiltInIssuer `json:"builtIn,omitempty"`

	// Who may use this issuer, and for what. What no entry grants is refused; without an entry nobody gets anything.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Grants []Grant `json:"grants,omitempty"`
}

// BuiltInIssuer is the configuration of the built-in authority.
type BuiltInIssuer struct {
	// The accounts that may own tokens.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=1024
	Accounts []Account `json:"accounts,omitempty"`
}

// Account is somebody, or something, that may own tokens of a built-in issuer.
type Account struct {
	// The account's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`

	// What the account's tokens may reach: provider/organization for every repository of an organization, or
	// provider/organization/repository for one. A change is followed at once by every token of the account.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	Access []AccessPath `json:"access,omitempty"`
}

// AccessPath is provider/organization or provider/organization/repository; no segment is . or ..
// +kubebuilder:validation:MaxLength=511
// +kubebuilder:validation:Pattern=`^(gh|ghe|gl|gle|bb|bbe)(/([A-Za-z0-9_~-][A-Za-z0-9._~-]*|[.][A-Za-z0-9_~-][A-Za-z0-9._~-]*|[.][.][A-Za-z0-9._~-]+)){1,2}$`
type AccessPath string

// Grant allows namespaces to ask an issuer for tokens of some accounts and projects.
type Grant struct {
	// The namespaces, by name.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	Namespaces []NamespaceName `json:"namespaces,omitempty"`

	// The namespaces, by label: these as well as the ones in namespaces. {} is every namespace; absent is none.
	// +optional
	NamespaceSelector *NamespaceSelector `json:"namespaceSelector,omitempty"`

	// The accounts that AccountTokens may speak for; * stands for any number of characters. Absent: none.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Accounts []AccountPattern `json:"accounts,omitempty"`

	// The projects that ProjectTokens may be for, as provider/organization/repository; * stands for any number of
	// characters within a segment: gh/acme/*. Absent: none. Upper and lower case are the same for gh, gl and bb.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Projects []ProjectPattern `json:"projects,omitempty"`
}

// NamespaceName is the name of a namespace.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
type NamespaceName string

// AccountPattern is an account's name in which * stands for any number of characters.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
type AccountPattern string

// ProjectPattern is provider/organization/repository in which * stands for any number of characters within a segment.
// +kubebuilder:validation:MaxLength=511
// +kubebuilder:validation:Pattern=`^[a-z*]+/[A-Za-z0-9._~*-]+/[A-Za-z0-9._~*-]+$`
type ProjectPattern string

// NamespaceSelector selects namespaces by their labels. It is metav1.LabelSelector with bounds on its lists.
type NamespaceSelector struct {
	// Labels that a namespace must have, with these values.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`

	// Requirements that a namespace's labels must all meet.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	MatchExpressions []NamespaceSelectorRequirement `json:"matchExpressions,omitempty"`
}

// NamespaceSelectorRequirement is one requirement on a namespace's labels.
type NamespaceSelectorRequirement struct {
	// The label's key.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	Key string `json:"key"`

	// How the label's value relates to values.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	Operator metav1.LabelSelectorOperator `json:"operator"`

	// The values of In and NotIn.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Values []LabelValue `json:"values,omitempty"`
}

// LabelValue is the value of a label.
// +kubebuilder:validation:MaxLength=63
type LabelValue string

// ClusterTokenIssuer is a connection to a service that hands out tokens, for the namespaces that it grants them to.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=ctiss,categories=tokensteward
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Account",type=string,JSONPath=`.status.account.name`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.codacy.url`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type ClusterTokenIssuer struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// What is asked for.
	// +required
	Spec ClusterTokenIssuerSpec `json:"spec"`

	// What is so. Only the operator writes it. Before it has, observedGeneration is -1, so that nobody takes the resource for settled.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status IssuerStatus `json:"status,omitzero"`
}

// ClusterTokenIssuerList is a list of ClusterTokenIssuers.
// +kubebuilder:object:root=true
type ClusterTokenIssuerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []ClusterTokenIssuer `json:"items"`
}

// KindClusterTokenIssuer is the kind of a ClusterTokenIssuer.
const KindClusterTokenIssuer = "ClusterTokenIssuer"

// Kind implements Issuer.
func (i *ClusterTokenIssuer) Kind() string { return KindClusterTokenIssuer }

// SharedSpec implements Issuer.
func (i *ClusterTokenIssuer) SharedSpec() *IssuerSpec { return &i.Spec.IssuerSpec }

// SharedStatus implements Issuer.
func (i *ClusterTokenIssuer) SharedStatus() *IssuerStatus { return &i.Status }
