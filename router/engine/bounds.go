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
	for _, slot := range b.Siblings {
		if slot < 0 || slot >= len(f.slots) {
			return fmt.Errorf("bind: sibling %d of a policy with %d steps", slot, len(f.slots))
		}
	}
	return nil
}

// weigh finds out whether a policy's state can be saved and loaded again: one that cannot ends its frame, and nothing else. The given value is known
// to be one.
func (s *State) weigh(f *frame, given lang.Value) error {
	s.weighed, s.given = f, given
	n, err := f.info.machine.Weigh(f.state, s.isValue)
	if err == nil && n > s.limits.StateBytes {
		err = fmt.Errorf("its state has %d bytes and the limit is %d", n, s.limits.StateBytes)
	}
	if err != nil {
		return &lang.Error{Type: "policy_state", Message: err.Error(), Class: lang.ClassPlatform}
	}
	return nil
}

// checkValue is State.isValue: it looks at a value inside of the state that is being weighed.
func (s *State) checkValue(v lang.Value) error {
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
