package engine

import (
	"encoding/binary"
	"fmt"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/journal"
)

// HeartbeatTimeout is the type of the error of a try that went too long without a heartbeat.
const HeartbeatTimeout = "heartbeat_timeout"

// A Beat says that a function is at work on a call. It is no fact that is folded: there may be many, and what follows from those that do not come is the
// owner's to observe. The owner keeps the latest, with its data, as long as it has the call; the next owner waits as if one had just come.
type Beat struct {
	Run  journal.RunID
	N    uint32
	Data lang.Value
}

// AppendBeats is the form in which routers pass beats on to one another.
func AppendBeats(b []byte, beats []Beat) []byte {
	b = binary.AppendUvarint(b, uint64(len(beats)))
	for i := range beats {
		b = append(b, beats[i].Run[:]...)
		b = binary.AppendUvarint(b, uint64(beats[i].N))
		b = appendValue(b, beats[i].Data)
	}
	return b
}

// DecodeBeats reads AppendBeats' form.
func DecodeBeats(p []byte) ([]Beat, error) {
	r := reader{b: p}
	beats := make([]Beat, r.count())
	for i := range beats {
		x := &beats[i]
		if len(r.b) < len(x.Run) {
			r.fail()
			break
		}
		r.b = r.b[copy(x.Run[:], r.b):]
		x.N = r.number()
		if data := r.bytes(); len(data) > 0 && !r.bad {
			v, err := lang.ParseValue(data)
			if err != nil {
				return nil, fmt.Errorf("beat %d: %w", i, err)
			}
			x.Data = v
		}
	}
	return beats, r.end("beats")
}

// Awaits says whether an invocation still is to have an outcome: Applied, or why not.
func (s *State) Awaits(run journal.RunID, n uint32) Reason {
	r := s.runs[run]
	switch {
	case r == nil && s.tombstones.has(run):
		return Finished
	case r == nil:
		return Unknown
	case r.live.get(n) != nil:
		return Applied
	}
	if why := r.missing(n); why != Duplicate {
		return why
	}
	return Superseded
}
