package authority

import (
	"context"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/builtin"
)

// hash is the SHA-256 of a token.
type hash [32]byte

// credential is what one accepted hash stands for. It never changes once it is made.
type credential struct {
	kind      string
	namespace string
	name      string
	issuer    string
	account   string
	project   v1alpha1.Project

	id string
	// issued is zero for a token that was replaced: its status keeps no issue time.
	issued  time.Time
	expires time.Time
}

// username names whom the token speaks for, to Kubernetes and as the subject of an introspection.
func (c *credential) username() string {
	if c.kind == v1alpha1.KindAccountToken {
		return "tokensteward:account:" + c.account
	}
	return "tokensteward:project:" + c.project.String()
}

// index finds the credential of a hash. The informers of the token resources keep it up to date.
type index struct {
	mu sync.RWMutex
	// Two resources under one hash can come only from a forged or copied status; then each is judged by itself.
	byHash   map[hash][]*credential
	byObject map[objectKey]map[hash]*credential
	// gone is told which hash no resource has any more.
	gone func(hash)

	synced []interface{ HasSynced() bool }
}

type objectKey struct{ kind, namespace, name string }

func emptyIndex(gone func(hash)) *index {
	return &index{byHash: map[hash][]*credential{}, byObject: map[objectKey]map[hash]*credential{}, gone: gone}
}

func newIndex(ctx context.Context, informers cache.Informers, gone func(hash)) (*index, error) {
	x := emptyIndex(gone)
	for _, t := range []v1alpha1.Token{&v1alpha1.AccountToken{}, &v1alpha1.ProjectToken{}} {
		registration, err := follow(ctx, informers, t, func(o any) { x.put(o.(v1alpha1.Token)) }, x.remove)
		if err != nil {
			return nil, fmt.Errorf("watching %ss: %w", t.Kind(), err)
		}
		x.synced = append(x.synced, registration)
	}
	return x, nil
}

func (x *index) find(h hash) []*credential {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.byHash[h]
}

func (x *index) put(t v1alpha1.Token) {
	x.replace(keyOf(t), credentialsOf(t))
}

func (x *index) remove(o any) {
	if t, ok := lastKnown(o).(v1alpha1.Token); ok {
		x.replace(keyOf(t), nil)
	}
}

func (x *index) replace(key objectKey, credentials map[hash]*credential) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for h, old := range x.byObject[key] {
		// A new slice, since find hands out the old one.
		kept := make([]*credential, 0, len(x.byHash[h]))
		for _, other := range x.byHash[h] {
			if other != old {
				kept = append(kept, other)
			}
		}
		if len(kept) > 0 {
			x.byHash[h] = kept
		} else {
			delete(x.byHash, h)
			if credentials[h] == nil {
				x.gone(h)
			}
		}
	}
	if len(credentials) == 0 {
		delete(x.byObject, key)
		return
	}
	x.byObject[key] = credentials
	for h, added := range credentials {
		x.byHash[h] = append(x.byHash[h][:len(x.byHash[h]):len(x.byHash[h])], added)
	}
}

func keyOf(t v1alpha1.Token) objectKey {
	return objectKey{t.Kind(), t.GetNamespace(), t.GetName()}
}

// credentialsOf reads the ledger: what a resource says of itself in spec, under each hash that its status accepts.
func credentialsOf(t v1alpha1.Token) map[hash]*credential {
	credentials := map[hash]*credential{}
	for _, entry := range builtin.Entries(t) {
		var h hash
		if n, err := hex.Decode(h[:], []byte(entry.SHA256)); err != nil || n != len(h) {
			continue
		}
		c := &credential{
			kind: t.Kind(), namespace: t.GetNamespace(), name: t.GetName(), issuer: t.SharedSpec().IssuerRef.Name,
			id: entry.ID, issued: entry.IssuedAt, expires: entry.Expires,
		}
		switch t := t.(type) {
		case *v1alpha1.AccountToken:
			c.account = t.Spec.Account
		case *v1alpha1.ProjectToken:
			c.project = t.Spec.Project
		}
		credentials[h] = c
	}
	return credentials
}
