package simulate_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/simulate"
)

// A writer writes flows as people do: most of what it writes is right, and some is wrong in ways that lint must find before anything runs.
type writer struct{ rng *rand.Rand }

func (w *writer) one(of ...string) string { return of[w.rng.IntN(len(of))] }

// or is one of what is right, and now and then one of what is wrong.
func (w *writer) or(right string, wrong ...string) string {
	if w.rng.IntN(25) == 0 {
		return w.one(wrong...)
	}
	return right
}

// value is an expression or a value, in YAML's flow form.
func (w *writer) value() string {
	return w.or(w.one(`"${ data }"`, `"${ input }"`, `"${ data.list }"`, `"${ data.list[0] + 1 }"`, `"${ lists.range(3) }"`, `"n is ${ data.n }"`, `"${ data.n }${ data.n }"`, `3`, `null`, `[1, "${ data.n }"]`, `{ a: "${ data.?b.orValue(2) }" }`,
		`"${ data.list.map(x, x * 2) }"`, `"${ math.greatest(1, data.n) }"`, `"${ data.list.sortBy(x, -x) }"`, `"${ data.s.split('') }"`, `"{{ data.n }}"`,
		`1e3`, `0123`, `"${ {'a': 1, 'b': data.n} }"`, `"${ base64.encode(bytes(data.s)) }"`, `"${ json.parse(data.s).orValue({}) }"`),
		`"${ google.protobuf.Struct{} }"`, `"${ nope }"`, `"${ size() }"`, `"${ siez(data) }"`, `"${ item }"`, `"${ 'a' * 2 }"`, `"${ type(data) }"`)
}

func (w *writer) condition() string {
	return w.or(w.one(`"${ data.n > 1 }"`, `"${ true }"`, `"${ false }"`, `true`, `"${ has(data.n) && type(data.s) == string }"`, `"${ 'x' in data }"`, `"${ data.list.all(x, x > 0) }"`),
		`"${ data.n } == 1"`, `"${ size(data) }"`)
}

// step is a step at most depth policies deep.
func (w *writer) step(depth int) string {
	if depth == 0 || w.rng.IntN(4) == 0 {
		return w.common(w.one(`function: f`, `function: g`, `function: bad`, `wait: 1s`, `wait: "${ data.n }s"`, `wait: { until: "2024-01-01T00:00:00Z" }`, `flow: inner`, `choice: { cases: [{ if: `+w.condition()+`, function: f }], else: { function: g } }`))
	}
	child := func() string { return "{ " + w.step(depth-1) + " }" }
	switch w.rng.IntN(6) {
	case 0:
		return w.common("sequence: [" + child() + ", " + child() + "]")
	case 1:
		return w.common("forkjoin: { steps: " + w.one("["+child()+", "+child()+"]", "{ a: "+child()+", b: "+child()+" }") + ", join: " + w.or(w.one("all", "settled"), "al") + " }")
	case 2:
		return w.common("map: { items: " + w.or(w.one(`"${ data.list }"`, `3`, `[1, 2]`, `"${ lists.range(2) }"`), `"${ data.n }${ data.n }"`, `-1`, `20000000`) + w.or("", ", as: in", ", as: item") + ", window: " + w.or(w.one("0", "2"), "3000000000") + ", do: " + child() + " }")
	case 3:
		return w.common("choice: [{ if: " + w.condition() + ", " + w.step(depth-1) + " }, { if: true, " + w.step(depth-1) + " }]")
	case 4:
		return w.common("dag: [{ name: a" + fmt.Sprint(w.rng.IntN(1e6)) + ", " + w.step(0) + " }, { name: b" + fmt.Sprint(w.rng.IntN(1e6)) + w.or("", ", rule: one_failed") + ", " + w.step(depth-1) + " }]")
	}
	return strings.Repeat("sequence: [{ ", 20) + w.step(depth-1) + strings.Repeat(" }]", 20)
}

// common adds keys that every step has.
func (w *writer) common(step string) string {
	for _, key := range []string{"when", "input", "output", "timeout", "deadline", "retry", "catch"} {
		if w.rng.IntN(7) > 0 {
			continue
		}
		switch key {
		case "when":
			step += ", when: " + w.condition()
		case "input", "output":
			step += ", " + key + ": " + w.value()
		case "timeout":
			step += ", timeout: " + w.or(w.one("5s", "1m"), "0s")
		case "deadline":
			step += ", deadline: " + w.or("2h", "10s", "0s")
		case "retry":
			step += ", retry: { attempts: " + w.or(w.one("2", "3"), "0") + ", backoff: " + w.one("0s", "1s") + ", on: [" + w.or(w.one("timeout", "Mine", "platform"), "tiemout") + "] }"
		case "catch":
			step += ", catch: [{ errors: [" + w.or(w.one("boom", "expression_error"), "canceled") + "], do: { function: g } }, { do: { wait: 1s, input: " + w.value() + " } }]"
		}
	}
	return step
}

// static is what no data makes wrong: a run must never meet it, since lint had to.
var static = regexp.MustCompile(`unknown function|does not take|unknown name|makes a message|is called otherwise|no such operation: \* on string|^policy_|depth_limit|and not true or false.*(text|number)`)

// TestWhatLintAcceptsRuns writes flows, and runs those that lint accepts: they end, and no error is one that lint should have found.
func TestWhatLintAcceptsRuns(t *testing.T) {
	t.Parallel()
	reg := registry()
	accepted, refused, failed, deep := 0, 0, 0, 0
	for seed := range uint64(1500) {
		w := &writer{rand.New(rand.NewPCG(seed, 9))}
		doc := "version: 1\nfunctions: { f: { log: f }, g: { log: g }, bad: { log: bad } }\nflows: { inner: { " + strings.ReplaceAll(w.step(1), "flow: inner", "function: f") + " } }\ntriggers: { t: { flow: { " + w.step(1+w.rng.IntN(4)) + " } } }\n"
		set, _ := config.Parse("t.yaml", []byte(doc), reg, nil)
		if set == nil {
			refused++
			continue
		}
		accepted++
		deep += strings.Count(doc, "map:")
		world := simulate.New(simulate.Options{Registry: reg, Function: func(inv *engine.Invocation, _ int) simulate.Answer {
			if inv.Function == "bad" {
				return simulate.Answer{Outcome: lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke"))}
			}
			return simulate.Answer{Outcome: lang.Success(inv.Input)}
		}})
		def := set.Triggers["t"].Definition
		start := engine.Record(journal.Start, journal.RunID{1}, &engine.StartFact{Trigger: "t", Digest: def.Digest(), Data: lang.Trusted(`{"n":2,"list":[1,2.50,3],"s":"ab"}`)})
		world.Append(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(def)}, start)
		if err := world.Run(1_000_000); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, doc)
		}
		if len(world.Ended) != 1 {
			t.Fatalf("seed %d: %d ends\n%s", seed, len(world.Ended), doc)
		}
		if e := world.Ended[0].Outcome.Err; e != nil {
			failed++
			if said := e.Type + ": " + e.Message; static.MatchString(said) && !slices.Contains([]string{"boom", "timeout"}, e.Type) {
				t.Errorf("seed %d: lint accepts it, and it fails with %s\n%s", seed, said, doc)
			}
		}
	}
	t.Logf("%d accepted (%d failed by their data), %d refused", accepted, failed, refused)
	if accepted < 300 || refused < 300 || failed < 30 || deep < 30 {
		t.Errorf("%d accepted with %d maps, %d refused, %d failed", accepted, deep, refused, failed)
	}
}
