// Package journaltest is the laws of a journal, as a suite that any implementation runs on itself, third parties' too.
//
// A capability that a journal does not have - to be torn, to fill up, to be contended for - is a nil function of its Harness: the laws that need it are
// skipped by name.
package journaltest

import (
	"testing"

	"github.com/onward-router/onward/router/journal"
)

// A Harness is a journal under test and what can be done to it. The suite runs one law on it, with all payloads its own; the journal has at least two
// partitions and is empty. Who makes it also closes, by t.Cleanup, what the suite leaves open; a journal may be closed twice.
type Harness struct {
	Journal journal.Journal
	// Reopen closes a journal of this harness and opens it again, as the next process would. The suite has no Own running.
	Reopen func(t *testing.T, j journal.Journal) journal.Journal
	// Peer opens the same log for another router, which contends for its partitions.
	Peer func(t *testing.T) journal.Journal
	// Move waits until Own runs on to, then ends the tenure of whoever owns the partition and begins one of to's; it does nothing when to owns it already.
	// The former owner need not have learnt of it when Move returns.
	Move func(t *testing.T, partition int, to journal.Journal)
	// FailSync makes the next attempt to make records durable fail, with an error of the harness's choice.
	FailSync func(t *testing.T)
	// Fill makes space short (true), so that records that may be refused are, or plenty again.
	Fill func(t *testing.T, full bool)
	// Tear closes the journal as a crash would have that cut the last n bytes of what the last Append wrote, and opens it again; false when that Append
	// wrote fewer. Only such a record can be torn whose
	// acknowledgement the crash swallowed.
	Tear func(t *testing.T, n int) (journal.Journal, bool)
	// DamageSnapshot makes the newest snapshot of a partition unreadable. The suite has no Own running.
	DamageSnapshot func(t *testing.T, partition int)
}

// A law is one subtest.
type law struct {
	name  string
	needs func(h *Harness) (ok bool, capability string) // nil: nothing
	check func(t *testing.T, h Harness, open func(t *testing.T) Harness)
}

func reopen(h *Harness) (bool, string) { return h.Reopen != nil, "Reopen" }
func contended(h *Harness) (bool, string) {
	return h.Peer != nil && h.Move != nil, "Peer and Move"
}

var laws = []law{
	{"layout is kept", reopen, layoutIsKept},
	{"run ids spread", nil, runIDsSpread},
	{"acknowledged is durable", reopen, acknowledgedIsDurable},
	{"order, offsets and time", nil, orderOffsetsTime},
	{"time does not go back over reopen", reopen, timeOverReopen},
	{"concurrent appenders", nil, concurrentAppenders},
	{"payloads may be reused", nil, payloadsMayBeReused},
	{"a context that has ended", nil, cancelledAppend},
	{"large records", nil, largeRecords},
	{"kinds and fields", nil, kindsAndFields},
	{"what is no record is refused", nil, noRecordIsRefused},
	{"grouping changes nothing", nil, groupingChangesNothing},
	{"the end is said once all was read", nil, endIsSaid},
	{"no snapshot", nil, noSnapshot},
	{"a snapshot and what is after", nil, snapshotAndAfter},
	{"a snapshot is whole or not there", nil, snapshotIsAtomic},
	{"trim beyond a snapshot", nil, trimBeyond},
	{"trim and reopen", reopen, trimAndReopen},
	{"a damaged snapshot falls back", func(h *Harness) (bool, string) { return h.DamageSnapshot != nil, "DamageSnapshot" }, snapshotFallsBack},
	{"a snapshot that cannot be decoded falls back", nil, undecodableFallsBack},
	{"a snapshot is read back before it counts", nil, readBack},
	{"a save takes long", nil, longSave},
	{"the past is read beside", nil, pastIsRead},
	{"a record that is too large keeps none out", func(h *Harness) (bool, string) { _, ok := h.Journal.(journal.Sized); return ok, "Sized journal" }, tooLargeAlone},
	{"a fold that fails starts again", nil, failedFoldStartsAgain},
	{"a slow fold and one that fails", nil, slowAndFailing},
	{"a record on which the fold dies", nil, deadlyRecord},
	{"own ends after its folds", nil, ownEndsAfterFolds},
	{"a tenure that is over is fenced", nil, overIsFenced},
	{"closed", nil, closed},
	{"a zombie", contended, zombie},
	{"a partition changes hands", contended, changesHands},
	{"a failed sync", func(h *Harness) (bool, string) { return h.FailSync != nil && h.Reopen != nil, "FailSync and Reopen" }, failedSync},
	{"full, and free again", func(h *Harness) (bool, string) { return h.Fill != nil, "Fill" }, fullAndFree},
	{"torn at every byte", func(h *Harness) (bool, string) { return h.Tear != nil, "Tear" }, tornAtEveryByte},
}

// Run checks all laws on journals that open makes: one or more a law, which run in parallel.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	for _, l := range laws {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			h := open(t)
			if n := h.Journal.Layout().Partitions; n < 2 {
				t.Fatalf("the journal has %d partitions; the suite needs two or more", n)
			}
			if l.needs != nil {
				if ok, capability := l.needs(&h); !ok {
					t.Skipf("the harness has no %s", capability)
				}
			}
			l.check(t, h, open)
		})
	}
}
