#!/usr/bin/env bash
# release.sh: makes in OUT (dist) what a release consists of, for each of PLATFORMS: the program, its bill of materials, and
# checksums, also of the runtime and the plugin that the programs hold. It fails if a second build, of a copy in another directory
# and without what the first one has left in the cache of Go, isn't the same byte for byte. FRESH= shares that cache.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${PLATFORMS:=linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 freebsd/amd64 freebsd/arm64}"
: "${VERSION:=$(git describe --tags --always --dirty)}"
out=$(realpath -m "${OUT:-dist}")
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOTOOLCHAIN=local
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

# build DIR PLATFORM: the program of a copy.
build() {
	(cd "$1" && GOOS=${2%/*} GOARCH=${2#*/} go build -trimpath -buildvcs=false \
		-ldflags "-s -w -buildid= -X github.com/mitogen-go/mitogen/internal/cli.version=$VERSION" -o program ./cmd/mitogen)
}

if [[ ${VULN-} != skip ]]; then
	scripts/vuln.sh
fi
go mod verify
copy "$work/one"
copy "$work/a/second/one"
mkdir -p "$out"
rm -f "$out"/mitogen-* "$out/SHA256SUMS"
for platform in $PLATFORMS; do
	name=mitogen-$VERSION-${platform/\//-}
	build "$work/one" "$platform"
	if [[ -n ${FRESH-1} ]]; then
		GOCACHE=$work/cache build "$work/a/second/one" "$platform"
	else
		build "$work/a/second/one" "$platform"
	fi
	cmp "$work/one/program" "$work/a/second/one/program" || { echo "release: $platform: two builds differ" >&2; exit 1; }
	mv "$work/one/program" "$out/$name"
	go run ./tools/sbom "$out/$name" >"$out/$name.cdx.json"
	echo "$name: the same twice"
done
mkdir "$work/sums"
cp "$out"/mitogen-* "$work/sums"
mkdir "$work/sums/runtime" "$work/sums/plugin"
cp "$work/one"/internal/boot/image.bin "$work/one"/internal/boot/modules/*.py "$work/sums/runtime"
cp "$work/one"/internal/ansible/plugin/*.py "$work/sums/plugin"
(cd "$work/sums" && find . -type f -printf '%P\n' | LC_ALL=C sort | xargs sha256sum) >"$out/SHA256SUMS"
