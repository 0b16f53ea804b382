#!/usr/bin/env bash
# Puts releases of ansible-core into a cache and prints the path of the ansible-playbook of each,
# one a line:
#
#     scripts/ansible-releases.sh RELEASE...
#
# A RELEASE is a row of the table below. A release that is in the cache is printed without any use
# of the network; remove its directory to have it fetched again. A release that can't be had is left
# out, with a message on stderr; if CI is true and tests must not miss the release, that is an
# error.
set -euo pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mitogen-test-ansible

# Each row has a release, where it comes from (pip: PyPI; deb: Debian's unstable release; tools: the
# newest from PyPI with programs that use it), whether CI must have it, and the Pythons it runs on,
# the first choice first.
releases='
2.14    pip  must  11 10 9
2.16    pip  may   12 11 10
2.18    pip  may   13 12 11
2.19    pip  may   13 12 11
2.20    pip  may   13 12 14
newest  pip  must  14 13 12
next    deb  may   14 13
tools   tools may  13 12
'

say() { echo "ansible-releases: $*" >&2; }

# python MINOR...: prints an interpreter of one of these versions of Python 3.
python() {
	local minor path
	for minor; do
		for path in "python3.$minor" "$HOME"/.pyenv/versions/3."$minor".*/bin/python; do
			if "$path" -c "import sys, ensurepip; sys.exit(sys.version_info[:2] != (3, $minor))" \
				2>/dev/null; then
				echo "$path"
				return
			fi
		done
	done
	return 1
}

# installed VERSION: prints the ansible-playbook of the search path, if it is of this release.
installed() {
	[[ $1 = [0-9]* ]] || return 1
	[[ $(ansible-playbook --version 2>/dev/null </dev/null | head -n 1) = *" $1".* ]] || return 1
	command -v ansible-playbook
}

# cached VERSION: whether the release's environment is there, and its Python too.
cached() { [[ -x $cache/$1/bin/ansible-playbook ]] && "$cache/$1/bin/python" -c '' 2>/dev/null; }

# from_pip VERSION VENV installs the release from PyPI.
from_pip() {
	local wanted="ansible-core==$1.*"
	[[ $1 != newest ]] || wanted=ansible-core
	"$2/bin/pip" install -q "$wanted" >&2
}

# from_tools TOOLS VENV installs programs that run playbooks by themselves, and a release for them.
from_tools() { "$2/bin/pip" install -q ansible-core ansible-runner molecule ansible-navigator >&2; }

# mirror: prints the address of the archive that this machine's distribution comes from.
mirror() {
	local codename
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
		awk -v release="$codename" '$1 == release && $2 == "main" { print $3; exit }'
}

# download DIRECTORY fetches Debian's ansible-core of the unstable release with lists and a cache of
# its own: the machine's own stay as they are.
download() {
	local dir=$1 address keyring options='target=Packages lang=none'
	address=$(mirror)
	[[ -n $address ]] || return 1
	for keyring in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do
		[[ ! -e $keyring ]] || options="target=Packages lang=none signed-by=$keyring"
	done
	echo "deb [$options] $address unstable main" >"$dir/sources.list"
	mkdir -p "$dir"/{lists,archives}/partial
	local private=(-qq -o "Dir::Etc::SourceList=$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o "Dir::State=$dir" -o "Dir::Cache=$dir" -o Dir::State::status=/dev/null
		-o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root)
	apt-get "${private[@]}" update >&2 && cd "$dir" &&
		apt-get "${private[@]}" download ansible-core >&2
}

# from_deb NEXT VENV unpacks Debian's package into the environment, and has PyPI bring what it
# requires.
from_deb() {
	local dir=$2/deb site packages
	mkdir "$dir"
	(download "$dir") || return 1
	dpkg-deb -x "$dir"/ansible-core_*.deb "$dir" || return 1
	packages=$dir/usr/lib/python3/dist-packages
	sed -n 's/^Requires-Dist: //p' "$packages"/ansible_core-*.dist-info/METADATA >"$dir/requirements"
	"$2/bin/pip" install -q -r "$dir/requirements" >&2 || return 1
	site=$("$2/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))') || return 1
	echo "$packages" >"$site/ansible.pth"
	rm -rf "$dir/lists" "$dir"/*.bin "$dir"/*.deb
	local program
	for program in "$dir"/usr/bin/ansible*; do
		sed "1s,.*,#!$2/bin/python," "$program" >"$2/bin/${program##*/}"
		chmod +x "$2/bin/${program##*/}"
	done
}

# make SOURCE VERSION MINOR...: makes the release's environment.
make() {
	local source=$1 version=$2 venv=$cache/$2 python
	shift 2
	if ! python=$(python "$@"); then
		say "no Python 3 of $* for ansible-core $version"
		return 1
	fi
	rm -rf "$venv"
	if ! { "$python" -m venv "$venv" >&2 && "from_$source" "$version" "$venv"; }; then
		rm -rf "$venv"
		say "can't install ansible-core $version"
		return 1
	fi
}

# release VERSION: prints the path of its ansible-playbook.
release() {
	local row version source need minors
	while read -r row source need minors; do
		[[ $row != "$1" ]] || version=$row
		[[ -z ${version:-} ]] || break
	done <<<"$releases"
	if [[ -z ${version:-} ]]; then
		say "unknown release: got $1, want one of$(awk 'NF { printf " %s", $1 }' <<<"$releases")"
		return 2
	fi
	# shellcheck disable=SC2086 # a list
	if installed "$version"; then
		return
	elif cached "$version" || make "$source" "$version" $minors; then
		echo "$cache/$version/bin/ansible-playbook"
	elif [[ $need = must && ${CI:-} = true ]]; then
		return 1
	else
		say "left out: $version"
	fi
}

mkdir -p "$cache"
exec 9>"$cache/lock"
if command -v flock >/dev/null; then flock 9; fi # two that run at once make each release once
for version; do release "$version"; done
