package builtin_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer"
	"github.com/tokensteward/tokensteward/internal/issuer/builtin"
	"github.com/tokensteward/tokensteward/internal/issuer/issuertest"
	"github.com/tokensteward/tokensteward/internal/token"
)

const uid types.UID = "8d2f4c1e-0c55-4d1c-9a39-7f1f6f4c2b10"

func TestTheBuiltInIssuerKeepsThePromisesOfAnIssuer(t *testing.T) {
	t.Run("AccountToken", func(t *testing.T) {
		issuertest.Run(t, func(*testing.T) issuertest.Harness { return newLedger(&v1alpha1.AccountToken{}).harness() })
	})
	t.Run("ProjectToken", func(t *testing.T) {
		issuertest.Run(t, func(*testing.T) issuertest.Harness { return newLedger(&v1alpha1.ProjectToken{}).harness() })
	})
}

// ledger is the service of the built-in issuer: a resource's status, and the authority that believes it.
type ledger struct {
	resource v1alpha1.Token
	clock    *clocktesting.FakePassiveClock
}

func newLedger(resource v1alpha1.Token) *ledger {
	resource.SetUID(uid)
	resource.SharedStatus().OwnerUID = uid
	// Between two seconds, since a status keeps none of their fractions.
	return &ledger{resource, clocktesting.NewFakePassiveClock(time.Date(2026, 8, 1, 12, 0, 0, 123456789, time.UTC))}
}

func (l *ledger) harness() issuertest.Harness {
	return issuertest.Harness{
		Issuer: builtin.Issuer{},
		Request: func(revision int64, lifetime time.Duration) issuer.Request {
			return issuer.Request{
				Kind: l.resource.Kind(), Subject: "alice", UID: uid, Revision: revision, Now: l.clock.Now(), Lifetime: lifetime,
			}
		},
		Record: l.record, Forget: l.forget,
		Accepts: func(value token.Value) bool {
			return slices.ContainsFunc(l.live(), func(e builtin.Entry) bool { return e.SHA256 == value.SHA256() })
		},
		Live:    func() int { return len(l.live()) },
		Advance: func(d time.Duration) { l.clock.SetTime(l.clock.Now().Add(d)) },
	}
}

func (l *ledger) record(pending v1alpha1.PendingToken) {
	status := l.resource.SharedStatus()
	if open := status.Pending; open != nil {
		status.PreviousTokens = append(status.PreviousTokens, v1alpha1.PreviousToken{
			ID: open.ID, Revision: open.Revision, SHA256: open.SHA256, ExpirationTime: open.ExpirationTime,
		})
	}
	status.Pending = &pending
}

func (l *ledger) forget(reference issuer.Reference) {
	status := l.resource.SharedStatus()
	if open := status.Pending; open != nil && open.ID == reference.ID && open.SHA256 == reference.SHA256 {
		status.Pending = nil
	}
	status.PreviousTokens = slices.DeleteFunc(status.PreviousTokens, func(p v1alpha1.PreviousToken) bool {
		return p.ID == reference.ID && p.SHA256 == reference.SHA256
	})
}

func (l *ledger) live() []builtin.Entry {
	return slices.DeleteFunc(builtin.Entries(l.resource), func(e builtin.Entry) bool { return !l.clock.Now().Before(e.Expires) })
}

func TestThereAreNoTokensOfAnotherKind(t *testing.T) {
	if _, err := (builtin.Issuer{}).Prepare(t.Context(), issuer.Request{Kind: "Secret", Lifetime: time.Hour}); err == nil {
		t.Error("a token of kind Secret was prepared")
	}
}

func TestTheIDNamesResourceAndRevision(t *testing.T) {
	attempt, err := builtin.Issuer{}.Prepare(t.Context(), issuer.Request{Kind: v1alpha1.KindAccountToken, UID: uid, Revision: 7})
	if want := string(uid) + "-7"; err != nil || attempt.Record.ID != want {
		t.Errorf("the id is %q, want %q (%v)", attempt.Record.ID, want, err)
	}
}

var (
	issued  = metav1.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	expires = metav1.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
)

// full is a resource with a token, an open attempt, a replaced token and a closed attempt.
func full() *v1alpha1.AccountToken {
	return &v1alpha1.AccountToken{
		ObjectMeta: metav1.ObjectMeta{UID: uid},
		Status: v1alpha1.AccountTokenStatus{TokenStatus: v1alpha1.TokenStatus{
			OwnerUID: uid,
			Token:    &v1alpha1.IssuedToken{ID: "id-3", Revision: 3, SHA256: "third", IssueTime: issued, ExpirationTime: &expires},
			Pending:  &v1alpha1.PendingToken{ID: "id-4", Revision: 4, SHA256: "fourth", StartTime: issued, ExpirationTime: &expires},
			PreviousTokens: []v1alpha1.PreviousToken{
				{ID: "id-1", Revision: 1, SHA256: "first", ExpirationTime: &expires},
				{ID: "id-2", Revision: 2, SHA256: "second", ExpirationTime: &expires, ReplacedTime: &issued, RevokeTime: &expires},
			},
		}},
	}
}

func TestEntriesAreTheTokenTheOpenAttemptAndThePreviousTokens(t *testing.T) {
	want := []builtin.Entry{
		{ID: "id-3", Revision: 3, SHA256: "third", IssuedAt: issued.Time, Expires: expires.Time},
		{ID: "id-4", Revision: 4, SHA256: "fourth", IssuedAt: issued.Time, Expires: expires.Time},
		{ID: "id-1", Revision: 1, SHA256: "first", Expires: expires.Time},
		{ID: "id-2", Revision: 2, SHA256: "second", Expires: expires.Time},
	}
	if got := builtin.Entries(full()); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestWhatIsNotAnEntry(t *testing.T) {
	now := metav1.Now()
	for name, test := range map[string]struct {
		change func(*v1alpha1.AccountToken)
		want   []int64 // revisions
	}{
		"nothing of a resource that is being deleted":      {func(a *v1alpha1.AccountToken) { a.DeletionTimestamp = &now }, nil},
		"nothing of a status that another resource wrote":  {func(a *v1alpha1.AccountToken) { a.Status.OwnerUID = "another" }, nil},
		"nothing of a status that does not say whose":      {func(a *v1alpha1.AccountToken) { a.Status.OwnerUID = "" }, nil},
		"nothing of an empty status":                       {func(a *v1alpha1.AccountToken) { a.Status.TokenStatus = v1alpha1.TokenStatus{OwnerUID: uid} }, nil},
		"no token without an expiry":                       {func(a *v1alpha1.AccountToken) { a.Status.Token.ExpirationTime = nil }, []int64{4, 1, 2}},
		"no attempt without an expiry":                     {func(a *v1alpha1.AccountToken) { a.Status.Pending.ExpirationTime = nil }, []int64{3, 1, 2}},
		"no attempt without a hash":                        {func(a *v1alpha1.AccountToken) { a.Status.Pending.SHA256 = "" }, []int64{3, 1, 2}},
		"no previous token without an expiry":              {func(a *v1alpha1.AccountToken) { a.Status.PreviousTokens[1].ExpirationTime = nil }, []int64{3, 4, 1}},
		"no closed attempt without a hash":                 {func(a *v1alpha1.AccountToken) { a.Status.PreviousTokens[0].SHA256 = "" }, []int64{3, 4, 2}},
		"but an expired token is: the caller has a clock":  {func(a *v1alpha1.AccountToken) { a.Status.Token.ExpirationTime = &metav1.Time{Time: time.Unix(1, 0)} }, []int64{3, 4, 1, 2}},
		"but a token that is to be revoked is, until then": {func(a *v1alpha1.AccountToken) { a.Status.PreviousTokens[1].RevokeTime = &issued }, []int64{3, 4, 1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			resource := full()
			test.change(resource)
			var got []int64
			for _, entry := range builtin.Entries(resource) {
				got = append(got, entry.Revision)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got the revisions %v, want %v", got, test.want)
			}
		})
	}
}
