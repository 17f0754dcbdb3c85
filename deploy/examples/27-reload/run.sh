#!/bin/sh
# Serves a copy of the document, changes it, and asks what a reload would change; then it is reloaded, and once more with a mistake in it.
cd "$(dirname "$0")/../../.."
. deploy/examples/begin.sh
mkdir "$work/documents"
cp deploy/examples/27-reload/orders.yaml "$work/documents"
serve "$work/documents" --watch 0s
shows o-1 bin/onward send --type com.example.order --data '{"order": "o-1"}' --wait 60s
change() { cat >"$work/documents/returns.yaml"; }
change <<'EOF'
version: 1
triggers:
  return:
    filters: [{ exact: { type: com.example.return } }]
    flow: { function: pack }
EOF
shows '+ trigger return' bin/onward diff "$work/documents"
kill -HUP "$router"
until bin/onward diff "$work/documents" >/dev/null; do sleep 0.1; done
shows r-1 bin/onward send --type com.example.return --data '{"return": "r-1"}' --wait 60s
change <<'EOF'
version: 1
triggers:
  return:
    filters: [{ exact: { type: com.example.return } }]
    flow: { function: unpack }
EOF
kill -HUP "$router"
until grep -q 'unknown function .*unpack' "$work/log"; do sleep 0.1; done
grep 'unknown function' "$work/log"
shows r-2 bin/onward send --type com.example.return --data '{"return": "r-2"}' --wait 60s
