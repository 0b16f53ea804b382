#!/usr/bin/env bash
# Measures the Python package beside pinned releases of Mitogen and execnet, in a virtual
# environment of its own. PYTHON names the interpreter; ROUNDS says how often each is measured, and
# PATIENCE how many seconds one program may take.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q mitogen==0.3.54 execnet==2.1.2
cp -r pyapi/mitogo "$dir/"
"$dir/venv/bin/python" -m compileall -q "$dir/mitogo" # as pip does with what it installs
export PYTHONPATH=$dir MITOGEN_BINARY=$PWD/bin/mitogen
"$dir/venv/bin/python" bench/python/measure.py
if [[ $(id -u) = 0 && $(uname) = Linux ]]; then # as the lab with its sshd needs
	for rtt in 0s 200ms; do
		go run ./bench/link "$rtt" "$dir/venv/bin/python" bench/python/measure.py "$rtt"
	done
fi
