package engine_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A signalDesk folds records of one run, a millisecond apart.
type signalDesk struct {
	t     *testing.T
	state *engine.State
	out   engine.Effects
	at    time.Time
}

func newSignalDesk(t *testing.T, document string) *signalDesk {
	t.Helper()
	set, findings := config.Parse("t.yaml", []byte(document), registry(), nil)
	for _, f := range findings {
		t.Fatal(f)
	}
	d := &signalDesk{t: t, state: engine.New(registry(), nil), at: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	def := set.Triggers["t"].Definition
	d.fold(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(def)})
	d.fold(engine.Record(journal.Start, journal.RunID{1}, &engine.StartFact{Trigger: "t", Digest: def.Digest()}))
	return d
}

func (d *signalDesk) fold(rec journal.Record) engine.Reason {
	d.t.Helper()
	d.at = d.at.Add(time.Millisecond)
	rec.Time = d.at
	reason, err := d.state.Fold(&rec, &d.out)
	if err != nil {
		d.t.Fatal(err)
	}
	return reason
}

func (d *signalDesk) signal(id, name string) engine.Reason {
	d.t.Helper()
	return d.fold(engine.Record(journal.Signal, journal.RunID{1}, &engine.SignalFact{Source: "/s", ID: id, Name: name, Data: lang.Text(id)}))
}

func (d *signalDesk) size() int {
	d.t.Helper()
	var b bytes.Buffer
	if err := d.state.Save(&b); err != nil {
		d.t.Fatal(err)
	}
	return b.Len()
}

// TestSignalLimit: what is kept is bounded and says so; the one that is waited for always gets in, and what was taken counts no more.
func TestSignalLimit(t *testing.T) {
	t.Parallel()
	limit := engine.LimitsOf(journal.Level).Signals
	d := newSignalDesk(t, "version: 1\ntriggers: { t: { flow: { sequence: [{ signal: awaited }, { signal: early }, { signal: last }] } } }")
	for i := range limit {
		if got := d.signal(fmt.Sprint(i), "early"); got != engine.Applied {
			t.Fatalf("signal %d is %s", i, got)
		}
	}
	if got := d.signal("over", "early"); got != engine.Limited {
		t.Errorf("one more than can be kept is %s, want limited", got)
	}
	if got := d.signal("go", "awaited"); got != engine.Applied {
		t.Errorf("the one that is waited for is %s", got)
	}
	// It took one of the early ones too.
	if got := d.signal("over", "early"); got != engine.Applied {
		t.Errorf("with room again, the one that was refused is %s", got)
	}
	if got := d.signal("0", "early"); got != engine.Duplicate {
		t.Errorf("one that was taken comes again and is %s, want repeated", got)
	}
	if got := d.signal("end", "last"); got != engine.Applied || len(d.out.Ended) != 1 {
		t.Errorf("the last is %s, and %d runs end", got, len(d.out.Ended))
	}
}

// TestSignalsThatWereTaken: a run takes any number of signals in its life, and remembers the latest of them.
func TestSignalsThatWereTaken(t *testing.T) {
	t.Parallel()
	limit := engine.LimitsOf(journal.Level).Signals
	n := limit + limit/4
	d := newSignalDesk(t, fmt.Sprintf("version: 1\ntriggers: { t: { flow: { map: { items: %d, window: 10, results: none, do: { signal: go } } } } }", n+1))
	full := 0
	for i := range n {
		if got := d.signal(fmt.Sprint(i), "go"); got != engine.Applied {
			t.Fatalf("signal %d is %s", i, got)
		}
		if i == limit {
			full = d.size()
		}
	}
	if got := d.signal(fmt.Sprint(n-1), "go"); got != engine.Duplicate {
		t.Errorf("the last comes again and is %s", got)
	}
	if size := d.size(); size > full+full/20 {
		t.Errorf("the state has %d bytes after %d signals and %d after %d: what was taken is kept for ever", full, limit, size, n)
	}
	d.at = d.at.Add(25 * time.Hour)
	if got := d.signal("the last one", "go"); got != engine.Applied || len(d.out.Ended) != 1 {
		t.Errorf("a day later it is %s", got)
	}
}

// TestSignalsThatAreGivenBack: a step that is tried again gets back as many as a run remembers, and nothing of them stays behind when it has ended.
func TestSignalsThatAreGivenBack(t *testing.T) {
	t.Parallel()
	limit := engine.LimitsOf(journal.Level).Signals
	d := newSignalDesk(t, fmt.Sprintf("version: 1\nfunctions: { f: { http: { url: \"http://127.0.0.1:1/f\" }, retry: { attempts: 1 } } }\n"+
		"triggers: { t: { flow: { retry: { attempts: 2, backoff: 1s }, sequence: [{ map: { items: %d, results: none, do: { signal: go } } }, { function: f }, { signal: end }] } } }", limit+3))
	for owed := d.state.Owing(1); len(owed) > 0; owed = d.state.Owing(1) {
		d.fold(engine.Record(journal.More, owed[0].Run, &engine.MoreFact{Part: owed[0].Part}))
	}
	for i := range limit + 3 {
		if got := d.signal(fmt.Sprint(i), "go"); got != engine.Applied {
			t.Fatalf("signal %d is %s", i, got)
		}
	}
	answer := func(o lang.Outcome) {
		t.Helper()
		if got := d.fold(engine.Record(journal.Completion, journal.RunID{1}, &engine.CompletionFact{N: d.out.Send[0].N, Outcome: o})); got != engine.Applied {
			t.Fatal(got)
		}
	}
	answer(lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke")))
	if got := d.signal("more", "other"); got != engine.Limited {
		t.Errorf("with all that can be kept given back, another is %s", got)
	}
	at, _ := d.state.NextDue()
	d.at = at
	d.fold(engine.Record(journal.Fired, journal.RunID{1}, &engine.FiredFact{Timer: d.state.Due(at, 1)[0].Timer}))
	for owed := d.state.Owing(1); len(owed) > 0; owed = d.state.Owing(1) {
		d.fold(engine.Record(journal.More, owed[0].Run, &engine.MoreFact{Part: owed[0].Part}))
	}
	for i := range 3 {
		if len(d.out.Send) > 0 {
			t.Fatalf("%d of those that were too many came again", 3-i)
		}
		d.signal(fmt.Sprint("again ", i), "go")
	}
	answer(lang.Success(lang.Null))
	if d.signal("end", "end"); len(d.out.Ended) != 1 || d.state.Stats().Bytes != 0 {
		t.Errorf("%d runs have ended, and %d bytes are kept", len(d.out.Ended), d.state.Stats().Bytes)
	}
}
