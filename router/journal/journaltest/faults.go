package journaltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/onward-router/onward/router/journal"
)

// A rival is one of two routers that contend for partition 0.
type rival struct {
	j      journal.Journal
	begun  chan journal.Tenure // of partition 0
	over   chan error
	folded chan folded
	loaded chan reading
	o      *owning
}

// A folded is a record and the tenure that read it: a zombie's and its router's next one may read side by side.
type folded struct {
	by journal.Tenure
	journal.Record
}

// next waits for the next record that a tenure reads.
func (r *rival) next(t *testing.T, by journal.Tenure) journal.Record {
	t.Helper()
	for {
		if f := wait(t, r.folded, "a record"); f.by == by {
			return f.Record
		}
	}
}

func newRival(t *testing.T, j journal.Journal) *rival {
	r := &rival{j: j, begun: make(chan journal.Tenure, 16), over: make(chan error, 16), folded: make(chan folded, 1000), loaded: make(chan reading, 16)}
	r.o = own(t, j, r.fold)
	return r
}

func (r *rival) fold(ctx context.Context, tn journal.Tenure) error {
	if tn.Partition() != 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	seen, err := upToEnd(ctx, tn)
	if err != nil {
		return err
	}
	r.loaded <- seen
	r.begun <- tn
	for {
		b, err := tn.Read(ctx)
		if err != nil {
			r.over <- err
			return err
		}
		seen.records = nil
		if err := seen.add(tn, &b); err != nil {
			r.over <- err
			return err
		}
		for _, rec := range seen.records {
			r.folded <- folded{tn, rec}
		}
	}
}

// takes makes a rival the owner of partition 0.
func (r *rival) takes(t *testing.T, h *Harness) (journal.Tenure, reading) {
	t.Helper()
	h.Move(t, 0, r.j)
	return wait(t, r.begun, "the new owner's tenure"), wait(t, r.loaded, "what it loaded")
}

func claim(epoch uint64) journal.Record {
	return journal.Record{Kind: journal.Claim, Level: journal.Level, Epoch: epoch, Payload: []byte("nonce")}
}

func fired(epoch uint64, what string) journal.Record {
	return journal.Record{Kind: journal.Fired, Level: journal.Level, Epoch: epoch, Payload: []byte(what)}
}

// zombie lets an owner whose tenure is over write on: its records are there, in their order and with its epoch, for the fold to refuse; what would be
// state - snapshot and trim - the journal refuses.
func zombie(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	first := newRival(t, h.Journal)
	old, _ := first.takes(t, &h)
	put(t, first.j, claim(1), fired(1, "in its tenure"))
	claimed := first.next(t, old)
	first.next(t, old)
	if err := save(old, claimed.Offset, "first"); err != nil {
		t.Fatalf("a save of the owner: %v", err)
	}
	second := newRival(t, h.Peer(t))
	current, seen := second.takes(t, &h)
	if seen.snapshot != "first" || !slices.Equal(seen.payloads(), []string{"in its tenure"}) {
		t.Errorf("the second owner began with %q and %s", seen.snapshot, short(seen.payloads()))
	}
	put(t, second.j, claim(2))
	put(t, first.j, fired(1, "a zombie's"))
	put(t, second.j, fired(2, "the owner's"))
	put(t, first.j, fired(1, "a zombie's again"))
	want := []journal.Record{claim(2), fired(1, "a zombie's"), fired(2, "the owner's"), fired(1, "a zombie's again")}
	var last journal.Record
	for _, w := range want {
		last = second.next(t, current)
		if last.Kind != w.Kind || last.Epoch != w.Epoch || string(last.Payload) != string(w.Payload) {
			t.Errorf("the owner read %s %d %q, want %s %d %q", last.Kind, last.Epoch, last.Payload, w.Kind, w.Epoch, w.Payload)
		}
	}
	if err := save(old, last.Offset, "a zombie's"); !errors.Is(err, journal.ErrFenced) {
		t.Errorf("a zombie's save: %v", err)
	}
	if err := old.Trim(context.Background(), claimed.Offset); !errors.Is(err, journal.ErrFenced) {
		t.Errorf("a zombie's trim: %v", err)
	}
	wait(t, first.over, "the former tenure's end")
	if err := save(current, last.Offset, "second"); err != nil {
		t.Errorf("the owner's save after a zombie's: %v", err)
	}
	put(t, first.j, fired(1, "after the save"))
	if err := errors.Join(first.o.end(), second.o.end()); err != nil {
		t.Error(err)
	}
	r := past(t, second.j)[0]
	if r.snapshot != "second" || !slices.Equal(r.payloads(), []string{"after the save"}) || r.records[0].Epoch != 1 {
		t.Errorf("afterwards: %q and %s", r.snapshot, short(r.payloads()))
	}
}

// changesHands moves a partition to and fro while records come: each owner begins where the last snapshot was, and none is missed or seen twice.
func changesHands(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	rivals := []*rival{newRival(t, h.Journal)}
	total := 0
	for round := range 6 {
		if round == 1 {
			rivals = append(rivals, newRival(t, h.Peer(t)))
		}
		r := rivals[round%2]
		tn, seen := r.takes(t, &h)
		if n := count(&seen); n != total {
			t.Fatalf("round %d: the owner began with %d records of %d", round, n, total)
		}
		for i := range 20 {
			put(t, rivals[i%len(rivals)].j, record(0, fmt.Sprintf("%d %d", round, i)))
			rec := r.next(t, tn)
			if string(rec.Payload) != fmt.Sprintf("%d %d", round, i) {
				t.Fatalf("round %d: read %q where %d is due", round, rec.Payload, i)
			}
			if total++; i == 10 {
				if err := save(tn, rec.Offset, fmt.Sprint(total)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, r := range rivals {
		if err := r.o.end(); err != nil {
			t.Error(err)
		}
	}
	if r := past(t, h.Journal)[0]; count(&r) != total {
		t.Errorf("afterwards: %d records of %d", count(&r), total)
	}
}

// failedSync acknowledges nothing that a failed sync may have lost. What was acknowledged before is there, and so is what is after the next open.
func failedSync(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	want := make([][]string, h.Journal.Layout().Partitions)
	fill(t, h.Journal, want, 20, "before")
	h.FailSync(t)
	if err := h.Journal.Append(context.Background(), []journal.Record{record(0, "in doubt")}); err == nil {
		t.Error("a record was acknowledged whose sync failed")
	}
	acknowledged := h.Journal.Append(context.Background(), []journal.Record{record(0, "behind it")}) == nil
	j := h.Reopen(t, h.Journal)
	put(t, j, record(0, "next life"))
	got := past(t, j)
	expect(t, got[1:], want[1:])
	rest := got[0].payloads()
	if len(rest) < len(want[0]) || !slices.Equal(rest[:len(want[0])], want[0]) {
		t.Fatalf("read %s, acknowledged %s", short(rest), short(want[0]))
	}
	rest = rest[len(want[0]):]
	if len(rest) > 0 && rest[0] == "in doubt" {
		rest = rest[1:]
	}
	if acknowledged && (len(rest) == 0 || rest[0] != "behind it") {
		t.Error("a record that was acknowledged after the failed sync is not there")
	}
	if len(rest) > 0 && rest[0] == "behind it" {
		rest = rest[1:]
	}
	if !slices.Equal(rest, []string{"next life"}) {
		t.Errorf("read %s at the end", short(rest))
	}
}

func fullAndFree(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	put(t, h.Journal, start(0, "start before"))
	h.Fill(t, true)
	if err := h.Journal.Append(context.Background(), []journal.Record{record(0, "mixed"), start(1, "mixed")}); !errors.Is(err, journal.ErrFull) {
		t.Errorf("records with a start among them on a full journal: %v", err)
	}
	for _, row := range journal.Table {
		err := h.Journal.Append(context.Background(), []journal.Record{specimen(row, 1)})
		if row.Refusable != errors.Is(err, journal.ErrFull) || !row.Refusable && err != nil {
			t.Errorf("%s on a full journal: %v", row.Name, err)
		}
	}
	h.Fill(t, false)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := h.Journal.Append(ctx, []journal.Record{start(0, "start after")})
		if err == nil {
			break
		}
		if !errors.Is(err, journal.ErrFull) {
			t.Fatalf("a start after there is space again: %v", err)
		}
	}
	got := past(t, h.Journal)
	if !slices.Equal(got[0].payloads(), []string{"start before", "start after"}) {
		t.Errorf("of what was refused something was written: %s", short(got[0].payloads()))
	}
	refusable := 0
	for _, row := range journal.Table {
		if row.Refusable {
			refusable++
		}
	}
	if n := len(got[1].records); n != len(journal.Table)-refusable {
		t.Errorf("%d records of %d kinds that are never refused", n, len(journal.Table)-refusable)
	}
}

// tornAtEveryByte cuts the last append at each of its bytes: it is gone whole, what was before it is there, and what comes after finds its place.
func tornAtEveryByte(t *testing.T, h Harness, open func(*testing.T) Harness) {
	cuts := 0
	for n := 1; ; n++ {
		put(t, h.Journal, record(0, "first"), record(1, "second"))
		put(t, h.Journal, record(0, "third"))
		put(t, h.Journal, record(0, "torn"))
		j, ok := h.Tear(t, n)
		if !ok {
			break
		}
		cuts++
		put(t, j, record(0, "new"))
		for life := range 2 {
			got := past(t, j)
			if !slices.Equal(got[0].payloads(), []string{"first", "third", "new"}) || !slices.Equal(got[1].payloads(), []string{"second"}) {
				t.Fatalf("cut by %d bytes, life %d: read %s and %s", n, life, short(got[0].payloads()), short(got[1].payloads()))
			}
			if h.Reopen == nil {
				break
			}
			j = h.Reopen(t, j)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		h = open(t)
	}
	if cuts == 0 {
		t.Error("the harness tore nothing")
	}
	t.Logf("%d cuts", cuts)
}
