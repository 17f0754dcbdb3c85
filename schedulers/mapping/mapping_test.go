package mapping_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/mapping"
	"github.com/onward-router/onward/schedulers/schedulertest"
)

var laws = schedulertest.Options{
	Documents: []string{
		`{items: 3, do: {function: f}}`,
		`{items: "${ data.items }", as: file, window: 2, do: {function: f, input: "${ file }"}}`,
		`{items: [1, "<two>", [3], {"a": 4}, null], join: settled, do: {wait: 1s}}`,
		`{items: 0, do: {function: f}}`,
		`{items: "${ data }", join: settled, results: count, window: 1, do: {map: {items: 2, do: {function: f}}}}`,
		`{items: "${ [input, data, {'a': '<'}] }", results: none, do: {function: f}}`,
		`{items: 5, join: any, window: 2, do: {function: f}}`,
		`{items: 9, join: {atLeast: 4, losers: run}, window: 6, do: {function: f}}`,
		`{items: "${ data }", join: {percent: 60, deadline: 1m, onDeadline: take}, results: count, do: {function: f}}`,
		`{items: 7, join: {until: "${ succeeded >= 3 || skipped > 1 }", deadline: 1h}, do: {function: f}}`,
		`{items: 4, join: {for: any, deadline: 1m, onDeadline: take}, results: none, do: {function: f}}`,
		`{items: 4, join: {for: all, deadline: 1m, onDeadline: take}, do: {function: f}}`,
		`{items: 23, batch: {size: 5, with: {"k": [1, "${ data }"], "a": "<"}}, window: 2, do: {function: f}}`,
		`{items: ["a", "bb", {"c": 1}, [1, 2, 3], "a long one that is larger than the bound", 7], as: lot, batch: {bytes: 12}, join: settled, do: {function: f}}`,
		`{items: "${ [1, 2, 3, 4, 5, 6, 7] }", batch: {bytes: 1000, size: 3}, join: {atLeast: 1}, do: {function: f}}`,
		`{items: 12, tolerate: {count: 2}, window: 3, do: {function: f}}`,
		`{items: 12, tolerate: {percent: 25}, results: count, do: {function: f}}`,
		`{items: 12, tolerate: {count: 9, percent: 50}, batch: {size: 1}, join: {deadline: 1h}, do: {function: f}}`,
		`{items: "${ [1, 2, 3, 1, 2, 1].map(x, {'key': x}) }", groupBy: "${ item.key }", do: {function: f}, reduce: {function: g, input: "${ [key, index, input] }"}}`,
		`{items: 40, as: n, window: 3, groupBy: "${ n % 7 }", join: settled, do: {function: f}, reduce: {function: g}}`,
		`{items: 20, groupBy: "${ index / 6 }", tolerate: {count: 3}, results: count, do: {function: f}, reduce: {function: g}}`,
		`{items: 30, window: 7, speculate: 30s, do: {function: f}}`,
		`{items: 40, speculate: {after: "p50 x 1.5", max: 2}, join: {atLeast: 30}, do: {function: f}}`,
		`{items: 300, window: 9, speculate: {after: p90, max: 3}, results: none, join: settled, do: {function: f}}`,
		`{items: 0, groupBy: "${ item }", do: {function: f}, reduce: {function: g}}`,
	},
	Generate: generate,
	Commutes: func(p *schedulertest.Play) bool {
		m := p.Settings.(*mapping.Map)
		j := m.Join
		if m.Tolerate != nil || m.Reduce != nil {
			return !p.Has(lang.Failed) && !p.Has(lang.Skipped)
		}
		return !j.Early() && (j.Settled() || !p.Has(lang.Failed))
	},
	Want: want,
	Window: func(settings any, _ int) int {
		n := 0
		if v, constant := settings.(*mapping.Map).Window.Const(); constant {
			_ = v.Decode(&n)
		}
		return n
	},
	Answer: func(c schedulertest.Child, given schedulers.Binding, _ *rand.Rand) (lang.Outcome, bool) {
		key, reduces := given.Vars.Lookup("key") // Which group a reducer has hangs on the order, and not what a group yields.
		if !reduces {
			return lang.Outcome{}, false
		}
		return lang.Success(lang.List(key.(lang.Value), given.Input)), true
	},
	Loose: func(settings any) bool {
		m := settings.(*mapping.Map)
		return m.Tolerate != nil || m.Reduce != nil
	},
	Partial: func(p *schedulertest.Play) bool {
		m := p.Settings.(*mapping.Map)
		return m.Join.Early() || p.Left == 0 && (m.Join.Settled() || m.Tolerate != nil)
	},
}

// generate makes a map of 0 to 50 items.
func generate(r *rand.Rand) string {
	items := fmt.Sprint(r.IntN(51))
	switch r.IntN(4) {
	case 0:
		var list []string
		for range r.IntN(51) {
			list = append(list, []string{`1`, `"a<b"`, `null`, `[1,2]`, `{"k":"v"}`, `-1.5e3`}[r.IntN(6)])
		}
		items = "[" + strings.Join(list, ",") + "]"
	case 1:
		items = []string{`"${ data }"`, `"${ input }"`, `"${ [data, data] }"`, `"${ [1, 2, 3].map(x, x * 2) }"`, `"${ data.?x }"`, `"${ -1 }"`, `"${ 1.5 }"`}[r.IntN(7)]
	}
	doc := `{"items": ` + items + `, "do": ` + []string{`{"function": "f"}`, `{"function": "f", "name": "n", "when": "${ index > 1 }"}`,
		`{"sequence": [{"function": "f"}, {"wait": "1s"}]}`}[r.IntN(3)]
	if r.IntN(2) == 0 {
		doc += fmt.Sprintf(`, "window": %d`, r.IntN(8))
	}
	if r.IntN(2) == 0 {
		doc += `, "join": ` + []string{`"settled"`, `"settled"`, `{"percent": 65}`, `{"until": "${ succeeded * 2 > total }"}`, `{"for": "settled", "deadline": "1m", "onDeadline": "take"}`}[r.IntN(5)]
	}
	if r.IntN(3) == 0 {
		doc += `, "as": "file"`
	}
	if r.IntN(4) == 0 {
		doc += fmt.Sprintf(`, "batch": {"size": %d}`, 1+r.IntN(9))
	}
	if r.IntN(2) == 0 {
		doc += `, "results": "` + []string{"list", "count", "none"}[r.IntN(3)] + `"`
	}
	return doc + "}"
}

// want is what a map yields, from the children alone.
func want(p *schedulertest.Play) (lang.Outcome, bool) {
	m := p.Settings.(*mapping.Map)
	if m.Tolerate != nil && m.Join.Deadline == 0 && m.Reduce == nil {
		return wantTolerant(p, m)
	}
	if p.Failed || m.Join.Early() || m.Join.Deadline > 0 || m.Reduce != nil {
		return lang.Outcome{}, false // The law of joins says what it must be.
	}
	counts := map[lang.Verdict]int{}
	for _, c := range p.Told {
		if c.Verdict == lang.Failed && m.Join.Word == "all" {
			return lang.Failure(c.Err), true
		}
		counts[c.Verdict]++
	}
	values := make([]lang.Value, len(p.Told))
	for i := range values {
		o := p.Of(0, i)
		if values[i] = o.Value; !m.Join.Settled() {
			continue
		}
		form := map[lang.Verdict]string{
			lang.Succeeded: `{"outcome":"succeeded","value":` + o.Value.JSON() + `}`, lang.Skipped: `{"outcome":"skipped"}`,
			lang.Failed: `{"outcome":"failed","error":` + lang.Of(o.Err).JSON() + `}`,
		}
		values[i] = lang.Trusted(form[o.Verdict])
	}
	switch m.Results {
	case "none":
		return lang.Success(lang.Null), true
	case "count":
		return lang.Success(lang.Trusted(fmt.Sprintf(`{"failed":%d,"skipped":%d,"succeeded":%d}`, counts[lang.Failed], counts[lang.Skipped], counts[lang.Succeeded]))), true
	}
	return lang.Success(lang.List(values...)), true
}

// wantTolerant is a tally, or the error that the first failure too many is.
func wantTolerant(p *schedulertest.Play, m *mapping.Map) (lang.Outcome, bool) {
	failed := 0
	for i, c := range p.Told {
		if c.Verdict == lang.Failed {
			failed++
		}
		if c.Verdict == lang.Failed && (m.Tolerate.Count != nil && failed > *m.Tolerate.Count || m.Tolerate.Percent != nil && float64(failed) > *m.Tolerate.Percent*12/100) {
			if i != len(p.Told)-1 || p.Outcome.Err == nil || p.Outcome.Err.Type != "too_many_failed" {
				return lang.Success(lang.Text("it fails with the first failure that is too many")), true
			}
			return p.Outcome, true
		}
	}
	return p.Outcome, p.Outcome.Verdict == lang.Succeeded
}

func TestLaws(t *testing.T) {
	t.Parallel()
	tally := schedulertest.Run(t, builtin.New(), "map", laws)
	if tally.Wanted < 100 || tally.Reordered < 100 || tally.Succeeded < 50 || tally.Failed < 50 {
		t.Errorf("too little was played to prove anything: %s", tally)
	}
}

func FuzzLaws(f *testing.F) { schedulertest.Fuzz(f, builtin.New(), "map", laws) }

func open(t testing.TB, document, data string) *schedulertest.Bench {
	t.Helper()
	v, err := lang.ParseValue([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	b := schedulertest.Begin(t, builtin.New(), "map", document, lang.Text("in"), v)
	return b
}

// TestItems: what items may be, and which inputs and names it gives the children.
func TestItems(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ items, data, inputs, fault string }{
		{`3`, `null`, `0 1 2`, ``},
		{`"${ data }"`, `2`, `0 1`, ``},
		{`"${ data }"`, `2.0`, `0 1`, ``},
		{`"${ data }"`, `1e0`, `0`, ``},
		{`[7, "${ data }"]`, `{"a":[1]}`, `7 {"a":[1]}`, ``},
		{`"${ data }"`, `["<a>",null,[1,2]]`, `"<a>" null [1,2]`, ``},
		{`"${ data }"`, `[]`, ``, ``},
		{`0`, `null`, ``, ``},
		{`"${ data }"`, `null`, ``, `bad_items`},
		{`"${ data }"`, `-1`, ``, `bad_items`},
		{`"${ data }"`, `1.5`, ``, `bad_items`},
		{`"${ data }"`, `true`, ``, `bad_items`},
		{`"${ data }"`, `{"0":1}`, ``, `bad_items`},
		{`"${ data }"`, `"3"`, ``, `bad_items`},
		{`"${ data.none }"`, `{}`, ``, `expression_error`},
		{`"${ 20000000 }"`, `null`, ``, `policy_error`},
	} {
		b := open(t, `{items: `+test.items+`, as: x, do: {function: f}}`, test.data)
		var inputs []string
		for i, c := range b.Open() {
			binding, err := b.Binding(c.Slot, c.Index)
			if err != nil {
				t.Fatal(err)
			}
			inputs = append(inputs, binding.Input.JSON())
			for _, name := range []string{"item", "x"} {
				if v, _ := binding.Vars.Lookup(name); v != binding.Input {
					t.Errorf("items %s: %s of child %d is %v", test.items, name, i, v)
				}
			}
			if v, _ := binding.Vars.Lookup("index"); v != lang.Of(i) {
				t.Errorf("items %s: index of child %d is %v", test.items, i, v)
			}
		}
		if got := strings.Join(inputs, " "); got != test.inputs {
			t.Errorf("items %s of %s: inputs %s, want %s", test.items, test.data, got, test.inputs)
		}
		o, ended := b.Ended()
		switch {
		case test.fault != "" && (!ended || o.Err == nil || o.Err.Type != test.fault):
			t.Errorf("items %s of %s: %v, want %s", test.items, test.data, o, test.fault)
		case test.fault == "" && test.inputs == "" && (!ended || o != lang.Success(lang.List())):
			t.Errorf("items %s of %s: %v, want []", test.items, test.data, o)
		case test.inputs != "" && ended:
			t.Errorf("items %s of %s: it ended at once: %v", test.items, test.data, o)
		}
	}
}

// TestBatches: which items stand together, and what they are given.
func TestBatches(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ document, data, want string }{
		{`items: 5, batch: {size: 2}`, `null`, `{"items":[0,1]} {"items":[2,3]} {"items":[4]}`},
		{`items: "${ data }", batch: {size: 2, with: {a: 1, b: "${ data.size() }"}}`, `["x",{"y":1},null]`, `{"items":["x",{"y":1}],"a":1,"b":3} {"items":[null],"a":1,"b":3}`},
		{`items: "${ data }", batch: {bytes: 8}`, `["a","b","ccccccccccc","d"]`, `{"items":["a","b"]} {"items":["ccccccccccc"]} {"items":["d"]}`},
		{`items: "${ data }", batch: {bytes: 100, size: 3}`, `[1,2,3,4]`, `{"items":[1,2,3]} {"items":[4]}`},
		{`items: "${ data }", batch: {bytes: 1}`, `[1,22]`, `{"items":[1]} {"items":[22]}`},
		{`items: "${ data }", batch: {bytes: 1}`, `[]`, `[]`},
		{`items: 0, batch: {size: 3}`, `[]`, `[]`},
		{`items: "${ data }", batch: {size: 1001}`, `2000`, `bad_batch`},
		{`items: "${ data }", batch: {bytes: 10}`, `2000`, `bad_batch`},
		{`items: "${ data }", window: "${ data.size() - 1 }"`, `[1,2,3]`, `1 2`},
		{`items: "${ data }", window: "${ -1 }"`, `[1,2,3]`, `bad_window`},
		{`items: "${ data }", window: "${ 1.5 }"`, `[1,2,3]`, `bad_window`},
	} {
		b := open(t, `{`+test.document+`, do: {function: f}}`, test.data)
		var got []string
		for _, c := range b.Open() {
			x, err := b.Binding(c.Slot, c.Index)
			if item, _ := x.Vars.Lookup("item"); err != nil || strings.Contains(test.document, "batch") && !strings.Contains(x.Input.JSON(), item.(lang.Value).JSON()) {
				t.Errorf("%s: item %v, input %s, %v", test.document, item, x.Input, err)
			}
			got = append(got, x.Input.JSON())
		}
		if o, ended := b.Ended(); ended && o.Err != nil {
			got = append(got, o.Err.Type)
		} else if ended {
			got = append(got, o.Value.JSON())
		}
		if all := strings.Join(got, " "); all != test.want {
			t.Errorf("%s: %s, want %s", test.document, all, test.want)
		}
	}
	b := open(t, `{items: 2, batch: {size: 2, with: "${ data }"}, do: {function: f}}`, `[1]`)
	if _, err := b.Binding(0, 0); err == nil || !strings.Contains(err.Error(), "bad_batch") {
		t.Error(err)
	}
}

// TestGroups: one reducer a key, as soon as its items are done, with all their results and no others; the results in the order of the keys.
func TestGroups(t *testing.T) {
	t.Parallel()
	b := open(t, `{items: "${ data }", groupBy: "${ item.k }", join: settled, do: {function: f}, reduce: {function: g}}`, `[{"k":"b"},{"k":1},{"k":"b"},{"k":null},{"k":1},{"k":"b"}]`)
	reducer := func(i int) string {
		x, err := b.Binding(1, i)
		key, _ := x.Vars.Lookup("key")
		index, _ := x.Vars.Lookup("index")
		return fmt.Sprint(key, " ", index, " ", x.Input, " ", err)
	}
	b.Done(0, 4, lang.Success(lang.Of(4)))
	b.Done(0, 1, lang.Skip())
	if got, want := reducer(0), `1 1 [{"outcome":"skipped"},{"outcome":"succeeded","value":4}] <nil>`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	b.Done(0, 3, lang.Success(lang.Of(3)))
	for _, i := range []int{5, 0, 2} {
		b.Done(0, i, lang.Success(lang.Of(i)))
	}
	if got, want := reducer(2), `"b" 0 [{"outcome":"succeeded","value":0},{"outcome":"succeeded","value":2},{"outcome":"succeeded","value":5}] <nil>`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	b.Done(1, 0, lang.Success(lang.Text("ones")))
	b.Done(1, 2, lang.Success(lang.Text("bs")))
	b.Done(1, 1, lang.Skip())
	const want = `[{"outcome":"succeeded","value":"bs"},{"outcome":"succeeded","value":"ones"},{"outcome":"skipped"}]`
	if o, ended := b.Ended(); !ended || o.Value.JSON() != want {
		t.Errorf("%t %v, want %s", ended, o, want)
	}
	for _, test := range []struct{ items, key, want string }{{`10001`, `item`, `bad_items`}, {`3`, `item.none`, `expression_error`}} {
		b := open(t, `{items: "${ `+test.items+` }", groupBy: "${ `+test.key+` }", do: {function: f}, reduce: {function: g}}`, `null`)
		if o, ended := b.Ended(); !ended || o.Err == nil || o.Err.Type != test.want {
			t.Errorf("%s by %s: %t %v", test.items, test.key, ended, o)
		}
	}
	b = open(t, `{items: 2, groupBy: "${ item }", do: {function: f}, reduce: {function: g}}`, `null`)
	b.Done(0, 1, lang.Success(lang.Null))
	b.Done(1, 0, lang.Failure(lang.Failf(lang.ClassFunction, "boom", "it broke")))
	if o, ended := b.Ended(); !ended || o.Err == nil || o.Err.Type != "boom" {
		t.Errorf("%t %v", ended, o)
	}
}

// TestSpeculate: who is open for too long gets a twin, once for each that it may get; who is not open, or not for so long, gets none.
func TestSpeculate(t *testing.T) {
	t.Parallel()
	b := open(t, `{items: 4, window: 3, join: settled, speculate: {after: 10s, max: 2}, do: {function: f}}`, `null`)
	twins := func() (of []int) {
		for i := range 4 {
			if b.Twinned(0, i) {
				of = append(of, i)
			}
		}
		return of
	}
	b.Done(0, 1, lang.Success(lang.Null)) // 3 opens, at the same time as all.
	b.Fire(schedulers.StragglerTimer)
	if got := fmt.Sprint(twins(), b.Now().Sub(schedulertest.Epoch), b.Note()); got != `[0 2 3] 10s {"twins":3}` {
		t.Fatal(got)
	}
	b.Done(0, 0, lang.Failure(lang.Failf(lang.ClassFunction, "boom", "the first try broke")))
	if _, err := b.Binding(0, 0); err != nil || len(twins()) != 2 {
		t.Fatalf("a failure of one of two: %v, %v", err, twins())
	}
	b.Fire(schedulers.StragglerTimer)
	if got := fmt.Sprint(twins(), b.Now().Sub(schedulertest.Epoch), len(b.Timers())); got != `[0 2 3] 20s 0` {
		t.Fatal(got)
	}
	for _, i := range []int{0, 2, 3} {
		b.Done(0, i, lang.Success(lang.Null))
	}
	if o, ended := b.Ended(); !ended || o.Verdict != lang.Succeeded {
		t.Error(ended, o)
	}
}

// TestPercentile: once enough have succeeded it is known how long is long.
func TestPercentile(t *testing.T) {
	t.Parallel()
	b := open(t, `{items: 20, speculate: "p90 x 2", join: {deadline: 4s}, do: {function: f}}`, `null`)
	for i := range 10 {
		if len(b.Timers()) != 1 {
			t.Fatalf("after %d: timers %v", i, b.Timers())
		}
		b.Done(0, 19-i, lang.Success(lang.Null))
	}
	b.Fire(schedulers.StragglerTimer) // All took no time: what is open is late from 2 ms on.
	if b.Twinned(0, 0) || len(b.Timers()) != 2 {
		t.Fatal(b.Timers())
	}
	b.Fire(schedulers.StragglerTimer)
	for i := range 10 {
		if !b.Twinned(0, i) {
			t.Errorf("%d has no twin at %s", i, b.Now().Sub(schedulertest.Epoch))
		}
	}
}

// TestManyStragglers: an event asks for so many twins, and the next one follows at once; each child is looked at once.
func TestManyStragglers(t *testing.T) {
	t.Parallel()
	const n = 1000
	b := open(t, fmt.Sprintf(`{items: %d, speculate: 1s, join: settled, results: none, do: {function: f}}`, n), `null`)
	fires, before := 0, 0
	for len(b.Timers()) > 0 {
		b.Fire(schedulers.StragglerTimer)
		twins := 0
		for i := range n {
			if b.Twinned(0, i) {
				twins++
			}
		}
		if fires++; twins-before > 256 || b.Now() != schedulertest.Epoch.Add(time.Second) {
			t.Fatalf("%d twins by one event, at %s", twins-before, b.Now())
		}
		before = twins
	}
	if fires != 4 || before != n {
		t.Errorf("%d twins by %d events", before, fires)
	}
}

// TestEmptyResults: a map over nothing yields what its results say.
func TestEmptyResults(t *testing.T) {
	t.Parallel()
	for results, want := range map[string]string{"list": `[]`, "count": `{"failed":0,"skipped":0,"succeeded":0}`, "none": `null`} {
		if o, ended := open(t, `{items: 0, results: `+results+`, do: {function: f}}`, `null`).Ended(); !ended || o.Value.JSON() != want {
			t.Errorf("results %s: %v, want %s", results, o, want)
		}
	}
}

// TestWindow: a window opens in index order, one for each that is done.
func TestWindow(t *testing.T) {
	t.Parallel()
	b := open(t, `{items: 10, window: 3, join: settled, results: count, do: {function: f}}`, `null`)
	for i, first := range []int{1, 0, 2, 4, 3, 5, 6, 8, 7, 9} {
		if n := len(b.Open()); n != min(3, 10-i) {
			t.Fatalf("after %d: %d are open", i, n)
		}
		b.Done(0, first, lang.Skip())
	}
	if o, ended := b.Ended(); !ended || o.Value.JSON() != `{"failed":0,"skipped":10,"succeeded":0}` {
		t.Error(o)
	}
}

// TestDocuments: what lint says of a map that cannot be.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{items: 3, window: -1, do: {function: f}}`:                                                    "a window of -1, and it is a whole number from 0 to 10000",
		`{items: 3, results: lists, do: {function: f}}`:                                                `did you mean "list"?`,
		`{items: , do: {function: f}}`:                                                                 "and this is null",
		`{items: 3, window: 3000000000, do: {function: f}}`:                                            "a window of 3000000000, and it is",
		`{items: 20000000, do: {function: f}}`:                                                         "20000000 items, and 10000000 are the most",
		`{items: "${ data.a }${ data.b }", do: {function: f}}`:                                         "always yields text",
		`{items: "${ {'a': 1} }", do: {function: f}}`:                                                  "always yields object",
		`{items: three, do: {function: f}}`:                                                            `and this is "three"`,
		`{items: -1, do: {function: f}}`:                                                               "and this is -1",
		`{items: 1.5, do: {function: f}}`:                                                              "and this is 1.5",
		`{items: {a: 1}, do: {function: f}}`:                                                           "items are a list",
		`{items: 3}`:                                                                                   "do is missing",
		`{do: {function: f}}`:                                                                          "items is missing",
		`{items: 0, join: any, do: {function: f}}`:                                                     "a join of any, and there are no children",
		`{items: 3, join: {atLeast: 4}, do: {function: f}}`:                                            "a join of at least 4, and the children here are 3",
		`{items: [1, 2], join: {atLeast: 3}, do: {function: f}}`:                                       "a join of at least 3, and the children here are 2",
		`{items: 3, window: "${ 3 }x", do: {function: f}, batch: {}}`:                                  "a batch without a bound",
		`{items: 3, batch: {size: 0}, do: {function: f}}`:                                              "size is 0",
		`{items: 3, batch: {size: -1}, do: {function: f}}`:                                             "a batch of -1 items",
		`{items: 3, batch: {size: 20000}, do: {function: f}}`:                                          "write a size from 1 to 10000",
		`{items: 3, batch: {bytes: 1000000000}, do: {function: f}}`:                                    "a batch of 1000000000 bytes",
		`{items: 3, batch: {size: 2, with: 3}, do: {function: f}}`:                                     "is an object without items, and this is 3",
		`{items: 3, batch: {size: 2, with: {items: 3}}, do: {function: f}}`:                            "an object without items",
		`{items: 3, tolerate: {}, do: {function: f}}`:                                                  "it is not said how many failures are tolerated",
		`{items: 3, tolerate: {count: -1}, do: {function: f}}`:                                         "a tolerance of -1 failures",
		`{items: 3, tolerate: {percent: 101}, do: {function: f}}`:                                      "a tolerance of 101 percent",
		`{items: 3, tolerate: {count: 1}, join: settled, do: {function: f}}`:                           "settled tolerates all",
		`{items: 3, groupBy: "${ item }", do: {function: f}}`:                                          "groups without a step that reduces them",
		`{items: 3, reduce: {function: f}, do: {function: f}}`:                                         "a step that reduces groups, and no groups",
		`{items: 3, groupBy: 3, reduce: {function: f}, do: {function: f}}`:                             "a key that is the same for all items",
		`{items: 3, groupBy: "${ item }", batch: {size: 2}, reduce: {function: f}, do: {function: f}}`: "groups of batches",
		`{items: 3, groupBy: "${ item }", join: any, reduce: {function: f}, do: {function: f}}`:        `the join "any" does not wait for them`,
		`{items: 30000, groupBy: "${ item }", reduce: {function: f}, do: {function: f}}`:               "with groupBy 10000 are the most",
		`{items: 3, speculate: p95, do: {function: f}}`:                                                "a percentile is of 10 times at least, and the children here are 3",
		`{items: 3, speculate: 0s, do: {function: f}}`:                                                 "neither a time that can pass nor a percentile",
		`{items: 3, speculate: {max: 1}, do: {function: f}}`:                                           "after is missing",
		`{items: 3, speculate: {after: 1s, max: 4}, do: {function: f}}`:                                "a child may get 1 to 3 twins",
		`{items: 3, join: {percent: 0}, do: {function: f}}`:                                            "a join of 0 percent",
	} {
		if _, err := schedulertest.Load(builtin.New(), "map", doc); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", doc, err, want)
		}
	}
}

// TestWide: a join of a million that needs nearly all of them is told of its last as of its first, and keeps nothing of what it discards.
func TestWide(t *testing.T) { // Not parallel: it counts allocations.
	for join, n := range map[string]int{`{atLeast: %d}`: 1_000_000, `{until: "${ succeeded >= %d }"}`: 100_000} {
		join = fmt.Sprintf(join, n-1)
		b := open(t, fmt.Sprintf(`{items: %d, window: 100, results: count, join: %s, do: {function: f}}`, n, join), `null`)
		allocated := func(from, to int) float64 {
			at := from
			return testing.AllocsPerRun(to-from-1, func() {
				o := lang.Success(lang.Null)
				if at == 500 {
					o = lang.Skip()
				}
				b.Done(0, at, o)
				at++
			})
		}
		first := allocated(0, 1000)
		for i := 1000; i < n-1000; i++ {
			if b.Done(0, i, lang.Success(lang.Null)); i%100_000 == 0 && len(b.Open()) != 100 {
				t.Fatalf("%s: %d are open", join, len(b.Open()))
			}
		}
		if last := allocated(n-1000, n); last > first+1 {
			t.Errorf("%s: the last completions take %v allocations each, the first took %v", join, last, first)
		}
		if o, ended := b.Ended(); !ended || o.Value.JSON() != fmt.Sprintf(`{"failed":0,"skipped":1,"succeeded":%d}`, n-1) {
			t.Errorf("%s: %t %v", join, ended, o)
		}
	}
}

// BenchmarkDone is the cost of one completion: it must not grow with the width.
func BenchmarkDone(b *testing.B) {
	for _, how := range []string{"results: none", "results: list", "results: none, join: {atLeast: N}", "results: list, join: {atLeast: N}", `results: count, join: {until: "${ succeeded >= N }"}`} {
		for _, n := range []int{1_000, 10_000, 100_000, 1_000_000} {
			if strings.Contains(how, "list, join") && n == 1_000_000 {
				n = 600_000 // More are larger as a list than a value may be.
			}
			b.Run(fmt.Sprintf("%s/%d", strings.NewReplacer("results: ", "", " ", "").Replace(how), n), func(b *testing.B) {
				doc := fmt.Sprintf(`{items: %d, window: 100, %s, do: {function: f}}`, n, strings.ReplaceAll(how, "N", fmt.Sprint(n)))
				bench, next := open(b, doc, `null`), 0
				b.ReportAllocs()
				for b.Loop() {
					if next == n-1 { // The last one collects the results: that is the cost of the map, not of one completion.
						b.StopTimer()
						bench, next = open(b, doc, `null`), 0
						b.StartTimer()
					}
					bench.Done(0, next, lang.Success(lang.Null))
					next++
				}
			})
		}
	}
}
