package file

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/onward-router/onward/router/folder"
	"github.com/onward-router/onward/router/journal"
)

// A Damage is a place of the log where records were that can no longer be read.
type Damage struct {
	Segment  string `json:"segment"`
	Position int64  `json:"position"`
	Bytes    int64  `json:"bytes"` // that hold no record
	What     string `json:"what"`

	number uint64
	kind   damageKind
}

type damageKind uint8

const (
	aHole   damageKind = iota + 1 // valid records stand behind it
	noEnd                         // the segment has no end
	missing                       // the file is not there
	tooLow                        // the log ends before a snapshot of it
)

func (d Damage) String() string {
	return fmt.Sprintf("%s, byte %d: %s, %d bytes", d.Segment, d.Position, d.What, d.Bytes)
}

func (d Damage) err() error { return fmt.Errorf("%w: %s", journal.ErrDamaged, d) }

func (o Options) cure() string {
	return fmt.Sprintf("bring the file back from a copy of the folder, or go on without what is lost: onward journal repair --data %s", o.Dir)
}

func hole(segment uint64, pos, next int64) Damage {
	return Damage{segmentName(segment), pos, next - pos, "no valid record, and valid ones behind it", segment, aHole}
}

// behind is a log that ends before a snapshot.
func behind(end int64, partition int, offset int64) Damage {
	segment, pos := placeOf(end)
	what := fmt.Sprintf("the log ends here, before the snapshot of partition %d", partition)
	return Damage{segmentName(segment), pos, max(offset-end, 0) & (1<<32 - 1), what, segment, tooLow}
}

// beyond returns the snapshot that is furthest beyond the log's end; -1 is none. Offsets below it would never be read again.
func (m *manifest) beyond(end int64) (partition int, offset int64) {
	partition, offset = -1, end-1
	for p, saved := range m.Snapshots {
		for _, s := range saved {
			if s.Offset > offset {
				partition, offset = p, s.Offset
			}
		}
	}
	return partition, offset
}

// A Report is what there is to see of a journal's folder.
type Report struct {
	Partitions int       `json:"partitions"`
	Segments   int       `json:"segments"`
	Records    int       `json:"records"`
	Last       time.Time `json:"last"`    // of the last record; zero without any
	Running    bool      `json:"running"` // a router has it open: what it writes meanwhile is not damage
	Damage     []Damage  `json:"damage"`

	manifest *manifest
}

// Inspect reads a journal's folder through and changes nothing, also beside a router that has it open. fs.ErrNotExist says that there is none. When ctx ends, the
// report is of the segments so far.
func Inspect(ctx context.Context, o Options) (Report, error) {
	o = o.withDefaults()
	if _, err := os.Stat(o.Dir); err != nil {
		return Report{}, err
	}
	dir, err := openDir(o.Dir)
	if err != nil {
		return Report{}, fmt.Errorf("journal: %w", err)
	}
	lock, err := folder.Take(o.Dir, LockName)
	defer lock.Release()
	r, inspected := inspect(ctx, dir, err != nil)
	if inspected != nil {
		return r, fmt.Errorf("journal in %s: %w", o.Dir, inspected)
	}
	return r, nil
}

func inspect(ctx context.Context, f FS, running bool) (Report, error) {
	m, err := readManifest(f)
	if err != nil {
		return Report{}, err
	}
	if m == nil {
		return Report{}, fmt.Errorf("no %s: %w", manifestName, fs.ErrNotExist)
	}
	r := Report{Partitions: m.Partitions, Running: running, manifest: m}
	names, err := f.List()
	if err != nil {
		return r, err
	}
	have := slices.DeleteFunc(segmentsOf(names), func(n uint64) bool { return n < m.First })
	last := m.First
	if len(have) > 0 {
		last = have[len(have)-1]
	}
	end := offsetOf(m.First, 0)
	for n := m.First; n <= last; n++ {
		if !slices.Contains(have, n) {
			if n < last || !m.fresh() {
				r.Damage = append(r.Damage, Damage{segmentName(n), 0, 0, "the file is missing", n, missing})
			}
			continue
		}
		if err := ctx.Err(); err != nil {
			return r, err
		}
		b, err := readAll(f, segmentName(n))
		if err != nil {
			return r, err
		}
		r.Segments++
		end = r.segment(b, n, n == last)
	}
	if of, offset := m.beyond(end); of >= 0 && !running {
		r.Damage = append(r.Damage, behind(end, of, offset))
	}
	return r, nil
}

// Last is the time of the log's last record, by its own clock; zero without any. It changes nothing, also beside a router that has the folder open.
func Last(dir string) (time.Time, error) {
	if _, err := os.Stat(dir); err != nil {
		return time.Time{}, err
	}
	f, err := openDir(dir)
	if err != nil {
		return time.Time{}, err
	}
	names, err := f.List()
	for _, n := range slices.Backward(segmentsOf(names)) {
		b, err := readAll(f, segmentName(n))
		if err != nil {
			return time.Time{}, err
		}
		if _, at, _ := walk(b, n, 0, func(int64, []byte) {}); at != 0 {
			return time.Unix(0, at).UTC(), nil
		}
	}
	return time.Time{}, err
}

// segment looks through one segment, and returns where the log goes on.
func (r *Report) segment(b []byte, n uint64, last bool) (end int64) {
	for pos := int64(0); ; {
		end, at, sealed := walk(b, n, pos, func(int64, []byte) { r.Records++ })
		if at != 0 {
			r.Last = time.Unix(0, at).UTC()
		}
		if sealed {
			return offsetOf(n+1, 0)
		}
		next, ok := nextFrame(b, n, end)
		switch {
		case last && (r.Running || !ok || len(tornEnd(b, n, end)) > 0):
			return offsetOf(n, end)
		case !ok:
			r.Damage = append(r.Damage, Damage{segmentName(n), end, int64(len(b)) - end, "no valid record, nor the segment's end", n, noEnd})
			return offsetOf(n+1, 0)
		}
		r.Damage = append(r.Damage, hole(n, end, next))
		pos = next
	}
}

// lostMark begins the frame that Repair puts where records are lost: it is read as parked.
const lostMark = "\xf5onwlost "

// Repair makes a damaged log one that can be read, without what is lost, and says what that is. What stood there is kept in files of the folder whose
// names begin with damaged-. When ctx ends before all was looked at, nothing is changed. The records that were acknowledged and are lost may leave runs waiting, or events without a run: whoever calls it has chosen so.
func Repair(ctx context.Context, o Options) ([]Damage, error) {
	o = o.withDefaults()
	dir, err := openDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	lock, err := folder.Take(o.Dir, LockName)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	defer lock.Release()
	return repair(ctx, dir, o)
}

func repair(ctx context.Context, f FS, o Options) ([]Damage, error) {
	r, err := inspect(ctx, f, false)
	if err != nil {
		return nil, fmt.Errorf("journal in %s: %w", o.Dir, err)
	}
	for _, d := range r.Damage {
		var err error
		switch d.kind {
		case aHole, noEnd, missing:
			err = fill(f, o, d)
		case tooLow:
			_, offset := r.manifest.beyond(offsetOf(d.number, d.Position))
			err = pass(f, o, offsetOf(d.number, d.Position), offset)
		}
		if err != nil {
			return nil, fmt.Errorf("journal in %s: repairing %s: %w", o.Dir, d, err)
		}
	}
	return r.Damage, f.SyncDir()
}

// fill writes a frame over what cannot be read, and the segment's end where that is gone.
func fill(f FS, o Options, d Damage) error {
	file, err := f.Open(d.Segment, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return err
	}
	if d.Bytes > 0 {
		was := make([]byte, d.Bytes)
		if n, err := file.ReadAt(was, d.Position); n < len(was) {
			return err
		}
		if err := replace(f, fmt.Sprintf("damaged-%s-%d", d.Segment, d.Position), was); err != nil {
			return err
		}
	}
	if size < o.SegmentBytes && d.kind != aHole {
		if err := extend(file, size, o.SegmentBytes); err != nil {
			return err
		}
		size = o.SegmentBytes
	}
	room := d.Bytes
	if d.kind != aHole {
		room = min(size-d.Position-frameHead, frameHead+64)
	}
	var b []byte
	if room >= frameHead {
		b = make([]byte, room)
		copy(b[frameHead:], fmt.Sprintf("%s%d", lostMark, d.Bytes))
		putHead(b, d.number, d.Position, d.Position, uint32(room-frameHead))
	}
	if d.kind != aHole {
		b = append(b, seal(d.number, d.Position+int64(len(b)))...)
	}
	if _, err := file.WriteAt(b, d.Position); err != nil {
		return err
	}
	return file.Sync()
}

// pass ends the log's segments up to the one behind an offset: new records must not stand below a snapshot, where nobody would read them.
func pass(f FS, o Options, end, offset int64) error {
	for segment, pos := placeOf(end); offsetOf(segment, pos) <= offset || pos > 0; segment, pos = segment+1, 0 {
		if err := fill(f, o, Damage{Segment: segmentName(segment), Position: pos, number: segment, kind: noEnd}); err != nil {
			return err
		}
	}
	return nil
}

// seal is the frame that ends a segment.
func seal(segment uint64, pos int64) []byte {
	b := make([]byte, frameHead)
	putHead(b, segment, pos, pos, sealLength)
	return b
}

// lost tells Repair's frames, and how many bytes they stand for.
func lost(body []byte) (bytes int64, ok bool) {
	if len(body) < len(lostMark) || string(body[:len(lostMark)]) != lostMark {
		return 0, false
	}
	_, err := fmt.Sscan(string(body[len(lostMark):]), &bytes)
	return bytes, err == nil
}

// begun tells whether a frame was written at b[0:], which is a position of a segment, that is none any more: all of it but one field speaks for it. How
// long it was is 0 when it does not say so.
func begun(b []byte, segment uint64, pos int64) (bytes int64, ok bool) {
	if len(b) < frameHead {
		return 0, false
	}
	length := int64(le32(b[4:]))
	whole := length <= int64(len(b)-frameHead)
	if le32(b[8:]) == tagOf(segment, pos) {
		if whole {
			return frameHead + length, true
		}
		return 0, true
	}
	if !whole {
		return 0, false
	}
	mended := slices.Clone(b[:frameHead+length])
	putHead(mended, segment, pos, int64(le32(b[12:])), uint32(length))
	return frameHead + length, le32(mended) == le32(b)
}
