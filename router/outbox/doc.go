// Package outbox is the room of what goes out: each invocation that the folds oblige to is sent to its function until it is known what became of it.
//
// Shards add invocations and stop them; the outbox tells the owner how each ended, as a record or as accepted. When something is sent is decided here
// and nowhere else; whether a new attempt is made, never. An invocation that has no outcome yet is an item:
//
//	add --> queued --room in the function--> sending --+--> outcome: a record, and it is forgotten
//	           ^                                       |
//	           |                                       +--> accepted ----its time is over--> timed-out, or given up
//	           |                                       |       (its completion comes as an event: the shard stops it)
//	           +-------- resending <---no answer-------+
//	                     (a pause)
//	add, with the ticket of a call that was taken before --> sending: its result is asked for, and it waits for nothing (ticket.go)
//
//	too old, sent too often: given up, with the reason. stop, leave: from anywhere, forgotten; a delivery under way is aborted, and says nothing
//
// A function has a lane, and the lane a state. What waits takes turns: tenants, then triggers, then runs; at most the function's concurrency is under way.
//
//	up --it asks for a pause, or for less--> throttled --+
//	 |                                                   +--one at a time, after growing pauses or the one asked for--> an answer: up
//	 +--several refusals without an answer--> down ------+
//
// A function with a rate has a bucket of tokens beside its room: every sending takes one, of whatever kind; what finds none waits in its turn.
//
// Age counts from the first sending: what waits in our own queue is nobody's fault. Sends under one id use up no attempt. Of this only the
// first try without an answer is journaled (tried): a successor sends again what was not accepted, and counts its age on.
//
// The ends of runs that meet the filters or name a trigger never leave: they go to the Intake, which starts what follows.
//
// Not in here: which invocation exists and under which number (the engine), what an event looks like and which trigger takes it (admission), and any
// wire (sinks).
package outbox
