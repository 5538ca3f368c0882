package codacy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tokensteward/tokensteward/internal/issuer/codacy"
	"github.com/tokensteward/tokensteward/internal/issuer/codacy/codacytest"
)

func TestAllRepositoriesOfAnOrganizationAreListed(t *testing.T) {
	for _, count := range []int{1, 99, 100, 101, 250} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			t.Parallel()
			s := newStandIn(t, edition(t, "cloud-2026-08"))
			for i := range count {
				s.server.AddRepository("gh", "many", fmt.Sprintf("r-%d", i))
			}
			got, err := s.connection.Repositories(t.Context(), "gh", "many")
			if err != nil {
				t.Fatal(err)
			}
			names := map[string]bool{}
			for _, r := range got {
				names[r.Name] = true
			}
			if len(got) != count || len(names) != count {
				t.Errorf("%d repositories with %d names, want %d", len(got), len(names), count)
			}
			if pages := s.server.Requests()["listOrganizationRepositories"]; pages != (count+99)/100 {
				t.Errorf("%d pages were asked for", pages)
			}
		})
	}
}

func TestARepositoryIsToldWithWhatTheAccountMayDoThere(t *testing.T) {
	t.Parallel()
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	for _, name := range []string{"mine", "readable", "hidden"} {
		s.server.AddRepository("gl", "acme", name)
	}
	s.server.SetRole(s.account, "gl", "acme", "readable", codacytest.Read)
	s.server.SetRole(s.account, "gl", "acme", "hidden", codacytest.None)
	s.server.OfferRepository("gl", "acme", "offered")
	got, err := s.connection.Repositories(t.Context(), "gl", "acme")
	want := []codacy.Repository{{Name: "mine", Added: true, Administered: true}, {Name: "offered", Administered: true}, {Name: "readable", Added: true}}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestAListOfRepositoriesThatCannotBeHadSaysWhy(t *testing.T) {
	t.Parallel()
	s := newStandIn(t, edition(t, "cloud-2026-08"))
	if _, err := s.connection.Repositories(t.Context(), "gh", "none"); err == nil || !strings.Contains(err.Error(), "the repositories of gh/none") {
		t.Errorf("of an organization that is not there: %v", err)
	}
	s.server.Fault(func(string, *http.Request) codacytest.Fault {
		return codacytest.Fault{Kind: codacytest.CutBeforeActing}
	})
	if _, err := s.connection.Repositories(t.Context(), "gh", "acme"); err == nil || !strings.Contains(err.Error(), "can't be asked") {
		t.Errorf("without an answer: %v", err)
	}
}
