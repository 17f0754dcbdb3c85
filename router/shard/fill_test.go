package shard_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/memory"
	"github.com/onward-router/onward/router/shard"
)

// A lacking is a room of ended runs that lacks what records up to an offset did.
type lacking struct {
	ends
	mu          *sync.Mutex
	after, upto int64
	full        int // so often it takes nothing
	told        []int64
	states      []string
	lost        bool
}

func (l *lacking) Lacks(int) (after, upto int64, is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.after, l.upto, l.after < l.upto
}

func (l *lacking) Again(_ int, rec *journal.Record, began bool, _ []engine.Trace, _ []engine.Ended, endings []*engine.Ending) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full > 0 {
		l.full--
		return false
	}
	l.told, l.after = append(l.told, rec.Offset), rec.Offset
	for _, e := range endings {
		l.states = append(l.states, e.State)
	}
	return true
}

func (l *lacking) Filled(_ int, upto int64, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.after, l.lost = max(l.after, upto), l.lost || lost
}

// TestWhatIsLackingIsFoldedAgain: beside the fold, which goes on; each record is told once, also when the history takes nothing for a while, when reading fails,
// and what another owner has passed over is.
func TestWhatIsLackingIsFoldedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		failing := errors.New("no answer")
		for name, c := range map[string]struct {
			skipped bool
			full    int
			fails   bool
			want    string
		}{"all": {want: "succeeded"}, "full for a while": {full: 30, want: "succeeded"}, "not read at first": {fails: true, want: "succeeded"}, "passed over": {skipped: true, want: "failed"}} {
			j := memory.New(memory.Options{Partitions: 1})
			def, id := definitions(t, new(plugin.Registry))["one"], journal.RunID{1}
			log := []journal.Record{
				{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(def.Definition)},
				engine.Record(journal.Start, id, &engine.StartFact{Trigger: "one", Digest: def.Digest}),
				engine.Record(journal.Completion, id, &engine.CompletionFact{N: 1, Outcome: lang.Success(lang.Of(8))}),
			}
			if c.skipped {
				claim := engine.Record(journal.Claim, journal.RunID{}, &engine.ClaimFact{Level: journal.Level, Nonce: []byte("another")})
				skip := engine.Record(journal.Skip, id, &engine.SkipFact{Offset: 2, Reason: "the fold died on it"})
				claim.Epoch, skip.Epoch = 1, 1
				log = append(log, claim, skip)
			}
			if err := j.Append(t.Context(), log); err != nil {
				t.Fatal(err)
			}
			l := &lacking{mu: new(sync.Mutex), after: -1, upto: int64(len(log) - 1), full: c.full}
			r := run(t, j, "", func(o *shard.Options) {
				l.ends = o.Ends.(ends)
				o.Ends = l
			})
			ctx, cancel := context.WithCancel(t.Context())
			var filling sync.WaitGroup
			filling.Go(func() { r.set.Fill(ctx) })
			if c.fails {
				n := 0
				j.Inject(func(op memory.Op) error {
					if n++; op.Act == memory.Read && n < 3 {
						return failing
					}
					return nil
				})
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if n := r.set.Filling(); n != 0 {
				t.Errorf("%s: %d partitions are lacking something", name, n)
			}
			cancel()
			filling.Wait()
			told := slices.Clone(l.told)
			slices.Sort(told)
			if !slices.Equal(l.told, slices.Compact(told)) || l.lost || len(l.states) == 0 || l.states[len(l.states)-1] != c.want || l.told[0] != 1 {
				t.Errorf("%s: %v, %v, lost %v", name, l.told, l.states, l.lost)
			}
			if err := r.stop(); err != nil {
				t.Error(err)
			}
		}
	})
}
