#!/usr/bin/env bash
# build-program.sh OS/ARCH FILE: builds the program of the current directory for a platform, as it
# is released: static, without paths of this machine, with the Python package appended. VERSION is
# what it says of itself. AGENTS are files that are appended too, each called OS-ARCH.
set -euo pipefail
GOOS=${1%/*} GOARCH=${1#*/} CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$2" \
	-ldflags "-s -w -buildid= -X github.com/mitogen-go/mitogen/internal/cli.version=$VERSION" \
	./cmd/mitogen
read -ra agents <<<"${AGENTS-}"
go run ./tools/pyzip pyapi "$2" "${agents[@]}"
