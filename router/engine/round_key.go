package engine

import (
	"encoding/binary"

	"github.com/onward-router/onward/router/journal"
)

// A RoundKey names the events of one key of a trigger. Run is one that any of them would open: it says where all of them are folded.
type RoundKey struct {
	Run                  journal.RunID
	Tenant, Trigger, Key string
}

// Gathers reports whether a run waits for events of a key: one that comes is not what begins something.
func (s *State) Gathers(k *RoundKey) bool {
	r := s.rounds[keyName{k.Tenant, k.Trigger, k.Key}]
	return r != nil && (r.gathers() || r.def.Await.Signals)
}

// AppendRoundKeys is the form in which routers ask one another.
func AppendRoundKeys(b []byte, keys []RoundKey) []byte {
	b = binary.AppendUvarint(b, uint64(len(keys)))
	for i := range keys {
		k := &keys[i]
		b = appendText(appendText(appendText(append(b, k.Run[:]...), k.Tenant), k.Trigger), k.Key)
	}
	return b
}

// DecodeRoundKeys reads AppendRoundKeys' form.
func DecodeRoundKeys(p []byte) ([]RoundKey, error) {
	r := reader{b: p}
	keys := make([]RoundKey, r.count())
	for i := range keys {
		k := &keys[i]
		if len(r.b) < len(k.Run) {
			r.fail()
			break
		}
		r.b = r.b[copy(k.Run[:], r.b):]
		k.Tenant, k.Trigger, k.Key = r.text(), r.text(), r.text()
	}
	return keys, r.end("keys")
}
