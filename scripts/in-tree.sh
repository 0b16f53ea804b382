#!/usr/bin/env bash
# Runs a test's executable in a tree (scripts/new-trees.sh): go test -exec 'scripts/in-tree.sh TREE'
# ... The tree sees the source at its own place, and writes into itself alone; all that is started
# ends with it. It has a loopback network of its own, where no port is taken. Process 1 is a shell
# there, which waits for orphans: they aren't the test's. Go is there too, with its caches, for
# tests that build programs.
set -euo pipefail
tree=$1 program=$2 source=$(cd "$(dirname "$0")/.." && pwd -P)
shift 2
export tree source program root=/var/tmp/mitogen-lab-root
export here=$PWD
mapfile -t go < <(go env GOROOT GOMODCACHE GOCACHE)
export GOROOT=${go[0]} GOMODCACHE=${go[1]} GOCACHE=${go[2]}
# shellcheck disable=SC2016 # for the inner shell
exec unshare -m -n -p -f --kill-child --propagation private sh -euc '
	mount --bind "$tree" "$tree"
	mount -t proc proc "$tree/proc"
	mount --rbind /sys "$tree/sys"
	mount --rbind /dev "$tree/dev"
	mount -t tmpfs -o mode=755 run "$tree/run"
	mount -t tmpfs -o mode=1777 tmp "$tree/tmp"
	mkdir -p "$tree$source"
	mount --bind "$source" "$tree$source"
	for dir in "$GOROOT" "$GOMODCACHE" "$GOCACHE"; do
		[ -d "$tree$dir" ] || mkdir -p "$tree$dir"
		mount --bind "$dir" "$tree$dir"
	done
	if [ -d "$root" ]; then # of package lab, which takes half a minute to make
		mkdir -p "$tree$root"
		mount --bind "$root" "$tree$root"
	fi
	mkdir -p "$tree/opt/test"
	mount -t tmpfs -o mode=755 test "$tree/opt/test"
	cp "$program" "$tree/opt/test/${program##*/}"
	cd "$tree"
	mkdir -p .machine
	pivot_root . .machine
	exec chroot . env \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:"$GOROOT/bin" \
		HOME=/root USER=root TMPDIR=/tmp \
		sh -c "umount -l /.machine && ip link set lo up && cd \"\$here\" &&
			\"\$0\" \"\$@\"; exit \$?" "/opt/test/${program##*/}" "$@"
' sh "$@"
