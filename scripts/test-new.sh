#!/usr/bin/env bash
# Tests with the newest interpreters and programs, those of Debian's unstable release: the runtime
# and the ways in, in a tree of that release (scripts/new-trees.sh); and the core of the runtime's
# tests with interpreters for machines of another byte order and another word size, emulated.
# docs/interpreters.md has the results. If nothing is tested, that is a failure.
#
#     scripts/test-new.sh [go test's arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0 tested=0

# run ARGUMENT...: go test, and whether it has run a test.
run() {
	local log
	log=$(mktemp)
	go test "$@" | tee "$log" || failed=1
	if grep -q '^ok' <(grep -v 'no tests to run\|no test files' "$log"); then
		tested=1
	fi
	rm -f "$log"
}

# What is tried in the tree, one package after the other, as they share its accounts. What needs
# other releases of Ansible, or the network, stays out.
places='./internal/runtimetest ./internal/engine ./internal/pickle ./internal/pysource
./internal/closure ./internal/spawn ./internal/sshnative ./internal/integration'
# The core: what begins, calls, moves values, streams, imports, and has contexts below.
core='Hello|Calls|Values|Errors|LargeValues|Generators|Imports|Hops|Logging|Output|Ping|Script'
core+='|Bundles'

if ! command -v qemu-s390x-static >/dev/null && [[ $(id -u) = 0 ]] &&
	command -v apt-get >/dev/null; then
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends qemu-user-static \
		</dev/null >/dev/null ||
		echo 'test-new: no emulator: going on without other machines' >&2
fi
tree=$(scripts/new-trees.sh new)
if [[ -n $tree ]]; then
	chroot "$tree" sh -c 'dpkg-query -W -f "\${Package} \${Version}\n"' |
		grep -E -e '^(python3\.[0-9]+|pypy3|micropython|openssh-server|dropbear-bin|tinysshd) ' \
			-e '^(sudo|sudo-rs|opendoas|lxc|rust-coreutils) ' || true
	# shellcheck disable=SC2086 # a list
	MITOGEN_NEW=1 MITOGEN_SUDO_RS=/usr/bin/sudo-rs run -count=1 -p 1 -timeout 40m \
		-exec "$PWD/scripts/in-tree.sh $tree" "$@" $places
	# The wheel of the Python package, installed by each interpreter there that has venv.
	MITOGEN_NEW=1 MITOGEN_SOAK=1 run -count=1 -timeout 20m -exec "$PWD/scripts/in-tree.sh $tree" \
		-run '^TestWheel$' ./internal/pyfront
fi

mapfile -t emulated < <(scripts/new-trees.sh s390x armhf)
if [[ ${#emulated[@]} != 0 ]]; then
	MITOGEN_TEST_PYTHONS="$(IFS=:; echo "${emulated[*]}")"
	export MITOGEN_TEST_PYTHONS MITOGEN_ONLY_NAMED=1
	run -count=1 -timeout 30m -run "^Test($core)\$" "$@" ./internal/runtimetest
	run -count=1 -timeout 30m "$@" ./internal/pickle
fi
if [[ $tested = 0 && $failed = 0 ]]; then
	echo 'test-new: nothing was tested: no tree or interpreter could be had, or no test was chosen' >&2
	failed=1
fi
exit $failed
