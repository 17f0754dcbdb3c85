package engine_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/schedulers"
)

// A careless policy does one of the things that a third party's may get wrong.
type careless struct {
	Does string    `doc:"does,value"`
	Do   lang.Step `doc:"do"`
}

type carelessState struct {
	Number  float64
	Any     any
	Value   lang.Value
	Text    string
	Err     *lang.Error
	Bad     badMarshaler
	Numbers map[int]string
	private int
}

type badMarshaler struct{ Does string }

func (b badMarshaler) MarshalJSON() ([]byte, error) {
	switch b.Does {
	case "panic":
		panic("no")
	case "err":
		return nil, errors.New("no")
	}
	return []byte(`"` + b.Does + `"`), nil
}

func (b *badMarshaler) UnmarshalJSON(text []byte) error {
	if string(text) == `"one way"` {
		return errors.New("there is no way back")
	}
	return nil
}

type typedNil struct{}

func (*typedNil) Error() string { panic("asked a nil") }

type valueError struct{ text string }

func (v valueError) Error() string { return v.text }

func (p *careless) Next(f schedulers.Frame, s *carelessState, ev schedulers.Event) error {
	if ev.Kind == schedulers.Started && p.Does != "later" {
		return p.wrong(f, s, p.Does)
	}
	if ev.Kind == schedulers.Started {
		f.Spawn(0, 1)
		return nil
	}
	return p.wrong(f, s, "nan")
}

func (p *careless) wrong(f schedulers.Frame, s *carelessState, what string) error {
	s.private++
	switch what {
	case "nan":
		s.Number = math.NaN()
	case "channel":
		s.Any = make(chan int)
	case "circle":
		m := map[string]any{}
		m["m"] = m
		s.Any = m
	case "no json":
		s.Value = lang.Trusted("{")
	case "huge":
		s.Text = strings.Repeat("x", 33<<20)
	case "no class":
		s.Err = &lang.Error{Type: "x"}
	case "marshaler panics":
		s.Bad.Does = "panic"
	case "marshaler errs":
		s.Bad.Does = "err"
	case "one way":
		s.Bad.Does = "one way"
	case "fail without class":
		f.Fail(&lang.Error{Type: "x"})
	case "fail with a class of tomorrow":
		f.Fail(&lang.Error{Type: "x", Class: 99, Data: deep(600)})
	case "fail at length":
		f.Fail(lang.Failf(lang.ClassFunction, strings.Repeat("t", 1<<20), "%s", strings.Repeat("ü", 20<<20)))
	case "typed nil":
		var e *lang.Error
		return e
	case "nil that panics":
		var e *typedNil
		return e
	case "nil value error":
		var e *valueError
		return e
	case "window below":
		f.Window(0, -1)
	case "long timer":
		f.After(strings.Repeat("n", 2000), time.Second)
	case "long signal":
		f.Await(strings.Repeat("n", 2000))
	case "deep":
		f.Succeed(deep(513))
	case "large":
		f.Succeed(lang.Text(strings.Repeat("x", 17<<20)))
	default:
		return errors.New("no such fault: " + what)
	}
	return nil
}

// deep is a list nested n deep.
func deep(n int) lang.Value {
	return lang.Trusted(strings.Repeat("[", n) + strings.Repeat("]", n))
}

func carelessly(r *plugin.Registry) {
	schedulers.Register[careless, carelessState](r, "careless", 1, "Goes wrong.")
}

// saved is a state's snapshot, which must load again and then save the same.
func (l *life) saved(r *plugin.Registry) []byte {
	l.t.Helper()
	var a, b bytes.Buffer
	if err := l.state.Save(&a); err != nil {
		l.t.Fatalf("saving: %v", err)
	}
	again := engine.New(r, nil)
	if err := again.Load(bytes.NewReader(a.Bytes())); err != nil {
		l.t.Fatalf("loading: %v", err)
	}
	if err := again.Save(&b); err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
		l.t.Fatalf("what was loaded saves as something else: %v", err)
	}
	return a.Bytes()
}

// Whatever a policy does wrong fails its frame: its run's other steps, and all other runs of the partition, go on, and the state can be saved and loaded.
func TestCarelessPolicies(t *testing.T) {
	t.Parallel()
	for does, want := range map[string]string{
		"nan": "policy_state", "channel": "policy_state", "circle": "policy_state", "no json": "policy_state", "huge": "policy_state",
		"no class": "policy_state", "marshaler panics": "policy_state", "marshaler errs": "policy_state", "one way": "policy_state", "later": "policy_state",
		"fail without class": "x", "fail with a class of tomorrow": "x", "fail at length": strings.Repeat("t", 256), "typed nil": "policy_error",
		"nil that panics": "policy_error", "nil value error": "policy_error", "window below": "policy_error", "long timer": "policy_error",
		"long signal": "policy_error", "deep": "too_deep", "large": "too_large",
	} {
		t.Run(does, func(t *testing.T) {
			t.Parallel()
			reg := built(carelessly)
			bad := defined(t, reg, "{ sequence: [ { careless: { does: "+does+", do: { function: f } }, catch: [ { do: { function: f } } ] } ] }")
			good := defined(t, reg, "{ function: f }")
			l := begun(t, reg)
			l.must(defineRecord(bad))
			l.must(defineRecord(good))
			l.must(startRecord(1, good, lang.Null))
			l.must(startRecord(2, bad, lang.Null))
			if does == "later" {
				l.saved(reg)
				l.answer()
			}
			if len(l.out.Send) != 1 || !strings.Contains(l.out.Send[0].Path, "catch") {
				t.Fatalf("it was not caught: %+v, ended %+v", l.out.Send, l.out.Ended)
			}
			l.saved(reg)
			l.answer()
			bare := defined(t, reg, "{ careless: { does: "+does+", do: { function: f } } }")
			l.must(defineRecord(bare))
			l.must(startRecord(3, bare, lang.Null))
			if does == "later" {
				l.answer()
			}
			if len(l.out.Ended) != 1 || l.out.Ended[0].Outcome.Err == nil || l.out.Ended[0].Outcome.Err.Type != want {
				t.Fatalf("it ended %+v, want %s", l.out.Ended, want)
			}
			if e := l.out.Ended[0]; e.Outcome.Err.Class == 0 || e.Data.Size() > 1<<20 || e.Data.TooDeep() {
				t.Fatalf("its end: class %s, %d bytes", e.Outcome.Err.Class, e.Data.Size())
			}
			l.saved(reg)
		})
	}
}

// What is nested as deep as it may be is carried through everything; one more is refused on every way in, by a clear error, and the state stays sound.
func TestNesting(t *testing.T) {
	t.Parallel()
	reg := registry()
	for name, c := range map[string]struct {
		flow, want string
		data       lang.Value
		answer     lang.Value
	}{
		"data":               {"{ sequence: [ { function: f } ] }", "", deep(512), deep(512)},
		"data beyond":        {"{ sequence: [ { function: f } ] }", "too_deep", deep(513), lang.Null},
		"data far beyond":    {"{ sequence: [ { function: f } ] }", "too_deep", deep(10_000), lang.Null},
		"outcome beyond":     {"{ sequence: [ { function: f } ] }", "too_deep", lang.Null, deep(513)},
		"a join that fits":   {"{ forkjoin: [ { function: f } ] }", "", lang.Null, deep(511)},
		"a join that nests":  {"{ forkjoin: [ { function: f } ] }", "too_deep", lang.Null, deep(512)},
		"a map that nests":   {"{ map: { items: 1, do: { function: f } } }", "too_deep", lang.Null, deep(512)},
		"joins inside":       {"{ forkjoin: [ { forkjoin: [ { forkjoin: [ { function: f } ] } ] } ] }", "too_deep", lang.Null, deep(510)},
		"input that nests":   {"{ function: f, input: { a: \"${ data }\" } }", "too_deep", deep(512), lang.Null},
		"output that nests":  {"{ function: f, output: { a: \"${ output }\" } }", "too_deep", lang.Null, deep(512)},
		"an expression":      {"{ map: { items: \"${ [data] }\", do: { function: f } } }", "too_deep", deep(512), lang.Null},
		"a list of brackets": {"{ sequence: [ { function: f } ] }", "", lang.Text(strings.Repeat("[{", 10_000)), lang.Of(strings.Repeat("{", 1000))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			def := defined(t, reg, c.flow)
			l := begun(t, reg)
			l.must(defineRecord(def))
			l.must(startRecord(1, def, c.data))
			l.saved(reg)
			if len(l.out.Ended) == 0 {
				l.answerWith(c.answer)
			}
			if len(l.out.Ended) != 1 {
				t.Fatalf("it did not end: %+v", l.out)
			}
			got := ""
			if e := l.out.Ended[0].Outcome.Err; e != nil {
				got = e.Type
			}
			if got != c.want && !(c.want == "too_deep" && got == "expression_error") || l.out.Ended[0].Data.TooDeep() {
				t.Errorf("it ended with %q, want %q: %+v", got, c.want, l.out.Ended[0].Outcome.Err)
			}
			l.saved(reg)
		})
	}
}

func (l *life) answerWith(v lang.Value) {
	l.t.Helper()
	inv := l.out.Send[0]
	l.must(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Success(v)}))
}

// One value is bounded wherever it comes from, not only where a function answers; so is what the end's event carries.
func TestValuesAreBounded(t *testing.T) {
	t.Parallel()
	reg := registry()
	mega := lang.Text(strings.Repeat("m", 1<<20))
	for name, flow := range map[string]string{
		"input":  "{ function: f, input: \"${ [" + strings.TrimSuffix(strings.Repeat("data,", 17), ",") + "] }\" }",
		"output": "{ function: f, output: \"${ [" + strings.TrimSuffix(strings.Repeat("data,", 32), ",") + "] }\" }",
		"items":  "{ map: { items: \"${ [" + strings.TrimSuffix(strings.Repeat("data,", 17), ",") + "] }\", do: { function: f } } }",
	} {
		def := defined(t, reg, flow)
		l := begun(t, reg)
		l.must(defineRecord(def))
		l.must(startRecord(1, def, mega))
		if len(l.out.Ended) == 0 {
			l.answerWith(mega)
		}
		if len(l.out.Ended) != 1 || l.out.Ended[0].Outcome.Err == nil || l.out.Ended[0].Data.Size() > 2<<20 {
			t.Errorf("%s: %d ends", name, len(l.out.Ended))
		}
	}
	def := defined(t, reg, "{ function: f }")
	l := begun(t, reg)
	l.must(defineRecord(def))
	l.must(startRecord(1, def, lang.Text(strings.Repeat("m", 16<<20-2))))
	inv := l.out.Send[0]
	long := lang.Failf(lang.ClassFunction, "x", "%s", strings.Repeat("m", 16<<20))
	long.Data = mega
	rec := engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Failure(long)})
	if len(rec.Payload) > 300<<10 {
		t.Errorf("a failure's record has %d bytes", len(rec.Payload))
	}
	l.must(rec)
	if end := l.out.Ended[0].Data; end.Size() > 300<<10 || !strings.Contains(end.JSON(), "it had 16777216 bytes") {
		t.Errorf("the end has %d bytes", end.Size())
	}
}

type widest struct {
	Do lang.Step `doc:"do,required"`
}

func (*widest) Next(f schedulers.Frame, _ *struct{}, ev schedulers.Event) error {
	if ev.Kind == schedulers.Started {
		f.Window(0, 3_000_000_000)
		f.Spawn(0, 3)
	}
	return nil
}

// A window beyond all bounds is the engine's own, and a chain's length that no snapshot could hold ends its run.
func TestNumbersBeyondAllBounds(t *testing.T) {
	t.Parallel()
	reg := registry()
	schedulers.Register[widest, struct{}](reg, "widest", 1, "Asks for a window beyond all bounds.")
	def := defined(t, reg, "{ widest: { do: { function: f } } }")
	l := begun(t, reg)
	l.must(defineRecord(def))
	l.must(startRecord(1, def, lang.Null))
	if len(l.out.Send) != 3 {
		t.Errorf("%d children opened", len(l.out.Send))
	}
	l.saved(reg)
	l.must(engine.Record(journal.Start, journal.RunID{2}, &engine.StartFact{Trigger: "t", Digest: def.Digest(), Spent: math.MaxUint32}))
	l.saved(reg)
}
