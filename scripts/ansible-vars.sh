#!/usr/bin/env bash
# Writes internal/inventory/testdata/ansible-vars.txt: the variables that set an option of Ansible's
# plugins, as the given ansible-doc programs document them. The newest release comes first, and then
# those that have a plugin or a variable which it no longer has. The collections community.docker,
# community.general, containers.podman and kubernetes.core must be where the first one finds them
# (ANSIBLE_COLLECTIONS_PATH).
#
#	scripts/ansible-vars.sh VENV-2.21/bin/ansible-doc VENV-2.20/bin/ansible-doc /usr/bin/ansible-doc
set -euo pipefail
[[ $# != 0 ]] || { echo "usage: $0 ANSIBLE-DOC..." >&2; exit 2; }

connections='ansible.builtin.ssh ansible.builtin.paramiko_ssh ansible.builtin.local
	community.docker.docker community.docker.docker_api containers.podman.podman
	containers.podman.buildah kubernetes.core.kubectl community.general.lxc
	community.general.lxd community.general.incus community.general.jail
	community.general.chroot'
becomes='ansible.builtin.sudo ansible.builtin.su community.general.doas
	community.general.machinectl'
shells='ansible.builtin.sh'

# documented ANSIBLE-DOC: a line for each option: plugin, option, variables.
documented() {
	local type plugins
	while read -r type plugins; do
		# One plugin at a time: one that is missing fails all.
		for plugin in $plugins; do
			"$1" -t "$type" -j "$plugin" 2>/dev/null || true
		done
	done < <(echo connection $connections; echo become $becomes; echo shell $shells) | python3 -c '
import json, sys
text, decoder = sys.stdin.read().strip(), json.JSONDecoder()
while text:
    plugins, end = decoder.raw_decode(text)
    text = text[end:].strip()
    for plugin, about in plugins.items():
        for name, option in about.get("doc", {}).get("options", {}).items():
            names = [v["name"] for v in option.get("vars", []) if "[" not in v["name"]]
            if names:
                print(plugin.rsplit(".")[-1], name, *names)
'
}

cd "$(dirname "$0")/.."
for doc; do documented "$doc"; done | python3 -c '
import sys
longest = {}
for line in sys.stdin:
    plugin, option, *names = line.split()
    if len(names) > len(longest.get((plugin, option), [])):
        longest[plugin, option] = names
for key in sorted(longest):
    print(*key, *longest[key])
' >internal/inventory/testdata/ansible-vars.txt
