package lang

import (
	"container/list"
	"math"
	"strings"
	"unsafe"
	"weak"

	"cel.dev/cel-go/common/types/ref"
)

// A Cache remembers what values decode to, by the identity of their text, so that 10,000 expressions over one event decode it once; and it holds what the
// evaluations of one record may still cost. It holds at most as many bytes as it was made for, the latest used, or one value that is larger. What it decodes it
// copies first, so that nothing else is kept alive by it. It is a memory only: answers, and what they cost, are the same without it. A nil *Cache works, without a budget.
// It is for one goroutine.
type Cache struct {
	limit, used int
	left        uint64
	entries     map[identity]*list.Element
	recent      list.List // of *cached, the latest used first
}

// identity is where a text lies. The place may be given to another text once nothing else keeps the first one: the entry finds out.
type identity struct {
	at   uintptr
	size int
}

type cached struct {
	id    identity
	first weak.Pointer[byte]
	copy  string // of the text, once it was decoded
	tree  ref.Val
	spans []uint32 // of a list: begin of each item, and the end; nil until asked for
	cost  int
	grown int // what was decoded since cost was reckoned
	gone  bool
}

const (
	cacheFrom = 128 // bytes of a text below which decoding again is cheaper than remembering
	entryCost = 256
)

// NewCache returns a cache that holds about that many bytes, and no budget until one is set.
func NewCache(bytes int) *Cache {
	return &Cache{limit: bytes, left: math.MaxUint64, entries: make(map[identity]*list.Element)}
}

// Budget sets what all evaluations until the next call may cost together: RecordCost for each record.
func (c *Cache) Budget(cost uint64) { c.left = cost }

// Left returns what is left of the budget.
func (c *Cache) Left() uint64 { return c.left }

// Spend takes from the budget what an evaluation cost whose answer is remembered elsewhere: what a record costs must not hang on what is remembered. When
// more is asked for than is left, the evaluation itself is to be asked, which says so.
func (c *Cache) Spend(cost uint64) { c.left -= min(c.left, cost) }

func (c *Cache) entry(v Value) *cached {
	at := unsafe.StringData(v.text)
	id := identity{uintptr(unsafe.Pointer(at)), len(v.text)}
	if e := c.entries[id]; e != nil {
		x := e.Value.(*cached)
		if x.first.Value() == at {
			c.recent.MoveToFront(e)
			return x
		}
		c.drop(e)
	}
	x := &cached{id: id, first: weak.Make(at), cost: entryCost}
	c.entries[id] = c.recent.PushFront(x)
	c.used += x.cost
	return x
}

func (c *Cache) drop(e *list.Element) {
	x := e.Value.(*cached)
	c.recent.Remove(e)
	delete(c.entries, x.id)
	c.used -= x.cost
	x.gone = true
}

// grow books what an entry came to hold, and drops the least used ones beyond the limit, but not x itself: a single value that is larger is decoded once.
func (c *Cache) grow(x *cached, cost int) {
	if x.gone {
		return
	}
	x.cost += cost
	c.used += cost
	for c.used > c.limit && c.recent.Len() > 1 {
		c.drop(c.recent.Back())
	}
}

// settle books what of an entry was decoded meanwhile.
func (c *Cache) settle(x *cached) {
	n := x.grown
	x.grown = 0
	c.grow(x, n)
}

// tree decodes a value; the entry, of a value that is remembered, has the copy that the tree is a view of.
func (c *Cache) tree(v Value) (ref.Val, *cached, error) {
	if c == nil || len(v.text) < cacheFrom {
		t, _, err := decodeTree(v.JSON())
		return t, nil, err
	}
	x := c.entry(v)
	if x.tree == nil {
		copied := strings.Clone(v.text)
		t, cost, err := decodeFor(copied, x)
		if err != nil {
			return nil, nil, err
		}
		x.copy, x.tree = copied, t
		c.grow(x, cost+len(copied))
	}
	return x.tree, x, nil
}

// Length returns the number of items of a list value, and whether it is a list.
func (c *Cache) Length(v Value) (int, bool) {
	spans, ok := c.spansOf(v)
	if !ok {
		return 0, false
	}
	return len(spans) - 1, true
}

// Element returns item i of a list value; null when it is not a list or has no such item.
func (c *Cache) Element(v Value, i int) Value {
	spans, ok := c.spansOf(v)
	if !ok || i < 0 || i >= len(spans)-1 {
		return Null
	}
	return Trusted(v.text[spans[i] : spans[i+1]-1])
}

func (c *Cache) spansOf(v Value) ([]uint32, bool) {
	if len(v.text) < 2 || v.text[0] != '[' || len(v.text) > 1<<32-1 {
		return nil, false
	}
	if c == nil || len(v.text) < cacheFrom {
		return listSpans(v.text), true
	}
	x := c.entry(v)
	if x.spans == nil {
		x.spans = listSpans(v.text)
		c.grow(x, 4*cap(x.spans))
	}
	return x.spans, true
}

// listSpans returns where the items of a compact list begin, and one past the closing bracket; item i ends one before the next begins.
func listSpans(text string) []uint32 {
	if text == "[]" {
		return []uint32{1}
	}
	spans := []uint32{1}
	depth := 0
	for i := 1; i < len(text)-1; i++ {
		switch text[i] {
		case '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case ',':
			if depth == 0 {
				spans = append(spans, uint32(i+1))
			}
		}
	}
	return append(spans, uint32(len(text)))
}
