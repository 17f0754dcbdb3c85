#!/bin/sh
# Runs the example: a router, two runtimes of AWS's that poll it, and an event. What is missing of Python is fetched into a folder that goes with it.
set -eu
cd "$(dirname "$0")/../../.."
work=$(mktemp -d)
pids=
stop() { for p in $pids; do kill "$p" 2>/dev/null && wait "$p" || true; done; rm -rf "$work"; }
trap stop EXIT INT TERM
if ! python3 -c 'import awslambdaric' 2>/dev/null; then
	if ! python3 -m pip install -q --target "$work/python" awslambdaric==4.2.2 2>"$work/pip"; then
		echo "NOT RUN: python3 has no awslambdaric, and pip fetches none: $(tail -1 "$work/pip")"
		exit 0
	fi
	export PYTHONPATH="$work/python"
fi
ONWARD_LISTEN=127.0.0.1:0 ONWARD_DATA="$work/data" ONWARD_DURABILITY=os ONWARD_DISK_LOW_WATER=1 bin/onward serve deploy/examples/22-lambda-runtime >"$work/log" 2>&1 &
pids=$!
for i in $(seq 100); do
	grep -q msg=ready "$work/log" && break
	sleep 0.1
done
ONWARD_ADDR=$(sed -n 's/.*msg="onward is routing" address=\([^ ]*\).*/\1/p' "$work/log")
export ONWARD_ADDR
for i in 1 2; do
	(cd deploy/examples/22-lambda-runtime && AWS_LAMBDA_RUNTIME_API=127.0.0.1:9022 AWS_LAMBDA_FUNCTION_NAME=resize PYTHONDONTWRITEBYTECODE=1 exec python3 -m awslambdaric handler.handler) >>"$work/runtimes" 2>&1 &
	pids="$pids $!"
done
bin/onward send --type com.example.album.added --data '{"pictures": [{"key": "a.jpg", "width": 4000}, {"key": "b.jpg", "width": 640}, {"key": "c.jpg", "width": 100}]}' --wait 20s >"$work/said" || { cat "$work/said" "$work/log" "$work/runtimes"; exit 1; }
cat "$work/said"
grep -q 'a-320.jpg' "$work/said" && grep -q 'too small: c.jpg' "$work/said"
