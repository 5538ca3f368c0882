// Package v1alpha1 holds the resources of Tokensteward: the issuers that connect to a service which hands out API
// tokens, and the tokens that a team asks for. docs/ has a page per kind.
//
// +kubebuilder:object:generate=true
// +groupName=tokensteward.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "tokensteward.io", Version: "v1alpha1"}

var schemeBuilder = runtime.NewSchemeBuilder(func(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&AccountToken{}, &AccountTokenList{},
		&ProjectToken{}, &ProjectTokenList{},
		&ClusterTokenIssuer{}, &ClusterTokenIssuerList{},
		&TokenIssuer{}, &TokenIssuerList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
})

// AddToScheme makes the kinds of this package known to a scheme.
var AddToScheme = schemeBuilder.AddToScheme
