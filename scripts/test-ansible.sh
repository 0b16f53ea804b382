#!/usr/bin/env bash
# Tests the connection plugin with all releases of ansible-core that there are here.
set -euo pipefail
cd "$(dirname "$0")/.."
MITOGEN_ANSIBLE=$(scripts/ansible-releases.sh 2.14 2.16 2.18 2.19 2.20 newest next)
MITOGEN_ANSIBLE_TOOLS=$(scripts/ansible-releases.sh tools)
MITOGEN_ANSIBLE_POSIX=$(scripts/ansible-posix.sh)
export MITOGEN_ANSIBLE MITOGEN_ANSIBLE_TOOLS MITOGEN_ANSIBLE_POSIX MITOGEN_ANSIBLE_ALL=1

tests='SameAsSSH|OtherPythons|Ways|Recycled|Persist|NoProgram|Killed|Wrapper|Facts\w*DecideNothing'
tests+='|EachItemInItsPlace|Tools|Synchronize|UsersAtOnce|KilledBetween|LoginsAfterAChange'
go test -count=1 -timeout 60m -v -run "Test($tests)" ./internal/ansible
