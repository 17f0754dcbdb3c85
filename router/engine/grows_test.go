package engine_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A growth is a flow of a size, and what is done to a run of it.
type growth struct {
	n      int
	flow   func(n int) string
	answer func(*engine.Invocation) lang.Outcome // nil: null
	before func(*grower, int)                    // once it has started
	cancel bool                                  // and then it is cancelled
}

// A grower plays one run of a growth.
type grower struct {
	t     *testing.T
	state *engine.State
	out   engine.Effects
	at    time.Time
	open  []*engine.Invocation
	folds int
	spent time.Duration
	ended int
}

func (d *grower) fold(rec journal.Record) engine.Reason {
	d.at = d.at.Add(time.Millisecond)
	rec.Time = d.at
	begin := time.Now()
	reason, err := d.state.Fold(&rec, &d.out)
	d.folds, d.spent = d.folds+1, d.spent+time.Since(begin)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, inv := range d.out.Send {
		if inv.Purpose == engine.Call {
			d.open = append(d.open, inv)
		}
	}
	d.ended += len(d.out.Ended)
	return reason
}

func (d *grower) owing() bool {
	owed := d.state.Owing(1)
	if len(owed) == 0 {
		return false
	}
	d.fold(engine.Record(journal.More, owed[0].Run, &engine.MoreFact{Part: owed[0].Part}))
	return true
}

func (d *grower) due() bool {
	at, ok := d.state.NextDue()
	if !ok {
		return false
	}
	if at.After(d.at) {
		d.at = at
	}
	for _, due := range d.state.Due(d.at, 1) {
		d.fold(engine.Record(journal.Fired, due.Run, &engine.FiredFact{Timer: due.Timer}))
	}
	return true
}

// play plays a run of size n to its end, and returns what an nth of it took.
func (g growth) play(t *testing.T, n int) time.Duration {
	t.Helper()
	def := defined(t, registry(), g.flow(n))
	d := &grower{t: t, state: engine.New(registry(), nil), at: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	d.fold(defineRecord(def))
	d.fold(startRecord(1, def, lang.Of(n)))
	for d.owing() {
	}
	if g.before != nil {
		g.before(d, n)
	}
	if g.cancel {
		d.fold(engine.Record(journal.Cancel, journal.RunID{1}, &engine.CancelFact{}))
	}
	for d.ended == 0 {
		switch {
		case len(d.open) > 0:
			inv, o := d.open[0], lang.Success(lang.Null)
			d.open = d.open[1:]
			if g.answer != nil {
				o = g.answer(inv)
			}
			d.fold(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: o}))
		case d.owing():
		case !d.due():
			t.Fatalf("after %d records it waits for nothing", d.folds)
		}
	}
	return d.spent / time.Duration(n)
}

// sized puts the size in place of NNN.
func sized(flow string) func(int) string {
	return func(n int) string { return strings.ReplaceAll(flow, "NNN", fmt.Sprint(n)) }
}

// listed writes a part n times, with its number in place of #.
func listed(open, part, end string) func(int) string {
	return func(n int) string {
		var b strings.Builder
		b.WriteString(open)
		for i := range n {
			b.WriteString(strings.ReplaceAll(part, "#", fmt.Sprint(i)))
			b.WriteString(", ")
		}
		return b.String() + end
	}
}

// chained is a dag of n steps behind first, each needing the one before.
func chained(first, part string) func(int) string {
	return func(n int) string {
		var b strings.Builder
		b.WriteString("{ dag: { end: leaves, steps: [ " + strings.ReplaceAll(first, "NNN", fmt.Sprint(n)))
		for i := 1; i < n; i++ {
			b.WriteString(", " + strings.NewReplacer("#-1", fmt.Sprint(i-1), "#", fmt.Sprint(i)).Replace(part))
		}
		return b.String() + " ] } }"
	}
}

var bigText = lang.Text(strings.Repeat("x", 20_000))

func answerBig(*engine.Invocation) lang.Outcome { return lang.Success(bigText) }

func answerNo(*engine.Invocation) lang.Outcome {
	return lang.Failure(lang.Failf(lang.ClassFunction, "no", "it broke"))
}

// growths have each policy wide, long, failed and cancelled.
var growths = map[string]growth{
	"saga":             {n: 40, flow: listed("{ saga: [", "{ name: s#, function: f, undo: { function: f } }", "] }"), answer: answerBig},
	"saga undone":      {n: 40, flow: listed("{ saga: [", "{ name: s#, function: f, undo: { function: f } }", "{ fail: no } ] }"), answer: answerBig},
	"saga cancelled":   {n: 400, flow: sized("{ map: { items: NNN, do: { saga: [ { function: f, undo: { function: f } }, { wait: 1h } ] } } }"), before: answerAll, cancel: true},
	"finally":          {n: 400, flow: sized("{ map: { items: NNN, do: { finally: { do: { function: f }, always: { function: f } } } } }"), cancel: true},
	"sequence":         {n: 40, flow: listed("{ sequence: [", "{ name: s#, function: f }", "] }"), answer: answerBig},
	"loop":             {n: 400, flow: sized("{ loop: { times: NNN, pause: 1s, collect: true, state: { a: 1 }, next: { a: '${ a + 1 }' }, do: { function: f } } }")},
	"signals":          {n: 400, flow: sized("{ map: { items: NNN, do: { signal: go } } }"), before: signals("go")},
	"signals by name":  {n: 400, flow: sized("{ map: { items: NNN, do: { signal: { name: '${ string(item) }' } } } }"), before: signals("#")},
	"signals kept":     {n: 400, flow: sized("{ sequence: [ { function: f }, { map: { items: NNN, do: { signal: { name: '${ string(item) }' } } } } ] }"), before: signals("#")},
	"signals of many":  {n: 20, flow: sized("{ sequence: [ { function: f }, { map: { items: NNN, do: { signal: { any: '${ lists.range(90).map(x, string(item) + \"-\" + string(x)) }' } } } } ] }"), before: signals("#-0")},
	"signals of twins": {n: 200, flow: sized("{ map: { items: NNN, speculate: 1s, join: settled, do: { sequence: [ { asker: go }, { function: f } ] } } }"), before: signals("go", later), answer: answerNo},
	"twins":            {n: 400, flow: sized("{ map: { items: NNN, speculate: 1s, do: { function: f } } }"), before: later},
	"twins cancelled":  {n: 400, flow: sized("{ map: { items: NNN, speculate: 1s, do: { sequence: [{ function: f }] } } }"), before: later, cancel: true},
	"percentile":       {n: 400, flow: sized("{ map: { items: NNN, speculate: 'p50 x 2', do: { function: f } } }")},
	"groups":           {n: 200, flow: sized("{ map: { items: NNN, groupBy: '${ item / 2 }', reduce: { function: f }, do: { function: f } } }")},
	"batches":          {n: 400, flow: sized("{ map: { items: '${ lists.range(NNN) }', batch: { bytes: 30 }, do: { function: f } } }")},
	"tolerate":         {n: 200, flow: sized("{ map: { items: NNN, tolerate: { percent: 100 }, do: { function: f } } }"), answer: answerNo},
	"until":            {n: 200, flow: sized("{ map: { items: NNN, join: { until: '${ succeeded >= NNN }' }, do: { function: f } } }")},
	"wavefront":        {n: 200, flow: sized("{ dag: [ { name: a, function: f, over: NNN }, { name: b, function: f, over: NNN, needs: { a: same, b: -1 } }, { name: c, function: f, needs: [b] } ] }")},
	"elements blocked": {n: 200, answer: answerNo, flow: sized("{ dag: [ { name: a, function: f, over: NNN }, { name: b, function: f, over: NNN, needs: { a: same } }, { name: c, function: f, over: NNN, needs: { b: same } }, " +
		"{ name: d, function: f, over: NNN, rule: all_done, needs: { c: same } } ] }")},
	"dag":              {n: 40, flow: chained("{ name: s0, function: f }", "{ name: s#, function: f, needs: s#-1 }")},
	"dag blocked":      {n: 20, flow: chained("{ name: s0, function: f }", "{ name: s#, function: f, needs: s#-1 }, { name: t#, function: f, needs: s#, rule: all_done }"), answer: answerNo},
	"branch":           {n: 20, flow: chained("{ name: s, function: f, branch: '${ lists.range(NNN).map(x, \"s\" + string(x)) }' }, { name: s0, function: f, needs: s }", "{ name: s#, function: f, needs: [s, s#-1] }")},
	"branch that errs": {n: 20, flow: listed("{ dag: { end: leaves, steps: [", "{ name: s#, function: f, branch: '${ output.x }' }, { name: t#, function: f, needs: s#, rule: all_done }", "] } }")},
	"dag joined":       {n: 40, flow: listed("{ dag: { join: settled, steps: [", "{ name: s#, function: f }", "] } }")},
	"dag in line":      {n: 40, flow: listed("{ dag: { concurrency: 5, steps: [", "{ name: s#, function: f }", "] } }"), answer: answerNo},
	"teardowns":        {n: 20, flow: listed("{ dag: { steps: [", "{ name: s#, function: f }, { name: w#, wait: 1h, needs: s# }, { name: t#, function: f, needs: w#, teardown: s# }", "] } }"), before: answerAll, cancel: true},
	"forkjoin":         {n: 40, flow: listed("{ forkjoin: { speculate: 1s, ", "b#: { function: f }", " } }"), before: later},
	"catch":            {n: 200, flow: sized("{ map: { items: NNN, do: { function: f, catch: [ { as: x, do: { pass: '${ x.error.type }' } } ] } } }"), answer: answerNo},
	"subruns":          {n: 400, flow: sized("{ map: { items: NNN, do: { subrun: t } } }"), cancel: true},
	"continue":         {n: 360, flow: sized("{ function: f }"), answer: answerOn},
	"windows":          {n: 200, flow: sized("{ retry: { attempts: 2 }, map: { items: 100, do: { name: m, map: { items: 3, window: 1, do: { function: f } } } } }"), before: resize},
	"pauses":           {n: 200, flow: sized("{ function: f }"), before: pauses},
	"nested maps":      {n: 20, flow: sized("{ map: { items: NNN, do: { map: { items: 100, do: { function: f } } } } }")},
	"end":              {n: 200, flow: sized("{ map: { items: NNN, do: { sequence: [ { signal: go }, { end: 1 } ] } } }"), before: signals("go")},
}

// TestCostsGrowAsRunsDo: a run with ten times as much in it costs ten times as much, whatever the policy and whatever becomes of it. Times are held against
// one another, with much room and five tries: what is quadratic costs a hundred times as much.
func TestCostsGrowAsRunsDo(t *testing.T) { // Not parallel: it takes the time.
	for _, name := range slices.Sorted(maps.Keys(growths)) {
		g := growths[name]
		t.Run(name, func(t *testing.T) {
			for try := 1; ; try++ {
				few, many := g.play(t, g.n), g.play(t, 10*g.n)
				if many <= 5*few+40*time.Microsecond {
					return
				}
				if try == 5 {
					t.Fatalf("each of %d costs %s, and each of %d costs %s", g.n, few, 10*g.n, many)
				}
			}
		})
	}
}

// answerOn has a function invoked again until it has counted down.
func answerOn(inv *engine.Invocation) lang.Outcome {
	var n int
	if inv.Input.Decode(&n) != nil || n <= 1 {
		return lang.Success(lang.Null)
	}
	return lang.Outcome{Verdict: lang.Continue, Value: lang.Of(n - 1)}
}

// later lets a minute pass.
func later(d *grower, _ int) {
	for end := d.at.Add(time.Minute); d.at.Before(end) && d.due(); {
	}
}

func answerAll(d *grower, _ int) {
	open := d.open
	d.open = nil
	for _, inv := range open {
		d.fold(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Success(lang.Null)}))
	}
}

// signals sends n of them, the last first, with their numbers in place of #; what comes before is done first.
func signals(name string, before ...func(*grower, int)) func(*grower, int) {
	return func(d *grower, n int) {
		for _, f := range before {
			f(d, n)
		}
		for i := range n {
			d.fold(engine.Record(journal.Signal, journal.RunID{1}, &engine.SignalFact{Source: "/s", ID: fmt.Sprint(i), Name: strings.ReplaceAll(name, "#", fmt.Sprint(n-1-i))}))
		}
	}
}

func pauses(d *grower, n int) {
	for i := range 2 * n {
		kind := []journal.Kind{journal.Pause, journal.Resume}[i%2]
		d.fold(engine.Record(kind, journal.RunID{1}, &engine.PauseFact{ID: fmt.Sprint(i)}))
	}
}

func resize(d *grower, n int) {
	for i := range n {
		d.fold(engine.Record(journal.Resize, journal.RunID{1}, &engine.WindowFact{ID: fmt.Sprint(i), Path: fmt.Sprintf("map/m[%d]", i%100), Window: 1 + i%3}))
	}
}
