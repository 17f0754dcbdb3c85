package shard_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/memory"
	"github.com/onward-router/onward/router/shard"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
	"github.com/prometheus/client_golang/prometheus"
)

// A desk is an outbox, and the room of ended runs, that keep what they are told.
type desk struct {
	mu    sync.Mutex
	owner *shard.Shard
	sent  []*engine.Invocation
	stops []*engine.Invocation
	halts []engine.Halt
	after []int // by halt: how many stops came before it
	left  int
	ended []*engine.Ending
	dead  []*engine.Letter
}

func (d *desk) Add(inv *engine.Invocation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent = append(d.sent, inv)
}

func (d *desk) Stop(list []*engine.Invocation, _ journal.RunID, _ engine.Answer) engine.Sending {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stops = append(d.stops, list...)
	return engine.Sending{}
}

func (d *desk) Halt(h engine.Halt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.halts, d.after = append(d.halts, h), append(d.after, len(d.stops))
}

func (d *desk) Pump() {}

func (d *desk) Leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left++
}

// calls returns what was to be sent to functions since it was asked last, and accepts the rest.
func (d *desk) calls() (out []*engine.Invocation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, inv := range d.sent {
		if inv.Purpose == engine.Call {
			out = append(out, inv)
		} else {
			d.owner.Accepted(inv, "")
		}
	}
	d.sent = nil
	return out
}

type ends struct{ *desk }

func (e ends) Take(_ int, _ *journal.Record, _ []engine.Trace, _ []engine.Ended, all []*engine.Ending) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = append(e.ended, all...)
}

func (ends) Began(int, *journal.Record) {}

func (ends) Defined(lang.Digest, time.Time, func() []byte) {}

func (ends) Begins(int, int64) {}

func (ends) Lacks(int) (after, upto int64, is bool) { return 0, 0, false }

func (ends) Again(int, *journal.Record, bool, []engine.Trace, []engine.Ended, []*engine.Ending) bool {
	return true
}

func (ends) Filled(int, int64, bool) {}

func (e ends) Dead(x *engine.Letter) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dead = append(e.dead, x)
}

func (e ends) Flush(int, int64) error { return nil }

const document = `
version: 1
functions: { f: { log: f } }
triggers:
  two: { flow: { sequence: [{ function: f }, { wait: 1h }, { function: f }] } }
  brief: { flow: { wait: 1s } }
  one: { flow: { function: f } }
`

func definitions(t *testing.T, reg *plugin.Registry) map[string]*config.Trigger {
	t.Helper()
	builtin.Register(reg)
	sinks.Register(reg)
	set, findings := config.Parse("test.yaml", []byte(document), reg, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	return set.Triggers
}

// A rig is a set of one shard on a journal in memory.
type rig struct {
	*desk
	set  *shard.Set
	stop func() error
}

func run(t *testing.T, j *memory.Journal, dir string, change ...func(*shard.Options)) *rig {
	t.Helper()
	reg := new(plugin.Registry)
	defs := definitions(t, reg)
	r := &rig{desk: new(desk)}
	o := shard.Options{
		Journal: j, Layout: j.Layout(), Registry: reg, Ends: ends{r.desk}, SnapshotEvery: 1000, Stuck: time.Minute, Dir: dir,
		Outbox: func(s *shard.Shard) shard.Outbox { r.owner = s; return r.desk },
		Definition: func(d lang.Digest) []byte {
			for _, def := range defs {
				if d == def.Digest {
					return engine.DefinePayload(def.Definition)
				}
			}
			return nil
		},
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	}
	for _, f := range change {
		f(&o)
	}
	var err error
	if r.set, err = shard.New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- r.set.Run(ctx) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		if err := <-ran; err != nil && ctx.Err() == nil {
			return err
		}
		return r.set.Close()
	})
	<-r.set.Ready()
	synctest.Wait()
	return r
}

func start(t *testing.T, j *memory.Journal, n byte) journal.RunID {
	t.Helper()
	return startOf(t, j, n, "two")
}

func startOf(t *testing.T, j *memory.Journal, n byte, trigger string) journal.RunID {
	t.Helper()
	def := definitions(t, new(plugin.Registry))[trigger]
	run := journal.RunID{n}
	f := engine.StartFact{Trigger: trigger, Digest: def.Digest, Event: lang.Of(map[string]string{"id": "1"}), Data: lang.Of(7)}
	if err := j.Append(t.Context(), []journal.Record{engine.Record(journal.Start, run, &f)}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return run
}

func turn(t *testing.T, j *memory.Journal, kind journal.Kind, run journal.RunID) {
	t.Helper()
	if err := j.Append(t.Context(), []journal.Record{engine.Record(kind, run, &engine.PauseFact{ID: "1", By: "ada"})}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func answer(t *testing.T, r *rig, inv *engine.Invocation) {
	t.Helper()
	r.owner.Write(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Success(lang.Of(8))}))
	synctest.Wait()
}

// TestCancelOfAPausedRun: what was kept of it is stopped before it goes on with its end: else it would be sent, for a moment.
func TestCancelOfAPausedRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := memory.New(memory.Options{Partitions: 1})
		r := run(t, j, "")
		id := start(t, j, 1)
		turn(t, j, journal.Pause, id)
		r.owner.Write(engine.Record(journal.Cancel, id, &engine.CancelFact{}))
		synctest.Wait()
		if len(r.halts) != 2 || !r.halts[0].Paused || r.halts[1].Paused || len(r.stops) != 1 || !slices.Equal(r.after, []int{0, 1}) {
			t.Errorf("told were %v, after %v of %d stops", r.halts, r.after, len(r.stops))
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestTenureGoesOnWhereTheLastOneWas: a run's definition is brought, its timer fires by the clock, what was open is sent again by the next owner under
// the same id, and the run's end is told.
func TestTenureGoesOnWhereTheLastOneWas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := memory.New(memory.Options{Partitions: 1})
		r := run(t, j, "")
		id := start(t, j, 1)
		first := r.calls()
		if len(first) != 1 || r.open() != 1 || !r.set.Has(id) {
			t.Fatalf("%d calls, %d runs open", len(first), r.open())
		}
		if err := r.stop(); err != nil || r.left != 1 {
			t.Fatal(r.left, err)
		}
		r = run(t, j, "")
		again := r.calls()
		if len(again) != 1 || again[0].ID() != first[0].ID() {
			t.Fatalf("%v; before %v", again, first)
		}
		turn(t, j, journal.Pause, id)
		if err := r.stop(); err != nil || len(r.halts) != 1 || !r.halts[0].Paused || !slices.Equal(r.halts[0].Calls, []uint32{again[0].N}) {
			t.Fatal(r.halts, err)
		}
		r = run(t, j, "")
		turn(t, j, journal.Resume, id)
		if len(r.halts) != 2 || !r.halts[0].Paused || r.halts[0].Run != id || r.halts[1].Paused || len(r.calls()) != 1 {
			t.Fatal(r.halts)
		}
		answer(t, r, again[0])
		answer(t, r, again[0]) // A repeat changes nothing.
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if early := r.calls(); len(early) != 0 {
			t.Errorf("%d calls before the timer is due", len(early))
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		second := r.calls()
		if len(second) != 1 || second[0].N == again[0].N {
			t.Fatalf("%+v", second)
		}
		answer(t, r, second[0])
		r.calls()
		time.Sleep(time.Second) // What was accepted waits a little for company.
		synctest.Wait()
		if len(r.ended) != 1 || r.ended[0].ID != id.String() || r.ended[0].State != "succeeded" || r.open() != 0 {
			t.Errorf("%+v; %d open", r.ended, r.open())
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestAskAndWatch: questions are answered on the fold's goroutine, changes are told as they come.
func TestAskAndWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := memory.New(memory.Options{Partitions: 1})
		r := run(t, j, "")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		changes := r.set.Watch(ctx, journal.RunID{1})
		id := start(t, j, 1)
		state := ""
		ask := func(st *engine.State) {
			if status, ok := st.Status(id, 1); ok {
				state = status.State
			}
		}
		if err := r.set.Ask(t.Context(), id, ask); err != nil || state != "running" {
			t.Errorf("%q, %v", state, err)
		}
		var kinds []engine.ChangeKind
		for len(changes) > 0 {
			kinds = append(kinds, (<-changes).Kind)
		}
		if !slices.Contains(kinds, engine.RunStarted) || !slices.Contains(kinds, engine.Invoked) {
			t.Errorf("%v", kinds)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if err := r.set.Ask(t.Context(), id, ask); err == nil || r.set.Has(id) {
			t.Error("a shard that has gone answers")
		}
	})
}

func (r *rig) open() int { runs, _, _ := r.set.Load(); return runs }

// TestWhatAnotherHasPassedOverIsPassedOver: an owner died on a record and journaled that it passed it over. A later one, which could fold it, does not: the
// run has one end, and nothing of it goes on.
func TestWhatAnotherHasPassedOverIsPassedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := memory.New(memory.Options{Partitions: 1})
		// So far the log: the call of a run was answered, which ends it, and its owner died on that.
		def := definitions(t, new(plugin.Registry))["one"]
		id := journal.RunID{1}
		claim := engine.Record(journal.Claim, journal.RunID{}, &engine.ClaimFact{Level: journal.Level, Nonce: []byte("another")})
		skip := engine.Record(journal.Skip, id, &engine.SkipFact{Offset: 2, Reason: "the fold died on it"})
		claim.Epoch, skip.Epoch = 1, 1
		if err := j.Append(t.Context(), []journal.Record{
			{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(def.Definition)},
			engine.Record(journal.Start, id, &engine.StartFact{Trigger: "one", Digest: def.Digest}),
			engine.Record(journal.Completion, id, &engine.CompletionFact{N: 1, Outcome: lang.Success(lang.Of(8))}),
			claim, skip,
		}); err != nil {
			t.Fatal(err)
		}
		r := run(t, j, "")
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		r.mu.Lock()
		if n := len(r.ended); n == 0 || r.ended[n-1].State != "failed" {
			t.Errorf("the run has ended as %+v", r.ended)
		}
		for _, inv := range r.sent {
			if inv.Type != engine.TypeFailed {
				t.Errorf("%s goes out as %s", inv.ID(), inv.Type)
			}
		}
		if len(r.sent) == 0 {
			t.Error("nobody is told of the run's end")
		}
		r.mu.Unlock()
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
}
