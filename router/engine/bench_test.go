package engine_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/schedulers"
)

const wideDocument = `
version: 1
functions: { f: { http: { url: "http://127.0.0.1:1/f" } } }
triggers: { t: { flow: { map: { items: "${ data }", window: 1000, results: none, do: { function: f } } } } }
`

// BenchmarkCompletion folds one completion of a map and opens the next child: its cost is not to grow with the width.
func BenchmarkCompletion(b *testing.B) {
	reg := registry()
	set, findings := config.Parse("t.yaml", []byte(wideDocument), reg, nil)
	for _, f := range findings {
		b.Fatal(f)
	}
	def := set.Triggers["t"].Definition
	for _, n := range []int{1_000, 10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var state *engine.State
			var out engine.Effects
			var open []*engine.Invocation
			at := time.Unix(1e9, 0)
			fold := func(rec journal.Record) {
				at = at.Add(time.Millisecond)
				rec.Time = at
				if _, err := state.Fold(&rec, &out); err != nil {
					b.Fatal(err)
				}
				open = append(open, out.Send...)
			}
			begin := func() {
				state, open = engine.New(reg, nil), open[:0]
				fold(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(def)})
				fold(engine.Record(journal.Start, journal.RunID{1}, &engine.StartFact{Trigger: "t", Digest: def.Digest(), Data: lang.Of(n)}))
			}
			begin()
			for b.Loop() {
				inv := open[0]
				open = open[1:]
				fold(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Success(lang.Null)}))
				if len(open) == 0 || open[0].Purpose != engine.Call {
					b.StopTimer()
					begin()
					b.StartTimer()
				}
			}
		})
	}
}

// BenchmarkForkJoin starts and completes a forkjoin of n branches: its cost a branch is not to grow with n.
func BenchmarkForkJoin(b *testing.B) {
	reg := registry()
	for _, n := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			doc := "version: 1\nfunctions: { f: { http: { url: \"http://127.0.0.1:1/f\" } } }\ntriggers: { t: { flow: { forkjoin: [" +
				strings.Repeat("{ function: f },", n) + "] } } }\n"
			set, findings := config.Parse("t.yaml", []byte(doc), reg, nil)
			for _, f := range findings {
				b.Fatal(f)
			}
			def := set.Triggers["t"].Definition
			define := journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(def)}
			start := engine.Record(journal.Start, journal.RunID{1}, &engine.StartFact{Trigger: "t", Digest: def.Digest()})
			var out engine.Effects
			for b.Loop() {
				state := engine.New(reg, nil)
				for _, rec := range []journal.Record{define, start} {
					if _, err := state.Fold(&rec, &out); err != nil {
						b.Fatal(err)
					}
				}
				for _, inv := range slices.Clone(out.Send) {
					rec := engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Success(lang.Null)})
					if _, err := state.Fold(&rec, &out); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/branch")
		})
	}
}

// A meddler cancels its children from the last to the first before they open, or sets timers and sets them anew.
type meddler struct {
	N    int       `doc:"n"`
	Does string    `doc:"does"`
	Do   lang.Step `doc:"do"`
}

type meddlerState struct{}

func (m *meddler) Next(f schedulers.Frame, _ *meddlerState, ev schedulers.Event) error {
	if ev.Kind != schedulers.Started {
		return nil
	}
	f.Window(0, 1)
	f.Spawn(0, m.N)
	for i := m.N - 1; i > 0; i-- {
		if m.Does == "cancel" {
			f.Cancel(0, i)
		} else {
			f.After(strconv.Itoa(i), time.Hour)
			f.After(strconv.Itoa(i), 2*time.Hour)
		}
	}
	return nil
}

// BenchmarkLinear has the places that grew with the square of a number: their cost for each is the same at n and at 10 n.
func BenchmarkLinear(b *testing.B) {
	reg := built(func(r *plugin.Registry) { schedulers.Register[meddler, meddlerState](r, "meddler", 1, "Meddles.") })
	run := func(b *testing.B, flow string, then func(fold func(journal.Record) *engine.Effects, out *engine.Effects)) {
		set := defined(b, reg, flow)
		for b.Loop() {
			state, out, at := engine.New(reg, nil), new(engine.Effects), time.Unix(1e9, 0)
			fold := func(rec journal.Record) *engine.Effects {
				at = at.Add(time.Millisecond)
				rec.Time = at
				if _, err := state.Fold(&rec, out); err != nil {
					b.Fatal(err)
				}
				for _, o := range state.Owing(10) {
					more := engine.Record(journal.More, o.Run, &engine.MoreFact{Part: o.Part})
					more.Time = at
					sent := append([]*engine.Invocation{}, out.Send...)
					if _, err := state.Fold(&more, out); err != nil {
						b.Fatal(err)
					}
					out.Send = append(sent, out.Send...)
				}
				return out
			}
			fold(defineRecord(set))
			out = fold(startRecord(1, set, lang.Null))
			then(fold, out)
		}
	}
	nothing := func(func(journal.Record) *engine.Effects, *engine.Effects) {}
	for name, f := range map[string]func(b *testing.B, n int){
		"signals that are closed": func(b *testing.B, n int) {
			run(b, "{ forkjoin: [ { function: f }, "+numbered(n, "{ signal: s%d }")+" ] }", func(fold func(journal.Record) *engine.Effects, out *engine.Effects) {
				inv := out.Send[0]
				fold(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Failure(lang.Failf(lang.ClassFunction, "x", "no"))}))
			})
		},
		"signals that come": func(b *testing.B, n int) {
			run(b, "{ forkjoin: [ "+numbered(n, "{ signal: s%d }")+" ] }", func(fold func(journal.Record) *engine.Effects, _ *engine.Effects) {
				for i := n - 1; i >= 0; i-- {
					fold(engine.Record(journal.Signal, journal.RunID{1}, &engine.SignalFact{Source: "s", ID: fmt.Sprint(i), Name: fmt.Sprintf("s%d", i)}))
				}
			})
		},
		"children that are cancelled backwards": func(b *testing.B, n int) {
			run(b, fmt.Sprintf("{ meddler: { n: %d, does: cancel, do: { function: f } } }", n), nothing)
		},
		"timers with names": func(b *testing.B, n int) {
			run(b, fmt.Sprintf("{ meddler: { n: %d, does: timers, do: { function: f } } }", n), nothing)
		},
		"names of steps": func(b *testing.B, n int) {
			run(b, "{ sequence: [ "+numbered(n, "{ name: s%d, function: f }")+" { map: { items: "+fmt.Sprint(n)+", window: 8, do: { function: f, input: \"${ steps.s1 }\" } } } ] }",
				func(fold func(journal.Record) *engine.Effects, out *engine.Effects) {
					open := append([]*engine.Invocation{}, out.Send...)
					for len(open) > 0 {
						inv := open[0]
						out = fold(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Success(lang.Of(1))}))
						open = append(open[1:], out.Send...)
					}
				})
		},
		"results of what was replaced": func(b *testing.B, n int) {
			run(b, fmt.Sprintf("{ sequence: [ { map: { items: %d, window: %d, do: { function: f } }, catch: [ { do: { signal: go } } ] } ] }", n, n),
				func(fold func(journal.Record) *engine.Effects, out *engine.Effects) {
					open := slices.Clone(out.Send)
					for i, inv := range open {
						f := engine.CompletionFact{N: inv.N, Outcome: lang.Success(lang.Null)}
						if i == 0 {
							f.Outcome = lang.Failure(lang.Failf(lang.ClassFunction, "x", "no")) // The others are not wanted any more.
						}
						fold(engine.Record(journal.Completion, inv.Run, &f))
					}
				})
		},
		"starts that wait":              func(b *testing.B, n int) { wait(b, reg, n, 0) },
		"signals to a start that waits": func(b *testing.B, n int) { wait(b, reg, 1, n) },
	} {
		for _, n := range []int{300, 3000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				f(b, n)
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/each")
			})
		}
	}
}

// wait has so many starts wait for their definition, the first of them told so many signals; then the definition comes.
func wait(b *testing.B, reg *plugin.Registry, starts, signals int) {
	def := defined(b, reg, "{ signal: go }")
	for b.Loop() {
		state, out := engine.New(reg, nil), new(engine.Effects)
		fold := func(rec journal.Record) {
			rec.Time = time.Unix(1e9, 0)
			if _, err := state.Fold(&rec, out); err != nil {
				b.Fatal(err)
			}
		}
		run := func(i int) (id journal.RunID) {
			binary.BigEndian.PutUint32(id[:], uint32(i+1))
			return id
		}
		for i := range starts {
			rec := startRecord(0, def, lang.Null)
			rec.Run = run(i)
			fold(rec)
		}
		for i := range signals {
			fold(engine.Record(journal.Signal, run(0), &engine.SignalFact{Source: "s", ID: strconv.Itoa(i), Name: "other"}))
		}
		fold(defineRecord(def))
		for owed := state.Owing(64); len(owed) > 0; owed = state.Owing(64) {
			for _, o := range owed {
				fold(engine.Record(journal.More, o.Run, &engine.MoreFact{Part: o.Part}))
			}
		}
		if got := state.Stats(); got.Runs != starts || got.Waiting != 0 {
			b.Fatalf("%+v", got)
		}
	}
}

// BenchmarkIdleRun opens runs that wait, with events of 300 bytes of data, and reports what each keeps in memory.
func BenchmarkIdleRun(b *testing.B) {
	reg := registry()
	for name, flow := range map[string]string{
		"timer": "{ wait: 24h }", "signal": "{ signal: go }", "call": "{ function: f }", "sequence": "{ sequence: [ { wait: 24h }, { function: f } ] }",
	} {
		b.Run(name, func(b *testing.B) {
			def := defined(b, reg, flow)
			state, out := engine.New(reg, nil), engine.Effects{}
			fold := func(rec journal.Record) {
				rec.Time = time.Unix(1e9, 0)
				if _, err := state.Fold(&rec, &out); err != nil {
					b.Fatal(err)
				}
			}
			fold(defineRecord(def))
			heap := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before, n := heap(), 0
			for b.Loop() {
				n++
				rec := startRecord(0, def, lang.Of(map[string]string{"text": strings.Repeat("x", 288)}))
				binary.BigEndian.PutUint64(rec.Run[:], uint64(n)*0x9e3779b97f4a7c15)
				rec.Tenant = "default"
				fact, _ := engine.DecodeStart(rec.Payload)
				fact.Event = lang.Trusted(fmt.Sprintf(`{"specversion":"1.0","id":"event-%08d","source":"/bench/load","type":"com.example.order.placed","time":"2026-01-01T00:00:00Z"}`, n))
				rec.Payload = fact.Append(nil)
				fold(rec)
			}
			out = engine.Effects{}
			b.ReportMetric(float64(heap()-before)/float64(n), "B/run")
			runtime.KeepAlive(state)
		})
	}
}

// BenchmarkRedriveWide redrives a run of 100,000 branches of which 37 failed: how long one record of it holds the fold at most, and all of them.
func BenchmarkRedriveWide(b *testing.B) {
	const n = 100_000
	reg := registry()
	set, findings := config.Parse("t.yaml", []byte(wideDocument), reg, nil)
	for _, f := range findings {
		b.Fatal(f)
	}
	def := set.Triggers["t"].Definition
	fact := engine.RedriveFact{Number: 1, ID: [16]byte{1}, Start: engine.StartFact{Trigger: "t", Digest: def.Digest(), Data: lang.Of(n)}, Next: 1}
	for i := range n {
		if i%2703 != 7 {
			fact.Memo = append(fact.Memo, engine.Recall{Path: fmt.Sprintf("f[%d]", i), Input: engine.SumOf(lang.Of(i)), Outcome: lang.Of(map[string]int{"result": i})})
		}
	}
	slices.SortFunc(fact.Memo, func(x, y engine.Recall) int { return strings.Compare(x.Path, y.Path) })
	var most time.Duration
	for b.Loop() {
		state := engine.New(reg, nil)
		var out engine.Effects
		at, calls := time.Unix(1e9, 0), 0
		fold := func(rec journal.Record) {
			at = at.Add(time.Millisecond)
			rec.Time = at
			begin := time.Now()
			reason, err := state.Fold(&rec, &out)
			if most = max(most, time.Since(begin)); err != nil || reason != engine.Applied {
				b.Fatal(reason, err)
			}
			calls += len(out.Send)
		}
		fold(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(def)})
		for _, part := range fact.Split(256 << 10) {
			fold(engine.Record(journal.Redrive, journal.RunID{1}, part))
		}
		for owed := state.Owing(1); len(owed) > 0; owed = state.Owing(1) {
			fold(engine.Record(journal.More, owed[0].Run, &engine.MoreFact{Part: owed[0].Part}))
		}
		if calls != 37 {
			b.Fatalf("%d calls", calls)
		}
	}
	b.ReportMetric(float64(most.Microseconds())/1e3, "ms/longest-record")
}
