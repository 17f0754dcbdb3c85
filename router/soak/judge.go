package soak

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// A want is one right end of a run.
type want struct {
	State string // succeeded, failed, cancelled or skipped
	Data  string // of a success: the result as canonical JSON
	Error string // of a failure: the error's type
}

func (w want) String() string { return strings.TrimSpace(w.State + " " + w.Data + w.Error) }

// A run is what the checker knows of one.
type run struct {
	key     string // the event's id
	trigger string
	wants   []want // any of them is right
	acked   time.Time
	id      string
	end     want
	endID   string // id of the event that told the end
	ends    int
	again   int // invocations of it that were sent more than once
	faults  uint64
	wrong   bool
}

// A judge keeps what was acknowledged and what came of it.
type judge struct {
	mu     sync.Mutex
	faults []string // names, by their bit
	byKey  map[string]*run
	byID   map[string]*run
	early  map[string][]collected // ends of runs whose receipt has not come yet, by run
	calls  map[string]call        // by invocation id
	open   map[*run]bool          // sent, not ended
	openBy map[string]int         // by trigger
	events int
	acked  int
	lastOK time.Time // when a run ended last
	rows   map[string]*Row
	notes  []string // what was wrong, the first few of a kind
	kinds  map[string]int
	say    func(format string, args ...any)
	errors int
	worst  time.Duration // longest pause
	down   time.Duration // longest time from a start of the process until it was ready
}

// A call is one invocation as its function saw it.
type call struct {
	sum  uint64
	seen int
}

// A collected is the event of a run's end.
type collected struct {
	id   string
	want want
}

func newJudge(say func(format string, args ...any)) *judge {
	return &judge{say: say, open: make(map[*run]bool), openBy: make(map[string]int), byKey: make(map[string]*run), byID: make(map[string]*run), early: make(map[string][]collected), calls: make(map[string]call), rows: make(map[string]*Row), kinds: make(map[string]int)}
}

// row returns the table's row of a fault; the lock is held.
func (j *judge) row(fault string) *Row {
	r := j.rows[fault]
	if r == nil {
		r = &Row{Fault: fault}
		j.rows[fault] = r
		j.faults = append(j.faults, fault)
	}
	return r
}

func (j *judge) bit(fault string) uint64 {
	j.row(fault)
	return 1 << slices.Index(j.faults, fault)
}

// happened counts a fault, and books it for all runs that are open.
func (j *judge) happened(fault string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.row(fault).Times++
	bit := j.bit(fault)
	for r := range j.open {
		r.faults |= bit
	}
}

// lied counts a fault that one run's function had.
func (j *judge) lied(fault, id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.row(fault).Times++
	if r := j.byID[id]; r != nil {
		r.faults |= j.bit(fault)
	}
}

// sent counts events that were sent as a fault.
func (j *judge) sent(fault string, n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.row(fault)
	r.Times++
	r.Events += n
}

// blame notes something that is wrong and belongs to no run.
func (j *judge) blame(fault, format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.note(fault+format, format, args...)
	j.errors++
	if fault != "" {
		j.row(fault).Wrong++
	}
}

// note keeps what is wrong, unless enough of its kind is known; the lock is held.
func (j *judge) note(kind, format string, args ...any) {
	if j.kinds[kind]++; j.kinds[kind] <= notesOfKind {
		text := fmt.Sprintf("%.400s", fmt.Sprintf(format, args...))
		j.notes = append(j.notes, text)
		j.say("not right: %s", text)
	}
}

const notesOfKind = 3

// expect books an event before it is sent.
func (j *judge) expect(key, trigger string, wants ...want) *run {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := &run{key: key, trigger: trigger, wants: wants}
	j.byKey[key] = r
	j.open[r] = true
	j.openBy[trigger]++
	j.events++
	if f, ok := strings.CutPrefix(trigger, liar); ok {
		r.faults |= j.bit(f)
		j.row(f).Events++
	}
	return r
}

// acknowledged books the receipt: the router has promised something.
func (j *judge) acknowledged(r *run, id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r.id != "" && r.id != id {
		r.wrong = true
		j.note(r.trigger, "event %s (%s): run %s, and then run %s", r.key, r.trigger, r.id, id)
		return
	}
	if r.id == id {
		return
	}
	r.id, r.acked = id, time.Now()
	j.byID[id] = r
	j.acked++
	early := j.early[id]
	delete(j.early, id)
	for _, c := range early {
		j.ended(r, c)
	}
}

// collect takes the event of a run's end.
func (j *judge) collect(id string, c collected) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r := j.byID[id]; r != nil {
		j.ended(r, c)
		return
	}
	j.early[id] = append(j.early[id], c)
}

func (j *judge) ended(r *run, c collected) {
	r.ends++
	if r.ends > 1 {
		if c.want != r.end || c.id != r.endID {
			r.wrong = true
			j.note(r.trigger, "run %s of event %s (%s) ended as %.60s (%s), and then as %.60s (%s)", r.id, r.key, r.trigger, r.end.String(), r.endID, c.want.String(), c.id)
		}
		return
	}
	delete(j.open, r)
	j.openBy[r.trigger]--
	j.lastOK = time.Now()
	r.end, r.endID = c.want, c.id
	if !slices.Contains(r.wants, c.want) {
		r.wrong = true
		j.note(r.trigger, "run %s of event %s (%s) ended as %.120s; right is %.120s", r.id, r.key, r.trigger, c.want.String(), fmt.Sprint(r.wants))
	}
}

// called books an invocation as its function gets it.
func (j *judge) called(id, runID string, body []byte) {
	sum := hash(string(body))
	j.mu.Lock()
	defer j.mu.Unlock()
	c, again := j.calls[id]
	if again && c.sum != sum {
		j.errors++
		j.note("again", "invocation %s came again with another input: %.200s", id, body)
	}
	c.sum = sum
	c.seen++
	j.calls[id] = c
	if r := j.byID[runID]; r != nil && again {
		r.again++
	}
}

// probed books how long the router took for a run that does nothing.
func (j *judge) probed(took time.Duration, recent []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.worst = max(j.worst, took)
	for _, fault := range recent {
		r := j.row(fault)
		r.Pause = max(r.Pause, took)
	}
}

// memory books how much the process had.
func (j *judge) memory(peak int64, recent []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, fault := range recent {
		r := j.row(fault)
		r.Memory = max(r.Memory, peak)
	}
}

// ready books how long the process took to be.
func (j *judge) ready(took time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.down = max(j.down, took)
}

// unended returns the runs that were promised and have not ended.
func (j *judge) unended() (out []*run) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for r := range j.open {
		if r.id != "" {
			out = append(out, r)
		}
	}
	return out
}

// canonical writes JSON with sorted keys and no blanks; numbers stay as they are written.
func canonical(b []byte) string {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return string(b)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // What was decoded encodes.
	return strings.TrimSpace(out.String())
}

// of writes a value as canonical JSON.
func of(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // Our own values marshal.
	}
	return canonical(b)
}

// table sums up.
func (j *judge) table(t *Table) {
	j.mu.Lock()
	defer j.mu.Unlock()
	rows := make([]Row, len(j.faults))
	for i, f := range j.faults {
		rows[i] = *j.rows[f]
	}
	total := Row{Fault: total, Events: j.events, Wrong: j.errors, Pause: j.worst, Memory: t.Peak}
	unanswered := 0
	for _, r := range j.byKey {
		if r.id == "" {
			unanswered++
			continue
		}
		lost, wrong := 0, 0
		if r.ends == 0 && !t.Interrupted {
			lost = 1
		}
		if r.wrong {
			wrong = 1
		}
		again := r.again + max(r.ends-1, 0)
		total.add(lost, wrong, again)
		for set := r.faults; set != 0; set &= set - 1 {
			rows[bits.TrailingZeros64(set)].add(lost, wrong, again)
		}
	}
	t.Notes = slices.Clone(j.notes)
	// An event that nobody acknowledged may have taken effect.
	if n := len(j.early) - unanswered; n > 0 {
		total.Wrong += n
		for id, ends := range j.early {
			if len(t.Notes) < len(j.notes)+notesOfKind {
				t.Notes = append(t.Notes, fmt.Sprintf("run %s ended as %.60s (%s), and no event that started it was acknowledged", id, ends[0].want.String(), ends[0].id))
			}
		}
	}
	for _, r := range rows {
		total.Times += r.Times
	}
	slices.SortFunc(rows, func(a, b Row) int { return strings.Compare(a.Fault, b.Fault) })
	t.Rows = append(rows, total)
	t.Invocations, t.Recovery = len(j.calls), j.down
}

func (r *Row) add(lost, wrong, again int) {
	r.Runs++
	r.Lost += lost
	r.Wrong += wrong
	r.Repeated += again
}

// hash is FNV-1a: where there is no secret, and the same on every machine.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// accept adds a right end to a run that has none yet.
func (j *judge) accept(r *run, w want) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r.wants = append(r.wants, w)
}

func (j *judge) openOf(trigger string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.openBy[trigger]
}

func (j *judge) openRuns() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.open)
}

// someRun returns the id of a run that is open, or of one that there is not.
func (j *judge) someRun(r *rand.Rand) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	skip := r.IntN(20)
	for x := range j.open {
		if skip--; skip < 0 && len(x.id) == runIDSize {
			return x.id
		}
	}
	return strings.Repeat("0", runIDSize)
}

const runIDSize = 26
