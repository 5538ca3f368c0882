package main

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// The made day: thirty tokens of two issuers, a wave of rotations in the morning, an outage of Codacy in the afternoon, a new
// leader in the evening. Minutes count from its midnight.
const (
	scrapeInterval = time.Minute
	job            = "tokensteward-metrics"

	hour, midnight     = 60, 24 * 60
	first              = -hour // The first rate of the day looks back.
	wave               = 9 * hour
	outage, outageEnds = 14 * hour, 14*hour + 20
	newLeader          = 18 * hour

	builtIn, codacy = "default", "codacy"

	nameLabel = "__name__" // where Prometheus has a metric's name
)

var dayBegins = time.Date(2026, time.June, 15, 0, 0, 0, 0, time.UTC)

// series has a value at each minute at which at is ok.
type series struct {
	names  []string // of its labels, those included that are empty, and so none to Prometheus
	labels labels.Labels
	at     func(minute int) (float64, bool)
}

// samples are its values as they are scraped, with a mark where it ends.
func (s *series) samples(sample func(at time.Time, v float64) error) error {
	before := false
	for minute := first; minute <= midnight; minute++ {
		v, ok := s.at(minute)
		if !ok && before {
			v = math.Float64frombits(value.StaleNaN)
		}
		if ok || before {
			if err := sample(dayBegins.Add(time.Duration(minute)*time.Minute), v); err != nil {
				return err
			}
		}
		before = ok
	}
	return nil
}

type day struct {
	series []series
	counts map[string]*counter
	order  []string
}

// counter is what the operator counts as it happens, under a name and labels.
type counter struct {
	pairs  []string
	before int // that were counted before the day
	events []event
}

// event adds to a counter, or with nothing at least makes it exist.
type event struct{ minute, add int }

// replicas are those of the operator. The first leads, and is replaced; then the second one does.
var replicas = []struct {
	instance                   string
	from, until, leads, yields int
}{
	{instance: "10.1.0.17:8443", from: first, until: newLeader, leads: first, yields: newLeader},
	{instance: "10.1.2.9:8443", from: first, until: midnight + 1, leads: newLeader, yields: midnight + 1},
	{instance: "10.1.1.23:8443", from: newLeader + 1, until: midnight + 1},
}

// add is one series, as it is scraped from a replica.
func (d *day) add(at func(int) (float64, bool), pairs ...string) {
	pairs = append(pairs, "job", job)
	s := series{at: at}
	b := labels.NewScratchBuilder(len(pairs) / 2)
	for i := 0; i < len(pairs); i += 2 {
		s.names = append(s.names, pairs[i])
		if pairs[i+1] != "" {
			b.Add(pairs[i], pairs[i+1])
		}
	}
	b.Sort()
	s.labels = b.Labels()
	d.series = append(d.series, s)
}

// gauge is told of by whoever leads.
func (d *day) gauge(name string, at func(int) (float64, bool), pairs ...string) {
	for _, r := range replicas {
		if r.leads == r.yields {
			continue
		}
		d.add(func(minute int) (float64, bool) {
			if minute < r.leads || minute >= r.yields {
				return 0, false
			}
			return at(minute)
		}, append([]string{nameLabel, name, "instance", r.instance}, pairs...)...)
	}
}

// happens counts something at a minute.
func (d *day) happens(minute int, name string, pairs ...string) {
	d.adds(event{minute: minute, add: 1}, name, pairs...)
}

// adds notes an event. Of each kind, some happened before the day.
func (d *day) adds(e event, name string, pairs ...string) {
	key := name
	for _, p := range pairs {
		key += "/" + p
	}
	if d.counts[key] == nil {
		d.counts[key] = &counter{pairs: append([]string{nameLabel, name}, pairs...), before: 3}
		d.order = append(d.order, key)
	}
	d.counts[key].events = append(d.counts[key].events, e)
}

// count turns what happened into series. A new leader counts from nothing, and has no series before something happened.
func (d *day) count() {
	for _, key := range d.order {
		c := d.counts[key]
		for i, r := range replicas[:2] {
			before := 0
			if i == 0 {
				before = c.before
			}
			d.add(func(minute int) (float64, bool) {
				n, exists := before, before > 0
				for _, e := range c.events {
					if e.minute >= r.leads && e.minute <= minute {
						n, exists = n+e.add, true
					}
				}
				return float64(n), exists && minute >= r.leads && minute < r.yields
			}, append([]string{"instance", r.instance}, c.pairs...)...)
		}
	}
}

// request counts a request to Codacy, as the operator's histogram does.
func (d *day) request(minute int, operation, code string, seconds float64) {
	const name = "tokensteward_service_request_duration_seconds"
	pairs := []string{"operation", operation, "code", code, "issuer_kind", "ClusterTokenIssuer", "issuer_namespace", "", "issuer", codacy}
	for _, le := range []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, math.Inf(1)} {
		e := event{minute: minute}
		if seconds <= le {
			e.add = 1
		}
		d.adds(e, name+"_bucket", append(slices.Clone(pairs), "le", strconv.FormatFloat(le, 'f', -1, 64))...)
	}
	d.happens(minute, name+"_count", pairs...)
}

// noise is between 0 and 1, and the same in each picture.
func noise(i int) float64 {
	h := uint32(i+7) * 2654435761
	h ^= h >> 15
	h *= 2246822519
	h ^= h >> 13
	return float64(h%1000) / 1000
}

// token is a resource, and the minutes at which its tokens were or are minted.
type token struct {
	kind, namespace, name, issuer string
	life, renewal                 int // after how many minutes a token expires, if it does, and is due
	minted                        []int
	cause                         string // of the mints within the day
}

const daysLong = 24 * hour

func tokens() []token {
	var all []token
	teams := []string{"team-a", "team-b", "team-c"}
	for i, name := range []string{"api", "billing", "blog", "cart", "catalog", "checkout", "docs", "frontend", "gateway", "mail", "media", "orders", "payments", "search"} {
		t := token{kind: "ProjectToken", namespace: teams[i%3], name: name, issuer: builtIn, life: 24 * hour, renewal: 16 * hour, cause: "due"}
		for at := (i*137)%t.renewal - t.renewal; at < midnight; at += t.renewal {
			t.minted = append(t.minted, at)
		}
		all = append(all, t)
	}
	for i, name := range []string{"ci", "nightly", "release", "renovate", "reports", "scanner"} {
		t := token{kind: "AccountToken", namespace: teams[i%3], name: name, issuer: codacy, life: 90 * daysLong, renewal: 60 * daysLong, cause: "due"}
		switch {
		case i < 3:
			t.minted = []int{wave + 9*i - t.renewal, wave + 9*i}
		case i == 3: // It is due during the outage, and has to wait for its end.
			t.minted = []int{outage + 5 - t.renewal, outageEnds + 1}
		default:
			t.minted = []int{-(7*i - 20) * daysLong}
		}
		all = append(all, t)
	}
	for i, name := range []string{"app", "backend", "charts", "design", "infra", "libs", "mobile", "web"} {
		t := token{kind: "ProjectToken", namespace: teams[i%3], name: name + "-coverage", issuer: codacy, renewal: 30 * daysLong, cause: "due"}
		switch {
		case i < 5:
			t.minted = []int{wave + 4 + 7*i - t.renewal, wave + 4 + 7*i}
		case i == 5:
			t.cause = "requested"
			t.minted = []int{-9 * daysLong, 15*hour + 10}
		case i == 6:
			t.cause = "first"
			t.minted = []int{10*hour + 15}
		default:
			t.cause = "lost" // Something changes its Secret, until the operator has enough.
			t.minted = []int{-20 * daysLong, 12*hour + 31, 12*hour + 36, 12*hour + 42, 12*hour + 47, 12*hour + 53}
		}
		all = append(all, t)
	}
	return append(all,
		token{kind: "ProjectToken", namespace: "team-a", name: "wiki", issuer: builtIn, life: 30 * daysLong, renewal: 20 * daysLong, minted: []int{-4 * daysLong}},
		token{kind: "ProjectToken", namespace: "team-c", name: "wbsite-coverage", issuer: codacy}) // No such repository.
}

func makeDay() []series {
	d := &day{counts: map[string]*counter{}}
	for i, t := range tokens() {
		d.token(i, t)
	}
	d.issuers()
	d.requests()
	d.authority()
	d.operator()
	d.count()
	return d.series
}

func always(v float64) func(int) (float64, bool) {
	return func(int) (float64, bool) { return v, true }
}

// from is one value before a minute, and another one afterwards.
func from(minute int, before, after float64) func(int) (float64, bool) {
	return func(m int) (float64, bool) {
		if m < minute {
			return before, true
		}
		return after, true
	}
}

func (d *day) token(i int, t token) {
	ofIssuer := []string{"issuer_kind", "ClusterTokenIssuer", "issuer_namespace", "", "issuer", t.issuer}
	pairs := append([]string{"kind", t.kind, "namespace", t.namespace, "name", t.name}, ofIssuer...)
	// after is a timestamp so long after the last mint.
	after := func(minutes int) func(int) (float64, bool) {
		return func(m int) (float64, bool) {
			at, ok := 0, false
			for _, minted := range t.minted {
				if minted <= m {
					at, ok = minted+minutes, true
				}
			}
			return float64(dayBegins.Unix()) + float64(at)*60, ok
		}
	}
	created, ready := first, always(1)
	switch {
	case len(t.minted) == 0:
		created, ready = 11*hour+40, always(0)
		d.gauge("tokensteward_token_stalled", func(m int) (float64, bool) { return 1, m >= created }, append(slices.Clone(pairs), "reason", "RepositoryNotFound")...)
	case t.cause == "lost":
		storm := t.minted[len(t.minted)-1] + 5
		ready = from(storm, 1, 0)
		d.gauge("tokensteward_token_stalled", func(m int) (float64, bool) { return 1, m >= storm }, append(slices.Clone(pairs), "reason", "MintStorm")...)
	case t.cause == "first":
		created = t.minted[0]
	}
	d.gauge("tokensteward_token_ready", func(m int) (float64, bool) { v, _ := ready(m); return v, m >= created }, pairs...)
	d.gauge("tokensteward_token_renewal_timestamp_seconds", after(t.renewal), pairs...)
	if t.life > 0 {
		d.gauge("tokensteward_token_expiration_timestamp_seconds", after(t.life), pairs...)
	}
	if t.name == "wiki" { // A pod has not been restarted since.
		d.gauge("tokensteward_token_held_since_timestamp_seconds", always(float64(dayBegins.Unix()-3*daysLong*60)), pairs...)
	}
	for n, at := range t.minted {
		if at < first {
			continue
		}
		d.happens(at, "tokensteward_minted_tokens_total", append([]string{"kind", t.kind, "cause", t.cause}, ofIssuer...)...)
		replaced := n > 0 && at+hour < midnight
		if replaced {
			d.happens(at+hour, "tokensteward_revoked_tokens_total", append([]string{"kind", t.kind}, ofIssuer...)...)
		}
		if t.issuer == codacy {
			kind := map[string]string{"AccountToken": "User", "ProjectToken": "Repository"}[t.kind]
			d.request(at, "create"+kind+"ApiToken", "200", 0.3+0.4*noise(at))
			if replaced {
				d.request(at+hour, "delete"+kind+"ApiToken", "204", 0.12+0.2*noise(at+i))
			}
		}
	}
}

func (d *day) issuers() {
	ofBuiltIn := []string{"issuer_kind", "ClusterTokenIssuer", "issuer_namespace", "", "issuer", builtIn}
	ofCodacy := []string{"issuer_kind", "ClusterTokenIssuer", "issuer_namespace", "", "issuer", codacy}
	answers := func(m int) (float64, bool) {
		if m > outage && m <= outageEnds {
			return 0, true
		}
		return 1, true
	}
	d.gauge("tokensteward_issuer_ready", always(1), ofBuiltIn...)
	d.gauge("tokensteward_issuer_ready", answers, ofCodacy...)
	d.gauge("tokensteward_issuer_service_available", answers, ofCodacy...)
	d.gauge("tokensteward_issuer_credential_expiration_timestamp_seconds", always(float64(dayBegins.Unix()+25*daysLong*60)), ofCodacy...)
	d.gauge("tokensteward_issuer_retained_tokens", from(11*hour+30, 3, 4), ofCodacy...)
	d.gauge("tokensteward_orphaned_tokens", from(16*hour, 0, 2), ofCodacy...)
	d.happens(11*hour+30, "tokensteward_left_tokens_total", ofCodacy...)
	d.gauge("tokensteward_service_requests_left", func(m int) (float64, bool) {
		if m >= wave && m < wave+45 {
			return 41 - math.Floor(8*noise(m)), true
		}
		return 50 - math.Floor(3*noise(m)), true
	}, "host", "app.codacy.com")
}

// requests are those that come without a mint or a revocation: lists, and questions whether Codacy answers again.
func (d *day) requests() {
	for m := first; m <= midnight; m++ {
		if m >= outage && m < outageEnds {
			switch {
			case m < outage+2:
				d.request(m, "listRepositoryApiTokens", "none", 29)
				d.request(m, "listRepositoryApiTokens", "none", 29)
				d.request(m, "createUserApiToken", "none", 29)
			case m < outage+12:
				d.request(m, "getUser", "none", 29)
			default:
				d.request(m, "getUser", "503", 2+noise(m))
				d.request(m, "getUser", "503", 1+noise(m))
			}
			continue
		}
		if m%7 == 0 {
			d.request(m, "listRepositoryApiTokens", "200", 0.15+0.3*noise(m))
		}
		if m%hour == 20 {
			d.request(m, "getUserApiTokens", "200", 0.1+0.1*noise(m))
			d.request(m, "getUser", "200", 0.06+0.1*noise(m))
		}
	}
}

// authority: each replica counts what it was asked itself.
func (d *day) authority() {
	perMinute := map[string]func(m int) float64{
		"accepted": func(m int) float64 {
			return 9 + 8*math.Sin(float64(m-9*hour)*math.Pi/(12*hour)) + 3*noise(m)
		},
		"not_granted": func(m int) float64 { return 0.3 + 0.4*noise(3*m) },
		"expired": func(m int) float64 {
			if m > 15*hour && m < 16*hour {
				return 3 + noise(5*m)
			}
			return 0
		},
	}
	for _, decision := range []string{"accepted", "not_granted", "expired"} {
		for _, r := range replicas {
			totals, total := map[int]float64{}, 0.0
			for m := r.from; m < r.until; m++ {
				total += perMinute[decision](m + len(r.instance))
				totals[m] = math.Floor(total)
			}
			d.add(func(m int) (float64, bool) { v, ok := totals[m]; return v, ok },
				nameLabel, "tokensteward_authority_decisions_total", "instance", r.instance, "issuer", builtIn, "decision", decision)
		}
	}
}

// operator has what controller-runtime and the Go runtime tell of every operator.
func (d *day) operator() {
	for _, r := range replicas {
		d.add(func(m int) (float64, bool) {
			mib := 52 + 3*noise(m/9) + float64(m-r.from)/600
			if m >= r.leads && m < r.yields {
				mib += 9
			}
			return mib * (1 << 20), m >= r.from && m < r.until
		}, nameLabel, "process_resident_memory_bytes", "instance", r.instance)
	}
	for i, controller := range []string{"accounttoken", "projecttoken", "clustertokenissuer", "tokenissuer"} {
		d.gauge("workqueue_depth", func(m int) (float64, bool) {
			if i < 2 && m >= wave && m < wave+45 {
				return math.Floor(5 * noise(m+i)), true
			}
			return 0, true
		}, "controller", controller, "name", controller, "priority", "0")
		for _, r := range replicas[:2] {
			d.adds(event{minute: r.leads}, "controller_runtime_reconcile_errors_total", "controller", controller)
		}
		for m := outage; m < outageEnds && i < 3; m += i + 1 {
			d.happens(m, "controller_runtime_reconcile_errors_total", "controller", controller)
		}
	}
}
