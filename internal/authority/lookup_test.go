package authority

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/token"
)

// finishing is an API server at which a mint is finished between two lists.
type finishing struct {
	client.Reader
	lists  int
	sha256 string
}

func (f *finishing) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	f.lists++
	minted, field := &v1alpha1.AccountToken{}, "status.pending.sha256"
	expires := metav1.NewTime(time.Now().Add(time.Hour))
	if f.lists == 1 {
		minted.Status.Pending = &v1alpha1.PendingToken{Revision: 1, SHA256: f.sha256, ID: "1", ExpirationTime: &expires}
	} else {
		field = "status.token.sha256"
		minted.Status.Token = &v1alpha1.IssuedToken{Revision: 1, SHA256: f.sha256, ID: "1", ExpirationTime: &expires}
	}
	if (&client.ListOptions{}).ApplyOptions(options).FieldSelector.Requirements()[0].Field == field {
		return meta.SetList(list, []runtime.Object{minted})
	}
	return nil
}

func TestATokenIsFoundWhileItsMintIsFinished(t *testing.T) {
	value := token.NewValue("whatever")
	a := &Authority{live: &finishing{sha256: value.SHA256()}}
	found, err := a.findLive(t.Context(), v1alpha1.KindAccountToken, hash(value.Sum()))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Error("a token that was there all the time was not found")
	}
}
