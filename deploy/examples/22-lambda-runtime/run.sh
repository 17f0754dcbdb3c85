#!/bin/sh
# Runs the example: a router, two runtimes of AWS's that poll it, and an event. What is missing of Python is fetched into a folder that goes with it.
cd "$(dirname "$0")/../../.."
. deploy/examples/begin.sh
needs python3
pip awslambdaric awslambdaric==4.2.2
serve deploy/examples/22-lambda-runtime
for i in 1 2; do
	(cd deploy/examples/22-lambda-runtime && AWS_LAMBDA_RUNTIME_API=127.0.0.1:9022 AWS_LAMBDA_FUNCTION_NAME=resize PYTHONDONTWRITEBYTECODE=1 exec python3 -m awslambdaric handler.handler) >>"$work/beside" 2>&1 &
	pids="$pids $!"
done
shows 'too small: c.jpg' bin/onward send --type com.example.album.added --data '{"pictures": [{"key": "a.jpg", "width": 4000}, {"key": "b.jpg", "width": 640}, {"key": "c.jpg", "width": 100}]}' --wait 60s
grep -q 'a-320.jpg' "$work/said"
