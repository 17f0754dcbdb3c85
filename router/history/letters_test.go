package history_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/history"
	"github.com/onward-router/onward/router/journal"
)

func letters(t *testing.T, dir string, l history.LetterLimits) *history.Endings {
	t.Helper()
	h, err := history.Keep(history.Options{Dir: dir, Dead: l, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func letter(n int, at time.Time, data string) *engine.Letter {
	return engine.LetterOf(&engine.Dead{
		Invocation: &engine.Invocation{
			Run: journal.RunID{1}, N: uint32(n), Purpose: engine.Notify, Tenant: "acme", Trigger: "t", Path: "end:alert", Function: "alert", Type: "dev.onward.run.failed",
			Attempt: 3, Input: lang.Of(data), Created: at, Cause: "why", Fuel: 7, Traced: "00-1-2-01", Contract: "http",
		},
		Err: lang.Failf(lang.ClassFunction, "http_500", "it broke"), Time: at,
	})
}

func ids(t *testing.T, l *history.Letters) (out []string) {
	t.Helper()
	if err := l.Each(func(x *engine.Letter) bool { out = append(out, x.ID); return true }); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLettersAreKept on disk and in memory alike: whole, the latest first, also after a restart, until they are removed; and what was removed does not
// come back when a restart folds its record again.
func TestLettersAreKept(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"", t.TempDir()} {
		h := letters(t, dir, history.LetterLimits{})
		now := time.Now().UTC().Round(0)
		var want []string
		for n := range 5 {
			x := letter(n+1, now, "data")
			h.Dead(x)
			want = append([]string{x.ID}, want...)
		}
		l := h.Letters()
		if got := ids(t, l); !slices.Equal(got, want) {
			t.Errorf("%v; want %v", got, want)
		}
		if dir != "" {
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			h = letters(t, dir, history.LetterLimits{})
			l = h.Letters()
		}
		sent := letter(2, now, "data")
		got, err := l.Get(sent.ID)
		if err != nil || got == nil || lang.Of(got) != lang.Of(sent) {
			t.Fatalf("%+v, %v", got, err)
		}
		inv, err := got.Invocation()
		if back := engine.LetterOf(&engine.Dead{Invocation: inv, Err: got.Error, Time: got.Time}); err != nil || lang.Of(back) != lang.Of(sent) {
			t.Errorf("%+v, %v", back, err)
		}
		got.Redrives, got.LastError = 1, "still broken"
		if err := l.Replace(got); err != nil {
			t.Fatal(err)
		}
		if again, err := l.Get(sent.ID); err != nil || again.Redrives != 1 || len(ids(t, l)) != 5 {
			t.Errorf("%+v, %v", again, err)
		}
		if was, err := l.Remove(sent.ID); !was || err != nil {
			t.Errorf("%t, %v", was, err)
		}
		h.Dead(sent)
		if gone, err := l.Get(sent.ID); err != nil || gone != nil || len(ids(t, l)) != 4 {
			t.Errorf("it is back: %+v, %v", gone, err)
		}
		if err := l.Replace(got); err != nil || len(ids(t, l)) != 4 {
			t.Errorf("%v", err)
		}
		if was, err := l.Remove(sent.ID); was || err != nil {
			t.Errorf("%t, %v", was, err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLettersAreBounded by number, size and age; the oldest go, and the latest never.
func TestLettersAreBounded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limits history.LetterLimits
		want   int
	}{
		"number": {history.LetterLimits{Letters: 3}, 3},
		"size":   {history.LetterLimits{Bytes: 25_000}, 2},
		"age":    {history.LetterLimits{Age: 150 * time.Minute}, 3},
		"little": {history.LetterLimits{Bytes: 1}, 1},
	} {
		for _, dir := range []string{"", t.TempDir()} {
			h := letters(t, dir, c.limits)
			now := time.Now().UTC()
			for n := range 10 {
				h.Dead(letter(n+1, now.Add(time.Duration(n-9)*time.Hour), strings.Repeat("x", 10_000)))
				if err := h.Sync(); err != nil {
					t.Fatal(err)
				}
			}
			got := ids(t, h.Letters())
			if len(got) != c.want || got[0] != engine.LetterID(journal.RunID{1}, 10) {
				t.Errorf("%s in %q: %v", name, dir, got)
			}
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestDamagedLettersAreSetAside, and the router goes on.
func TestDamagedLettersAreSetAside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, history.LettersFile), []byte(strings.Repeat("garbage", 4000)), 0o600); err != nil {
		t.Fatal(err)
	}
	h := letters(t, dir, history.LetterLimits{})
	h.Dead(letter(1, time.Now(), "x"))
	if n := len(ids(t, h.Letters())); n != 1 {
		t.Errorf("%d letters", n)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*damaged*")); len(names) != 1 {
		t.Errorf("%v", fmt.Sprint(names))
	}
}

// TestWhatCameInIsKeptOnce: it comes again after a restart, or from who repeats it, and what became of it since stays; what was removed does not come back.
func TestWhatCameInIsKeptOnce(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"", t.TempDir()} {
		h := letters(t, dir, history.LetterLimits{})
		l := h.Letters()
		x := engine.LetterOfEvent("t", "acme", "/s", "1", "order", lang.Of("data"), lang.Failf(lang.ClassFunction, "no_key", "none"), time.Now().UTC())
		y := engine.LetterOfParked("inbox", "orders/0/7", "no event", []byte("{"), time.Now().UTC())
		if err := l.Keep(x, y); err != nil {
			t.Fatal(err)
		}
		z := *x
		z.Redrives = 1
		if err := l.Replace(&z); err != nil {
			t.Fatal(err)
		}
		if dir != "" {
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			h = letters(t, dir, history.LetterLimits{})
			l = h.Letters()
		}
		if was, err := l.Remove(y.ID); !was || err != nil {
			t.Errorf("%v, %v", was, err)
		}
		if err := l.Keep(x, y); err != nil {
			t.Fatal(err)
		}
		got, err := l.Get(x.ID)
		if err != nil || got == nil || got.Redrives != 1 || !slices.Equal(ids(t, l), []string{x.ID}) {
			t.Errorf("%+v, %v, %v", got, err, ids(t, l))
		}
		if gone, err := l.Gone(y.ID); !gone || err != nil {
			t.Errorf("%v, %v", gone, err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}
