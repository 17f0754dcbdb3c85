#!/bin/sh
# Starts the function, runs the dag once, and prints how long it took and how long it had to take. SCALE: how many times faster than it was.
set -eu
cd "$(dirname "$0")/../../.."
work=$(mktemp -d)
tasks=
trap 'test -z "$tasks" || kill "$tasks" 2>/dev/null; rm -rf "$work"' EXIT INT TERM
document=deploy/examples/02-dag/soykb.yaml
bin/tasks -document "$document" -trigger soykb -scale "${SCALE:-1000}" -ready "$work/ready" &
tasks=$!
for i in 1 2 3 4 5 6 7 8 9 10; do test -s "$work/ready" && break; sleep 0.2; done
bin/onward run "$document"
kill "$tasks"
wait "$tasks"
tasks=
echo
echo "Next: change a task's needs in $document, and see what the critical path becomes; README.md" >&2
