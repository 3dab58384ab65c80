# make demo: the main job on loopback. make test: everything, with its own set-up.
export CGO_ENABLED := 0
GO      ?= go
FUZZTIME ?= 10s
BIN     := bin

# The race detector needs cgo; nothing that ships does.
RACE := CGO_ENABLED=1 $(GO) test -race

.PHONY: build demo test check bench bench-xmlsig bench-trust fuzz certs trace deps

build:
	$(GO) build -trimpath -o $(BIN)/egov-gateway ./cmd/egov-gateway
	$(GO) build -trimpath -o $(BIN)/egov-statesim ./cmd/egov-statesim

demo: build
	$(BIN)/egov-gateway demo $(DEMOFLAGS)

# What the tests need from the system; installed when missing and allowed, else named.
deps:
	@./.ci/deps

test: deps build
	$(GO) vet ./...
	$(GO) test ./...
	$(RACE) -short ./...

# Every requirement of the decrees with the tests that name it.
trace:
	@./.ci/trace

check: trace
	test -z "$$(gofmt -l .)"
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	./.ci/vulncheck

bench:
	$(GO) test -run '^$$' -bench . -benchtime 1s ./...

# How fast signatures are verified, on one core: documents against goxmldsig and xmlsec1's
# library, GOST against OpenSSL's engine. What is not installed is named.
PIN := $(shell command -v taskset >/dev/null && echo taskset -c 0)
bench-xmlsig:
	GOMAXPROCS=1 $(PIN) $(GO) test -run '^$$' -bench '^BenchmarkTable$$' -benchtime 1x ./gateway/xmlsig
	GOMAXPROCS=1 $(PIN) $(GO) test -v -run '^$$' -bench '^BenchmarkAgainstOpenSSL$$' -benchtime 1x ./gateway/xmlsig/gost

# What is promised of decisions and revocation lists, measured in one run; fails when broken.
bench-trust:
	$(GO) test -run '^$$' -bench '^BenchmarkTable$$' -benchtime 1x ./gateway/verification

# Every fuzz target for FUZZTIME each.
fuzz:
	@set -e; for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$pkg; \
		done; \
	done

# Check the committed test PKI, and that a fresh one can be made.
certs: build
	$(BIN)/egov-gateway certs check
	dir=$$(mktemp -d) && $(BIN)/egov-gateway certs generate $$dir && $(BIN)/egov-gateway certs check --dir $$dir && rm -rf $$dir
