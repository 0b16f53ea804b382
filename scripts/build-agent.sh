#!/usr/bin/env bash
# build-agent.sh OS/ARCH FILE: builds the agent of the current directory for a platform, as it is
# released: static, without paths of this machine, and small: nothing is inlined, which is an eighth
# of its bytes. VERSION is what it says of itself. `mitogen build` does the same (internal/cli).
set -euo pipefail
GOOS=${1%/*} GOARCH=${1#*/} CGO_ENABLED=0 go build -tags mitogen_agent -gcflags=all=-l -trimpath \
	-buildvcs=false -ldflags "-s -w -buildid= -X main.stamp=mitogen-agent/$VERSION/" -o "$2" \
	./cmd/mitogen-agent
