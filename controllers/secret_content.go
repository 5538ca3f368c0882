package controllers

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/secrettemplate"
	"github.com/tokensteward/tokensteward/internal/token"
)

// reservedPrefix of labels and annotations that only the operator sets.
const reservedPrefix = "tokensteward.io/"

// secretContent is a token as a Secret tells of it.
type secretContent struct {
	value    token.Value
	id       string
	revision int64
	issued   time.Time
	expires  time.Time
}

// placeholder stands in for a token where what is made with it may be shown.
var placeholder = secretContent{value: token.NewValue(strings.Repeat("x", 53)), id: "0", revision: 1}

// parseSecretTemplate parses and checks spec.secret.template: its error tells nothing of a token.
func (s *state) parseSecretTemplate() (*secrettemplate.Set, error) {
	template := secretTemplate(s.token)
	set, err := secrettemplate.Parse(template.Data, s.tokenKey)
	if err != nil {
		return nil, err
	}
	if err := set.Check(s.templateData(placeholder)); err != nil {
		return nil, err
	}
	labels, annotations := templatedMetadata(template)
	path := field.NewPath("spec", "secret", "template", "metadata")
	problems := append(metav1validation.ValidateLabels(labels, path.Child("labels")),
		validation.ValidateAnnotations(annotations, path.Child("annotations"))...)
	for _, keys := range []map[string]string{labels, annotations} {
		for key := range keys {
			if strings.HasPrefix(key, reservedPrefix) {
				problems = append(problems, field.Forbidden(path.Key(key), "only the operator sets what begins with "+reservedPrefix))
			}
		}
	}
	if len(problems) > 0 {
		return nil, problems[0]
	}
	return set, nil
}

func secretTemplate(t v1alpha1.Token) v1alpha1.SecretTemplate {
	if target := t.SharedSpec().Secret; target != nil && target.Template != nil {
		return *target.Template
	}
	return v1alpha1.SecretTemplate{}
}

func templatedMetadata(template v1alpha1.SecretTemplate) (labels, annotations map[string]string) {
	labels, annotations = map[string]string{}, map[string]string{}
	if template.Metadata != nil {
		for key, value := range template.Metadata.Labels {
			labels[key] = string(value)
		}
		for key, value := range template.Metadata.Annotations {
			annotations[key] = string(value)
		}
	}
	return labels, annotations
}

// never stands for the expiry of a token that has none: nothing in a Secret may be empty.
const never = "never"

func (s *state) templateData(content secretContent) secrettemplate.Data {
	data := secrettemplate.Data{
		Token: content.value.Reveal(), TokenID: content.id, Revision: content.revision,
		IssueTime: content.issued.UTC().Format(time.RFC3339), ExpirationTime: never, URL: s.url,
	}
	if !content.expires.IsZero() {
		data.ExpirationTime = content.expires.UTC().Format(time.RFC3339)
	}
	switch t := s.token.(type) {
	case *v1alpha1.AccountToken:
		if data.Account = t.Spec.Account; data.Account == "" {
			data.Account = s.account
		}
	case *v1alpha1.ProjectToken:
		data.Provider, data.Organization, data.Repository = t.Spec.Project.Provider, string(t.Spec.Project.Organization), string(t.Spec.Project.Repository)
	}
	return data
}

// defaultData are the keys beside the token's own that Codacy's tools read from their environment.
func (s *state) defaultData() map[string][]byte {
	data := map[string][]byte{}
	if s.url == "" {
		return data
	}
	if s.url != v1alpha1.CodacyCloud {
		data["CODACY_API_BASE_URL"] = []byte(s.url)
	}
	if t, ok := s.token.(*v1alpha1.ProjectToken); ok {
		data["CODACY_ORGANIZATION_PROVIDER"] = []byte(t.Spec.Project.Provider)
		data["CODACY_USERNAME"] = []byte(t.Spec.Project.Organization)
		data["CODACY_PROJECT_NAME"] = []byte(t.Spec.Project.Repository)
	}
	return data
}

// applyTo makes a Secret, new or found, into what the spec asks for. What others added to the metadata is kept.
func (s *state) applyTo(secret *corev1.Secret, content secretContent) error {
	keys, err := s.applyData(secret, content)
	if err != nil {
		return err
	}
	s.applyMetadata(secret, content, keys)
	s.applyOwner(secret)
	return nil
}

// applyData puts the token and the other keys into a Secret, and says which keys these are.
func (s *state) applyData(secret *corev1.Secret, content secretContent) (keys []string, err error) {
	rendered, err := s.templates.Render(s.templateData(content))
	if err != nil {
		return nil, fmt.Errorf("rendering the Secret: %w", err)
	}
	kept := map[string][]byte{}
	if s.hasAdopted() {
		maps.Copy(kept, s.theirs(secret)) // There is nothing to keep, and no map, if the Secret was deleted since.
	}
	if len(secretTemplate(s.token).Data) == 0 {
		rendered = s.defaultData()
		maps.DeleteFunc(rendered, func(key string, _ []byte) bool { return kept[key] != nil })
	}
	keys = append(slices.Sorted(maps.Keys(rendered)), s.tokenKey)
	rendered[s.tokenKey] = []byte(content.value.Reveal())
	maps.Copy(kept, rendered)
	secret.Data = kept
	if secret.Type == "" {
		secret.Type = corev1.SecretTypeOpaque
	}
	return keys, nil
}

// applyMetadata has the labels and annotations of a Secret follow the template, and say whose it is, and which token and keys of
// ours it holds.
func (s *state) applyMetadata(secret *corev1.Secret, content secretContent, keys []string) {
	for _, entry := range strings.Fields(secret.Annotations[v1alpha1.TemplatedAnnotation]) {
		switch of, key, _ := strings.Cut(entry, ":"); of {
		case "label":
			delete(secret.Labels, key)
		case "annotation":
			delete(secret.Annotations, key)
		}
	}
	labels, annotations := templatedMetadata(secretTemplate(s.token))
	delete(secret.Annotations, v1alpha1.TemplatedAnnotation)
	templated := listTemplated(labels, annotations)
	if s.hasAdopted() {
		for _, key := range keys {
			templated = append(templated, "key:"+key)
		}
	}
	if len(templated) > 0 {
		annotations[v1alpha1.TemplatedAnnotation] = strings.Join(templated, " ")
	}
	if secret.Labels[v1alpha1.ManagedLabel] != v1alpha1.ManagedCredentials {
		labels[v1alpha1.ManagedLabel] = v1alpha1.ManagedTokens
	}
	annotations[v1alpha1.OwnerAnnotation] = s.owner
	annotations[v1alpha1.TokenIDAnnotation] = content.id
	annotations[v1alpha1.RevisionAnnotation] = strconv.FormatInt(content.revision, 10)
	for key, value := range labels {
		metav1.SetMetaDataLabel(&secret.ObjectMeta, key, value)
	}
	for key, value := range annotations {
		metav1.SetMetaDataAnnotation(&secret.ObjectMeta, key, value)
	}
}

// applyOwner has a Secret go with the resource, unless it may outlive that.
func (s *state) applyOwner(secret *corev1.Secret) {
	if s.hasAdopted() || s.retains() {
		secret.OwnerReferences = s.othersReferences(secret)
		return
	}
	isController := true
	secret.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: s.token.Kind(), Name: s.token.GetName(), UID: s.token.GetUID(),
		Controller: &isController,
	}}
}

// theirs are the keys of a Secret that was taken over which are not this resource's.
func (s *state) theirs(secret *corev1.Secret) map[string][]byte {
	theirs := maps.Clone(secret.Data)
	delete(theirs, s.tokenKey)
	for _, entry := range strings.Fields(secret.Annotations[v1alpha1.TemplatedAnnotation]) {
		if key, ok := strings.CutPrefix(entry, "key:"); ok {
			delete(theirs, key)
		}
	}
	return theirs
}

// wouldOverwrite says whether a Secret that was taken over has something of somebody else's under the token's key, as when that
// was changed since.
func (s *state) wouldOverwrite() bool {
	return s.hasAdopted() && s.secret.Annotations[v1alpha1.OwnerAnnotation] == s.owner && s.secret.Data[s.tokenKey] != nil &&
		!slices.Contains(strings.Fields(s.secret.Annotations[v1alpha1.TemplatedAnnotation]), "key:"+s.tokenKey)
}

// othersReferences are the owners of a Secret beside this resource.
func (s *state) othersReferences(secret *corev1.Secret) []metav1.OwnerReference {
	return slices.DeleteFunc(slices.Clone(secret.OwnerReferences), func(o metav1.OwnerReference) bool { return o.UID == s.token.GetUID() })
}

func listTemplated(labels, annotations map[string]string) (entries []string) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		entries = append(entries, "label:"+key)
	}
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		entries = append(entries, "annotation:"+key)
	}
	return entries
}

// current is the token that status names, with the value from the Secret.
func (s *state) current(value token.Value) secretContent {
	current := s.token.SharedStatus().Token
	return secretContent{
		value: value, id: current.ID, revision: current.Revision,
		issued: current.IssueTime.Time, expires: timeOf(current.ExpirationTime),
	}
}

// outdated says whether the Secret, which holds the current token, is otherwise not what the spec asks for.
func (s *state) outdated(value token.Value) bool {
	current := s.token.SharedStatus().Token
	if s.specProblem != nil || current == nil || current.SHA256 != value.SHA256() || s.issuer == nil {
		return false // Without its issuer a resource does not know all that its Secret should say.
	}
	wanted := s.secret.DeepCopy()
	if err := s.applyTo(wanted, s.current(value)); err != nil {
		return false // A template that fails with this one value; minting will tell.
	}
	return !maps.EqualFunc(wanted.Data, s.secret.Data, bytes.Equal) ||
		!maps.Equal(wanted.Labels, s.secret.Labels) || !maps.Equal(wanted.Annotations, s.secret.Annotations) ||
		!slices.EqualFunc(wanted.OwnerReferences, s.secret.OwnerReferences, func(a, b metav1.OwnerReference) bool { return a.UID == b.UID })
}
