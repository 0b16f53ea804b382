#!/usr/bin/env bash
# release.sh: makes in OUT (dist) what a release consists of, for each of PLATFORMS: the program,
# its bill of materials, a wheel of the Python package with the program in it, and checksums, also
# of the runtime and the plugin that the programs hold; and for each of AGENT_PLATFORMS the agent,
# which every program carries for CARRIED. It fails if a second build, of a copy in
# another directory and without what the first one has left in the cache of Go, isn't the same byte
# for byte. FRESH= shares that cache.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${PLATFORMS:=linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 freebsd/amd64 freebsd/arm64}"
: "${AGENT_PLATFORMS:=linux/amd64 linux/arm64 linux/arm linux/386 linux/riscv64 linux/ppc64le \
linux/s390x}"
: "${CARRIED:=linux/amd64 linux/arm64}"
: "${VERSION:=$(git describe --tags --always --dirty)}"
out=$(realpath -m "${OUT:-dist}")
export VERSION CGO_ENABLED=0 GOFLAGS=-mod=readonly GOTOOLCHAIN=local
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

# copy DIR: the source as it was committed, or as it lies here where there is no repository.
copy() {
	mkdir -p "$1"
	if git rev-parse --verify -q HEAD >/dev/null; then
		git archive HEAD
	else
		tar -c --exclude=./bin --exclude=./dist .
	fi | tar -x -C "$1"
}

# build DIR PLATFORM: the program of a copy, and its wheel in wheels/.
build() {
	(cd "$1" && AGENTS=$carried scripts/build-program.sh "$2" program &&
		go run ./tools/pywheel -version "$VERSION" -platform "$2" -o wheels program >/dev/null)
}

if [[ ${VULN-} != skip ]]; then
	scripts/vuln.sh
fi
go mod verify
copy "$work/one"
copy "$work/a/second/one"
mkdir -p "$out"
rm -f "$out"/mitogen-* "$out"/mitogo-* "$out/SHA256SUMS"

# second COMMAND...: executes it with an empty cache of Go, or with the shared one.
second() {
	if [[ -n ${FRESH-1} ]]; then
		GOCACHE=$work/cache "$@"
	else
		"$@"
	fi
}

# agent DIR PLATFORM: the agent of a copy.
agent() { (cd "$1" && scripts/build-agent.sh "$2" agent); }

carried=
mkdir "$work/agents"
for platform in $AGENT_PLATFORMS; do
	name=mitogen-agent-$VERSION-${platform/\//-}
	agent "$work/one" "$platform"
	second agent "$work/a/second/one" "$platform"
	cmp "$work/one/agent" "$work/a/second/one/agent" ||
		{ echo "release: agent for $platform: two builds differ" >&2; exit 1; }
	mv "$work/one/agent" "$out/$name"
	if [[ " $CARRIED " == *" $platform "* ]]; then
		cp "$out/$name" "$work/agents/${platform/\//-}"
		carried+=" $work/agents/${platform/\//-}"
	fi
	go run ./tools/sbom "$out/$name" >"$out/$name.cdx.json"
	echo "$name: the same twice"
done
for platform in $PLATFORMS; do
	name=mitogen-$VERSION-${platform/\//-}
	build "$work/one" "$platform"
	second build "$work/a/second/one" "$platform"
	cmp "$work/one/program" "$work/a/second/one/program" ||
		{ echo "release: $platform: two builds differ" >&2; exit 1; }
	for wheel in "$work/one"/wheels/*; do
		cmp "$wheel" "$work/a/second/one/wheels/${wheel##*/}" ||
			{ echo "release: $platform: two wheels differ" >&2; exit 1; }
		mv "$wheel" "$out"
	done
	mv "$work/one/program" "$out/$name"
	go run ./tools/sbom "$out/$name" >"$out/$name.cdx.json"
	echo "$name: the same twice"
done
mkdir "$work/sums"
cp "$out"/mitogen-* "$out"/mitogo-* "$work/sums"
mkdir "$work/sums/runtime" "$work/sums/plugin"
(cd "$work/one" && go run ./internal/boot/gen -unpack "$work/sums/runtime")
cp "$work/one"/internal/ansible/plugin/*.py "$work/sums/plugin"
(cd "$work/sums" && find . -type f -printf '%P\n' | LC_ALL=C sort |
	xargs sha256sum) >"$out/SHA256SUMS"
