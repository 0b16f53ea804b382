#!/usr/bin/env bash
# Runs integration targets of Ansible's own source distribution, by its ssh plugin and by ours, and
# says where they end differently.
#
#	scripts/ansible-targets.sh VENV SOURCE TARGET...
#
# VENV has ansible-core, SOURCE is that release's unpacked source distribution. Needs root, and a
# machine that may be changed: the lab's sshd is the target, and the targets add users and packages.
# Prints a line for each: its name, how each plugin ended, and seconds.
set -uo pipefail
venv=$1 source=$2
shift 2
repo=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d /var/tmp/mitogen-targets-XXXXXX)
trap 'rm -rf "$work"' EXIT

plugins=$("$repo/bin/mitogen" ansible config --dir "$work/plugins" |
	sed -n 's/^connection_plugins = //p')
config=$(cd "$repo" && go run ./internal/lab/cmd/lab up >/dev/null &&
	echo /run/mitogen-lab/ssh_config)
cp -r "$source" "$work/source"
printf '[defaults]\n' >"$work/ansible.cfg"
export PATH=$venv/bin:$PATH ANSIBLE_CONFIG=$work/ansible.cfg ANSIBLE_LIBRARY=/dev/null \
	ANSIBLE_HOST_KEY_CHECKING=true ANSIBLE_RETRY_FILES_ENABLED=false \
	ANSIBLE_DEPRECATION_WARNINGS=false ANSIBLE_DEVEL_WARNING=false ANSIBLE_FORCE_HANDLERS=true \
	ANSIBLE_PYTHON_MODULE_RLIMIT_NOFILE=1024 \
	ANSIBLE_HOST_PATTERN_MISMATCH=error ANSIBLE_CONNECTION_PLUGINS=$plugins ANSIBLE_NOCOWS=1 \
	ANSIBLE_NOCOLOR=1

# run PLUGIN TARGET: status and seconds of a target, its output in $work/PLUGIN.log.
run() {
	local plugin=$1 target=$2 dir=$work/source/test/integration begin status
	mkdir -p "$work/out"
	rm -rf "${work:?}/out"
	mkdir "$work/out"
	printf '[testgroup]\ntesthost ansible_connection=%s ansible_host=root %s="-F %s" %s\n' \
		"$plugin" ansible_ssh_common_args "$config" \
		ansible_python_interpreter=/usr/bin/python3 >"$dir/inventory"
	export INVENTORY_PATH=$dir/inventory OUTPUT_DIR=$work/out ANSIBLE_PLAYBOOK_DIR=$dir \
		ANSIBLE_PIPELINING=true
	begin=$(date +%s%N)
	if [[ -e $dir/targets/$target/runme.sh ]]; then
		(cd "$dir/targets/$target" && ANSIBLE_ROLES_PATH=../ timeout 300 ./runme.sh -v)
	else
		local facts=true
		! grep -q 'gather_facts/no' "$dir/targets/$target/aliases" || facts=false
		printf '[{"hosts":"testhost","gather_facts":%s,"vars":{"output_dir":"%s"},"roles":["%s"]}]\n' \
			"$facts" "$OUTPUT_DIR" "$target" >"$dir/$target-pb.yml"
		(cd "$dir" && ANSIBLE_ROLES_PATH=$dir/targets timeout 300 \
			ansible-playbook "$target-pb.yml" -i inventory -v)
	fi >"$work/$plugin.log" 2>&1 </dev/null
	status=$?
	echo "$status $(((($(date +%s%N) - begin)) / 100000000))"
}

# clean removes what targets leave for the next run: files in the home directory, users, groups.
files=$(ls "$HOME") users=$(getent passwd | cut -d: -f1) groups=$(getent group | cut -d: -f1)
clean() {
	local name
	while read -r name; do rm -rf "${HOME:?}/$name"; done < <(comm -13 <(sort <<<"$files") \
		<(ls "$HOME" | sort))
	while read -r name; do userdel -rf "$name" 2>/dev/null; done < <(comm -13 <(sort <<<"$users") \
		<(getent passwd | cut -d: -f1 | sort))
	while read -r name; do groupdel "$name" 2>/dev/null; done < <(comm -13 <(sort <<<"$groups") \
		<(getent group | cut -d: -f1 | sort))
}

recap() { grep -a '^testhost .*ok=' "$1" | sed 's/  */ /g' | tail -1; }

differ=0
for target; do
	read -r ssh ssh_time < <(run ssh "$target")
	clean
	read -r ours ours_time < <(run mitogen "$target")
	clean
	word=same
	if [[ $ssh != "$ours" || $(recap "$work/ssh.log") != "$(recap "$work/mitogen.log")" ]]; then
		word=DIFFERENT differ=1
		cp "$work/ssh.log" "${TMPDIR:-/tmp}/target-$target-ssh.log"
		cp "$work/mitogen.log" "${TMPDIR:-/tmp}/target-$target-mitogen.log"
	fi
	printf '%-28s %s: ssh %s, %d.%d s; mitogen %s, %d.%d s; %s\n' "$target" "$word" "$ssh" \
		$((ssh_time / 10)) $((ssh_time % 10)) "$ours" \
		$((ours_time / 10)) $((ours_time % 10)) "$(recap "$work/mitogen.log")"
done
exit $differ
