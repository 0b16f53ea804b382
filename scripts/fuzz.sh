#!/usr/bin/env bash
# fuzz.sh TIME: runs every fuzz target of the module for TIME (30s, 10m…), then the runtime's, which
# is in Python. What a target finds stays in its testdata/fuzz; the runtime's prints its input.
# Where coverage depends on the order of goroutines, making inputs smaller would take all of the
# time: it is tried ten times. A target that finds something doesn't keep the others from running.
set -euo pipefail
time=${1:?usage: fuzz.sh TIME}

failed=()
while read -r dir target; do
	echo "$dir $target"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x "$dir" </dev/null ||
		failed+=("$dir $target")
done < <(grep -rHoE --include='*_test.go' '^func Fuzz\w+' . |
	sed -E 's,^(.*)/[^/]*_test.go:func ,\1 ,' | sort -u)

echo ./internal/runtimetest TestFuzz
MITOGEN_FUZZ="$time" go test -count=1 -v -run '^TestFuzz$' -timeout 0 ./internal/runtimetest ||
	failed+=("./internal/runtimetest TestFuzz")

if [ ${#failed[@]} -gt 0 ]; then
	printf 'found something: %s\n' "${failed[@]}" >&2
	exit 1
fi
