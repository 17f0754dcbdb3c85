package kafka

import (
	"bytes"
	"slices"
	"testing"

	"github.com/onward-router/onward/config/kafka"
)

// FuzzChunk: no bytes make it panic, and only what begins as this layout's chunks do is one.
func FuzzChunk(f *testing.F) {
	name := layoutName{1, 2, 3}
	head := append(append([]byte(chunkMagic), chunkFormat, 0), name[:]...)
	f.Add(append(slices.Clone(head), make([]byte, 28)...))
	last := append(slices.Clone(head), make([]byte, 28+chunkFoot+3)...)
	last[len(chunkMagic)+1] = chunkLast
	f.Add(last)
	f.Add(last[:len(last)-5])
	f.Add([]byte("\x01\x00 hello"))
	f.Fuzz(func(t *testing.T, value []byte) {
		c, ok := parseChunk(&kafka.Record{Value: value}, name)
		rest := len(value) - chunkHead
		if c.last {
			rest -= chunkFoot
		}
		if ok && (len(c.body) != rest || !bytes.HasPrefix(value, head[:len(chunkMagic)+1]) || !bytes.Equal(value[len(chunkMagic)+2:][:len(name)], name[:])) {
			t.Errorf("%q is taken for a chunk", value)
		}
		if !ok && bytes.HasPrefix(value, head) && len(value) >= chunkHead {
			t.Errorf("%q is a chunk", value)
		}
	})
}
