#!/bin/sh
# Runs the example: a router, the function, and an event with 200 lines; then it says in how many requests they were counted.
cd "$(dirname "$0")/../../.."
. deploy/examples/begin.sh
needs python3
serve deploy/examples/24-batches
beside 7024 python3 deploy/examples/24-batches/count.py
bin/onward lint --probe deploy/examples/24-batches
python3 -c 'import json; print(json.dumps({"lines": ["one two three"] * 199 + [""]}))' >"$work/lines.json"
shows '{"failed":["a line without words"],"words":597}' bin/onward send --type com.example.text --data "@$work/lines.json" --wait 60s
requests=$(grep -c '[1-9][0-9]* calls' "$work/beside")
echo "200 calls in $requests requests"
test "$requests" -lt 50
