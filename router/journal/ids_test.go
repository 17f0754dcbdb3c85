package journal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"testing"
)

// TestIDs: an id is the HMAC of its fields, each behind its length, whatever was made before it and whoever makes one beside it; a keyed one lies with its key.
func TestIDs(t *testing.T) {
	t.Parallel()
	l := Layout{Version: 1, Partitions: 8, Key: [32]byte{1, 2, 3}}
	plain := func(fields ...string) (id RunID) {
		mac := hmac.New(sha256.New, l.Key[:])
		for _, f := range fields {
			var size [8]byte
			binary.BigEndian.PutUint64(size[:], uint64(len(f)))
			mac.Write(append(size[:], f...))
		}
		copy(id[:], mac.Sum(nil))
		return id
	}
	ids := NewIDs(l)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for _, f := range [][]string{{"default", "t", "/s", "1"}, {"default", "t/", "s", "1"}, {"", "", "", ""}, {"a", "b", "c", string(make([]byte, 5000))}} {
				want := plain(f...)
				if got := ids.Of(f[0], f[1], f[2:]...); got != want {
					t.Errorf("%q is %s; want %s", f, got, want)
				}
				route := plain(f[0], f[1], "key", "k", "")
				copy(want[:4], route[:4])
				if got := ids.Keyed(f[0], f[1], "k", f[2:]...); got != want {
					t.Errorf("%q with a key is %s; want %s", f, got, want)
				}
			}
		})
	}
	all.Wait()
}
