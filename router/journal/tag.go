package journal

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"hash"
	"strings"
	"sync"
)

// tagLength is the characters of a tag: 50 bits, each guess at which has to be sent.
const tagLength = 10

// Tags are the proofs in the ids of invocations: an id with its tag was given out by who has the journal's key, and nobody makes one of another id.
type Tags struct{ tools sync.Pool }

// tools are what one tag is made with.
type tools struct {
	mac  hash.Hash
	id   []byte
	sum  []byte
	text [26]byte // of the first 16 bytes of the sum
}

// NewTags returns the tags of a journal.
func NewTags(l Layout) *Tags {
	key := l.Derive("tags of invocations")
	return &Tags{sync.Pool{New: func() any { return &tools{mac: hmac.New(sha256.New, key[:])} }}}
}

// of makes the tag of an id; it is valid until the tools are used again.
func (t *tools) of(id string) []byte {
	t.mac.Reset()
	t.id = append(t.id[:0], id...)
	t.mac.Write(t.id)
	t.sum = t.mac.Sum(t.sum[:0])
	idText.Encode(t.text[:], t.sum[:16])
	return t.text[:tagLength]
}

// Seal adds the tag to an id: RUN~path.N becomes RUN~path.N.TAG.
func (t *Tags) Seal(id string) string {
	with := t.tools.Get().(*tools)
	defer t.tools.Put(with)
	return id + "." + string(with.of(id))
}

// Open returns the id in a sealed one; ok is false where the tag is not that id's.
func (t *Tags) Open(sealed string) (id string, ok bool) {
	dot := strings.LastIndexByte(sealed, '.')
	if dot < 0 || len(sealed)-dot-1 != tagLength {
		return "", false
	}
	with := t.tools.Get().(*tools)
	defer t.tools.Put(with)
	var said [tagLength]byte
	copy(said[:], sealed[dot+1:])
	id = sealed[:dot]
	return id, subtle.ConstantTimeCompare(said[:], with.of(id)) == 1
}
