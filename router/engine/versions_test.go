package engine_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/schedulers"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
)

// The policy "twice" in the course of its life: as it was first, with a field more, and with another meaning.
type (
	twiceV1 struct {
		Do lang.Step `doc:"do"`
	}
	twiceV1More struct {
		Do   lang.Step `doc:"do"`
		Only string    `doc:"only" default:"both"`
	}
	twiceV2 struct {
		Do   lang.Step `doc:"do"`
		Then lang.Step `doc:"then"`
	}
	twiceState struct{ Done int }
)

func (p *twiceV1) Next(f schedulers.Frame, s *twiceState, ev schedulers.Event) error {
	return twice(f, s, ev, "both")
}

func (p *twiceV1More) Next(f schedulers.Frame, s *twiceState, ev schedulers.Event) error {
	return twice(f, s, ev, p.Only)
}

func twice(f schedulers.Frame, s *twiceState, ev schedulers.Event, only string) error {
	switch ev.Kind {
	case schedulers.Started:
		f.Spawn(0, 1)
	case schedulers.Done:
		if s.Done++; s.Done == 1 && only == "both" {
			f.Spawn(0, 1)
			return nil
		}
		f.Succeed(lang.Of(map[string]int{"version": f.Version(), "level": f.Level(), "done": s.Done}))
	}
	return nil
}

// Next of the second version opens its second step first: on a run of the first version it would start everything again.
func (p *twiceV2) Next(f schedulers.Frame, s *twiceState, ev schedulers.Event) error {
	switch ev.Kind {
	case schedulers.Started:
		f.Spawn(1, 1)
	case schedulers.Done:
		f.Succeed(lang.Of(map[string]int{"version": f.Version()}))
	}
	return nil
}

func built(enter ...func(*plugin.Registry)) *plugin.Registry {
	r := new(plugin.Registry)
	builtin.Register(r)
	sinks.Register(r)
	for _, e := range enter {
		e(r)
	}
	return r
}

func firstTwice(r *plugin.Registry) {
	schedulers.Register[twiceV1, twiceState](r, "twice", 1, "Twice.")
}
func longerTwice(r *plugin.Registry) {
	schedulers.Register[twiceV1More, twiceState](r, "twice", 1, "Twice.")
}
func otherTwice(r *plugin.Registry) {
	schedulers.Register[twiceV2, twiceState](r, "twice", 2, "Twice.")
}

// strictTwice is the first version with rules that it did not have: it refuses what was accepted, and what it derives on the way is needed.
type strictTwice struct {
	Do      lang.Step       `doc:"do"`
	Within  plugin.Duration `doc:"within,above0"`
	derived string
}

func (p *strictTwice) Check() []plugin.Problem {
	p.derived = "both"
	return []plugin.Problem{{What: "twice is once too often", Cure: "write it once"}}
}

func (p *strictTwice) Next(f schedulers.Frame, s *twiceState, ev schedulers.Event) error {
	return twice(f, s, ev, p.derived)
}

// laxTwice is the same with the rules of its day.
type laxTwice struct {
	Do     lang.Step       `doc:"do"`
	Within plugin.Duration `doc:"within"`
}

func (p *laxTwice) Next(f schedulers.Frame, s *twiceState, ev schedulers.Event) error {
	return twice(f, s, ev, "both")
}

// TestStricterRulesAreForNewDocuments: a run goes on whose definition a later binary would refuse, by record and by snapshot.
func TestStricterRulesAreForNewDocuments(t *testing.T) {
	t.Parallel()
	lax := built(func(r *plugin.Registry) { schedulers.Register[laxTwice, twiceState](r, "twice", 1, "Twice.") })
	strict := built(func(r *plugin.Registry) { schedulers.Register[strictTwice, twiceState](r, "twice", 1, "Twice.") })
	const flow = "{ twice: { within: 0s, do: { function: f, retry: { attempts: 2 } } } }"
	if _, findings := config.Parse("t.yaml", []byte("version: 1\nfunctions: { f: { log: f } }\ntriggers: { t: { flow: "+flow+" } }\n"), strict, nil); len(findings) == 0 {
		t.Error("a new document is taken")
	}
	def := defined(t, lax, flow)
	l := begun(t, lax)
	l.must(defineRecord(def))
	l.must(startRecord(1, def, lang.Null))
	send := l.out.Send
	bySnapshot, err := l.under(strict)
	if err != nil {
		t.Fatal(err)
	}
	bySnapshot.out.Send = send
	byRecord := begun(t, strict)
	byRecord.must(defineRecord(def))
	byRecord.must(startRecord(1, def, lang.Null))
	for name, l := range map[string]*life{"by snapshot": bySnapshot, "by record": byRecord} {
		l.answer()
		if len(l.out.Ended) > 0 {
			t.Fatalf("%s: it ended after one", name)
		}
		l.answer()
		if len(l.out.Ended) != 1 || l.out.Ended[0].Outcome.Value.JSON() != `{"done":2,"level":2,"version":1}` {
			t.Errorf("%s: %+v", name, l.out.Ended)
		}
	}
}

// TestBrokenDefinitionsEndTheirRuns: bytes that the rules of no day have accepted end their run in some way; they panic nowhere, and the partition goes on.
func TestBrokenDefinitionsEndTheirRuns(t *testing.T) {
	t.Parallel()
	const dag, choice = "{ dag: { steps: [ { name: a, function: f }, { name: b, function: f, needs: [a] } ] } }", "{ choice: { cases: [ { if: true, function: f } ] } }"
	for _, c := range []struct{ name, flow, from, to string }{
		{"a cycle", dag, `"name":"a"`, `"name":"a","needs":["b"]`}, {"an unknown need", dag, `"needs":["a"]`, `"needs":["x"]`}, {"an unknown rule", dag, `"needs":["a"]`, `"needs":["a"],"rule":"never"`},
		{"two of a name", dag, `"name":"b"`, `"name":"a"`}, {"no name", dag, `"name":"b",`, ``}, {"an unknown end", dag, `"steps":[`, `"end":"never","steps":[`},
		{"no steps", "{ sequence: [ { function: f } ] }", `[{"function":"f","timeout":"30s"}]`, `[]`}, {"no cases", choice, `[{"function":"f","if":true,"timeout":"30s"}]`, `[]`},
		{"a wait for nothing", "{ wait: 5s }", `"5s"`, `{}`}, {"a window below nothing", "{ map: { items: \"${ [1, 2] }\", do: { function: f } } }", `"do":`, `"window":-1,"do":`},
		{"no attempts", "{ function: f, retry: { attempts: 2 } }", `"attempts":2`, `"attempts":-2`},
	} {
		whole := string(engine.DefinePayload(defined(t, registry(), c.flow)))
		text := strings.Replace(whole, c.from, c.to, 1)
		if text == whole {
			t.Errorf("%s: %s", c.name, text)
			continue
		}
		l := begun(t, registry())
		l.must(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: []byte(text)})
		l.must(engine.Record(journal.Start, journal.RunID{1}, &engine.StartFact{Trigger: "t", Digest: sha256.Sum256([]byte(text)), Data: lang.Null}))
		for calls := 0; len(l.out.Ended) == 0; calls++ {
			var open []*engine.Invocation
			l.state.Outstanding(func(inv *engine.Invocation) { open = append(open, inv) })
			if len(open) == 0 || calls > 10 {
				t.Errorf("%s: it does not end: %d calls, %d open", c.name, calls, len(open))
				break
			}
			l.out.Send = open
			l.answer()
		}
	}
}

// A life is one binary's state of a partition.
type life struct {
	t     *testing.T
	state *engine.State
	out   engine.Effects
	at    time.Time
}

func begun(t *testing.T, r *plugin.Registry) *life {
	return &life{t: t, state: engine.New(r, nil), at: time.Unix(1e9, 0)}
}

func (l *life) fold(rec journal.Record) (engine.Reason, error) {
	l.at = l.at.Add(time.Second)
	rec.Time = l.at
	return l.state.Fold(&rec, &l.out)
}

// must folds a record that applies.
func (l *life) must(rec journal.Record) {
	l.t.Helper()
	if reason, err := l.fold(rec); err != nil || reason != engine.Applied {
		l.t.Fatalf("%s: %v, %v", rec.Kind, reason, err)
	}
}

// under goes on in another binary, by way of a snapshot.
func (l *life) under(r *plugin.Registry) (*life, error) {
	var b bytes.Buffer
	if err := l.state.Save(&b); err != nil {
		l.t.Fatal(err)
	}
	next := &life{t: l.t, state: engine.New(r, nil), at: l.at}
	return next, next.state.Load(&b)
}

func (l *life) answer() {
	l.t.Helper()
	inv := l.out.Send[0]
	l.must(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Success(lang.Null)}))
}

func defined(t testing.TB, r *plugin.Registry, flow string) *lang.Definition {
	t.Helper()
	set, findings := config.Parse("t.yaml", []byte("version: 1\nfunctions: { f: { http: { url: \"http://127.0.0.1:1/f\" } } }\ntriggers: { t: { flow: "+flow+" } }\n"), r, nil)
	for _, f := range findings {
		t.Fatal(f)
	}
	return set.Triggers["t"].Definition
}

func defineRecord(d *lang.Definition) journal.Record {
	return journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(d)}
}

func startRecord(run byte, d *lang.Definition, data lang.Value) journal.Record {
	return engine.Record(journal.Start, journal.RunID{run}, &engine.StartFact{Trigger: "t", Digest: d.Digest(), Data: data})
}

const twiceFlow = "{ twice: { do: { function: f } } }"

// A policy gets a field, then a version; a run that began before goes on as it began, in either; and back again.
func TestAnUpgradeChangesNoRun(t *testing.T) {
	t.Parallel()
	first := built(firstTwice)
	def := defined(t, first, twiceFlow)
	l := begun(t, first)
	l.must(defineRecord(def))
	for run := byte(1); run <= 4; run++ {
		l.must(startRecord(run, def, lang.Null))
	}
	ends := func(l *life, want string) {
		t.Helper()
		if len(l.out.Ended) != 1 || l.out.Ended[0].Outcome.Value.JSON() != want {
			t.Fatalf("ended: %+v, want %s", l.out.Ended, want)
		}
	}
	lives := []func(*plugin.Registry){longerTwice, func(r *plugin.Registry) { firstTwice(r); otherTwice(r) }, func(r *plugin.Registry) { otherTwice(r); longerTwice(r) }, firstTwice}
	for i, enter := range lives {
		next, err := l.under(built(enter))
		if err != nil {
			t.Fatalf("binary %d: %v", i, err)
		}
		if _, known := next.state.Definition(def.Digest()); !known {
			t.Fatalf("binary %d: the definition has another digest", i)
		}
		l = next
		var open []*engine.Invocation
		l.state.Outstanding(func(inv *engine.Invocation) {
			if inv.Purpose == engine.Call {
				open = append(open, inv)
			}
		})
		if len(open) != len(lives)-i {
			t.Fatalf("binary %d: %d runs are open", i, len(open))
		}
		l.out.Send = open
		l.answer()
		if len(l.out.Ended) > 0 {
			t.Fatalf("binary %d: it ended after one", i)
		}
		l.answer()
		ends(l, `{"done":2,"level":2,"version":1}`)
		// The same definition once more, as another router appends it, is the same.
		if reason, err := l.fold(defineRecord(def)); err != nil || reason != engine.Duplicate {
			t.Fatalf("binary %d: %v, %v", i, reason, err)
		}
	}
}

// What a newer binary defined stops an older one with the reason and the cure; the run goes on where the binary is the right one.
func TestNewerDefinitions(t *testing.T) {
	t.Parallel()
	first, longer, both := built(firstTwice), built(longerTwice), built(firstTwice, otherTwice)
	second := built(otherTwice)
	for _, c := range []struct {
		name     string
		by, here *plugin.Registry
		flow     string
		says     string
	}{
		{"a field that is not known", longer, first, "{ twice: { do: { function: f }, only: one } }", "unknown key"},
		{"a version that is not known", both, first, "{ twice: { do: { function: f }, then: { function: f } } }", "has version 2 in the definition and [1] here"},
		{"a version that is gone", first, second, twiceFlow, "has version 1 in the definition and [2] here"},
		{"a policy that is not built in", first, built(), twiceFlow, "not built in"},
	} {
		def := defined(t, c.by, c.flow)
		l := begun(t, c.here)
		_, err := l.fold(defineRecord(def))
		if !errors.Is(err, journal.ErrNewer) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "; run ") {
			t.Errorf("%s: %v", c.name, err)
		}
		author := begun(t, c.by)
		author.must(defineRecord(def))
		author.must(startRecord(1, def, lang.Null))
		if _, err := author.under(c.here); !errors.Is(err, journal.ErrNewer) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s, in a snapshot: %v", c.name, err)
		}
		if same, err := author.under(c.by); err != nil || same.state.Stats().Runs != 1 {
			t.Errorf("%s: back in its own binary: %v", c.name, err)
		}
	}
}

// A run that starts takes the newest version, and says so to its policy.
func TestNewRunsTakeTheNewestVersion(t *testing.T) {
	t.Parallel()
	both := built(otherTwice, firstTwice)
	def := defined(t, both, "{ twice: { do: { function: f }, then: { function: f } } }")
	if def.Policies["twice"] != 2 {
		t.Fatalf("it names %v", def.Policies)
	}
	l := begun(t, both)
	l.must(defineRecord(def))
	l.must(startRecord(1, def, lang.Null))
	if path := l.out.Send[0].Path; path != "f-2" {
		t.Errorf("it opened %s", path)
	}
	l.answer()
	if got := l.out.Ended[0].Outcome.Value.JSON(); got != `{"version":2}` {
		t.Errorf("it ended with %s", got)
	}
}

// What was never released is refused with the reason and the cure, record and snapshot alike.
func TestOlderLevels(t *testing.T) {
	t.Parallel()
	l := begun(t, registry())
	rec := engine.Record(journal.Claim, journal.RunID{}, &engine.ClaimFact{Level: journal.Level})
	rec.Level = journal.Oldest - 1
	if _, err := l.fold(rec); !errors.Is(err, journal.ErrOlder) || !strings.Contains(err.Error(), "begin with an empty journal") {
		t.Errorf("a record: %v", err)
	}
	for _, text := range []string{"\x01\x01\x00\x00", "\x02\x01\x00\x00"} {
		if err := engine.New(registry(), nil).Load(strings.NewReader(text)); !errors.Is(err, journal.ErrOlder) {
			t.Errorf("a snapshot %q: %v", text, err)
		}
	}
}
