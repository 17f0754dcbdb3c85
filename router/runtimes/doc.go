// Package runtimes drives real function runtimes with a router, in its test: functions-framework in three languages, Flask, FastAPI, Express,
// Knative's functions in two languages, and handlers of AWS Lambda, which poll the router or are in Lambda's emulator. What a contract says of a runtime is held to what the runtime does. They are fetched, pinned, into the user's cache; the modules that only their
// functions need are none of the router's.
package runtimes
