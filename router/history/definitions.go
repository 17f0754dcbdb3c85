package history

import (
	"cmp"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/onward-router/onward/config/lang"
)

// What is kept of definitions: those by which runs have ended, the latest used.
const (
	definitionsMost  = 1000
	definitionsBytes = 64 << 20
	definitionsUsed  = 24 * time.Hour // how exactly it is known when one was used last
)

// A definition is one by which a run has ended.
type definition struct {
	at    int64  // used last, about
	size  int    // of it, packed
	body  []byte // packed; nil: it is on disk
	dirty bool
}

// A defined is a definition as it is written; without a body it is used later than it was.
type defined struct {
	digest lang.Digest
	at     int64
	body   []byte
}

// Defined keeps the definition by which a run has ended, when it is not kept yet; payload gives its bytes.
func (h *Endings) Defined(d lang.Digest, ended time.Time, payload func() []byte) {
	s, at := h.store, ended.UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.definitions[d]
	if x == nil {
		body := pack(payload(), nil)
		x = &definition{body: body, size: len(body)}
		s.definitions[d] = x
	} else if at-x.at < int64(definitionsUsed) {
		return
	}
	x.at, x.dirty = max(x.at, at), true
}

// Definition gives the bytes of a definition by which a run has ended; nil when it is not kept.
func (h *Endings) Definition(d lang.Digest) ([]byte, error) {
	s := h.store
	s.mu.RLock()
	x, file := s.definitions[d], s.disk
	var body []byte
	if x != nil {
		body = x.body
	}
	s.mu.RUnlock()
	if x == nil {
		return nil, nil
	}
	if body == nil {
		var err error
		if body, err = file.definition(d); err != nil || body == nil {
			s.broken.CompareAndSwap(false, isDamage(err))
			return nil, err
		}
	}
	b, err := unpack(body)
	if err != nil {
		s.broken.Store(true)
	}
	return b, err
}

// spareDefinitions forgets those that are too many, the longest unused first, and returns what is to be written and taken away. The lock is held.
func (s *Store) spareDefinitions() (put []defined, drop []lang.Digest) {
	type used struct {
		lang.Digest
		*definition
	}
	dirty := false
	for _, x := range s.definitions {
		dirty = dirty || x.dirty
	}
	if !dirty {
		return nil, nil
	}
	var all []used
	bytes := 0
	for d, x := range s.definitions {
		all = append(all, used{d, x})
		bytes += x.size
	}
	slices.SortFunc(all, func(a, b used) int { return cmp.Or(cmp.Compare(a.at, b.at), slices.Compare(a.Digest[:], b.Digest[:])) })
	for i, x := range all {
		if left := len(all) - i; left > definitionsMost || bytes > definitionsBytes && left > 1 {
			bytes -= x.size
			delete(s.definitions, x.Digest)
			drop = append(drop, x.Digest)
			continue
		}
		if x.dirty {
			put = append(put, defined{x.Digest, x.at, x.body})
		}
	}
	return put, drop
}

// settleDefinitions books what was written. The lock is held.
func (s *Store) settleDefinitions(put []defined) {
	for _, p := range put {
		x := s.definitions[p.digest]
		if x == nil {
			continue
		}
		if x.dirty = x.at > p.at; s.disk != nil {
			x.body = nil
		}
	}
}

func (d *disk) writeDefinitions(tx *sql.Tx, put []defined, drop []lang.Digest) error {
	for _, x := range put {
		var err error
		if x.body == nil {
			_, err = tx.Exec("UPDATE definition SET at = ? WHERE digest = ?", x.at, x.digest[:])
		} else {
			_, err = tx.Exec("INSERT OR REPLACE INTO definition VALUES (?, ?, ?)", x.digest[:], x.at, x.body)
		}
		if err != nil {
			return err
		}
	}
	for _, x := range drop {
		if _, err := tx.Exec("DELETE FROM definition WHERE digest = ?", x[:]); err != nil {
			return err
		}
	}
	return nil
}

// definition reads one; nil when it is not there.
func (d *disk) definition(digest lang.Digest) (b []byte, err error) {
	err = d.db.QueryRow("SELECT body FROM definition WHERE digest = ?", digest[:]).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return b, err
}

// definitions lists those that are there, without their bodies.
func (d *disk) definitions() (map[lang.Digest]*definition, error) {
	all := make(map[lang.Digest]*definition)
	rows, err := d.db.Query("SELECT digest, at, length(body) FROM definition")
	return all, through(rows, err, func() error {
		var digest []byte
		x := new(definition)
		if err := rows.Scan(&digest, &x.at, &x.size); err != nil {
			return err
		}
		if len(digest) != len(lang.Digest{}) {
			return errSpoiled
		}
		all[lang.Digest(digest)] = x
		return nil
	})
}
