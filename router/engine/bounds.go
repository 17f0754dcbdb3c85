package engine

import (
	"errors"
	"fmt"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers"
)

// unfit says why a value may not be kept in a run: what is kept has to be saved, loaded and carried on. It is asked on every way in.
func (s *State) unfit(what string, v lang.Value) *lang.Error {
	switch {
	case v.Size() > s.limits.ValueBytes:
		return tooLarge(what, v.Size(), s.limits.ValueBytes)
	case v.TooDeep():
		return lang.Failf(lang.ClassFunction, "too_deep", "%s is nested deeper than %d; pass it as a text", what, lang.MaxNesting)
	}
	return nil
}

// bindable looks at what a policy gives a child.
func (s *State) bindable(f *frame, b schedulers.Binding) error {
	if e := s.unfit("what a child is given", b.Input); e != nil {
		return e
	}
	for _, v := range b.Vars {
		if e := s.unfit(v.Name, v.Value); e != nil {
			return e
		}
	}
	return siblingsFit(f, b.Siblings)
}

func siblingsFit(f *frame, siblings []int) error {
	last := -1
	for _, slot := range siblings {
		if slot < 0 || slot >= len(f.slots) {
			return fmt.Errorf("bind: sibling %d of a policy with %d steps", slot, len(f.slots))
		}
		if f.info.children[slot] == nil {
			return fmt.Errorf("bind: sibling %d, a step that is not there", slot)
		}
		if slot <= last {
			return fmt.Errorf("bind: sibling %d behind %d; siblings are in order", slot, last)
		}
		last = slot
	}
	return nil
}

// weigh finds out whether a policy's state can be saved and loaded again: one that cannot ends its frame, and nothing else. The given value is known
// to be one.
func (s *State) weigh(f *frame, given lang.Value) error {
	s.weighed, s.given, s.known = f, given, 0
	n, err := f.info.machine.Weigh(f.state, s.isValue)
	clear(f.known[s.known:])
	f.known = f.known[:s.known]
	most := s.limits.StateBytes
	if f.phase != working {
		most *= 2 // What cleans up is not to be kept from it by what it is for.
	}
	if err == nil && n > most {
		err = fmt.Errorf("its state has %d bytes and the limit is %d", n, most)
	}
	s.hold(f.owner.run, n-f.weight)
	f.weight = n
	if err != nil {
		return &lang.Error{Type: "policy_state", Message: err.Error(), Class: lang.ClassPlatform}
	}
	return nil
}

// knownFrom is the size from which on a value is known again: a state may keep many that are large, and an event changes few.
const knownFrom = 256

// checkValue is State.isValue: it looks at a value inside of the state that is being weighed.
func (s *State) checkValue(v lang.Value) error {
	if v.Size() < knownFrom {
		return s.lookAt(v)
	}
	f, at := s.weighed, s.known
	if s.known++; at == len(f.known) {
		f.known = append(f.known, lang.Null)
	}
	if f.known[at] == v { // Mostly the same text: it takes no look at it.
		return nil
	}
	err := s.lookAt(v)
	if f.known[at] = v; err != nil {
		f.known[at] = lang.Null
	}
	return err
}

func (s *State) lookAt(v lang.Value) error {
	if v == s.given || v == s.weighed.owner.input {
		return nil
	}
	_, err := lang.ParseValue([]byte(v.JSON()))
	return err
}

// policyError is the error of a frame whose policy returned err. What a third party's error does when it is asked is its own.
func policyError(err error) (out *lang.Error) {
	defer func() {
		if p := recover(); p != nil {
			out = &lang.Error{Type: "policy_error", Message: fmt.Sprintf("an error of %T that cannot say what it is", err), Class: lang.ClassPlatform}
		}
	}()
	var e *lang.Error
	if errors.As(err, &e) && e != nil {
		return e.Bounded()
	}
	return (&lang.Error{Type: "policy_error", Message: err.Error(), Class: lang.ClassPlatform}).Bounded()
}

// hold books that r keeps n more bytes.
func (s *State) hold(r *run, n int) {
	r.bytes += n
	s.bytes += n
}

func weight(o lang.Outcome) int {
	n := size(o.Value)
	if o.Err != nil {
		n += len(o.Err.Type) + len(o.Err.Message) + size(o.Err.Data) + len(o.Err.Path)
	}
	return n
}

func size(v lang.Value) int {
	if v.IsNull() {
		return 0
	}
	return v.Size()
}

// weight is what an open child keeps beyond what its frame does.
func (t *task) weight() int {
	n := 0
	if t.frame == nil || t.handles != nil {
		return 0
	}
	if t.bound != t.frame.owner.input {
		n += size(t.bound)
	}
	if t.input != t.bound {
		n += size(t.input)
	}
	return n
}

// overfull says that a frame, or its run, keeps more than it may: it fails as the results come, not once all have.
func (s *State) overfull(f *frame, sl *slot) *lang.Error {
	switch {
	case sl.bytes > s.limits.ValueBytes:
		return tooLarge("the results so far", sl.bytes, s.limits.ValueBytes)
	case f.bytes > s.limits.FrameBytes:
		return tooLarge("the outcomes so far", f.bytes, s.limits.FrameBytes)
	}
	return s.overweight(f.owner.run)
}

// overweight says that a run keeps more than it may.
func (s *State) overweight(r *run) *lang.Error {
	if r.bytes > s.limits.RunBytes {
		return tooLarge("the run", r.bytes, s.limits.RunBytes)
	}
	return nil
}
