// Package traces is the room of spans: what runs, their steps and tries were, told by OTLP to a collector of traces.
//
//	fold --Take--> entries in memory --> spans of a run, of its steps, of their tries --(500 ms)--> POST /v1/traces
//
// It is fed with what the history is fed with, and is off the path of events: what the collector does not take in time is let go of, and counted. The ids of
// spans follow from the run and the numbers in it: a restart, a replay or another router names the same spans, and so does the trace context of what is sent
// (Context), before there is a span.
//
// Not in here: anything that a fold reads, and anything that waits.
package traces
