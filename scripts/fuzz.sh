#!/usr/bin/env bash
# fuzz.sh TIME: runs every fuzz target of the module for TIME (30s, 10m…), then the runtime's, which is in Python.
# What a target finds stays in its testdata/fuzz; the runtime's prints its input.
set -euo pipefail
time=${1:?usage: fuzz.sh TIME}

grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do
	grep -hoE '^func Fuzz\w+' "$dir"/*_test.go | sed 's/^func //' | while read -r target; do
		echo "$dir $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$dir" </dev/null
	done
done
echo ./internal/runtimetest TestFuzz
MITOGEN_FUZZ="$time" go test -count=1 -v -run '^TestFuzz$' -timeout 0 ./internal/runtimetest
