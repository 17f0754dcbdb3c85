#!/bin/sh
# Serves the hook, sends to it what is signed and what is not (send.sh), and lists the one run that came of it.
cd "$(dirname "$0")/../../.."
. deploy/examples/begin.sh
needs openssl curl
export HOOK_SECRET=one HOOK_SECRET_NEXT=two TOLD_SECRET=three
serve deploy/examples/20-signed-hook
shows 'signed: 202' deploy/examples/20-signed-hook/send.sh
test "$(cat "$work/said")" = "signed: 202
signed, again: 202
altered: 401
not signed: 401"
shows push bin/onward runs list
