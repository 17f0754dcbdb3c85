// Package file is the journal on one machine's disk: all partitions in one log of preallocated segments, one sync for all who append together.
//
// A failed sync stops the log for good: what the kernel did with the bytes is then unknown, and a second sync that succeeds proves nothing.
package file

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/onward-router/onward/router/folder"
	"github.com/onward-router/onward/router/journal"
)

// Options say where and how.
type Options struct {
	Dir        string
	Partitions int // when the journal is made; later it must be 0 or the same. Default 16
	// NoSync acknowledges what the kernel has: it survives kill -9, not a power cut.
	NoSync bool
	// SegmentBytes is the size of a segment file. Default 32 MiB.
	SegmentBytes int64
	// LowWater is the free disk space below which records that may be refused are, and partitions are asked for snapshots. The others go on in a spare
	// segment; when that is used up as well, all are refused until there is space. Default 256 MiB; negative: never.
	LowWater int64
	// BacklogBytes of records that the folds have not read make records that may be refused wait. Default 64 MiB.
	BacklogBytes int64
	// HoldBytes is how much of the log one partition may hold back before it is asked for a snapshot. Default 256 MiB.
	HoldBytes int64
	// Pause is how long a partition whose fold failed rests before its next tenure, and a log without space before it looks again. Default 1 s.
	Pause time.Duration
	Now   func() time.Time // default time.Now
	// Elapsed is a clock that nobody sets, by which the log's goes on while Now is behind it. Default: time since Open.
	Elapsed  func() time.Duration
	FS       FS // default the folder Dir
	Observer Observer
	Log      *slog.Logger
}

// An Observer is told what the log does. Nil functions are left out.
type Observer struct {
	Sync  func(d time.Duration, records int, bytes int) // a group became durable
	Free  func(bytes int64)
	Spare func(segments int)
}

func (o Options) withDefaults() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 32 << 20
	}
	if o.LowWater == 0 {
		o.LowWater = 256 << 20
	}
	if o.BacklogBytes == 0 {
		o.BacklogBytes = 64 << 20
	}
	if o.HoldBytes == 0 {
		o.HoldBytes = 256 << 20
	}
	if o.Pause == 0 {
		o.Pause = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Elapsed == nil {
		begin := time.Now()
		o.Elapsed = func() time.Duration { return time.Since(begin) }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// A Journal is a journal.Journal in a folder. It owns all partitions.
type Journal struct {
	o        Options
	fs       FS
	lock     *folder.Lock
	layout   journal.Layout
	segments *segments

	manifestLock sync.Mutex
	manifest     *manifest
	unreadable   map[string]bool // snapshots that are no good to fall back to
	holds        map[int]int64   // by partition, behind which offset its past is read
	pins         int             // backups under way
	outdated     []string        // snapshots that go when those have ended

	mu      sync.Mutex
	room    *sync.Cond // the group that is being filled was taken, or a backlog shrank
	current *group
	segment uint64 // where the next frame goes
	pos     int64
	size    int64 // of that segment
	clock   clock
	durable int64 // offset up to which all is durable; exclusive
	backlog int64
	full    bool  // below the low-water mark
	short   bool  // there is no space for the log: the writer holds groups
	fault   error // the log has stopped
	closed  bool

	wake    chan struct{} // there is something to write
	stopped chan struct{} // fault is set
	done    chan struct{} // the writer has returned
	closing chan struct{} // the keeper is to return
	kept    chan struct{} // the keeper has returned
	queues  []*queue
}

var _ journal.Journal = (*Journal)(nil)

// Open opens the journal in a folder, or makes one. It cuts a torn end, and refuses a log that is damaged elsewhere.
func Open(o Options) (*Journal, error) {
	o = o.withDefaults()
	j := &Journal{
		o: o, fs: o.FS, unreadable: make(map[string]bool), holds: make(map[int]int64), wake: make(chan struct{}, 1), stopped: make(chan struct{}), done: make(chan struct{}),
		closing: make(chan struct{}), kept: make(chan struct{}),
	}
	j.room = sync.NewCond(&j.mu)
	if j.fs == nil {
		dir, err := openDir(o.Dir)
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		if err := folder.Begun(o.Dir); err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		j.fs = dir
		if j.lock, err = folder.Take(o.Dir, LockName); err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		if said := folder.Exposed(o.Dir); said != "" {
			o.Log.Warn("journal: " + said)
		}
	}
	if err := j.open(); err != nil {
		if j.segments != nil {
			err = errors.Join(err, j.segments.close())
		}
		j.lock.Release()
		return nil, fmt.Errorf("journal in %s: %w", o.Dir, err)
	}
	go j.write()
	go j.keep()
	return j, nil
}

// LockName is the file by which the folder is locked.
const LockName = "LOCK"

func (j *Journal) open() error {
	m, err := readManifest(j.fs)
	if err != nil {
		return err
	}
	if m == nil {
		if m, err = newManifest(j.o.Partitions); err != nil {
			return err
		}
		if err := m.write(j.fs); err != nil {
			return err
		}
	} else if m.Level < journal.Level { // From now on older routers are to stay away.
		if err := m.write(j.fs); err != nil {
			return err
		}
	}
	if j.o.Partitions != 0 && j.o.Partitions != m.Partitions {
		return fmt.Errorf("%w: it has %d partitions and %d are asked for; run ids follow from their number, so keep it", journal.ErrLayout, m.Partitions, j.o.Partitions)
	}
	j.manifest = m
	if j.layout, err = m.layout(); err != nil {
		return err
	}
	if j.segments, err = openSegments(j.fs, j.o, m); err != nil {
		return err
	}
	end, err := j.segments.tail()
	if err != nil {
		return err
	}
	if of, most := m.beyond(end); of >= 0 {
		return fmt.Errorf("%w; %s", behind(end, of, most).err(), j.o.cure())
	}
	last, err := j.segments.lastTime()
	if err != nil {
		return err
	}
	j.clock = clock{now: j.o.Now, elapsed: j.o.Elapsed, log: j.o.Log}
	j.clock.start(last)
	j.segment, j.pos = placeOf(end)
	j.durable = end
	if j.size, err = j.segments.ready(j.segment); err != nil {
		return err
	}
	j.segments.reserve.want(m.reserveBytes(j.o))
	for range m.Partitions {
		j.queues = append(j.queues, newQueue())
	}
	j.current = newGroup(end)
	j.look()
	return nil
}

func newManifest(partitions int) (*manifest, error) {
	if partitions == 0 {
		partitions = 16
	}
	if partitions < 0 || partitions > mostPartitions {
		return nil, fmt.Errorf("%d partitions; choose 1 to %d", partitions, mostPartitions)
	}
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return nil, err
	}
	return &manifest{
		Version: manifestVersion, Partitions: partitions, Hash: hashName, Key: hex.EncodeToString(key[:]), First: firstSegment,
		Snapshots: make([][]snapshotFile, partitions), Trims: make([]int64, partitions),
	}, nil
}

// Layout returns what was written when the journal was made.
func (j *Journal) Layout() journal.Layout { return j.layout }

// look measures the disk.
func (j *Journal) look() {
	if j.o.LowWater < 0 {
		return
	}
	free, err := j.fs.Free()
	if err != nil {
		return
	}
	if j.o.Observer.Free != nil {
		j.o.Observer.Free(free)
	}
	owed := j.segments.reserve.owed() // What a snapshot left of the reserve is for the next one.
	j.mu.Lock()
	defer j.mu.Unlock()
	was := j.full
	j.full = free-owed < j.o.LowWater
	if j.full == was {
		return
	}
	j.o.Log.Warn("journal: disk", "free", free, "lowWater", j.o.LowWater, "refusing starts", j.full)
	if j.full {
		// Snapshots let segments go, and there is room for them now.
		for _, q := range j.queues {
			q.press(j.durable)
		}
	}
}

// Full says that the disk is nearly full, as of the last look.
func (j *Journal) Full() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.full {
		return journal.ErrFull
	}
	return nil
}

// Append writes records and returns when they are durable.
func (j *Journal) Append(ctx context.Context, records []journal.Record) error {
	if len(records) == 0 {
		return nil
	}
	g, err := j.enqueue(ctx, records)
	if err != nil {
		return err
	}
	poke(j.wake)
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (j *Journal) enqueue(ctx context.Context, records []journal.Record) (*group, error) {
	refusable := false
	for i := range records {
		refusable = refusable || records[i].Refusable()
		if err := j.check(&records[i]); err != nil {
			return nil, err
		}
	}
	if refusable {
		stop := context.AfterFunc(ctx, func() {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.room.Broadcast()
		})
		defer stop()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.fault == nil && !j.closed && !j.short && ctx.Err() == nil &&
		(j.current.bytes > maxGroup || refusable && !j.full && j.backlog > j.o.BacklogBytes) {
		j.room.Wait()
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case j.fault != nil:
		return nil, j.fault
	case j.closed:
		return nil, journal.ErrClosed
	case refusable && j.full || j.short:
		poke(j.wake) // The writer looks whether that still holds.
		return nil, journal.ErrFull
	}
	at := time.Unix(0, j.clock.read()).UTC()
	for i := range records {
		j.place(&records[i], at)
	}
	return j.current, nil
}

// maxPayload keeps frames well within what their heads can say.
const maxPayload = 1 << 30

// check refuses what could not be read again.
func (j *Journal) check(r *journal.Record) error {
	if r.Partition < 0 || r.Partition >= j.layout.Partitions {
		return fmt.Errorf("journal: partition %d of %d", r.Partition, j.layout.Partitions)
	}
	if _, known := journal.Of(r.Kind); !known {
		return fmt.Errorf("journal: record of unknown kind %d", r.Kind)
	}
	if len(r.Payload)+len(r.Tenant) > maxPayload {
		return fmt.Errorf("%w: a payload of %d bytes; at most %d are taken", journal.ErrTooLarge, len(r.Payload), maxPayload)
	}
	return nil
}

// place gives a record its place in the log and adds its frame to the group.
func (j *Journal) place(r *journal.Record, at time.Time) {
	rec := *r
	rec.Time = at
	need := frameHead + int64(len(rec.Payload)+len(rec.Tenant)) + 64
	if j.pos+need+frameHead > j.size {
		j.current.seal(j.segment, j.pos)
		j.segment, j.pos = j.segment+1, 0
		j.size = max(j.o.SegmentBytes, need+frameHead)
	}
	n := j.current.add(&rec, j.segment, j.pos, j.size)
	j.pos += n
}

// Close stops the writer and releases the folder. What is being appended is written first.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.room.Broadcast()
	j.mu.Unlock()
	poke(j.wake)
	<-j.done
	close(j.closing)
	<-j.kept
	err := j.segments.close()
	j.lock.Release()
	return err
}

// stop records the fault that ends the log.
func (j *Journal) stop(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fault == nil {
		j.fault = fmt.Errorf("journal: the log has stopped: %w", err)
		j.o.Log.Error("journal: the log has stopped; restart the router once the disk is sound", "error", err)
		close(j.stopped)
	}
	j.room.Broadcast()
}
