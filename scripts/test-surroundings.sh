#!/usr/bin/env bash
# Runs mitogen in all surroundings (internal/surroundings), and the tests of some packages in
# surroundings of their own, and from a copy of the tree in an odd place: they are to pass wherever
# and however they are started. The executables are built once, and started as `go test` starts
# them.
#
#     scripts/test-surroundings.sh [PACKAGE...]
set -euo pipefail
cd "$(dirname "$0")/.."
packages=("$@")
[[ $# != 0 ]] || packages=(peer spawn daemon cli life secret modules)
work=$(mktemp -d /var/tmp/mitogen-surroundings.XXXXXX)
trap 'rm -rf "$work"' EXIT
failed=0

# Each row is a name and a line of bash, which is executed before the tests. $odd is a directory.
surroundings='
home below /tmp          mkdir -p "$odd/h"; export HOME=$odd/h
home missing             export HOME=/no/such
long TMPDIR              t=$odd/$(printf "x%.0s" {1..110}); mkdir -p "$t"; export TMPDIR=$t
TMPDIR with spaces       mkdir -p "$odd/a b"; export TMPDIR="$odd/a b"
relative TMPDIR          export TMPDIR=.
TMPDIR in memory         export TMPDIR=/dev/shm
ignored signals          trap "" HUP INT PIPE QUIT
umask 077                umask 077
umask 000                umask 000
no terminal, no streams  exec <&-
another locale           export LANG=tr_TR.ISO-8859-9 LC_ALL=C LANGUAGE=de
variables of Python      export PYTHONWARNINGS=error PYTHONPATH=/no/such PYTHONOPTIMIZE=2 '\
'PYTHONINSPECT=1
settings of the user     export MITOGEN_CONFIG=/no/such MITOGEN_DAEMON=1 ANSIBLE_CONFIG=/no/such '\
'SSH_AUTH_SOCK=/no/such XDG_RUNTIME_DIR=/no
shuffled, twice          more="-test.shuffle=on -test.count=2"
load of 10               for i in {1..8}; do (while :; do :; done) & done
'

# copy: the tree, as it is committed or lies here, in a place whose name is odd.
copy() {
	mkdir -p "$work/rëal place" "$work/link's"
	ln -s "../rëal place" "$work/link's/to it"
	git ls-files -z --cached --others --exclude-standard | tar -c --null -T - |
		tar -x -C "$work/rëal place"
}

# try NAME LINE DIRECTORY PACKAGE
try() {
	local more= log=$work/log
	if ! (
		odd=$(mktemp -d /tmp/o.XXXXXX)
		trap 'rm -rf "$odd"; kill $(jobs -p) 2>/dev/null || true' EXIT
		cd "$3/internal/$4"
		exec </dev/null # and not the list of surroundings
		eval "$2"
		# shellcheck disable=SC2086 # flags
		setsid -w "$work/$4.test" -test.timeout=15m -test.short $more
	) >"$log" 2>&1; then
		echo "FAIL: $4: $1"
		grep -v '^ *--- PASS' "$log" | head -n 40
		failed=1
	else
		echo "ok: $4: $1"
	fi
}

MITOGEN_SURROUNDINGS=1 go test -count=1 -timeout 40m ./internal/surroundings || failed=1
copy
for p in "${packages[@]}"; do
	go test -c -o "$work/$p.test" "./internal/$p"
	while read -r line; do
		name=${line%%  *} rest=${line#*  }
		[[ -z $line ]] || try "$name" "${rest#"${rest%%[! ]*}"}" "$PWD" "$p"
	done <<<"$surroundings"
	try 'a tree in an odd place' : "$work/link's/to it" "$p"
done
exit $failed
