package history

import (
	"encoding/binary"
	"slices"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A digest is what a full page of steps says of wide runs, in a byte or two a step: of each run with many steps in the page, in order, where each step
// stands and how it ended. So a map of a million branches is drawn without a look at what they were given and gave.
//
//	run, length, {index - the one before of its group, zigzag | state}
//
// A state of digestGroup says that another group follows: its number, or the next one with its text.
const (
	digestFewest = 32 // steps of a run below which the page itself is read
	digestGroup  = 15
	digestShift  = 4
)

// countedRuns is how many runs a digester counts apart.
const countedRuns = 1024

// A digester makes digests. Its room is used again.
type digester struct {
	steps [countedRuns]uint32 // of the runs that share a number
	runs  []*digestRun
	by    map[journal.RunID]*digestRun
	free  []*digestRun
}

type digestRun struct {
	id     journal.RunID
	steps  int
	groups []digestGroupOf
	at     int // the group of the step before
	body   []byte
}

type digestGroupOf struct {
	text []byte
	last int
}

// of returns the digest of a page's entries; nil where no run has many. The entries must not change.
func (d *digester) of(raw []byte, entries, runs int) []byte {
	if runs == 0 || entries/runs < digestFewest/8 { // Many runs, each of a few steps.
		return nil
	}
	if !d.count(raw) {
		return nil
	}
	defer d.reset()
	var last *digestRun
	if each(raw, func(_ int, id journal.RunID, text []byte) bool {
		if d.steps[short(id)%countedRuns] < digestFewest {
			return true
		}
		if last == nil || last.id != id {
			last = d.run(id)
		}
		last.add(text)
		return true
	}) != nil {
		return nil
	}
	var out []byte
	for _, r := range d.runs {
		if r.steps < digestFewest {
			continue
		}
		out = append(out, r.id[:]...)
		out = binary.AppendUvarint(out, uint64(len(r.body)))
		out = append(out, r.body...)
	}
	if out == nil {
		return nil
	}
	return pack(out, nil)
}

// count counts the steps of each run, some runs together, and reports whether any may have many.
func (d *digester) count(raw []byte) (any bool) {
	clear(d.steps[:])
	err := each(raw, func(_ int, id journal.RunID, _ []byte) bool {
		n := &d.steps[short(id)%countedRuns]
		*n++
		any = any || *n == digestFewest
		return true
	})
	return any && err == nil
}

func (d *digester) reset() {
	d.free = append(d.free, d.runs...)
	d.runs = d.runs[:0]
	clear(d.by)
}

func (d *digester) run(id journal.RunID) *digestRun {
	if r := d.by[id]; r != nil {
		return r
	}
	if d.by == nil {
		d.by = make(map[journal.RunID]*digestRun)
	}
	var r *digestRun
	if n := len(d.free); n > 0 {
		r, d.free = d.free[n-1], d.free[:n-1]
		*r = digestRun{id: id, groups: r.groups[:0], body: r.body[:0]}
	} else {
		r = &digestRun{id: id}
	}
	d.runs, d.by[id] = append(d.runs, r), r
	return r
}

func (r *digestRun) add(text []byte) {
	r.steps++
	path, state, ok := became(text)
	if !ok {
		return
	}
	group, index := engine.SplitPath(path)
	at := r.at
	if at >= len(r.groups) || string(r.groups[at].text) != string(group) {
		at = slices.IndexFunc(r.groups, func(g digestGroupOf) bool { return string(g.text) == string(group) })
		known := at >= 0
		if !known {
			at = len(r.groups)
			r.groups = append(r.groups, digestGroupOf{group, -1})
		}
		r.at = at
		r.body = binary.AppendUvarint(r.body, uint64(at)<<digestShift|digestGroup)
		if !known {
			r.body = appendText(r.body, string(group))
		}
	}
	g := &r.groups[at]
	delta := int64(index - g.last)
	g.last = index
	r.body = binary.AppendUvarint(r.body, (uint64(delta<<1)^uint64(delta>>63))<<digestShift|uint64(state))
}

// became is how a step stands by its entry; false of one that goes on, of deliveries and of signals.
func became(text []byte) (path []byte, state engine.StepState, ok bool) {
	r := reader{b: text}
	marks, verdict, path := r.place()
	if r.bad || marks&(markAgain|markDelivery|markSignal) != 0 {
		return nil, 0, false
	}
	state, ok = engine.StateOf(verdict)
	return path, state, ok
}

// A digested is a step as a digest tells of it.
type digested func(group []byte, index int, is engine.StepState) bool

// readDigest gives what a digest says of a run; false: nothing.
func readDigest(packed []byte, run journal.RunID, yield digested) (has bool, err error) {
	b, err := unpack(packed)
	if err != nil {
		return false, err
	}
	for len(b) > 0 {
		var id journal.RunID
		if len(b) < len(id) {
			return false, errSpoiled
		}
		copy(id[:], b)
		r := reader{b: b[len(id):]}
		body := r.bytes()
		if b = r.b; r.bad {
			return false, errSpoiled
		}
		if id == run {
			return true, readDigestRun(body, yield)
		}
	}
	return false, nil
}

func readDigestRun(body []byte, yield digested) error {
	r := reader{b: body}
	var groups []digestGroupOf
	var g *digestGroupOf
	for len(r.b) > 0 {
		x := r.uint()
		value := x >> digestShift
		if x&(1<<digestShift-1) == digestGroup {
			if value == uint64(len(groups)) {
				groups = append(groups, digestGroupOf{r.bytes(), -1})
			}
			if r.bad || value >= uint64(len(groups)) {
				return errSpoiled
			}
			g = &groups[value]
			continue
		}
		if g == nil {
			return errSpoiled
		}
		g.last += int(int64(value>>1) ^ -int64(value&1))
		if g.last < -1 || r.bad {
			return errSpoiled
		}
		if !yield(g.text, g.last, engine.StepState(x&(1<<digestShift-1))) {
			return nil
		}
	}
	return nil
}
