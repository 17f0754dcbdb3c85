// Package api is the room of who asks: the HTTP API under /v1, its streams of events, and what it says in plain words.
//
// It knows nothing by itself. What a run does it asks the shard that folds it, and the outbox where its invocations are; how a run ended, those who
// keep the ends; and of what is not here, the other routers. What it is told to do - start, signal, cancel - it hands to the intake.
//
//	GET  /v1/runs, /v1/runs/RUN, .../explain, .../watch (server-sent events)    what is done, and why it is not further
//	POST /v1/runs/RUN/cancel, /v1/runs/RUN/signals/NAME, /v1/triggers/NAME      what is asked for; acknowledged when it is durable, and of facts, what became
//	GET  /v1/triggers, /v1/functions, /v1/parked, /metrics, /healthz, /readyz   how the router is
//	GET  /v1/peer, /v1/load, /v1/runs/RUN/ended, POST /v1/facts                           what routers ask one another
//
// Every answer is JSON; an error is {"error": {"code", "message", "cure"}} with a status that says whether to ask again: 404 unknown, 400 not as it should be, 429 and
// 503 with Retry-After. Who signals or cancels hears what the fold made of it: 200 applied or repeated, 410 ended, 404 unknown, 409 superseded, 429 limited;
// 202 is that it is durable, and what it does is not known yet.
//
// Under /v1 comes who has a token, or proves to be another router; where there is no token, whom the door's guard lets in. routes says of each operation which
// right it needs, and what it is for a token of a tenant. Sources that are paths on the router's listener are served beside it, and prove their callers
// themselves.
//
// Not in here: anything that changes a run other than by the intake, anything that is kept, and the wire between routers (cluster).
package api
