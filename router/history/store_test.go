package history_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onward-router/onward/router/history"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func id(n int) (id history.ID) {
	binary.BigEndian.PutUint64(id[:], uint64(n)*0x9E3779B97F4A7C15)
	return id
}

func entries(from, to int, text string) []history.Entry {
	var out []history.Entry
	for n := from; n < to; n++ {
		out = append(out, history.Entry{ID: id(n), JSON: fmt.Appendf(nil, `{"n":%d,"text":%q}`, n, text)})
	}
	return out
}

type doc struct {
	N    int
	Text string
}

func open(t *testing.T, dir string, l history.Limits) *history.Store {
	t.Helper()
	s, damaged, err := history.Open(dir, l)
	if err != nil || damaged != nil {
		t.Fatal(damaged, err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestLatestStayOldestGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, history.Limits{Runs: 50})
	for from := 0; from < 200; from += 20 {
		if err := s.Put(entries(from, from+20, "x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, history.Limits{Runs: 50})
	var got []string
	if err := s.Each(func(_ history.ID, text []byte) bool {
		got = append(got, string(text))
		return true
	}); err != nil || len(got) != 50 || !strings.Contains(got[0], `"n":199`) || !strings.Contains(got[49], `"n":150`) {
		t.Errorf("%d entries, %v: %v", len(got), got, err)
	}
	for n, want := range map[int]bool{149: false, 150: true, 199: true} {
		var d doc
		if found, err := s.Get(id(n), &d); found != want || err != nil || want && d.N != n {
			t.Errorf("run %d: %v %v %v", n, found, d, err)
		}
	}
}

// TestPutAgainChangesNothing: after a restart the journal's records are folded again.
func TestPutAgainChangesNothing(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), history.Limits{})
	for range 3 {
		if err := s.Put(entries(0, 100, "same")); err != nil {
			t.Fatal(err)
		}
	}
	runs, bytes, err := s.Len()
	if err := s.Put(entries(10, 20, "longer than it was")); err != nil {
		t.Fatal(err)
	}
	runs2, bytes2, err2 := s.Len()
	if runs != 100 || runs2 != 100 || bytes2 != bytes+10*int64(len("longer than it was")-len("same")) || err != nil || err2 != nil {
		t.Errorf("%d runs, %d bytes; %d runs, %d bytes; %v %v", runs, bytes, runs2, bytes2, err, err2)
	}
}

func TestBytesAreBounded(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), history.Limits{Bytes: 100_000})
	if err := s.Put(entries(0, 1000, strings.Repeat("x", 1000))); err != nil {
		t.Fatal(err)
	}
	if runs, bytes, err := s.Len(); runs < 50 || bytes > 100_000 || err != nil {
		t.Errorf("%d runs, %d bytes, %v", runs, bytes, err)
	}
	// One that is larger than all is kept: somebody may wait for it.
	if err := s.Put(entries(5000, 5001, strings.Repeat("x", 200_000))); err != nil {
		t.Fatal(err)
	}
	if runs, _, err := s.Len(); runs != 1 || err != nil {
		t.Errorf("%d runs, %v", runs, err)
	}
}

func TestDamagedFileIsSetAside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, history.FileName), []byte(strings.Repeat("garbage", 4000)), 0o644); err != nil {
		t.Fatal(err)
	}
	s, damaged, err := history.Open(dir, history.Limits{})
	if err != nil || damaged == nil || !strings.Contains(damaged.Error(), "set aside") {
		t.Fatal(damaged, err)
	}
	if err := s.Put(entries(0, 1, "x")); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*damaged*")); len(names) != 1 {
		t.Errorf("%v", names)
	}
}

func BenchmarkPut(b *testing.B) {
	s, _, err := history.Open(b.TempDir(), history.Limits{Runs: 10_000})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	n := 0
	for b.Loop() {
		if err := s.Put(entries(n, n+1000, strings.Repeat("x", 300))); err != nil {
			b.Fatal(err)
		}
		n += 1000
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "us/run")
}
