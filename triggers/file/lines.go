package file

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// A lineReader takes lines off a stream, of limit bytes at most.
type lineReader struct {
	r     *bufio.Reader
	limit int
}

func newLineReader(r io.Reader, limit int) *lineReader {
	return &lineReader{bufio.NewReaderSize(r, 64<<10), limit}
}

// What a line may be.
type ending uint8

const (
	whole   ending = iota + 1 // it has its end
	partial                   // the stream ended before
	long                      // it has more than limit bytes, of which the first are given; the stream stands behind what was read of it
)

// next returns a line without its end, and of how many bytes the stream is ahead. The error is the stream's; io.EOF where nothing is left.
func (l *lineReader) next() (line []byte, n int64, how ending, err error) {
	for {
		part, err := l.r.ReadSlice('\n')
		n += int64(len(part))
		switch room := l.limit + 2 - len(line); { // For the end of the line.
		case len(part) <= room:
			line = append(line, part...)
		default:
			line = append(line, part[:room]...)
		}
		ended := err == nil
		text := bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		switch {
		case len(text) > l.limit:
			if ended {
				return text[:l.limit], n, whole, errTooLong
			}
			return text[:l.limit], n, long, errTooLong
		case ended:
			return text, n, whole, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && n > 0:
			return text, n, partial, nil
		default:
			return nil, n, partial, err
		}
	}
}

// skip goes on to the end of a line that is not wanted, and says whether it was there.
func (l *lineReader) skip() (n int64, ended bool, err error) {
	for {
		part, err := l.r.ReadSlice('\n')
		n += int64(len(part))
		switch {
		case err == nil:
			return n, true, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return n, false, nil
		default:
			return n, false, err
		}
	}
}

// hasMore reports whether a whole line is there without waiting for it.
func (l *lineReader) hasMore() bool {
	b, _ := l.r.Peek(l.r.Buffered()) // There are so many.
	return bytes.IndexByte(b, '\n') >= 0
}

var errTooLong = errors.New("the line is too long")
