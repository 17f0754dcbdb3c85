package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/onward-router/onward/router/folder"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// The buckets of a drawer for the totals and for numbers by id.
var (
	bucketIDs  = []byte("ids") // id -> number
	bucketMeta = []byte("meta")
	keyBytes   = []byte("bytes")
	keyCount   = []byte("count")
)

// openFile opens a file with buckets, or makes one. A file that cannot be read is set aside under another name, as damaged says.
func openFile(name string, buckets ...[]byte) (db *bbolt.DB, damaged error, err error) {
	if db, err = openBuckets(name, buckets); err == nil || errors.Is(err, bbolterrors.ErrTimeout) {
		return db, nil, err
	}
	aside := fmt.Sprintf("%s.damaged-%d", name, time.Now().Unix())
	if e := os.Rename(name, aside); e != nil {
		return nil, nil, errors.Join(err, e)
	}
	damaged = fmt.Errorf("history: %s cannot be read and was set aside as %s: %w", name, aside, err)
	db, err = openBuckets(name, buckets)
	return db, damaged, err
}

func openBuckets(name string, buckets [][]byte) (db *bbolt.DB, err error) {
	defer func() {
		if p := recover(); p != nil { // The library's, on pages that make no sense.
			err = fmt.Errorf("history: %s: %v", name, p)
		}
	}()
	db, err = bbolt.Open(name, folder.FileMode, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, fmt.Errorf("history: %s: %w", name, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, b := range buckets {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func read(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}
