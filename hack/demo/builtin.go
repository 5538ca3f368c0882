package main

const (
	accepted = `200 {"success":"token accepted"}`
	refused  = `401 {"error":"not found"}`
)

// tellBuiltIn is the story of tokens that the authority within the operator hands out and checks.
func tellBuiltIn(s *story) {
	s.service = service{
		caFile: s.operator.CAFile, environment: []string{"AUTHORITY=" + s.operator.AuthorityURL}, request: "GET …/authorize/%-20s",
	}

	s.chapter("An issuer: its account alice may reach the organization gh/acme, and the namespace team-a may have tokens of it")
	s.shell("kubectl create namespace team-a", "created")
	s.shell("cat config/samples/issuer.yaml", "builtIn")
	s.shell("kubectl apply -f config/samples/issuer.yaml", "created")
	s.shell("kubectl wait --for=condition=Ready clustertokenissuer/default --timeout=60s", "condition met")

	s.chapter("A token for alice, and one for each of two projects")
	s.shell("cat config/samples/accounttoken.yaml config/samples/projecttokens.yaml", "kind: ProjectToken")
	s.shell("kubectl apply -f config/samples/accounttoken.yaml -f config/samples/projecttokens.yaml", "created")
	s.shell("kubectl -n team-a wait --for=condition=Ready accounttoken/alice projecttoken/website projecttoken/backend --timeout=60s", "condition met")
	s.shell("kubectl -n team-a get tokensteward", "alice", "gh/acme/website", "gh/acme/backend", "True")

	s.chapter("The tokens are in Secrets, under keys that are names of environment variables (the values stay there)")
	s.shell("kubectl -n team-a describe secret alice backend-ci", "API_TOKEN:", "BACKEND_TOKEN:", "bytes")

	s.chapter("Processes start with a Secret as their environment, as containers do with envFrom, and use it")
	alice, website := s.consumer("alice"), s.consumer("website")
	alice.calls("gh/acme/website", accepted)
	alice.calls("gh/acme/backend", accepted)
	alice.calls("gh/umbrella/website", refused)
	website.calls("gh/acme/website", accepted)
	website.calls("gh/acme/backend", refused)

	s.chapter("A second token of the same account is revoked alone: the first goes on")
	s.shell("kubectl apply -f config/samples/accounttoken-laptop.yaml", "created")
	s.shell("kubectl -n team-a wait --for=condition=Ready accounttoken/alice-laptop --timeout=60s", "condition met")
	laptop := s.consumer("alice-laptop")
	laptop.calls("gh/acme/website", accepted)
	s.shell("kubectl -n team-a delete accounttoken alice-laptop", "deleted")
	laptop.calls("gh/acme/website", refused)
	alice.calls("gh/acme/website", accepted)

	s.chapter("The kubectl plugin: a rotation, after which a process that holds the previous token still works")
	s.shell("kubectl steward rotate projecttoken/website --namespace team-a --wait", "holds revision 2", "revision 1 stays valid until")
	website.calls("gh/acme/website", accepted)
	s.shell("kubectl steward list", "projecttoken/website", "gh/acme/website")
	s.shell("kubectl steward verify --all --namespace team-a --authority-url "+s.operator.AuthorityURL, "Accepted as alice.", "Accepted as gh/acme/backend.")
	s.shell("kubectl steward status", "All of 3 tokens are as they should be.")

	s.chapter("Deleted resources take their tokens and Secrets along; the same processes are refused")
	s.shell("kubectl -n team-a delete accounttoken,projecttoken --all", "deleted")
	alice.calls("gh/acme/website", refused)
	website.calls("gh/acme/website", refused)
	s.shell("kubectl -n team-a get secrets", "No resources found")
	s.shell(getEvents, "Issued", "Revoked")
}
