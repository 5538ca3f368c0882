package manager

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/wait"
	yamlstream "k8s.io/apimachinery/pkg/util/yaml"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// defaultIssuerOwner owns, in the API server's book of fields, what the file of --default-issuer says.
const defaultIssuerOwner = "tokensteward-default-issuer"

// defaultIssuerPatience is how often an API server is asked that does not answer, or does not know ClusterTokenIssuers yet:
// eleven times, in three quarters of a minute.
var defaultIssuerPatience = wait.Backoff{Duration: 500 * time.Millisecond, Factor: 1.45, Jitter: 0.1, Steps: 11}

// defaultIssuerTimeout ends it also if an answer never comes.
const defaultIssuerTimeout = time.Minute

// applyDefaultIssuer brings the ClusterTokenIssuer in a file into the cluster, and takes over one of its name. It is never
// deleted: docs/adr/0017-the-default-issuer-is-applied-by-the-operator.md.
func applyDefaultIssuer(ctx context.Context, c client.Client, file string, patience wait.Backoff) error {
	content, err := os.ReadFile(file) //nolint:gosec // The file that a flag names.
	if err != nil {
		return fmt.Errorf("--default-issuer: %w", err)
	}
	issuer, err := parseDefaultIssuer(content)
	if err != nil {
		return fmt.Errorf("--default-issuer: %s: %w", file, err)
	}
	ctx, cancel := context.WithTimeout(ctx, defaultIssuerTimeout)
	defer cancel()
	var last error
	err = wait.ExponentialBackoffWithContext(ctx, patience, func(ctx context.Context) (done bool, err error) {
		last = c.Apply(ctx, client.ApplyConfigurationFromUnstructured(issuer.DeepCopy()), client.FieldOwner(defaultIssuerOwner), client.ForceOwnership)
		if last == nil || !passes(last) {
			return true, nil
		}
		ctrl.LoggerFrom(ctx).Info("The default issuer could not be applied; trying again", "cause", last.Error())
		return false, nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("--default-issuer: %s: the ClusterTokenIssuer %q could not be applied in time; does the API server answer, and are Tokensteward's CRDs installed? %w",
			file, issuer.GetName(), cmp.Or(last, err))
	case apierrors.IsForbidden(last):
		return fmt.Errorf("--default-issuer: %s: the ClusterTokenIssuer %q can't be applied: let the operator's service account create and patch clustertokenissuers, "+
			"or change what else refuses it: %w", file, issuer.GetName(), last)
	case last != nil:
		return fmt.Errorf("--default-issuer: %s: the API server refuses the ClusterTokenIssuer %q; correct it in the file: %w", file, issuer.GetName(), last)
	}
	return nil
}

// passes says whether a failure may pass by itself: there was no answer, or it was not about what was asked. A kind that is
// not found may come with the next step of an installation, and two replicas may be in each other's way.
func passes(err error) bool {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		return true
	}
	switch code := answer.Status().Code; code {
	case http.StatusNotFound, http.StatusConflict, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	default:
		return code >= http.StatusInternalServerError
	}
}

// parseDefaultIssuer reads one ClusterTokenIssuer, and nothing beside it. What it hands back is as written: with the
// defaults of Go's types in it, the operator would own fields that nobody set.
func parseDefaultIssuer(content []byte) (*unstructured.Unstructured, error) {
	document, err := onlyDocument(content)
	if err != nil {
		return nil, err
	}
	written := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(document, &written.Object); err != nil {
		return nil, fmt.Errorf("it must hold one ClusterTokenIssuer: %w", err)
	}
	if version, kind := v1alpha1.GroupVersion.String(), v1alpha1.KindClusterTokenIssuer; written.GetAPIVersion() != version || written.GetKind() != kind {
		return nil, fmt.Errorf("its apiVersion is %q and its kind %q: they must be %q and %q", written.GetAPIVersion(), written.GetKind(), version, kind)
	}
	decoder := serializer.NewCodecFactory(Scheme(), serializer.EnableStrict).UniversalDeserializer()
	if _, _, err := decoder.Decode(document, nil, nil); err != nil {
		return nil, fmt.Errorf("correct it: %w", err)
	}
	if written.GetName() == "" {
		return nil, errors.New("metadata.name is missing: name it default, for tokens without an issuerRef to use it")
	}
	metadata, _, err := unstructured.NestedMap(written.Object, "metadata")
	if err != nil {
		return nil, err
	}
	for field := range metadata {
		if !slices.Contains([]string{"name", "labels", "annotations"}, field) {
			return nil, fmt.Errorf("metadata.%s can't be set: leave name, labels and annotations there, and nothing else", field)
		}
	}
	if _, ok := written.Object["status"]; ok {
		return nil, errors.New("the status is the operator's to write: leave it out")
	}
	return written, nil
}

// onlyDocument is the one that a YAML file holds, comments aside.
func onlyDocument(content []byte) ([]byte, error) {
	reader := yamlstream.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	var documents [][]byte
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		var parsed any
		if err := yaml.Unmarshal(document, &parsed); err != nil {
			return nil, fmt.Errorf("it is not YAML: %w", err)
		}
		if parsed != nil {
			documents = append(documents, document)
		}
	}
	if len(documents) != 1 {
		return nil, fmt.Errorf("it holds %d documents: put one ClusterTokenIssuer there, and nothing else", len(documents))
	}
	return documents[0], nil
}
