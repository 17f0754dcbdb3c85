package file

import (
	"context"
	"errors"
	"io"
	"os"
)

// A stream is what can be read only once, and outlives the source that reads it: a reload makes another one, which goes on where that was.
type stream struct {
	turn chan struct{} // has one while a source reads; what follows is its

	lines  *lineReader
	number int64 // of the line at hand, from 1
	held   *line // that one, until it is taken
	asked  bool  // a read is under way: it may hang until the process ends
	come   chan line
}

// A line is one of a stream, or its end.
type line struct {
	text []byte
	err  error
}

func newStream(from io.Reader) *stream {
	return &stream{turn: make(chan struct{}, 1), lines: newLineReader(from, 0), number: 1, come: make(chan line, 1)}
}

// standard is the process's own input.
var standard = newStream(os.Stdin)

// next returns the line at hand, of so many bytes at most; the same until take. False: ctx has ended before there was one.
func (s *stream) next(ctx context.Context, limit int) (line, bool) {
	if s.held != nil {
		return *s.held, true
	}
	if !s.asked {
		s.asked, s.lines.limit = true, limit
		go func() { s.come <- s.read() }()
	}
	select {
	case l := <-s.come:
		s.asked, s.held = false, &l
		return l, true
	case <-ctx.Done():
		return line{}, false
	}
}

// read reads a line to its end.
func (s *stream) read() line {
	text, _, how, err := s.lines.next()
	if how == long {
		if _, _, skipping := s.lines.skip(); skipping != nil && !errors.Is(skipping, io.EOF) {
			err = skipping
		}
	}
	return line{text, err}
}

// take says that nobody needs the line at hand any more.
func (s *stream) take() { s.held, s.number = nil, s.number+1 }
