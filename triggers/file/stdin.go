package file

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"
)

// An input is standard input, which the process has once: what a source has read of it and the router has not taken when a reload ends the source is the next one's.
type input struct {
	free   chan struct{} // has one while no source reads
	lines  *lineReader
	got    chan piece // of the read that is going on
	asked  bool       // one is: it may hang until the process ends
	begun  bool
	number int64  // of the last line that was read
	held   []line // read, and not taken
	end    error  // behind them
}

// A line is one of standard input.
type line struct {
	Number int64  `json:"number"`
	Text   []byte `json:"text"`
	Long   bool   `json:"long,omitempty"` // it is the beginning of one that is too long
}

type piece struct {
	lines []line
	end   error // io.EOF, or what keeps it from being read on
}

var standard = newInput(os.Stdin)

func newInput(r io.Reader) *input {
	in := &input{free: make(chan struct{}, 1), lines: newLineReader(r, 0), got: make(chan piece, 1)}
	in.free <- struct{}{}
	return in
}

// next returns lines that are not taken, and what is behind them where that is known. It waits for one; false: ctx has ended.
func (in *input) next(ctx context.Context, limit int) (lines []line, end error, ok bool) {
	if in.begun = true; len(in.held) == 0 && in.end == nil {
		if !in.asked {
			in.asked = true
			go func(number int64) { in.got <- in.read(limit, number) }(in.number)
		}
		select {
		case p := <-in.got:
			in.take(p)
		case <-ctx.Done():
			return nil, nil, false
		}
	}
	return in.held[:min(len(in.held), batchLines)], in.end, true
}

func (in *input) take(p piece) {
	in.asked, in.held, in.end = false, append(in.held, p.lines...), p.end
	if n := len(p.lines); n > 0 {
		in.number = p.lines[n-1].Number
	}
}

// read waits for a line, and takes those that are there behind it.
func (in *input) read(limit int, number int64) (p piece) {
	in.lines.limit = limit
	for size := int64(0); len(p.lines) < batchLines && size < batchBytes; {
		text, n, how, err := in.lines.next()
		if err != nil && !errors.Is(err, errTooLong) {
			p.end = err
			return p
		}
		if how == long {
			_, _, p.end = in.lines.skip()
		}
		number++
		size += n
		p.lines = append(p.lines, line{number, text, err != nil})
		if how == partial {
			p.end = io.EOF
		}
		if p.end != nil || !in.lines.hasMore() {
			return p
		}
	}
	return p
}

// rest is what was read and is not taken. What has no end yet is its writer's to send again.
func (in *input) rest() []line {
	for in.end == nil {
		if in.asked {
			select {
			case p := <-in.got:
				in.take(p)
			default:
				return in.held
			}
		} else if !in.lines.hasMore() {
			return in.held
		} else {
			in.take(in.read(in.lines.limit, in.number))
		}
	}
	return in.held
}

// runStdin reads standard input to its end. What it has read cannot be read again: it waits until the router takes it, and what is left when the source ends is kept
// for the next one.
func (s *Source) runStdin(ctx context.Context) error {
	in := s.stdin
	select {
	case <-in.free:
	default:
		s.fail("nothing is read", errors.New("another source reads standard input"))
		select {
		case <-in.free:
			s.clear()
		case <-ctx.Done():
			return nil
		}
	}
	defer func() { in.free <- struct{}{} }()
	if !s.recall(ctx) {
		return nil
	}
	if !in.begun {
		in.held = s.rest
	}
	defer func() { s.keepRest(ctx, in.rest()) }()
	for {
		lines, end, ok := in.next(ctx, int(s.s.MaxEvent))
		switch {
		case !ok:
			return nil
		case len(lines) > 0:
			if in.held = s.handLines(ctx, lines, in.held); ctx.Err() != nil {
				return nil
			}
			if len(in.held) == 0 && len(s.rest) > 0 {
				s.keepRest(ctx, nil)
			}
		case errors.Is(end, io.EOF):
			slog.Info("source: all is read", "source", s.name, "path", "-", "lines", in.number)
			s.mu.Lock()
			s.report.Note = "all is read"
			s.mu.Unlock()
			<-ctx.Done()
			return nil
		default:
			return end
		}
	}
}

// handLines hands over the first of what is held, and returns what of it is left: nothing of those, unless ctx has ended.
func (s *Source) handLines(ctx context.Context, lines, held []line) []line {
	held = held[len(lines):]
	var batch []pending
	for _, l := range lines {
		if l.Long {
			s.park("-", l.Number, l.Text, s.tooLong())
			continue
		}
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", l.Number, l.Text))
		if l.Number == 1 {
			l.Text = bytes.TrimPrefix(l.Text, mark)
		}
		batch = append(batch, s.decode(l.Text, spot{"-", l.Number, 0, hex.EncodeToString(sum[:16])})...)
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		if batch = s.hand(ctx, batch); len(batch) == 0 {
			return held
		}
		if pause(ctx, wait); ctx.Err() != nil {
			break
		}
	}
	left := slices.DeleteFunc(slices.Clone(lines), func(l line) bool {
		return !slices.ContainsFunc(batch, func(p pending) bool { return p.line == l.Number })
	})
	return append(left, held...)
}

// keepRest keeps lines for the process behind this one: their ids are of their numbers and texts, so that those that were taken all the same count once.
func (s *Source) keepRest(ctx context.Context, rest []line) {
	if s.keep == nil || len(rest) == 0 && len(s.rest) == 0 {
		return
	}
	b, err := json.Marshal(kept{Rest: rest})
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handing)
		defer cancel()
		err = s.keep.Keep(ctx, b)
	}
	if err != nil {
		slog.Error("source: lines of standard input that were read and not taken cannot be kept", "source", s.name, "lines", len(rest), "error", err)
		return
	}
	s.rest = rest
}
