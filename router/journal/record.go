package journal

import (
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// A Kind says which fact a record states.
type Kind uint8

// The kinds of records. The table below says who writes each, whether it is fenced, and what makes two of them the same fact.
const (
	Claim      Kind = iota + 1 // an owner begins its tenure
	Define                     // the bytes of a definition
	Start                      // an event starts a run
	Completion                 // the outcome of an invocation
	Accepted                   // an invocation or event has arrived
	Signal                     // a named signal to a run
	Cancel                     // cancel a run
	Fired                      // a timer is due
	TimedOut                   // a try took too long
	GaveUp                     // an invocation or event could not be delivered
	Matched                    // which triggers the event of a run's end starts
	Skip                       // a record on which the fold died is passed over
	Release                    // an owner leaves in good order
	More                       // a run may do the next part of what it owes
	Tried                      // an invocation or event was sent, and there was no answer
	Pause                      // a run is to call nothing more for a while
	Resume                     // it goes on
	Resize                     // a step of a run may have more, or fewer, children open
	Redrive                    // a run that has ended goes on, with a part of what it had done
	kindEnd
)

// A Writer says who may write a kind.
type Writer uint8

// The writers.
const (
	ByAnyone Writer = iota + 1 // any replica, at any time
	ByOwner                    // the partition's owner only
)

// A Row is what holds for all records of a kind.
type Row struct {
	Kind      Kind
	Name      string
	Writer    Writer
	Fenced    bool   // a record of another epoch than the current claim's changes nothing and is counted
	Refusable bool   // admission may refuse or delay it when space or memory is short; all other kinds are bounded by what was started
	Key       string // what makes two records the same fact: the later one changes nothing
}

// Table has a row a kind, in order of the kinds.
var Table = []Row{
	{Claim, "claim", ByOwner, false, false, "epoch; counts only when it is the last epoch + 1"},
	{Define, "define", ByAnyone, false, false, "digest"},
	{Start, "start", ByAnyone, false, true, "run"},
	{Completion, "completion", ByAnyone, false, false, "run, invocation number"},
	{Accepted, "accepted", ByAnyone, false, false, "run, invocation number"},
	{Signal, "signal", ByAnyone, false, false, "run, source, event id"},
	{Cancel, "cancel", ByAnyone, false, false, "run"},
	{Fired, "fired", ByOwner, true, false, "run, timer number"},
	{TimedOut, "timed-out", ByOwner, true, false, "run, invocation number"},
	{GaveUp, "gave-up", ByOwner, true, false, "run, invocation number"},
	{Matched, "matched", ByOwner, false, false, "run"},
	{Skip, "skip", ByOwner, true, false, "partition, offset"},
	{Release, "release", ByOwner, true, false, "epoch"},
	{More, "more", ByOwner, true, false, "run, part"},
	{Tried, "tried", ByOwner, false, false, "run, invocation number"},
	{Pause, "pause", ByAnyone, false, false, "run, id"},
	{Resume, "resume", ByAnyone, false, false, "run, id"},
	{Resize, "resize", ByAnyone, false, false, "run, id"},
	{Redrive, "redrive", ByAnyone, false, false, "run, number, part; counts only when the number is the last redrive + 1 and the part the next"},
}

// Of returns the table's row of k; false for a kind of a newer version.
func Of(k Kind) (Row, bool) {
	if k == 0 || k >= kindEnd {
		return Row{}, false
	}
	return Table[k-1], true
}

// String returns the kind's word.
func (k Kind) String() string {
	if row, ok := Of(k); ok {
		return row.Name
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// KindNamed returns the kind of that word.
func KindNamed(word string) (Kind, bool) {
	for _, row := range Table {
		if row.Name == word {
			return row.Kind, true
		}
	}
	return 0, false
}

// A RunID is the route (4 bytes, which decide the partition) and a keyed hash (12 bytes).
type RunID [16]byte

var idText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// String returns the 26 characters by which the outside knows a run.
func (id RunID) String() string {
	var text [26]byte
	idText.Encode(text[:], id[:])
	return string(text[:])
}

// Route is the part of id that decides its partition.
func (id RunID) Route() uint32 { return binary.BigEndian.Uint32(id[:4]) }

// IsZero reports the id that no run has.
func (id RunID) IsZero() bool { return id == RunID{} }

// MarshalText writes String's form.
func (id RunID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// ParseRunID reads String's form, in either case.
func ParseRunID(s string) (RunID, error) {
	var id RunID
	if len(s) != 26 {
		return id, fmt.Errorf("%.100q is not a run id: those have 26 characters, and this has %d", s, len(s))
	}
	var lower, canonical [26]byte
	for i := range lower {
		lower[i] = s[i]
		if 'A' <= s[i] && s[i] <= 'Z' {
			lower[i] += 'a' - 'A'
		}
	}
	if _, err := idText.Decode(id[:], lower[:]); err != nil {
		at := 0
		var bad base32.CorruptInputError
		if errors.As(err, &bad) {
			at = int(bad)
		}
		return RunID{}, fmt.Errorf("%q is not a run id: those have digits and small letters without i, l, o and u, and character %d is another; copy it whole, as onward runs list prints it", s, at+1)
	}
	if idText.Encode(canonical[:], id[:]); canonical != lower {
		return RunID{}, fmt.Errorf("%q is not a run id: its last characters are not those of one; copy it whole, as onward runs list prints it", s)
	}
	return id, nil
}

// Level is the fold level that this binary writes. It folds those from Oldest on: below it are those of binaries that were never released.
const (
	Level  = 2
	Oldest = 2
)

// CheckLevel says whether this binary folds a level; the error is ErrNewer or ErrOlder.
func CheckLevel(level uint8) error {
	switch {
	case level > Level:
		return fmt.Errorf("fold level %d, and this binary knows those up to %d: %w; run the binary that wrote it, or a newer one", level, Level, ErrNewer)
	case level < Oldest:
		return fmt.Errorf("fold level %d, and this binary knows those from %d on: %w", level, Oldest, ErrOlder)
	}
	return nil
}

// A Record is one fact. Its payload is the engine's to read and is never changed on the way.
type Record struct {
	Kind      Kind
	Level     uint8
	Partition int
	Epoch     uint64 // of the tenure that wrote it; 0 when anyone may
	Tenant    string
	Run       RunID
	Payload   []byte

	// Offset and Time are the journal's: it sets them when it appends, and gives them with what it reads. Offsets grow within a partition, not
	// necessarily by one. Time has nanoseconds at most and never goes back by more than the journal's clock does: the fold does not, whatever it reads.
	Offset int64
	Time   time.Time
}

// Refusable reports whether admission may refuse the record when space is short.
func (r *Record) Refusable() bool {
	row, ok := Of(r.Kind)
	return ok && row.Refusable
}

// Format is the version of Append's form. A reader that meets a newer one stops and gives the partition up.
const Format = 1

// magic begins a record in every format. A journal may lie where others can write, too, and what they write by mistake is not a newer version: the
// first byte is in no UTF-8 text.
const magic = "\xf5onw"

// Errors of DecodeRecord, and of what is inside of records.
var (
	ErrNewer   = errors.New("written by a newer version")
	ErrOlder   = errors.New("written by an older version that this one does not read; run that one until nothing is open, or begin with an empty journal")
	ErrGarbage = errors.New("not a record")
)

// Append appends the record's form to b: magic, format, kind, level, partition - so far it is the same in all formats - epoch, time, tenant, run,
// payload. Length and CRC are the frame's, around it; the offset is the place. Integers are varints in their shortest form, strings follow their
// length, the payload runs to the end.
func (r *Record) Append(b []byte) []byte {
	b = append(b, magic...)
	b = append(b, Format, byte(r.Kind), r.Level)
	b = binary.AppendUvarint(b, uint64(r.Partition))
	b = binary.AppendUvarint(b, r.Epoch)
	b = binary.AppendVarint(b, r.Time.UnixNano())
	b = binary.AppendUvarint(b, uint64(len(r.Tenant)))
	b = append(b, r.Tenant...)
	b = append(b, r.Run[:]...)
	return append(b, r.Payload...)
}

// DecodeRecord reads Append's form, and only that: what it reads, Append writes again byte for byte. The payload aliases b. With ErrNewer and ErrOlder the
// record has its partition; with ErrGarbage it has nothing.
func DecodeRecord(b []byte) (Record, error) {
	const head = len(magic) + 3
	if len(b) < head || string(b[:len(magic)]) != magic || b[len(magic)] == 0 || b[len(magic)+1] == 0 {
		return Record{}, ErrGarbage
	}
	format := b[len(magic)]
	r := Record{Kind: Kind(b[len(magic)+1]), Level: b[len(magic)+2]}
	partition, b, ok := takeUvarint(b[head:])
	if !ok || partition > 1<<20 {
		return Record{}, ErrGarbage
	}
	r.Partition = int(partition)
	switch {
	case format > Format:
		return r, fmt.Errorf("record format %d: %w", format, ErrNewer)
	case format < Format:
		return r, fmt.Errorf("record format %d: %w", format, ErrOlder)
	}
	epoch, b, ok1 := takeUvarint(b)
	at, b, ok2 := takeUvarint(b)
	size, b, ok3 := takeUvarint(b)
	if !ok1 || !ok2 || !ok3 || size > uint64(len(b)) || len(b)-int(size) < len(r.Run) {
		return Record{}, ErrGarbage
	}
	r.Epoch, r.Time = epoch, time.Unix(0, int64(at>>1)^-int64(at&1)).UTC()
	r.Tenant = string(b[:size])
	b = b[size:]
	copy(r.Run[:], b)
	r.Payload = b[len(r.Run):]
	if _, known := Of(r.Kind); !known {
		return r, fmt.Errorf("record kind %d: %w", r.Kind, ErrNewer)
	}
	return r, nil
}

// takeUvarint cuts an integer off b. One that is longer than it need be is none.
func takeUvarint(b []byte) (v uint64, rest []byte, ok bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 || n > 1 && b[n-1] == 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}
