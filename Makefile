# Hydrant: build, run, test. `make help` lists the targets.

SHELL   := bash
MODULES := shared services/ingest services/buffer services/s3sink services/es services/redshift hydrant e2e
BIN     := $(CURDIR)/bin
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
GOBUILD := go build -ldflags "-X hydrant/shared/settings.Version=$(VERSION)"
LINT    := $(CURDIR)/.cache/golangci-lint-2.15.0

# Each module is built and tested by its own go.mod, as it is released. go.work is for editors.
export GOWORK := off

# Python with the packages of e2e/clients/requirements.txt, for tests that need clients and readers of another origin.
VENV := $(CURDIR)/.cache/venv
export HYDRANT_TEST_PYTHON := $(VENV)/bin/python
# The same for Node.js and e2e/clients/package.json.
NODE := $(CURDIR)/.cache/node
export HYDRANT_TEST_NODE := $(NODE)
# Real nodes of Elasticsearch and OpenSearch, as e2e/internal/esnode makes them.
SEARCH := $(CURDIR)/.cache/search
export HYDRANT_TEST_SEARCH := $(SEARCH)
# The nats CLI, with which docs/nats-cli.md looks at an installation.
NATSCLI := $(CURDIR)/.cache/natscli-0.5.1/nats
export HYDRANT_TEST_NATS_CLI := $(NATSCLI)

DURATION ?= 2m
SEED     ?= $(shell date +%s)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build all programs into bin/
	cd hydrant && $(GOBUILD) -o $(BIN)/hydrant .
	cd services/ingest && $(GOBUILD) -o $(BIN)/hydrant-ingest ./cmd/hydrant-ingest
	cd services/buffer && $(GOBUILD) -o $(BIN)/hydrant-buffer ./cmd/hydrant-buffer
	cd services/s3sink && $(GOBUILD) -o $(BIN)/hydrant-s3sink ./cmd/hydrant-s3sink
	cd services/es && $(GOBUILD) -o $(BIN)/hydrant-es ./cmd/hydrant-es
	cd services/redshift && $(GOBUILD) -o $(BIN)/hydrant-redshift ./cmd/hydrant-redshift

.PHONY: run
run: ## build and start everything in one process; Ctrl-C stops it
	@cd hydrant && $(GOBUILD) -o $(BIN)/hydrant .
	@$(BIN)/hydrant run

.PHONY: redshift
redshift: ## start a stand-in for Redshift beside "make run", at 127.0.0.1:5439, with a PostgreSQL that is gone with it
	@cd e2e && $(GOBUILD) -o $(BIN)/redshift-standin ./cmd/redshift-standin
	@$(BIN)/redshift-standin --with-postgres --s3-endpoint http://127.0.0.1:4572

.PHONY: test
test: needs-cc $(VENV)/ready $(NODE)/ready may-have-search-nodes ## run the tests of every module with the race detector, and end to end
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target $(TESTED:%=test-%) test-faultpoints $(NATSCLI)  # which the next is the first to need
	@echo "== e2e"; cd e2e && go vet ./... && go test -race -count=1 -timeout 15m $(TESTFLAGS) $$(go list ./... | grep -v -e /esnode -e /power)  # builds the programs, so never cached
	@echo "== e2e, search nodes"; cd e2e && go test -race -short -timeout 5m $(TESTFLAGS) ./internal/esnode/...

# Two modules at once: most of their tests wait for something. Those that take longest come first.
TESTED := services/s3sink services/ingest services/buffer shared services/es services/redshift hydrant

.PHONY: $(TESTED:%=test-%)
$(TESTED:%=test-%):
	@echo "== $(@:test-%=%)"; cd $(@:test-%=%) && go vet ./... && go test -race -timeout 10m $(TESTFLAGS) ./...

.PHONY: test-faultpoints
test-faultpoints:
	@echo "== shared, with fault points"; cd shared && go test -race -timeout 2m -tags faults ./faultpoint
	@echo "== services/s3sink, with fault points"; cd services/s3sink && go test -race -timeout 2m -tags faults -run TestKilledWhileAnnouncing .

.PHONY: faults
faults: may-have-search-nodes ## kill, stop and cut everything under load for DURATION (2m) for each destination; SEED repeats a run
	test "$$(uname)" != Linux || { cd e2e && go test -count=1 -timeout 10m -v -parallel 8 ./power -power.seed=$(SEED); }
	cd e2e && go test -count=1 -timeout 30m -v -run '^Test(Search|Redshift)?Faults$$' ./faults -faults.duration=$(DURATION) -faults.seed=$(SEED)

# What the disks have that power is taken from: ext4 or xfs.
FILESYSTEM ?= ext4

.PHONY: power
power: ## cut the power of whole installations for DURATION, and fill their disks, on file systems of their own: as root on Linux; FILESYSTEM=xfs, SEED as above
	cd e2e && go test -count=1 -timeout 2h -v -parallel 8 ./power -power.duration=$(DURATION) -power.seed=$(SEED) -power.filesystem=$(FILESYSTEM)

.PHONY: sleep
sleep: ## stop one replica of each service for a minute at named points, and stop or cut off servers of a NATS cluster in every way; SEED as above
	cd e2e && go test -count=1 -timeout 10m -v -run WakesAfterAMinute ./faults -faults.minute -faults.seed=$(SEED)
	cd e2e && go test -count=1 -timeout 25m -v -run TestServersAsleep . -asleep.for=65s -asleep.turns=8 -cluster.seed=$(SEED)

.PHONY: clocks
clocks: ## have the clocks of NATS servers, and of services, APART (1m) while servers are killed and stopped under load; it builds Go's own packages anew
	cd e2e && go test -count=1 -timeout 40m -v -run TestClocksApart . -clocks.apart=$(or $(APART),1m) -cluster.seed=$(SEED)

# Hydrant's images, and those of public registries that compose.yaml names: images, or images-offline where no registry can be
# reached.
IMAGES ?= images
# Whether Elasticsearch and OpenSearch are among what is delivered to: where no registry can be reached, their stand-ins need Java 21.
SEARCH_LEG ?= true
COMPOSE_RUN ?= TestCompose
# The tag of the images that TestComposeUpgrade goes to from HYDRANT_VERSION's, and back; if empty, those under another tag.
NEXT ?=
# Of what the test does to the installation, the steps with this in their names; all of them if empty.
STEPS ?=
# Which tests of the end-to-end suite run against compose.yaml too, and how many at once: most of their time is waiting.
COMPOSE_SUITE ?= .
COMPOSE_SUITE_PARALLEL ?= 3
TAG := $(or $(HYDRANT_VERSION),local)

.PHONY: images
images: ## build the container images, with Docker's own Compose
	@./.ci/with-docker env HYDRANT_REVISION="$$(git rev-parse HEAD 2>/dev/null || echo unknown)" docker compose --profile '*' build

.PHONY: images-offline
images-offline: ## build them where no registry can be reached, and stand-ins for the images of others
	@./.ci/with-docker ./.ci/images-offline

.PHONY: compose-test
compose-test: ## start compose.yaml, then scale and kill it under load for DURATION, and run the suite; IMAGES=images-offline without a registry
	@./.ci/with-docker $(MAKE) --no-print-directory $(IMAGES) compose-run $(if $(COMPOSE_SUITE),compose-suite-run)

.PHONY: compose-suite
compose-suite: ## run the end-to-end suite against compose.yaml; COMPOSE_SUITE='^TestFormats$$' names some of it, IMAGES as above
	@./.ci/with-docker $(MAKE) --no-print-directory $(IMAGES) compose-suite-run

.PHONY: compose-run
compose-run: $(NATSCLI)
	cd e2e && go test -count=1 -timeout 40m -v -run '$(COMPOSE_RUN)' ./compose -compose.run -compose.version=$(TAG) -compose.duration=$(DURATION) -compose.seed=$(SEED) -compose.search=$(SEARCH_LEG) -compose.next=$(NEXT) -compose.steps="$(STEPS)"

.PHONY: compose-suite-run
compose-suite-run: $(VENV)/ready $(NODE)/ready $(NATSCLI)
	cd e2e && go test -count=1 -timeout 15m -v -parallel $(COMPOSE_SUITE_PARALLEL) -run '$(COMPOSE_SUITE)' . -deploy.compose=$(TAG)

.PHONY: bench
bench: ## measure speed, by ratios taken side by side, in eleven minutes; BENCHFLAGS="-rows batch,put-one", -list, -json, -dir
	@cd e2e && go build -o $(BIN)/bench ./bench && $(BIN)/bench $(BENCHFLAGS)

.PHONY: scaling
scaling: ## measure what more replicas of a service add, in twelve minutes, as the tables of docs/scaling.md; needs HAProxy
	@cd e2e && go build -o $(BIN)/bench ./bench && $(BIN)/bench -rows scaling -rounds 4 -markdown $(BENCHFLAGS)

.PHONY: fuzz
fuzz: ## fuzz everything that parses bytes from outside, FUZZTIME (20s) each
	@./.ci/fuzz $${FUZZTIME:-20s}

.PHONY: lint
lint: $(LINT) ## run the linters
	@set -e; unformatted=$$(gofmt -l $(MODULES)); test -z "$$unformatted" || { echo "gofmt -w $$unformatted"; exit 1; }; for m in $(MODULES); do echo "== $$m"; (cd $$m && $(LINT) run --config $(CURDIR)/.golangci.yml ./...); done

$(LINT):
	GOBIN=$(dir $(LINT)) GOFLAGS= go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	mv $(dir $(LINT))golangci-lint $(LINT)

.PHONY: constraints
constraints: ## read the API's constraints anew out of MODEL, botocore's service-2.json[.gz] of firehose
	@test -n "$(MODEL)" || { echo "give MODEL=…/botocore/data/firehose/2015-08-04/service-2.json.gz"; exit 1; }
	cd services/ingest && go run ./internal/model/gen -model "$(abspath $(MODEL))" -out internal/model/constraints.json

.PHONY: zones
zones: ## take the time zone database of the Go distribution over
	cp "$$(go env GOROOT)/lib/time/zoneinfo.zip" shared/objectname/zoneinfo.zip

.PHONY: tidy
tidy: ## bring every go.mod up to date
	@set -e; for m in $(MODULES); do (cd $$m && go mod tidy); done

.PHONY: needs-cc
needs-cc:
	@command -v $$(go env CC) >/dev/null || { echo "make test needs a C compiler for the race detector: apt-get install gcc libc6-dev"; exit 1; }

$(VENV)/ready: e2e/clients/requirements.txt
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { echo "make test needs Python 3 with venv: apt-get install python3-venv"; exit 1; }
	python3 -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(NODE)/ready: e2e/clients/package-lock.json e2e/clients/package.json
	@command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || { echo "make test needs Node.js 20 or newer with npm: apt-get install nodejs npm (Debian 13)"; exit 1; }
	@mkdir -p $(NODE) && cp $^ e2e/clients/.npmrc $(NODE)
	cd $(NODE) && npm ci --silent --no-audit --no-fund
	@touch $@

$(NATSCLI):
	GOBIN=$(dir $(NATSCLI)) GOFLAGS= go install github.com/nats-io/natscli/nats@v0.5.1

.PHONY: natscli-page
natscli-page: $(NATSCLI) ## run the commands of docs/nats-cli.md, and write what they print into it
	cd e2e && go test -count=1 -run TestNATSCLI . -natscli.rewrite

.PHONY: search-nodes
search-nodes: ## fetch the releases of Elasticsearch and OpenSearch that tests run, with Maven and a JDK
	@cd e2e && go run ./internal/esnode/fetch -dir $(SEARCH)

# Without Maven or a new enough JDK the tests of those releases are skipped, except in CI.
.PHONY: may-have-search-nodes
may-have-search-nodes:
	@cd e2e && go run ./internal/esnode/fetch -dir $(SEARCH) || { test -z "$$CI" && echo "tests with those nodes are skipped"; }

.PHONY: clean
clean: ## remove what was built; .hydrant/ stays
	rm -rf bin .cache
