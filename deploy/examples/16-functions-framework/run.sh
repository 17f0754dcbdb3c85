#!/bin/sh
# Runs the example: a router, a function of functions-framework, and an event. What is missing of Python is fetched into a folder that goes with it.
cd "$(dirname "$0")/../../.."
. deploy/examples/begin.sh
needs python3
pip functions_framework functions-framework==3.10.2
serve deploy/examples/16-functions-framework
export PYTHONDONTWRITEBYTECODE=1
beside 7016 python3 -m functions_framework --target greet --source deploy/examples/16-functions-framework/greet.py --host 127.0.0.1 --port 7016
shows '"greeting":"Hello Grace"' bin/onward send --type com.example.guests.arrived --data '{"guests": ["Ada", "", "Grace"]}' --wait 60s
grep -q 'nobody is there' "$work/said"
