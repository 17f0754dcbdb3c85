package lang

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// A Gathered is a list to which items are added, or an object of such lists and of single items. What has been decoded of an item stays so for the evaluations that
// come after: a condition that is asked at each item does not decode all before it once more. It is a memory only: answers, and what they cost, are those of
// the value that it stands for. It is for one goroutine.
type Gathered struct {
	names []string // sorted; nil: it is one list
	many  []bool   // per name: it is a list, not the first item of it
	lists [][]ref.Val
	whole func() Value
	size  int
}

func (*Gathered) term() {}

// NewGathered returns a list without items, or an object of lists by name, which are sorted; one that is not many is the first item of its list, or null. whole makes the
// value that it stands for.
func NewGathered(names []string, many []bool, whole func() Value) *Gathered {
	return &Gathered{names: names, many: many, lists: make([][]ref.Val, max(len(names), 1)), whole: whole}
}

// Add adds an item to the list of that number. False: it is nested so deep that only the whole value says what becomes of that.
func (g *Gathered) Add(list int, item Value) bool {
	if deeper(item.text, MaxNesting-4) {
		return false
	}
	g.size += len(item.text)
	g.lists[list] = append(g.lists[list], &unread{text: item.JSON(), depth: 2})
	return true
}

// Size is how many bytes the items have as texts.
func (g *Gathered) Size() int { return g.size }

// val is what expressions see. Later items are not seen by an evaluation that has begun.
func (g *Gathered) val() ref.Val {
	if g.names == nil {
		return &array{vals: g.lists[0][:len(g.lists[0]):len(g.lists[0])]}
	}
	o := &object{keys: g.names, vals: make([]ref.Val, len(g.names))}
	for i, list := range g.lists {
		switch {
		case g.many[i]:
			o.vals[i] = &array{vals: list[:len(list):len(list)]}
		case len(list) == 0:
			o.vals[i] = types.NullValue
		default:
			o.vals[i] = read(list, 0)
		}
	}
	return o
}

// deeper reports whether lists and objects of a text stand more than most deep inside one another.
func deeper(text string, most int) bool {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = textEnd(text, i+1)
		case '{', '[':
			if depth++; depth > most {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}
