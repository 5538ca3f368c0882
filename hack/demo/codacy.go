package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/testenv"
)

const (
	received = `200 {"success":"Coverage received"}`
	notFound = `404 {"error":"not found"}`
	commit   = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
)

// tellCodacy is the story of a project token of Codacy, which somebody revokes there by hand.
func tellCodacy(s *story) {
	s.chapter("A stand-in for Codacy, since a demo must work without an account there: nothing here reaches the real one")
	codacy := s.standIn()
	defer codacy.stop()
	s.shell("ls "+codacy.directory, "ca.crt", "token")
	s.say("ca.crt is the CA of its certificate; token is an account API token of the account Robot, as one makes it in Codacy's web UI")
	s.service = service{caFile: codacy.file("ca.crt"), request: "POST …/2.0/coverage/%.7s…/go"}

	s.chapter("That account token goes into a Secret in the operator's namespace: with it the operator makes the others")
	s.shell("kubectl -n tokensteward-system create secret generic codacy --from-file=CODACY_API_TOKEN="+codacy.file("token"), "created")

	s.chapter("An issuer: where Codacy is, which credential to use, and that the namespace team-a may have tokens of projects in gh/acme")
	s.shell("kubectl apply -f - <<END\n"+s.issuerAt(codacy)+"END", "created")
	s.shell("kubectl wait --for=condition=Ready clustertokenissuer/codacy --timeout=60s", "condition met")
	s.shell("kubectl get clustertokenissuers", "codacy", "True", codacy.url)
	s.shell(`kubectl get clustertokenissuer codacy -o jsonpath='{.status.account}{"\n"}'`, "Robot", "robot@acme.example")

	s.chapter("A token for the project gh/acme/api")
	s.shell("kubectl create namespace team-a", "created")
	s.shell("cat config/samples/codacy/projecttoken.yaml", "issuerRef")
	s.shell("kubectl apply -f config/samples/codacy/projecttoken.yaml", "created")
	s.shell("kubectl -n team-a wait --for=condition=Ready projecttoken/api --timeout=60s", "condition met")
	s.shell("kubectl -n team-a get projecttokens", "gh/acme/api", "True")
	s.say("it is in a Secret, with all that Codacy's tools read from their environment; the values stay there")
	s.shell("kubectl -n team-a describe secret api", "CODACY_PROJECT_TOKEN:", "CODACY_ORGANIZATION_PROVIDER:", "CODACY_USERNAME:",
		"CODACY_PROJECT_NAME:", "CODACY_API_BASE_URL:", "bytes")

	s.chapter("A process gets the Secret, and nothing else, as its environment, as a container does with envFrom; it uploads test coverage")
	s.say("it does as Codacy's coverage reporter does: the token goes into the header project-token, never into the URL,\nand what counts is whether the answer says success or error")
	first := s.consumer("api")
	first.calls(commit, received)

	s.chapter("Somebody revokes the token by hand, in Codacy's web UI; the operator notices and replaces it")
	id := strings.TrimSpace(s.shell(`kubectl -n team-a get projecttoken api -o jsonpath='{.status.token.id}{"\n"}'`))
	codacy.inWebUI(http.MethodDelete, "/tokens/"+id)
	first.calls(commit, notFound)
	s.say("every checkInterval, here 1m, the operator looks which tokens Codacy has; one that two lists in a row lack, a minute apart,\n" +
		"is gone. It looks for the first time a minute after it made the token, so this takes two minutes.")
	before := codacy.lists()
	s.patiently(func() string {
		return fmt.Sprintf("waiting for the operator; since the token was revoked it looked %d of 2 times", min(max(0, codacy.lists()-before), 2))
	}, "kubectl -n team-a wait --for=jsonpath='{.status.token.revision}'=2 projecttoken/api --timeout=210s", "condition met")
	s.shell("kubectl -n team-a get projecttokens -o wide", "True", "holds revision 2")

	s.chapter("The process that runs keeps what it was started with; a new one gets the new token")
	first.calls(commit, notFound)
	second := s.consumer("api")
	second.calls(commit, received)

	s.chapter("The resource is deleted, and takes token and Secret along")
	s.shell("kubectl -n team-a delete projecttoken api", "deleted")
	second.calls(commit, notFound)
	s.shell("kubectl -n team-a get secrets", "No resources found")
	s.say("at Codacy nothing is left but the account token, which was made by hand")
	if left := codacy.inWebUI(http.MethodGet, "/tokens"); strings.Contains(left, `"kind":"repository"`) {
		s.err = errors.New("a token of the repository is left at Codacy")
	}
	s.shell(getEvents, "Issued", "Revoked")
}

// issuerAt is the sample of an issuer, with the stand-in for Codacy Cloud.
func (s *story) issuerAt(codacy *standIn) string {
	if s.err != nil {
		return ""
	}
	const file, cloud, interval = "config/samples/codacy/issuer.yaml", "url: " + v1alpha1.CodacyCloud, "checkInterval: 1h"
	sample, err := os.ReadFile(filepath.Join(testenv.Root(), file))
	if err != nil {
		s.err = err
		return ""
	}
	for _, text := range []string{cloud, interval} {
		if strings.Count(string(sample), text) != 1 {
			s.err = fmt.Errorf("%s does not say %q once", file, text) // And must not lead to the real Codacy.
			return ""
		}
	}
	return strings.NewReplacer(
		cloud, fmt.Sprintf("url: %s\n    caBundle: $(base64 < %s | tr -d '\\n')", codacy.url, codacy.file("ca.crt")),
		interval, "checkInterval: 1m",
	).Replace(string(sample))
}
