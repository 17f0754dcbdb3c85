// Package journal is the contract of the ordered, durable log in which every fact that can change a run is one record.
//
// Only the input is written: state is what the records fold to. An implementation keeps order within a partition, and what it has acknowledged.
package journal

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math"
)

// A Journal is a partitioned log. All methods may be called concurrently.
type Journal interface {
	// Layout returns what was written once, when the journal was made.
	Layout() Layout
	// Append writes the records and returns when all are durable. Records of one call and partition keep their order; calls from one goroutine
	// keep theirs. It keeps neither slice nor payloads after it returned. On an error each record may or may not be in the journal, now or
	// later: appending it again is always right. ErrFull refuses a call before anything of it is written: first those with records that are
	// Refusable, and all once even the space kept for the others is used up. ErrTooLarge says that one of the records, alone if it was given alone, is
	// larger than the journal takes, and AppendEach goes on without it. A record of no known kind or partition refuses the whole call.
	Append(ctx context.Context, records []Record) error
	// Own calls fold for each partition that becomes this process's own, each in its own goroutine, once a partition and tenure. The tenure's
	// context ends when ownership does. Own returns when ctx has ended and all folds have returned, or with the first fatal error. A fold that
	// returns an error gives its partition up, and a new tenure of it begins, here or elsewhere; one that returns nil is done with it until the next
	// Own. After Close Own returns ErrClosed.
	Own(ctx context.Context, fold func(ctx context.Context, t Tenure) error) error
	// Close releases everything. Own must have returned.
	Close() error
}

// A Tenure is one period of owning a partition. Its methods are for one goroutine, but Save and Trim may be called from another one.
type Tenure interface {
	Partition() int
	// Load gives the newest complete snapshot to read, with the offset it was saved at, and places Read after that. Without a snapshot it
	// returns ErrNoSnapshot and Read begins at the log's start. It is called once, before Read. The reader is valid during read only. A snapshot that read
	// returns an error of, or that is damaged on the way, is passed over, loudly: read is called again with the one before, and must begin anew. Only
	// ErrNewer, ErrOlder and the context's end are final.
	Load(ctx context.Context, read func(offset int64, r io.Reader) error) error
	// Read blocks until there are records and returns them in order. Its batch and the payloads are valid until the next Read. Records that
	// were damaged come as Parked. The error is the context's, or fatal: ErrDamaged, ErrLost, ErrNewer or an I/O error.
	Read(ctx context.Context) (Batch, error)
	// Save writes a snapshot of the state at an offset, atomically: a crash leaves the former one. The former stays as what Load falls back to. write is
	// called once, and may take its time: what it writes goes on in pieces, and appends and reads go on meanwhile. What was written is read back before
	// it counts: verify, which may be nil, gets it whole, and its error is Save's. An owner whose tenure is over - its fold has returned, or another
	// owner's has begun - gets ErrFenced, and so it does from Trim.
	Save(ctx context.Context, offset int64, write func(io.Writer) error, verify func(io.Reader) error) error
	// Trim allows the journal to forget this partition's records up to and including offset. It must be at or below a saved snapshot's.
	Trim(ctx context.Context, offset int64) error
}

// A Historian is a Tenure whose past can be read beside it: for a history that lacks a part, and is filled with what is folded once more. Its methods may be
// called beside the others.
type Historian interface {
	// Hold keeps what a Past behind an offset reads from being forgotten by Save and Trim; Nothing lets go again. A disk that is nearly full comes first.
	Hold(after int64)
	// Past begins to read all that is durable now: from the newest snapshot at or before an offset; where there is none from the log's start; where that is
	// gone, from the oldest snapshot there is.
	Past(ctx context.Context, after int64) (Past, error)
}

// Nothing is an offset behind which there is nothing.
const Nothing = math.MaxInt64

// A Past is read as a Tenure is, once, until a batch says End. It is to be closed before the journal is.
type Past interface {
	Load(ctx context.Context, read func(offset int64, r io.Reader) error) error
	Read(ctx context.Context) (Batch, error)
	Close()
}

// Beginning is where a Past begins: the place of one of the snapshots' offsets, or -1 for the log's start, which may be there or not. False: nowhere.
func Beginning(snapshots []int64, start bool, after int64) (place int, ok bool) {
	place, oldest := -1, -1
	for i, at := range snapshots {
		if at <= after && (place < 0 || at > snapshots[place]) {
			place = i
		}
		if oldest < 0 || at < snapshots[oldest] {
			oldest = i
		}
	}
	if place < 0 && !start {
		place = oldest
	}
	return place, place >= 0 || start
}

// A Batch is what one Read returned.
type Batch struct {
	Records []Record
	Parked  []Parked
	// End says that with these records the reader has seen all that was durable when the tenure began (and when it was first asked, later).
	End bool
	// Save asks for a snapshot at Next - 1: the journal holds much that only this partition's next snapshot and trim let go.
	Save bool
	// Next is the offset after the last record read. A snapshot is saved at the last folded record's offset, or at Next - 1 when Save asks for it.
	Next int64
	// Lag is how many records behind Next are durable, as far as the journal knows.
	Lag int64
}

// A Parked is a place in the log that held no readable record. It is kept, counted and shown; it never blocks what follows.
type Parked struct {
	Offset int64
	Reason string
	Bytes  []byte // at most the first 1 KiB
}

// A Copied journal can be copied while it is at work. Backup gives the files of a copy to put, each with its size: of all that was durable when it was
// called and until beside had returned, which it calls once what the copy begins with is kept from going.
type Copied interface {
	Backup(ctx context.Context, beside func() error, put func(name string, size int64, from io.Reader) error) error
}

// A Sized journal takes records up to a size only. MaxPayload is in bytes and does not change while the journal is open; values are kept below it.
type Sized interface{ MaxPayload() int }

// A Troubled journal can say what keeps it from taking records at present; nil is nothing.
type Troubled interface{ Trouble() error }

// A Filling journal can say that it takes no starts at present, for want of room: ErrFull. nil is that it does.
type Filling interface{ Full() error }

// A Marker is a Tenure that wants to know how far the fold is: all before offset next is folded, and open says whether anything of the partition is
// under way. Who scales by lag needs it.
type Marker interface{ Mark(next int64, open bool) }

// A Shared journal is owned by several routers together, each a part of it.
type Shared interface {
	// Assigned returns the partitions that are this router's; ok is false while that is not known, before the first share was given.
	Assigned() (partitions []int, ok bool)
	// Peers returns the routers that own the journal, this one among them.
	Peers(ctx context.Context) ([]Peer, error)
}

// A Peer is one of the routers that own a Shared journal.
type Peer struct {
	ID         string
	Address    string // of its API; empty when it tells none
	Partitions []int
	Self       bool
}

// Errors of a journal.
var (
	ErrNoSnapshot = errors.New("journal: no snapshot")
	ErrFull       = errors.New("journal: the disk is nearly full")
	ErrTooLarge   = errors.New("journal: a record is too large")
	ErrFenced     = errors.New("journal: the tenure is over")
	ErrDamaged    = errors.New("journal: damaged")
	ErrLost       = errors.New("journal: records that no snapshot covers are gone")
	ErrClosed     = errors.New("journal: closed")
	ErrLayout     = errors.New("journal: layout differs")
	// ErrMoving is for who asks for what no owner can answer at the moment.
	ErrMoving = errors.New("the partition is changing hands; ask again")
)

// A Layout is written once, when a journal is made, and never changes: run ids and their partitions follow from it.
type Layout struct {
	Version    int      `json:"version"`
	Partitions int      `json:"partitions"`
	Hash       string   `json:"hash"` // "hmac-sha256"
	Key        [32]byte `json:"key"`
}

// Partition returns where a route's records are: route x P >> 32.
func (l Layout) Partition(route uint32) int { return int(uint64(route) * uint64(l.Partitions) >> 32) }

// Derive gives a key of its own for a purpose: what is signed for one purpose proves nothing for another, nor for run ids.
func (l Layout) Derive(purpose string) [32]byte {
	mac := hmac.New(sha256.New, l.Key[:])
	var apart [8]byte
	binary.BigEndian.PutUint64(apart[:], 1<<63) // No field of a run id is so long.
	mac.Write(apart[:])
	mac.Write([]byte(purpose))
	return [32]byte(mac.Sum(nil))
}
