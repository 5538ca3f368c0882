package metrics_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/metrics"
)

// resources is a Source with what a test has.
type resources struct {
	issuers   []v1alpha1.Issuer
	tokens    []v1alpha1.Token
	available map[string]bool
}

func (r *resources) Issuers(context.Context) ([]v1alpha1.Issuer, error) { return r.issuers, nil }
func (r *resources) Tokens(context.Context) ([]v1alpha1.Token, error)   { return r.tokens, nil }
func (r *resources) RequestsLeft() map[string]float64 {
	return map[string]float64{"app.codacy.com": 12.5}
}

func (r *resources) Available(i v1alpha1.Issuer) (available, ok bool) {
	available, ok = r.available[i.GetName()]
	return available, ok
}

func condition(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason}
}

func at(unix int64) *metav1.Time {
	t := metav1.NewTime(time.Unix(unix, 0))
	return &t
}

func populated() *resources {
	codacy := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "robot"}}
	codacy.Spec.Codacy = &v1alpha1.CodacyIssuer{}
	codacy.Status = v1alpha1.IssuerStatus{
		Conditions:               []metav1.Condition{condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAvailable)},
		CredentialExpirationTime: at(3000), Retained: []v1alpha1.RetainedToken{{}, {}},
	}
	builtIn := &v1alpha1.ClusterTokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "default"}}

	healthy := &v1alpha1.ProjectToken{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "website"}}
	healthy.Spec.IssuerRef = v1alpha1.IssuerReference{Kind: v1alpha1.KindTokenIssuer, Name: "robot"}
	healthy.Status.TokenStatus = v1alpha1.TokenStatus{
		Conditions:  []metav1.Condition{condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonIssued)},
		Token:       &v1alpha1.IssuedToken{ExpirationTime: at(2000), SHA256: "secret"},
		RenewalTime: at(1500),
		PreviousTokens: []v1alpha1.PreviousToken{
			{Revision: 1, RevokeTime: at(1200), HeldBy: []v1alpha1.PodName{"web"}}, {Revision: 2, RevokeTime: at(1100), HeldBy: []v1alpha1.PodName{"web"}},
			{Revision: 3, RevokeTime: at(1000)},
		},
	}
	stalled := &v1alpha1.AccountToken{ObjectMeta: metav1.ObjectMeta{Namespace: "team-b", Name: "alice"}}
	stalled.Spec.IssuerRef = v1alpha1.IssuerReference{Kind: v1alpha1.KindClusterTokenIssuer, Name: "default"}
	stalled.Status.Conditions = []metav1.Condition{
		condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonMintStorm), condition(v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonMintStorm),
	}
	return &resources{
		issuers: []v1alpha1.Issuer{codacy, builtIn}, tokens: []v1alpha1.Token{healthy, stalled}, available: map[string]bool{"robot": false},
	}
}

func TestTheLeaderTellsOfResources(t *testing.T) {
	leads := make(chan struct{})
	collector := &metrics.Collector{Source: populated(), Leads: leads}
	if count := testutil.CollectAndCount(collector); count != 0 {
		t.Errorf("%d metrics before it leads", count)
	}
	close(leads)
	const want = `
# HELP tokensteward_issuer_credential_expiration_timestamp_seconds When the issuer's credential expires. Absent if it does not, or the service did not tell.
# TYPE tokensteward_issuer_credential_expiration_timestamp_seconds gauge
tokensteward_issuer_credential_expiration_timestamp_seconds{issuer="robot",issuer_kind="TokenIssuer",issuer_namespace="team-a"} 3000
# HELP tokensteward_issuer_ready 1 if tokens can be asked for, else 0.
# TYPE tokensteward_issuer_ready gauge
tokensteward_issuer_ready{issuer="default",issuer_kind="ClusterTokenIssuer",issuer_namespace=""} 0
tokensteward_issuer_ready{issuer="robot",issuer_kind="TokenIssuer",issuer_namespace="team-a"} 1
# HELP tokensteward_issuer_retained_tokens Tokens in the issuer's status.retained, which were left at its service on purpose (docs/tokens.md#deletion).
# TYPE tokensteward_issuer_retained_tokens gauge
tokensteward_issuer_retained_tokens{issuer="robot",issuer_kind="TokenIssuer",issuer_namespace="team-a"} 2
# HELP tokensteward_issuer_service_available 0 while the issuer's service is left alone because it did not answer (docs/codacy.md#limits), else 1.
# TYPE tokensteward_issuer_service_available gauge
tokensteward_issuer_service_available{issuer="robot",issuer_kind="TokenIssuer",issuer_namespace="team-a"} 0
# HELP tokensteward_service_requests_left How many requests may be made at once now to a host with a limit, of its burst in --service-rate-limits (docs/codacy.md#limits).
# TYPE tokensteward_service_requests_left gauge
tokensteward_service_requests_left{host="app.codacy.com"} 12.5
# HELP tokensteward_token_expiration_timestamp_seconds When the token in the Secret expires. Absent if it does not, or the service does not tell.
# TYPE tokensteward_token_expiration_timestamp_seconds gauge
tokensteward_token_expiration_timestamp_seconds{issuer="robot",issuer_kind="TokenIssuer",issuer_namespace="team-a",kind="ProjectToken",name="website",namespace="team-a"} 2000
# HELP tokensteward_token_held_since_timestamp_seconds Since when, past its grace period, a replaced token is kept for pods that hold it (docs/rotation.md#who-still-holds-the-previous-token); the oldest one counts. Absent if none is.
# TYPE tokensteward_token_held_since_timestamp_seconds gauge
tokensteward_token_held_since_timestamp_seconds{issuer="robot",issuer_kind="TokenIssuer",issuer_namespace="team-a",kind="ProjectToken",name="website",namespace="team-a"} 1100
# HELP tokensteward_token_ready 1 if the Secret holds a valid token, else 0.
# TYPE tokensteward_token_ready gauge
tokensteward_token_ready{issuer="default",issuer_kind="ClusterTokenIssuer",issuer_namespace="",kind="AccountToken",name="alice",namespace="team-b"} 0
tokensteward_token_ready{issuer="robot",issuer_kind="TokenIssuer",issuer_namespace="team-a",kind="ProjectToken",name="website",namespace="team-a"} 1
# HELP tokensteward_token_renewal_timestamp_seconds When the token in the Secret is due to be replaced.
# TYPE tokensteward_token_renewal_timestamp_seconds gauge
tokensteward_token_renewal_timestamp_seconds{issuer="robot",issuer_kind="TokenIssuer",issuer_namespace="team-a",kind="ProjectToken",name="website",namespace="team-a"} 1500
# HELP tokensteward_token_stalled 1 while nothing gets better before a person acts, with the reason of the condition Stalled (docs/tokens.md#conditions).
# TYPE tokensteward_token_stalled gauge
tokensteward_token_stalled{issuer="default",issuer_kind="ClusterTokenIssuer",issuer_namespace="",kind="AccountToken",name="alice",namespace="team-b",reason="MintStorm"} 1
`
	if err := testutil.CollectAndCompare(collector, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	problems, err := testutil.CollectAndLint(collector)
	if err != nil || len(problems) > 0 {
		t.Errorf("not as Prometheus wants names: %v %v", problems, err)
	}
}

// count makes a series of each metric that counts what happens at an issuer, for the time of a test.
func count(t *testing.T, issuer string) {
	t.Helper()
	of := []string{v1alpha1.KindTokenIssuer, "team-a", issuer}
	metrics.OrphanedTokens.WithLabelValues(of...).Set(1)
	metrics.LeftTokens.WithLabelValues(of...).Inc()
	metrics.MintedTokens.WithLabelValues(append([]string{v1alpha1.KindProjectToken, metrics.CauseDue}, of...)...).Inc()
	metrics.RevokedTokens.WithLabelValues(append([]string{v1alpha1.KindProjectToken}, of...)...).Inc()
	metrics.ServiceRequests.WithLabelValues(append([]string{"getUser", "200"}, of...)...).Observe(1)
	t.Cleanup(func() { metrics.Forget(v1alpha1.KindTokenIssuer, "team-a", issuer) })
}

func TestTheSeriesOfAnIssuerGoWithIt(t *testing.T) {
	count(t, "goes")
	count(t, "stays")
	metrics.Forget(v1alpha1.KindTokenIssuer, "team-a", "goes")
	for _, vector := range []prometheus.Collector{metrics.OrphanedTokens, metrics.LeftTokens, metrics.MintedTokens, metrics.RevokedTokens, metrics.ServiceRequests} {
		if count := testutil.CollectAndCount(vector); count != 1 {
			t.Errorf("%d series, want that of the issuer that stays", count)
		}
	}
}
