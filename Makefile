# What a person types; `make help` lists it. CI runs check and test.
MAKEFLAGS += --no-print-directory
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Tests run what they need only with these; CGO is off wherever the race detector doesn't want it.
export CGO_ENABLED ?= 0
TIMEOUT   ?= 20m
FUZZTIME  ?= 30s
# Releases of ansible-core that tests use: the oldest, the newest and the next one. Tests find them in MITOGEN_ANSIBLE.
RELEASES  ?= 2.14 newest next
ANSIBLE   := MITOGEN_ANSIBLE="$${MITOGEN_ANSIBLE-$$(scripts/ansible-releases.sh $(RELEASES))}"
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS   := -s -w -X github.com/mitogen-go/mitogen/internal/cli.version=$(VERSION)
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 freebsd/amd64 freebsd/arm64
LINT      := go tool -modfile=tools/lint.mod
# Tests with attackers have long forms, by one of these.
ATTACKS   := hostile\.(Long|Rounds)\(|"MITOGEN_HOSTILE"
# A benchmark compares with an earlier revision if there is one: make bench BEFORE=v1 BENCHFLAGS='-peers=false -runs 9'
BEFORE    ?=
COMPARED  := $(if $(BEFORE),-before '$(BEFORE)')
BENCHFLAGS ?=

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## bin/mitogen, one static file
	@mkdir -p bin
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/mitogen ./cmd/mitogen

demo: build ## see what it does, on this machine alone
	@{ command -v python3 && command -v ssh; } >/dev/null || scripts/setup-tests.sh
	bin/mitogen demo

setup: ## install what the tests need, or say what that is
	@scripts/setup-tests.sh
	@scripts/ansible-releases.sh $(RELEASES) >/dev/null

test: setup ## all tests, on every interpreter found
	$(ANSIBLE) go test -timeout $(TIMEOUT) ./...

test-ansible: setup ## the plugin with many releases of Ansible, and on several Pythons
	@scripts/test-ansible.sh

race: setup ## all tests under the race detector
	$(ANSIBLE) CGO_ENABLED=1 go test -race -timeout 30m ./...

soak: setup ## the long forms of the tests: whole standard libraries, 1,000 random kills
	$(ANSIBLE) MITOGEN_SOAK=1 go test -count=1 -timeout 4h ./...

test-network: setup ## results, stalls and breaks over bad links of all kinds, beside ssh
	MITOGEN_NETWORK=1 go test -count=1 -timeout 60m ./internal/network

hostile: setup ## the long forms of all tests with attackers: other users, hosts, hops, servers
	$(ANSIBLE) MITOGEN_HOSTILE=1 go test -count=1 -timeout 60m $$(grep -rlE --include='*_test.go' '$(ATTACKS)' . | xargs -n1 dirname | sort -u)

lint: fmt-check ## gofmt, vet, staticcheck
	go vet ./...
	$(LINT) staticcheck ./...

fmt-check:
	@files=$$(gofmt -l $$(git ls-files '*.go')); [[ -z $$files ]] || { echo "gofmt: $$files" >&2; exit 1; }

fuzz: ## each fuzz target for FUZZTIME (30s)
	@scripts/fuzz.sh $(FUZZTIME)

bench: build ## side by side with Mitogen, and with revision BEFORE; see docs/benchmarks.md
	go run ./bench $(COMPARED) $(BENCHFLAGS)

bench-ansible: setup build ## playbooks side by side with Ansible's own transport and Mitogen, and with BEFORE
	go run ./bench -runs 3 -ansible $$(command -v ansible-playbook) $(COMPARED) $(BENCHFLAGS)

golden: ## rewrite golden files from what the tests see
	go test $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -r -n1 dirname | sort -u) -update

generate: ## make the embedded runtime from python/
	go generate ./...

cover: setup ## cover.html
	$(ANSIBLE) go test -timeout $(TIMEOUT) -coverpkg=./... -coverprofile=cover.out ./...
	go tool cover -html=cover.out -o cover.html

clean: ## remove what make made
	rm -rf bin dist cover.out cover.html

check: setup lint tidy verify vuln subset fresh race-short cross ## everything but the tests' long forms

tidy:
	go mod tidy -diff

verify: ## the modules that are used are those that go.sum names
	go mod verify
	go mod verify -modfile=tools/lint.mod
	go mod verify -modfile=tools/vuln.mod

vuln: ## look for known vulnerabilities, or say that their database can't be reached; VULN=must fails then
	@scripts/vuln.sh

release: ## dist/: programs for all platforms, built twice, with bills of materials and checksums; docs/releasing.md
	@VERSION='$(VERSION)' PLATFORMS='$(PLATFORMS)' scripts/release.sh

subset: ## hold the runtime to Python 2.4 to 3.14
	go run ./tools/subset python/core.py python/ansible.py python/asking.py python/files.py python/forward.py python/guard.py python/paths.py python/process.py python/replace.py python/spawn.py python/tunnel.py python/run.py
	go run ./tools/subset -min 2.7 python/mitogen.py

fresh:
	go test ./internal/boot/... ./internal/deps

race-short:
	CGO_ENABLED=1 go test -race -short -timeout $(TIMEOUT) ./...

cross:
	@for p in $(PLATFORMS); do echo "build $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 go build ./...; done

.PHONY: help build demo setup test race soak hostile lint fmt-check fuzz bench bench-ansible test-ansible golden generate cover clean check tidy verify \
	vuln release subset fresh race-short cross
