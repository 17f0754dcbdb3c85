#!/bin/sh
# Runs the example: a router, a function of Knative's, and an event; what the function answers starts a second run. What is missing of Python is fetched into a folder
# that goes with it.
cd "$(dirname "$0")/../../.."
. deploy/examples/begin.sh
needs python3
pip func_python func-python==0.8.1
serve deploy/examples/23-knative
export PYTHONDONTWRITEBYTECODE=1 LISTEN_ADDRESS=127.0.0.1:7023
beside 7023 python3 deploy/examples/23-knative/price.py
shows '"price":21' bin/onward send --type com.example.order --data '{"order": "o-1", "amount": 3}' --wait 60s
until bin/onward runs list --trigger priced | grep -q succeeded; do sleep 0.1; done
bin/onward runs list
shows "Error: 'amount'" bin/onward send --type com.example.order --data '{"order": "o-2"}' --wait 60s
until grep -q knativeerrordest "$work/log"; do sleep 0.1; done
