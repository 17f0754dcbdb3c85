package command

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestProgressWithoutATerminal: a line now and again, when something has changed or half a minute is over; never a control code.
func TestProgressWithoutATerminal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var errs bytes.Buffer
		p := &program{errs: &errs}
		x := p.progress("words", false)
		for range 1000 { // Changes come faster than lines may.
			x.see("invoked")
			x.see("retrying")
			time.Sleep(9 * time.Millisecond) // Nine seconds in all: never at the time of a line.
		}
		x.set(500, 20) // What was missed is made up for.
		time.Sleep(62 * time.Second)
		x.end()
		x.end()
		time.Sleep(time.Minute) // Nothing comes after its end.
		lines := strings.Split(strings.TrimSuffix(errs.String(), "\n"), "\n")
		if len(lines) < 5 || len(lines) > 8 || !strings.HasPrefix(lines[0], "words: 0 of ") || lines[len(lines)-1] != "words: 480 of 500 calls, after 1m10s" {
			t.Errorf("%d lines:\n%s", len(lines), errs.String())
		}
		if i := strings.IndexFunc(errs.String(), func(r rune) bool { return r < ' ' && r != '\n' }); i >= 0 {
			t.Errorf("a control code in %q", errs.String())
		}
		if got := x.String(); !strings.HasSuffix(got, "and 480 of 500 calls") {
			t.Errorf("%q", got)
		}
	})
}

func TestQuietProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var errs bytes.Buffer
		x := (&program{errs: &errs}).progress("words", true)
		x.see("invoked")
		time.Sleep(time.Minute)
		x.end()
		if errs.Len() > 0 {
			t.Errorf("%q", errs.String())
		}
	})
}
