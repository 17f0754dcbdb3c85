package schedulertest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers"
)

// tell lets one event happen and holds what the policy does against the laws.
func (r *round) tell(ev schedulers.Event) error {
	b, s := r.b, r.b.Subject
	r.tally.Events++
	before, err := s.machine.Encode(b.state)
	if err != nil {
		return r.broken(Encoded, "the state has no encoded form: %v", err)
	}
	if ev.Kind == schedulers.Done && b.outlived(Child{ev.Slot, ev.Index}, ev.Outcome) {
		return nil
	}
	if ev.Kind == schedulers.Cancelled {
		r.tally.Cancelled++
	}
	b.happen(ev)
	if ev.Kind == schedulers.Done {
		c := Child{ev.Slot, ev.Index}
		r.told = append(r.told, Told{c, ev.Outcome})
		r.of[c] = ev.Outcome
		delete(r.known, c)
	}
	b.collected = 0
	requests, fault := b.ask(b.state, ev)
	collected := b.collected
	did := answer(requests, fault)
	r.lines = append(r.lines, fmt.Sprintf("%s -> %s", eventLine(ev), did))
	after, err := s.machine.Encode(b.state)
	if err != nil {
		return r.broken(Encoded, "the state has no encoded form: %v", err)
	}
	if err := r.again(ev, before, after, did); err != nil {
		return err
	}
	if err := r.legal(requests, fault); err != nil {
		return err
	}
	if err := r.flat(ev, requests, fault, collected, len(after)); err != nil {
		return err
	}
	r.left = b.left()
	b.perform(ev, requests, fault)
	r.fault = r.fault || fault != nil
	if b.ended && b.outcome.Err != nil && b.outcome.Err.Type == stuck && fault == nil && !ends(requests) {
		return r.broken(Ends, "it neither ended nor waits for anything")
	}
	if err := r.joined(ev, fault); err != nil {
		return err
	}
	return r.children(string(after))
}

// wide is from how many children on a frame is judged as a wide one.
const wide = 128

// flat judges what an event cost.
func (r *round) flat(ev schedulers.Event, requests []Request, fault error, collected, size int) error {
	if ev.Kind == schedulers.Started {
		r.first = size
	}
	children := 0
	for i := range r.b.slots {
		children += r.b.slots[i].spawned
	}
	if children < wide || fault != nil || ends(requests) {
		return nil
	}
	if collected >= children/2 {
		if r.often++; r.often > 3 {
			return r.broken(Flat, "%d outcomes were collected in an event that did not end the frame, and not for the first time", collected)
		}
	}
	if limit := r.first + 2048 + 128*len(r.b.slots) + 4*r.data.Size(); len(r.told) >= wide && size > limit {
		return r.broken(Flat, "the state has %d bytes after %d children, and had %d at first", size, len(r.told), r.first)
	}
	return nil
}

func ends(requests []Request) bool {
	return slices.ContainsFunc(requests, func(q Request) bool { return q.Op == End })
}

func answer(requests []Request, fault error) string {
	if fault != nil {
		return "error " + show(lang.Failure(failure(fault)))
	}
	return showAll(requests)
}

func eventLine(ev schedulers.Event) string {
	switch ev.Kind {
	case schedulers.Done:
		return fmt.Sprintf("done %d.%d %s", ev.Slot, ev.Index, show(ev.Outcome))
	case schedulers.Fired:
		return fmt.Sprintf("fired %q", ev.Name)
	case schedulers.Signalled:
		return fmt.Sprintf("signalled %q %s", ev.Name, ev.Outcome.Value)
	}
	return ev.Kind.String()
}

// decode makes a state of its encoded form, which must encode to the same bytes.
func (r *round) decode(encoded []byte) (any, error) {
	m := r.b.Subject.machine
	state, err := m.Decode(encoded)
	if err != nil {
		return nil, r.broken(Encoded, "the encoded state does not decode: %v\n%s", err, encoded)
	}
	again, err := m.Encode(state)
	if err != nil || string(again) != string(encoded) {
		return nil, r.broken(Encoded, "the state encodes to\n%s\nand, decoded, to\n%s %v", encoded, again, err)
	}
	return state, nil
}

// again tells states that were encoded before the event of the same event. When they differ among themselves it is no question of encoding.
func (r *round) again(ev schedulers.Event, before, after []byte, did string) error {
	first := ""
	live := did + "\nand becomes\n" + string(after)
	for i := range r.repeats {
		state, err := r.decode(before)
		if err != nil {
			return err
		}
		requests, fault := r.b.ask(state, ev)
		encoded, err := r.b.Subject.machine.Encode(state)
		if err != nil {
			return r.broken(Encoded, "the state has no encoded form: %v", err)
		}
		got := answer(requests, fault) + "\nand becomes\n" + string(encoded)
		if i == 0 {
			first = got
		} else if got != first {
			return r.broken(Same, "the state asks for\n%s\nand, told of the same once more, for\n%s", first, got)
		}
	}
	if first != live {
		return r.broken(Encoded, "the live state asks for\n%s\nand one that was encoded before for\n%s", live, first)
	}
	return nil
}

func panicked(err error) bool {
	var e *lang.Error
	return errors.As(err, &e) && e.Type == "policy_panic"
}

func (r *round) legal(requests []Request, fault error) error {
	var m misuse
	if errors.As(fault, &m) || panicked(fault) {
		return r.broken(Legal, "%v", fault)
	}
	if errors.As(fault, new(undeclared)) {
		return r.broken(Declared, "%v", fault)
	}
	var own *lang.Error
	if errors.As(fault, &own) && (own == nil || own.Class == 0) {
		return r.broken(Legal, "an error without a class: %v", fault)
	}
	for _, q := range requests {
		if q.Op == End && q.Outcome.Err != nil && q.Outcome.Err.Class == 0 {
			return r.broken(Legal, "an error without a class: %v", q.Outcome.Err)
		}
		if q.Op == Spawn && q.B > 1 && !r.b.Subject.Declare(q.Slot).Many {
			return r.broken(Declared, "%s, and the policy does not declare that slot %d may run more than once (Many)", q, q.Slot)
		}
	}
	return nil
}

// joined judges what the end of a child, or the deadline, did to a frame whose settings have a join.
func (r *round) joined(ev schedulers.Event, fault error) error {
	if r.join.Word == "" || r.b.cancelled || fault != nil {
		return nil
	}
	ended, outcome := r.b.ended, r.b.outcome
	if ev.Kind == schedulers.Fired && ev.Name == schedulers.JoinTimer {
		if want := r.join.OnDeadline == "take"; !ended || want != (outcome.Verdict == lang.Succeeded) {
			return r.broken(Joined, "the deadline has come; ended %t, %s", ended, show(outcome))
		}
		return nil
	}
	if ev.Kind != schedulers.Done {
		return nil
	}
	failed := ev.Outcome.Verdict == lang.Failed
	switch r.join.Word {
	case schedulers.JoinAll:
		if failed && (!ended || show(outcome) != show(ev.Outcome)) {
			return r.broken(Joined, "a child failed, and the frame did not fail with its error but: ended %t, %s", ended, show(outcome))
		}
	case schedulers.JoinSettled:
		if failed && ended && outcome.Verdict == lang.Failed {
			return r.broken(Joined, "a child failed, and the frame with it: %s", show(outcome))
		}
	case schedulers.JoinAny, schedulers.JoinAtLeast, schedulers.JoinPercent:
		return r.counted(ev)
	}
	return nil
}

// counted judges a join that counts successes. It counts for itself.
func (r *round) counted(ev schedulers.Event) error {
	total, succeeded, need := 0, 0, 1
	for i := range r.b.slots {
		total += r.b.slots[i].spawned
	}
	for _, o := range r.of {
		if o.Verdict == lang.Succeeded {
			succeeded++
		}
	}
	switch r.join.Word {
	case schedulers.JoinAtLeast:
		need = r.join.AtLeast
	case schedulers.JoinPercent:
		for need = 0; float64(need)*100+1e-4 < r.join.Percent*float64(total); need++ {
		}
	}
	open := total - len(r.of)
	ended, outcome := r.b.ended, r.b.outcome
	switch {
	case succeeded >= need && (!ended || outcome.Verdict != lang.Succeeded):
		return r.broken(Joined, "%d have succeeded and %d are needed: ended %t, %s", succeeded, need, ended, show(outcome))
	case succeeded < need && succeeded+open < need && (!ended || outcome.Verdict != lang.Failed):
		return r.broken(Joined, "%d have succeeded, %d could still, and %d are needed: ended %t, %s", succeeded, open, need, ended, show(outcome))
	case succeeded < need && succeeded+open >= need && ended:
		return r.broken(Joined, "%d have succeeded, %d could still, and %d are needed: it did not wait, %s", succeeded, open, need, show(outcome))
	case ended && r.join.Word == schedulers.JoinAny && outcome.Verdict == lang.Succeeded && r.whole() && outcome.Value != ev.Outcome.Value:
		return r.broken(Joined, "the first success is %s, and the frame yields %s", ev.Outcome.Value, outcome.Value)
	}
	return nil
}

// whole reports whether the settings do not say that less than the children's values are wanted.
func (r *round) whole() bool {
	v := reflect.ValueOf(r.b.Subject.Settings).Elem()
	results := v.FieldByName("Results")
	return !results.IsValid() || results.String() == "list"
}

// joinOf returns the settings' join, if they have one.
func joinOf(settings any) schedulers.Join {
	v := reflect.ValueOf(settings).Elem()
	if v.Kind() != reflect.Struct {
		return schedulers.Join{}
	}
	for i := range v.NumField() {
		if v.Type().Field(i).Type == reflect.TypeFor[schedulers.Join]() && v.Type().Field(i).IsExported() {
			return v.Field(i).Interface().(schedulers.Join)
		}
	}
	return schedulers.Join{}
}

// places looks for the children's outcomes in that of a frame with a join: a list of as many items, or an object of as many members, as there are
// children has them in order. What was not done stands there as cancelled, or as running where it is left to.
func (r *round) places() error {
	if r.join.Word == "" || r.join.One() || r.b.outcome.Verdict != lang.Succeeded || len(r.told) == 0 {
		return nil
	}
	var all []Child
	for at := range r.b.slots {
		for i := range r.b.slots[at].spawned {
			all = append(all, Child{at, i})
		}
	}
	n, err := lang.ParseJSONNode([]byte(r.b.outcome.Value.JSON()))
	if err != nil || n.Kind == lang.ScalarNode || len(n.Items) != len(all) {
		return nil
	}
	if n.Kind == lang.MapNode && slices.ContainsFunc(all, func(c Child) bool { return r.b.Subject.Declare(c.Slot).Many }) {
		return nil
	}
	for i, c := range all {
		o, done := r.of[c]
		want := o.Value
		if r.join.Tells() {
			want = o.Settled()
		}
		if !done && r.join.Tells() {
			want = lang.Trusted(`{"outcome":"cancelled"}`)
			if r.join.Losers == "run" && n.Items[i].JSON().JSON() != want.JSON() {
				want = lang.Trusted(`{"outcome":"running"}`)
			}
		}
		shown, err := lang.ParseJSONNode([]byte(want.JSON()))
		if err != nil || n.Items[i].JSON() != shown.JSON() {
			return r.broken(Joined, "in the place of child %d of slot %d stands %s and not %s", c.Index, c.Slot, n.Items[i].JSON(), want)
		}
	}
	return nil
}

// windows judges what the policy set, and how many children were open at most.
func (r *round) windows() error {
	for at := range r.b.slots {
		want, said := r.window(at)
		if !said || r.b.slots[at].spawned == 0 {
			continue
		}
		if got := r.b.slots[at].window; got != want {
			return r.broken(Bounded, "the window of slot %d is %d, and the settings say %d", at, got, want)
		}
		if want > 0 && r.peak[at] > want {
			return r.broken(Bounded, "%d children of slot %d were open at a time, and the window is %d", r.peak[at], at, want)
		}
	}
	return nil
}

func (r *round) window(slot int) (int, bool) {
	settings := r.b.Subject.Settings
	if r.o.Window != nil {
		return r.o.Window(settings, slot), true
	}
	v := reflect.ValueOf(settings).Elem()
	if v.Kind() != reflect.Struct {
		return 0, false
	}
	for i := range v.NumField() {
		key, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("doc"), ",")
		if key == "window" && v.Field(i).CanInt() {
			return int(v.Field(i).Int()), true
		}
	}
	return 0, false
}

// children judges the bindings of children that have just opened, and of some that were open before.
func (r *round) children(encoded string) error {
	b := r.b
	for i := range b.slots {
		r.peak[i] = max(r.peak[i], b.slots[i].open)
	}
	if len(b.open) == 0 {
		return nil
	}
	copied, err := r.decode([]byte(encoded))
	if err != nil {
		return err
	}
	for i, c := range b.open {
		if _, known := r.known[c]; !known {
			if err := r.opened(c); err != nil {
				return err
			}
		} else if i >= 4 && r.rng.IntN(len(b.open)) >= 4 {
			continue
		}
		if err := r.stays(c, copied); err != nil {
			return err
		}
	}
	for _, state := range []any{b.state, copied} {
		if got, err := b.Subject.machine.Encode(state); err != nil || string(got) != encoded {
			return r.broken(Pure, "binding changed the state from\n%s\nto\n%s %v", encoded, got, err)
		}
	}
	return nil
}

// opened judges a new child's names against what lint was told.
func (r *round) opened(c Child) error {
	b := r.b
	r.known[c] = nil
	got := b.bound[c]
	if panicked(got.err) {
		return r.broken(Legal, "bind of child %d of slot %d: %v", c.Index, c.Slot, got.err)
	}
	if errors.As(got.err, new(undeclared)) {
		return r.broken(Declared, "bind of child %d of slot %d: %v", c.Index, c.Slot, got.err)
	}
	if got.err != nil {
		return nil
	}
	said := b.Subject.Declare(c.Slot)
	var names []string
	for _, v := range got.Vars {
		names = append(names, v.Name)
	}
	if a, b := sorted(names), sorted(said.Names); !slices.Equal(a, b) {
		return r.broken(Declared, "a child of slot %d is given the names %v, and declared are %v", c.Slot, a, b)
	}
	if !slices.IsSorted(got.Siblings) {
		return r.broken(Declared, "a child of slot %d is given the siblings %v, which are not in order", c.Slot, got.Siblings)
	}
	for _, sibling := range got.Siblings {
		if !slices.Contains(said.Siblings, sibling) || sibling < 0 || sibling >= len(b.slots) {
			return r.broken(Declared, "a child of slot %d is given sibling %d, and declared are %v", c.Slot, sibling, said.Siblings)
		}
		if n := b.Counts(sibling); n.Done() < n.Spawned {
			return r.broken(Declared, "a child of slot %d is given sibling %d, which is not done", c.Slot, sibling)
		}
		r.known[c] = append(r.known[c], b.Outcome(sibling, 0))
	}
	for _, sibling := range said.Siblings {
		if said.Many || b.Subject.Declare(sibling).Many {
			continue // All children of a step see what the first one did; and whether a step that runs many times is done, its policy alone knows.
		}
		if n := b.Counts(sibling); n.Spawned > 0 && n.Done() == n.Spawned && !slices.Contains(got.Siblings, sibling) {
			return r.broken(Declared, "sibling %d is declared for slot %d and done, and child %d does not see it", sibling, c.Slot, c.Index)
		}
	}
	return nil
}

func sorted(names []string) []string {
	out := slices.Clone(names)
	slices.Sort(out)
	return out
}

// stays judges that a child is bound as when it opened, by the live state and by one that was encoded.
func (r *round) stays(c Child, copied any) error {
	b := r.b
	first := b.bound[c]
	for _, state := range []any{b.state, copied} {
		if again := b.bind(state, c); showBound(again) != showBound(first) {
			return r.broken(Pure, "child %d of slot %d was bound\n%s\nand is now\n%s", c.Index, c.Slot, showBound(first), showBound(again))
		}
	}
	for i, was := range r.known[c] {
		if now := b.Outcome(first.Siblings[i], 0); show(now) != show(was) {
			return r.broken(Declared, "child %d of slot %d saw sibling %d as %s and sees it as %s", c.Index, c.Slot, first.Siblings[i], show(was), show(now))
		}
	}
	return nil
}

func showBound(x bound) string {
	if x.err != nil {
		return show(lang.Failure(failure(x.err)))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "input %s", x.Input)
	for _, v := range x.Vars {
		fmt.Fprintf(&b, "; %s = %s", v.Name, v.Value)
	}
	fmt.Fprintf(&b, "; siblings %v", x.Siblings)
	return b.String()
}
