package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
)

// RequestsLeft is the metric that the kubectl plugin reads.
const RequestsLeft = "tokensteward_service_requests_left"

var (
	tokenLabels = append([]string{"kind", "namespace", "name"}, issuerLabels...)

	tokenReady      = prometheus.NewDesc("tokensteward_token_ready", "1 if the Secret holds a valid token, else 0.", tokenLabels, nil)
	tokenStalled    = prometheus.NewDesc("tokensteward_token_stalled", "1 while nothing gets better before a person acts, with the reason of the condition Stalled (docs/tokens.md#conditions).", append(tokenLabels[:len(tokenLabels):len(tokenLabels)], "reason"), nil)
	tokenExpiration = prometheus.NewDesc("tokensteward_token_expiration_timestamp_seconds", "When the token in the Secret expires. Absent if it does not, or the service does not tell.", tokenLabels, nil)
	tokenRenewal    = prometheus.NewDesc("tokensteward_token_renewal_timestamp_seconds", "When the token in the Secret is due to be replaced.", tokenLabels, nil)
	tokenHeld       = prometheus.NewDesc("tokensteward_token_held_since_timestamp_seconds", "Since when, past its grace period, a replaced token is kept for pods that hold it (docs/rotation.md#who-still-holds-the-previous-token); the oldest one counts. Absent if none is.", tokenLabels, nil)

	issuerReady      = prometheus.NewDesc("tokensteward_issuer_ready", "1 if tokens can be asked for, else 0.", issuerLabels, nil)
	issuerCredential = prometheus.NewDesc("tokensteward_issuer_credential_expiration_timestamp_seconds", "When the issuer's credential expires. Absent if it does not, or the service did not tell.", issuerLabels, nil)
	issuerAvailable  = prometheus.NewDesc("tokensteward_issuer_service_available", "0 while the issuer's service is left alone because it did not answer (docs/codacy.md#limits), else 1.", issuerLabels, nil)
	issuerRetained   = prometheus.NewDesc("tokensteward_issuer_retained_tokens", "Tokens in the issuer's status.retained, which were left at its service on purpose (docs/tokens.md#deletion).", issuerLabels, nil)

	serviceBudget = prometheus.NewDesc(RequestsLeft, "How many requests may be made at once now to a host with a limit, of its burst in --service-rate-limits (docs/codacy.md#limits).", []string{"host"}, nil)
)

// Source is what the collector reads when it is scraped.
type Source interface {
	// Issuers and Tokens are those that are looked after.
	Issuers(context.Context) ([]v1alpha1.Issuer, error)
	Tokens(context.Context) ([]v1alpha1.Token, error)
	// Available says whether an issuer's service answers; not ok if there is no connection.
	Available(v1alpha1.Issuer) (available, ok bool)
	// RequestsLeft says by host how many requests may be made now.
	RequestsLeft() map[string]float64
}

// Collector makes the metrics of resources from the operator's cache at each scrape, so that they go with their resources.
// It is silent before Leads is closed: of several replicas one tells. docs/metrics.md.
type Collector struct {
	Source Source
	// Leads is closed once this process leads.
	Leads <-chan struct{}
}

var _ prometheus.Collector = (*Collector)(nil)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		tokenReady, tokenStalled, tokenExpiration, tokenRenewal, tokenHeld,
		issuerReady, issuerCredential, issuerAvailable, issuerRetained, serviceBudget,
	} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(into chan<- prometheus.Metric) {
	select {
	case <-c.Leads:
	default:
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	issuers, err := c.Source.Issuers(ctx)
	if err != nil {
		into <- prometheus.NewInvalidMetric(issuerReady, err)
	}
	for _, i := range issuers {
		c.collectIssuer(into, i)
	}
	tokens, err := c.Source.Tokens(ctx)
	if err != nil {
		into <- prometheus.NewInvalidMetric(tokenReady, err)
	}
	for _, t := range tokens {
		collectToken(into, t)
	}
	for host, left := range c.Source.RequestsLeft() {
		into <- prometheus.MustNewConstMetric(serviceBudget, prometheus.GaugeValue, left, host)
	}
}

func (c *Collector) collectIssuer(into chan<- prometheus.Metric, i v1alpha1.Issuer) {
	labels, status := []string{i.Kind(), i.GetNamespace(), i.GetName()}, i.SharedStatus()
	gauge := func(d *prometheus.Desc, value float64) {
		into <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(issuerReady, number(meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady)))
	if i.SharedSpec().Codacy == nil {
		return
	}
	gauge(issuerRetained, float64(len(status.Retained)))
	if at := status.CredentialExpirationTime; at != nil {
		gauge(issuerCredential, seconds(at.Time))
	}
	if available, ok := c.Source.Available(i); ok {
		gauge(issuerAvailable, number(available))
	}
}

func collectToken(into chan<- prometheus.Metric, t v1alpha1.Token) {
	issuer, status := v1alpha1.IssuerName(t), t.SharedStatus()
	labels := []string{t.Kind(), t.GetNamespace(), t.GetName(), t.SharedSpec().IssuerRef.Kind, issuer.Namespace, issuer.Name}
	gauge := func(d *prometheus.Desc, value float64, more ...string) {
		into <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append(labels[:len(labels):len(labels)], more...)...)
	}
	gauge(tokenReady, number(meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReady)))
	if stalled := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionStalled); stalled != nil {
		gauge(tokenStalled, 1, stalled.Reason)
	}
	if status.Token != nil && status.Token.ExpirationTime != nil {
		gauge(tokenExpiration, seconds(status.Token.ExpirationTime.Time))
	}
	if at := status.RenewalTime; at != nil {
		gauge(tokenRenewal, seconds(at.Time))
	}
	var since time.Time
	for i := range status.PreviousTokens {
		previous := &status.PreviousTokens[i]
		if len(previous.HeldBy) > 0 && previous.RevokeTime != nil && (since.IsZero() || previous.RevokeTime.Time.Before(since)) {
			since = previous.RevokeTime.Time
		}
	}
	if !since.IsZero() {
		gauge(tokenHeld, seconds(since))
	}
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func seconds(at time.Time) float64 { return float64(at.Unix()) }
