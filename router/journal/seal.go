package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// A sealed stream says itself whether it is whole: magic, version, then chunks - length, CRC32C, bytes - and at the end one of length 0 with the size of
// all. A CRC covers the chunk's number, too: one that is missing, repeated or moved is found out. Integers are big-endian, four bytes, and the size eight.
const (
	sealMagic   = "\xf5onz"
	sealVersion = 1
	sealChunk   = 256 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealSum is the CRC of a chunk.
func sealSum(number uint32, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(binary.BigEndian.AppendUint32(nil, number), castagnoli), castagnoli, body)
}

// Seal writes what it is given as a sealed stream. It holds one chunk; Close writes the end, and leaves w open.
func Seal(w io.Writer) io.WriteCloser { return &sealer{w: w} }

type sealer struct {
	w      io.Writer
	buf    []byte
	number uint32 // of the next chunk; 0 is the head
	size   uint64
}

func (s *sealer) Write(b []byte) (int, error) {
	for n := 0; n < len(b); {
		k := min(len(b)-n, sealChunk-len(s.buf))
		s.buf = append(s.buf, b[n:n+k]...)
		n += k
		if len(s.buf) == sealChunk {
			if err := s.flush(); err != nil {
				return n, err
			}
		}
	}
	return len(b), nil
}

func (s *sealer) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	s.size += uint64(len(s.buf))
	err := s.put(uint32(len(s.buf)), s.buf)
	s.buf = s.buf[:0]
	return err
}

// put writes a chunk, behind the head if it is the first one.
func (s *sealer) put(length uint32, body []byte) error {
	var head []byte
	if s.number == 0 {
		head = append([]byte(sealMagic), sealVersion)
	}
	s.number++
	head = binary.BigEndian.AppendUint32(head, length)
	head = binary.BigEndian.AppendUint32(head, sealSum(s.number, body))
	if _, err := s.w.Write(head); err != nil {
		return err
	}
	_, err := s.w.Write(body)
	return err
}

func (s *sealer) Close() error {
	if err := s.flush(); err != nil {
		return err
	}
	return s.put(0, binary.BigEndian.AppendUint64(nil, s.size))
}

// Unseal reads what Seal wrote. It gives no byte whose chunk was not checked, and io.EOF only at the end of a whole stream with nothing behind it; ErrDamaged
// and ErrNewer say what else stands there.
func Unseal(r io.Reader) io.Reader { return &unsealer{r: r} }

type unsealer struct {
	r      io.Reader
	buf    []byte
	rest   []byte
	number uint32
	size   uint64
	err    error
}

func (u *unsealer) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if len(u.rest) == 0 && u.err == nil {
		u.err = u.next()
	}
	if len(u.rest) == 0 {
		return 0, u.err
	}
	n := copy(b, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}

// next reads and checks a chunk.
func (u *unsealer) next() error {
	if u.number == 0 {
		if err := u.head(); err != nil {
			return err
		}
	}
	u.number++
	var head [8]byte
	if err := u.fill(head[:]); err != nil {
		return err
	}
	length, last := binary.BigEndian.Uint32(head[:]), false
	if length == 0 {
		length, last = 8, true
	}
	if length > sealChunk {
		return fmt.Errorf("%w: chunk %d of %d bytes", ErrDamaged, u.number, length)
	}
	if int(length) > cap(u.buf) {
		u.buf = make([]byte, length)
	}
	u.buf = u.buf[:length]
	if err := u.fill(u.buf); err != nil {
		return err
	}
	if sealSum(u.number, u.buf) != binary.BigEndian.Uint32(head[4:]) {
		return fmt.Errorf("%w: the checksum of chunk %d differs", ErrDamaged, u.number)
	}
	if !last {
		u.rest, u.size = u.buf, u.size+uint64(length)
		return nil
	}
	if binary.BigEndian.Uint64(u.buf) != u.size {
		return fmt.Errorf("%w: %d bytes, and the end says %d", ErrDamaged, u.size, binary.BigEndian.Uint64(u.buf))
	}
	if n, err := io.ReadFull(u.r, head[:1]); n > 0 || err != io.EOF {
		return fmt.Errorf("%w: something stands behind its end (%w)", ErrDamaged, err)
	}
	return io.EOF
}

func (u *unsealer) head() error {
	var head [len(sealMagic) + 1]byte
	if err := u.fill(head[:]); err != nil {
		return err
	}
	switch version := head[len(sealMagic)]; {
	case string(head[:len(sealMagic)]) != sealMagic || version == 0:
		return fmt.Errorf("%w: it does not begin as a snapshot does", ErrDamaged)
	case version > sealVersion:
		return fmt.Errorf("snapshot in form %d: %w", version, ErrNewer)
	}
	return nil
}

// fill reads b whole; a stream that ends before is damaged.
func (u *unsealer) fill(b []byte) error {
	switch _, err := io.ReadFull(u.r, b); err {
	case io.EOF, io.ErrUnexpectedEOF:
		return fmt.Errorf("%w: it ends in chunk %d", ErrDamaged, u.number)
	default:
		return err
	}
}

// Verify reads a snapshot through: what verify, which may be nil, leaves of it is read as well.
func Verify(r io.Reader, verify func(io.Reader) error) error {
	if verify != nil {
		if err := verify(r); err != nil {
			return err
		}
	}
	_, err := io.Copy(io.Discard, r)
	return err
}
