package engine_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

var golden = flag.Bool("golden", false, "take the golden journal of this release anew from the plays; only before a release, never after it")

// goldenNow is the folder of the release that is being made. Those of former releases stay beside it as they are, and are replayed for ever.
const goldenNow = "testdata/golden/level-2"

// A piece is one golden journal: the records of a play as they lie in a journal, the snapshot in the middle, and the whole trace.
type piece struct {
	log      []journal.Record
	middle   int // records before the snapshot
	snapshot []byte
	trace    string
}

// TestGolden replays the journals of this release and of all before it: every record decodes, and does what it did then, to the letter; a snapshot of
// then loads, and what follows on it is the same. A change that makes this fail would change the results of runs under way: it needs a fold level, or a
// version of its policy.
func TestGolden(t *testing.T) {
	t.Parallel()
	if *golden {
		keep(t, "owed", owedLog(t))
		return
	}
	releases, err := filepath.Glob("testdata/golden/*")
	if err != nil || len(releases) == 0 {
		t.Fatalf("%v, %v", releases, err)
	}
	kinds := make(map[journal.Kind]bool)
	for _, dir := range releases {
		pieces, err := filepath.Glob(filepath.Join(dir, "*.journal"))
		if err != nil || len(pieces) < 15 {
			t.Fatalf("%s: %d pieces, %v", dir, len(pieces), err)
		}
		for _, name := range pieces {
			p := readPiece(t, strings.TrimSuffix(name, ".journal"))
			for _, rec := range p.log {
				kinds[rec.Kind] = true
			}
			t.Run(filepath.Base(dir)+"/"+strings.TrimSuffix(filepath.Base(name), ".journal"), func(t *testing.T) {
				t.Parallel()
				p.replay(t)
			})
		}
	}
	for _, row := range journal.Table {
		if !kinds[row.Kind] {
			t.Errorf("no golden journal has a %s record", row.Name)
		}
	}
}

// replay compares the whole trace, and the part of it after the snapshot. A snapshot of the format that is written now is the same to the byte: where it
// is not, its format has changed and needs another number.
func (p *piece) replay(t *testing.T) {
	whole := newTracer(t)
	for i := range p.log {
		if i == p.middle {
			if saved := savedBytes(t, whole.state); saved[0] == p.snapshot[0] && !bytes.Equal(saved, p.snapshot) {
				t.Error("the snapshot has other bytes: raise its format, or take the golden journal anew if it was never released")
			}
			fmt.Fprintln(&whole.text, middleMark)
		}
		whole.fold(&p.log[i])
	}
	if got := whole.text.String(); got != p.trace {
		t.Errorf("the trace differs:\n%s", differs(got, p.trace))
	}
	later := newTracer(t)
	if err := later.state.Load(bytes.NewReader(p.snapshot)); err != nil {
		t.Fatal(err)
	}
	for i := p.middle; i < len(p.log); i++ {
		later.fold(&p.log[i])
	}
	_, want, _ := strings.Cut(p.trace, middleMark+"\n")
	if got := later.text.String(); got != want {
		t.Errorf("the trace after the snapshot differs:\n%s", differs(got, want))
	}
	if !bytes.Equal(savedBytes(t, whole.state), savedBytes(t, later.state)) {
		t.Error("the state after the snapshot differs")
	}
}

const middleMark = "-- snapshot --"

// differs names the first line that is another.
func differs(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d is  %s\nand was     %s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, and there were %d", len(a), len(b))
}

// A tracer writes down all that folding does, in full.
type tracer struct {
	t     *testing.T
	state *engine.State
	out   engine.Effects
	lines []string // of the record that is being folded
	text  strings.Builder
}

func newTracer(t *testing.T) *tracer {
	r := &tracer{t: t}
	r.state = engine.New(registry(), r.change)
	return r
}

func (r *tracer) say(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// shown is how many lines of one record are written down; of more, the rest counts by its hash.
const shown = 100

func (r *tracer) write() {
	if n := len(r.lines) - shown; n > 0 {
		rest := strings.Join(r.lines[shown:], "\n")
		r.lines = append(r.lines[:shown], fmt.Sprintf("  and %d lines, %x", n, sha256.Sum256([]byte(rest))))
	}
	for _, line := range r.lines {
		fmt.Fprintln(&r.text, line)
	}
	r.lines = r.lines[:0]
}

func (r *tracer) change(c engine.Change) {
	r.say("  %s %s %q %d.%d %s %s %s", c.Run, c.Kind, c.Path, c.N, c.Attempt, outcomeText(c.Outcome), c.Wait, c.Text)
}

func outcomeText(o lang.Outcome) string {
	if o.Err != nil {
		return o.Verdict.String() + " " + o.Err.Value().JSON()
	}
	return o.Verdict.String() + " " + o.Value.JSON()
}

func (r *tracer) fold(rec *journal.Record) {
	reason, err := r.state.Fold(rec, &r.out)
	if err != nil {
		r.t.Fatalf("record %d, a %s: %v", rec.Offset, rec.Kind, err)
	}
	r.say("%d %s %s %s", rec.Offset, rec.Kind, rec.Run, reason)
	for _, h := range r.out.Halts {
		r.say("  hold %s %t %d", h.Run, h.Paused, h.Calls)
	}
	for _, inv := range r.out.Send {
		r.invocation("send", inv)
	}
	for _, inv := range r.out.Stop {
		r.say("  stop %s", inv.ID())
	}
	for _, d := range r.out.Need {
		r.say("  need %x", d)
	}
	for _, e := range r.out.Ended {
		r.say("  ended %s %s %s calls=%d", e.Run, e.EventType, e.Data.JSON(), e.Calls)
	}
	if at, ok := r.state.NextDue(); ok {
		r.say("  due %s", at.UTC().Format("15:04:05.000000000"))
	}
	r.write()
}

func (r *tracer) invocation(verb string, inv *engine.Invocation) {
	r.say("  %s %s %s %s%s %s attempt=%d key=%s cause=%s timeout=%s expires=%d starts=%s", verb, inv.ID(), inv.Purpose, inv.Function, inv.ToTrigger, inv.Input.JSON(),
		inv.Attempt, inv.IdempotencyKey(), inv.Cause, inv.Timeout, inv.Expires.UnixNano(), inv.Starts)
}

// readPiece reads NAME.journal (a record a line), NAME.snapshot and NAME.trace.
func readPiece(t *testing.T, name string) *piece {
	p := &piece{snapshot: readFile(t, name+".snapshot"), trace: string(readFile(t, name+".trace"))}
	for i, line := range strings.Split(strings.TrimSpace(string(readFile(t, name+".journal"))), "\n") {
		if line == middleMark {
			p.middle = i
			continue
		}
		b, err := hex.DecodeString(line)
		if err != nil {
			t.Fatalf("%s:%d: %v", name, i+1, err)
		}
		rec, err := journal.DecodeRecord(b)
		if err != nil {
			t.Fatalf("%s:%d: %v", name, i+1, err)
		}
		rec.Offset = int64(len(p.log))
		p.log = append(p.log, rec)
	}
	return p
}

func readFile(t *testing.T, name string) []byte {
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// keep writes records as a piece of the golden journal.
func keep(t *testing.T, name string, log []journal.Record) {
	r := newTracer(t)
	var b strings.Builder
	var snapshot []byte
	for i := range log {
		if i == len(log)/2 {
			snapshot = savedBytes(t, r.state)
			fmt.Fprintln(&r.text, middleMark)
			fmt.Fprintln(&b, middleMark)
		}
		r.fold(&log[i])
		fmt.Fprintf(&b, "%x\n", log[i].Append(nil))
	}
	for ext, content := range map[string][]byte{".journal": []byte(b.String()), ".snapshot": snapshot, ".trace": []byte(r.text.String())} {
		if err := os.WriteFile(filepath.Join(goldenNow, name+ext), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// owedLog are the records of a run whose map opens more than one record may: the play of it would be long.
func owedLog(t *testing.T) (log []journal.Record) {
	reg := registry()
	set, findings := config.Parse("owed.yaml", []byte(`version: 1
triggers: { t: { flow: { map: { items: "${ data }", results: count, do: { wait: 1h, when: "${ item > 4998 }" } } } } }
`), reg, nil)
	if len(findings) > 0 {
		t.Fatal(findings[0])
	}
	s := engine.New(reg, nil)
	var out engine.Effects
	fold := func(rec journal.Record) {
		rec.Tenant, rec.Offset, rec.Time = "default", int64(len(log)), time.Unix(1_900_000_000+int64(len(log)), 0).UTC()
		if _, err := s.Fold(&rec, &out); err != nil {
			t.Fatal(err)
		}
		log = append(log, rec)
	}
	claim := engine.Record(journal.Claim, journal.RunID{}, &engine.ClaimFact{Level: journal.Level, Nonce: []byte("me")})
	claim.Epoch = 1
	fold(claim)
	fold(journal.Record{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(set.Triggers["t"].Definition)})
	fold(engine.Record(journal.Start, journal.RunID{1}, &engine.StartFact{Trigger: "t", Digest: set.Triggers["t"].Digest, Event: lang.Of(map[string]string{"id": "owed"}), Data: lang.Of(5000)}))
	for owed := s.Owing(1); len(owed) > 0; owed = s.Owing(1) {
		more := engine.Record(journal.More, owed[0].Run, &engine.MoreFact{Part: owed[0].Part})
		more.Epoch = 1
		fold(more)
	}
	return log
}
