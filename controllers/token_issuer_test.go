package controllers

import (
	"errors"
	"testing"
	"time"

	"github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/token"
)

// Its issuer could not be looked at for an error that passes: who has said `abandon` is not taken at their word for that.
func TestAnIssuerThatCouldNotBeLookedAtIsWaitedFor(t *testing.T) {
	g := gomega.NewWithT(t)
	i := &v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "codacy"},
		Spec:       v1alpha1.ClusterTokenIssuerSpec{IssuerSpec: v1alpha1.IssuerSpec{Codacy: &v1alpha1.CodacyIssuer{URL: "https://codacy.example"}}},
	}
	told := unjudged(errors.New("the API server is gone"))
	i.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: told.reason, Message: told.message}}
	r, s := &TokenReconciler{Services: codacy.NewServices(codacy.Options{})}, &state{}
	r.observeCodacy(s, keyOf(i), i)
	g.Expect(s.serviceProblem.Passes()).To(gomega.BeTrue())
	g.Expect(s.serviceProblem.Message).To(gomega.ContainSubstring("the API server is gone"))
}

// Between the moment in which a credential of another account is in use and that in which the status says so, grants would be those
// of the former account, and tokens the latter's.
func TestNothingIsMintedWhileTheStatusNamesAnotherAccount(t *testing.T) {
	g := gomega.NewWithT(t)
	i := &v1alpha1.ClusterTokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Name: "codacy"},
		Spec:       v1alpha1.ClusterTokenIssuerSpec{IssuerSpec: v1alpha1.IssuerSpec{Codacy: &v1alpha1.CodacyIssuer{URL: "https://codacy.example"}}},
	}
	i.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAvailable}}
	services := codacy.NewServices(codacy.Options{Clock: clocktesting.NewFakePassiveClock(time.Now()), Timeout: time.Second, BreakerPause: time.Second})
	connection, err := services.Connect(keyOf(i), codacy.Config{URL: i.Spec.Codacy.URL, Credential: token.NewValue("credential")})
	g.Expect(err).NotTo(gomega.HaveOccurred())
	services.Use(connection)
	r := &TokenReconciler{Services: services}
	problem := func() string {
		s := &state{}
		if r.observeCodacy(s, keyOf(i), i); s.issuerProblem != nil {
			return s.issuerProblem.Reason
		}
		return ""
	}
	connection.Believe(v1alpha1.IssuerAccount{ID: "2"}, nil)
	g.Expect(problem()).To(gomega.Equal(v1alpha1.ReasonProgressing), "the status names no account")
	i.Status.Account = &v1alpha1.IssuerAccount{ID: "1"}
	g.Expect(problem()).To(gomega.Equal(v1alpha1.ReasonProgressing), "the status names another account")
	i.Status.Account.ID = "2"
	g.Expect(problem()).To(gomega.BeEmpty())
}
