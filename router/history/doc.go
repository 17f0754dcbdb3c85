// Package history is the room of what was: the runs that have ended, with what became of each of their steps and calls, the events that came, and the dead
// letters; for people, for those who wait for an end, and for requests that are repeated.
//
// Endings is what the others see: the latest ends in memory, with those who wait for one; behind it a Store of streams, each of entries in pages:
//
//	fold --Take--> page in memory --(200 ms)--> page in the file, packed, with the offset of the last record of each partition
//	                 |
//	                 +--> who waits for this run
//
// One transaction writes pages and offsets: what a restart folds again lies before them and is passed over. A page says which runs it may have; a run is
// looked for in those that say so, and its wide maps fill pages of their own. The oldest pages go, some at a time, as the limits say.
//
// A snapshot of a partition waits for Flush: the folds of a restart begin there, and will not bring what was before it again.
//
// It is off the path of events: Take appends to memory, and what the disk does not take in time is let go of, and said to who asks. What it holds follows
// from the journal: what it lacks is a hole, which who has the journal fills later (Lacks, Again, Filled); a file that is damaged is set aside and begun anew,
// and is one hole at first.
//
// Not in here: anything that decides about a run, anything that a fold reads, and HTTP.
package history
