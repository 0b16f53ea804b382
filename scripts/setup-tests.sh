#!/usr/bin/env bash
# Sees to it that what the tests need is on this machine: installs it as root on Debian and its kin,
# says elsewhere what to install. Nothing happens when everything is there. Go itself is not its
# business.
set -euo pipefail

# What is looked for, and the Debian package that has it.
required='
sshd            openssh-server
ssh             openssh-client
ssh-keygen      openssh-client
sudo            sudo
python3         python3
gcc             gcc
ps              procps
useradd         passwd
visudo          sudo
rsync           rsync
unshare         util-linux
setpriv         util-linux
mount           mount
'
# Without these a test has less to run on, but runs.
wanted='
pypy3           pypy3
python2.7       python2.7
python-venv     python3-venv
libc-headers    libc6-dev
dash            dash
bash            bash
zsh             zsh
fish            fish
tcsh            tcsh
ksh             ksh
busybox         busybox
debootstrap     debootstrap
doas            opendoas
podman          podman
buildah         buildah
crun            crun
systemd-nspawn  systemd-container
lxc-attach      lxc
ansible-playbook  ansible-core
setfacl         acl
sshpass         sshpass
git             git
strace          strace
borg            borgbackup
restic          restic
unison          unison
sshfs           sshfs
fusermount3     fuse3
lftp            lftp
svn             subversion
cvs             cvs
rdiff-backup    rdiff-backup
hg              mercurial
bup             bup
curl            curl
'

PATH=$PATH:/usr/sbin:/sbin

# has NAME: whether it is there; most names are commands.
has() {
	case $1 in
	python-venv) python3 -c 'import venv, ensurepip' >/dev/null 2>&1 ;;
	libc-headers) [[ -e /usr/include/stdio.h ]] ;;
	*) command -v "$1" >/dev/null 2>&1 ;;
	esac
}

# missing TABLE: the packages of what is not there.
missing() {
	local name package
	while read -r name package; do
		[[ -z $name ]] || has "$name" || echo "$package"
	done <<<"$1" | sort -u
}

installer() { [[ $(id -u) = 0 ]] && command -v apt-get >/dev/null; }

# install PACKAGE...: those that this distribution has no package of are left out. No daemon is
# started.
install() {
	local package known=()
	for package; do
		if apt-cache show "$package" >/dev/null 2>&1; then known+=("$package"); fi
	done
	[[ ${#known[@]} != 0 ]] || return 0
	echo "setup-tests: installing ${known[*]}"
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${known[@]}" \
		</dev/null >/dev/null
}

# quiet_daemons has dpkg not start the services that it installs, until this script ends.
quiet_daemons() {
	local policy=/usr/sbin/policy-rc.d
	[[ ! -e $policy ]] || return 0
	trap 'rm -f /usr/sbin/policy-rc.d' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod +x $policy
}

# asked remembers that these wanted packages were tried, so that those that don't exist aren't
# looked for each time.
asked=/var/tmp/mitogen-setup-tests-$(cksum <<<"$wanted" | cut -d ' ' -f 1)

setup() {
	if [[ ${#need[@]} = 0 ]] && [[ ${#want[@]} = 0 || -e $asked ]]; then
		return
	fi
	quiet_daemons
	apt-get update -qq </dev/null ||
		echo 'setup-tests: apt-get update failed; going on with what is known' >&2
	install "${need[@]}"
	install "${want[@]}" || echo "setup-tests: going on without some of: ${want[*]}" >&2
	touch $asked
}

main() {
	if ! command -v go >/dev/null; then
		echo 'setup-tests: please install Go first (go.mod says which version): https://go.dev/dl/' >&2
		exit 1
	fi
	mapfile -t need < <(missing "$required")
	mapfile -t want < <(missing "$wanted")
	if installer; then
		setup
		mapfile -t need < <(missing "$required")
	fi
	if [[ ${#need[@]} != 0 ]]; then
		echo "setup-tests: please install: ${need[*]}" >&2
		echo '  (these are names of Debian packages;' \
			'as root on Debian or Ubuntu this script installs them)' >&2
		exit 1
	fi
}

main
