# Everything is fetched or built by these targets themselves; `make help` lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# The race detector needs a C compiler; without one the tests run all the same.
CC_FOUND := $(shell command -v $$(go env CC) 2>/dev/null)
ifneq ($(CC_FOUND),)
RACE := -race
export CGO_ENABLED := 1
endif

GO_FILES := $(shell find api cmd controllers internal hack test -name '*.go' 2>/dev/null) internal/issuer/codacy/api/openapi.yaml
CHART_FILES := $(shell find charts/tokensteward -type f)

# The image has its name in the chart, and nowhere else.
IMAGE := $(shell sed -n 's/^  repository: *//p' charts/tokensteward/values.yaml)
VERSION := $(shell sed -n 's/^appVersion: *//p' charts/tokensteward/Chart.yaml)
HOME_PAGE := $(shell sed -n 's/^home: *//p' charts/tokensteward/Chart.yaml)
CHART := bin/tokensteward-$(VERSION:v%=%).tgz

##@ Use it

.PHONY: demo
demo: bin/manager bin/demo bin/kubectl-steward ## Run the operator on a real API server and tell the story of a token, step by step.
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh) bin/demo

.PHONY: demo-codacy
demo-codacy: bin/manager bin/demo bin/codacy-standin ## The story of a token of Codacy, with a stand-in for Codacy: three minutes, most of them waiting.
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh) bin/demo codacy

.PHONY: dev
dev: bin/manager bin/demo bin/kubectl-steward bin/kubectl_complete-steward ## The same API server and operator, left running to try things; Ctrl-C ends it.
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh) bin/demo --stay

##@ Install it

.PHONY: chart
chart: $(CHART) ## Package the Helm chart into bin/.

.PHONY: image-tar
image-tar: bin/image.tar ## Write the image for amd64 and arm64 as an OCI archive, bin/image.tar, without Docker.

.PHONY: krew
krew: ## Build the kubectl plugin for all platforms into dist/, and its manifest for krew; PLATFORMS names some.
	hack/krew.sh

.PHONY: build-installer
build-installer: ## Write dist/install.yaml: everything, for kubectl apply --server-side.
	mkdir -p dist
	$$(hack/controlplane/assets.sh)/kubectl kustomize config/default >dist/install.yaml

.PHONY: kind-install
kind-install: bin/image.tar $(CHART) bin/helm ## Build the image, load it into a kind cluster (KIND_CLUSTER) and install the chart.
	HELM=bin/helm hack/kind-install.sh bin/image.tar $(CHART)

.PHONY: deploy
deploy: $(CHART) bin/helm ## Install or upgrade the chart in the current cluster; the image must be where it can be pulled from.
	bin/helm upgrade --install tokensteward $(CHART) --namespace tokensteward-system --create-namespace --wait

.PHONY: undeploy
undeploy: bin/helm ## Remove operator, CRDs and namespace; refuses while tokens exist, unless TOKENS=revoke or TOKENS=keep.
	HELM=bin/helm KUBECTL=$$(hack/controlplane/assets.sh)/kubectl hack/undeploy.sh

.PHONY: plugin
plugin: bin/kubectl-steward bin/kubectl_complete-steward ## Build the kubectl plugin; with bin/ on the PATH there is `kubectl steward`.
	@echo "plugin: put $(CURDIR)/bin on the PATH, or copy bin/kubectl-steward and bin/kubectl_complete-steward to where kubectl is."

##@ Develop

.PHONY: build
build: bin/manager ## Build the operator.

.PHONY: test
test: bin/manager bin/helm ## Run all tests, on a real kube-apiserver and etcd.
	@echo "test: compiling; the first time takes minutes ..."
	@# Nothing is taken from Go's cache: it does not know what kubectl, helm and other processes of the tests read.
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh) go test $(RACE) -count=1 -timeout 20m ./api/... ./cmd/... ./controllers/... ./hack/... ./internal/...
	@echo "test: processes that are killed, a simulated year, a thousand rotations; about a quarter of an hour ..."
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh kube-controller-manager) go test -p 2 -count=1 -timeout 40m ./test/...
	@echo "test: the tools that write the image, and look at licences ..."
	cd hack/tools/image && go test ./...
	cd hack/tools/licences && go test ./...
	@echo "test: the dashboard, with Prometheus' engine ..."
	cd hack/tools/dashboard && go test -count=1 ./... # Go's cache sees no change of a file outside of the module.
	@echo "test: compiling Argo CD's engine; the first time takes minutes ..."
	cd test/argocd && go test ./...

.PHONY: test-oldest
test-oldest: bin/manager bin/helm ## Run the tests of the packages on an older kube-apiserver, two minors back; to build that takes long.
	KUBEBUILDER_ASSETS=$$(unset KUBEBUILDER_ASSETS; CONTROLPLANE=oldest hack/controlplane/assets.sh) \
		go test -timeout 30m ./api/... ./cmd/... ./controllers/... ./hack/... ./internal/...

.PHONY: e2e
e2e: bin/helm bin/image.tar $(CHART) bin/e2e/consumer bin/e2e/codacy-standin bin/kubectl-steward bin/kubectl_complete-steward ## The chart, and pods: on KUBECONFIG's cluster, on kind, or on a node that it brings up (Linux, as root).
	@echo "e2e: compiling; the first time takes minutes ..."
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh) go test -tags e2e -count=1 -v -timeout 40m ./test/e2e

.PHONY: e2e-node
e2e-node: ## Test the node that make e2e brings up: do pods run, and is nothing left of it? (Linux, as root.)
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh kube-controller-manager kube-scheduler kubelet kube-proxy) \
		go test -tags e2e -count=1 -timeout 10m ./test/e2e/node

.PHONY: leak-matrix
leak-matrix: ## Kill the operator at each request to Codacy, in every edition: does a token leak? About half an hour.
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh) LEAK_MATRIX=full \
		go test -count=1 -v -timeout 90m -run 'LeakMatrix|Leader|Unknown' ./test/crash

CHAOS_SEEDS ?= 1 2
CHAOS_DURATION ?= 3m

.PHONY: chaos
chaos: bin/chaos.test ## Let everything go wrong at random, once for each of CHAOS_SEEDS and for CHAOS_DURATION each, two at a time (Linux).
	@echo "chaos: seeds $(CHAOS_SEEDS), $(CHAOS_DURATION) each and a few minutes until all is quiet ..."
	@export KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh kube-controller-manager) && cd test/chaos && \
		printf '%s\n' $(CHAOS_SEEDS) | xargs -P 2 -I SEED ../../bin/chaos.test -test.timeout=0 -seed=SEED -duration=$(CHAOS_DURATION)

.PHONY: churn
churn: ## Create and delete 10000 tokens: is the operator afterwards what it was before? About half an hour.
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh) CHURN_TOKENS=10000 go test -count=1 -v -timeout 90m ./test/churn

.PHONY: fuzz
fuzz: ## Run each fuzzer for FUZZTIME (30s), one after the other; what one finds is kept in testdata/fuzz. GUIDED=no compiles faster.
	FUZZTIME="$(FUZZTIME)" FUZZ="$(FUZZ)" GUIDED="$(GUIDED)" hack/fuzz.sh

.PHONY: soak
soak: ## The long forms of the tests: chaos, the whole leak matrix, churn, and each fuzzer for ten minutes. About five hours.
	$(MAKE) chaos CHAOS_SEEDS="$$(seq -s ' ' 1 20)"
	$(MAKE) leak-matrix
	$(MAKE) churn
	$(MAKE) fuzz FUZZTIME=10m

.PHONY: bench
bench: bin/manager bin/linux_amd64/manager bin/bench ## Measure the operator against its targets: docs/performance.md. An hour, or less with BENCH="-only burst -sizes 1000".
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh) bin/bench $(or $(BENCH),-docs docs)

.PHONY: generate
generate: bin/controller-gen bin/oapi-codegen bin/helm bin/crd-ref-docs bin/helm-docs ## Regenerate deep copies, CRDs, RBAC and docs/api-reference.md from the Go types, Codacy's client, config/default and docs/chart-values.md from the chart, and the tables of docs/metrics.md and docs/flags.md.
	bin/controller-gen object:headerFile=hack/boilerplate.go.txt paths=./api/...
	bin/controller-gen crd paths=./api/... output:crd:dir=config/crd/bases
	cp config/crd/bases/*.yaml charts/tokensteward/files/crds/
	bin/controller-gen rbac:roleName=tokensteward paths=./controllers/... output:rbac:dir=config/rbac
	bin/oapi-codegen -config internal/issuer/codacy/api/oapi-codegen.yaml internal/issuer/codacy/api/openapi.yaml
	bin/crd-ref-docs --source-path=api/v1alpha1 --config=hack/tools/crd-ref-docs/config.yaml --renderer=markdown \
		--output-path=docs/api-reference.md --log-level=error
	bin/helm-docs --log-level=error --chart-search-root charts --sort-values-order file \
		--template-files ../hack/tools/helm-docs/chart-values.md.gotmpl --output-file ../../docs/chart-values.md
	go test ./internal/metrics ./internal/manager -run Page -update
	bin/helm template tokensteward charts/tokensteward --namespace tokensteward-system --set crds.enabled=false | \
		sed -e '/helm.sh\/chart:/d' -e '/app.kubernetes.io\/managed-by:/d' >config/default/manifests.yaml

.PHONY: lint
lint: bin/golangci-lint ## Run the linters; .golangci.yml says what each is for.
	bin/golangci-lint run

.PHONY: licences
licences: bin/licences ## Fail if a module in a shipped binary has no licence, or one that hack/tools/licences does not allow.
	bin/licences ./cmd/manager=linux ./cmd/kubectl-steward=linux,darwin,windows

.PHONY: vulncheck
vulncheck: bin/govulncheck ## Fail if the shipped binaries call what is known to be vulnerable, or if that can't be found out.
	hack/vulncheck.sh bin/govulncheck

.PHONY: sbom
sbom: bin/cyclonedx-gomod bin/linux_amd64/manager bin/linux_arm64/manager bin/kubectl-steward ## Write the modules in the shipped binaries to dist/, as CycloneDX.
	mkdir -p dist
	for platform in linux_amd64 linux_arm64; do \
		bin/cyclonedx-gomod bin -json -std -version $(VERSION) \
			-output dist/tokensteward-$(VERSION)-manager-$$platform.cdx.json bin/$$platform/manager || exit 1; done
	bin/cyclonedx-gomod bin -json -std -version $(VERSION) \
		-output dist/tokensteward-$(VERSION)-kubectl-steward.cdx.json bin/kubectl-steward

.PHONY: alerts
alerts: bin/promtool ## Test the alerts with Prometheus' own promtool.
	bin/promtool check rules charts/tokensteward/files/alerts.yaml
	bin/promtool test rules test/alerts/alerts.yaml

.PHONY: site
site: ## Make a web site of docs/ in dist/site; fails if a link leads nowhere.
	cd hack/tools/site && go run . -docs ../../../docs -out ../../../dist/site -repository $(HOME_PAGE)/blob/main
	@echo "site: open dist/site/index.html in a browser."

.PHONY: dashboard
dashboard: ## Draw docs/images/dashboard.svg: the chart's dashboard of a made day, its queries run by Prometheus' engine.
	cd hack/tools/dashboard && go run . ../../../charts/tokensteward/files/dashboard.json ../../../docs/images/dashboard.svg

.PHONY: pictures
pictures: bin/manager bin/demo bin/kubectl-steward ## Draw the README's pictures from what the demo prints.
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh) bin/demo >bin/demo.txt
	go run ./hack/pictures 4,5 docs/images/demo.svg <bin/demo.txt
	go run ./hack/pictures 6 docs/images/plugin.svg <bin/demo.txt

.PHONY: record
record: ## Write down what this version's operator leaves in a cluster, for test/versions. With each release.
	KUBEBUILDER_ASSETS=$$(hack/controlplane/assets.sh) go run ./hack/record test/versions/testdata/$(VERSION)

.PHONY: fmt
fmt: bin/golangci-lint ## Format the code.
	bin/golangci-lint fmt

.PHONY: verify
verify: generate lint licences alerts dashboard site ## Regenerate, tidy, lint, vet, check licences, test the alerts; fail if that changes a file.
	go mod tidy
	for tool in hack/tools/* hack/controlplane hack/controlplane/oldest test/argocd; do (cd $$tool && go mod tidy) || exit 1; done
	go vet ./... && go vet -tags e2e,chaos ./test/e2e/... ./test/chaos/...
	@changed=$$(git status --porcelain); if [ -n "$$changed" ]; then \
		echo "verify: these files are not what the generators make of the sources, or are not committed:"; \
		echo "$$changed"; git --no-pager diff; exit 1; fi
	@echo "verify: nothing to change."

.PHONY: clean
clean: ## Remove what was built, the control plane included.
	rm -rf bin dist

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-zA-Z_-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

bin/manager: $(GO_FILES) go.mod go.sum
	@echo "build: compiling the operator; the first time takes minutes ..."
	CGO_ENABLED=0 go build -trimpath -o $@ ./cmd/manager

bin/demo: $(GO_FILES) go.mod go.sum
	CGO_ENABLED=0 go build -trimpath -o $@ ./hack/demo

bin/chaos.test: $(GO_FILES) go.mod go.sum
	@echo "chaos: compiling; the first time takes minutes ..."
	go test -tags chaos -c -o $@ ./test/chaos

bin/bench: $(GO_FILES) go.mod go.sum
	CGO_ENABLED=0 go build -trimpath -o $@ ./test/bench

bin/codacy-standin: $(GO_FILES) go.mod go.sum
	CGO_ENABLED=0 go build -trimpath -o $@ ./hack/codacy-standin

bin/kubectl-steward: $(GO_FILES) go.mod go.sum charts/tokensteward/Chart.yaml
	@echo "plugin: compiling; the first time takes a minute ..."
	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -X github.com/tokensteward/tokensteward/internal/version.Version=$(VERSION)" -o $@ ./cmd/kubectl-steward

bin/kubectl_complete-steward: hack/plugin/kubectl_complete-steward
	cp $< $@

bin/linux_%/manager: hack/build.sh $(GO_FILES) go.mod go.sum charts/tokensteward/Chart.yaml
	@echo "image: compiling the operator for linux/$*; the first time takes minutes ..."
	GOOS=linux GOARCH=$* VERSION=$(VERSION) hack/build.sh $@

.SECONDARY: bin/linux_amd64/manager bin/linux_arm64/manager
bin/image.tar: bin/image bin/linux_amd64/manager bin/linux_arm64/manager $(CHART_FILES)
	bin/image --ref $(IMAGE):$(VERSION) --version $(VERSION) --output $@ \
		linux/amd64=bin/linux_amd64/manager linux/arm64=bin/linux_arm64/manager

bin/image: hack/tools/image/main.go hack/tools/image/go.mod hack/tools/image/go.sum
	cd hack/tools/image && go build -o ../../../$@ .

# What runs in the pods of the end-to-end tests.
bin/e2e/%: $(GO_FILES) go.mod go.sum
	CGO_ENABLED=0 GOOS=linux go build -trimpath -o $@ $(if $(filter consumer,$*),./test/e2e/consumer,./hack/$*)

bin/controller-gen: hack/tools/controller-gen/go.mod
	cd hack/tools/controller-gen && go build -o ../../../$@ sigs.k8s.io/controller-tools/cmd/controller-gen

bin/oapi-codegen: hack/tools/oapi-codegen/go.mod
	cd hack/tools/oapi-codegen && go build -o ../../../$@ github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen

bin/helm: hack/tools/helm/go.mod
	@echo "helm: building it; the first time takes minutes ..."
	cd hack/tools/helm && go build -o ../../../$@ helm.sh/helm/v4/cmd/helm

$(CHART): $(CHART_FILES) bin/helm
	rm -f bin/tokensteward-*.tgz
	bin/helm package charts/tokensteward --destination bin

bin/crd-ref-docs: hack/tools/crd-ref-docs/go.mod
	@echo "generate: building crd-ref-docs; the first time takes a minute ..."
	cd hack/tools/crd-ref-docs && go build -o ../../../$@ github.com/elastic/crd-ref-docs

bin/helm-docs: hack/tools/helm-docs/go.mod
	@echo "generate: building helm-docs; the first time takes a minute ..."
	cd hack/tools/helm-docs && go build -o ../../../$@ github.com/norwoodj/helm-docs/cmd/helm-docs

bin/promtool: hack/tools/promtool/go.mod
	@echo "alerts: building promtool; the first time takes minutes ..."
	cd hack/tools/promtool && go build -tags remove_all_sd -o ../../../$@ github.com/prometheus/prometheus/cmd/promtool

bin/golangci-lint: hack/tools/golangci-lint/go.mod
	@echo "lint: building golangci-lint; the first time takes a minute ..."
	cd hack/tools/golangci-lint && go build -o ../../../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bin/licences: hack/tools/licences/main.go hack/tools/licences/go.mod hack/tools/licences/go.sum
	cd hack/tools/licences && go build -o ../../../$@ .

bin/cyclonedx-gomod: hack/tools/cyclonedx-gomod/go.mod
	@echo "sbom: building cyclonedx-gomod; the first time takes a minute ..."
	cd hack/tools/cyclonedx-gomod && CGO_ENABLED=0 go build -o ../../../$@ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

bin/govulncheck: hack/tools/govulncheck/go.mod
	cd hack/tools/govulncheck && go build -o ../../../$@ golang.org/x/vuln/cmd/govulncheck
