package simulate

import (
	"time"

	"github.com/onward-router/onward/router/journal"
)

// A partition is one log, and who owns it.
type partition struct {
	w     *World
	n     int
	skew  time.Duration // what its log's clock is ahead of the world's
	owner *tenure       // whom the coordinator knows; nil while there is none

	log       []journal.Record // by offset
	trimmed   int64            // records below it are gone for readers
	snapshots []snapshot       // newest last; at most two
}

type snapshot struct {
	offset int64
	bytes  []byte
}

// of is the partition of a run.
func (w *World) of(run journal.RunID) *partition {
	return w.partitions[int(uint64(run.Route())*uint64(len(w.partitions))>>32)]
}

// clock is the log's own.
func (p *partition) clock() time.Time { return p.w.o.Start.Add(p.w.now + p.skew) }

// append makes records durable, timed by the log's clock.
func (p *partition) append(records ...journal.Record) {
	if len(records) == 0 {
		return
	}
	at := p.clock()
	for _, r := range records {
		r.Offset, r.Time, r.Partition = int64(len(p.log)), at, p.n
		p.log = append(p.log, r)
		if p.w.o.Durable != nil {
			p.w.o.Durable(&r)
		}
	}
	for _, t := range p.w.tenures {
		if t.p == p {
			t.poke()
		}
	}
}

// leave is the partition without an owner, until another begins within a while.
func (p *partition) leave(within time.Duration) {
	p.owner = nil
	p.w.After(p.w.rand(within), p.begin)
}
