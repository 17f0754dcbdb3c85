// Package outbox is the room of what goes out: each invocation that the folds oblige to is sent to its function until it is known what became of it.
//
// Shards add invocations and stop them; the outbox tells the owner how each ended, as a record or as accepted. When something is sent is decided here
// and nowhere else; whether a new attempt is made, never. An invocation that has no outcome yet is an item:
//
//	add --> queued --room in the function--> sending --+--> outcome: a record, and it is forgotten
//	           ^                                       |
//	           |                                       +--> accepted ----its time is over--> timed-out
//	           |                                       |       (its completion comes as an event: the shard stops it)
//	           +-------- resending <---no answer-------+
//	                     (a pause)
//
//	stop, leave: from anywhere, forgotten; a delivery under way is aborted, and says nothing
//
// A function has a lane: the runs that wait for it stand in a ring and take turns, so that a small run is not delayed by a big one; at most the
// function's concurrency is under way. Sends under one id use up no attempt. Nothing of this is journaled: a successor sends again what was not accepted.
//
// The ends of runs that meet the filters or name a trigger never leave: they go to the Intake, which starts what follows.
//
// Not in here: which invocation exists and under which number (the engine), what an event looks like and which trigger takes it (admission), and any
// wire (sinks).
package outbox
