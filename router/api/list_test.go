package api

import (
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// line is one of a run; of no time it has not ended.
func line(run byte, state string, redrives uint32, ended int64) (journal.RunID, RunLine) {
	id := journal.RunID{15: run}
	l := RunLine{Run: id.String(), State: state, Started: time.Unix(1, 0), Redrives: redrives}
	if at := time.Unix(ended, 0); ended > 0 {
		l.Ended = &at
	}
	return id, l
}

// TestRunsOfTwoRouters: a run that both know of counts once, one that is open again is not listed as it had ended, whatever is asked for.
func TestRunsOfTwoRouters(t *testing.T) {
	t.Parallel()
	q := &runQuery{sort: byStarted, limit: 10, state: "failed"}
	ours := &runsFound{ended: make(runSet), reopened: make(runSet)}
	for _, run := range []byte{1, 2, 3} { // All failed here; since then 2 and 3 have moved.
		id, l := line(run, "failed", 0, 5)
		ours.lines = append(ours.lines, ranked{q.place(&l, id), l})
		ours.ended[half(id)] = true
	}
	third, l3 := line(3, "failed", 0, 5) // It is folded again there.
	fourth, l4 := line(4, "failed", 0, 6)
	second, _ := line(2, "running", 1, 0) // It was redriven there, and is no failed run.
	theirs := &runsFound{ended: runSet{half(third): true, half(fourth): true}, reopened: runSet{half(second): true}}
	said := &RunList{Runs: []RunLine{l3, l4}, Total: 2, Ended: theirs.ended.bytes(), Reopened: theirs.reopened.bytes()}
	ours.join(q, said)
	ours.drop()
	got := ours.part(q, false)
	if got.Total != 3 || len(got.Runs) != 3 || got.Next != "" {
		t.Fatalf("%+v", got)
	}
	for _, l := range got.Runs {
		if l.Run == second.String() {
			t.Errorf("a run that is open again is listed as %s", l.State)
		}
	}
}

// TestLaterLifeCounts: of two lines of a run that of the later life counts, and of one life its end.
func TestLaterLifeCounts(t *testing.T) {
	t.Parallel()
	q := &runQuery{sort: byStarted, limit: 10}
	_, first := line(1, "failed", 0, 5)
	_, second := line(1, "running", 1, 0)
	_, end := line(1, "succeeded", 1, 9)
	for _, x := range []struct {
		a, b RunLine
		want string
	}{{first, second, "running"}, {second, first, "running"}, {second, end, "succeeded"}, {end, second, "succeeded"}, {first, end, "succeeded"}} {
		id := journal.RunID{15: 1}
		f := &runsFound{lines: []ranked{{q.place(&x.a, id), x.a}}, ended: make(runSet), reopened: make(runSet)}
		f.join(q, &RunList{Runs: []RunLine{x.b}})
		if got := f.part(q, false); len(got.Runs) != 1 || got.Runs[0].State != x.want {
			t.Errorf("%+v", got)
		}
	}
}

// TestTextOfInput: what came with an event is found, of runs that failed too.
func TestTextOfInput(t *testing.T) {
	t.Parallel()
	input := value(t, `{"colour": "Mauve"}`)
	q := &runQuery{text: "mauve"}
	failed := &engine.Ending{Error: failure, Data: value(t, `{"error": {}, "input": {"colour": "Mauve"}}`)}
	if !q.says(&engine.Ending{Input: &input}) || !q.says(failed) || q.says(&engine.Ending{}) {
		t.Error("an input is not found, or what is none is")
	}
}

var failure = lang.Failf(lang.ClassFunction, "boom", "it broke")

func value(t *testing.T, text string) lang.Value {
	t.Helper()
	v, err := lang.ParseValue([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}
