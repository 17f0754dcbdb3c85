package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/guard"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/triggers"
	"github.com/onward-router/onward/triggers/mapping"
)

// What is handed over at a time, and read of a file before it is the next one's turn.
const (
	batchLines = 200
	batchBytes = 1 << 20
	turns      = 20
)

// A reading is one file that is open. What it handed over last and the router has not taken yet is in batch; nothing is read on before that is.
type reading struct {
	s     *Source
	place *place
	f     *os.File
	size  int64
	seen  int64     // the size when the last line had no end
	left  time.Time // since when it has no name; zero: it has one

	batch []pending
	next  int64 // where the file goes on behind batch
	line  int64
	skips bool
	pause time.Duration
	due   time.Time // when batch is handed over again
}

// A pending is an event that is not taken yet.
type pending struct {
	e    event.Event
	text []byte // its line
	line int64
}

// read hands over what there is, and reports whether there is more.
func (r *reading) read(ctx context.Context) (more bool, err error) {
	for range turns {
		if len(r.batch) == 0 {
			if r.place.Offset >= r.size || r.seen == r.size && !r.isLast() {
				return false, nil
			}
			took, err := r.fill()
			if err != nil || !took {
				return false, err
			}
		} else if time.Now().Before(r.due) {
			return false, nil
		}
		if !r.hand(ctx) {
			return false, nil
		}
		if ctx.Err() != nil {
			return true, nil
		}
	}
	return true, nil
}

// isLast reports whether a line without an end is one: nobody will write on.
func (r *reading) isLast() bool {
	return !r.s.s.Follow || !r.left.IsZero() && time.Since(r.left) > orphan*3/4
}

// fill takes the next lines, and decodes them. False: there is none that is whole.
func (r *reading) fill() (took bool, err error) {
	p := r.place
	lines := newLineReader(io.NewSectionReader(r.f, p.Offset, r.size-p.Offset), int(r.s.s.MaxEvent))
	r.next, r.line, r.skips = p.Offset, p.Line, p.Skips
	bytesOf := int64(0)
	for n := 0; n < batchLines && bytesOf < batchBytes; n++ {
		if r.skips {
			n, ended, err := lines.skip()
			if r.next += n; err != nil {
				return took, err
			}
			if !ended {
				return took || n > 0, nil
			}
			r.skips, took = false, true
			continue
		}
		text, size, how, err := lines.next()
		if err != nil && !errors.Is(err, errTooLong) {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return took, err
		}
		if how == partial && !r.isLast() {
			r.seen = r.size
			return took, nil
		}
		at := r.next
		r.next, r.line, r.skips, took = r.next+size, r.line+1, how == long, true
		bytesOf += size
		if err != nil {
			r.s.park(p.Path, r.line, text, r.s.tooLong())
			continue
		}
		r.batch = append(r.batch, r.s.decode(text, spot{p.Path, r.line, at, fmt.Sprintf("%s-%d", p.Token, at)})...)
	}
	return took, nil
}

// hand gives the router what it has not taken of the batch. True: it has taken it all, or refused it for good.
func (r *reading) hand(ctx context.Context) bool {
	r.batch = r.s.hand(ctx, r.batch)
	if len(r.batch) > 0 {
		r.pause = min(max(2*r.pause, 50*time.Millisecond), 5*time.Second)
		r.due = time.Now().Add(r.pause)
		return false
	}
	r.batch, r.pause = nil, 0
	r.place.advance(r.f, r.next, r.line)
	r.place.Skips, r.s.dirty = r.skips, true
	return true
}

// hand gives events to the router, and returns those that are to be tried again. What is handed over is waited for, also when ctx ends.
func (s *Source) hand(ctx context.Context, batch []pending) (rest []pending) {
	if len(batch) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handing)
	defer cancel()
	events := make([]event.Event, len(batch))
	for i := range batch {
		events[i] = batch[i].e
	}
	receipts, err := s.admit(ctx, events)
	if err != nil {
		if !errors.Is(err, triggers.ErrDraining) {
			s.fail("the router takes nothing of a file", err)
		}
		return batch
	}
	for i := range receipts {
		switch err := receipts[i].Err; {
		case err == nil:
			s.lines.WithLabelValues("taken").Inc()
		case triggers.IsFinal(err):
			s.park(batch[i].e.Source(), batch[i].line, batch[i].text, err)
		default:
			rest = append(rest, batch[i])
			s.fail("the router takes no starts of a file", err)
		}
	}
	return rest
}

// park keeps a line that is no event.
func (s *Source) park(path string, line int64, text []byte, why error) {
	at := fmt.Sprintf("%s:%d", path, line)
	s.lines.WithLabelValues("parked").Inc()
	slog.Warn("source: a line is no event and is parked", "source", s.name, "at", at, "error", why)
	s.Park(triggers.Parked{Source: s.name, Place: at, Reason: why.Error(), Time: time.Now(), Bytes: text})
}

func (s *Source) tooLong() error {
	return fmt.Errorf("it has more than %d bytes; raise maxEvent, or pass large data by reference (dataref)", s.s.MaxEvent)
}

// mark is what some editors begin a file with.
var mark = []byte("\ufeff")

// A spot is where a line stands.
type spot struct {
	path   string
	line   int64
	offset int64
	id     string // of its event, where the document says none
}

// decode makes events of a line, and parks what is none.
func (s *Source) decode(text []byte, at spot) (out []pending) {
	if at.offset == 0 {
		text = bytes.TrimPrefix(text, mark)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	var events []event.Event
	var bad []envelope.Bad
	var err error
	if panicked := guard.Do("decode", func() { events, bad, err = s.read(text, at) }); panicked != nil {
		err = panicked
	}
	if err != nil {
		s.park(at.path, at.line, text, err)
		return nil
	}
	for _, b := range bad {
		s.park(at.path, at.line, b.Raw, fmt.Errorf("event %d of the line: %w", b.Index, b.Err))
	}
	if len(events) == 0 && len(bad) == 0 {
		s.lines.WithLabelValues("taken").Inc()
	}
	for i := range events {
		out = append(out, pending{events[i], text, at.line})
	}
	return out
}

func contentOf(kind string) []envelope.Field {
	return []envelope.Field{{Key: "content-type", Value: []byte(kind)}}
}

// read makes events of a line: of a CloudEvent or a batch, or as the document says.
func (s *Source) read(text []byte, at spot) ([]event.Event, []envelope.Bad, error) {
	limits := envelope.Limits{Event: int(s.s.MaxEvent), Batch: int(s.s.MaxEvent)}
	value, err := mapping.Value(text, "")
	if err != nil {
		return nil, nil, err
	}
	kind := kindOf(value, s.s.As != nil)
	if kind != "" {
		h, err := envelope.FromRecord(contentOf(kind))
		if err != nil {
			return nil, nil, err
		}
		return h.Read(text, limits)
	}
	if s.s.As == nil {
		return nil, nil, errNoEvent
	}
	return s.s.As.Read(&mapping.Message{
		Body: text, Source: "/file/" + s.name, ID: at.id,
		Vars: lang.Vars{{Name: "body", Value: value}, {Name: "file", Value: lang.Text(at.path)}, {Name: "line", Value: lang.Of(at.line)}, {Name: "offset", Value: lang.Of(at.offset)}},
	}, limits)
}

// kindOf is the content type of a line that is a CloudEvent, or a list of them; empty: it is none. With mapped, a list is one only if its first item is.
func kindOf(v lang.Value, mapped bool) string {
	switch v.JSON()[0] {
	case '{':
		var x struct {
			Version any `json:"specversion"`
		}
		if v.Decode(&x) == nil && x.Version != nil {
			return envelope.Structured
		}
	case '[':
		var c *lang.Cache
		n, _ := c.Length(v)
		if !mapped || n > 0 && kindOf(c.Element(v, 0), true) == envelope.Structured {
			return envelope.Batched
		}
	}
	return ""
}
