# Two modules (the root and standins), no cgo: every target shares one build cache.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath

PROFILE ?= core
ARTIFACTS ?= _artifacts
# Flags for `amc up` and `amc run`, for example UP="--clusters 3" RUN="--include SCOPE-*,LB-01".
UP ?=
RUN ?=
# How many more fleets like it share the specs: less time, more memory.
TWINS ?= 0

AMC := bin/amc
twins := $(patsubst %,$(ARTIFACTS)/twin%,$(shell seq 1 $(TWINS)))

# The fleets that decide the statements of the page "Install Multicluster", one after the other: flags of `amc up` and of `amc run` for
# each. On three clusters only what needs a third one runs, so that run is partial (exit code 2).
FLEETS := default three-clusters single-network shared-network primary-remote
CLAIMS := control-plane-operations,gateway-hardening,live-topology-changes,locality-routing,outages,partition-tolerance,scope-rules,sidecar-interop,tls-passthrough,uneven-services,waypoint-traffic-policies,waypoint-variants
run-default := --profile all --claim $(CLAIMS)
up-three-clusters := --clusters 3
run-three-clusters := --profile all --claim $(CLAIMS) --include TOP-01,TOP-05 || [ $$? = 2 ]
up-single-network := --variant single-network
up-shared-network := --variant shared-network
up-primary-remote := --variant primary-remote
run-single-network := --profile limits
run-shared-network := --profile limits
run-primary-remote := --profile limits

.PHONY: help test cross race conformance page $(FLEETS:%=page-%) up down bench amc

help: ## what can be made here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

conformance: up ## bring up a fleet (or use the one that is up) and run PROFILE (core) on it; everything lands in _artifacts/
	$(AMC) run --artifacts $(ARTIFACTS) --fleet $(ARTIFACTS)/fleet.yaml $(twins:%=--twin %/fleet.yaml) --profile $(PROFILE) $(RUN)

page: $(FLEETS:%=page-%) ## decide the page "Install Multicluster" on all the fleets it takes; each bundle lands in a folder of _artifacts/

$(FLEETS:%=page-%): page-%: amc
	$(AMC) up --artifacts $(ARTIFACTS)/$* $(up-$*)
	$(AMC) run --artifacts $(ARTIFACTS)/$* --fleet $(ARTIFACTS)/$*/fleet.yaml $(run-$*)
	$(AMC) down --artifacts $(ARTIFACTS)/$*

up: amc ## bring up a fleet, and its TWINS: images, two clusters, mesh, isolation proof
	for fleet in $(ARTIFACTS) $(twins); do $(AMC) up --artifacts $$fleet $(UP) || exit; done

down: amc ## remove the fleet, and its twins
	for fleet in $(ARTIFACTS) $(wildcard $(ARTIFACTS)/twin*); do $(AMC) down --artifacts $$fleet || exit; done

bench: conformance ## figures of this run: images, clusters, mesh, specs, memory; the stream against kubectl exec; amc list, verify against sha256sum, the page in Chromium
	$(AMC) bench --artifacts $(ARTIFACTS)
	go test ./cmd/amc ./reports -run "^$$" -bench "List|Verify|Page" -benchtime 1x

amc:
	go build -o $(AMC) ./cmd/amc

test: ## the project's own tests: linters (gofmt and vet among them), dead code, then the tests; needs no cluster
	go tool -modfile tools/golangci-lint.mod golangci-lint run ./...
	@dead=$$(go tool -modfile tools/deadcode.mod deadcode -test ./...) || exit 1; \
	  dead=$$(echo "$$dead" | grep -v "unreachable func: Example"); \
	  if [ -n "$$dead" ]; then echo "$$dead"; echo "no code and no test reaches these functions: remove them, or what should call them is missing"; exit 1; fi
	go test ./...
	cd standins && go tool -modfile ../tools/golangci-lint.mod golangci-lint run ./...
	cd standins && go test ./...

cross: ## build amc for the systems on which people only verify, render and compare bundles
	GOOS=windows go build -o /dev/null ./cmd/amc
	GOOS=darwin go build -o /dev/null ./cmd/amc

race: ## all that runs side by side, under the race detector; needs a C compiler
	CGO_ENABLED=1 go test -race ./framework/... ./clusters/... ./reports/bundle ./reports/verify ./run ./mutants
	cd standins && CGO_ENABLED=1 go test -race ./...
