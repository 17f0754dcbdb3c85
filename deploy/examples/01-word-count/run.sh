#!/bin/sh
# Starts the two functions, routes one event that names every package of the Go standard library, and prints the table.
set -eu
cd "$(dirname "$0")/../../.."
work=$(mktemp -d)
functions=
trap 'test -z "$functions" || kill "$functions" 2>/dev/null; rm -rf "$work"' EXIT INT TERM
bin/functions -goroot "$(go env GOROOT)" -ready "$work/ready" &
functions=$!
for i in 1 2 3 4 5 6 7 8 9 10; do test -s "$work/ready" && break; sleep 0.2; done
go list std | sed 's/.*/"&"/' | paste -sd, | sed 's/.*/{"packages":[&]}/' >"$work/event.json"
bin/onward run deploy/examples/01-word-count/word-count.yaml --trigger word-count --data "@$work/event.json"
echo
cat >&2 <<'END'
Next, the same at a router for everybody. The functions above have ended: start them first, then the router, and send it an event.
  bin/functions &
  bin/onward serve deploy/examples/01-word-count &
  bin/onward send --type com.example.corpus.uploaded --data '{"packages": ["net/http"]}' --wait 30s
END
