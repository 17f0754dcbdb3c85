package schedulers

import (
	"fmt"
	"math/bits"
	"regexp"
	"strconv"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// A Speculate begins a second try beside a child that is open for long: a twin (Frame.Twin). The first of the two to succeed decides, and the other is cancelled. It
// is the key `speculate:` of policies with many children. The time counts from when a child opens, the wait for its function's turn included.
type Speculate struct {
	After Patience `doc:"after,value,required" help:"how long a child is open until it gets a twin: a duration, or a percentile of how long the others took, with a factor: p95 x 2 (once 10 have succeeded, and a tenth of all)"`
	Max   int      `doc:"max" help:"twins that one child may get, 1 to 3; each after as long again" default:"1"`
}

// A Patience is a duration, or a percentile of durations times a factor.
type Patience struct {
	Wait       time.Duration
	Percentile int // 0 is none
	Factor     int // in thousandths
}

var percentile = regexp.MustCompile(`^p([1-9][0-9]?)(?: *x *([0-9]{1,3}(?:\.[0-9]{1,3})?))?$`)

// UnmarshalText reads 30s, p95 or "p95 x 1.5".
func (p *Patience) UnmarshalText(text []byte) error {
	if m := percentile.FindSubmatch(text); m != nil {
		p.Percentile, _ = strconv.Atoi(string(m[1]))
		p.Factor = 1000
		if len(m[2]) > 0 {
			factor, _ := strconv.ParseFloat(string(m[2]), 64)
			p.Factor = int(factor*1000 + 0.5)
		}
		if p.Factor > 0 {
			return nil
		}
	}
	var d plugin.Duration
	if d.UnmarshalText(text) != nil || d == 0 {
		return fmt.Errorf("%.80q is neither a time that can pass nor a percentile of times; write 30s, or p95 x 2", text)
	}
	p.Wait = d.D()
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (p Patience) MarshalText() ([]byte, error) {
	if p.Percentile == 0 {
		return plugin.Duration(p.Wait).MarshalText()
	}
	return fmt.Appendf(nil, "p%d x %s", p.Percentile, strconv.FormatFloat(float64(p.Factor)/1000, 'f', -1, 64)), nil
}

// Schema is the form of a patience.
func (Patience) Schema() plugin.Schema {
	return plugin.Schema{"type": "string", "anyOf": []any{plugin.Schema{"pattern": plugin.DurationPattern}, plugin.Schema{"pattern": percentile.String()}}}
}

// Check reports a number of twins that cannot be.
func (p *Speculate) Check() []plugin.Problem {
	if p.Max < 1 || p.Max > maxTwins {
		return []plugin.Problem{{Path: []string{"max"}, What: fmt.Sprintf("a child may get 1 to %d twins, and this says %d", maxTwins, p.Max), Cure: "leave it out for 1, or leave speculate out for none"}}
	}
	return nil
}

// Schema tells what Check refuses.
func (*Speculate) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"max": plugin.Schema{"minimum": 1, "maximum": maxTwins}}}
}

// CheckWidth reports a percentile that there never is of so few children. A nil Speculate is right.
func (p *Speculate) CheckWidth(n int) []plugin.Problem {
	if p == nil || p.After.Percentile == 0 || n > leastTimes {
		return nil
	}
	return []plugin.Problem{{Path: []string{"speculate", "after"}, What: fmt.Sprintf("a percentile is of %d times at least, and the children here are %d", leastTimes, n), Cure: "write a duration: after: 30s"}}
}

const (
	maxTwins   = 3
	leastTimes = 10                    // of which a percentile is taken
	mostTwins  = 256                   // that one event asks for
	mostLooks  = 4096                  // that one event takes at children
	pause      = 20 * time.Millisecond // between two looks, at least
)

// StragglerTimer is the name of the frame's timer that Speculate sets.
const StragglerTimer = "straggler"

// Stragglers is what Speculate keeps in its policy's state: how far it has looked, and about how long children took, in buckets of an eighth of a power of two of
// milliseconds. Children open in order, so that each is looked at once for each twin that it may get.
type Stragglers struct {
	At    []int32 `json:",omitempty"` // by the number of the twin: the first child that may still get it
	Took  []int32 `json:",omitempty"` // by bucket
	Times int     `json:",omitempty"` // in all buckets
	Twins int     `json:",omitempty"` // asked for
}

// Children are the children of a policy, in the order in which they open: those of one slot, or the first of each slot.
type Children struct {
	N    int
	Slot int
	Many bool // the first N of Slot
}

func (c Children) at(i int) (slot, index int) {
	if c.Many {
		return c.Slot, i
	}
	return i, 0
}

// Begin is for the event that starts the frame.
func (p *Speculate) Begin(f Frame) {
	if p.After.Wait > 0 {
		f.After(StragglerTimer, p.After.Wait)
	}
}

// Done takes the time of a child that has succeeded.
func (p *Speculate) Done(f Frame, s *Stragglers, all Children, ev Event) {
	if p.After.Percentile == 0 || ev.Outcome.Verdict != lang.Succeeded {
		return
	}
	opened, known := f.Opened(ev.Slot, ev.Index)
	if !known {
		return
	}
	at := bucket(f.Now().Sub(opened).Milliseconds())
	for len(s.Took) <= at {
		s.Took = append(s.Took, 0)
	}
	s.Took[at]++
	if s.Times++; s.Times == max(leastTimes, (all.N+9)/10) {
		f.After(StragglerTimer, 0)
	}
}

// Fired looks for children that are open for too long, and gives them twins.
func (p *Speculate) Fired(f Frame, s *Stragglers, all Children) {
	if len(s.At) == 0 {
		s.At = make([]int32, p.Max)
	}
	wait, twins := p.wait(s), s.Twins
	next, looks := time.Duration(-1), mostLooks
	for k := range s.At {
		due := time.Duration(k+1) * wait
		for ; int(s.At[k]) < all.N; s.At[k]++ {
			if looks--; looks < 0 || s.Twins-twins >= mostTwins {
				next = 0
				break
			}
			slot, index := all.at(int(s.At[k]))
			opened, open := f.Opened(slot, index)
			if c := f.Counts(slot); !open && index < c.Done()+c.Open {
				continue // It is done.
			}
			left := due
			if open {
				left = opened.Add(due).Sub(f.Now())
			}
			if left > 0 {
				if left = max(left, pause); next < 0 || left < next {
					next = left
				}
				break
			}
			f.Twin(slot, index)
			s.Twins++
		}
	}
	if s.Twins > twins {
		f.Note(lang.Of(map[string]int{"twins": s.Twins}))
	}
	if next >= 0 {
		f.After(StragglerTimer, next)
	}
}

// wait is how long a child may be open.
func (p *Speculate) wait(s *Stragglers) time.Duration {
	if p.After.Percentile == 0 {
		return p.After.Wait
	}
	rank, seen := (s.Times*p.After.Percentile+99)/100, 0
	for at, n := range s.Took {
		if seen += int(n); seen >= rank {
			return time.Duration(limit(at)*int64(p.After.Factor)) * time.Microsecond
		}
	}
	return 0
}

// mostTime is the longest that is told from longer, in milliseconds: some 34 years.
const mostTime = 1<<40 - 1

// bucket is that of a time in milliseconds.
func bucket(ms int64) int {
	ms = min(max(ms, 0), mostTime)
	if ms < 8 {
		return int(ms)
	}
	power := bits.Len64(uint64(ms)) - 4 // The three digits behind the first.
	return 8 + power*8 + int(ms>>power&7)
}

// limit is the time, in milliseconds, below which all of a bucket is.
func limit(at int) int64 {
	if at < 8 {
		return int64(at) + 1
	}
	return int64(8+at%8+1) << (at/8 - 1)
}
