package simulate

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// An Answer is what a function does with an invocation.
type Answer struct {
	Outcome lang.Outcome
	After   time.Duration
	// Later says that it accepts first, and tells its outcome by an event.
	Later bool
	// Twice says that it does so, and that the event comes twice.
	Twice bool
	// Ticket says that it takes the call under a ticket, and is asked for the outcome by that; by whoever has the call then.
	Ticket bool
	// Never says that no answer comes at all.
	Never bool
	// Beats is how many heartbeats it sends, each after Every, or, where that is 0, when half of the time has passed that the try may go without one. Then it is
	// silent.
	Beats int
	Every time.Duration
}

// An outbox sends what a tenure's fold obliges to, again under the same id until it has an answer.
type outbox struct {
	t     *tenure
	items map[key]*item
	lanes map[string]*lane
	kept  map[journal.RunID][]*item // of runs that are paused: what is not sent
}

type item struct {
	inv    *engine.Invocation
	flying bool
	sent   time.Duration
	beat   time.Duration // when its last heartbeat came, or listening began
	tries  int
	ticket string
}

// A lane is a function's queue.
type lane struct {
	flying int
	queue  []*item
	free   time.Duration // when all that its rate lets through at once may be sent again
	waits  bool          // for its rate
}

// wait is how long it is until one more may be sent.
func (l *lane) wait(now, every time.Duration, burst int) time.Duration {
	return max(l.free-time.Duration(max(burst, 1)-1)*every-now, 0)
}

func (o *outbox) init(t *tenure) {
	o.t, o.items, o.lanes, o.kept = t, make(map[key]*item), make(map[string]*lane), make(map[journal.RunID][]*item)
}

func (o *outbox) add(inv *engine.Invocation) {
	k := key{inv.Run, inv.N}
	if o.subrun(inv) {
		if it := (&item{inv: inv}); o.items[k] != nil || o.keeps(it) {
			o.items[k] = cmp.Or(o.items[k], it)
			return
		}
	}
	if inv.Purpose == engine.Return || inv.Purpose == engine.Cancel && inv.ToTrigger != "" || o.subrun(inv) {
		o.between(inv)
		return
	}
	if inv.Purpose == engine.Route || inv.ToTrigger != "" && inv.Purpose != engine.Call {
		o.end(inv)
		return
	}
	if o.items[k] != nil {
		return
	}
	it := &item{inv: inv}
	o.items[k] = it
	if ticket := inv.Past().Ticket; ticket != "" {
		o.goOn(it, ticket)
		return
	}
	if at := inv.Past().Accepted; !at.IsZero() {
		if inv.Timeout > 0 {
			o.timeOut(it, at.Add(inv.Timeout).Sub(o.t.clock()))
		}
		if o.t.w.beating[k] {
			o.listen(it)
		}
		return
	}
	o.enqueue(it)
}

// subrun reports whether a call starts a run.
func (o *outbox) subrun(inv *engine.Invocation) bool {
	return inv.Purpose == engine.Call && inv.ToTrigger != "" && o.t.w.o.Starts != nil
}

// end lets the end of a run start runs: what the filters let through is journaled first, and started again by whoever does not know that it was.
func (o *outbox) end(inv *engine.Invocation) {
	w := o.t.w
	var starts []*lang.Definition
	if w.o.Starts != nil {
		starts = w.o.Starts(inv)
	}
	if inv.Purpose == engine.Route && inv.Starts == nil && len(starts) > 0 {
		o.t.write(engine.Record(journal.Matched, inv.Run, &engine.MatchedFact{N: inv.N, Count: len(starts), Starts: []byte("all")}))
		return
	}
	w.After(w.transit(), func() {
		if o.t.over {
			return
		}
		for i, def := range starts {
			key := ""
			if w.o.Key != nil {
				var err error
				if key, err = w.o.Key(def, eventOf(inv), inv.Input); err != nil {
					continue // What has no key starts nothing.
				}
			}
			w.start(ChildID(def.Trigger, inv.ID()), key, inv, def, engine.Share(inv.Fuel, len(starts), i))
		}
		o.t.write(engine.Record(journal.Accepted, inv.Run, &engine.AcceptedFact{Numbers: []uint32{inv.N}}))
	})
}

// ChildID is the id of the run of a trigger that an event starts.
func ChildID(trigger, event string) journal.RunID {
	hash := sha256.Sum256([]byte(trigger + " " + event))
	return journal.RunID(hash[:16])
}

// KeyedID is ChildID of a trigger whose events meet: those of one key lie in one partition.
func KeyedID(trigger, key, event string) journal.RunID {
	run, route := ChildID(trigger, key+" "+event), ChildID(trigger, key)
	copy(run[:4], route[:4])
	return run
}

// place is the run that a call starts, and its key: what the owner finds that is first to journal it. Another one finds another run, as with other documents.
func (o *outbox) place(inv *engine.Invocation) ([]byte, error) {
	event := fmt.Sprint(inv.ID(), " by ", o.t.id)
	run, w, key := ChildID(inv.ToTrigger, event), o.t.w, ""
	for _, def := range w.o.Starts(inv) {
		if w.o.Key != nil {
			var err error
			if key, err = w.o.Key(def, eventOf(inv), inv.Input); err != nil {
				return nil, err
			}
		}
		if def.Await != nil {
			run = KeyedID(inv.ToTrigger, key, event)
		}
	}
	return append(run[:], key...), nil
}

// Placed is the run that a call starts, or that the call has started which it cancels; false while none was journaled.
func Placed(inv *engine.Invocation) (journal.RunID, bool) {
	if len(inv.Starts) < len(journal.RunID{}) {
		return journal.RunID{}, false
	}
	return journal.RunID(inv.Starts[:len(journal.RunID{})]), true
}

// between carries what passes between a run and one that it starts; each arrives once it arrives, in any order.
func (o *outbox) between(inv *engine.Invocation) {
	w := o.t.w
	child, placed := Placed(inv)
	if inv.Purpose == engine.Call && !placed {
		starts, err := o.place(inv)
		if err != nil {
			o.t.write(engine.Record(journal.GaveUp, inv.Run, &engine.GaveUpFact{N: inv.N, Err: lang.Failf(lang.ClassFunction, "bad_event", "%v", err)}))
			return
		}
		o.t.write(engine.Record(journal.Matched, inv.Run, &engine.MatchedFact{N: inv.N, Count: 1, Starts: starts}))
		return
	}
	w.After(w.transit(), func() {
		if o.t.over {
			return
		}
		done := engine.Record(journal.Accepted, inv.Run, &engine.AcceptedFact{Numbers: []uint32{inv.N}})
		switch inv.Purpose {
		case engine.Return:
			rec, _ := inv.Answer()
			w.come(rec)
		case engine.Cancel:
			if !placed {
				child = ChildID(inv.ToTrigger, inv.Cause) // It has none; whoever looks for it finds nothing.
			}
			w.come(engine.Record(journal.Cancel, child, &engine.CancelFact{Reason: "the run that started it no longer waits for it", Ahead: true, ID: inv.ID()}))
		default:
			for _, def := range w.o.Starts(inv) {
				w.start(child, string(inv.Starts[len(child):]), inv, def, inv.Fuel)
			}
			if inv.Type == engine.TypeLoose {
				done = engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Success(lang.Of(map[string]string{"run": child.String()}))})
			}
		}
		o.t.write(done)
	})
}

func eventOf(inv *engine.Invocation) lang.Value {
	return lang.Of(map[string]string{"id": inv.ID(), "source": "/onward/" + inv.Trigger, "type": inv.Type})
}

// start starts a run of a definition by the event of a run's end, or of a step that calls it.
func (w *World) start(run journal.RunID, key string, inv *engine.Invocation, def *lang.Definition, fuel int) {
	f := engine.StartFact{
		Trigger: def.Trigger, Digest: def.Digest(), Data: inv.Input, Spent: engine.LimitsOf(journal.Level).Fuel - fuel, Event: eventOf(inv), Key: key,
	}
	if inv.Type == engine.TypeSub {
		f.Parent = inv.ID()
	}
	if def.Await != nil {
		f.Names = []string{""}
	}
	rec := engine.Record(journal.Start, run, &f)
	rec.Tenant = def.Tenant
	w.come(rec)
}

// come makes a record durable that comes from another run; it may come again.
func (w *World) come(rec journal.Record) {
	w.Append(rec)
	if w.chance(Duplicate) {
		w.After(w.transit()+w.rand(5*time.Second), func() { w.Append(rec) })
	}
}

// hold keeps what a run calls, from now on, or sends what was kept.
func (o *outbox) hold(h engine.Halt) {
	if h.Paused {
		o.kept[h.Run] = append([]*item{}, o.kept[h.Run]...)
		return
	}
	kept := o.kept[h.Run]
	delete(o.kept, h.Run)
	for _, it := range kept {
		switch {
		case !o.current(it):
		case o.subrun(it.inv):
			delete(o.items, key{it.inv.Run, it.inv.N})
			o.between(it.inv)
		default:
			o.enqueue(it)
		}
	}
}

// keeps lays a call of a paused run aside.
func (o *outbox) keeps(it *item) bool {
	if !o.pauses(it) {
		return false
	}
	o.kept[it.inv.Run] = append(o.kept[it.inv.Run], it)
	return true
}

// pauses reports a call of a run that is paused.
func (o *outbox) pauses(it *item) bool {
	_, paused := o.kept[it.inv.Run]
	return paused && it.inv.Purpose == engine.Call
}

func (o *outbox) enqueue(it *item) {
	l := o.lane(it.inv.Function)
	l.queue = append(l.queue, it)
}

func (o *outbox) lane(function string) *lane {
	l := o.lanes[function]
	if l == nil {
		l = &lane{}
		o.lanes[function] = l
	}
	return l
}

func (o *outbox) current(it *item) bool { return o.items[key{it.inv.Run, it.inv.N}] == it && !o.t.over }

func (o *outbox) stop(inv *engine.Invocation) {
	k := key{inv.Run, inv.N}
	if it := o.items[k]; it != nil {
		delete(o.items, k)
		o.land(it)
	}
}

// land gives the function's room back.
func (o *outbox) land(it *item) {
	if it.flying {
		it.flying = false
		o.lanes[it.inv.Function].flying--
		o.t.w.After(0, o.pump)
	}
}

// pump sends what there is room for.
func (o *outbox) pump() {
	if o.t.over {
		return
	}
	for _, name := range sortedKeys(o.lanes) {
		l, limit := o.lanes[name], 0
		if o.t.w.o.Concurrency != nil {
			limit = o.t.w.o.Concurrency(name)
		}
		for len(l.queue) > 0 && (limit == 0 || l.flying < limit) {
			it := l.queue[0]
			if o.current(it) && o.rated(l, it) {
				break
			}
			l.queue = l.queue[1:]
			if o.current(it) && !o.keeps(it) {
				l.flying++
				it.flying = true
				o.send(it)
			}
		}
	}
}

// rated reports whether a call has to wait for the rate of its function; it is counted when it does not.
func (o *outbox) rated(l *lane, it *item) bool {
	w := o.t.w
	if w.o.Rate == nil || it.inv.Purpose != engine.Call || o.pauses(it) {
		return false
	}
	every, burst := w.o.Rate(it.inv.Function)
	if every == 0 {
		return false
	}
	if wait := l.wait(w.now, every, burst); wait > 0 {
		if !l.waits {
			l.waits = true
			w.After(wait, func() {
				l.waits = false
				o.pump()
			})
		}
		return true
	}
	l.free = max(l.free, w.now) + every
	return false
}

func (o *outbox) send(it *item) {
	w, inv := o.t.w, it.inv
	if !inv.Expires.IsZero() && o.t.clock().After(inv.Expires) {
		delete(o.items, key{inv.Run, inv.N})
		o.land(it)
		o.t.write(engine.Record(journal.GaveUp, inv.Run, &engine.GaveUpFact{N: inv.N, Err: lang.Failf(lang.ClassPlatform, "undelivered", "not delivered in time")}))
		return
	}
	it.tries++
	it.sent = w.now
	w.Sent = append(w.Sent, Send{w.now, o.t.id, int64(len(o.t.p.log)), inv})
	if inv.Timeout > 0 && inv.Purpose == engine.Call {
		o.timeOut(it, inv.Timeout)
	}
	w.After(w.transit(), func() { o.arrive(it) })
}

// timeOut writes down that a try took too long, unless it has ended or was sent anew by then.
func (o *outbox) timeOut(it *item, left time.Duration) {
	sent := it.sent
	o.t.w.After(left, func() {
		if o.current(it) && it.sent == sent {
			delete(o.items, key{it.inv.Run, it.inv.N})
			o.land(it)
			o.t.write(engine.Record(journal.TimedOut, it.inv.Run, &engine.NumbersFact{Numbers: []uint32{it.inv.N}}))
		}
	})
}

// arrive is the function's side.
func (o *outbox) arrive(it *item) {
	w, inv := o.t.w, it.inv
	if inv.Purpose != engine.Call {
		o.deliver(it)
		return
	}
	k := key{inv.Run, inv.N}
	w.calls[k]++
	a := w.o.Function(inv, w.calls[k])
	if inv.Heartbeat > 0 {
		w.beating[k] = true
		o.listen(it)
		if a.Every == 0 {
			a.Every = inv.Heartbeat / 2
		}
		w.beat(inv, a.Every, a.Beats)
	}
	switch {
	case a.Never:
	case a.Ticket:
		ticket := fmt.Sprintf("%s.%d#%d", inv.Run, inv.N, w.calls[k])
		w.tickets[ticket] = result{w.now + a.After, a.Outcome}
		o.knew(inv)
		w.After(w.transit(), func() { o.took(it, ticket) })
	case a.Later || a.Twice:
		w.After(w.transit(), func() { o.answered(it, journal.Accepted, lang.Outcome{}) })
		w.After(a.After, func() { w.complete(inv, a.Outcome, a.Twice) })
	case w.chance(LostAnswer):
		if it.tries == 1 && inv.Past().Tried.IsZero() && o.current(it) {
			o.t.write(engine.Record(journal.Tried, inv.Run, &engine.NumbersFact{Numbers: []uint32{inv.N}}))
		}
		w.After(200*time.Millisecond, func() { o.again(it) })
	default:
		w.After(a.After+w.transit(), func() { o.answered(it, journal.Completion, a.Outcome) })
	}
}

// listen times a call out that is silent for too long, from now on.
func (o *outbox) listen(it *item) {
	it.beat = o.t.w.now
	o.t.w.After(it.inv.Heartbeat, func() { o.silent(it) })
}

func (o *outbox) silent(it *item) {
	w := o.t.w
	if left := it.beat + it.inv.Heartbeat - w.now; left > 0 {
		w.After(left, func() { o.silent(it) })
		return
	}
	if o.current(it) {
		delete(o.items, key{it.inv.Run, it.inv.N})
		o.land(it)
		o.t.write(engine.Record(journal.TimedOut, it.inv.Run, &engine.TimedOutFact{Numbers: []uint32{it.inv.N}, Silent: true}))
	}
}

// beat sends heartbeats to whoever has the call then.
func (w *World) beat(inv *engine.Invocation, every time.Duration, n int) {
	if n == 0 {
		return
	}
	w.After(every, func() {
		for _, t := range w.tenures {
			if it := t.outbox.items[key{inv.Run, inv.N}]; it != nil && !t.over && !t.stalled {
				it.beat = w.now
			}
		}
		w.beat(inv, every, n-1)
	})
}

// deliver is a destination's side.
func (o *outbox) deliver(it *item) {
	w := o.t.w
	var refused *lang.Error
	if w.o.Deliver != nil {
		refused = w.o.Deliver(it.inv)
	}
	if w.chance(LostAnswer) {
		w.After(200*time.Millisecond, func() { o.again(it) })
		return
	}
	w.After(w.transit(), func() {
		if refused == nil || !o.current(it) {
			o.answered(it, journal.Accepted, lang.Outcome{})
			return
		}
		delete(o.items, key{it.inv.Run, it.inv.N})
		o.land(it)
		o.t.write(engine.Record(journal.GaveUp, it.inv.Run, &engine.GaveUpFact{N: it.inv.N, Err: refused}))
	})
}

// again sends under the same id.
func (o *outbox) again(it *item) {
	if o.current(it) {
		o.land(it)
		o.enqueue(it)
		o.pump()
	}
}

func (o *outbox) answered(it *item, kind journal.Kind, outcome lang.Outcome) {
	if !o.current(it) {
		return
	}
	inv := it.inv
	o.land(it)
	if kind == journal.Completion {
		delete(o.items, key{inv.Run, inv.N})
		o.t.write(engine.Record(kind, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: outcome}))
		return
	}
	if inv.Purpose != engine.Call {
		delete(o.items, key{inv.Run, inv.N})
	}
	o.t.write(engine.Record(kind, inv.Run, &engine.NumbersFact{Numbers: []uint32{inv.N}}))
}

// complete brings an outcome in as an event: by admission, which any router does.
func (w *World) complete(inv *engine.Invocation, o lang.Outcome, twice bool) {
	rec := engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: o, Cause: "completion of " + inv.ID()})
	w.After(w.transit(), func() { w.Append(rec) })
	if w.chance(Duplicate) || twice {
		w.After(w.transit()+w.rand(5*time.Second), func() { w.Append(rec) })
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
