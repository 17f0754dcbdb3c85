package mapping

import (
	"strconv"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/schedulers"
)

// A Batch says how many items go to the step together: as many as both bounds allow, and one at least.
type Batch struct {
	Size  int       `doc:"size,above0" help:"most items of a batch"`
	Bytes int       `doc:"bytes,above0" help:"most bytes of the items of a batch, as JSON; an item that is larger is a batch of its own"`
	With  lang.Expr `doc:"with" help:"an object, constant or by an expression, whose members stand in the input of each batch beside items"`
}

// Bounds of a batch.
const (
	maxSize    = 10_000
	maxNumbers = 1_000 // items that are numbers are written out when their batch opens
)

// batches returns how many children there are.
func (p *Map) batches(f schedulers.Scope, s *State, items lang.Value, n int) (int, error) {
	if p.Batch == nil {
		return n, nil
	}
	size, counted := p.Batch.Size, items.JSON()[0] != '['
	switch {
	case counted && (p.Batch.Bytes > 0 || size > maxNumbers):
		return 0, lang.Failf(lang.ClassFunction, "bad_batch", "batches of numbers have a size of at most %d, and no bytes; items yields %.80s", maxNumbers, items.JSON())
	case p.Batch.Bytes == 0:
		return (n + size - 1) / size, nil
	case size == 0:
		size = n
	}
	bytes, from := 0, 0
	for i := range n {
		length := f.Element(items, i).Size() + 1
		if i > from && (i-from >= size || bytes+length > p.Batch.Bytes) {
			s.Cuts = append(s.Cuts, int32(from))
			from, bytes = i, 0
		}
		bytes += length
	}
	if n > 0 {
		s.Cuts = append(s.Cuts, int32(from))
	}
	return len(s.Cuts), nil
}

// batch returns the items of batch i, and its input.
func (p *Map) batch(f schedulers.Scope, s *State, items lang.Value, n, i int) (list, input lang.Value, err error) {
	from, to := i*p.Batch.Size, min(n, (i+1)*p.Batch.Size)
	if len(s.Cuts) > 0 {
		if from, to = int(s.Cuts[i]), n; i+1 < len(s.Cuts) {
			to = int(s.Cuts[i+1])
		}
	}
	values := make([]lang.Value, 0, to-from)
	for at := from; at < to; at++ {
		if items.JSON()[0] != '[' {
			values = append(values, lang.Trusted(strconv.Itoa(at)))
		} else {
			values = append(values, f.Element(items, at))
		}
	}
	list = lang.List(values...)
	members := []lang.Member{{Key: "items", Value: list}}
	if p.Batch.With.IsZero() {
		return list, lang.Object(members...), nil
	}
	with, err := f.Eval(p.Batch.With, nil)
	if err != nil {
		return lang.Null, lang.Null, err
	}
	more, parsed := lang.ParseJSONNode([]byte(with.JSON()))
	if parsed != nil || more.Kind != lang.MapNode || more.Get("items") != nil {
		return lang.Null, lang.Null, lang.Failf(lang.ClassFunction, "bad_batch", "with: %s yields %.80s and not an object without items", p.Batch.With.Source(), with.JSON())
	}
	for k, key := range more.Keys {
		members = append(members, lang.Member{Key: key.Name, Value: more.Items[k].JSON()})
	}
	return list, lang.Object(members...), nil
}
