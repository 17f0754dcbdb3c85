// Package admission is the room of what comes in: it says what an event is, and makes the records that stand for it durable.
//
// It is the one room that translates between CloudEvents and records, both ways: events into completions, signals and starts; invocations and the
// ends of runs into events.
//
//	event --+-- caused by an invocation, and of a completion's type --> completion --> its run
//	        +-- a signal's type                                     --> signal     --> its run
//	        +-- what triggers' filters let through                  --> start      --> a run of its own, for each trigger
//	        +-- nothing of this                                     --> unmatched, with the reason
//
// A completion meets the filters too, so that functions can be chained by events. The ends of runs come in here again, from the outbox: what the
// filters let through is journaled in the run's own partition first (Match), then started (StartFor).
//
// Back-pressure refuses starts only. Completions, signals and what internal events start are always taken: they are bounded by what was started before,
// and refusing them would deadlock. A definition goes ahead of the first start that names it in a partition.
//
// Nothing is remembered here but which definitions were appended: a gate that dies has promised what it answered, and no more.
//
// Not in here: what a record does to a run (the engine), who owns a partition, HTTP.
package admission
