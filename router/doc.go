// Package router puts the rooms together: what comes in, what is being done, what goes out, what was, who else there is, and who asks. It is embeddable:
// Open, Run, Reload.
//
//	sources --> admission --records--> journal --> shard --invocations--> outbox --> sinks
//	                ^                                |                      |
//	                |                                +--ended runs--> history
//	                +------------- the ends of runs --------------- (outbox)
//
//	api asks them all; cluster asks the other routers
//
// The rooms do not import one another: each declares, in two or three methods, what it needs of somebody, and it is here that somebody is named. Plain
// types that several rooms show are the engine's; what is journaled is its facts.
//
// Not in here: anything that is decided about an event or a run. What is longer than putting together has a room.
package router
