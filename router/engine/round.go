package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/schedulers"
)

// Events of one trigger that have one key meet in a round (await, batch, correlate): they lie in one partition, so that its fold says which of them belong
// together. Each is a start under an id of its own. It opens a round, which is a run, joins the one that gathers, is kept for the next, or is taken by none.
// A run has its round until another one may take the key's events: once its join is decided, or, where rounds come one after the other, until it has ended.

// A round is what gathers for a run.
type round struct {
	key   string
	open  bool   // it gathers
	timer uint32 // of its deadline; 0 is none

	arrived []arrival
	known   []int32                    // per event of the await, how many are expected; -1 is not known yet
	have    []int32                    // and how many have come
	bytes   int                        // of their data
	ids     map[journal.RunID]struct{} // of what has arrived, once it is many; not state
	decoded decoded                    // not state

	kept      []keptEvent // for the next round
	keptBytes int
}

// An arrival is an event of a round.
type arrival struct {
	id    journal.RunID // the run that it would have opened: its name among all events of the trigger
	kind  int32         // which event of the await it is
	event lang.Value
	data  lang.Value
}

// A reopening is what a round leaves to the next one.
type reopening struct {
	name keyName
	kept []keptEvent
}

// Met says what became of an event that meets others: the run whose round has it, or is to be followed by one that will.
type Met struct {
	Run  journal.RunID
	Name string // which of the awaited events it was taken for
	Why  string // it was kept, or is taken by none
}

// Said is what a fold made of a record.
type Said struct {
	Reason Reason
	Met    Met
}

// A Missed is an event that no round takes.
type Missed struct {
	Trigger, Tenant, Key string
	Event, Data          lang.Value
	Why                  string
	Full                 bool // for want of room: it is lost unless somebody keeps it
}

// idsFrom is how many events a round has at least whose ids are looked up: fewer are looked through.
const idsFrom = 16

func (x *round) has(id journal.RunID) bool {
	if slices.ContainsFunc(x.kept, func(k keptEvent) bool { return k.id == id }) {
		return true
	}
	if len(x.arrived) < idsFrom {
		return slices.ContainsFunc(x.arrived, func(a arrival) bool { return a.id == id })
	}
	if x.ids == nil {
		x.ids = make(map[journal.RunID]struct{}, 2*len(x.arrived))
		for i := range x.arrived {
			x.ids[x.arrived[i].id] = struct{}{}
		}
	}
	_, known := x.ids[id]
	return known
}

// kind is the first of the names for which an event is still missing; -1 is none.
func (x *round) kind(a *lang.Await, names []string) int {
	for _, name := range names {
		if i := a.Of(name); i >= 0 && (x.known[i] < 0 || x.have[i] < x.known[i]) {
			return i
		}
	}
	return -1
}

func (r *run) roundName() keyName { return keyName{r.tenant, r.def.Trigger, r.rare().round.key} }

// closed is the tombstone of a key whose only round is over.
func (n keyName) closed() (id journal.RunID) {
	h := sha256.New()
	for _, text := range []string{n.tenant, n.trigger, n.key} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(text)))
		h.Write(size[:])
		h.Write([]byte(text))
	}
	copy(id[:], h.Sum(nil))
	return id
}

// meet says what becomes of an event; Applied is that it opens a round.
func (s *State) meet(id journal.RunID, tenant string, def *definition, f *StartFact) Reason {
	name := keyName{tenant, def.Trigger, f.Key}
	r := s.rounds[name]
	if r == nil {
		if def.Await.Late == lang.LateUnmatched && s.tombstones.has(name.closed()) {
			return s.miss(id, name, f, "the round of its key is over, and the trigger has one a key (late: unmatched)", false)
		}
		return Applied
	}
	s.saving.before(r)
	if r.rare().round.has(id) {
		s.out.Met = Met{Run: r.id}
		return Duplicate
	}
	if reason, decided := s.toRound(r, id, f); decided {
		return reason
	}
	return s.keepEvent(r, id, f)
}

// toRound gives an event to the run that has the round of its key; false when it is for the next one.
func (s *State) toRound(r *run, id journal.RunID, f *StartFact) (Reason, bool) {
	a, x := r.def.Await, r.rare().round
	switch {
	case !x.open && a.Signals:
		return s.signalLater(r, id, f), true
	case x.open:
		if kind := x.kind(a, f.Names); kind >= 0 {
			s.tombstones.add(id, s.now, s.limits)
			s.join(r, id, kind, f)
			return Joined, true
		}
		if a.Late == lang.LateUnmatched {
			return s.miss(id, r.roundName(), f, fmt.Sprintf("the round of its key has its %s already, and the trigger has one a key (late: unmatched)", called(f.Names)), false), true
		}
	}
	return 0, false
}

// miss lets an event go that no round takes. It is not taken when it comes again either.
func (s *State) miss(id journal.RunID, name keyName, f *StartFact, why string, full bool) Reason {
	s.tombstones.add(id, s.now, s.limits)
	s.out.Met = Met{Why: why}
	s.out.Missed = append(s.out.Missed, Missed{Trigger: name.trigger, Tenant: name.tenant, Key: name.key, Event: f.Event, Data: f.Data, Why: why, Full: full})
	if s.observe != nil {
		s.observe(Change{Kind: EventMissed, Run: id, Time: s.Now(), Text: why})
	}
	if full {
		return Limited
	}
	return Unmatched
}

// called are names for people.
func called(names []string) string {
	if len(names) == 0 || names[0] == "" {
		return "events"
	}
	return strings.Join(names, " or ")
}

// signalLater gives an event to the run of its key that is at work, as a signal by its type.
func (s *State) signalLater(r *run, id journal.RunID, f *StartFact) Reason {
	k := keptSignal{data: f.Data}
	if len(f.Names) > 0 {
		k.name = f.Names[0]
	}
	if k.name == "" {
		k.name = attribute(f.Event, "type")
	}
	copy(k.key[:], id[:])
	switch _, repeated := r.rare().seen[k.key]; {
	case repeated:
		return Duplicate
	case r.rare().kept.n >= s.limits.Signals || r.bytes+size(f.Data) > s.limits.RunBytes || s.unfit("the event", f.Data) != nil:
		return s.miss(id, r.roundName(), f, "its run takes no more signals", true)
	}
	s.tombstones.add(id, s.now, s.limits)
	s.out.Met = Met{Run: r.id, Name: k.name}
	s.traceSignal(r, &SignalFact{Name: k.name, Data: k.data})
	s.keepSignals(r, k)
	return Joined
}

// openRound begins to gather for a run, with the event that began it.
func (s *State) openRound(r *run, f *StartFact) {
	a := r.def.Await
	x := &round{key: f.Key, open: true, known: make([]int32, len(a.Events)), have: make([]int32, len(a.Events))}
	r.own().round = x
	s.rounds[r.roundName()] = r
	for i := range a.Events {
		x.known[i] = expected(&a.Events[i])
	}
	if a.Deadline > 0 {
		x.timer = s.setTimer(r, a.Deadline.D(), timer{kind: timerRound})
	}
	s.join(r, r.id, max(x.kind(a, f.Names), 0), f)
}

// expected is how many events of a kind there are to be, as far as the definition says; -1 is not known.
func expected(a *lang.Awaited) int32 {
	if a.One() {
		return 1
	}
	if v, constant := a.Count.Const(); constant && !a.Count.IsZero() {
		if n, ok := countOf(v, lang.MaxRound); ok {
			return int32(n)
		}
	}
	return -1
}

// countOf reads a number of events.
func countOf(v lang.Value, most int) (int, bool) {
	n, err := strconv.ParseFloat(v.JSON(), 64)
	return int(n), err == nil && n >= 0 && n <= float64(most) && n == float64(int(n))
}

// join lets an event into the round of a run.
func (s *State) join(r *run, id journal.RunID, kind int, f *StartFact) {
	a, x := r.def.Await, r.rare().round
	if x.ids != nil {
		x.ids[id] = struct{}{}
	}
	x.arrived = append(x.arrived, arrival{id, int32(kind), f.Event, f.Data})
	x.have[kind]++
	x.bytes += size(f.Data)
	if len(x.arrived) > 1 { // The run has the first one's.
		s.hold(r, size(f.Event)+size(f.Data))
		r.fuel = min(r.fuel, max(s.limits.Fuel-max(f.Spent, 0), 0))
	}
	name := a.Events[kind].Name
	s.out.Met = Met{Run: r.id, Name: name}
	s.note(r, Change{Kind: EventJoined, Text: name})
	s.traceEvent(r, name, f)
	enough, e := s.enough(r, f)
	switch {
	case e != nil:
		s.out.Met.Why = "its run fails: " + e.Message
		s.endRun(r, lang.Failure(e))
	case enough:
		s.roundOver(r)
	}
}

// enough reports whether the events of a round are enough, now that one has come. An error is the run's.
func (s *State) enough(r *run, last *StartFact) (bool, *lang.Error) {
	a, x := r.def.Await, r.rare().round
	for i := range a.Events {
		if x.known[i] >= 0 || a.Events[i].Count.IsZero() {
			continue
		}
		scope := lang.Vars{{Name: "event", Value: last.Event}, {Name: "data", Value: last.Data}}
		v, err := a.Events[i].Count.Eval(scope, s.cache)
		if err != nil || v.IsNull() {
			continue // This event does not tell it.
		}
		n, ok := countOf(v, s.limits.Round)
		if !ok {
			return false, lang.Failf(lang.ClassFunction, "bad_count", "count: %s yields %.80s, and not a whole number up to %d", a.Events[i].Count.Source(), v.JSON(), s.limits.Round)
		}
		x.known[i] = int32(n)
	}
	total, have, complete := x.tally()
	is := complete
	switch a.Join.Word {
	case "any":
		is = have > 0
	case lang.JoinBegins:
		is = x.have[0] > 0
	case "atLeast":
		is = have >= a.Join.AtLeast
	case "percent":
		is = total >= 0 && have >= schedulers.Percent(a.Join.Percent).Of(total)
	case "until":
		ok, e := s.until(r, last)
		if e != nil || ok {
			return ok, e
		}
		if complete {
			return false, lang.Failf(lang.ClassFunction, "join_unreachable", "all %d events have come, and until is not true: %s", have, a.Join.Until.Source())
		}
		is = false
	}
	switch {
	case is, a.Bytes > 0 && x.bytes >= a.Bytes:
		return true, nil
	case len(x.arrived) >= s.limits.Round:
		return false, lang.Failf(lang.ClassFunction, "too_many", "a round has %d events at most, and these are not enough yet", s.limits.Round)
	case x.bytes > s.limits.ValueBytes:
		return false, tooLarge("what has arrived", x.bytes, s.limits.ValueBytes)
	}
	return false, s.overweight(r)
}

// tally is how many events are expected together, -1 where that is not known, how many of those have come, and whether that is all.
func (x *round) tally() (total, have int, complete bool) {
	complete = true
	for i, n := range x.known {
		switch {
		case n < 0:
			total, complete = -1, false
			have += int(x.have[i])
			continue
		case total >= 0:
			total += int(n)
		}
		have += int(min(x.have[i], n))
		complete = complete && x.have[i] >= n
	}
	return total, have, complete
}

// roundOver lets the flow of a run begin with what has arrived.
func (s *State) roundOver(r *run) {
	x, a := r.rare().round, r.def.Await
	s.dropTimer(r, x.timer)
	x.timer, x.open = 0, false
	if a.Signals {
		s.beginSignalled(r)
	} else {
		v := r.gathered()
		if e := s.unfit("what has arrived", v); e != nil {
			s.endRun(r, lang.Failure(e))
			return
		}
		r.own().arrived = v
		s.hold(r, v.Size())
		for i := range x.arrived[1:] {
			s.hold(r, -size(x.arrived[i+1].event)-size(x.arrived[i+1].data))
		}
		s.note(r, Change{Kind: RoundOver, N: uint32(len(x.arrived))})
	}
	x.arrived, x.ids, x.decoded = nil, nil, decoded{}
	if a.Late != lang.LateBuffer && !a.Signals {
		s.leaveRound(r)
	}
	switch {
	case r.fuel == 0:
		s.endRun(r, lang.Failure(lang.Failf(lang.ClassPlatform, ChainLimit, "nothing is left of the %d runs that one event from outside may lead to", s.limits.Fuel)))
	default:
		s.openFlow(r)
	}
}

// beginSignalled lets a run begin with the event that begins one; what came of its key before are signals that came early.
func (s *State) beginSignalled(r *run) {
	x := r.rare().round
	for i := range x.arrived {
		y := &x.arrived[i]
		if i > 0 {
			s.hold(r, -size(y.event)-size(y.data))
		}
		if y.kind == 0 {
			s.hold(r, size(y.event)+size(y.data)-size(r.event)-size(r.data))
			r.event, r.data, r.traced = y.event, y.data, traced(y.event)
		}
	}
	s.keepSignals(r, x.early(r.def.Await)...)
}

// leaveRound lets other runs have the events of a run's key.
func (s *State) leaveRound(r *run) {
	x := r.rare().round
	if x == nil {
		return
	}
	name := r.roundName()
	if s.rounds[name] == r { // A run that found its key taken has it by name only.
		delete(s.rounds, name)
	}
	s.hold(r, -x.keptBytes)
	r.seldom.round = nil
	if r.def.Await.Late == lang.LateUnmatched {
		s.tombstones.add(name.closed(), s.now, s.limits)
	}
	if len(x.kept) > 0 {
		s.reopened = append(s.reopened, reopening{name, x.kept})
	}
}

// roundDue ends the gathering of a round whose time is over.
func (s *State) roundDue(r *run) {
	x, a := r.rare().round, r.def.Await
	if x == nil || !x.open {
		return
	}
	x.timer = 0
	if a.Signals {
		s.endRun(r, dropped(fmt.Sprintf("no run of key %q has begun within %s of the first event for it", x.key, a.Deadline.D())))
		return
	}
	if a.Takes() {
		s.roundOver(r)
		return
	}
	_, missing := x.standing(a)
	e := lang.Failf(lang.ClassTimeout, "join_deadline", "its events were not enough within %s: missing are %s", a.Deadline.D(), strings.Join(missing, ", "))
	have := make(map[string]int, len(a.Events))
	for i := range a.Events {
		have[a.Events[i].Name] = int(x.have[i])
	}
	e.Data = lang.Of(map[string]any{"key": x.key, "arrived": have, "missing": missing})
	r.own().arrived = r.gathered()
	s.endRun(r, lang.Failure(e.Bounded()))
}

// gathered is arrived: of a round with names an object of what has come by name, a list where there may be several; without, the list. Each is the event's
// attributes with its data.
func (r *run) gathered() lang.Value {
	a, x := r.def.Await, r.rare().round
	var b strings.Builder
	b.Grow(x.room())
	if len(a.Events) == 1 && a.Events[0].Name == "" {
		x.list(&b, 0)
		return lang.Trusted(b.String())
	}
	b.WriteByte('{')
	for i := range a.Events {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(append(lang.AppendString(nil, a.Events[i].Name), ':'))
		if !a.Events[i].One() {
			x.list(&b, i)
			continue
		}
		at := slices.IndexFunc(x.arrived, func(y arrival) bool { return y.kind == int32(i) })
		if at < 0 {
			b.WriteString("null")
			continue
		}
		x.arrived[at].write(&b)
	}
	b.WriteByte('}')
	return lang.Trusted(b.String())
}

// room is about the bytes of what has arrived.
func (x *round) room() (n int) {
	for i := range x.arrived {
		n += x.arrived[i].event.Size() + x.arrived[i].data.Size() + len(`,"data":,`)
	}
	return n + 2
}

// list writes the list of the events of a kind, in the order of the journal.
func (x *round) list(b *strings.Builder, kind int) {
	b.WriteByte('[')
	begin := b.Len()
	for i := range x.arrived {
		if x.arrived[i].kind != int32(kind) {
			continue
		}
		if b.Len() > begin {
			b.WriteByte(',')
		}
		x.arrived[i].write(b)
	}
	b.WriteByte(']')
}

// whole is the event as one object.
func (y *arrival) whole() lang.Value {
	var b strings.Builder
	y.write(&b)
	return lang.Trusted(b.String())
}

// write writes the event as one object: its attributes, and data behind them.
func (y *arrival) write(b *strings.Builder) {
	attributes := strings.TrimSuffix(y.event.JSON(), "}")
	if !strings.HasPrefix(attributes, "{") {
		attributes = "{" // Nobody writes an event without attributes; then it has none.
	}
	if b.WriteString(attributes); len(attributes) > 1 {
		b.WriteByte(',')
	}
	b.WriteString(`"data":`)
	b.WriteString(y.data.JSON())
	b.WriteByte('}')
}

// gathers reports whether r waits for events of its round.
func (r *run) gathers() bool { x := r.rare().round; return x != nil && x.open }
