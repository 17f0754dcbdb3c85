package history_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/traceparent"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/history"
	"github.com/onward-router/onward/router/journal"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.etcd.io/bbolt"
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
			Attempt: 3, Input: lang.Of(data), Created: at, Cause: "why", Fuel: 7, Traced: &traceparent.Context{Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", State: "a=1"}, Contract: "http",
		},
		Err: lang.Failf(lang.ClassFunction, "http_500", "it broke"), Time: at,
	})
}

func ids(t *testing.T, l *history.Letters) (out []string) {
	t.Helper()
	found, err := l.Page(&engine.LetterQuery{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range found.Letters {
		out = append(out, x.ID)
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

// TestNewerFilesAreLeftAlone: an older version refuses what a newer one has written, and changes nothing of it.
func TestNewerFilesAreLeftAlone(t *testing.T) {
	t.Parallel()
	for _, name := range []string{history.LettersFile, history.FileName} {
		dir := t.TempDir()
		db, err := sql.Open("sqlite", filepath.Join(dir, name))
		if err == nil {
			_, err = db.Exec("CREATE TABLE of_tomorrow (x); PRAGMA user_version = 99")
		}
		if err = errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		was, _ := os.ReadFile(filepath.Join(dir, name))
		_, err = history.Keep(history.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), name+": schema 99") || !strings.Contains(err.Error(), "written by a newer version; run the binary that wrote it") {
			t.Errorf("%s: %v", name, err)
		}
		if aside, _ := filepath.Glob(filepath.Join(dir, "*damaged*")); len(aside) != 0 {
			t.Errorf("%v", aside)
		}
		if is, _ := os.ReadFile(filepath.Join(dir, name)); !bytes.Equal(was[100:], is[100:]) { // Behind SQLite's own head.
			t.Errorf("%s has changed", name)
		}
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

// TestLettersAreFound by all that they are chosen by, in parts, with how many there are; and by cause.
func TestLettersAreFound(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"", t.TempDir()} {
		h := letters(t, dir, history.LetterLimits{})
		l := h.Letters()
		began := time.Unix(1_900_000_000, 0).UTC()
		for n := range 200 {
			x := letter(n, began.Add(time.Duration(n/2)*time.Second), fmt.Sprintf("data %d", n))
			x.Trigger, x.Tenant = fmt.Sprint("t", n%4), fmt.Sprint("tenant", n%2)
			if n%10 == 0 {
				x.Error = lang.Failf(lang.ClassTimeout, "late", "it took %d", n)
			}
			h.Dead(x)
		}
		all := func(q engine.LetterQuery) (found []string, total int) {
			for {
				part, err := l.Page(&q)
				if err != nil {
					t.Fatal(err)
				}
				for _, x := range part.Letters {
					if found = append(found, x.ID); !x.Data.IsNull() || x.Trigger == "" {
						t.Errorf("%+v", x)
					}
				}
				total = part.Total
				if !part.More {
					return found, total
				}
				q.After = part.Letters[len(part.Letters)-1].Cursor()
			}
		}
		for name, c := range map[string]struct {
			q    engine.LetterQuery
			want int
		}{
			"all": {engine.LetterQuery{}, 200}, "trigger": {engine.LetterQuery{Trigger: "t3"}, 50}, "tenant": {engine.LetterQuery{Tenant: "tenant1"}, 100},
			"type": {engine.LetterQuery{Error: "late"}, 20}, "class": {engine.LetterQuery{Error: "timeout"}, 20}, "function": {engine.LetterQuery{Function: "alert"}, 200},
			"none": {engine.LetterQuery{Function: "other"}, 0}, "kind": {engine.LetterQuery{Kind: engine.LetterParked}, 0},
			"since": {engine.LetterQuery{Since: began.Add(90 * time.Second)}, 20}, "until": {engine.LetterQuery{Until: began.Add(10 * time.Second)}, 20},
			"run":  {engine.LetterQuery{Run: journal.RunID{1}.String()}, 200},
			"both": {engine.LetterQuery{Trigger: "t0", Error: "late"}, 10},
			"text": {engine.LetterQuery{Match: func(x *engine.Letter) bool { return strings.Contains(x.Data.JSON(), "data 19") }}, 11},
		} {
			c.q.Limit = 7
			got, total := all(c.q)
			if len(got) != c.want || total != c.want || len(slices.Compact(slices.Sorted(slices.Values(got)))) != c.want {
				t.Errorf("%s in %q: %d of %d; want %d", name, dir, len(got), total, c.want)
			}
		}
		for _, match := range []func(*engine.Letter) bool{nil, func(*engine.Letter) bool { return true }} {
			causes, err := l.Causes(&engine.LetterQuery{Trigger: "t2", Match: match})
			slices.SortFunc(causes, func(x, y *engine.LetterCause) int { return y.Count - x.Count })
			if err != nil || len(causes) != 2 || causes[0].Count != 40 || causes[1].Count != 10 || causes[1].Error != "late" || causes[1].Message != "it took 190" ||
				causes[1].Letter != engine.LetterID(journal.RunID{1}, 190) || !causes[1].First.Equal(began.Add(5*time.Second)) || !causes[1].Last.Equal(began.Add(95*time.Second)) {
				t.Errorf("%v, %v", lang.Of(causes), err)
			}
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}

var manyLetters = flag.Int("letters", 6000, "how many letters TestManyLetters keeps")

// TestManyLetters: of many letters a part is read by the index; the whole would take a hundred times as long.
func TestManyLetters(t *testing.T) {
	t.Parallel()
	h := letters(t, t.TempDir(), history.LetterLimits{})
	many := *manyLetters
	began := time.Now().Add(-time.Hour).UTC()
	for n := range many {
		x := letter(n, began.Add(time.Duration(n)*time.Millisecond), strings.Repeat("x", 300))
		x.Trigger = fmt.Sprint("t", n*200/many)
		h.Dead(x)
	}
	l := h.Letters()
	if err := h.Sync(); err != nil {
		t.Fatal(err)
	}
	var after engine.Cursor
	quickest := time.Hour
	for range 50 {
		begin := time.Now()
		found, err := l.Page(&engine.LetterQuery{Limit: 100, After: after})
		quickest = min(quickest, time.Since(begin))
		if err != nil || len(found.Letters) != 100 || found.Total != many || !found.More {
			t.Fatalf("%d of %d, %v", len(found.Letters), found.Total, err)
		}
		after = found.Letters[99].Cursor()
	}
	begin := time.Now()
	found, err := l.Page(&engine.LetterQuery{Limit: 100, Trigger: "t7"})
	if err != nil || len(found.Letters) != min(100, many/200) || found.Total != many/200 {
		t.Fatalf("%d of %d, %v", len(found.Letters), found.Total, err)
	}
	t.Logf("100 rows in %s; those of a trigger, and how many, in %s", quickest, time.Since(begin))
	if quickest > 50*time.Millisecond {
		t.Errorf("100 rows take %s", quickest)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// TestOldLettersGo, while none comes.
func TestOldLettersGo(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	h, err := history.Keep(history.Options{Dir: t.TempDir(), Dead: history.LetterLimits{Age: 300 * time.Millisecond}, Log: slog.New(slog.DiscardHandler), Metrics: reg})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Letters().Keep(letter(1, time.Now(), "x"), engine.LetterOfParked("inbox", "1", "no event", nil, time.Now())); err != nil {
		t.Fatal(err)
	}
	const of = `# HELP onward_dead_letters_kept Dead letters that are kept here, by kind: given up, and neither sent again nor removed.
# TYPE onward_dead_letters_kept gauge
onward_dead_letters_kept{kind="destination"} %d
onward_dead_letters_kept{kind="event"} 0
onward_dead_letters_kept{kind="invocation"} 0
onward_dead_letters_kept{kind="parked"} %d
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(fmt.Sprintf(of, 1, 1)), "onward_dead_letters_kept"); err != nil {
		t.Error(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		h.Write(ctx)
	}()
	for deadline := time.Now().Add(2 * time.Minute); len(ids(t, h.Letters())) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("they stay")
		}
	}
	stop()
	<-wrote
	if err := testutil.GatherAndCompare(reg, strings.NewReader(fmt.Sprintf(of, 0, 0)), "onward_dead_letters_kept"); err != nil {
		t.Error(err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// TestFormerLettersAreTakenOver from the file of a former version, with what was removed.
func TestFormerLettersAreTakenOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db, err := bbolt.Open(filepath.Join(dir, "dead.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	if err := db.Update(func(tx *bbolt.Tx) error {
		all, err := tx.CreateBucket([]byte("letters"))
		if err != nil {
			return err
		}
		gone, err := tx.CreateBucket([]byte("gone"))
		if err != nil {
			return err
		}
		for n := range 1500 {
			if err := all.Put(binary.BigEndian.AppendUint64(nil, uint64(n)), []byte(lang.Of(letter(n, now, "data")).JSON())); err != nil {
				return err
			}
		}
		return gone.Put([]byte(letter(2000, now, "").ID), []byte{1})
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	h := letters(t, dir, history.LetterLimits{})
	h.Dead(letter(2000, now, "")) // As a restart folds it again.
	found, err := h.Letters().Page(&engine.LetterQuery{Limit: 1})
	if err != nil || found.Total != 1500 {
		t.Errorf("%+v, %v", found, err)
	}
	if x, err := h.Letters().Get(letter(7, now, "").ID); err != nil || x == nil || x.Data != lang.Of("data") {
		t.Errorf("%+v, %v", x, err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "dead.db")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestBackupHasTheLetters as they are at one moment; the copy that it is made of is gone then.
func TestBackupHasTheLetters(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	h := letters(t, dir, history.LetterLimits{})
	x := letter(1, time.Now().UTC(), "data")
	h.Dead(x)
	for range 2 {
		if err := h.Backup(t.Context(), func(name string, size int64, from io.Reader) error {
			b, err := io.ReadAll(from)
			if err != nil || int64(len(b)) != size {
				return fmt.Errorf("%d of %d bytes, %w", len(b), size, err)
			}
			if name != history.LettersFile {
				return nil
			}
			return os.WriteFile(filepath.Join(other, name), b, 0o600)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.backup")); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	h = letters(t, other, history.LetterLimits{})
	if got, err := h.Letters().Get(x.ID); err != nil || got == nil || lang.Of(got) != lang.Of(x) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
