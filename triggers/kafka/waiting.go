package kafka

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/guard"
	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/triggers"
)

// When the router refuses starts for now, they wait here in their order, and what is behind them in the partition - completions above all, which make
// room - goes on being taken. Once too many wait, further starts are read over: they stay in their topic, and are read again when there is room.

// The bounds of what waits in memory, the pause between tries, and how many are tried at once.
const (
	waitingMost  = 10_000
	waitingBytes = 16 << 20
	waitingPause = 50 * time.Millisecond
	stuckPause   = 5 * time.Second // at most, while not even completions are taken: each try may append some of it once more
	waitingTry   = 500
)

// refused is an event that was refused for now, with its record.
type refused struct {
	e event.Event
	r kafka.Record
}

// waiting is what was refused for now, in order.
type waiting struct {
	inner  []refused // completions and signals: refused only when the router takes nothing
	starts []refused
	bytes  int
}

// add keeps an event, and nothing of the fetch that it came with.
func (w *waiting) add(e event.Event, r kafka.Record) {
	e.DataEncoded = slices.Clone(e.DataEncoded)
	r.Key, r.Value, r.Headers = slices.Clone(r.Key), slices.Clone(r.Value), slices.Clone(r.Headers)
	for i := range r.Headers {
		r.Headers[i].Value = slices.Clone(r.Headers[i].Value)
	}
	x := refused{e, r}
	w.bytes += x.size()
	if isInner(&e) {
		w.inner = append(w.inner, x)
		return
	}
	w.starts = append(w.starts, x)
}

func (x *refused) size() int {
	n := len(x.e.DataEncoded) + len(x.r.Key) + len(x.r.Value)
	for _, h := range x.r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

func (w *waiting) len() int   { return len(w.inner) + len(w.starts) }
func (w *waiting) full() bool { return w.len() >= waitingMost || w.bytes >= waitingBytes }

// roomy reports that so much has gone that reading again what was read over is worth it.
func (w *waiting) roomy() bool { return w.len() <= waitingMost/2 && w.bytes <= waitingBytes/2 }

// first is the smallest offset that waits; at when there is none before it.
func (w *waiting) first(at int64) int64 {
	for _, list := range [][]refused{w.inner, w.starts} {
		for i := range list {
			at = min(at, list[i].r.Offset)
		}
	}
	return at
}

// passed is what was read over: records from one offset to another, less those of them that were taken.
type passed struct {
	from, to int64
	count    int  // records that were not taken
	again    bool // they are being read again
	base     int64
	taken    []uint64 // a bit an offset from base on
}

// passedMost bounds the bits that are kept: what has none is taken twice, which changes nothing.
const passedMost = 1 << 26

func (o *passed) take(offset int64) {
	at := offset - o.base
	if at >= passedMost {
		return
	}
	for int64(len(o.taken)) <= at/64 {
		o.taken = append(o.taken, 0)
	}
	o.taken[at/64] |= 1 << (at % 64)
}

func (o *passed) has(offset int64) bool {
	at := offset - o.base
	return at >= 0 && at/64 < int64(len(o.taken)) && o.taken[at/64]&(1<<(at%64)) != 0
}

// resume begins a further stretch of reading over, at offset.
func (o *passed) resume(offset int64) {
	o.again, o.from, o.to = false, offset, max(o.to, offset)
	if words := min((offset-o.base)/64, int64(len(o.taken))); words > 0 {
		o.taken, o.base = o.taken[words:], o.base+words*64
	}
}

// passes reports whether the starts of the record at offset are read over, and books it. When that begins anew before where reading had come to, it
// goes on there.
func (p *reading) passes(offset int64, starts bool) bool {
	o := p.over
	switch {
	case o != nil && !o.again:
	case starts && p.waiting.full() && o == nil:
		o = &passed{from: offset, to: offset, base: offset}
		p.over = o
	case starts && p.waiting.full():
		if o.resume(offset); offset < o.to {
			return true
		}
	default:
		if o != nil && offset < o.to {
			o.count--
		}
		return false
	}
	if !starts {
		o.take(offset)
		return false
	}
	o.count++
	return true
}

// take hands over what was fetched. While starts wait, further starts wait behind them, so that they keep their order.
func (p *reading) take(ctx context.Context, f *kafka.Fetched) error {
	p.end = f.End
	var events []event.Event
	var records []kafka.Record
	var over []refused // what is read over
	behind, next := len(p.waiting.starts), f.Next
	for i := range f.Records {
		r := &f.Records[i]
		if p.over != nil && p.over.again && p.over.has(r.Offset) {
			continue
		}
		some, err := p.read(ctx, r)
		if err != nil {
			return err
		}
		starts := slices.ContainsFunc(some, func(e event.Event) bool { return !isInner(&e) })
		passes := p.passes(r.Offset, starts)
		if passes && r.Offset < p.over.to {
			next = p.over.to
			break
		}
		for _, e := range some {
			switch inner := isInner(&e); {
			case inner && len(p.waiting.inner) == 0, !inner && !passes && p.waiting.len() == 0:
				events, records = append(events, e), append(records, *r)
			case inner || !passes:
				p.waiting.add(e, *r) // Behind its like.
			default:
				over = append(over, refused{e, *r})
			}
		}
	}
	p.ahead(ctx, behind, over)
	if err := p.hand(ctx, events, records); err != nil {
		return err
	}
	if next != f.Next {
		p.seek(ctx, next)
		return nil
	}
	p.next = f.Next
	switch {
	case p.over == nil:
	case !p.over.again:
		p.over.to = f.Next
	case f.Next >= p.over.to:
		p.over = nil
	}
	return nil
}

// read makes the events of a record, and deals with what is none: of a batch the bad ones alone.
func (p *reading) read(ctx context.Context, r *kafka.Record) (some []event.Event, err error) {
	var bad []envelope.Bad
	var why error
	if panicked := guard.Do("decode", func() { some, bad, why = p.s.decode(p.topic, p.partition, r) }); panicked != nil {
		why = panicked
	}
	if why != nil {
		return nil, p.s.unfit(ctx, p.topic, p.partition, r, why)
	}
	for _, b := range bad {
		if err := p.s.unfit(ctx, p.topic, p.partition, alone(r, b.Raw), fmt.Errorf("event %d of a batch: %w", b.Index, b.Err)); err != nil {
			return nil, err
		}
	}
	return some, nil
}

// alone is the record of one event of a batch, or of one item that as: makes an event of.
func alone(r *kafka.Record, raw []byte) *kafka.Record {
	content := envelope.Structured
	if head, err := envelope.FromRecord(r.Headers); head == nil && err == nil {
		content = event.ApplicationJSON
	}
	return &kafka.Record{Key: r.Key, Value: raw, Time: r.Time, Offset: r.Offset, Headers: []kafka.Header{{Key: "content-type", Value: []byte(content)}}}
}

// of is the record of an event that the router refused: its own, or of a batch the event alone.
func of(e *event.Event, r *kafka.Record) *kafka.Record {
	head, err := envelope.FromRecord(r.Headers)
	if err != nil || head == nil || !head.IsBatch() {
		return r
	}
	if envelope.Spoiled(e) != nil {
		return alone(r, e.Data())
	}
	raw, err := envelope.Marshal(e)
	if err != nil {
		return r
	}
	return alone(r, raw)
}

// again tries what waits, in order; the first that is refused again stops it. When enough has gone, what was read over is read.
func (p *reading) again(ctx context.Context) error {
	if time.Now().Before(p.due) {
		return nil
	}
	for p.waiting.len() > 0 {
		all := p.waiting
		some, rest := all.split()
		p.waiting = waiting{}
		events, records := make([]event.Event, len(some)), make([]kafka.Record, len(some))
		for i := range some {
			events[i], records[i] = some[i].e, some[i].r
		}
		if err := p.hand(ctx, events, records); err != nil {
			p.waiting = all // Their offsets are not to be committed.
			return err
		}
		stop := p.waiting.len() > 0
		p.waiting.follow(rest)
		if stop {
			break
		}
	}
	if time.Since(p.looked) > aheadEvery {
		p.looked = time.Now()
		p.ahead(ctx, 0, nil)
	}
	if p.stuck && p.waiting.len() > 0 {
		p.pause = min(max(2*p.pause, waitingPause), stuckPause)
		p.due = time.Now().Add(p.pause)
		return nil
	}
	p.pause = 0
	if p.over != nil && !p.over.again && p.waiting.roomy() {
		p.over.again = true
		p.seek(ctx, p.over.from)
	}
	return nil
}

// aheadEvery is how often all that waits is offered to the runs that may wait for it.
const aheadEvery = time.Second

// ahead offers starts that are behind others which wait, from a place among those, and those that are read over: only that is taken for which a run waits. It
// may be what makes room.
func (p *reading) ahead(ctx context.Context, from int, over []refused) {
	all := slices.Concat(p.waiting.starts[from:], over)
	if len(all) == 0 || p.stuck {
		return
	}
	events := make([]event.Event, len(all))
	for i := range all {
		events[i] = all[i].e
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handing)
	defer cancel()
	receipts, err := p.admit(triggers.OnlyAwaited(ctx), events)
	if err != nil {
		return // It is tried in its turn.
	}
	rest, whole := p.waiting.starts[:from:from], make(map[int64]bool, len(over))
	for i := range all {
		x, taken := &all[i], receipts[i].Err == nil
		if taken {
			p.s.taken.WithLabelValues(p.topic, receipts[i].Kind.String()).Inc()
		}
		switch at := i - (len(all) - len(over)); {
		case at >= 0:
			before, more := whole[x.r.Offset]
			whole[x.r.Offset] = taken && (before || !more)
		case taken:
			p.waiting.bytes -= x.size()
		default:
			rest = append(rest, *x)
		}
	}
	p.waiting.starts = rest
	for offset, is := range whole {
		if is { // Of a batch of which some wait, all are read again, and those that were taken change nothing.
			p.over.take(offset)
			p.over.count--
		}
	}
}

// split takes off what is to be tried next.
func (w *waiting) split() (some []refused, rest waiting) {
	rest = *w
	list := &rest.starts
	if len(rest.inner) > 0 {
		list = &rest.inner
	}
	n := min(waitingTry, len(*list))
	some, *list = (*list)[:n], (*list)[n:]
	for i := range some {
		rest.bytes -= some[i].size()
	}
	return some, rest
}

// follow puts others behind what waits.
func (w *waiting) follow(rest waiting) {
	w.inner, w.starts = slices.Concat(w.inner, rest.inner), slices.Concat(w.starts, rest.starts)
	w.bytes += rest.bytes
}

// handing bounds one admission.
const handing = 30 * time.Second

// hand gives events to the router, and deals with those that it did not take. What is handed over is waited for, also when ctx ends.
func (p *reading) hand(ctx context.Context, events []event.Event, records []kafka.Record) error {
	if len(events) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handing)
	defer cancel()
	receipts, err := p.admit(ctx, events)
	if p.stuck = err != nil; p.stuck {
		// The router takes nothing now: what was read waits, and its offsets with it.
		for i := range events {
			p.waiting.add(events[i], records[i])
		}
		p.tell(err)
		return nil
	}
	for i := range receipts {
		r := &receipts[i]
		switch {
		case r.Err == nil:
			p.s.taken.WithLabelValues(p.topic, r.Kind.String()).Inc()
		case triggers.IsFinal(r.Err):
			if err := p.s.unfit(ctx, p.topic, p.partition, of(&events[i], &records[i]), r.Err); err != nil {
				return err
			}
		default:
			if isInner(&events[i]) {
				p.stuck, err = true, r.Err
			}
			p.waiting.add(events[i], records[i])
		}
	}
	p.tell(err)
	return nil
}
