#!/usr/bin/env bash
# Tests the connection plugin with all releases of ansible-core that it knows, each from PyPI in a virtual environment of its own. Those whose Python
# isn't here are left out, with a word.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mitogen-test-ansible

# python MINOR...: an interpreter of one of these versions of Python 3.
python() {
	local minor path
	for minor; do
		for path in "python3.$minor" "$HOME"/.pyenv/versions/3."$minor".*/bin/python; do
			if "$path" -c "import sys, ensurepip; sys.exit(sys.version_info[:2] != (3, $minor))" 2>/dev/null; then
				echo "$path"
				return
			fi
		done
	done
	return 1
}

playbooks=()
# release VERSION MINOR...: what pip knows it by, and the Pythons that it runs on.
release() {
	local version=$1 venv=$cache/$1 python
	shift
	if [[ ! -x $venv/bin/ansible-playbook ]]; then
		if ! python=$(python "$@"); then
			echo "test-ansible: no Python 3 of $* for ansible-core $version: left out" >&2
			return
		fi
		"$python" -m venv "$venv"
		local wanted="ansible-core==$version.*"
		[[ $version != newest ]] || wanted=ansible-core
		"$venv/bin/pip" install -q "$wanted"
	fi
	playbooks+=("$venv/bin/ansible-playbook")
}
release 2.14 11 10 9
release 2.16 12 11 10
release 2.18 13 12 11
release 2.19 13 12 11
release 2.20 13 12 14
release newest 14 13 12

MITOGEN_ANSIBLE="${playbooks[*]}" go test -count=1 -timeout 60m -v -run 'Test(SameAsSSH|OtherPythons|Ways|Recycled|Persist|NoProgram|Killed|Wrapper)' ./internal/ansible
