# One module, no cgo: every target shares one build cache.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath

.PHONY: help test

help: ## what can be made here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: ## the project's own tests: format, vet, unit tests; needs no cluster
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not formatted (run gofmt -w):"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go test ./...
