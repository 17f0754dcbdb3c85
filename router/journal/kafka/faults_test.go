package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/sinks/log"
)

// An owner runs Own, and hands its tenures to the test once they have read all that there was.
type owner struct {
	t      *testing.T
	j      *Journal
	stop   context.CancelFunc
	ran    chan error
	begun  chan begun
	folded chan journal.Record
}

type begun struct {
	t        journal.Tenure
	snapshot string
	records  int // read after it
	parked   []journal.Parked
}

func own(t *testing.T, j *Journal) *owner {
	ctx, cancel := context.WithCancel(context.Background())
	o := &owner{t: t, j: j, stop: cancel, ran: make(chan error, 1), begun: make(chan begun, 100), folded: make(chan journal.Record, 10_000)}
	go func() { o.ran <- j.Own(ctx, o.fold) }()
	t.Cleanup(func() { _ = o.end() })
	return o
}

func (o *owner) fold(ctx context.Context, tn journal.Tenure) error {
	b := begun{t: tn}
	err := tn.Load(ctx, func(_ int64, r io.Reader) error {
		text, err := io.ReadAll(r)
		b.snapshot = string(text)
		return err
	})
	if err != nil && !errors.Is(err, journal.ErrNoSnapshot) {
		return err
	}
	ended := false
	for {
		batch, err := tn.Read(ctx)
		if err != nil {
			return err
		}
		b.records += len(batch.Records)
		b.parked = append(b.parked, batch.Parked...)
		for _, r := range batch.Records {
			o.folded <- r
		}
		if batch.End && !ended {
			ended = true
			o.begun <- b
		}
	}
}

func (o *owner) end() error {
	o.stop()
	select {
	case err := <-o.ran:
		o.ran <- err
		return err
	case <-time.After(time.Minute):
		o.t.Error("Own does not return")
		return nil
	}
}

// next waits for the next tenure of a partition.
func (o *owner) next(partition int) begun {
	o.t.Helper()
	for deadline := time.After(time.Minute); ; {
		select {
		case b := <-o.begun:
			if b.t.Partition() == partition {
				return b
			}
		case err := <-o.ran:
			o.ran <- err
			o.t.Fatalf("Own returned %v", err)
		case <-deadline:
			o.t.Fatal("no tenure begins")
		}
	}
}

func put(t *testing.T, j *Journal, partition int, texts ...string) {
	t.Helper()
	var records []journal.Record
	for _, s := range texts {
		records = append(records, journal.Record{Kind: journal.Completion, Level: journal.Level, Partition: partition, Payload: []byte(s)})
	}
	if err := j.Append(context.Background(), records); err != nil {
		t.Fatal(err)
	}
}

func save(tn journal.Tenure, offset int64, text string) error {
	return tn.Save(context.Background(), offset, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}, nil)
}

func (b *bed) committed(t *testing.T, partition int) kafka.Commit {
	t.Helper()
	had, err := b.client.Committed(context.Background(), b.prefix, TopicsOf(b.prefix).Journal, partition)
	if err != nil {
		t.Fatal(err)
	}
	return had[partition]
}

// TestZombie is an owner that does not hear that the group was formed anew: its records are in the log with their old epoch, for the fold to refuse; its
// snapshot is refused by the coordinator, and the position does not go back.
func TestZombie(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := newBed(t, c, 2)
		first := own(t, b.open(t, b.options()))
		old := first.next(0)
		put(t, first.j, 0, "1", "2", "3")
		if err := save(old.t, 1, "two"); err != nil {
			t.Fatal(err)
		}
		first.j.mu.Lock()
		g := first.j.group
		first.j.mu.Unlock()
		g.mu.Lock()
		g.deaf = true
		g.mu.Unlock()
		second := own(t, b.open(t, b.options()))
		b.move(t, 0, second.j)
		now := second.next(0)
		if now.snapshot != "two" || now.records != 1 {
			t.Errorf("the second owner began with %q and %d records", now.snapshot, now.records)
		}
		stale := journal.Record{Kind: journal.TimedOut, Level: journal.Level, Epoch: 1, Payload: []byte("stale")}
		if err := first.j.Append(context.Background(), []journal.Record{stale}); err != nil {
			t.Errorf("a zombie's append: %v", err)
		}
		if err := save(now.t, 3, "four"); err != nil {
			t.Fatal(err)
		}
		was := b.committed(t, 0)
		if err := save(old.t, 2, "a zombie's"); !errors.Is(err, journal.ErrFenced) {
			t.Errorf("a zombie's save: %v", err)
		}
		if err := old.t.Trim(context.Background(), 1); !errors.Is(err, journal.ErrFenced) {
			t.Errorf("a zombie's trim: %v", err)
		}
		old.t.(journal.Marker).Mark(1, false)
		time.Sleep(2*committing + 100*time.Millisecond) // The zombie tries to commit it meanwhile.
		if is := b.committed(t, 0); is.Offset < was.Offset || is.Metadata != was.Metadata {
			t.Errorf("committed %+v, before the zombie %+v", is, was)
		}
	})
}

// TestCommitsExpire: the group is forgotten, the snapshots are not.
func TestCommitsExpire(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := newBed(t, c, 1)
		o := own(t, b.open(t, b.options()))
		tn := o.next(0)
		put(t, o.j, 0, "1", "2", "3", "4")
		for i, text := range []string{"one", "two", "three"} {
			if err := save(tn.t, int64(i), text); err != nil {
				t.Fatal(err)
			}
		}
		if err := tn.t.Trim(context.Background(), 1); err != nil {
			t.Fatal(err)
		}
		if err := o.end(); err != nil {
			t.Fatal(err)
		}
		j := b.open(t, b.options())
		j.o.Prefix += "-anew" // A group that has committed nothing, on the same topics.
		again := own(t, j)
		if got := again.next(0); got.snapshot != "three" || got.records != 1 {
			t.Errorf("%q and %d records", got.snapshot, got.records)
		}
		if err := again.end(); err != nil {
			t.Fatal(err)
		}
		_, last, err := b.client.Range(context.Background(), j.topics.Snapshots, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.client.DeleteRecords(context.Background(), j.topics.Snapshots, 0, last); err != nil {
			t.Fatal(err)
		}
		lost := own(t, b.open(t, b.options()))
		select {
		case err := <-lost.ran:
			lost.ran <- err
			if !errors.Is(err, journal.ErrLost) || !strings.Contains(err.Error(), "no complete snapshot") {
				t.Errorf("without snapshots and with a trimmed log: %v", err)
			}
		case <-time.After(2 * time.Minute):
			t.Error("it goes on without the records that are gone")
		}
	})
}

// TestHalfASnapshot is passed over for the one before.
func TestHalfASnapshot(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := newBed(t, c, 1)
		o := own(t, b.open(t, b.options()))
		tn := o.next(0)
		put(t, o.j, 0, "1", "2", "3")
		if err := save(tn.t, 0, "whole"); err != nil {
			t.Fatal(err)
		}
		big := strings.Repeat("x", 3*chunkBytes)
		half := errors.New("the writer dies")
		if err := tn.t.Save(context.Background(), 1, func(w io.Writer) error {
			_, _ = io.WriteString(w, big)
			return half
		}, nil); !errors.Is(err, half) {
			t.Errorf("%v", err)
		}
		if err := o.end(); err != nil {
			t.Fatal(err)
		}
		if got := own(t, b.open(t, b.options())).next(0); got.snapshot != "whole" || got.records != 2 {
			t.Errorf("%.20q and %d records", got.snapshot, got.records)
		}
	})
}

// TestWarmTakeOver: a partition that comes back is resumed from this machine's copy, though the cluster's has gone, and the group prefers who has one.
func TestWarmTakeOver(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := newBed(t, c, 2)
		b.dirs = true
		o := b.options()
		first := own(t, b.open(t, o))
		tn := first.next(0)
		put(t, first.j, 0, "1", "2", "3")
		if err := save(tn.t, 2, "three"); err != nil {
			t.Fatal(err)
		}
		if err := first.end(); err != nil {
			t.Fatal(err)
		}
		if _, err := b.client.DeleteRecords(context.Background(), first.j.topics.Snapshots, 0, -1); err != nil {
			t.Fatal(err)
		}
		if _, err := b.client.DeleteRecords(context.Background(), first.j.topics.Journal, 0, 2); err != nil {
			t.Fatal(err)
		}
		_ = first.j.Close()
		again := b.open(t, o) // The same folder.
		if !slices.Equal(again.local.partitions(), []int{0}) {
			t.Errorf("warm are %v", again.local.partitions())
		}
		if got := own(t, again).next(0); got.snapshot != "three" || got.records != 0 {
			t.Errorf("%q and %d records", got.snapshot, got.records)
		}
	})
}

// TestLeaving: after a goodbye the others have the partitions at once, after a silent end within the session.
func TestLeaving(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := newBed(t, c, 2)
		b.steerNone()
		first, second := own(t, b.open(t, b.options())), own(t, b.open(t, b.options()))
		share := func(o *owner, n int) {
			t.Helper()
			for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
				if mine, ok := o.j.Assigned(); ok && len(mine) == n {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("it does not get %d partitions", n)
				}
			}
		}
		share(first, 1)
		share(second, 1)
		peers, err := first.j.Peers(context.Background())
		if err != nil || len(peers) != 2 || len(peers[0].Partitions)+len(peers[1].Partitions) != 2 || peers[0].Self == peers[1].Self {
			t.Errorf("%+v, %v", peers, err)
		}
		begin := time.Now()
		if err := second.end(); err != nil {
			t.Fatal(err)
		}
		share(first, 2)
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("after a goodbye it took %s", took)
		}
	})
}

// TestFoldOverKafka plays runs over two owners in turn; a replay of the log gives the same bytes.
func TestFoldOverKafka(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := newBed(t, c, 1)
		reg := new(plugin.Registry)
		builtin.Register(reg)
		log.Register(reg)
		set, findings := config.Parse("t.yaml", []byte("version: 1\nfunctions: { f: { log: f } }\ntriggers: { t: { flow: { map: { items: 20, do: { function: f } } } } }\n"), reg, nil)
		if len(findings) > 0 {
			t.Fatal(findings)
		}
		def := set.Triggers["t"].Definition
		j := b.open(t, b.options())
		start := engine.Record(journal.Start, journal.RunID{1}, &engine.StartFact{Trigger: "t", Digest: def.Digest(), Data: lang.Of(1)})
		if err := j.Append(context.Background(), []journal.Record{{Kind: journal.Define, Level: journal.Level, Payload: engine.DefinePayload(def)}, start}); err != nil {
			t.Fatal(err)
		}
		var state []byte
		for life := range 3 {
			state = foldOnce(t, j, reg, life < 2)
			_ = j.Close()
			j = b.open(t, b.options())
		}
		fresh := engine.New(reg, nil)
		var out engine.Effects
		f, err := b.client.Fetch(context.Background(), kafka.Fetch{Topic: j.topics.Journal, Offset: 0, MaxBytes: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		for i := range f.Records {
			r, err := journal.DecodeRecord(f.Records[i].Value)
			if err != nil {
				t.Fatal(err)
			}
			r.Time = f.Records[i].Time.UTC()
			if _, err := fresh.Fold(&r, &out); err != nil {
				t.Fatal(err)
			}
		}
		var straight bytes.Buffer
		if err := fresh.Save(&straight); err != nil || !bytes.Equal(straight.Bytes(), state) {
			t.Errorf("a straight replay differs: %v", err)
		}
	})
}

// foldOnce folds to the end, saves a snapshot, and answers a few invocations for the next life to read.
func foldOnce(t *testing.T, j *Journal, reg *plugin.Registry, answer bool) []byte {
	t.Helper()
	var state []byte
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := j.Own(ctx, func(ctx context.Context, tn journal.Tenure) error {
		s := engine.New(reg, nil)
		var out engine.Effects
		last := int64(-1)
		if err := tn.Load(ctx, func(offset int64, r io.Reader) error {
			last = offset
			return s.Load(r)
		}); err != nil && !errors.Is(err, journal.ErrNoSnapshot) {
			return err
		}
		for {
			b, err := tn.Read(ctx)
			if err != nil {
				return err
			}
			for i := range b.Records {
				if _, err := s.Fold(&b.Records[i], &out); err != nil {
					return err
				}
				last = b.Records[i].Offset
			}
			if b.End {
				break
			}
		}
		var buf bytes.Buffer
		if err := s.Save(&buf); err != nil {
			return err
		}
		state = buf.Bytes()
		if err := tn.Save(ctx, last, func(w io.Writer) error { _, err := w.Write(state); return err }, nil); err != nil {
			return err
		}
		if answer {
			var records []journal.Record
			s.Outstanding(func(inv *engine.Invocation) {
				if len(records) < 5 {
					records = append(records, engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Success(lang.Of(fmt.Sprint(inv.N)))}))
				}
			})
			if err := j.Append(ctx, records); err != nil {
				return err
			}
		}
		cancel()
		return nil
	})
	if err != nil || state == nil {
		t.Fatal(len(state), err)
	}
	return state
}

// TestSettingsThatLose are refused by name; more partitions than the layout has are ignored.
func TestSettingsThatLose(t *testing.T) {
	t.Parallel()
	b := newBed(t, kafkatest.Shared(t), 2)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for setting, value := range map[string]string{"retention.ms": "3600000", "cleanup.policy": "compact", "message.timestamp.type": "CreateTime", "max.message.bytes": "1000000"} {
		b.alter(t, setting, value)
		if _, err := Open(ctx, b.options()); err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("%s=%s: %v", setting, value, err)
		}
		b.alter(t, setting, map[string]string{"retention.ms": "-1", "cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime", "max.message.bytes": "16777216"}[setting])
	}
	b.open(t, b.options())
}
