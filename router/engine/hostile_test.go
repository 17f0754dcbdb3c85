package engine_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// hostile are values of every kind that an expression, a function or a sender may come up with.
var hostile = func() []lang.Value {
	texts := []string{
		"null", "true", "false", "-1", "0", "1", "2", "3.0", "1.5", "1e308", "-1e308", "1E400", "9007199254740993", "9223372036854775807", "-9223372036854775808", "18446744073709551616",
		`""`, `"x"`, `"30s"`, `"-5s"`, `"0s"`, `"99999999h"`, `"2262-04-12T00:00:00Z"`, `"0000-01-01T00:00:00Z"`, `"\u0000"`, `"` + strings.Repeat("y", 5000) + `"`,
		"[]", "[null]", "[[]]", `["a","a"]`, `[1,"1",1.0,true,null,{}]`, "{}", `{"":{}}`, `{"items":3}`, `{"error":{"type":"x"}}`, `{"outcome":"failed"}`,
		strings.Repeat("[", 300) + strings.Repeat("]", 300), "[" + strings.Repeat("0,", 3000) + "0]", "100000", "5000",
	}
	values := make([]lang.Value, len(texts))
	for i, text := range texts {
		v, err := lang.ParseValue([]byte(text))
		if err != nil {
			panic(text)
		}
		values[i] = v
	}
	return values
}()

// hostileExpressions yield what JSON cannot say, or nothing.
var hostileExpressions = []string{"data", "0.0 / 0.0", "1.0 / 0.0", "data.nope", "[data][5]", "1 / 0", "-9223372036854775808", "[data, data]", "{'data': data}", "string(data)", "data == null", "size(data)"}

// around are flows with a policy's example in them, as the flow ex.
var around = []string{
	"{ flow: ex }",
	"{ retry: { attempts: 2, backoff: 1s }, timeout: 5s, sequence: [ { name: x1, flow: ex } ] }",
	"{ deadline: 4s, catch: [ { as: why, do: { pass: 1 } } ], sequence: [ { name: x1, flow: ex } ] }",
	"{ map: { items: 3, window: 2, join: settled, do: { name: x1, flow: ex } } }",
	"{ map: { items: 3, speculate: 1s, join: any, do: { name: x1, timeout: 3s, sequence: [ { function: f }, { name: x2, flow: ex } ] } } }",
	"{ finally: { do: { name: x1, flow: ex }, always: { function: f } } }",
	"{ saga: [ { function: f, undo: { function: f } }, { name: x1, flow: ex , undo: { name: x2, function: f } }, { fail: no } ] }",
	"{ loop: { times: 2, do: { name: x1, flow: ex } } }",
	"{ dag: { concurrency: 2, steps: [ { name: x0, function: f }, { name: x1, flow: ex , needs: x0 }, { name: x3, function: f, teardown: x0, needs: x1 } ] } }",
	"{ forkjoin: { join: { atLeast: 1, deadline: 20s, onDeadline: take, losers: run }, branches: [ { name: x1, flow: ex }, { wait: 10s } ] } }",
	"{ dag: [ { name: x0, over: 3, function: f }, { name: x1, over: '${ data }', sequence: [ { name: x2, flow: ex } ], needs: { x0: same, x1: -1 }, rule: all_done } ] }",
}

var (
	inExpression = regexp.MustCompile(`\$\{[^}]*(?:\{[^}]*\}[^}]*)*\}`)
	words        = regexp.MustCompile(`[a-z][A-Za-z0-9-]*`)
	awaited      = regexp.MustCompile(`"awaits":\[([^]]*)\]`)
	startsRun    = regexp.MustCompile(`(?:subrun|trigger): ([a-z-]+)`)
)

// An attack is one flow, and one way to treat a run of it.
type attack struct {
	*rand.Rand
	t     *testing.T
	doc   string
	state *engine.State
	out   engine.Effects
	at    time.Time
	open  []*engine.Invocation // calls without an answer
	told  []*engine.Invocation // of the run's end, and of subruns
	past  []journal.Record
	ends  []engine.Ended
}

func (a *attack) fold(rec journal.Record) {
	a.t.Helper()
	a.at = a.at.Add(time.Duration(a.IntN(1500)) * time.Millisecond)
	rec.Time = a.at
	a.past = append(a.past, rec)
	if _, err := a.state.Fold(&rec, &a.out); err != nil {
		a.t.Fatalf("%v\n%s", err, a.doc)
	}
	for _, inv := range a.out.Send {
		if inv.Purpose == engine.Call {
			a.open = append(a.open, inv)
		} else {
			a.told = append(a.told, inv)
		}
	}
	for _, inv := range a.out.Stop {
		gone := func(x *engine.Invocation) bool { return x.N == inv.N }
		a.open, a.told = slices.DeleteFunc(a.open, gone), slices.DeleteFunc(a.told, gone)
	}
	a.ends = append(a.ends, a.out.Ended...)
}

// seen holds that no policy blamed itself for what it was given.
func (a *attack) seen(c engine.Change) {
	for _, o := range []lang.Outcome{c.Outcome} {
		if o.Err == nil {
			continue
		}
		switch o.Err.Type {
		case "policy_panic", "policy_stuck", "policy_error", "policy_state":
			a.t.Errorf("%s: %s %s\n%s", c.Path, o.Err.Type, o.Err.Message, a.doc)
		}
	}
}

// restart saves and loads: the bytes stay what they are.
func (a *attack) restart() {
	a.t.Helper()
	saved := savedBytes(a.t, a.state)
	a.state = engine.New(registry(), a.seen)
	if err := a.state.Load(bytes.NewReader(saved)); err != nil {
		a.t.Fatalf("%v\n%s", err, a.doc)
	}
	if !bytes.Equal(saved, savedBytes(a.t, a.state)) {
		a.t.Fatalf("what was saved and loaded saves other bytes\n%s", a.doc)
	}
	a.fold(claimRecord(a.state.Epoch() + 1))
}

func claimRecord(epoch uint64) journal.Record {
	rec := engine.Record(journal.Claim, journal.RunID{}, &engine.ClaimFact{Level: journal.Level})
	rec.Epoch = epoch
	return rec
}

func (a *attack) value() lang.Value { return hostile[a.IntN(len(hostile))] }

func (a *attack) outcome() lang.Outcome {
	switch a.IntN(6) {
	case 0:
		return lang.Failure(&lang.Error{Type: []string{"boom", "", "timeout", "cancelled"}[a.IntN(4)], Message: "it broke", Class: lang.Class(1 + a.IntN(5)), Data: a.value()})
	case 1:
		return lang.Outcome{Verdict: lang.Continue, Value: a.value()}
	}
	return lang.Success(a.value())
}

func (a *attack) complete(n uint32, o lang.Outcome) {
	a.t.Helper()
	a.open = slices.DeleteFunc(a.open, func(x *engine.Invocation) bool { return x.N == n })
	a.fold(engine.Record(journal.Completion, journal.RunID{1}, &engine.CompletionFact{N: n, Outcome: o}))
}

func (a *attack) fenced(rec journal.Record) {
	rec.Epoch = a.state.Epoch()
	a.fold(rec)
}

// pay lets the run open what it owes, and beg fires what is due at a time.
func (a *attack) pay() bool {
	owed := a.state.Owing(8)
	for _, o := range owed {
		a.fenced(engine.Record(journal.More, o.Run, &engine.MoreFact{Part: o.Part}))
	}
	return len(owed) > 0
}

func (a *attack) fire() bool {
	at, ok := a.state.NextDue()
	if !ok {
		return false
	}
	if at.After(a.at) {
		a.at = at
	}
	for _, due := range a.state.Due(a.at, 4) {
		a.fenced(engine.Record(journal.Fired, due.Run, &engine.FiredFact{Timer: due.Timer}))
	}
	return true
}

// signal gives what some step waits for, or what none does.
func (a *attack) signal() {
	names := []string{"go", "nobody"}
	if st, ok := a.state.Status(journal.RunID{1}, 100); ok {
		for _, m := range awaited.FindAllStringSubmatch(lang.Of(st).JSON(), -1) {
			names = append(names, strings.Split(strings.Trim(m[1], `"`), `","`)...)
		}
	}
	a.fold(engine.Record(journal.Signal, journal.RunID{1}, &engine.SignalFact{Source: "/x", ID: fmt.Sprint(a.IntN(50)), Name: names[a.IntN(len(names))], Data: a.value()}))
}

// do does one thing to the run.
func (a *attack) do() {
	n := uint32(a.IntN(60))
	if len(a.open) > 0 {
		n = a.open[a.IntN(len(a.open))].N
	}
	switch a.IntN(14) {
	default:
		a.complete(n, a.outcome())
	case 0:
		a.complete([]uint32{0, 1, n + 1, 1 << 30, 1<<32 - 1}[a.IntN(5)], a.outcome())
	case 1:
		a.fenced(engine.Record(journal.TimedOut, journal.RunID{1}, &engine.TimedOutFact{Numbers: []uint32{n, n, 0}, Silent: a.IntN(2) == 0}))
	case 2:
		a.fenced(engine.Record(journal.GaveUp, journal.RunID{1}, &engine.GaveUpFact{N: n, Err: lang.Failf(lang.ClassPlatform, "undelivered", "no")}))
	case 3:
		a.signal()
	case 4, 5:
		a.fire()
	case 6:
		a.restart()
	case 7:
		a.pay()
	case 8:
		rec := a.past[a.IntN(len(a.past))] // It comes again.
		a.fold(rec)
	case 9:
		a.fold(engine.Record([]journal.Kind{journal.Pause, journal.Resume}[a.IntN(2)], journal.RunID{1}, &engine.PauseFact{ID: fmt.Sprint(a.IntN(9))}))
	case 10:
		a.fold(engine.Record(journal.Resize, journal.RunID{1}, &engine.WindowFact{ID: fmt.Sprint(a.IntN(9)), Path: []string{"", "map", "x1", "map/x1[0]", "nope"}[a.IntN(5)], Window: []int{0, 1, 7, 1 << 20, 1<<32 - 1}[a.IntN(5)]}))
	}
}

// play treats a run badly, then lets it go on well, then cancels it: it ends, and leaves nothing.
func (a *attack) play(def *lang.Definition) {
	a.t.Helper()
	a.fold(claimRecord(1))
	a.fold(defineRecord(def))
	a.fold(startRecord(1, def, a.value()))
	for range a.IntN(25) {
		if len(a.ends) == 0 {
			a.do()
		}
	}
	if a.IntN(2) == 0 {
		a.fold(engine.Record(journal.Cancel, journal.RunID{1}, &engine.CancelFact{}))
	}
	for i := 0; len(a.ends) == 0; i++ {
		if i == 5000 {
			a.t.Fatalf("cancelled, it goes on for ever\n%s", a.doc)
		}
		switch {
		case i == 200:
			a.fold(engine.Record(journal.Cancel, journal.RunID{1}, &engine.CancelFact{Reason: "enough"}))
		case len(a.open) > 0:
			a.complete(a.open[0].N, lang.Success(lang.Null))
		case a.pay(), a.fire():
		case i < 200:
			a.signal()
		default:
			st, _ := a.state.Status(journal.RunID{1}, 100)
			a.t.Fatalf("cancelled, it does not end, and waits for nothing: %+v\n%s", st, a.doc)
		}
	}
	a.restart()
	for len(a.open)+len(a.told) > 0 {
		all := slices.Concat(a.open, a.told)
		a.open, a.told = nil, nil
		for _, inv := range all {
			a.fold(engine.Record(journal.Accepted, journal.RunID{1}, &engine.AcceptedFact{Numbers: []uint32{inv.N}}))
		}
	}
	if st := a.state.Stats(); len(a.ends) != 1 || st.Runs+st.Invocations+st.Timers+st.Open+st.Bytes != 0 {
		a.t.Fatalf("it ended %d times, and left %+v\n%s", len(a.ends), st, a.doc)
	}
}

// hostileForms are an example as it stands, and with hostile expressions in place of all of its own, or of one.
func hostileForms(r *rand.Rand, example string) []string {
	forms := []string{example}
	at := inExpression.FindAllStringIndex(example, -1)
	for range min(2*len(at), 6) {
		wrong := "${ " + hostileExpressions[r.IntN(len(hostileExpressions))] + " }"
		x := at[r.IntN(len(at))]
		forms = append(forms, inExpression.ReplaceAllLiteralString(example, wrong), example[:x[0]]+wrong+example[x[1]:])
	}
	return forms
}

// hostileDocument has an example as the flow ex, with all functions and triggers that it may name, and a flow around it.
func hostileDocument(flow, example string) string {
	var b strings.Builder
	b.WriteString("version: 1\nfunctions:\n")
	names := words.FindAllString(example+" f", -1)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if name != "true" && name != "false" && name != "null" {
			fmt.Fprintf(&b, "  %s: { http: { url: \"http://127.0.0.1:1/f\" }, retry: { attempts: 2 } }\n", name)
		}
	}
	b.WriteString("flows:\n  ex:\n    " + strings.ReplaceAll(strings.Trim(example, "\n"), "\n", "\n    ") + "\n  review: { function: f }\n  charge-card: { function: f }\n")
	b.WriteString("triggers:\n  t: { flow: " + flow + " }\n")
	for _, m := range startsRun.FindAllStringSubmatch(example, 1) {
		fmt.Fprintf(&b, "  %s: { flow: { pass: 1 } }\n", m[1])
	}
	return b.String()
}

// TestHostileRuns plays the examples of all policies with values, answers, records and moments that nobody would wish for. Each run ends once it is
// cancelled, leaves nothing, is saved and loaded as it is, and no policy panics, errs or is stuck. A failure prints its seed.
func TestHostileRuns(t *testing.T) {
	t.Parallel()
	for seed := range uint64(*attacks) {
		hostileRuns(t, seed+1)
	}
}

var attacks = flag.Int("attacks", 1, "how often each example of a policy is treated badly")

func hostileRuns(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	played, refused := 0, 0
	for _, p := range config.Reference(registry()) {
		if p.Kind != "policy" {
			continue
		}
		for _, example := range p.Examples {
			for _, form := range hostileForms(r, example) {
				doc := hostileDocument(around[r.IntN(len(around))], form)
				set, findings := config.Parse("t.yaml", []byte(doc), registry(), nil)
				if set == nil || set.Triggers["t"] == nil || slices.ContainsFunc(findings, func(f lang.Finding) bool { return !f.Warning }) {
					refused++
					continue
				}
				played++
				a := &attack{Rand: r, t: t, doc: fmt.Sprintf("seed %d, %s\n%s", seed, p.Name, doc), at: time.Unix(1_900_000_000, 0)}
				a.state = engine.New(registry(), a.seen)
				a.play(set.Triggers["t"].Definition)
				if t.Failed() {
					return
				}
			}
		}
	}
	if played < 2*refused {
		t.Errorf("seed %d: %d runs, and lint refused %d documents: too many to learn from", seed, played, refused)
	}
}
