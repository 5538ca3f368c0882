// Package leakcheck looks for token values where none may be: a test collects every value that was ever in a Secret of
// the operator, and in the end searches for each of them.
package leakcheck

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// Values are the token values that were seen, each with a name that may be printed.
type Values struct {
	mu     sync.Mutex
	values map[string]string
}

// Add remembers a value under a name.
func (v *Values) Add(name, value string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.values == nil {
		v.values = map[string]string{}
	}
	if value != "" {
		v.values[value] = name
	}
}

// shortestToken is the length of the shortest token of any service.
const shortestToken = 20

// Collect remembers what is written into the operator's Secrets from now until the context ends.
func Collect(ctx context.Context, config *rest.Config) (*Values, error) {
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	secrets, err := clients.CoreV1().Secrets("").Watch(ctx, metav1.ListOptions{LabelSelector: v1alpha1.ManagedLabel + "=true"})
	if err != nil {
		return nil, fmt.Errorf("watching Secrets: %w", err)
	}
	values := &Values{}
	go func() {
		for event := range secrets.ResultChan() {
			if secret, ok := event.Object.(*corev1.Secret); ok && event.Type != watch.Deleted {
				for key, value := range secret.Data {
					if len(value) < shortestToken || strings.HasPrefix(string(value), "https://") {
						continue // What a template or a test put there, or the service's URL.
					}
					values.Add(fmt.Sprintf("%s/%s %s", secret.Namespace, secret.Name, key), string(value))
				}
			}
		}
	}()
	return values, nil
}

// Cluster is what the API server shows of everything that the operator writes, but for Secrets.
func Cluster(ctx context.Context, reader client.Reader) (map[string]string, error) {
	places := map[string]string{}
	for name, list := range map[string]client.ObjectList{
		"AccountTokens": &v1alpha1.AccountTokenList{}, "ProjectTokens": &v1alpha1.ProjectTokenList{},
		"ClusterTokenIssuers": &v1alpha1.ClusterTokenIssuerList{}, "TokenIssuers": &v1alpha1.TokenIssuerList{}, "ConfigMaps": &corev1.ConfigMapList{},
		"Events": &eventsv1.EventList{},
	} {
		if err := reader.List(ctx, list); err != nil {
			return nil, fmt.Errorf("listing %s: %w", name, err)
		}
		text, err := json.Marshal(list)
		if err != nil {
			return nil, err
		}
		places[name] = string(text)
	}
	return places, nil
}

// Check searches the places for every value, as it is and in base64. Its error names Secret and place, not the value.
// To have found no value at all is an error too: then nothing was checked.
func (v *Values) Check(places map[string]string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.values) == 0 {
		return errors.New("leakcheck: no token value was ever seen, so nothing was checked")
	}
	var leaks []error
	for value, name := range v.values {
		for place, text := range places {
			if strings.Contains(text, value) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(value))) {
				leaks = append(leaks, fmt.Errorf("leakcheck: the value of %s is in %s", name, place))
			}
		}
	}
	return errors.Join(leaks...)
}
