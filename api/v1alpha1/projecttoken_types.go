package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ProjectTokenSpec is what a user asks of a ProjectToken.
// +kubebuilder:validation:XValidation:rule="self.issuerRef == oldSelf.issuerRef",message="issuerRef is immutable: create another ProjectToken for another issuer"
// +kubebuilder:validation:XValidation:rule="self.project == oldSelf.project",message="project is immutable: create another ProjectToken for another project"
// +kubebuilder:validation:XValidation:rule="self.?secret.name == oldSelf.?secret.name",message="secret.name is immutable: create another ProjectToken for another Secret"
type ProjectTokenSpec struct {
	TokenSpec `json:",inline"`

	// The project (repository) that the token is for.
	// +required
	Project Project `json:"project"`
}

// Project names one repository at a Git provider.
type Project struct {
	// The Git provider: gh (GitHub), ghe (GitHub Enterprise), gl (GitLab), gle (GitLab Enterprise), bb (Bitbucket) or
	// bbe (Bitbucket Server).
	// +required
	// +kubebuilder:validation:MaxLength=3
	// +kubebuilder:validation:Enum=gh;ghe;gl;gle;bb;bbe
	Provider string `json:"provider"`

	// The organization, group or workspace at the provider.
	// +required
	Organization PathSegment `json:"organization"`

	// The repository.
	// +required
	Repository PathSegment `json:"repository"`
}

// PathSegment is a name that is safe as one segment of a URL's path.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._~-]+$`
// +kubebuilder:validation:XValidation:rule="self != '.' && self != '..'",message="can't be . or .."
type PathSegment string

// String is the project as provider/organization/repository.
func (p Project) String() string {
	return p.Provider + "/" + string(p.Organization) + "/" + string(p.Repository)
}

// ProjectTokenStatus is what the operator tells of a ProjectToken.
type ProjectTokenStatus struct {
	TokenStatus `json:",inline"`

	// The project that the token is for, as provider/organization/repository.
	// +optional
	// +kubebuilder:validation:MaxLength=511
	Project string `json:"project,omitempty"`
}

// ProjectToken is an API token for one project (repository), kept in a Secret.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ptok,categories=tokensteward
// +kubebuilder:selectablefield:JSONPath=`.status.token.sha256`
// +kubebuilder:selectablefield:JSONPath=`.status.pending.sha256`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Project",type=string,JSONPath=`.status.project`
// +kubebuilder:printcolumn:name="Secret",type=string,JSONPath=`.status.secretRef.name`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.token.expirationTime`
// +kubebuilder:printcolumn:name="Renewal",type=string,JSONPath=`.status.renewalTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Issuer",type=string,priority=1,JSONPath=`.spec.issuerRef.name`
// +kubebuilder:printcolumn:name="Revision",type=integer,priority=1,JSONPath=`.status.token.revision`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type ProjectToken struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// What is asked for.
	// +required
	Spec ProjectTokenSpec `json:"spec"`

	// What is so. Only the operator writes it. Before it has, observedGeneration is -1, so that nobody takes the resource for settled.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status ProjectTokenStatus `json:"status,omitzero"`
}

// ProjectTokenList is a list of ProjectTokens.
// +kubebuilder:object:root=true
type ProjectTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []ProjectToken `json:"items"`
}

// KindProjectToken is the kind of a ProjectToken.
const KindProjectToken = "ProjectToken"

// Kind implements Token.
func (t *ProjectToken) Kind() string { return KindProjectToken }

// SharedSpec implements Token.
func (t *ProjectToken) SharedSpec() *TokenSpec { return &t.Spec.TokenSpec }

// SharedStatus implements Token.
func (t *ProjectToken) SharedStatus() *TokenStatus { return &t.Status.TokenStatus }

// Subject implements Token.
func (t *ProjectToken) Subject() string { return t.Spec.Project.String() }

// ReportSubject implements Token.
func (t *ProjectToken) ReportSubject(string) { t.Status.Project = t.Subject() }
