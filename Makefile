# What a person types; `make help` lists it. CI runs check and test.
MAKEFLAGS += --no-print-directory
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Tests run what they need only with these; CGO is off wherever the race detector doesn't want it.
export CGO_ENABLED ?= 0
TIMEOUT   ?= 30m
# Packages that are tested at once: tests wait about as long as they compute.
AT_ONCE   ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
FUZZTIME  ?= 30s
# Releases of ansible-core that tests use: the oldest, the newest and the next one. Tests find them
# in MITOGEN_ANSIBLE.
RELEASES  ?= 2.14 newest next
# Programs of PyPI that tests of the Python package use, as a directory with sets of them.
TOOLS     := MITOGEN_TOOLS="$${MITOGEN_TOOLS-$$(scripts/python-tools.sh types wheels jupyter ssh)}"
ANSIBLE   := MITOGEN_ANSIBLE="$${MITOGEN_ANSIBLE-$$(scripts/ansible-releases.sh $(RELEASES))}" \
	MITOGEN_ANSIBLE_POSIX="$${MITOGEN_ANSIBLE_POSIX-$$(scripts/ansible-posix.sh)}"
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS   := -s -w -X github.com/mitogen-go/mitogen/internal/cli.version=$(VERSION)
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 freebsd/amd64 freebsd/arm64
LINT      := go tool -modfile=tools/lint.mod
# Tests with attackers have long forms, by one of these.
ATTACKS   := (hostile|attacks)\.(Long|Rounds)\(|"MITOGEN_HOSTILE"
# A benchmark compares with an earlier revision if there is one: make bench BEFORE=v1
# BENCHFLAGS='-peers=false -runs 9'
BEFORE    ?=
COMPARED  := $(if $(BEFORE),-before '$(BEFORE)')
BENCHFLAGS ?=
# Mebibytes that bench-traffic moves at a time.
MIB       ?= 64
# Small playbooks that make test-ansible-diff runs, as a regular expression
BOOKS     ?= .
# Modules of python/ that programs import by these names, on 2.7 and later
FRONTS    := python/mitogen.py python/mitogo.py
LIMITS    := tools/house/limits.txt
# Packages whose tests run Python, the program as a whole, or code of one goroutine: check doesn't
# look for races there, as make race does.
ALONE     := ansible|boot/gen|cli|hostile|integration|inventory|limits|network|packages|parity|pickle|pyfront|pylink|pysource|runtimetest|surroundings
# Packages whose tests take longest: begun first, so that none of them is alone at the end.
SLOWEST   := $(addprefix ./internal/,ansible integration runtimetest pyfront hostile cli)
# What go vet looks at is looked at by lint alone, and not again for each way to build tests.
TEST      := go test -vet=off
# Packages whose tests need no Linux, no root and no other program.
PORTABLE  ?= $(addprefix ./internal/,bundle closure deps forward jsonline jsonvalue lazyregexp modules pickle printable \
	pysource route secret stream wire) ./tools/...
# Those of PyPI that make test-packages runs, as a regular expression: make test-packages
# PROGRAMS='flask|click'
PROGRAMS  ?= .

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## bin/mitogen, one static file
	@mkdir -p bin
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/mitogen ./cmd/mitogen
	go run ./tools/pyzip pyapi bin/mitogen

demo: build ## see what it does, on this machine alone
	@{ command -v python3 && command -v ssh; } >/dev/null || scripts/setup-tests.sh
	bin/mitogen demo

setup: ## install what the tests need, or say what that is
	@scripts/setup-tests.sh
	@scripts/ansible-releases.sh $(RELEASES) >/dev/null
	@scripts/ansible-posix.sh >/dev/null
	@scripts/python-tools.sh types wheels jupyter ssh >/dev/null

test: setup ## all tests, on every interpreter found
	$(ANSIBLE) $(TOOLS) $(TEST) -p $(AT_ONCE) -timeout $(TIMEOUT) $(SLOWEST) ./...

test-portable: ## the tests that need no Linux, no root and no other program
	go build ./...
	go vet $(PORTABLE)
	go test -short -timeout $(TIMEOUT) $(PORTABLE)

test-ansible: setup ## the plugin with many releases of Ansible, and on several Pythons
	@scripts/test-ansible.sh

test-ansible-diff: setup ## small playbooks by Ansible's ssh plugin and by ours; BOOKS: a pattern for their names
	$(ANSIBLE) MITOGEN_DIFFER='$(BOOKS)' MITOGEN_ANSIBLE_ALL=1 go test -count=1 -v -timeout 4h \
		-run TestSmallPlaybooks ./internal/ansible

race: setup ## all tests under the race detector
	$(ANSIBLE) $(TOOLS) CGO_ENABLED=1 go test -race -timeout 30m ./...

soak: setup ## the long forms of the tests: whole standard libraries, 1,000 random kills
	$(ANSIBLE) $(TOOLS) MITOGEN_SOAK=1 go test -count=1 -timeout 4h ./...

test-run: setup ## some 300 programs by ssh and by mitogen run, on every interpreter found
	MITOGEN_RUN=1 go test -count=1 -timeout 3h ./internal/parity

test-network: setup ## results, stalls and breaks over bad links of all kinds, beside ssh
	MITOGEN_NETWORK=1 go test -count=1 -timeout 60m ./internal/network

test-console: setup ## consoles behind bad lines: ten logins on each, and what a line carries
	MITOGEN_CONSOLE=1 go test -count=1 -v -timeout 60m \
		-run 'TestBadLines|TestGoodput|TestSpeeds|TestKilled|TestCancelled|TestSessionThatIsThere' ./internal/serial

test-packages: ## programs and library scripts of PyPI by mitogen run beside plain Python; PROGRAMS: a pattern for their names
	MITOGEN_PROGRAMS='$(PROGRAMS)' go test -count=1 -v -timeout 60m \
		-run 'TestTable|TestPrograms|TestUsed|TestNatives' ./internal/packages

hostile: setup ## the long forms of all tests with attackers: other users, hosts, hops, servers
	$(ANSIBLE) MITOGEN_HOSTILE=1 go test -count=1 -timeout 60m \
		$$(grep -rlE --include='*_test.go' '$(ATTACKS)' . | xargs -n1 dirname | sort -u)

test-surroundings: setup ## mitogen, and tests, with any home directory, umask, locale, ignored signals, in any place
	@scripts/test-surroundings.sh

test-new: setup ## the newest interpreters and programs, in a tree of Debian's unstable release; other machines, emulated
	@scripts/test-new.sh

lint: fmt-check ## gofmt, vet, staticcheck
	go vet ./...
	$(LINT) staticcheck ./...

fmt-check:
	@files=$$(gofmt -l $$(git ls-files '*.go')); [[ -z $$files ]] || \
		{ echo "gofmt: $$files" >&2; exit 1; }

fuzz: ## each fuzz target for FUZZTIME (30s)
	@scripts/fuzz.sh $(FUZZTIME)

bench: build ## side by side with Mitogen, and with revision BEFORE; see docs/benchmarks.md
	go run ./bench $(COMPARED) $(BENCHFLAGS)

bench-ansible: setup build ## playbooks side by side with Ansible's own transport and Mitogen, and with BEFORE
	go run ./bench -runs 3 -ansible $$(command -v ansible-playbook) $(COMPARED) $(BENCHFLAGS)

bench-traffic: setup ## sessions side by side with ssh, on links of several lengths; MIB=64
	MITOGEN_TRAFFIC=$(MIB) go test -count=1 -v -timeout $(TIMEOUT) -run TestTraffic ./internal/network

bench-python: build ## the Python package side by side with Mitogen and execnet
	@scripts/bench-python.sh

golden: ## rewrite golden files from what the tests see
	go test $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -r -n1 dirname | sort -u) -update

house: ## figures of style: lengths, widths, comments, names; BEFORE=v1 has an earlier revision's beside them
	@go run ./tools/house $(COMPARED)

house-lower: ## after an improvement: write the limits that make check holds
	go run ./tools/house -lower $(LIMITS)

house-check: ## no more long lines, forbidden comments and the like than there were
	@go run ./tools/house -check $(LIMITS)

generate: ## make the embedded runtime from python/
	go generate ./...

cover: setup ## cover.html
	$(ANSIBLE) go test -timeout $(TIMEOUT) -coverpkg=./... -coverprofile=cover.out ./...
	go tool cover -html=cover.out -o cover.html

clean: ## remove what make made
	rm -rf bin dist cover.out cover.html

check: setup lint house-check tidy verify vuln subset types docs-python fresh race-short cross ## everything but the tests' long forms

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

wheel: ## dist/: a wheel of the Python package for each platform, with the program in it; docs/releasing.md
	@VERSION='$(VERSION)' PLATFORMS='$(PLATFORMS)' scripts/wheel.sh

test-wheel: setup ## the wheel in fresh environments of every Python found; twine and auditwheel
	$(TOOLS) MITOGEN_SOAK=1 go test -count=1 -v -timeout $(TIMEOUT) -run TestWheel ./internal/pyfront

subset: ## hold the runtime to Python 2.4 to 3.14
	go run ./tools/subset $(filter-out $(FRONTS),$(wildcard python/*.py python/core/*.py))
	go run ./tools/subset -min 2.7 $(FRONTS)

docs-python: ## dist/docs-python: the documentation of the Python package, whose examples are run
	MITOGEN_TOOLS="$${MITOGEN_TOOLS-$$(scripts/python-tools.sh docs)}" MITOGEN_DOCS='$(CURDIR)/dist/docs-python' MITOGEN_SOAK=1 \
		$(TEST) -count=1 -timeout $(TIMEOUT) -run 'TestGuides|TestDocumentation' ./internal/pyfront

types: ## the Python package, and a program that uses it, under mypy --strict and pyright
	$(TOOLS) MITOGEN_SOAK=1 $(TEST) -count=1 -run TestTypes ./internal/pyfront

fresh:
	$(TEST) ./internal/boot/... ./internal/deps

race-short:
	CGO_ENABLED=1 $(TEST) -race -short -p $(AT_ONCE) -timeout $(TIMEOUT) . ./internal/engine \
		$$(go list ./... | grep -vE '/internal/($(ALONE))$$')

# Everything is compiled for each platform, and the program is linked.
cross:
	@export CGO_ENABLED=0; for p in $(PLATFORMS); do \
		echo "build $$p"; export GOOS=$${p%/*} GOARCH=$${p#*/}; \
		go list -export -f '{{""}}' ./... >/dev/null; go build -o /dev/null ./cmd/mitogen; done

.PHONY: help build demo setup test test-run test-packages race soak hostile test-surroundings \
	test-new test-network lint fmt-check fuzz bench bench-ansible bench-python test-ansible \
	test-ansible-diff golden generate cover clean check tidy verify \
	house house-lower house-check test-portable \
	vuln release wheel test-wheel subset types docs-python fresh race-short cross
