package engine_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A golden is a journal that a release wrote, a snapshot of its middle, and what followed from the records: what every later release has to make of them.
// -rewrite writes those of the present level anew, which is right only before it is released.
type golden struct{ level int }

func (g golden) file(ext string) string {
	return filepath.Join("testdata", "golden", fmt.Sprintf("level-%d.%s", g.level, ext))
}

func TestGoldens(t *testing.T) {
	t.Parallel()
	if f := flag.Lookup("rewrite"); f != nil && f.Value.String() == "true" {
		golden{journal.Level}.write(t)
	}
	for level := journal.Oldest; level <= journal.Level; level++ {
		golden{level}.replay(t)
	}
}

// play makes a journal in which every policy of the fuzz targets' document comes to an end, by way of failures, retries, timers and signals.
func (g golden) play(t *testing.T) []journal.Record {
	t.Helper()
	base := fuzzBase()
	log, s, out := base.log, engine.New(registry(), nil), engine.Effects{}
	var open []*engine.Invocation
	fold := func(rec *journal.Record) {
		if _, err := s.Fold(rec, &out); err != nil {
			t.Fatal(err)
		}
		open = append(open, out.Send...)
	}
	for i := range log {
		fold(&log[i])
	}
	at := log[len(log)-1].Time
	add := func(rec journal.Record) {
		if row, _ := journal.Of(rec.Kind); row.Fenced {
			rec.Epoch = s.Epoch()
		}
		at = at.Add(time.Second)
		rec.Offset, rec.Time = int64(len(log)), at
		log = append(log, rec)
		fold(&rec)
	}
	s.List(&engine.Listing{Limit: 100, Want: func(x *engine.Summary) bool {
		defer add(engine.Record(journal.Signal, x.Run, &engine.SignalFact{Source: "/golden", ID: "1", Name: "go", Data: lang.Of("now")}))
		return true
	}}, 100)
	for n := 0; s.Stats().Runs > 0 && n < 1000; n++ {
		if len(open) == 0 {
			due, ok := s.NextDue()
			if !ok {
				t.Fatal("nothing is under way, and runs are open")
			}
			at = due
			for _, d := range s.Due(due, 100) {
				add(engine.Record(journal.Fired, d.Run, &engine.FiredFact{Timer: d.Timer}))
			}
			continue
		}
		inv := open[0]
		open = open[1:]
		o := lang.Success(lang.Of(map[string]int{"n": int(inv.N)}))
		if n%4 == 1 {
			o = lang.Failure(lang.Failf(lang.ClassFunction, "odd", "the answer to %d", inv.N))
		}
		if inv.Purpose == engine.Call {
			add(engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: o}))
		} else {
			add(engine.Record(journal.Accepted, inv.Run, &engine.NumbersFact{Numbers: []uint32{inv.N}}))
		}
	}
	return log
}

func (g golden) write(t *testing.T) {
	t.Helper()
	log := g.play(t)
	var b []byte
	for i := range log {
		rec := log[i].Append(nil)
		b = append(binary.AppendUvarint(b, uint64(len(rec))), rec...)
	}
	trace, snapshot := g.fold(t, log, nil, len(log)/2)
	for ext, text := range map[string][]byte{"journal": b, "snapshot": snapshot, "trace": []byte(trace)} {
		if err := os.MkdirAll(filepath.Dir(g.file(ext)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(g.file(ext), text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// fold folds records, behind a snapshot when there is one, and returns what followed from each, with a snapshot of the state after so many.
func (g golden) fold(t *testing.T, log []journal.Record, from []byte, middle int) (string, []byte) {
	t.Helper()
	s, out := engine.New(registry(), nil), engine.Effects{}
	if from != nil {
		if err := s.Load(bytes.NewReader(from)); err != nil {
			t.Fatalf("level %d: %v", g.level, err)
		}
	}
	var trace strings.Builder
	var snapshot []byte
	for i := range log {
		if i == middle {
			snapshot = savedBytes(t, s)
		}
		reason, err := s.Fold(&log[i], &out)
		if err != nil {
			t.Fatalf("level %d: record %d: %v", g.level, log[i].Offset, err)
		}
		fmt.Fprintf(&trace, "%s %s %s\n", log[i].Kind, log[i].Run, reason)
		for _, inv := range out.Send {
			fmt.Fprintf(&trace, "  send %s %s %d %s %s\n", inv.ID(), inv.Function, inv.Attempt, inv.IdempotencyKey(), inv.Input)
		}
		for _, e := range out.Ended {
			fmt.Fprintf(&trace, "  ended %s %s %s\n", e.Run, e.EventType, e.Data)
		}
	}
	return trace.String(), snapshot
}

func (g golden) replay(t *testing.T) {
	t.Helper()
	read := func(ext string) []byte {
		b, err := os.ReadFile(g.file(ext))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var log []journal.Record
	for b := read("journal"); len(b) > 0; {
		size, n := binary.Uvarint(b)
		rec, err := journal.DecodeRecord(b[n : n+int(size)])
		if err != nil {
			t.Fatal(err)
		}
		rec.Offset = int64(len(log))
		log = append(log, rec)
		b = b[n+int(size):]
	}
	want := string(read("trace"))
	if got, _ := g.fold(t, log, nil, -1); got != want {
		t.Errorf("level %d: the journal folds to something else:\n%s", g.level, firstDifference(got, want))
	}
	middle := len(log) / 2
	got, _ := g.fold(t, log[middle:], read("snapshot"), -1)
	if !strings.HasSuffix(want, got) || strings.Count(got, "ended") < 3 {
		t.Errorf("level %d: behind the snapshot the journal folds to something else:\n%s", g.level, got)
	}
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return fmt.Sprintf("line %d: %s", i+1, a[i])
		}
	}
	return "it is shorter"
}
