package dag_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

var boom = lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke"))

// play ends the steps of a dag by name, "NAME" or "NAME.CHILD", each when it is open, and returns all that ever opened, in order.
type play struct {
	t     *testing.T
	b     *schedulertest.Bench
	names []string
}

func begin(t *testing.T, document string) *play {
	t.Helper()
	s, err := schedulertest.Load(builtin.New(), "dag", document)
	if err != nil {
		t.Fatal(err)
	}
	p := &play{t: t, b: schedulertest.NewBench(s, lang.Text("in"), lang.Null)}
	for _, child := range s.Children {
		p.names = append(p.names, child.Name)
	}
	p.b.Start()
	return p
}

func (p *play) done(name string, o lang.Outcome) {
	p.t.Helper()
	index := 0
	if at := strings.IndexByte(name, '.'); at > 0 {
		if _, err := fmt.Sscan(name[at+1:], &index); err != nil {
			p.t.Fatal(err)
		}
		name = name[:at]
	}
	slot := slices.Index(p.names, name)
	if !slices.Contains(p.b.Open(), schedulertest.Child{Slot: slot, Index: index}) {
		p.t.Fatalf("%s.%d is not open: %s", name, index, p.open())
	}
	p.b.Done(slot, index, o)
}

// open lists what is open, in the document's order.
func (p *play) open() string {
	open := p.b.Open()
	slices.SortFunc(open, func(a, b schedulertest.Child) int { return (a.Slot-b.Slot)*1000 + a.Index - b.Index })
	var out []string
	for _, c := range open {
		name := p.names[c.Slot]
		if p.b.Subject.Declare(c.Slot).Many {
			name += fmt.Sprintf(".%d", c.Index)
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

func (p *play) isOpen(want string) {
	p.t.Helper()
	if got := p.open(); got != want {
		p.t.Fatalf("open are %q, want %q", got, want)
	}
}

// given is what an open child was given.
func (p *play) given(name string, index int) string {
	p.t.Helper()
	x, err := p.b.Binding(slices.Index(p.names, name), index)
	if err != nil {
		p.t.Fatal(err)
	}
	text := x.Input.JSON()
	for _, v := range x.Vars {
		text += " " + v.Name + "=" + v.Value.JSON()
	}
	return text
}

func (p *play) ended(want string) {
	p.t.Helper()
	o, ended := p.b.Ended()
	got := o.Value.JSON()
	if o.Err != nil {
		got = o.Err.Error()
	}
	if !ended || got != want {
		p.t.Fatalf("ended %t: %s, want %s", ended, got, want)
	}
}

func ok(v any) lang.Outcome { return lang.Success(lang.Of(v)) }

const crossing = `[{name: way, function: f, branch: "${ output }"}, {name: left, function: f, needs: way}, {name: right, function: f, needs: way},
	{name: behind, function: f, needs: right}, {name: join, function: f, needs: [way, left, behind], rule: none_failed_min_one_success}]`

// TestBranch: the steps that are not chosen are skipped and those behind them by their rules; what also stands behind a chosen one goes on.
func TestBranch(t *testing.T) {
	t.Parallel()
	p := begin(t, crossing)
	p.done("way", ok("left"))
	p.isOpen("left")
	p.done("left", ok(1))
	p.isOpen("join")
	p.done("join", ok("J"))
	p.ended(`{"join":"J"}`)

	p = begin(t, crossing)
	p.done("way", ok([]string{"right"}))
	p.isOpen("right")
	p.done("right", ok(1))
	p.isOpen("behind")
	p.done("behind", ok(2))
	p.isOpen("join")

	p = begin(t, crossing)
	p.done("way", ok([]string{"left", "right"}))
	p.isOpen("left right")

	p = begin(t, crossing) // None: the join too, which stands behind no chosen one.
	p.done("way", ok(nil))
	p.ended(`{"join":null}`)

	p = begin(t, crossing) // The join alone.
	p.done("way", ok("join"))
	p.isOpen("join")
	if got := p.given("join", 0); got != `{"way":"join","left":null,"behind":null}` {
		t.Error(got)
	}

	p = begin(t, crossing) // It was skipped itself, and chose nothing.
	p.done("way", lang.Skip())
	p.ended(`{"join":null}`)

	for output, want := range map[any]string{
		"behind": `bad_branch: step "way": branch: "behind" is no step that needs it; known are left, right, join`,
		7:        `bad_branch: step "way": branch: ${ output } yields 7 and not a name, a list of names or null`,
	} {
		p = begin(t, crossing)
		p.done("way", ok(output))
		p.ended(want)
	}
}

// TestBranchCommutes: a step behind a branch waits for the choice, so that its other needs may end before or after it.
func TestBranchCommutes(t *testing.T) {
	t.Parallel()
	const doc = `{end: leaves, steps: [{name: way, function: f, branch: "${ output }"}, {name: a, function: f}, {name: x, function: f, needs: [way, a], rule: %s}, {name: y, function: f, needs: way}]}`
	for _, rule := range []string{"all_success", "one_success", "one_failed", "one_done", "all_done", "none_failed"} {
		for _, a := range []lang.Outcome{ok(1), boom, lang.Skip()} {
			for _, choice := range []any{"x", "y"} {
				var ends []string
				for _, order := range [][]string{{"way", "a"}, {"a", "way"}} {
					p := begin(t, fmt.Sprintf(doc, rule))
					for _, name := range order {
						p.done(name, map[string]lang.Outcome{"way": ok(choice), "a": a}[name])
					}
					ran := p.open()
					for _, c := range p.b.Open() {
						p.b.Done(c.Slot, c.Index, ok("ran"))
					}
					o, _ := p.b.Ended()
					ends = append(ends, fmt.Sprint(ran, o.Verdict, o.Value, o.Err))
				}
				if ends[0] != ends[1] {
					t.Errorf("rule %s, a %s, choice %v: %q", rule, a.Verdict, choice, ends)
				}
			}
		}
	}
}

// TestTeardown: it runs when its setup succeeded, however the work went, and does not decide how the dag ends unless it says so.
func TestTeardown(t *testing.T) {
	t.Parallel()
	const doc = `{end: %s, steps: [{name: up, function: f}, {name: work, function: f, needs: up}, {name: down, function: f, teardown: up, needs: work%s}]}`
	for _, test := range []struct {
		end, more      string
		up, work, down lang.Outcome
		want           string
	}{
		{"steps", "", ok(1), ok("W"), ok(3), `{"work":"W"}`},
		{"leaves", "", ok(1), ok("W"), boom, `{"work":"W"}`},
		{"steps", "", ok(1), ok("W"), boom, `{"work":"W"}`},
		{"steps", ", decides: true", ok(1), ok("W"), boom, "boom: it broke"},
		{"leaves", ", decides: true", ok(1), ok("W"), boom, "boom: it broke"},
		{"leaves", ", decides: true", ok(1), ok("W"), ok("D"), `{"down":"D"}`},
		{"leaves", "", ok(1), boom, ok(3), "boom: it broke"},
		{"steps", "", ok(1), boom, ok(3), "boom: it broke"},
		{"steps", "", boom, lang.Outcome{}, lang.Outcome{}, "boom: it broke"},
		{"steps", "", lang.Skip(), lang.Outcome{}, lang.Outcome{}, `{"work":null}`},
	} {
		p := begin(t, fmt.Sprintf(doc, test.end, test.more))
		p.done("up", test.up)
		if test.work != (lang.Outcome{}) {
			p.done("work", test.work)
			if test.work.Verdict == lang.Failed {
				if got := p.given("down", 0); !strings.Contains(got, `"work":{"outcome":"failed"`) {
					t.Errorf("it is told %s", got)
				}
			}
			p.done("down", test.down)
		}
		p.ended(test.want)
	}
}

// TestTeardownRule is the row of all_done_setup_success: needs that are no setups are waited for, and no more.
func TestTeardownRule(t *testing.T) {
	t.Parallel()
	ends := []lang.Outcome{ok(1), lang.Skip(), boom}
	for i := range 27 {
		one, two, work := ends[i%3], ends[i/3%3], ends[i/9]
		want := ""
		switch {
		case one.Verdict == lang.Succeeded || two.Verdict == lang.Succeeded:
			want = "down"
		case one.Verdict == lang.Failed || two.Verdict == lang.Failed:
			want = "couldNot"
		default:
			want = "skipped"
		}
		for _, order := range [][]string{{"one", "two", "work"}, {"work", "two", "one"}} {
			p := begin(t, `[{name: one, function: f}, {name: two, function: f}, {name: work, function: f}, {name: down, function: f, teardown: [one, two], needs: work, rule: all_done_setup_success},
				{name: skipped, function: f, needs: { down: skipped }}, {name: couldNot, function: f, needs: { down: failed }}]`)
			for k, name := range order {
				if strings.ContainsAny(p.open(), "dsc") {
					t.Fatalf("%d ended, and open are %s", k, p.open())
				}
				p.done(name, map[string]lang.Outcome{"one": one, "two": two, "work": work}[name])
			}
			p.isOpen(want)
		}
	}
}

// TestWords: each need as it says, in either order; a failure that was not asked for outweighs a skip.
func TestWords(t *testing.T) {
	t.Parallel()
	ends := map[string]lang.Outcome{"S": ok(1), "K": lang.Skip(), "F": boom}
	for word, row := range map[string]map[string]string{
		"succeeded": {"S": "x", "K": "skipped", "F": "couldNot"},
		"failed":    {"S": "skipped", "K": "skipped", "F": "x"},
		"skipped":   {"S": "skipped", "K": "x", "F": "couldNot"},
		"done":      {"S": "x", "K": "skipped", "F": "x"},
		"ended":     {"S": "x", "K": "x", "F": "x"},
	} {
		for a, fate := range row {
			for b, other := range map[string]string{"S": "x", "K": "skipped", "F": "couldNot"} {
				want := fate
				if fate == "x" || other == "couldNot" {
					want = other
				}
				for _, order := range []string{"ab", "ba"} {
					p := begin(t, fmt.Sprintf(`[{name: a, function: f}, {name: b, function: f}, {name: x, function: f, needs: { a: %s, b: succeeded }},
						{name: skipped, function: f, needs: { x: skipped }}, {name: couldNot, function: f, needs: { x: failed }}]`, word))
					for _, name := range order {
						p.done(string(name), ends[map[string]string{"a": a, "b": b}[string(name)]])
					}
					if p.open() != want {
						t.Errorf("a: %s is %s, b: succeeded is %s, in the order %s: %q, want %q", word, a, b, order, p.open(), want)
					}
				}
			}
		}
	}
	p := begin(t, `[{name: a, function: f}, {name: b, function: f, needs: { a: done }}]`)
	p.done("a", boom)
	if got, want := p.given("b", 0), `{"a":{"error":{"type":"boom","message":"it broke","class":"function"}}} outcomes={"a":{"outcome":"failed","error":{"type":"boom","message":"it broke","class":"function"}}}`; got != want {
		t.Errorf("given %s, want %s", got, want)
	}
	p = begin(t, `[{name: a, function: f}, {name: b, function: f}, {name: x, function: f, needs: { a: failed, b: succeeded }}]`)
	p.done("a", boom)
	p.done("b", lang.Failure(lang.Failf(lang.ClassFunction, "other", "b broke")))
	p.ended("boom: it broke") // The first that failed; x could not run because of b.
}

// TestOver: a step runs once an item, yields a list in order, and is skipped where there is none.
func TestOver(t *testing.T) {
	t.Parallel()
	const doc = `[{name: list, function: f}, {name: each, function: f, needs: list, over: "${ steps.list }", as: file, window: 2}, {name: sum, function: f, needs: each, input: "${ steps.each }"}, {name: behind, function: f, needs: { each: skipped }}]`
	p := begin(t, doc)
	p.done("list", ok([]string{"a", "b", "c"}))
	p.isOpen("each.0 each.1")
	if got := p.given("each", 1); got != `"b" item="b" index=1 file="b"` {
		t.Error(got)
	}
	p.done("each.1", ok("B"))
	p.isOpen("each.0 each.2")
	p.done("each.2", lang.Skip())
	p.done("each.0", ok("A"))
	p.isOpen("sum")
	if got := p.given("sum", 0); got != `{"each":["A","B",null]}` {
		t.Error(got)
	}
	p.done("sum", ok(0))
	p.ended(`{"sum":0,"behind":null}`)

	p = begin(t, doc)
	p.done("list", ok([]string{}))
	p.isOpen("behind")

	p = begin(t, doc) // All are done before it fails, with the first error in the list's order.
	p.done("list", ok(3))
	p.done("each.1", lang.Failure(lang.Failf(lang.ClassFunction, "late", "it is second")))
	p.isOpen("each.0 each.2")
	p.done("each.0", boom)
	p.done("each.2", ok(1))
	p.ended("boom: it broke")

	p = begin(t, doc)
	p.done("list", ok("text"))
	p.ended(`bad_items: step "each": over: ${ steps.list } yields "text" and not a list or a whole number from 0`)
}

// TestWindow: how many elements are open at a time may hang on what a need yielded; what yields no such number fails the step.
func TestWindow(t *testing.T) {
	t.Parallel()
	const doc = `[{name: list, function: f}, {name: each, function: f, needs: list, over: 4, window: "${ steps.list }"}]`
	p := begin(t, doc)
	p.done("list", ok(2))
	p.isOpen("each.0 each.1")
	p.done("each.1", ok(0))
	p.isOpen("each.0 each.2")
	p = begin(t, doc)
	p.done("list", ok(0))
	p.isOpen("each.0 each.1 each.2 each.3")
	for _, wrong := range []any{-1, 1.5, "2", nil, 10_001, []int{1}} {
		p = begin(t, doc)
		p.done("list", ok(wrong))
		if o, ended := p.b.Ended(); !ended || o.Err == nil || o.Err.Type != "bad_window" || !strings.HasPrefix(o.Err.Message, `step "each": window: ${ steps.list } yields`) {
			t.Errorf("%v: %v", wrong, o)
		}
	}
}

// TestPairs: an element waits for the elements that it needs, and for none of the others.
func TestPairs(t *testing.T) {
	t.Parallel()
	p := begin(t, `[{name: a, function: f, over: 3}, {name: b, function: f, over: 3, needs: { a: same }}, {name: c, function: f, over: 3, needs: { b: same, c: -1 }}]`)
	p.isOpen("a.0 a.1 a.2")
	p.done("a.2", ok("A2"))
	p.isOpen("a.0 a.1 b.0") // Child 0 of b is element 2.
	if got := p.given("b", 0); got != `2 item=2 index=2 needed={"a":"A2"}` {
		t.Error(got)
	}
	p.done("b.0", ok("B2"))
	p.done("a.0", ok("A0"))
	p.done("b.1", ok("B0"))
	p.isOpen("a.1 c.0")
	if got := p.given("c", 0); got != `0 item=0 index=0 needed={"b":"B0","c":null}` {
		t.Error(got)
	}
	p.done("c.0", ok("C0"))
	p.done("a.1", ok("A1"))
	p.done("b.2", ok("B1"))
	p.done("c.1", ok("C1"))
	if got := p.given("c", 2); got != `2 item=2 index=2 needed={"b":"B2","c":"C1"}` {
		t.Error(got)
	}
	p.done("c.2", ok("C2"))
	p.ended(`{"c":["C0","C1","C2"]}`)

	p = begin(t, `[{name: a, function: f, over: 2}, {name: b, function: f, over: 3, needs: { a: same }}]`)
	p.done("a.0", ok(1))
	p.done("a.1", ok(1))
	p.ended(`bad_items: step "b": over yields 3 items, and step "a" has 2: an element needs the one of the same index`)
}

// TestWavefront: each needs the two before it (ExCamera's phases): what fails stops what comes after, with its error, and those that may run behind it see it.
func TestWavefront(t *testing.T) {
	t.Parallel()
	const doc = `{end: leaves, steps: [{name: w, function: f, over: 5, needs: { w: [-1, -2] }}, {name: look, function: f, over: 5, needs: { w: same }, rule: all_done}]}`
	p := begin(t, doc)
	for i := range 5 {
		p.isOpen(strings.TrimSpace(fmt.Sprintf("w.%d", i)))
		want := fmt.Sprintf(`%d item=%d index=%d needed={"w":[%d,%d]}`, i, i, i, i-1, i-2)
		if i < 2 {
			want = []string{`0 item=0 index=0 needed={"w":[null,null]}`, `1 item=1 index=1 needed={"w":[0,null]}`}[i]
		}
		if got := p.given("w", i); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		p.done(fmt.Sprint("w.", i), ok(i))
		p.done(fmt.Sprint("look.", i), ok(-i))
	}
	p.ended(`{"look":[0,-1,-2,-3,-4]}`)

	p = begin(t, doc)
	p.done("w.0", ok(0))
	p.done("w.1", boom)
	p.isOpen("look.0 look.1 look.2 look.3 look.4")
	const broken = `{"type":"boom","message":"it broke","class":"function"}`
	if got, want := p.given("look", 4), `4 item=4 index=4 needed={"w":{"error":`+broken+`}} outcomes={"w":{"outcome":"failed","error":`+broken+`}}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestConcurrency: so many at a time, those that stand first in the document first, whatever became runnable first.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	p := begin(t, `{concurrency: 2, steps: [{name: late, function: f, needs: a}, {name: a, function: f}, {name: b, function: f, over: 3}, {name: c, function: f}]}`)
	p.isOpen("a b.0")
	p.done("b.0", ok(1))
	p.isOpen("a b.1")
	p.done("a", ok(1))
	p.isOpen("late b.1")
	p.done("b.1", ok(1))
	p.isOpen("late b.2")
	p.done("late", ok(1))
	p.isOpen("b.2 c")
	p.done("c", ok(1))
	p.done("b.2", ok(1))
	p.ended(`{"late":1,"b":[1,1,1],"c":1}`)
	p = begin(t, `{concurrency: "${ input }", steps: [{name: a, function: f}]}`)
	p.ended(`bad_concurrency: concurrency: ${ input } yields "in" and not a whole number from 1`)
}

// TestAlways runs at once, and sees what had ended then: nothing.
func TestAlways(t *testing.T) {
	t.Parallel()
	p := begin(t, `[{name: a, function: f}, {name: b, function: f, needs: a, rule: always}]`)
	p.isOpen("a b")
	if got := p.given("b", 0); got != `{"a":null} outcomes={}` {
		t.Error(got)
	}
}

// TestTeardownCancelled: of a dag that is cancelled the teardowns run whose setup had succeeded, those behind one another in order, within the limit.
func TestTeardownCancelled(t *testing.T) {
	t.Parallel()
	const doc = `{concurrency: 1, steps: [{name: net, function: f}, {name: host, function: f, needs: net}, {name: disk, function: f, needs: net},
		{name: work, function: f, over: 3, needs: [host, disk]}, {name: behind, function: f, needs: hostDown, rule: all_done},
		{name: hostDown, function: f, teardown: host, needs: work}, {name: diskDown, function: f, teardown: disk, needs: work}, {name: netDown, function: f, teardown: net, needs: [hostDown, diskDown]}]}`
	p := begin(t, doc)
	p.done("net", ok("N"))
	p.done("host", ok("H"))
	p.isOpen("disk")
	p.b.Cancel() // The disk's setup is cut off: nothing is known to have been made.
	p.isOpen("hostDown")
	if got := p.given("hostDown", 0); !strings.Contains(got, `"host":{"outcome":"succeeded","value":"H"}`) || !strings.Contains(got, `"work":{"outcome":"failed","error":{"type":"cancelled"`) {
		t.Errorf("it is told %s", got)
	}
	p.done("hostDown", boom)
	p.isOpen("netDown")
	p.done("netDown", ok(1))
	if o, ended := p.b.Ended(); !ended || o.Verdict != lang.Cancelled {
		t.Errorf("ended %t: %v", ended, o)
	}

	p = begin(t, doc) // Nothing was set up.
	p.b.Cancel()
	if _, ended := p.b.Ended(); !ended {
		t.Errorf("open are %s", p.open())
	}

	p = begin(t, doc) // One is at it already.
	for _, name := range []string{"net", "host", "disk", "work.0", "work.1", "work.2"} {
		p.done(name, ok(1))
	}
	p.isOpen("hostDown")
	p.b.Cancel()
	p.isOpen("hostDown")
	p.done("hostDown", ok(1))
	p.isOpen("diskDown")
	p.done("diskDown", ok(1))
	p.isOpen("netDown")
}
