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
type Tags struct{ macs sync.Pool }

// NewTags returns the tags of a journal.
func NewTags(l Layout) *Tags {
	key := l.Derive("tags of invocations")
	return &Tags{sync.Pool{New: func() any { return hmac.New(sha256.New, key[:]) }}}
}

func (t *Tags) of(id string) string {
	mac := t.macs.Get().(hash.Hash)
	defer t.macs.Put(mac)
	mac.Reset()
	mac.Write([]byte(id))
	var sum [sha256.Size]byte
	return idText.EncodeToString(mac.Sum(sum[:0]))[:tagLength]
}

// Seal adds the tag to an id: RUN~path.N becomes RUN~path.N.TAG.
func (t *Tags) Seal(id string) string { return id + "." + t.of(id) }

// Open returns the id in a sealed one; ok is false where the tag is not that id's.
func (t *Tags) Open(sealed string) (id string, ok bool) {
	dot := strings.LastIndexByte(sealed, '.')
	if dot < 0 {
		return "", false
	}
	id = sealed[:dot]
	return id, subtle.ConstantTimeCompare([]byte(sealed[dot+1:]), []byte(t.of(id))) == 1
}
