package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/internal/metrics"
	"github.com/tokensteward/tokensteward/internal/token"
)

// requestsLeft reads from the operator's metrics how many requests may be made now to which host.
func (p *plugin) requestsLeft(ctx context.Context, c client.Client, config *rest.Config) (map[string]int, error) {
	pods, err := p.operatorPods(ctx, c)
	if err != nil {
		return nil, err
	}
	bearer, err := p.metricsReader(ctx, c)
	if err != nil {
		return nil, err
	}
	left := map[string]int{}
	for i := range pods { // The one that leads tells of hosts; the others have none.
		if err := readRequestsLeft(ctx, config, &pods[i], bearer, left); err != nil {
			return nil, err
		}
	}
	return left, nil
}

// metricsReader is a short-lived token of a ServiceAccount that may read the metrics and nothing else: the operator is not shown
// the user's own.
func (p *plugin) metricsReader(ctx context.Context, c client.Client) (token.Value, error) {
	var accounts corev1.ServiceAccountList
	labels := client.MatchingLabels{"app.kubernetes.io/component": "metrics"}
	if err := c.List(ctx, &accounts, client.InNamespace(p.operatorNamespace), operatorLabels, labels); err != nil {
		return token.Value{}, err
	}
	if len(accounts.Items) == 0 {
		return token.Value{}, nil // The metrics are served to everybody, or not at all.
	}
	const lifetime = 10 * time.Minute // The shortest that there is.
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(lifetime.Seconds()))}}
	if err := c.SubResource("token").Create(ctx, &accounts.Items[0], request); err != nil { //nolint:forbidigo // A ServiceAccount has no status to write.
		return token.Value{}, fmt.Errorf("a token to read the metrics: %w", err)
	}
	return token.NewValue(request.Status.Token), nil
}

func readRequestsLeft(ctx context.Context, config *rest.Config, pod *corev1.Pod, bearer token.Value, left map[string]int) error {
	address, end, err := forward(ctx, config, pod, "metrics")
	if err != nil {
		return err
	}
	defer end()
	scheme := "https"
	if bearer.IsEmpty() {
		scheme = "http"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+"/metrics", http.NoBody)
	if err != nil {
		return err
	}
	if !bearer.IsEmpty() {
		request.Header.Set("Authorization", "Bearer "+bearer.Reveal())
	}
	c := &http.Client{Timeout: serviceTimeout, Transport: &http.Transport{
		// The certificate is made anew at each start; the API server has brought us to the pod.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // As above.
	}}
	response, err := c.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the metrics of the pod %s: the answer is %d", pod.Name, response.StatusCode)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return errors.New("the metrics can't be read")
	}
	for _, series := range families[metrics.RequestsLeft].GetMetric() {
		for _, label := range series.GetLabel() {
			if label.GetName() == "host" {
				left[label.GetValue()] = int(series.GetGauge().GetValue())
			}
		}
	}
	return nil
}
