package lang

import (
	"container/list"
	"unsafe"

	"cel.dev/cel-go/common/types/ref"
)

// A Cache remembers what values decode to, by the identity of their text, so that 10,000 expressions over one event decode it once. It holds at
// most about as many bytes as it was made for, the latest used. It is a memory only: answers are the same without it, and a nil *Cache works.
// It is for one goroutine.
type Cache struct {
	limit, used int
	entries     map[identity]*list.Element
	recent      list.List // of *cached, the latest used first
}

// identity is where a text lies. An entry keeps its text alive, so that the place is not given to another.
type identity struct {
	at   *byte
	size int
}

type cached struct {
	id    identity
	text  string
	tree  ref.Val
	spans []uint32 // of a list: begin of each item, and the end; nil until asked for
	cost  int
}

// cacheFrom is the size of texts below which decoding again is cheaper than remembering.
const cacheFrom = 128

// NewCache returns a cache that holds about that many bytes.
func NewCache(bytes int) *Cache {
	return &Cache{limit: bytes, entries: make(map[identity]*list.Element)}
}

func (c *Cache) entry(v Value) *cached {
	id := identity{unsafe.StringData(v.text), len(v.text)}
	if e := c.entries[id]; e != nil {
		c.recent.MoveToFront(e)
		return e.Value.(*cached)
	}
	x := &cached{id: id, text: v.text, cost: 128}
	c.entries[id] = c.recent.PushFront(x)
	c.used += x.cost
	return x
}

// grow books what an entry came to hold, and drops the least used ones beyond the limit, but never x itself.
func (c *Cache) grow(x *cached, cost int) {
	x.cost += cost
	c.used += cost
	for c.used > c.limit && c.recent.Len() > 1 {
		last := c.recent.Back()
		old := last.Value.(*cached)
		c.recent.Remove(last)
		delete(c.entries, old.id)
		c.used -= old.cost
	}
}

func (c *Cache) tree(v Value) (ref.Val, error) {
	if c == nil || len(v.text) < cacheFrom {
		t, _, err := decodeTree(v.JSON())
		return t, err
	}
	x := c.entry(v)
	if x.tree == nil {
		t, cost, err := decodeTree(v.text)
		if err != nil {
			return nil, err
		}
		x.tree = t
		c.grow(x, cost)
	}
	return x.tree, nil
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
		c.grow(x, 4*len(x.spans))
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
