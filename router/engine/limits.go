package engine

import (
	"time"

	"github.com/onward-router/onward/config/lang"
)

// Limits bound what a run may do. They are part of the fold's level, not settings: two owners with different settings must decide the same.
type Limits struct {
	Depth        int           // frames inside frames
	Width        int           // children of one slot
	Window       int           // children of one slot open at a time when the policy does not say, and at most
	Steps        int           // invocations of one run
	Openings     int           // children that one record opens; what is beyond is owed, and done by records of its own
	Begins       int           // runs that one definition lets begin by its own record, of those that waited for it
	Open         int           // children that the runs of a partition have open together, beyond what each may have anyway
	Share        int           // children that a run may have open whatever the others do
	ValueBytes   int           // one value inside a run, and the outcomes kept of one slot
	FrameBytes   int           // the outcomes that one frame keeps
	RunBytes     int           // all that one run keeps
	Queue        int           // runs of one key that wait for others of it
	Round        int           // events of one round
	UntilBytes   int           // of what has arrived that the until of a round looks at, over all its events: each has it look at all that came before anew
	Kept         int           // events of one key that are kept for its next round
	KeptBytes    int           // and their bytes
	Definitions  int           // definitions that no run needs and a partition keeps
	StateBytes   int           // the state of one policy
	NameBytes    int           // the name of a timer or a signal
	Signals      int           // signals that one run remembers, to refuse repeats and to keep early ones
	Timers       int           // timers of one run at a time
	Live         int           // invocations of one run under way beyond which no function is told of dropped ones
	Fuel         int           // runs that one event from outside may lead to, one causing the other
	Continues    int           // continuations of one step
	Tombstones   int           // ended runs that a partition remembers at most
	TombstoneAge time.Duration // and for how long
}

// LimitsOf returns the limits of a fold level.
func LimitsOf(level uint8) Limits {
	_ = level // Levels 0 and 1 have the same.
	return Limits{
		Depth: lang.MaxDepth, Width: lang.MaxWidth, Window: lang.MaxWindow, Steps: 50_000_000,
		Openings: 2048, Begins: 128, Open: 10_000, Share: 64, ValueBytes: lang.MaxValueBytes, FrameBytes: 64 << 20, RunBytes: 256 << 20, Queue: 1000, Round: lang.MaxRound, UntilBytes: 1 << 30, Kept: 1000, KeptBytes: 4 << 20, Definitions: 64, StateBytes: 32 << 20, NameBytes: lang.MaxName, Signals: 10_000, Timers: 1_000_000,
		Live: 32_768, Fuel: 1024, Continues: 10_000, Tombstones: 1 << 18, TombstoneAge: 24 * time.Hour,
	}
}

// TooLarge is the error of an outcome that is larger than a value may be.
func TooLarge(size, limit int) *lang.Error {
	return tooLarge("the outcome", size, limit)
}

func tooLarge(what string, size, limit int) *lang.Error {
	return lang.Failf(lang.ClassFunction, "too_large", "%s has %d bytes and the limit is %d; pass a dataref instead", what, size, limit)
}
