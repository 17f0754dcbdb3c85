package history_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/history"
	"github.com/onward-router/onward/router/journal"
)

// standing is what Became gives, by path; late has how many lie behind the mark.
func standing(t *testing.T, h *history.Endings, run journal.RunID, after, mark string) (at map[string]engine.StepState, late int, since bool) {
	t.Helper()
	at = make(map[string]engine.StepState)
	since, err := h.Became(run, after, mark, func(group []byte, index int, is engine.StepState, isLate bool) {
		path := string(group)
		if index >= 0 {
			path = fmt.Sprintf("%s[%d]", group, index)
		}
		if at[path] = is; isLate {
			late++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return at, late, since
}

// TestBecame: wide runs and many small ones, maps in maps, in any order, tried again and redriven: the last that is known of each step; the same from
// memory, from pages in the file, with and without their digests, after a restart, and what lies behind a mark.
func TestBecame(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"", t.TempDir()} {
		h := keep(t, dir)
		rnd := rand.New(rand.NewPCG(1, 2))
		runs, want := make([]journal.RunID, 40), make(map[journal.RunID]map[string]engine.StepState)
		for i := range runs {
			runs[i] = journal.RunID{byte(i + 1), 12: byte(i)}
			want[runs[i]] = make(map[string]engine.StepState)
		}
		var mark string
		changed := make(map[string]engine.StepState)
		const n = 20_000
		for i := range n {
			run := runs[0]
			if i%3 == 0 {
				run = runs[rnd.IntN(len(runs))]
			}
			var err *lang.Error
			if rnd.IntN(50) == 0 {
				err = lang.Failf(lang.ClassFunction, "boom", "it broke")
			}
			x := branch(run, rnd.IntN(7_000), err)
			if rnd.IntN(4) == 0 {
				x.Path = fmt.Sprintf("outer[%d]/inner[%d]", rnd.IntN(150), rnd.IntN(150))
			}
			if x.Inv.Path = x.Path; rnd.IntN(100) == 0 {
				x.Again, x.Outcome = true, lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke"))
			} else {
				want[run][x.Path], _ = engine.StateOf(x.Outcome.Verdict)
				if mark != "" && run == runs[0] {
					changed[x.Path] = want[run][x.Path]
				}
			}
			take(h, i+1, x)
			if i%2500 == 2499 {
				if err := h.Sync(); err != nil {
					t.Fatal(err)
				}
			}
			if i == n/2 {
				mark = h.Mark()
			}
		}
		check := func() {
			t.Helper()
			for _, run := range runs {
				if at, _, since := standing(t, h, run, "", mark); !same(at, want[run]) || since {
					t.Fatalf("run %x: %d of %d steps, %v", run[0], len(at), len(want[run]), since)
				}
			}
			at, late, since := standing(t, h, runs[0], mark, mark)
			if !same(at, changed) || !since || late < len(changed) {
				t.Fatalf("%d of %d steps behind the mark, %d late, %v", len(at), len(changed), late, since)
			}
			if at, _, since := standing(t, h, runs[0], "another:4.3", mark); !same(at, want[runs[0]]) || since {
				t.Fatal("a mark of another history was taken")
			}
			name, _, _ := strings.Cut(mark, ":")
			if at, _, since := standing(t, h, runs[0], name+":99999999.0", mark); !same(at, want[runs[0]]) || since {
				t.Error("a mark behind the end of the history was taken")
			}
			for _, none := range []string{name, name + ":", name + ":x", ":1.1", "1.1", "garbage", "garbage:1", name + ":-1.0"} {
				if _, err := h.Became(runs[0], none, "", nil); !errors.Is(err, engine.ErrCursor) {
					t.Errorf("%q: %v", none, err)
				}
			}
		}
		check()
		if dir == "" {
			continue
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		h = keep(t, dir)
		check()
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func same(a, b map[string]engine.StepState) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// BenchmarkBecame draws runs of 100,000 and of a million branches.
func BenchmarkBecame(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		h, err := history.Keep(history.Options{Dir: b.TempDir(), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		run := journal.RunID{1, 12: 7}
		rnd := rand.New(rand.NewPCG(1, 2))
		var open []int // They end in any order, as those do that are open together.
		for i := range n {
			open = append(open, i)
			at := 0
			if len(open) > 500 || i > n-500 {
				at = rnd.IntN(len(open))
			} else {
				continue
			}
			take(h, i+1, branch(run, open[at], nil))
			if open = slices.Delete(open, at, at+1); i%50_000 == 0 {
				if err := h.Sync(); err != nil {
					b.Fatal(err)
				}
			}
		}
		if err := h.Sync(); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, err := h.Became(run, "", "", func([]byte, int, engine.StepState, bool) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
		if err := h.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
