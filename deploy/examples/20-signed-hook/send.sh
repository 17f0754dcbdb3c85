#!/bin/sh
# Sends an event that is signed, the same once more, one that was altered on its way, and one that nobody has signed; prints what each is answered with.
# The event stands in the body as a whole, so that the signature is of all of it.
set -eu
to=${ONWARD_ADDR:-http://127.0.0.1:8080}/hook
event='{"specversion":"1.0","id":"push-1","source":"/repo","type":"com.example.push","data":{"after":"4f2a"}}'
signed=sha256=$(printf %s "$event" | openssl dgst -sha256 -hmac "$HOOK_SECRET" | sed 's/.* //')
send() {
	printf '%s: ' "$1"
	curl -sS -o /dev/null -w '%{http_code}\n' -H 'Content-Type: application/cloudevents+json' ${3:+-H "X-Hub-Signature-256: $3"} --data-binary "$2" "$to"
}
send 'signed' "$event" "$signed"
send 'signed, again' "$event" "$signed"
send 'altered' "$(printf %s "$event" | sed s/4f2a/0bad/)" "$signed"
send 'not signed' "$event" ''
