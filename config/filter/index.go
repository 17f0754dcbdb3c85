package filter

import (
	"slices"
	"sort"
)

// An Index finds, of many lists of filters, the few that can let an event through, by its type, source and subject: what a list needs of one of them, as one
// of some texts or as a beginning, through all, any and sql. A list that needs nothing of the kind is looked at for every event.
type Index struct {
	exact  [len(indexed)]map[string][]int32
	prefix [len(indexed)]prefixes
	rest   []int32
}

var indexed = [...]string{"type", "source", "subject"}

// prefixes are beginnings, by their text; lengths are those that there are, ascending.
type prefixes struct {
	lengths []int
	of      map[string][]int32
}

// A key is one text that an attribute is to be, or to begin with.
type key struct {
	attribute uint8 // of indexed
	begins    bool
	text      string
}

// maxKeys bounds under how many keys one list stands.
const maxKeys = 64

// NewIndex makes an index of lists of filters, each known by its place. Of what a list needs it is found by that which the fewest others need as well.
func NewIndex(lists [][]Filter) *Index {
	x := &Index{}
	needs, crowd := make([][][]key, len(lists)), make(map[key]int)
	for i, filters := range lists {
		needs[i] = needsOf(filters)
		for _, one := range needs[i] {
			for _, k := range one {
				crowd[k]++
			}
		}
	}
	for i, all := range needs {
		if len(all) == 0 {
			x.rest = append(x.rest, int32(i))
			continue
		}
		for _, k := range slices.MinFunc(all, func(a, b []key) int { return weigh(a, crowd) - weigh(b, crowd) }) {
			x.add(k, int32(i))
		}
	}
	for i := range x.prefix {
		p := &x.prefix[i]
		for text := range p.of {
			if at, found := slices.BinarySearch(p.lengths, len(text)); !found {
				p.lengths = slices.Insert(p.lengths, at, len(text))
			}
		}
	}
	return x
}

// weigh is how much is found with one of these keys that is not meant. A beginning is met by more than it says.
func weigh(keys []key, crowd map[key]int) (n int) {
	for _, k := range keys {
		n += 2 * crowd[k]
		if k.begins {
			n++
		}
	}
	return n
}

func (x *Index) add(k key, list int32) {
	of := &x.exact[k.attribute]
	if k.begins {
		of = &x.prefix[k.attribute].of
	}
	if *of == nil {
		*of = make(map[string][]int32)
	}
	if had := (*of)[k.text]; len(had) == 0 || had[len(had)-1] != list {
		(*of)[k.text] = append(had, list)
	}
}

// needsOf returns what filters need of the attributes that are indexed: of each need, one of the keys.
func needsOf(filters []Filter) (out [][]key) {
	for i := range filters {
		f := &filters[i]
		for at, name := range indexed {
			if text, ok := f.Exact[name]; ok {
				out = append(out, []key{{uint8(at), false, text}})
			}
			if text, ok := f.Prefix[name]; ok {
				out = append(out, []key{{uint8(at), true, text}})
			}
		}
		out = append(out, needsOf(f.All)...)
		if one := f.oneOf(); len(one) > 0 {
			out = append(out, one)
		}
		if f.sql == nil {
			continue
		}
		for _, need := range f.sql.Needs() {
			at := slices.Index(indexed[:], need.Name)
			switch {
			case at < 0:
			case need.Exact != nil && len(need.Exact) <= maxKeys:
				var one []key
				for _, text := range need.Exact {
					one = append(one, key{uint8(at), false, text})
				}
				out = append(out, one)
			case need.Prefix != "":
				out = append(out, []key{{uint8(at), true, need.Prefix}})
			}
		}
	}
	return out
}

// oneOf returns the keys of which an any needs one; none where one of its filters needs nothing.
func (f *Filter) oneOf() (out []key) {
	for i := range f.Any {
		needs := needsOf(f.Any[i : i+1])
		if len(needs) == 0 || len(out)+len(needs[0]) > maxKeys {
			return nil
		}
		out = append(out, slices.MinFunc(needs, func(a, b []key) int { return len(a) - len(b) })...)
	}
	return out
}

// Candidates returns the places of the lists that may let the attributes through, ascending: all that do, and some others. They are appended to room.
func (x *Index) Candidates(a Attributes, room []int32) []int32 {
	out := append(room[:0], x.rest...)
	sources := min(len(out), 1)
	take := func(some []int32) {
		if len(some) > 0 {
			out = append(out, some...)
			sources++
		}
	}
	for i, name := range indexed {
		p := &x.prefix[i]
		if x.exact[i] == nil && p.of == nil {
			continue
		}
		v, ok := a(name)
		if !ok {
			continue
		}
		text := v.String()
		take(x.exact[i][text])
		for _, n := range p.lengths[:sort.SearchInts(p.lengths, len(text)+1)] {
			take(p.of[text[:n]])
		}
	}
	if sources > 1 {
		slices.Sort(out)
		out = slices.Compact(out)
	}
	return out
}
