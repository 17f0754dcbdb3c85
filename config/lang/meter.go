package lang

import (
	"fmt"
	"sync"
	"unsafe"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// A CostError says that an evaluation took more than it may, or made more than a value may hold. The same expression over the same data meets it in
// the same place, whatever is remembered from before.
type CostError struct{ msg string }

// Error says what was too much.
func (e *CostError) Error() string { return e.msg }

// An evaluation is one run of one expression: it finds what names stand for in a Scope, and counts what the run costs. CEL's tracker counts
// names, selections and literals; what functions do is counted here, before they do it.
type evaluation struct {
	scope   Scope
	cache   *Cache
	tracker cost.Tracker
	limit   uint64
	spent   uint64
	broken  *CostError
	named   []named
	homes   []home
}

// A named is a name with what it was found to stand for.
type named struct {
	name string
	val  ref.Val
}

// A home is a text that was decoded from a copy: what is selected from the copy is given back as a part of the text itself.
type home struct {
	*cached
	text string
}

// original returns the part of a text that was named which a part of its copy stands for, or the part itself.
func (e *evaluation) original(part string) string {
	for _, h := range e.homes {
		at := uintptr(unsafe.Pointer(unsafe.StringData(part))) - uintptr(unsafe.Pointer(unsafe.StringData(h.copy)))
		if at < uintptr(len(h.copy)) && len(part) <= len(h.copy)-int(at) {
			return h.text[at : int(at)+len(part)]
		}
	}
	return part
}

// end books what the evaluation cost and decoded.
func (e *evaluation) end() {
	if e.cache == nil {
		return
	}
	e.cache.Spend(e.total())
	for _, h := range e.homes {
		e.cache.settle(h.cached)
	}
}

// baseTracker is what each evaluation's tracker begins as.
var baseTracker = sync.OnceValue(func() cost.Tracker {
	t, err := cost.NewTracker(nil)
	if err != nil {
		panic(fmt.Sprintf("lang: no tracker: %v", err))
	}
	return *t
})

func newEvaluation(scope Scope, cache *Cache) *evaluation {
	e := &evaluation{scope: scope, cache: cache, limit: EvalCost, tracker: baseTracker()}
	if cache != nil {
		e.limit = min(EvalCost, cache.left)
	}
	e.tracker.Limit, e.tracker.Estimator = &e.limit, e
	return e
}

// evaluationOf finds the evaluation that a frame belongs to.
func evaluationOf(frame *interpreter.ExecutionFrame) *evaluation {
	return frame.CostTracker().Estimator.(*evaluation)
}

// CallCost leaves the calls that are CEL's own to CEL's model.
func (e *evaluation) CallCost(string, string, []ref.Val, ref.Val) *uint64 { return nil }

// total is what has been spent so far.
func (e *evaluation) total() uint64 { return e.spent + e.tracker.ActualCost() }

// charge counts n steps that are about to be taken, and ends the evaluation when they are too many.
func (e *evaluation) charge(n int) {
	if e.spent += uint64(n); e.total() > e.limit {
		panic(interpreter.EvalCancelledError{Cause: interpreter.CostLimitExceeded, Message: "cost limit"})
	}
}

// makes counts a text or a list of so many bytes that is about to be made, and ends the evaluation when no value may be that large.
func (e *evaluation) makes(bytes int) {
	if bytes > MaxValueBytes {
		e.fail(tooLarge(bytes))
	}
	e.charge(bytes / 10)
}

// fail ends the evaluation.
func (e *evaluation) fail(err *CostError) {
	e.broken = err
	panic(interpreter.EvalCancelledError{Cause: interpreter.CostLimitExceeded, Message: err.msg})
}

// resolve decodes what the scope has under a name; the names of types are types.
func (e *evaluation) resolve(name string) ref.Val {
	for i := range e.named {
		if e.named[i].name == name {
			return e.named[i].val
		}
	}
	var v ref.Val
	switch term, ok := e.scope.Lookup(name); t := term.(type) {
	case Value:
		v = e.decode(name, t)
	case Members:
		v = &members{e: e, m: t}
	case *Gathered:
		v = t.val()
	default:
		if v = typeNamed(name); ok || v == nil {
			v = types.NewErr("unknown name %q", name)
		}
	}
	e.named = append(e.named, named{name, v})
	return v
}

func (e *evaluation) decode(name string, v Value) ref.Val {
	tree, x, err := e.cache.tree(v)
	if err != nil {
		return types.NewErr("%s: %v", name, err)
	}
	if x != nil {
		e.homes = append(e.homes, home{x, v.text})
	}
	return tree
}

// ResolveName has nothing to say: the names that come here are those that macros bind, and CEL knows them.
func (e *evaluation) ResolveName(string) (any, bool) { return nil, false }

// Parent is part of CEL's activations.
func (e *evaluation) Parent() cel.Activation { return nil }
