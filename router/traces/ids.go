package traces

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/onward-router/onward/config/traceparent"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

type (
	traceID [16]byte
	spanID  [8]byte
)

// What spans are of: their ids never meet.
const (
	ofTrace = "trace"
	ofRun   = "run"
	ofStep  = "step"
	ofTry   = "try"
)

func derive(what string, run journal.RunID, numbers [2]uint32, path string) [32]byte {
	var room [128]byte
	b := append(append(room[:0], what...), run[:]...)
	b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, numbers[0]), numbers[1])
	return sha256.Sum256(append(b, path...))
}

func spanOf(what string, run journal.RunID, numbers [2]uint32, path string) (id spanID) {
	sum := derive(what, run, numbers, path)
	copy(id[:], sum[:])
	return id
}

// traceOf is the trace of a run: that of the event that started it, or its own.
func traceOf(run journal.RunID, c *traceparent.Context) (id traceID) {
	if c != nil {
		return c.Trace()
	}
	sum := derive(ofTrace, run, [2]uint32{}, "")
	copy(id[:], sum[:])
	return id
}

// runSpan is a run's, of each of its redrives another.
func runSpan(run journal.RunID, redrive uint32) spanID {
	return spanOf(ofRun, run, [2]uint32{redrive}, "")
}

func stepSpan(run journal.RunID, k engine.StepKey) spanID {
	return spanOf(ofStep, run, [2]uint32{k.Redrive, k.Frame}, k.Path)
}

// trySpan is that of an invocation, or of a policy's try: numbers are used once in a run.
func trySpan(run journal.RunID, n uint32) spanID { return spanOf(ofTry, run, [2]uint32{n}, "") }

// A sampler says of which runs there are traces: of those whose event says so, and of this share of those whose event says nothing.
type sampler float64

func (s sampler) samples(run journal.RunID, c *traceparent.Context) bool {
	switch {
	case c != nil:
		return c.Sampled()
	case s >= 1 || s <= 0:
		return s >= 1
	}
	id := traceOf(run, nil)
	return float64(binary.BigEndian.Uint64(id[8:])>>11)/(1<<53) < float64(s)
}

// Of is how what is sent gets its trace context; nil without traces.
func (t *Traces) Of() func(*engine.Invocation) *traceparent.Context {
	if t == nil {
		return nil
	}
	return t.Context
}

// Context names the span of what is sent: a function's own spans hang under its try, a run that a step starts under that step's call, what the end of a run
// starts under the run.
func (t *Traces) Context(i *engine.Invocation) *traceparent.Context {
	span := runSpan(i.Run, i.Redrive)
	switch i.Purpose {
	case engine.Call, engine.Notify:
		span = trySpan(i.Run, i.N)
	case engine.Cancel: // It is about a call.
		if _, _, n, ok := engine.ParseInvocationID(i.Cause); ok {
			span = trySpan(i.Run, n)
		}
	}
	state := ""
	if i.Traced != nil {
		state = i.Traced.State
	}
	c := traceparent.New(traceOf(i.Run, i.Traced), span, t.sampler.samples(i.Run, i.Traced), state)
	return &c
}
