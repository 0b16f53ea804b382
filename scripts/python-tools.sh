#!/usr/bin/env bash
# Puts programs of PyPI that tests use into a cache and prints the directory that holds the sets:
#
#     scripts/python-tools.sh SET...
#
# A SET is a row of the table below; its commands are in SET/bin. A set that is in the cache is used
# without any use of the network; remove its directory to have it fetched again. A set that can't be
# had is left out, with a message on stderr; if CI is true, that is an error.
set -euo pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mitogen-test-python

# Each row has a set, a command that it brings, and what is installed for it.
sets='
wheels   twine    twine auditwheel
docs     mkdocs   mkdocs<2 mkdocstrings[python]
jupyter  jupyter  ipykernel nbclient
ssh      fab      fabric paramiko asyncssh ssh-python ssh2-python
types    mypy     mypy pyright[nodejs] typing_extensions
'

say() { echo "python-tools: $*" >&2; }

# interpreter: prints an interpreter that the sets run on.
interpreter() {
	local path
	for path in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python python3.12 \
		"$HOME"/.pyenv/versions/3.12.*/bin/python python3.11 python3; do
		if "$path" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
			echo "$path"
			return
		fi
	done
	return 1
}

# make SET PACKAGE...: makes the set's environment.
make() {
	local venv=$cache/$1 python
	shift
	python=$(interpreter) || { say 'no Python 3.10 or later with ensurepip'; return 1; }
	rm -rf "$venv"
	for _ in 1 2 3; do # a registry may be busy
		if { "$python" -m venv "$venv" && "$venv/bin/pip" install -q "$@"; } >&2; then
			return
		fi
		rm -rf "$venv"
	done
	return 1
}

# has SET: sees to it that the set is there.
has() {
	local name command packages
	while read -r name command packages; do
		[[ $name = "$1" ]] || continue
		# shellcheck disable=SC2086 # a list
		[[ -x $cache/$name/bin/$command ]] || make "$name" $packages
		return
	done <<<"$sets"
	say "unknown set: got $1"
	exit 2
}

mkdir -p "$cache"
exec 9>"$cache/lock"
if command -v flock >/dev/null; then flock 9; fi # two that run at once make a set once
for set; do
	if has "$set"; then
		continue
	elif [[ ${CI:-} = true ]]; then
		exit 1
	fi
	say "left out: $set"
done
echo "$cache"
