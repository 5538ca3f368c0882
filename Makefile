# Everything is fetched or built by these targets themselves; `make help` lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# The race detector needs a C compiler; without one the tests run all the same.
CC_FOUND := $(shell command -v $$(go env CC) 2>/dev/null)
ifneq ($(CC_FOUND),)
RACE := -race
export CGO_ENABLED := 1
endif

GO_FILES := $(shell find api cmd controllers internal hack test -name '*.go' 2>/dev/null)

##@ Use it

.PHONY: demo
demo: bin/manager bin/demo ## Run the operator on a real API server and tell the story of a token, step by step.
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh) bin/demo

.PHONY: demo-codacy
demo-codacy: bin/manager bin/demo bin/codacy-standin ## The story of a token of Codacy, with a stand-in for Codacy: three minutes, most of them waiting.
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh) bin/demo codacy

.PHONY: dev
dev: bin/manager bin/demo ## The same API server and operator, left running to try things; Ctrl-C ends it.
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh) bin/demo --stay

##@ Develop

.PHONY: build
build: bin/manager ## Build the operator.

.PHONY: test
test: bin/manager ## Run all tests, on a real kube-apiserver and etcd.
	@echo "test: compiling; the first time takes minutes ..."
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh) go test $(RACE) -timeout 20m ./api/... ./cmd/... ./controllers/... ./hack/... ./internal/...
	@echo "test: processes that are killed, and many resources; about ten minutes ..."
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh) go test -p 1 -timeout 40m ./test/...
	@echo "test: compiling Argo CD's engine; the first time takes minutes ..."
	cd test/argocd && go test ./...

.PHONY: leak-matrix
leak-matrix: ## Kill the operator at each request to Codacy, in every edition: does a token leak? About half an hour.
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh) LEAK_MATRIX=full \
		go test -count=1 -v -timeout 90m -run 'LeakMatrix|Leader|Unknown' ./test/crash

.PHONY: bench
bench: bin/manager ## Run the benchmarks. They report, and assert nothing.
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh) go test -run '^$$' -bench . -benchtime 1x -timeout 30m ./test/...

.PHONY: generate
generate: bin/controller-gen bin/oapi-codegen ## Regenerate deep copies, CRDs and RBAC from the Go types, and Codacy's client.
	bin/controller-gen object:headerFile=hack/boilerplate.go.txt paths=./api/...
	bin/controller-gen crd paths=./api/... output:crd:dir=config/crd/bases
	bin/controller-gen rbac:roleName=tokensteward paths=./controllers/... output:rbac:dir=config/rbac
	bin/oapi-codegen -config internal/issuer/codacy/api/oapi-codegen.yaml internal/issuer/codacy/api/openapi.yaml

.PHONY: lint
lint: bin/golangci-lint ## Run the linters; .golangci.yml says what each is for.
	bin/golangci-lint run

.PHONY: fmt
fmt: bin/golangci-lint ## Format the code.
	bin/golangci-lint fmt

.PHONY: verify
verify: generate lint ## Regenerate, tidy, lint and vet; fail if that changes a file.
	go mod tidy
	for tool in hack/tools/* hack/controlplane test/argocd; do (cd $$tool && go mod tidy) || exit 1; done
	go vet ./...
	@changed=$$(git status --porcelain); if [ -n "$$changed" ]; then \
		echo "verify: these files are not what the generators make of the sources, or are not committed:"; \
		echo "$$changed"; git --no-pager diff; exit 1; fi
	@echo "verify: nothing to change."

.PHONY: clean
clean: ## Remove what was built, the control plane included.
	rm -rf bin

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-zA-Z_-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

bin/manager: $(GO_FILES) go.mod go.sum
	@echo "build: compiling the operator; the first time takes minutes ..."
	CGO_ENABLED=0 go build -trimpath -o $@ ./cmd/manager

bin/demo: $(GO_FILES) go.mod go.sum
	CGO_ENABLED=0 go build -trimpath -o $@ ./hack/demo

bin/codacy-standin: $(GO_FILES) go.mod go.sum
	CGO_ENABLED=0 go build -trimpath -o $@ ./hack/codacy-standin

bin/controller-gen: hack/tools/controller-gen/go.mod
	cd hack/tools/controller-gen && go build -o ../../../$@ sigs.k8s.io/controller-tools/cmd/controller-gen

bin/oapi-codegen: hack/tools/oapi-codegen/go.mod
	cd hack/tools/oapi-codegen && go build -o ../../../$@ github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen

bin/golangci-lint: hack/tools/golangci-lint/go.mod
	@echo "lint: building golangci-lint; the first time takes a minute ..."
	cd hack/tools/golangci-lint && go build -o ../../../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
