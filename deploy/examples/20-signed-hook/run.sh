#!/bin/sh
# Serves the hook, sends to it what is signed and what is not (send.sh), and lists the one run that came of it.
set -eu
cd "$(dirname "$0")/../../.."
command -v openssl >/dev/null && command -v curl >/dev/null || { echo "it needs openssl and curl"; exit 0; }
work=$(mktemp -d)
router=
trap 'test -z "$router" || { kill "$router" 2>/dev/null && wait "$router" || true; }; rm -rf "$work"' EXIT INT TERM
export HOOK_SECRET=one HOOK_SECRET_NEXT=two TOLD_SECRET=three
ONWARD_LISTEN=127.0.0.1:0 ONWARD_DATA="$work/data" bin/onward serve deploy/examples/20-signed-hook >"$work/log" 2>&1 &
router=$!
for i in $(seq 100); do grep -q msg=ready "$work/log" && break; sleep 0.1; done
ONWARD_ADDR=$(sed -n 's/.*msg="onward is routing" address=\([^ ]*\).*/\1/p' "$work/log")
export ONWARD_ADDR
deploy/examples/20-signed-hook/send.sh | tee "$work/answers"
bin/onward runs list
test "$(cat "$work/answers")" = "signed: 202
signed, again: 202
altered: 401
not signed: 401"
