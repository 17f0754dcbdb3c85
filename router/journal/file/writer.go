package file

import (
	"errors"
	"time"

	"github.com/onward-router/onward/router/journal"
)

// maxGroup is the size of a group at which appenders wait for the writer.
const maxGroup = 8 << 20

// A group is what one sync makes durable, for all who appended meanwhile.
type group struct {
	parts    []part
	written  int                // parts that are durable
	records  [][]journal.Record // by partition
	count    int
	bytes    int64
	end      int64 // offset after it
	room     int   // bytes that it is likely to have
	likely   []int // and records, by partition
	done     chan struct{}
	answered bool // done is closed
	err      error
}

// A part is the piece of a group that goes to one segment.
type part struct {
	segment uint64
	pos     int64
	size    int64 // of the segment's file, at least
	buf     []byte
}

func newGroup(end int64) *group { return &group{done: make(chan struct{}), end: end} }

// next is the group behind g. Groups are much alike from one to the next: room for as much is made at once, and not bit by bit.
func (g *group) next() *group {
	n := newGroup(g.end)
	n.room, n.likely = int(min(g.bytes, mostRoom)), make([]int, len(g.records))
	for p, records := range g.records {
		n.likely[p] = min(len(records), mostLikely)
	}
	return n
}

// What is made for a group before anything is in it: bytes at most, and records of a partition.
const (
	mostRoom   = 1 << 20
	mostLikely = 4 << 10
)

// part returns the piece for a segment at a position.
func (g *group) part(segment uint64, pos, size int64) *part {
	if n := len(g.parts); n > 0 && g.parts[n-1].segment == segment {
		return &g.parts[n-1]
	}
	g.parts = append(g.parts, part{segment: segment, pos: pos, size: size, buf: make([]byte, 0, g.room)})
	g.room = 0
	return &g.parts[len(g.parts)-1]
}

func (g *group) seal(segment uint64, pos int64) {
	p := g.part(segment, pos, 0)
	at := len(p.buf)
	p.buf = append(p.buf, make([]byte, frameHead)...)
	putHead(p.buf[at:], segment, pos, p.pos, sealLength)
}

// add appends the record's frame and returns its size.
func (g *group) add(r *journal.Record, segment uint64, pos, size int64) int64 {
	p := g.part(segment, pos, size)
	at := len(p.buf)
	var head [frameHead]byte
	p.buf = append(p.buf, head[:]...)
	p.buf = r.Append(p.buf)
	frame := p.buf[at:]
	putHead(frame, segment, pos, p.pos, uint32(len(frame)-frameHead))
	r.Offset = offsetOf(segment, pos)
	// The copy that folds read: the buffer is not written again, so it may keep the payload.
	r.Payload = frame[len(frame)-len(r.Payload) : len(frame) : len(frame)]
	for len(g.records) <= r.Partition {
		g.records = append(g.records, nil)
	}
	if g.records[r.Partition] == nil && r.Partition < len(g.likely) {
		g.records[r.Partition] = make([]journal.Record, 0, g.likely[r.Partition])
	}
	g.records[r.Partition] = append(g.records[r.Partition], *r)
	g.count++
	g.bytes += int64(len(frame))
	g.end = offsetOf(segment, pos+int64(len(frame)))
	return int64(len(frame))
}

// answer tells those who wait for a group how it went, once.
func (g *group) answer(err error) {
	if !g.answered {
		g.err, g.answered = err, true
		close(g.done)
	}
}

// write is the writer's loop: it takes the group that was filled meanwhile, writes and syncs it, and hands its records to the folds. Groups for which
// there is no space are held, and written before any other once there is.
func (j *Journal) write() {
	defer close(j.done)
	looked, asked := j.o.Now(), j.o.Now()
	var held []*group
	var again <-chan time.Time
	for {
		select {
		case <-j.wake:
		case <-again:
		}
		groups, closed := j.take(held)
		held, again = j.commitAll(groups), nil
		if len(held) > 0 {
			again = time.After(j.o.Pause)
		}
		now := j.o.Now()
		if now.Sub(looked) > time.Second || j.isFull() {
			looked = now
			j.look()
			poke(j.segments.wanted)
		}
		if now.Sub(asked) > time.Second && j.isFull() && j.segments.bare() {
			asked = now
			j.press() // A snapshot may have failed.
		}
		if closed {
			return
		}
	}
}

// take returns what is to be written: the groups that are held, and the one that was filled meanwhile.
func (j *Journal) take(held []*group) (groups []*group, closed bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.current.count > 0 {
		held = append(held, j.current)
		j.current = j.current.next()
		j.room.Broadcast()
	}
	return held, j.closed
}

func (j *Journal) isFull() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.full || j.short
}

// commitAll writes groups, and returns those for which there is no space.
func (j *Journal) commitAll(groups []*group) []*group {
	for i, g := range groups {
		err := j.commit(g)
		if errors.Is(err, errNoSpace) {
			return j.hold(groups[i:], err)
		}
		g.answer(err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.short {
		j.short = false
		j.o.Log.Warn("journal: there is space for the log again")
	}
	return nil
}

// hold keeps groups for later and refuses all that would come behind them. Who waits is told: the records may be there later.
func (j *Journal) hold(groups []*group, err error) []*group {
	j.mu.Lock()
	if !j.short {
		j.o.Log.Error("journal: the disk is full and the reserve is used up; nothing is taken until there is space", "error", err)
	}
	j.short = true
	if j.current.count > 0 {
		groups = append(groups, j.current)
		j.current = j.current.next()
	}
	j.room.Broadcast()
	j.mu.Unlock()
	for _, g := range groups {
		g.answer(err)
	}
	return groups
}

func (j *Journal) commit(g *group) error {
	j.mu.Lock()
	fault := j.fault
	j.mu.Unlock()
	if fault != nil {
		return fault
	}
	begin := time.Now()
	for ; g.written < len(g.parts); g.written++ {
		if err := j.segments.write(&g.parts[g.written]); err != nil {
			if !errors.Is(err, errNoSpace) {
				j.stop(err)
			}
			return err
		}
	}
	if j.o.Observer.Sync != nil {
		j.o.Observer.Sync(time.Since(begin), g.count, int(g.bytes))
	}
	j.publish(g)
	if n := len(g.parts); n > 1 || g.parts[0].pos == 0 {
		j.press()
	}
	return nil
}

// press asks the partitions that hold much of the log back for a snapshot. A log of many partitions is kept from its oldest mark on, and a quiet
// partition would otherwise never move its own. On a full disk any segment is much.
func (j *Journal) press() {
	j.mu.Lock()
	end, limit := j.durable, j.o.HoldBytes
	if j.full || j.short {
		limit = 0
	}
	j.mu.Unlock()
	last, _ := placeOf(end)
	j.manifestLock.Lock()
	defer j.manifestLock.Unlock()
	for p, q := range j.queues {
		mark := j.manifest.First
		if saved := j.manifest.Snapshots[p]; len(saved) > 0 {
			s, _ := placeOf(saved[0].Offset)
			mark = max(mark, s)
		}
		if int64(last-mark)*j.o.SegmentBytes > limit {
			q.press(end)
		}
	}
}

// publish hands a durable group to the folds.
func (j *Journal) publish(g *group) {
	var waiting int64
	j.mu.Lock()
	defer j.mu.Unlock()
	j.durable = g.end
	for p, records := range g.records {
		if len(records) > 0 {
			waiting += j.queues[p].live(records)
		}
	}
	j.backlog += waiting
}

// readBack books that a fold has read.
func (j *Journal) readBack(bytes int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	was := j.backlog
	j.backlog -= bytes
	if was > j.o.BacklogBytes && j.backlog <= j.o.BacklogBytes {
		j.room.Broadcast()
	}
}

func recordBytes(r *journal.Record) int64 { return int64(len(r.Payload)+len(r.Tenant)) + 96 }
