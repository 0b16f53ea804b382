#!/usr/bin/env bash
# Makes trees of Debian's unstable release in a cache, with the newest interpreters and programs,
# and prints their paths, one a line:
#
#     scripts/new-trees.sh new s390x armhf
#
# new is a tree for this machine, to be entered by chroot, with what `packages` names. The others
# hold an interpreter for that machine alone, unpacked; its path is that of a script which has it
# emulated. A tree that is in the cache is printed without any use of the network; remove its
# directory to have it made anew. What can't be had is left out, with a message on stderr.
#
# It takes root on Debian or its kin; the archive is the one that this machine's packages come from.
set -euo pipefail
cache=${MITOGEN_TREES:-/var/cache/mitogen-test-new}
release=unstable
# The script in a tree that has its interpreter emulated.
script=usr/bin/emulated-python3
# Interpreters; what logs in; what changes accounts; containers; what the lab takes to be set up.
packages='python3 python3.13 python3.14 python3.15 python3.14-venv pypy3 micropython
openssh-server openssh-client dropbear-bin tinysshd openssl
sudo sudo-rs opendoas
lxc rust-coreutils busybox
debootstrap ca-certificates procps util-linux passwd mount login iproute2 strace acl gcc libc6-dev
curl rsync git'

say() { echo "new-trees: $*" >&2; }

# mirror: prints the address of the archive that this machine's distribution comes from.
mirror() {
	local codename
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
		awk -v release="$codename" '$1 == release && $2 == "main" { print $3; exit }'
}

# inside TREE COMMAND...: runs it in a tree, where packages are configured.
inside() {
	local tree=$1
	shift
	# shellcheck disable=SC2016 # for the inner shell
	unshare -m --propagation private sh -c 'tree=$1; shift
		mount -t proc proc "$tree/proc" && mount --rbind /dev "$tree/dev" &&
			mount -t sysfs sys "$tree/sys"
		exec chroot "$tree" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
			DEBIAN_FRONTEND=noninteractive "$@"' sh "$tree" "$@"
}

# available TREE PACKAGE...: prints those that the release has.
available() {
	local tree=$1 package
	shift
	for package; do
		if inside "$tree" apt-cache show "$package" >/dev/null 2>&1; then
			echo "$package"
		else
			say "left out: $package"
		fi
	done
}

# new DIR: a tree for this machine.
new() {
	local address=$1 tree=$2 list
	debootstrap --variant=minbase $release "$tree" "$address" >&2 || return 1
	printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
	chmod +x "$tree/usr/sbin/policy-rc.d"
	cp /etc/resolv.conf "$tree/etc/resolv.conf" 2>/dev/null || true
	[[ ! -d /etc/apt/apt.conf.d ]] || cp -n /etc/apt/apt.conf.d/*proxy* "$tree/etc/apt/apt.conf.d/" \
		2>/dev/null || true
	inside "$tree" apt-get -qq -o Acquire::Check-Valid-Until=false update >&2 || return 1
	# shellcheck disable=SC2086 # a list
	mapfile -t list < <(available "$tree" $packages)
	inside "$tree" apt-get -qq -y --no-install-recommends install "${list[@]}" >&2 || return 1
	inside "$tree" apt-get -qq clean
}

# foreign MACHINE ADDRESS DIR: an interpreter for another machine, and the script that runs it.
foreign() {
	local address=$2 tree=$3 emulator
	case $1 in
	armhf) emulator=arm ;;
	*) emulator=$1 ;;
	esac
	emulator=$(command -v "qemu-$emulator-static" || command -v "qemu-$emulator") || {
		say "$1: please install qemu-user-static"
		return 1
	}
	debootstrap --foreign --arch="$1" --variant=minbase --include=python3 $release "$tree" \
		"$address" >&2 || return 1
	local package
	for package in "$tree"/var/cache/apt/archives/*.deb; do
		dpkg-deb -x "$package" "$tree" || return 1
	done
	# Programs see the tree's files instead of this machine's: so it has the interpreter alone.
	find "$tree" -mindepth 1 -maxdepth 1 ! -name usr ! -name 'lib*' -exec rm -rf --one-file-system {} +
	find "$tree/usr" -mindepth 1 -maxdepth 1 ! -name 'bin' ! -name 'lib*' -exec rm -rf {} +
	find "$tree/usr/bin" -mindepth 1 ! -name 'python3*' -exec rm -rf {} +
	# The interpreter takes the script for its executable (-0): what it starts is emulated too.
	printf '#!/bin/sh\nexec %s -0 %s -L %s %s "$@"\n' "$emulator" "$cache/$1/$script" "$cache/$1" \
		"$cache/$1/usr/bin/python3" >"$tree/$script"
	chmod +x "$tree/$script"
}

# make NAME: makes a tree, under another name until it is whole. Where the caller asks for its
# status, a failed command doesn't end this script.
make() {
	local address draft=$cache/$1.draft
	address=$(mirror)
	if [[ -z $address ]]; then
		say "no archive in this machine's apt sources"
		return 1
	fi
	rm -rf "$draft"
	mkdir -p "$draft"
	if [[ $1 = new ]]; then
		new "$address" "$draft" || return 1
	else
		foreign "$1" "$address" "$draft" || return 1
	fi
	mv "$draft" "$cache/$1"
}

# there NAME: prints the path of a tree, or of a script, if it is in the cache.
there() {
	local path=$cache/$1
	[[ $1 = new ]] || path=$path/$script
	[[ -e $path ]] && echo "$path"
}

[[ $(id -u) = 0 ]] || { say 'this takes root'; exit 1; }
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
for name; do
	there "$name" && continue
	if (make "$name"); then
		there "$name"
	else
		rm -rf "$cache/$name.draft"
		say "left out: $name"
	fi
done
