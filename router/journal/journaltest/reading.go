package journaltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/router/journal"
)

// patience is how long the suite waits for what must come.
const patience = 60 * time.Second

// A reading is what one partition gave to one tenure, up to its end: the snapshot, and the records after it.
type reading struct {
	snapshot string
	at       int64 // the snapshot's offset; -1 is none
	records  []journal.Record
	parked   []journal.Parked
	next     int64
}

func (r *reading) payloads() []string {
	out := make([]string, 0, len(r.records))
	for i := range r.records {
		out = append(out, string(r.records[i].Payload))
	}
	return out
}

// past owns the journal until every partition's end was said.
func past(t *testing.T, j journal.Journal) []reading {
	t.Helper()
	out, err := read(j, nil)
	if err != nil {
		t.Fatalf("reading the journal: %v", err)
	}
	return out
}

// read owns the journal until every partition's end was said; then, before its folds return, it hands each tenure to then.
func read(j journal.Journal, then func(t journal.Tenure, r *reading) error) ([]reading, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var mu sync.Mutex
	out, ended := make([]reading, j.Layout().Partitions), make(map[int]bool)
	var failed error
	err := j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
		r, err := upToEnd(ctx, tn)
		if err == nil && then != nil {
			err = then(tn, &r)
		}
		mu.Lock()
		defer mu.Unlock()
		out[tn.Partition()], ended[tn.Partition()] = r, true
		if failed = errors.Join(failed, err); failed != nil || len(ended) == len(out) {
			cancel()
		}
		return nil
	})
	if err == nil && len(ended) < len(out) && failed == nil {
		err = fmt.Errorf("only %d of %d partitions came to their end in %s", len(ended), len(out), patience)
	}
	return out, errors.Join(err, failed)
}

// upToEnd loads and reads until End, and checks each batch's form.
func upToEnd(ctx context.Context, tn journal.Tenure) (reading, error) {
	r := reading{at: -1}
	if err := load(ctx, tn, &r); err != nil {
		return r, err
	}
	for {
		b, err := tn.Read(ctx)
		if err != nil {
			return r, err
		}
		if err := r.add(tn, &b); err != nil || b.End {
			return r, err
		}
	}
}

func load(ctx context.Context, tn journal.Tenure, r *reading) error {
	err := tn.Load(ctx, func(offset int64, from io.Reader) error {
		b, err := io.ReadAll(from)
		r.snapshot, r.at = string(b), offset
		return err
	})
	if errors.Is(err, journal.ErrNoSnapshot) {
		return nil
	}
	return err
}

// add copies a batch and checks what holds for every one.
func (r *reading) add(tn journal.Tenure, b *journal.Batch) error {
	last, lastTime := r.at, time.Time{}
	if n := len(r.records); n > 0 {
		last, lastTime = r.records[n-1].Offset, r.records[n-1].Time
	}
	for _, rec := range b.Records {
		switch {
		case rec.Partition != tn.Partition():
			return fmt.Errorf("partition %d was given a record of %d", tn.Partition(), rec.Partition)
		case rec.Offset <= last:
			return fmt.Errorf("partition %d: offset %d comes after %d", tn.Partition(), rec.Offset, last)
		case rec.Time.Before(lastTime):
			return fmt.Errorf("partition %d: the time of offset %d is %s before the one of %d", tn.Partition(), rec.Offset, lastTime.Sub(rec.Time), last)
		}
		last, lastTime = rec.Offset, rec.Time
		rec.Payload = bytes.Clone(rec.Payload)
		r.records = append(r.records, rec)
	}
	if b.Next <= last && (len(b.Records) > 0 || b.End) {
		return fmt.Errorf("partition %d: next is %d after a record at offset %d", tn.Partition(), b.Next, last)
	}
	r.parked = append(r.parked, b.Parked...)
	r.next = b.Next
	return nil
}

// record is a completion with a payload.
func record(partition int, payload string) journal.Record {
	return journal.Record{Kind: journal.Completion, Level: journal.Level, Partition: partition, Tenant: "tenant", Payload: []byte(payload)}
}

func start(partition int, payload string) journal.Record {
	r := record(partition, payload)
	r.Kind = journal.Start
	return r
}

func put(t *testing.T, j journal.Journal, records ...journal.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := j.Append(ctx, records); err != nil {
		t.Fatalf("append: %v", err)
	}
}

// fill appends n records in turn to all partitions, one a call, and adds them to want.
func fill(t *testing.T, j journal.Journal, want [][]string, n int, word string) {
	t.Helper()
	for i := range n {
		p, s := i%len(want), fmt.Sprintf("%s %d", word, i)
		put(t, j, record(p, s))
		want[p] = append(want[p], s)
	}
}

func expect(t *testing.T, got []reading, want [][]string) {
	t.Helper()
	for p := range want {
		if g := got[p].payloads(); !slices.Equal(g, want[p]) {
			t.Errorf("partition %d: read %s, want %s", p, short(g), short(want[p]))
		}
	}
}

func short(s []string) string {
	if len(s) > 12 {
		return fmt.Sprintf("%d: %.60q ... %.60q", len(s), s[:3], s[len(s)-3:])
	}
	return fmt.Sprintf("%d: %.60q", len(s), s)
}

func save(tn journal.Tenure, offset int64, state string) error {
	return tn.Save(context.Background(), offset, func(w io.Writer) error { _, err := io.WriteString(w, state); return err }, nil)
}

// count is a state worth a snapshot: how many records of the partition were folded.
func count(r *reading) (n int) {
	_, _ = fmt.Sscan(r.snapshot, &n)
	return n + len(r.records)
}

// owning runs Own beside the law and ends it with the law.
type owning struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan error
}

func own(t *testing.T, j journal.Journal, fold func(context.Context, journal.Tenure) error) *owning {
	ctx, cancel := context.WithCancel(context.Background())
	o := &owning{t: t, cancel: cancel, done: make(chan error, 1)}
	go func() { o.done <- j.Own(ctx, fold) }()
	return o
}

// end ends Own and returns its error.
func (o *owning) end() error {
	o.t.Helper()
	o.cancel()
	return wait(o.t, o.done, "Own's return")
}

// wait waits for a value with patience.
func wait[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("waited %s in vain for %s", patience, what)
	}
	return v
}
