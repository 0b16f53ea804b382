#!/usr/bin/env bash
# wheel.sh: makes in OUT (dist) a wheel of the Python package for each of PLATFORMS, with the
# program for it, of what lies here. A release has wheels of what is committed: release.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${PLATFORMS:?the platforms, as in linux/amd64 darwin/arm64}"
: "${VERSION:=$(git describe --tags --always --dirty)}"
export VERSION GOFLAGS=-mod=readonly
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for platform in $PLATFORMS; do
	scripts/build-program.sh "$platform" "$work/mitogen"
	go run ./tools/pywheel -version "$VERSION" -platform "$platform" -o "${OUT:-dist}" "$work/mitogen"
done
