#!/bin/sh
# Runs the example: a router, what stands in for the platforms, and an event.
cd "$(dirname "$0")/../../.."
. deploy/examples/begin.sh
needs python3
serve deploy/examples/25-platforms
beside 7025 python3 deploy/examples/25-platforms/elsewhere.py
shows '"by":"OpenFaaS"' bin/onward send --type com.example.picture --data '{"key": "a.png"}' --wait 60s
grep -q '"by":"OpenWhisk"' "$work/said"
grep -q '"type":"ValueError"' "$work/said"
