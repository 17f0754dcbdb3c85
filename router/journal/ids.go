package journal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
)

// IDs are the ids of the runs of a journal. They may be used concurrently.
type IDs struct{ macs sync.Pool }

// An idMac is what one id is made with.
type idMac struct {
	mac  hash.Hash
	text []byte
	sum  []byte
}

// NewIDs returns the ids of a journal.
func NewIDs(l Layout) *IDs {
	return &IDs{sync.Pool{New: func() any { return &idMac{mac: hmac.New(sha256.New, l.Key[:])} }}}
}

// Of derives the id of the run that a trigger starts from an event: a keyed hash over the length-prefixed fields, so that the same event gives
// the same run again and nobody else can compute the id.
func (i *IDs) Of(tenant, trigger string, fields ...string) RunID {
	with := i.macs.Get().(*idMac)
	defer i.macs.Put(with)
	return with.of(tenant, trigger, fields...)
}

// Keyed is Of for a run that lies where all runs of its trigger do that have its key.
func (i *IDs) Keyed(tenant, trigger, key string, fields ...string) RunID {
	with := i.macs.Get().(*idMac)
	defer i.macs.Put(with)
	id, route := with.of(tenant, trigger, fields...), with.of(tenant, trigger, "key", key, "")
	copy(id[:4], route[:4])
	return id
}

func (m *idMac) of(tenant, trigger string, fields ...string) (id RunID) {
	m.text = m.text[:0]
	m.add(tenant)
	m.add(trigger)
	for _, f := range fields {
		m.add(f)
	}
	m.mac.Reset()
	m.mac.Write(m.text)
	m.sum = m.mac.Sum(m.sum[:0])
	copy(id[:], m.sum)
	return id
}

func (m *idMac) add(field string) {
	m.text = append(binary.BigEndian.AppendUint64(m.text, uint64(len(field))), field...)
}
