package quiet

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/config/logtest"
)

// a log that says nothing twice, and what it has said, without times.
func logged() (*slog.Logger, func() string) {
	l := new(logtest.Log)
	h := slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	return slog.New(New(h)), l.Take
}

func want(t *testing.T, said func() string, lines ...string) {
	t.Helper()
	synctest.Wait()
	due := strings.Join(lines, "\n")
	if due != "" {
		due += "\n"
	}
	if got := said(); got != due {
		t.Errorf("said:\n%sdue:\n%s", got, due)
	}
}

func TestTheSameIsSaidOnceInHalfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, said := logged()
		for i := range 1000 {
			log.Info("ended", "trigger", "a", "run", i)
		}
		want(t, said, "level=INFO msg=ended trigger=a run=0")
		time.Sleep(Pause - time.Nanosecond)
		want(t, said)
		time.Sleep(time.Nanosecond)
		want(t, said, "level=INFO msg=ended trigger=a run=999 heldBack=998")
		log.Info("ended", "trigger", "a", "run", 1000) // That line was said just now.
		want(t, said)
		time.Sleep(Pause)
		want(t, said, "level=INFO msg=ended trigger=a run=1000")
		time.Sleep(2 * Pause)
		want(t, said)
		log.Info("ended", "trigger", "a", "run", 1001)
		want(t, said, "level=INFO msg=ended trigger=a run=1001")
		time.Sleep(2 * Pause)
	})
}

func TestOtherThingsAreSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, said := logged()
		log.Info("ended", "trigger", "a", "state", "failed")
		log.Info("ended", "trigger", "a", "state", "succeeded")
		log.Info("ended", "trigger", "b", "state", "failed")
		log.Warn("ended", "trigger", "b", "state", "failed")
		log.With("partition", 1).Info("saved")
		log.With("partition", 2).Info("saved")
		log.With("partition", 2).Info("saved", "offset", 3)
		time.Sleep(time.Millisecond)
		log.WithGroup("g").Info("saved", "state", "x")
		log.WithGroup("g").Info("saved", "state", "y")
		want(t, said,
			"level=INFO msg=ended trigger=a state=failed", "level=INFO msg=ended trigger=a state=succeeded", "level=INFO msg=ended trigger=b state=failed",
			"level=WARN msg=ended trigger=b state=failed", "level=INFO msg=saved partition=1", "level=INFO msg=saved partition=2", "level=INFO msg=saved g.state=x")
		Flush(log)
		want(t, said, "level=INFO msg=saved partition=2 offset=3", "level=INFO msg=saved g.state=y")
		log.Info("ended", "trigger", "a", "state", "failed")
		want(t, said, "level=INFO msg=ended trigger=a state=failed")
		time.Sleep(2 * Pause)
	})
}

func TestOnlySoManyThingsAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, said := logged()
		for i := range 3 * most {
			log.Info("refused", "type", fmt.Sprint(i))
		}
		synctest.Wait()
		if n := strings.Count(said(), "\n"); n != most+1 {
			t.Errorf("%d lines", n)
		}
		log.Info("another")
		want(t, said, "level=INFO msg=another")
		time.Sleep(Pause)
		want(t, said, fmt.Sprintf("level=INFO msg=refused type=%d heldBack=%d", 3*most-1, 2*most-2))
		time.Sleep(3 * Pause)
	})
}

func TestQuietOnceIsEnough(t *testing.T) {
	log, said := logged()
	if Of(log) != log || Of(slog.New(slog.DiscardHandler)).Handler() == slog.DiscardHandler {
		t.Error("a log is put behind one handler, and one only")
	}
	if log.Debug("x"); said() != "" || log.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("what the log does not say is said")
	}
}

func BenchmarkHeldBack(b *testing.B) {
	log := slog.New(New(slog.NewTextHandler(&bytes.Buffer{}, nil)))
	b.ReportAllocs()
	for b.Loop() {
		log.LogAttrs(b.Context(), slog.LevelInfo, "a run has ended", slog.String("trigger", "word-count"), slog.String("state", "succeeded"), slog.String("run", "x"),
			slog.Duration("duration", time.Second), slog.Int("calls", 3))
	}
}
