package journal

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func sealed(t testing.TB, b []byte, piece int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := Seal(&out)
	for len(b) > 0 {
		n := min(piece, len(b))
		if _, err := w.Write(b[:n]); err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestSeal: what was sealed is read again, however it was written and is read, and it takes little more room.
func TestSeal(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 1000, sealChunk - 1, sealChunk, sealChunk + 1, 5*sealChunk + 7} {
		b := bytes.Repeat([]byte("some state "), size/11+1)[:size]
		for _, piece := range []int{7, 64 << 10, 1 << 30} {
			s := sealed(t, b, max(piece, size/1000))
			if len(s) > size+size/1000+64 {
				t.Errorf("%d bytes take %d", size, len(s))
			}
			for _, r := range []io.Reader{bytes.NewReader(s), iotest.HalfReader(bytes.NewReader(s)), iotest.DataErrReader(bytes.NewReader(s))} {
				if got, err := io.ReadAll(Unseal(r)); err != nil || !bytes.Equal(got, b) {
					t.Fatalf("of %d bytes %d were read, %v", size, len(got), err)
				}
			}
		}
	}
}

// TestSealIsStrict alters every byte, cuts everywhere, and repeats, drops and swaps chunks: none is read as whole.
func TestSealIsStrict(t *testing.T) {
	t.Parallel()
	good := sealed(t, []byte("a small state"), 5)
	refused := func(what string, b []byte) {
		t.Helper()
		got, err := io.ReadAll(Unseal(bytes.NewReader(b)))
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
			t.Errorf("%s: read %q, %v", what, got, err)
		}
	}
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			refused("a bit", bad)
		}
		refused("a cut", good[:i])
	}
	refused("something behind it", append(bytes.Clone(good), 0))
	refused("twice", append(bytes.Clone(good), good...))
	big := bytes.Repeat([]byte("0123456789abcdef"), 3*sealChunk/16)
	copy(big[sealChunk:], "another")
	s := sealed(t, big, 1<<20)
	head, size := len(sealMagic)+1, sealChunk+8
	a, b, c, end := s[head:head+size], s[head+size:head+2*size], s[head+2*size:head+3*size], s[head+3*size:]
	join := func(parts ...[]byte) []byte { return bytes.Join(append([][]byte{s[:head]}, parts...), nil) }
	if !bytes.Equal(join(a, b, c, end), s) {
		t.Fatal("the test cuts otherwise than the seal does")
	}
	refused("swapped", join(b, a, c, end))
	refused("one missing", join(a, b, end))
	refused("one missing at the begin", join(b, c, end))
	refused("one twice", join(a, a, b, c, end))
	refused("no end", join(a, b, c))
	broken := errors.New("broken disk")
	if _, err := io.ReadAll(Unseal(iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("a disk that fails: %v", err)
	}
}

// FuzzUnseal: no bytes make it panic or read for ever, and what it reads as whole is what Seal writes.
func FuzzUnseal(f *testing.F) {
	f.Add(sealed(f, nil, 1))
	f.Add(sealed(f, []byte("a small state"), 5))
	f.Add(sealed(f, bytes.Repeat([]byte("x"), 2*sealChunk+5), 1<<20))
	f.Add([]byte(sealMagic + "\x02"))
	f.Add([]byte(sealMagic + "\x01\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := io.ReadAll(Unseal(bytes.NewReader(b)))
		switch {
		case err == nil:
			if again, err := io.ReadAll(Unseal(bytes.NewReader(sealed(t, got, 1<<20)))); err != nil || !bytes.Equal(again, got) {
				t.Errorf("sealed again, %d bytes are %d, %v", len(got), len(again), err)
			}
		case !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer):
			t.Error(err)
		}
	})
}
