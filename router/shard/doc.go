// Package shard is the room of what is being done: it folds the partitions that this process owns, and acts on what follows.
//
// A Shard is one tenure of one partition; a Set is all of them that this process has. A tenure goes one way:
//
//	loading --newest snapshot--> folding --end of log: appends a claim--> claiming --reads its own claim--> owning
//	                                ^                                        |                                |
//	                                |                                        | another's claim was first:     | another's claim, or
//	                                |                                        +-- claims again                 | the tenure's context
//	                                |                                                                         v
//	                                +---- the fold gave up: a new tenure, here or elsewhere <-------------- leaving --> last records, snapshot
//
// Until it owns, a shard only reads: nothing is sent, no timer fires, nothing is trimmed. What it writes as the owner (a timer fired, a try timed out,
// a delivery was given up) carries its epoch: another owner's fold refuses it once that one has claimed. What it writes late, or twice, changes nothing.
//
// Between records the fold's goroutine answers questions (Ask), fires timers and begins snapshots; the facts are appended by another one, in groups.
//
// A fold that dies on a record - a panic, or the whole process, which the crash marks tell - costs the tenure its memory. After the second death on
// the same record it is passed over: the owner journals that, loudly, and its run fails. A fold that does not come back ends the process (Watchdog).
//
// Not in here: what a record does (the engine), how anything is sent (an Outbox of somebody's), what an event is, HTTP.
package shard
