package memory_test

import (
	"testing"
	"time"

	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/journaltest"
	"github.com/onward-router/onward/router/journal/memory"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// harness is the suite's door to a log in memory.
func harness(o memory.Options, told bool) journaltest.Harness {
	j := memory.New(o)
	return journaltest.Harness{
		Journal: j,
		Reopen: func(t *testing.T, was journal.Journal) journal.Journal {
			if err := was.Close(); err != nil {
				t.Fatal(err)
			}
			j.Inject(nil)
			return j.Peer()
		},
		Peer: func(*testing.T) journal.Journal { return j.Peer() },
		Move: func(t *testing.T, partition int, to journal.Journal) {
			err := j.Move(partition, to.(*memory.Journal), told)
			for deadline := time.Now().Add(time.Minute); err != nil && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				err = j.Move(partition, to.(*memory.Journal), told) // Own is not running yet.
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		FailSync: func(*testing.T) {
			failed := false
			j.Inject(func(op memory.Op) error {
				if failed || op.Act != memory.Append {
					return nil
				}
				failed = true
				return memory.ErrAckLost
			})
		},
		Fill:           func(_ *testing.T, full bool) { j.Fill(full) },
		DamageSnapshot: func(_ *testing.T, partition int) { j.DamageSnapshot(partition) },
	}
}

func TestSuite(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]memory.Options{
		"as it is":      {Partitions: 4, MaxPayload: 1 << 20},
		"small batches": {Partitions: 2, MaxPayload: 1 << 20, MaxBatch: 1},
	} {
		for _, told := range []bool{true, false} {
			if !told {
				name += ", zombies untold"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				journaltest.Run(t, func(*testing.T) journaltest.Harness { return harness(o, told) })
			})
		}
	}
}
