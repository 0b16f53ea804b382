#!/usr/bin/env bash
# vuln.sh [PACKAGE...]: looks for known vulnerabilities in what the program calls, or packages do.
# Where the tool or its database can't be reached it says so, and fails only if VULN=must.
set -euo pipefail
cd "$(dirname "$0")/.."
status=0
text=$(go tool -modfile=tools/vuln.mod govulncheck "${@:-./...}" 2>&1) || status=$?
echo "$text"
if [[ $status == 0 ]]; then
	exit
fi
network='vuln\.go\.dev|fetching vulnerabilities|dial tcp|no such host|proxyconnect|i/o timeout'
if [[ $status == 3 ]] || ! grep -qE "$network" <<<"$text"; then
	exit "$status" # there are some; or the program can't be looked at
fi
echo "vuln: the database of vulnerabilities can't be reached: NOTHING WAS CHECKED" >&2
[[ ${VULN-} != must ]]
