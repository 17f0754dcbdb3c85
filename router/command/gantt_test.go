package command

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router"
	"github.com/rivo/uniseg"
)

var rewriteGantt = flag.Bool("rewrite-gantt", false, "write the golden texts of the timeline anew")

// trip are steps as a run may have them: tries, a step that is open, one that was never sent, names and errors in all letters.
func trip() []*router.PastStep {
	begin := time.Date(2026, 11, 27, 6, 0, 0, 0, time.UTC)
	at := func(ms float64) time.Time {
		return begin.Add(time.Duration(ms * float64(time.Millisecond)))
	}
	call := func(path, outcome string, attempt int, queued, sent, arrived, ended float64) *router.PastStep {
		ms := func(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }
		return &router.PastStep{
			Path: path, Function: "f", Outcome: outcome, Attempt: attempt, Queued: at(queued), Sent: at(sent), Ended: at(ended),
			Times: &router.Times{Queue: router.Duration(ms(sent - queued)), Function: router.Duration(ms(arrived - sent)), Router: router.Duration(ms(ended - arrived))},
		}
	}
	failed := call("map/count[1]", "failed", 1, 2, 3, 40, 41)
	failed.Again, failed.Error = true, &lang.Error{Type: "boom", Message: "it broke\nand \x1b[31mthen\tsome: " + strings.Repeat("again ", 40)}
	dropped := &router.PastStep{Path: "map/count[2]", Function: "f", Outcome: "cancelled", Attempt: 1, Queued: at(2), Ended: at(900), Error: &lang.Error{Type: "cancelled"}}
	return []*router.PastStep{
		{Path: "map", Outcome: "succeeded", Queued: begin, Ended: at(1500)},
		call("map/count[0]", "succeeded", 1, 2, 700, 1400, 1400.25), failed, call("map/count[1]", "succeeded", 2, 141, 141.01, 900, 901), dropped,
		call("发送到/目的地[12]/e\u0301tape 🚀 "+strings.Repeat("long/", 12)+"end", "failed", 1, 1500, 61_500, 100_000, 100_001),
		call("days", "succeeded", 1, 100_001, 100_002, 400_000_000, 400_000_001),
		{Path: "now", Function: "g", Outcome: "open", Attempt: 1, Queued: at(400_000_001)},
	}
}

// TestGanttFits holds the timeline to its golden texts, and each line to its terminal: as narrow as any, in letters that it has, and nothing that moves the cursor.
func TestGanttFits(t *testing.T) {
	t.Parallel()
	for _, ascii := range []bool{false, true} {
		for _, width := range []int{0, 1, 7, 20, 40, 52, 60, 61, 80, 120, 200} {
			var out bytes.Buffer
			(&sheet{&out, width, ascii}).gantt(trip())
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if len(lines) != 10 {
				t.Errorf("width %d: %d lines", width, len(lines))
			}
			for _, l := range lines {
				if width > 0 && uniseg.StringWidth(l) > width {
					t.Errorf("width %d: a line of %d: %s", width, uniseg.StringWidth(l), l)
				}
				if strings.ContainsFunc(l, func(c rune) bool { return unicode.IsControl(c) || ascii && c > unicode.MaxASCII }) {
					t.Errorf("width %d, ascii %t: %q", width, ascii, l)
				}
			}
			if width == 0 || width == 20 || width == 60 || width == 80 || width == 200 {
				golden(t, fmt.Sprintf("%03d-ascii-%t.txt", width, ascii), out.Bytes())
			}
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = filepath.Join("testdata", "gantt", name)
	if *rewriteGantt {
		if err := os.WriteFile(name, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(want, got) {
		t.Errorf("%s: %v: it is now\n%s\nand was\n%s\nif that is meant: go test ./router/command -run TestGanttFits -rewrite-gantt", name, err, got, want)
	}
}

// TestLocale: who has no UTF-8 is told so by the first that is set.
func TestLocale(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		all, ctype, lang string
		want             bool
	}{{"", "", "", false}, {"C", "", "de_DE.UTF-8", false}, {"", "", "C", false}, {"", "", "C.UTF-8", true}, {"", "en_US.utf8", "C", true}, {"", "", "de_DE.ISO-8859-1", false}} {
		env := map[string]string{"LC_ALL": c.all, "LC_CTYPE": c.ctype, "LANG": c.lang}
		if got := speaksUTF8(func(name string) string { return env[name] }); got != c.want {
			t.Errorf("%v: %t", env, got)
		}
	}
}
