package kafka

import (
	"bytes"
	"context"
	"maps"
	"strings"

	"github.com/onward-router/onward/config/kafka"
)

// keptKey begins the keys of what routers keep for one another; layouts have another.
const keptKey = "kept/"

// kept is what was read of it so far.
type kept struct {
	turn  chan struct{} // the lock of what follows
	next  int64
	began bool
	by    map[string][]byte
}

// Keep keeps something under a key, for all routers that share the journal, in its compacted topic.
func (j *Journal) Keep(ctx context.Context, key string, value []byte) error {
	_, err := j.producer.Write(ctx, j.topics.Meta, 0, kafka.Record{Key: []byte(keptKey + key), Value: value})
	return err
}

// Kept returns what is kept, the last of each key. It reads what has come since it was asked before.
func (j *Journal) Kept(ctx context.Context) (map[string][]byte, error) {
	select {
	case j.kept.turn <- struct{}{}:
		defer func() { <-j.kept.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	k := &j.kept
	first, last, err := j.o.Client.Range(ctx, j.topics.Meta, 0)
	if err != nil {
		return nil, missing(err)
	}
	if !k.began || k.next < first || k.next > last {
		k.began, k.next, k.by = true, first, make(map[string][]byte)
	}
	for k.next < last {
		f, err := j.o.Client.Fetch(ctx, kafka.Fetch{Topic: j.topics.Meta, Offset: k.next})
		if err != nil {
			return nil, err
		}
		for i := range f.Records {
			if name, is := strings.CutPrefix(string(f.Records[i].Key), keptKey); is {
				k.by[name] = bytes.Clone(f.Records[i].Value)
			}
		}
		k.next = f.Next
	}
	return maps.Clone(k.by), nil
}
