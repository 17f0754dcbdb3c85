package filter

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
)

// checkIndex holds an index of lists that grow out of bytes to plain evaluation; it returns how many lists matched, and how many were left to look at.
func checkIndex(t *testing.T, b []byte) (matched, candidates, all int) {
	g := &grower{b}
	attrs := g.attrs()
	a := Texts(func(name string) (string, bool) { v, ok := attrs[name]; return v, ok })
	var lists [][]Filter
	for range 1 + g.pick(12) {
		lists = append(lists, g.filters(2))
	}
	if g.pick(4) == 0 {
		lists = append(lists, nil)
	}
	found := NewIndex(lists).Candidates(a, nil)
	if !slices.IsSorted(found) || len(slices.Compact(slices.Clone(found))) != len(found) {
		t.Errorf("%v are not in order", found)
	}
	for i, filters := range lists {
		if MatchAll(filters, a) {
			if matched++; !slices.Contains(found, int32(i)) {
				t.Errorf("the index does not find %+v for %v", filters, attrs)
			}
		}
	}
	return matched, len(found), len(lists)
}

func TestIndexLaws(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, 300)
	var sum [3]int
	for range 2000 {
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		matched, candidates, all := checkIndex(t, b)
		sum[0], sum[1], sum[2] = sum[0]+matched, sum[1]+candidates, sum[2]+all
	}
	if sum[0] < sum[2]/20 || sum[1] > sum[2]*2/3 {
		t.Errorf("of %d lists %d matched and %d were looked at: the law is hardly tested", sum[2], sum[0], sum[1])
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte("lists and attributes grow out of bytes, and the index finds what matches"))
	f.Fuzz(func(t *testing.T, b []byte) { checkIndex(t, b) })
}

// TestIndexFinds looks at how few candidates there are, whatever it is that tells the lists apart.
func TestIndexFinds(t *testing.T) {
	t.Parallel()
	type m = map[string]string
	for name, make := range map[string]func(i int) []Filter{
		"type":               func(i int) []Filter { return []Filter{{Exact: m{"type": fmt.Sprint("t", i)}}} },
		"source of one type": func(i int) []Filter { return []Filter{{Exact: m{"type": "t", "source": fmt.Sprint("/s/", i)}}} },
		"subject, apart": func(i int) []Filter {
			return []Filter{{Exact: m{"type": "t"}}, {Exact: m{"subject": fmt.Sprint("u", i)}}}
		},
		"within all": func(i int) []Filter {
			return []Filter{{All: []Filter{{Suffix: m{"type": "x"}}, {Exact: m{"type": fmt.Sprint("t", i)}}}}}
		},
		"within any": func(i int) []Filter {
			return []Filter{{Any: []Filter{{Exact: m{"type": fmt.Sprint("t", i)}}, {Exact: m{"subject": fmt.Sprint("u", i)}}}}}
		},
		"prefix":    func(i int) []Filter { return []Filter{{Prefix: m{"type": fmt.Sprintf("t%d.", i)}}} },
		"sql":       func(i int) []Filter { return []Filter{{SQL: fmt.Sprintf("type = 't%d' AND country = 'CH'", i)}} },
		"sql, IN":   func(i int) []Filter { return []Filter{{SQL: fmt.Sprintf("type IN ('t%d', 'x%d')", i, i)}} },
		"sql, LIKE": func(i int) []Filter { return []Filter{{SQL: fmt.Sprintf("type LIKE 't%d.%%'", i)}} },
		"source, types by kind": func(i int) []Filter {
			return []Filter{{Exact: m{"type": fmt.Sprint("k", i%3)}}, {Prefix: m{"source": fmt.Sprintf("/s/%d/", i)}}}
		},
	} {
		var lists [][]Filter
		for i := range 1000 {
			list := make(i)
			for k := range list {
				list[k].Check()
			}
			lists = append(lists, list)
		}
		x := NewIndex(lists)
		e := event.New()
		e.SetID("1")
		e.SetType("t7")
		e.SetSource("/s/7")
		e.SetSubject("u7")
		switch name {
		case "source of one type", "subject, apart":
			e.SetType("t")
		case "prefix", "sql, LIKE":
			e.SetType("t7.x")
		case "source, types by kind":
			e.SetType("k1")
			e.SetSource("/s/7/x")
		}
		if got := x.Candidates(Of(&e), nil); !slices.Equal(got, []int32{7}) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// BenchmarkIndex is what one event costs among many triggers, each for a type, a source or a beginning of its own, with the index and without; a tenth of
// them asks for a country as well.
func BenchmarkIndex(b *testing.B) {
	type m = map[string]string
	for _, n := range []int{10, 1000, 10_000} {
		lists := make([][]Filter, n)
		for i := range lists {
			switch i % 4 {
			case 0:
				lists[i] = []Filter{{Exact: m{"type": fmt.Sprintf("com.example.t%d", i)}}}
			case 1:
				lists[i] = []Filter{{Exact: m{"type": "com.example.order", "source": fmt.Sprint("/shop/", i)}}}
			case 2:
				lists[i] = []Filter{{Prefix: m{"type": fmt.Sprintf("com.example.p%d.", i)}}}
			case 3:
				lists[i] = []Filter{{SQL: fmt.Sprintf("type = 'com.example.s%d' AND country = 'CH'", i)}}
			}
			lists[i][0].Check()
		}
		e := sample()
		e.SetType("com.example.order")
		e.SetSource("/shop/5")
		a := Of(e)
		b.Run(fmt.Sprintf("triggers=%d/index", n), func(b *testing.B) {
			x := NewIndex(lists)
			room, found := make([]int32, 0, 64), 0
			for b.Loop() {
				found = 0
				for _, i := range x.Candidates(a, room) {
					if MatchAll(lists[i], a) {
						found++
					}
				}
			}
			if found != 1 {
				b.Fatal(found)
			}
		})
		b.Run(fmt.Sprintf("triggers=%d/plain", n), func(b *testing.B) {
			found := 0
			for b.Loop() {
				found = 0
				for i := range lists {
					if MatchAll(lists[i], a) {
						found++
					}
				}
			}
			if found != 1 {
				b.Fatal(found)
			}
		})
	}
}
