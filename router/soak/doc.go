// Package soak is the hostile hour: the real program as a child process in little memory, with functions that hang and lie, events that are none, kills,
// clocks that jump, a disk that fills and reloads; and beside it a checker that works out by itself what every run must come to.
//
//	          load ----------- events ------------> +--------+ ------- invocations -----> world (functions that lie, by a plan)
//	 hostile -- what is no event, forged, huge ---> | onward | <-- answers, completions --
//	trouble -- SIGKILL, SIGHUP, clock, full disk -> |  serve | ------- ends of runs ----> world (the collector)
//	                                                +--------+
//	                 judge: lost = an acknowledged event whose run has no end; wrong = an end that is not the one worked out;
//	                 repeated = an invocation or an end that came again, as it may, under its first id
//
// It knows the router by its doors only: it imports nothing of ours, and holds no secret of the journal. What a function lies about is arranged so that
// the right outcome stays computable: it lies a few times for each logical call, then tells the truth; or it is meant to fail.
package soak
