// Package history is the room of what was: the runs that have ended, for people, for those who wait for an end, and for requests that are repeated.
//
// Endings is what the others see: the latest ends in memory, with those who wait for one; behind it a Store, a file that keeps as many as its limits
// allow, the oldest go first. Ends reach the file in batches beside the path of events:
//
//	fold --Add--> memory --(1,000 of them, or 200 ms)--> Store
//	                 |
//	                 +--> who waits for this run
//
// A snapshot of a partition waits for Flush: the folds of a restart begin there, and will not bring the ends before it again. What a restart folds
// again is added again, and changes nothing.
//
// It is off the path of events. What it holds follows from the journal; when its file is damaged it is set aside and begun anew, when the disk does
// not take it people miss the ends of some runs, and no run is lost.
//
// Not in here: anything that decides about a run, anything that a fold reads, and HTTP.
package history
