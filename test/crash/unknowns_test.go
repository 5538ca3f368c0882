package crash_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

// unknown is something that Codacy's documentation does not tell, and what may be so.
type unknown struct {
	name    string
	choices []func(*codacytest.Behaviour)
	says    []string
}

func choose[T any](name string, set func(*codacytest.Behaviour, T), values ...T) unknown {
	u := unknown{name: name}
	for _, value := range values {
		u.choices = append(u.choices, func(b *codacytest.Behaviour) { set(b, value) })
		u.says = append(u.says, fmt.Sprintf("%s=%v", name, value))
	}
	return u
}

var unknowns = []unknown{
	choose("values", func(b *codacytest.Behaviour, v codacytest.ValueForm) { b.RepositoryListValues = v },
		codacytest.FullValues, codacytest.MaskedValues, codacytest.EmptyValues, codacytest.MissingValues),
	choose("body", func(b *codacytest.Behaviour, v codacytest.BodyUse) { b.RepositoryTokenBody = v },
		codacytest.HonoursBody, codacytest.IgnoresBody, codacytest.RefusesBody),
	choose("page", func(b *codacytest.Behaviour, v int) { b.RepositoryPage = v }, 0, 1),
	choose("keeps expired", func(b *codacytest.Behaviour, v bool) { b.KeepsExpired = v }, false, true),
	choose("echoes expiry", func(b *codacytest.Behaviour, v bool) { b.EchoesExpiry = v }, false, true),
	choose("default life", func(b *codacytest.Behaviour, v time.Duration) { b.DefaultLifetime = v }, 0, 365*24*time.Hour),
	choose("clash", func(b *codacytest.Behaviour, v int) { b.NameClashStatus = v }, 400, 409, 422),
	choose("limit", func(b *codacytest.Behaviour, v int) { b.LimitStatus = v }, 400, 409, 422),
	choose("no role", func(b *codacytest.Behaviour, v int) { b.NoRoleStatus = v }, 401, 403, 404),
	choose("unknown is 404", func(b *codacytest.Behaviour, v bool) { b.UnknownTokenIs404 = v }, false, true),
	// What goes wrong: see accidents.
	choose("accident", func(*codacytest.Behaviour, string) {}, accidents...),
}

// accidents are a fault of the request to mint, or a request at which the process is killed.
var accidents = []string{
	string(codacytest.CutAfterActing), string(codacytest.TimeoutAfterActing),
	"before service createRepositoryApiToken", "after service createRepositoryApiToken", "after POST secrets",
	"before service deleteRepositoryApiToken", "after service deleteRepositoryApiToken",
}

// pairwise are rows in which every two choices for two unknowns come together at least once.
func pairwise(random *rand.Rand) (rows [][]int) {
	type pair struct{ a, i, b, j int }
	open := map[pair]bool{}
	for a := range unknowns {
		for b := a + 1; b < len(unknowns); b++ {
			for i := range unknowns[a].choices {
				for j := range unknowns[b].choices {
					open[pair{a, i, b, j}] = true
				}
			}
		}
	}
	covered := func(row []int) (all []pair) {
		for a := range row {
			for b := a + 1; b < len(row); b++ {
				if p := (pair{a, row[a], b, row[b]}); open[p] {
					all = append(all, p)
				}
			}
		}
		return all
	}
	for len(open) > 0 {
		var best []int
		var most []pair
		for range 200 {
			row := make([]int, len(unknowns))
			for a := range row {
				row[a] = random.IntN(len(unknowns[a].choices))
			}
			if found := covered(row); len(found) > len(most) {
				best, most = row, found
			}
		}
		if best == nil {
			continue
		}
		for _, p := range most {
			delete(open, p)
		}
		rows = append(rows, best)
	}
	return rows
}

// TestNothingLeaksWhateverIsUnknownOfCodacy covers the unknowns pairwise; the short form takes a few of the rows.
func TestNothingLeaksWhateverIsUnknownOfCodacy(t *testing.T) {
	const few = 12
	ctx, controlPlane := startControlPlane(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	all := pairwise(rand.New(rand.NewPCG(seed, 0)))
	t.Logf("%d rows cover every pair", len(all))
	if !fullMatrix {
		all = all[:few]
	}
	total := row{class: "pairwise", scenario: fmt.Sprintf("%d combinations", len(all))}
	for n, chosen := range all {
		behaviour, err := codacytest.Edition("cloud-2026-08")
		if err != nil {
			t.Fatal(err)
		}
		var says []string
		for a, choice := range chosen {
			unknowns[a].choices[choice](&behaviour)
			says = append(says, unknowns[a].says[choice])
		}
		accident := accidents[chosen[len(chosen)-1]]
		t.Run(strings.Join(says, ","), func(t *testing.T) {
			c := class{"pairwise", v1alpha1.KindProjectToken, behaviour, behaviour.RepositoryTokenBody != codacytest.HonoursBody}
			m := newMatrix(ctx, t, controlPlane, c, fmt.Sprintf("unknown-%d", n), "--leader-elect=false")
			defer m.close(ctx)
			m.row = &total
			m.meet(ctx, accident)
		})
	}
	printTable([]row{total})
}

// meet has an accident happen to a resource.
func (m *matrix) meet(ctx context.Context, accident string) {
	m.t.Helper()
	s := scenario{name: accident}
	when, request, kills := strings.Cut(accident, " ")
	if !kills {
		s.fault = codacytest.FaultKind(accident)
	} else {
		s.deletes = strings.Contains(request, "delete")
		m.killer.only(request)
		defer m.killer.only("")
	}
	m.run(ctx, s, map[bool]int{true: 1}[kills], moment(when))
	m.row.kills += map[bool]int{true: 1}[kills]
}
