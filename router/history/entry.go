package history

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// The marks of a step's entry.
const (
	markCall = 1 << iota
	markAgain
	markDelivery
	markInputCut
	markOutputCut
	markTimed  // it says when its sender had it, or else when it was to be sent, and when its answer came
	markSignal // a signal came: its name stands in the place of a function's
)

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// appendValue appends as much of a value as is kept, behind its whole size where that is more.
func appendValue(b []byte, v lang.Value, most int) []byte {
	text := v.JSON()
	if v.IsNull() {
		text = ""
	}
	if len(text) <= most {
		return appendText(b, text)
	}
	return appendText(binary.AppendUvarint(b, uint64(len(text))), text[:most])
}

// appendStep appends the text of a step's entry.
func appendStep(b []byte, t *engine.Trace, most int) []byte {
	marks, n, function, starts := byte(0), uint32(0), "", ""
	if t.Inv != nil {
		marks, n, function, starts = markCall, t.Inv.N, t.Inv.Function, t.Inv.ToTrigger
		if t.Inv.Purpose == engine.Notify {
			marks |= markDelivery
		}
	}
	if t.Signal != "" {
		marks, function = markSignal, t.Signal
	}
	if t.Again {
		marks |= markAgain
	}
	if t.Input.Size() > most {
		marks |= markInputCut
	}
	if t.Outcome.Value.Size() > most {
		marks |= markOutputCut
	}
	timed := t.Sent != 0 && t.Arrived != 0
	if timed {
		marks |= markTimed
	}
	b = append(b, marks, byte(t.Outcome.Verdict))
	b = binary.AppendVarint(b, t.Queued)
	sent := int64(0)
	if t.Sent != 0 {
		sent = max(t.Sent-t.Queued, 0) + 1
	}
	b = binary.AppendUvarint(b, uint64(sent))
	if b = binary.AppendUvarint(b, uint64(max(t.Ended-t.Queued, 0))); timed {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(max(t.Made-t.Queued, 0))), uint64(max(t.Arrived-t.Sent, 0)))
	}
	b = binary.AppendUvarint(b, uint64(n))
	b = binary.AppendUvarint(b, uint64(t.Attempt))
	b = t.AppendPath(binary.AppendUvarint(b, uint64(len(t.Path))))
	b = appendText(appendText(b, function), starts)
	b = appendValue(b, t.Input, most)
	switch {
	case t.Outcome.Err != nil:
		return appendText(b, lang.Of(t.Outcome.Err).JSON())
	case t.Outcome.Verdict == lang.Failed || t.Outcome.Verdict == lang.Cancelled:
		return appendText(b, "")
	}
	return appendValue(b, t.Outcome.Value, most)
}

// A reader takes an entry's text apart; after the first error all it gives is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) text() string { return string(r.bytes()) }

// value reads what appendValue wrote.
func (r *reader) value(cut bool) (v lang.Value, size int) {
	if !cut {
		if text := r.text(); text != "" {
			v = lang.Trusted(text)
		}
		return v, 0
	}
	size = int(r.uint())
	return lang.Of(r.text()), size
}

func (r *reader) err() *lang.Error {
	text := r.text()
	if text == "" {
		return nil
	}
	e := new(lang.Error)
	if lang.Trusted(text).Decode(e) != nil {
		r.bad = true
	}
	return e
}

// A head is what a step's entry begins with: summaries read no more.
type head struct {
	marks               byte
	verdict             lang.Verdict
	queued, sent, ended int64 // sent is 0 where it is not known, made and arrived, too
	made, arrived       int64
	n                   uint32
	attempt             int
	path                []byte
}

func (r *reader) head() (h head) {
	h = head{marks: r.byte(), verdict: lang.Verdict(r.byte()), queued: r.int()}
	if sent := r.uint(); sent > 0 {
		h.sent = h.queued + int64(sent) - 1
	}
	if h.ended = h.queued + int64(r.uint()); h.marks&markTimed != 0 {
		h.made, h.arrived = h.queued+int64(r.uint()), h.sent+int64(r.uint())
	}
	h.n, h.attempt, h.path = uint32(r.uint()), int(r.uint()), r.bytes()
	return h
}

// skip passes a number over.
func (r *reader) skip() {
	for i, c := range r.b {
		if c < 0x80 {
			r.b = r.b[i+1:]
			return
		}
	}
	r.b, r.bad = nil, true
}

// place is what of the head says where a step stands and how it ended.
func (r *reader) place() (marks byte, verdict lang.Verdict, path []byte) {
	marks, verdict = r.byte(), lang.Verdict(r.byte())
	numbers := 5
	if marks&markTimed != 0 {
		numbers += 2
	}
	for range numbers {
		r.skip()
	}
	return marks, verdict, r.bytes()
}

// times tells those of a call apart.
func (h *head) times() (t engine.Times, known bool) {
	if h.marks&markCall == 0 {
		return t, false
	}
	return engine.TimesOf(h.queued, h.made, h.sent, h.arrived, h.ended)
}

func at(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// decodeStep reads appendStep's form.
func decodeStep(run journal.RunID, text []byte) (*engine.PastStep, error) {
	r := reader{b: text}
	h := r.head()
	s := &engine.PastStep{
		Run: run.String(), Path: string(h.path), N: h.n, Attempt: h.attempt, Outcome: h.verdict.String(), Again: h.marks&markAgain != 0,
		Delivery: h.marks&markDelivery != 0, Queued: at(h.queued), Sent: at(h.sent), Ended: at(h.ended), Function: r.text(), Trigger: r.text(),
	}
	if t, known := h.times(); known {
		s.Times = &t
	}
	if h.marks&markSignal != 0 {
		s.Signal, s.Function = s.Function, ""
	}
	s.Input, s.InputSize = r.value(h.marks&markInputCut != 0)
	if h.verdict == lang.Failed || h.verdict == lang.Cancelled {
		s.Error = r.err()
	} else {
		s.Output, s.OutputSize = r.value(h.marks&markOutputCut != 0)
	}
	if r.bad {
		return nil, errSpoiled
	}
	return s, nil
}

// appendEnding appends the text of an ended run's entry: what lists ask for first.
func appendEnding(b []byte, f *engine.Ending) []byte {
	b = binary.AppendVarint(b, f.Started.UnixNano())
	b = binary.AppendVarint(b, f.Ended.UnixNano())
	b = binary.AppendUvarint(b, uint64(f.Calls))
	b = appendText(appendText(appendText(appendText(b, f.Tenant), f.Trigger), f.State), f.EventType)
	kind := ""
	if f.Error != nil {
		kind = f.Error.Type
	}
	b = appendText(b, kind)
	b = appendText(b, f.Event.JSON())
	b = appendText(b, f.Result.JSON())
	if f.Error == nil {
		b = appendText(b, "")
		if f.Input != nil {
			b = appendText(b, f.Input.JSON())
		}
		return b
	}
	b = appendText(appendText(b, lang.Of(f.Error).JSON()), f.Data.JSON())
	if f.Again == nil {
		return b
	}
	b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(f.Redrives)), uint64(f.Again.Numbers))
	b = appendText(appendText(binary.AppendUvarint(b, uint64(f.Again.Spent)), f.Again.Key), f.Again.Definition+arrivedText(f.Again))
	return append(b, f.Again.Told...)
}

// digestText is how long a digest is in hex.
const digestText = 2 * len(lang.Digest{})

// arrivedText is what the run's round had; it stands behind the digest, whose length is known. Empty is none.
func arrivedText(a *engine.Again) string {
	if a.Arrived.IsNull() || len(a.Definition) != digestText {
		return ""
	}
	return a.Arrived.JSON()
}

// decodeEnding reads appendEnding's form.
func decodeEnding(id journal.RunID, text []byte) (*engine.Ending, error) {
	r := reader{b: text}
	f := &engine.Ending{ID: id.String(), Started: time.Unix(0, r.int()).UTC(), Ended: time.Unix(0, r.int()).UTC(), Calls: int(r.uint())}
	f.Tenant, f.Trigger, f.State, f.EventType = r.text(), r.text(), r.text(), r.text()
	_ = r.bytes() // The error's type, for those who look for it.
	f.Event, f.Result = lang.Trusted(r.text()), lang.Trusted(r.text())
	if f.Data = f.Result; len(r.b) > 1 {
		f.Error = r.err()
		v := lang.Trusted(r.text())
		if f.Error != nil {
			f.Data = v
		} else {
			f.Input = &v
		}
	}
	if f.Error != nil && len(r.b) > 1 {
		f.Redrives = uint32(r.uint())
		f.Again = &engine.Again{Numbers: uint32(r.uint()), Spent: int(r.uint()), Key: r.text(), Definition: r.text()}
		if d := f.Again.Definition; len(d) > digestText {
			f.Again.Definition, f.Again.Arrived = d[:digestText], lang.Trusted(d[digestText:])
		}
		if len(r.b) > 0 {
			f.Again.Told = bytes.Clone(r.b)
		}
	}
	if r.bad {
		return nil, errSpoiled
	}
	return f, nil
}
