package memory_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/journal/memory"
)

func record(partition int, payload string) journal.Record {
	return journal.Record{Kind: journal.Completion, Level: journal.Level, Partition: partition, Payload: []byte(payload)}
}

// tenure owns a log in one fold, and hands partition 0's tenure to do.
func tenure(t *testing.T, j *memory.Journal, do func(ctx context.Context, tn journal.Tenure) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var failed error
	err := j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
		if tn.Partition() == 0 {
			failed = do(ctx, tn)
			cancel()
		}
		return nil
	})
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
}

// payloads reads partition 0 to its end.
func payloads(t *testing.T, j *memory.Journal) (out []string) {
	t.Helper()
	tenure(t, j, func(ctx context.Context, tn journal.Tenure) error {
		for {
			b, err := tn.Read(ctx)
			for i := range b.Records {
				out = append(out, string(b.Records[i].Payload))
			}
			for _, p := range b.Parked {
				out = append(out, fmt.Sprintf("parked %s: %s", p.Bytes, p.Reason))
			}
			if err != nil || b.End {
				return err
			}
		}
	})
	return out
}

func TestAppendFaults(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, c := range []struct {
		fault       error
		first, then []string // of partition 0, after the append that met the fault and after the next one
		other       int      // records of partition 1
	}{
		{broken, []string{"a"}, []string{"a", "d"}, 1},
		{memory.ErrAckLost, []string{"a", "b", "c"}, []string{"a", "b", "c", "d"}, 1},
		{memory.ErrLate, []string{"a"}, []string{"a", "b", "c", "d"}, 1},
	} {
		j := memory.New(memory.Options{Partitions: 2})
		j.Inject(func(op memory.Op) error {
			if op.Act == memory.Append && string(op.Record.Payload) == "b" {
				return fmt.Errorf("record %q: %w", op.Record.Payload, c.fault)
			}
			return nil
		})
		err := j.Append(context.Background(), []journal.Record{record(0, "a"), record(0, "b"), record(1, "other"), record(0, "c")})
		if !errors.Is(err, c.fault) {
			t.Errorf("%v: the append: %v", c.fault, err)
		}
		if got := payloads(t, j); !slices.Equal(got, c.first) {
			t.Errorf("%v: read %v, want %v", c.fault, got, c.first)
		}
		j.Inject(nil)
		if err := j.Append(context.Background(), []journal.Record{record(0, "d")}); err != nil {
			t.Error(err)
		}
		if got := payloads(t, j); !slices.Equal(got, c.then) {
			t.Errorf("%v: afterwards read %v, want %v", c.fault, got, c.then)
		}
	}
}

func TestTenureFaults(t *testing.T) {
	t.Parallel()
	j := memory.New(memory.Options{Partitions: 1})
	if err := j.Append(context.Background(), []journal.Record{record(0, "a"), record(0, "b")}); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	var act memory.Act
	var fault error
	j.Inject(func(op memory.Op) error {
		if op.Act == act {
			return fault
		}
		return nil
	})
	write := func(state string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, state); return err }
	}
	tenure(t, j, func(ctx context.Context, tn journal.Tenure) error {
		act, fault = memory.Read, broken
		if _, err := tn.Read(ctx); !errors.Is(err, broken) {
			t.Errorf("read: %v", err)
		}
		act = memory.Save
		if err := tn.Save(ctx, 0, write("kept out"), nil); !errors.Is(err, broken) {
			t.Errorf("save: %v", err)
		}
		fault = memory.ErrAckLost
		if err := tn.Save(ctx, 0, write("saved"), nil); !errors.Is(err, memory.ErrAckLost) {
			t.Errorf("save without an answer: %v", err)
		}
		act, fault = memory.Trim, memory.ErrAckLost
		if err := tn.Trim(ctx, 0); !errors.Is(err, memory.ErrAckLost) {
			t.Errorf("trim without an answer: %v", err)
		}
		return nil
	})
	tenure(t, j, func(ctx context.Context, tn journal.Tenure) error {
		act, fault = memory.Load, broken
		if err := tn.Load(ctx, nil); !errors.Is(err, broken) {
			t.Errorf("load: %v", err)
		}
		act = 0
		return tn.Load(ctx, func(offset int64, r io.Reader) error {
			b, err := io.ReadAll(r)
			if offset != 0 || string(b) != "saved" {
				t.Errorf("loaded %q at %d", b, offset)
			}
			return err
		})
	})
	j.DamageSnapshot(0)
	tenure(t, j, func(ctx context.Context, tn journal.Tenure) error {
		if err := tn.Load(ctx, nil); !errors.Is(err, journal.ErrLost) {
			t.Errorf("load where the only snapshot is damaged and the log was trimmed: %v", err)
		}
		return nil
	})
}

func TestDamageIsParkedAndPayloadsAreTakenBack(t *testing.T) {
	t.Parallel()
	j := memory.New(memory.Options{Partitions: 1, MaxBatch: 1})
	if err := j.Append(context.Background(), []journal.Record{record(0, "a"), record(0, "b"), record(0, "c")}); err != nil {
		t.Fatal(err)
	}
	if !j.Damage(0, 1, "a flipped bit") || j.Damage(0, 7, "nothing there") {
		t.Error("damage did not say what it found")
	}
	if got := payloads(t, j); !slices.Equal(got, []string{"a", "parked b: a flipped bit", "c"}) {
		t.Errorf("read %v", got)
	}
	tenure(t, j, func(ctx context.Context, tn journal.Tenure) error {
		b, err := tn.Read(ctx)
		if err != nil {
			return err
		}
		kept := b.Records[0].Payload
		if _, err = tn.Read(ctx); string(kept) == "a" {
			t.Error("a payload that was kept beyond the next Read is as it was")
		}
		return err
	})
}

// TestSnapshotsAreAskedFor has one busy partition and one that is quiet: both are asked, the quiet one at the log's end.
func TestSnapshotsAreAskedFor(t *testing.T) {
	t.Parallel()
	j := memory.New(memory.Options{Partitions: 2, SaveEvery: 10})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	asked, done := make(chan [2]int64, 100), make(chan error, 1)
	go func() {
		done <- j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
			for {
				b, err := tn.Read(ctx)
				if err != nil {
					return err
				}
				if b.Save {
					if err := tn.Save(ctx, b.Next-1, func(io.Writer) error { return nil }, nil); err != nil {
						return err
					}
					asked <- [2]int64{int64(tn.Partition()), b.Next}
				}
			}
		})
	}()
	for round := range int64(3) {
		for range 10 {
			if err := j.Append(ctx, []journal.Record{record(0, "a")}); err != nil {
				t.Fatal(err)
			}
		}
		a, b := <-asked, <-asked
		if a[0]+b[0] != 1 || a[1] != 10*(round+1) || b[1] != a[1] {
			t.Errorf("round %d: asked for %v and %v", round, a, b)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestZombieChangesNothing folds what a zombie wrote behind the next owner's claim: its fenced records are stale, what anyone may write is not.
func TestZombieChangesNothing(t *testing.T) {
	t.Parallel()
	j := memory.New(memory.Options{Partitions: 1})
	claim := func(epoch uint64) journal.Record {
		r := engine.Record(journal.Claim, journal.RunID{}, &engine.ClaimFact{Level: journal.Level, Nonce: []byte{byte(epoch)}})
		r.Epoch = epoch
		return r
	}
	owners := func(epoch uint64) (out []journal.Record) {
		for _, row := range journal.Table {
			if row.Fenced {
				out = append(out, journal.Record{Kind: row.Kind, Level: journal.Level, Epoch: epoch})
			}
		}
		return out
	}
	zombie, owner := j, j.Peer()
	for _, c := range []struct {
		by      *memory.Journal
		records []journal.Record
	}{
		{zombie, []journal.Record{claim(1)}}, {owner, []journal.Record{claim(2)}}, {zombie, owners(1)}, {owner, owners(2)}, {zombie, []journal.Record{claim(2)}},
	} {
		if err := c.by.Append(context.Background(), c.records); err != nil {
			t.Fatal(err)
		}
	}
	state, stale := engine.New(new(plugin.Registry), nil), 0
	tenure(t, owner, func(ctx context.Context, tn journal.Tenure) error {
		b, err := tn.Read(ctx)
		if err != nil {
			return err
		}
		var out engine.Effects
		for i := range b.Records {
			r := &b.Records[i]
			reason, err := state.Fold(r, &out)
			if err != nil {
				return err
			}
			wrong := r.Epoch == 1 && r.Kind != journal.Claim || i == len(b.Records)-1
			if wrong != (reason == engine.Stale) {
				t.Errorf("%s of epoch %d: %s", r.Kind, r.Epoch, reason)
			}
			if reason == engine.Stale {
				stale++
			}
		}
		return nil
	})
	if state.Epoch() != 2 || stale != len(owners(1))+1 {
		t.Errorf("epoch %d, %d stale records", state.Epoch(), stale)
	}
}
