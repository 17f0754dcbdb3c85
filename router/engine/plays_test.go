package engine_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/engine/enginetest"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/schedulers"
	"github.com/onward-router/onward/schedulers/builtin"
	sinks "github.com/onward-router/onward/sinks/all"
)

func registry() *plugin.Registry {
	r := new(plugin.Registry)
	builtin.Register(r)
	sinks.Register(r)
	schedulers.Register[odd, oddState](r, "odd", 1, "A policy that does what it is told to, right or wrong.")
	schedulers.Register[team, teamState](r, "team", 1, "Runs one step, then several side by side, then one.")
	schedulers.Register[tidy, struct{}](r, "tidy", 1, "Runs a step, and another one after it in any case.")
	schedulers.Register[asker, struct{}](r, "asker", 1, "Waits for a signal.")
	schedulers.Register[racer, struct{}](r, "racer", 1, "Runs steps side by side and yields the first success.")
	schedulers.Register[picker, pickerState](r, "picker", 1, "Waits for two of several signals.")
	return r
}

// An odd policy does what the play says, to see what the engine does with it.
type odd struct {
	Does string    `doc:"does,value"`
	Do   lang.Step `doc:"do"`
}

type oddState struct{ Cancelled bool }

func (p *odd) Next(f schedulers.Frame, _ *oddState, ev schedulers.Event) error {
	switch p.Does {
	case "panic":
		panic("out of ideas")
	case "err":
		return fmt.Errorf("it cannot go on")
	case "err after asking":
		f.Spawn(0, 1)
		return fmt.Errorf("what it asked for does not count")
	case "nothing":
	case "gap":
		return fmt.Errorf("spawn: children 1 to 2 of slot 0, which has 0") // What no request can ask for any more, in the words that the golden journals have.
	case "bad slot":
		f.Window(7, 1)
	case "twice":
		f.Succeed(lang.Text("first"))
		f.Fail(lang.Failf(lang.ClassFunction, "second", "it does not count"))
	case "cancel":
		// Opens three, cancels the one in the middle while it runs, and the last before it opens.
		switch ev.Kind {
		case schedulers.Started:
			f.Window(0, 2)
			f.Spawn(0, 3)
			f.Cancel(0, 2)
			f.Cancel(0, 1)
		case schedulers.Done:
			f.Succeed(f.Collect(0))
		}
	case "await and go":
		// Asks for a signal and ends in one go: it is never told.
		f.Await("go")
		f.Succeed(lang.Null)
	case "await two":
		switch ev.Kind {
		case schedulers.Started:
			f.Await("go")
			f.Await("go")
		case schedulers.Signalled:
			f.Succeed(ev.Outcome.Value)
		}
	case "timer":
		switch ev.Kind {
		case schedulers.Started:
			f.After("a", time.Hour)
			f.After("a", time.Second) // Anew.
		case schedulers.Fired:
			f.Succeed(lang.Text(ev.Name))
		}
	}
	return nil
}

// A stage is one play: records in, the whole trace out.
type stage struct {
	t     *testing.T
	reg   *plugin.Registry
	state *engine.State
	out   engine.Effects
	trace strings.Builder
	begin time.Time
	now   time.Time
	epoch uint64
	log   []journal.Record
	defs  map[string]*lang.Definition
	runs  map[string]journal.RunID
	names map[journal.RunID]string

	calls  map[string]*engine.Invocation
	past   map[journal.RunID][]engine.Past
	ends   map[journal.RunID]engine.Ended
	starts map[journal.RunID]engine.StartFact
	steps  *enginetest.Steps
}

// TestPlays plays testdata/*.txt: each file shows a rule. -rewrite takes the traces as they are now.
func TestPlays(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d plays, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			begin := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
			s := &stage{
				t: t, reg: registry(), begin: begin, now: begin, epoch: 1, defs: make(map[string]*lang.Definition),
				runs: make(map[string]journal.RunID), names: make(map[journal.RunID]string),
				calls: make(map[string]*engine.Invocation), past: make(map[journal.RunID][]engine.Past), ends: make(map[journal.RunID]engine.Ended), starts: make(map[journal.RunID]engine.StartFact), steps: enginetest.NewSteps(),
			}
			s.state = engine.New(s.reg, s.observe)
			datadriven.RunTest(t, file, s.do)
			s.laws()
			for _, wrong := range s.steps.Faults() {
				t.Error(wrong)
			}
			if *golden {
				keep(t, strings.TrimSuffix(filepath.Base(file), ".txt"), s.log)
			}
		})
	}
}

// do carries out one verb and returns its trace.
func (s *stage) do(t *testing.T, d *datadriven.TestData) string {
	s.trace.Reset()
	verbs := map[string]func(*datadriven.TestData){
		"define": s.define, "claim": s.claim, "start": s.start, "complete": s.complete, "accepted": s.accepted, "tried": s.numbers(journal.Tried),
		"timed-out": s.timedOut, "gave-up": s.gaveUp, "fired": s.fired, "due": s.due, "signal": s.signal, "cancel": s.cancel,
		"matched": s.matched, "skip": s.skip, "release": s.release, "restart": s.restart, "outstanding": s.outstanding, "raw": s.raw, "wait": s.wait, "owing": s.owing, "more": s.more,
		"stats": s.stats, "status": s.status, "tries": s.tries, "pause": s.turn(journal.Pause), "resume": s.turn(journal.Resume), "window": s.window,
		"redrive": s.redrive,
	}
	verb, ok := verbs[d.Cmd]
	if !ok {
		t.Fatalf("%s: unknown verb %q", d.Pos, d.Cmd)
	}
	verb(d)
	return s.trace.String()
}

func (s *stage) say(format string, a ...any) { fmt.Fprintf(&s.trace, format+"\n", a...) }

// text returns an argument; without it the fallback.
func (s *stage) text(d *datadriven.TestData, key, fallback string) string {
	if d.HasArg(key) {
		d.ScanArgs(s.t, key, &fallback)
	}
	return fallback
}

func (s *stage) number(d *datadriven.TestData, key string, fallback int) int {
	if d.HasArg(key) {
		d.ScanArgs(s.t, key, &fallback)
	}
	return fallback
}

func (s *stage) value(d *datadriven.TestData) lang.Value {
	if strings.TrimSpace(d.Input) == "" {
		return lang.Null
	}
	v, err := lang.ParseValue([]byte(d.Input))
	if err != nil {
		d.Fatalf(s.t, "%v", err)
	}
	return v
}

// run gives the letters of a play ids.
func (s *stage) run(d *datadriven.TestData) journal.RunID {
	name := s.text(d, "run", "a")
	id, known := s.runs[name]
	if !known {
		id = journal.RunID{byte(len(s.runs) + 1)}
		s.runs[name], s.names[id] = id, name
	}
	return id
}

// fold puts a record into the log, a second after the one before, and traces what it did.
func (s *stage) fold(d *datadriven.TestData, rec journal.Record) {
	s.now = s.now.Add(time.Second)
	rec.Time, rec.Offset = s.now, int64(len(s.log))
	if row, _ := journal.Of(rec.Kind); row.Fenced {
		rec.Epoch = uint64(s.number(d, "epoch", int(s.epoch)))
	}
	if ago := s.text(d, "ago", ""); ago != "" {
		back, err := time.ParseDuration(ago)
		if err != nil {
			d.Fatalf(s.t, "%v", err)
		}
		rec.Time = rec.Time.Add(-back)
	}
	s.say("%s %s", s.at(), rec.Kind)
	reason, err := s.state.Fold(&rec, &s.out)
	if err != nil {
		s.say("  stops: %v", err)
		return
	}
	s.steps.See(&s.out)
	s.log = append(s.log, rec)
	if reason != engine.Applied {
		s.say("  %s", reason)
	}
	if m := s.out.Met; !m.Run.IsZero() {
		s.say("  met %s", strings.TrimSpace(s.names[m.Run]+" "+m.Name))
	}
	for _, m := range s.out.Missed {
		s.say("  missed key %s (full: %t): %s", m.Key, m.Full, m.Why)
	}
	for _, h := range s.out.Halts {
		s.say("  hold run %s %t, open calls %d", s.names[h.Run], h.Paused, h.Calls)
	}
	for _, inv := range s.out.Send {
		s.sent("send", inv)
		s.calls[fmt.Sprint(inv.Run, inv.N)] = inv
	}
	for _, inv := range s.out.Stop {
		s.say("  stop %s", s.id(inv))
	}
	if w := s.out.Twins; w != (engine.Twins{}) {
		s.say("  twins %d started %d won %d lost", w.Started, w.Won, w.Lost)
	}
	for _, dead := range s.out.Dead {
		s.say("  dead %s n=%d %s %s: %s", s.id(dead.Invocation), dead.Invocation.N, dead.Invocation.Path, dead.Invocation.Input, s.short(dead.Err.Error()))
	}
	for _, digest := range s.out.Need {
		s.say("  need %s", s.defName(digest))
	}
	for _, e := range s.out.Ended {
		s.ends[e.Run] = e
		s.say("  ended %s %s %s", s.names[e.Run], e.EventType, e.Data)
	}
	if s.out.Claimed != nil {
		s.say("  claimed by %s", s.out.Claimed)
	}
}

func (s *stage) at() string { return fmt.Sprintf("%6s", s.now.Sub(s.begin)) }

// id is an invocation's with the run's letter for its id.
func (s *stage) id(inv *engine.Invocation) string {
	return s.names[inv.Run] + strings.TrimPrefix(inv.ID(), inv.Run.String())
}

func (s *stage) short(text string) string {
	for id, name := range s.names {
		text = strings.ReplaceAll(text, id.String(), name)
	}
	return text
}

func (s *stage) sent(verb string, inv *engine.Invocation) {
	to := inv.Function
	if inv.ToTrigger != "" {
		to = "trigger " + inv.ToTrigger
	}
	id := s.id(inv)
	if inv.Purpose != engine.Call {
		id += fmt.Sprintf(" n=%d", inv.N)
	}
	if inv.Purpose == engine.Notify {
		to = inv.Path + " " + to
	}
	line := fmt.Sprintf("  %s %s %s %s", verb, id, inv.Purpose, to)
	line = strings.TrimRight(line, " ") + " " + inv.Input.JSON()
	if inv.Attempt > 1 {
		line += fmt.Sprintf(" attempt=%d", inv.Attempt)
	}
	if inv.Cause != "" {
		line += " cause=" + s.short(inv.Cause)
	}
	if inv.Purpose == engine.Call {
		line += " key=" + s.short(inv.IdempotencyKey())
	}
	if inv.Timeout > 0 {
		line += " timeout=" + inv.Timeout.String()
	}
	if inv.Heartbeat > 0 {
		line += " heartbeat=" + inv.Heartbeat.String()
	}
	if limit := inv.Expires.Sub(s.now); !inv.Expires.IsZero() && limit < time.Hour {
		line += " expires in " + limit.String()
	}
	if !inv.Attributes.IsNull() {
		line += " attributes=" + inv.Attributes.JSON()
	}
	if rec, ok := inv.Answer(); ok {
		f, err := engine.DecodeCompletion(rec.Payload)
		line += fmt.Sprintf(" answers %s n=%d %s %v %v", s.names[rec.Run], f.N, f.Outcome.Verdict, f.Outcome.Value, err)
	} else if inv.Starts != nil {
		line += " starts=" + string(inv.Starts)
	}
	if usual := engine.LimitsOf(journal.Level).Fuel*7/8 - 1; inv.Purpose != engine.Call && inv.Fuel != usual {
		line += fmt.Sprintf(" fuel=%d", inv.Fuel)
	}
	if past := inv.Past(); !past.Accepted.IsZero() {
		line += " accepted"
		if past.Ticket != "" {
			line += " ticket=" + past.Ticket
		}
	}
	if past := inv.Past(); !past.Tried.IsZero() {
		line += fmt.Sprintf(" tried=%s", past.Tried.Sub(s.begin))
	}
	s.say("%s", line)
}

func (s *stage) observe(c engine.Change) {
	s.remember(c)
	line := fmt.Sprintf("  %s", c.Kind)
	if c.Kind == engine.Refused || c.Kind == engine.Invoked || c.Kind == engine.Answered || c.Kind == engine.Delivered || c.Kind == engine.Notified && c.Outcome.Err == nil {
		return // The trace says it by its reason, by send, by complete, by accepted.
	}
	if c.Path != "" {
		line += " " + c.Path
	}
	if c.Text != "" {
		line += " " + c.Text
	}
	if c.Outcome.Verdict != 0 {
		line += " " + c.Outcome.Verdict.String()
		if c.Outcome.Err != nil {
			line += fmt.Sprintf(" %s (%s)", c.Outcome.Err, c.Outcome.Err.Class)
		} else if c.Outcome.Verdict == lang.Succeeded {
			line += " " + c.Outcome.Value.JSON()
		}
	}
	if c.Wait > 0 {
		line += " in " + c.Wait.Round(time.Millisecond).String()
	}
	s.say("%s", line)
}

func (s *stage) defName(digest lang.Digest) string {
	for name, def := range s.defs {
		if def.Digest() == digest {
			return name
		}
	}
	return "?"
}

// define reads a document and folds the definitions of its triggers; with only=parse it folds none.
func (s *stage) define(d *datadriven.TestData) {
	set, findings := config.Parse("play.yaml", []byte("version: 1\n"+d.Input), s.reg, nil)
	for _, f := range findings {
		d.Fatalf(s.t, "%s", f)
	}
	for _, name := range set.TriggerNames() {
		s.defs[name] = set.Triggers[name].Definition
		if s.text(d, "only", "") != "parse" {
			s.fold(d, journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(s.defs[name])})
		}
	}
}

func (s *stage) claim(d *datadriven.TestData) {
	nonce := s.text(d, "by", "me")
	level := s.number(d, "level", journal.Level)
	rec := engine.Record(journal.Claim, journal.RunID{}, &engine.ClaimFact{Level: uint8(level), Nonce: []byte(nonce)})
	rec.Epoch = uint64(s.number(d, "epoch", int(s.state.Epoch()+1)))
	s.fold(d, rec)
	s.epoch = s.state.Epoch()
}

func (s *stage) start(d *datadriven.TestData) {
	name := s.text(d, "trigger", "t")
	def := s.defs[name]
	if def == nil {
		d.Fatalf(s.t, "no trigger %q", name)
	}
	run := s.run(d)
	f := engine.StartFact{
		Trigger: name, Digest: def.Digest(), Event: lang.Of(map[string]string{"id": "event-" + s.names[run], "source": "/play", "type": "play"}), Data: s.value(d),
		Spent: s.number(d, "spent", 0), Key: s.text(d, "key", ""), Overlap: engine.Overlap(s.number(d, "overlap", 0)),
	}
	if d.HasArg("await") {
		f.Names = strings.Split(s.text(d, "await", ""), "|")
	}
	if def.Await != nil && f.Names == nil {
		f.Names = []string{""}
	}
	if parent, rest, ok := strings.Cut(s.text(d, "parent", ""), "~"); ok {
		f.Parent = s.runs[parent].String() + "~" + rest
	}
	rec := engine.Record(journal.Start, run, &f)
	rec.Tenant = "default"
	s.starts[run] = f
	s.fold(d, rec)
}

// status tells where a run stands that may wait for others of its key.
func (s *stage) status(d *datadriven.TestData) {
	st, ok := s.state.Status(s.run(d), 1)
	if !ok {
		s.say("not in memory")
		return
	}
	s.say("%s", st.State)
	if x := st.Round; x != nil {
		s.say("  round of %s, open: %t, %d events, arrived %q, missing %q, then %s, %d kept", x.Key, x.Open, x.Events, x.Arrived, x.Missing, x.Then, x.Kept)
	}
	if q := st.Queue; q != nil {
		for _, id := range q.Work {
			s.say("  waits for run %s of key %s, limit %d, %d before it", s.names[id], q.Key, q.Limit, q.Before)
		}
	}
}

// complete brings an outcome: the input is its value, the state with continue, or the data of error=TYPE.
func (s *stage) complete(d *datadriven.TestData) {
	o := lang.Success(s.value(d))
	if d.HasArg("continue") {
		o.Verdict = lang.Continue
	}
	if kind := s.text(d, "error", ""); kind != "" {
		class := lang.ClassFunction
		if err := class.UnmarshalText([]byte(s.text(d, "class", "function"))); err != nil {
			d.Fatalf(s.t, "%v", err)
		}
		o = lang.Failure(&lang.Error{Type: kind, Message: "it broke", Class: class, Data: s.value(d)})
	}
	s.fold(d, engine.Record(journal.Completion, s.run(d), &engine.CompletionFact{N: uint32(s.number(d, "n", 0)), Outcome: o, Cause: s.text(d, "cause", "")}))
}

// accepted has the tickets of its numbers as ticket=(a,b); - is none.
func (s *stage) accepted(d *datadriven.TestData) {
	var f engine.AcceptedFact
	for _, arg := range d.CmdArgs {
		for i, text := range arg.Vals {
			switch arg.Key {
			case "n":
				var n int
				arg.Scan(s.t, i, &n)
				f.Numbers = append(f.Numbers, uint32(n))
			case "ticket":
				f.Tickets = append(f.Tickets, strings.TrimPrefix(text, "-"))
			}
		}
	}
	s.fold(d, engine.Record(journal.Accepted, s.run(d), &f))
}

func (s *stage) numbers(kind journal.Kind) func(*datadriven.TestData) {
	return func(d *datadriven.TestData) {
		var f engine.NumbersFact
		for _, arg := range d.CmdArgs {
			if arg.Key == "n" {
				for i := range arg.Vals {
					var n int
					arg.Scan(s.t, i, &n)
					f.Numbers = append(f.Numbers, uint32(n))
				}
			}
		}
		s.fold(d, engine.Record(kind, s.run(d), &f))
	}
}

func (s *stage) gaveUp(d *datadriven.TestData) {
	e := lang.Failf(lang.ClassPlatform, s.text(d, "error", "undelivered"), "not delivered in time")
	s.fold(d, engine.Record(journal.GaveUp, s.run(d), &engine.GaveUpFact{N: uint32(s.number(d, "n", 0)), Err: e}))
}

func (s *stage) fired(d *datadriven.TestData) {
	s.fold(d, engine.Record(journal.Fired, s.run(d), &engine.FiredFact{Timer: uint32(s.number(d, "timer", 0))}))
}

// due lets time pass to the next timer and fires all that are due then.
func (s *stage) due(d *datadriven.TestData) {
	at, ok := s.state.NextDue()
	if !ok {
		s.say("no timer is set")
		return
	}
	if at.After(s.now) {
		s.now = at.Add(-time.Second) // Which fold gives back.
	}
	for _, due := range s.state.Due(at, 100) {
		s.fold(d, engine.Record(journal.Fired, due.Run, &engine.FiredFact{Timer: due.Timer}))
	}
}

// owing lets the runs that owe pay a part of it.
func (s *stage) owing(d *datadriven.TestData) {
	for _, o := range s.state.Owing(100) {
		s.fold(d, engine.Record(journal.More, o.Run, &engine.MoreFact{Part: o.Part}))
	}
}

func (s *stage) more(d *datadriven.TestData) {
	s.fold(d, engine.Record(journal.More, s.run(d), &engine.MoreFact{Part: uint32(s.number(d, "part", 1))}))
}

func (s *stage) wait(d *datadriven.TestData) {
	for _, arg := range d.CmdArgs {
		pause, err := time.ParseDuration(arg.Key)
		if err != nil {
			d.Fatalf(s.t, "%v", err)
		}
		s.now = s.now.Add(pause)
	}
}

func (s *stage) signal(d *datadriven.TestData) {
	name := s.text(d, "name", "go")
	s.fold(d, engine.Record(journal.Signal, s.run(d), &engine.SignalFact{Source: s.text(d, "source", "/play"), ID: s.text(d, "id", name), Name: name, Data: s.value(d)}))
}

func (s *stage) cancel(d *datadriven.TestData) {
	s.fold(d, engine.Record(journal.Cancel, s.run(d), &engine.CancelFact{Reason: s.text(d, "reason", ""), Ahead: d.HasArg("ahead"), ID: s.text(d, "id", "")}))
}

func (s *stage) timedOut(d *datadriven.TestData) {
	s.fold(d, engine.Record(journal.TimedOut, s.run(d), &engine.TimedOutFact{Numbers: []uint32{uint32(s.number(d, "n", 0))}, Silent: d.HasArg("silent")}))
}

func (s *stage) turn(kind journal.Kind) func(*datadriven.TestData) {
	return func(d *datadriven.TestData) {
		s.fold(d, engine.Record(kind, s.run(d), &engine.PauseFact{ID: s.text(d, "id", kind.String()), By: s.text(d, "by", ""), Reason: s.text(d, "reason", "")}))
	}
}

func (s *stage) window(d *datadriven.TestData) {
	f := engine.WindowFact{ID: s.text(d, "id", "1"), Path: s.text(d, "path", ""), Window: s.number(d, "n", 0)}
	s.fold(d, engine.Record(journal.Resize, s.run(d), &f))
}

func (s *stage) matched(d *datadriven.TestData) {
	s.fold(d, engine.Record(journal.Matched, s.run(d), &engine.MatchedFact{N: uint32(s.number(d, "n", 0)), Count: s.number(d, "count", 1), Starts: []byte(s.text(d, "starts", "x"))}))
}

func (s *stage) skip(d *datadriven.TestData) {
	run := journal.RunID{}
	if d.HasArg("run") {
		run = s.run(d)
	}
	f := engine.SkipFact{Offset: int64(s.number(d, "offset", 0)), Reason: "the fold died twice"}
	if parent := s.text(d, "parent", ""); parent != "" {
		caller := s.calls[fmt.Sprint(s.runs[parent], s.number(d, "n", 0))]
		start := engine.Record(journal.Start, run, &engine.StartFact{Trigger: caller.ToTrigger, Digest: s.defs[caller.ToTrigger].Digest(), Event: lang.Text("bad"), Data: lang.Text("bad"), Parent: caller.ID()})
		f.Start = engine.SkippedStart(&start)
	}
	s.fold(d, engine.Record(journal.Skip, run, &f))
}

func (s *stage) release(d *datadriven.TestData) {
	s.fold(d, journal.Record{Kind: journal.Release, Level: journal.Level})
}

// raw folds a record of any kind, level and payload.
func (s *stage) raw(d *datadriven.TestData) {
	kind, ok := journal.KindNamed(s.text(d, "kind", ""))
	if !ok {
		kind = journal.Kind(s.number(d, "number", 0))
	}
	payload, err := hex.DecodeString(strings.TrimSpace(d.Input))
	if err != nil {
		d.Fatalf(s.t, "%v", err)
	}
	s.fold(d, journal.Record{Kind: kind, Level: uint8(s.number(d, "level", journal.Level)), Run: s.run(d), Payload: payload})
}

// restart goes on from a snapshot, which a loaded state saves again to the byte.
func (s *stage) restart(d *datadriven.TestData) {
	was, bytesKept := s.saved(s.state), s.state.Stats().Bytes
	s.state = engine.New(s.reg, s.observe)
	if err := s.state.Load(bytes.NewReader(was)); err != nil {
		d.Fatalf(s.t, "%v", err)
	}
	if !bytes.Equal(was, s.saved(s.state)) {
		d.Fatalf(s.t, "a loaded state saves other bytes")
	}
	if n := s.state.Stats().Bytes; n != bytesKept {
		d.Fatalf(s.t, "a loaded state keeps %d bytes, and kept %d", n, bytesKept)
	}
	s.outstanding(d)
}

func (s *stage) outstanding(*datadriven.TestData) {
	s.state.Paused(func(h engine.Halt) { s.say("  hold run %s %t", s.names[h.Run], h.Paused) })
	s.state.Outstanding(func(inv *engine.Invocation) { s.sent("outstanding", inv) })
	for _, digest := range s.state.Needed() {
		s.say("  need %s", s.defName(digest))
	}
}

func (s *stage) stats(*datadriven.TestData) {
	st := s.state.Stats()
	s.say("runs %d, waiting %d, invocations %d, timers %d, definitions %d, tombstones %d", st.Runs, st.Waiting, st.Invocations, st.Timers, st.Definitions, st.Tombstones)
}

func (s *stage) saved(state *engine.State) []byte {
	var b bytes.Buffer
	if err := state.Save(&b); err != nil {
		s.t.Fatal(err)
	}
	return b.Bytes()
}

// laws holds after every play: a replay gives the same bytes, and any record repeated later changes nothing.
func (s *stage) laws() {
	replay := engine.New(s.reg, nil)
	var out engine.Effects
	for i := range s.log {
		if _, err := replay.Fold(&s.log[i], &out); err != nil {
			s.t.Fatal(err)
		}
	}
	if !bytes.Equal(s.saved(replay), s.saved(s.state)) {
		s.t.Error("a replay differs from what was played")
	}
	was := s.saved(replay)
	for i := range s.log {
		again := s.log[i]
		again.Time = s.now
		reason, err := replay.Fold(&again, &out)
		if err != nil {
			s.t.Fatal(err)
		}
		if reason == engine.Applied && again.Kind != journal.Skip && again.Kind != journal.Release || len(out.Send)+len(out.Ended)+len(out.Stop) > 0 {
			s.t.Errorf("record %d, a %s, is %s when it is repeated", i, again.Kind, reason)
		}
	}
	if !bytes.Equal(s.saved(replay), was) {
		s.t.Error("repeated records changed the state")
	}
}
