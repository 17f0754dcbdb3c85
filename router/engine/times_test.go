package engine_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// TestSendingIsRead as it was written, and as binaries wrote it that knew less.
func TestSendingIsRead(t *testing.T) {
	t.Parallel()
	sent := time.Date(2026, 11, 27, 6, 0, 0, 1, time.UTC)
	whole := engine.Sending{Made: sent.Add(-time.Minute), Sent: sent, Arrived: sent.Add(time.Hour)}
	for _, s := range []engine.Sending{{}, {Sent: sent}, {Arrived: sent}, whole, {Made: sent, Sent: sent, Arrived: sent}} {
		done := engine.CompletionFact{N: 7, Cause: "c", Outcome: lang.Success(lang.Of(8)), Sending: s}
		rec := engine.Record(journal.Completion, journal.RunID{1}, &done)
		if bare := (&engine.CompletionFact{N: 7, Cause: "c", Outcome: lang.Success(lang.Of(8))}).Append(nil); !bytes.Equal(engine.Timeless(&rec), bare) {
			t.Errorf("%+v: %v is not %v", s, engine.Timeless(&rec), bare)
		}
		if f, err := engine.DecodeCompletion(done.Append(nil)); err != nil || f.Sending != s || f.N != 7 {
			t.Errorf("%+v: %+v, %v", s, f, err)
		}
		for _, silent := range []bool{false, true} {
			late := engine.TimedOutFact{Numbers: []uint32{1, 9}, Silent: silent, Sending: s}
			if f, err := engine.DecodeTimedOut(late.Append(nil)); err != nil || f.Sending != s || f.Silent != silent || len(f.Numbers) != 2 {
				t.Errorf("%+v, silent %t: %+v, %v", s, silent, f, err)
			}
		}
	}
	if b := (&engine.TimedOutFact{Numbers: []uint32{1}}).Append(nil); !bytes.Equal(b, []byte{1, 1}) {
		t.Errorf("a time-out without times is %v", b)
	}
	// The clock was set back between the three: what is negative is nothing.
	back := engine.CompletionFact{N: 1, Outcome: lang.Success(lang.Null), Sending: engine.Sending{Made: sent.Add(time.Second), Sent: sent, Arrived: sent.Add(-time.Second)}}
	if f, err := engine.DecodeCompletion(back.Append(nil)); err != nil || !f.Made.Equal(sent) || !f.Arrived.Equal(sent) {
		t.Errorf("%+v, %v", f, err)
	}
	for _, bad := range [][]byte{{1, 1, 0}, {1, 1, 2}, {1, 1, 1, 0}, {1, 1, 1, 0, 0}, {1, 1, 0, 5, 1}, {1, 1, 0, 0, 5, 1}, {1, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}} {
		if f, err := engine.DecodeTimedOut(bad); err == nil {
			t.Errorf("%v is %+v", bad, f)
		}
	}
}

// TestTimesComeToTheWhole, whatever the clocks say; and each is what it is where they agree.
func TestTimesComeToTheWhole(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		queued, made, sent, arrived, ended int64
		want                               engine.Times
		known                              bool
	}{
		{100, 110, 150, 400, 405, engine.Times{Queue: 40, Function: 250, Router: 15}, true},
		{100, 0, 150, 0, 405, engine.Times{Queue: 50, Function: 255}, true},              // Its answer came as an event, as binaries wrote it that knew less.
		{100, 0, 150, 400, 405, engine.Times{Queue: 50, Function: 250, Router: 5}, true}, // It came after a take-over.
		{100, 0, 0, 0, 405, engine.Times{}, false},
		{100, 1110, 1150, 1400, 405, engine.Times{Queue: 40, Function: 250, Router: 15}, true}, // The sender's clock is ahead.
		{100, 10, 50, 9_000, 405, engine.Times{Function: 305}, true},                           // It runs another way altogether.
		{100, 90, 50, 40, 30, engine.Times{}, true},
	} {
		got, known := engine.TimesOf(c.queued, c.made, c.sent, c.arrived, c.ended)
		if got != c.want || known != c.known {
			t.Errorf("%+v: %+v, %t", c, got, known)
		}
		if whole := time.Duration(max(c.ended-c.queued, 0)); known && (got.Queue+got.Function+got.Router).D() != whole {
			t.Errorf("%+v do not come to %s", got, whole)
		}
	}
}
