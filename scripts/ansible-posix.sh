#!/usr/bin/env bash
# Puts the collection ansible.posix into a cache and prints two directories of collections that have
# it, one a line: for the oldest releases of ansible-core, and for the newest.
#
#     scripts/ansible-posix.sh
#
# It is taken from PyPI's package "ansible". What is in the cache is printed without any use of the
# network. What can't be had is left out, with a message on stderr; if CI is true, that is an error.
set -euo pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mitogen-test-ansible

# Each row has a name, and the package that brings the collection.
versions='
posix-old ansible==7.7.*
posix-new ansible
'

say() { echo "ansible-posix: $*" >&2; }

# make PACKAGE DIRECTORY fills the directory, by way of another beside it.
make() {
	local package=$1 dir=$2 temp=$2.part
	rm -rf "$temp" "$dir"
	mkdir "$temp"
	{
		python3 -m venv "$temp/venv" &&
			"$temp/venv/bin/pip" download -q --no-deps --only-binary :all: -d "$temp/wheel" "$package" &&
			python3 - "$temp"/wheel/ansible-*.whl "$temp" <<-'EOF'
				import sys, zipfile
				with zipfile.ZipFile(sys.argv[1]) as wheel:
				    names = [n for n in wheel.namelist() if n.startswith('ansible_collections/ansible/posix/')]
				    wheel.extractall(sys.argv[2], names)
			EOF
	} >&2 && rm -rf "$temp/venv" "$temp/wheel" && mv "$temp" "$dir"
}

mkdir -p "$cache"
exec 9>"$cache/lock"
if command -v flock >/dev/null; then flock 9; fi # two that run at once make each once
while read -r name package; do
	if [[ -z $name ]]; then
		continue
	elif [[ -d $cache/$name ]] || make "$package" "$cache/$name"; then
		echo "$cache/$name"
	elif [[ ${CI:-} = true ]]; then
		exit 1
	else
		say "left out: $package"
	fi
done <<<"$versions"
