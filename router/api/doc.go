// Package api is the room of who asks: the HTTP API under /v1, its streams of events, and what it says in plain words.
//
// It knows nothing by itself. What a run does it asks the shard that folds it, and the outbox where its invocations are; how a run ended, those who
// keep the ends; and of what is not here, the other routers. What it is told to do - start, signal, cancel - it hands to the intake.
//
//	GET  /v1/runs, /v1/runs/RUN, .../explain, .../watch (server-sent events)    what is done, and why it is not further
//	GET  /v1/runs/RUN/counts, .../field?step=PATH, .../flow, /v1/triggers/NAME  the picture of a run: see below
//	POST /v1/runs/RUN/cancel, /v1/runs/RUN/signals/NAME, /v1/triggers/NAME      what is asked for; acknowledged when it is durable, and of facts, what became
//	GET  /v1/dead, /v1/dead/LETTER, DELETE the same, POST .../redrive           what was given up; ?trigger= function= tenant= run= kind= error= text= since= until=
//	                                                                            choose, limit= and after= page, group=cause counts by cause. kind is invocation (a run's
//	                                                                            call), destination (an event of its end), event (one that no trigger could take, through an
//	                                                                            error), or parked (what came in and is no event)
//	POST /v1/runs/redrive, /rerun, /cancel, /signal?signal=NAME                 the same of all runs of a query: that of GET /v1/runs, with limit=, rate=50/s, dryRun=true;
//	                                                                            {total, runs, done, refused, left, errors}, as lines (Accept: application/x-ndjson) with
//	                                                                            one a run as it is done. Who hangs up stops it after the run that is at work
//	GET  /v1/triggers, /v1/functions, /v1/parked, /metrics, /healthz, /readyz   how the router is
//	GET  /v1/peer, /v1/load, /v1/runs/RUN/ended, POST /v1/facts, /v1/gathers              what routers ask one another
//
// Every answer is JSON; an error is {"error": {"code", "message", "cure"}} with a status that says whether to ask again: 404 unknown, 400 not as it should be, 429 and
// 503 with Retry-After. Who signals or cancels hears what the fold made of it: 200 applied or repeated, 410 ended, 404 unknown, 409 superseded, 429 limited;
// 202 is that it is durable, and what it does is not known yet.
//
// The picture of a run, open or ended, has three parts. Their paths are those of timelines, with [*] where a step may run more than once.
//
//   - .../flow is the definition by which it runs as a tree of steps (engine.FlowStep); /v1/triggers/NAME is the one in force. A policy says how its steps
//     hang together (schedulers.Sketcher): in a line, beside one another, one of them, each of many, again and again, or a graph with edges. One that does
//     not say is a box with steps in it.
//   - .../counts has for each of those steps how many activations are pending, queued, running, waiting, succeeded, failed, skipped, cancelled; and "over":
//     ended, and the history does not know how. A step that never began is not in it.
//   - .../field?step=PATH has the state of each activation of one step in one answer: of a map of 100,000 branches 50,000 bytes before they are packed (send
//     Accept-Encoding: gzip). PATH has the indexes of all that is around the step, and not the last: map/f, outer[3]/inner. With after=CURSOR of the answer
//     before, "changed" has index and state, in turns, of all that have ended since and of all that are open; what is not in it is as it was. An answer with
//     "states" in place of that says all: the cursor was another router's, or older than the history. Cursors hold for the router that gave them.
//
// Under /v1 comes who has a token, or proves to be another router; where there is no token, whom the door's guard lets in. routes says of each operation which
// right it needs, and what it is for a token of a tenant. Sources that are paths on the router's listener are served beside it, and prove their callers
// themselves.
//
// Not in here: anything that changes a run other than by the intake, anything that is kept, and the wire between routers (cluster).
package api
