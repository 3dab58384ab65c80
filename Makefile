# make demo: the main job on loopback. make test: everything, with its own set-up.
export CGO_ENABLED := 0
# One set of flags for what is built and what is tested: a package is compiled once for both.
export GOFLAGS += -trimpath
GO      ?= go
FUZZTIME ?= 10s
BIN     := bin

# The race detector needs cgo; nothing that ships does.
RACE := CGO_ENABLED=1 $(GO) test -race

.PHONY: build demo test test-whole test-sharing test-race test-dates check sbom crash crash-controls bench go-bench kit corpus bench-xmlsig bench-trust bench-journal bench-intake bench-console bench-doors screens fuzz certs trace test-nca deps

build:
	$(GO) build -o $(BIN)/egov-gateway ./cmd/egov-gateway
	$(GO) build -o $(BIN)/egov-statesim ./cmd/egov-statesim

demo: build
	$(BIN)/egov-gateway demo $(DEMOFLAGS)

# What the tests need from the system; installed when missing and allowed, else named.
deps:
	@./.ci/deps

# The whole pass waits for others much of its time (servers, browsers, clocks); the race detector looks beside it
# at what shares memory: the parts with goroutines of their own, and a request's whole way through all of them.
# make test-race looks at everything; CI does.
SHARING := ./gateway/admission ./gateway/cabinet ./gateway/channel ./gateway/console ./gateway/flow ./gateway/httpserver ./gateway/intake \
	./gateway/journal/sqlitejournal ./gateway/pipeline ./gateway/revocation/... ./gateway/upstream ./gateway/verification
WHOLE_WAY := ^(TestTheWholeWay|TestOnceOnly|TestAReloadDropsNothing)$$

test: deps build
	$(GO) vet ./...
	@$(MAKE) --no-print-directory -k -j2 test-whole test-sharing

test-whole:
	$(GO) test -timeout 30m ./...

test-sharing:
	$(RACE) -short -timeout 30m $(SHARING)
	$(RACE) -short -timeout 30m -run '$(WHOLE_WAY)' ./cmd/egov-gateway

test-race: deps
	$(RACE) -short -timeout 30m ./...

# The tests as if it were AT_DAYS later, once and without the race detector: nothing may depend on today.
AT_DAYS  ?= 400
AT_DATE  := $(firstword $(wildcard ../shared/tools/at-date) ./.ci/at-date)
PACKAGES ?= ./...
test-dates: deps
	$(AT_DATE) $(AT_DAYS) $(GO) test -timeout 30m $(PACKAGES)

# The real certificates, lists, answers and documents of the National Certification Authority;
# NCA names the folder that holds them. They are not part of this repository.
NCA ?= ../shared/nca
test-nca:
	@test -d "$(NCA)" || { echo "NCA=$(NCA) is no folder with the NCA's material" >&2; exit 1; }
	@mkdir -p $(BIN)
	NCA="$(abspath $(NCA))" $(GO) test -count=1 -v -run 'Real|ProductionRoots' ./gateway/trust ./gateway/revocation ./gateway/xmlsig/... ./gateway/verification ./cmd/egov-gateway > $(BIN)/test-nca.log || { cat $(BIN)/test-nca.log; exit 1; }
	@! grep -- '--- SKIP' $(BIN)/test-nca.log
	@grep -E '^ *--- PASS' $(BIN)/test-nca.log

# Every requirement of the decrees with the tests that name it.
trace:
	@./.ci/trace

check: trace
	test -z "$$(gofmt -l .)"
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	./.ci/vulncheck

# What the shipped program is made of, by module, version and licence (CycloneDX): bin/egov-gateway.cdx.json.
sbom: build
	$(GO) run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 app -json -licenses -packages=false -std -output-version 1.6 -output $(BIN)/egov-gateway.cdx.json -main cmd/egov-gateway .

# Nothing acknowledged is lost or done twice: real gateways, a portal that repeats itself, faults
# at random instants for CRASH_TIME in all, then losses of power and the controls. The record is
# gateway/journal/CAMPAIGN.md; every run adds its lines to bin/crash.jsonl. make test runs it all in the small.
CRASH_TIME   ?= 10m
POWER_ROUNDS ?= 40
SEED         ?= 0
crash: deps
	@mkdir -p $(BIN)
	$(GO) test -count=1 -timeout 3h -v -run '^TestCrashCampaign$$' ./cmd/egov-gateway -crash.time $(CRASH_TIME) -crash.seed $(SEED) -crash.reports "$(abspath $(BIN))/crash.jsonl"
	$(GO) test -count=1 -timeout 1h -v -run 'PowerLoss|OnDisk|Durably' ./gateway/journal/powerloss -powerloss.rounds $(POWER_ROUNDS) -powerloss.seed $(SEED)
	@$(MAKE) --no-print-directory crash-controls

crash-controls:
	$(GO) test -count=1 -v -run '^TestTheCampaignFindsBrokenJournals$$' ./cmd/egov-gateway -crash.seed $(SEED)

# The table of the README, on this machine. BENCHFLAGS="--runs 5 --json new.json --compare old.json"
bench: build
	$(BIN)/egov-gateway bench $(BENCHFLAGS)

# Every Go benchmark.
go-bench:
	$(GO) test -run '^$$' -bench . -benchtime 1s ./...

# The conformance kit that any verifier can be scored with, and xmlsec1 scored on it.
kit: build
	rm -rf $(BIN)/kit
	$(BIN)/egov-gateway corpus generate --kit $(BIN)/kit
	$(BIN)/egov-gateway verify --corpus $(BIN)/kit
	$(BIN)/egov-gateway corpus adapter xmlsec1 --out $(BIN)/xmlsec1.sh
	$(BIN)/egov-gateway verify --corpus $(BIN)/kit --verifier $(BIN)/xmlsec1.sh > $(BIN)/xmlsec1.jsonl || true

# The corpus that the tests replay, anew: when documents, passports or the test PKI change.
corpus: build
	rm -f cmd/egov-gateway/testdata/corpus.zip
	$(BIN)/egov-gateway corpus generate -n 140 cmd/egov-gateway/testdata/corpus.zip

# How fast signatures are verified, on one core: documents against goxmldsig and xmlsec1's
# library, GOST against OpenSSL's engine. What is not installed is named.
PIN := $(shell command -v taskset >/dev/null && echo taskset -c 0)
bench-xmlsig:
	GOMAXPROCS=1 $(PIN) $(GO) test -run '^$$' -bench '^BenchmarkTable$$' -benchtime 1x ./gateway/xmlsig
	GOMAXPROCS=1 $(PIN) $(GO) test -v -run '^$$' -bench '^BenchmarkAgainstOpenSSL$$' -benchtime 1x ./gateway/xmlsig/gost

# What is promised of decisions and revocation lists, measured in one run; fails when broken.
bench-trust:
	$(GO) test -run '^$$' -bench '^BenchmarkTable$$' -benchtime 1x ./gateway/verification

# How fast the journal takes and moves requests, empty and with JOURNAL_AGE of them stored.
JOURNAL_AGE ?= 1000000
bench-journal:
	$(GO) test -run '^$$' -bench '^Benchmark(Accept|Advance)$$' -benchtime 50000x ./gateway/journal/...
	JOURNAL_AGE=$(JOURNAL_AGE) $(GO) test -timeout 30m -run '^$$' -bench '^BenchmarkAge$$' -benchtime 1x ./gateway/journal/sqlitejournal
	$(GO) test -run '^$$' -bench '^BenchmarkInstances$$' -benchtime 1x ./cmd/egov-gateway

# The portal's door, beside a bare handler in the same server.
bench-intake:
	$(GO) test -run '^$$' -bench '^BenchmarkIntake$$' -benchtime 4000x ./cmd/egov-gateway

# What the operators' pages cost with JOURNAL_AGE requests stored; fails above 100 ms.
bench-console:
	JOURNAL_AGE=$(JOURNAL_AGE) $(GO) test -timeout 30m -run '^$$' -bench '^BenchmarkPages$$' -benchtime 1x ./gateway/console

# What an honest portal gets while others attack the doors, on loopback: TEST ONLY.
bench-doors:
	$(GO) test -timeout 10m -run '^$$' -bench '^BenchmarkDoors$$' -benchtime 1x ./cmd/egov-gateway

# The README's pictures anew, from the browser tests; all of them stay in bin/screens.
screens: deps
	@mkdir -p gateway/monitoring/screens
	CI=true $(GO) test -count=1 -run 'InABrowser' ./cmd/egov-gateway
	cp $(BIN)/screens/readme-regions.png gateway/monitoring/screens/regions.png
	cp $(BIN)/screens/readme-request.png gateway/monitoring/screens/request.png

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
