package kafka

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
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

const flowDocument = `
version: 1
functions: { f: { log: f } }
triggers: { t: { flow: { sequence: [ { function: f }, { forkjoin: [ { function: f }, { function: f }, { function: f } ] }, { function: f } ] } } }
`

func registry() *plugin.Registry {
	r := new(plugin.Registry)
	builtin.Register(r)
	log.Register(r)
	return r
}

// claim is an owner's record of its epoch, as the engine reads it.
func claim(partition int, epoch uint64, nonce string) journal.Record {
	rec := engine.Record(journal.Claim, journal.RunID{}, &engine.ClaimFact{Level: journal.Level, Nonce: []byte(nonce)})
	rec.Partition, rec.Epoch = partition, epoch
	return rec
}

func appendAll(t *testing.T, j *Journal, records ...journal.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := j.Append(ctx, records); err != nil {
		t.Fatal(err)
	}
}

// records reads a partition's log from its beginning, as a tenure does.
func (b *bed) records(t *testing.T, partition int) (out []journal.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, last, err := b.client.Range(ctx, TopicsOf(b.prefix).Journal, partition)
	if err != nil {
		t.Fatal(err)
	}
	tn := &tenure{j: &Journal{o: b.options().withDefaults(), producerTime: !b.cluster.IsReal()}, h: &holder{partition: partition}}
	for at := int64(0); at < last; {
		f, err := b.client.Fetch(ctx, kafka.Fetch{Topic: TopicsOf(b.prefix).Journal, Partition: partition, Offset: at})
		if err != nil {
			t.Fatal(err)
		}
		batch, err := tn.batch(&ahead{records: f.Records, next: f.Next})
		if err != nil || len(batch.Parked) > 0 {
			t.Fatal(batch.Parked, err)
		}
		out, at = append(out, batch.Records...), f.Next
	}
	return out
}

// An actor is a router in small: it claims what it owns, answers every invocation, and saves now and then, and at the end.
type actor struct {
	j     *Journal
	every int // records between its snapshots

	mu     sync.Mutex
	claims [2]int              // that counted, by partition
	states [2]map[int64][]byte // what it saved, by partition and offset
	ended  int                 // runs whose end it has folded as the owner
	resume int                 // tenures that began with a snapshot
}

// An acting is one tenure.
type acting struct {
	*actor
	tn          journal.Tenure
	state       *engine.State
	nonce       []byte
	last, saved int64
	since       int
	claimed     bool
	owned       bool
	out         engine.Effects
}

func (a *actor) fold(ctx context.Context, tn journal.Tenure) error {
	x := &acting{actor: a, tn: tn, state: engine.New(registry(), nil), nonce: []byte(rand.Text()), last: -1, saved: -1}
	err := tn.Load(ctx, func(offset int64, from io.Reader) error {
		x.last, x.saved = offset, offset
		a.mu.Lock()
		a.resume++
		a.mu.Unlock()
		return x.state.Load(from)
	})
	if err != nil && !errors.Is(err, journal.ErrNoSnapshot) {
		return err
	}
	for {
		b, err := tn.Read(ctx)
		if err != nil {
			if x.owned && x.last > x.saved {
				_ = x.save(context.WithoutCancel(ctx)) // A lost one is refused, and has its copy here.
			}
			return err
		}
		var write []journal.Record
		for i := range b.Records {
			if write, err = x.one(&b.Records[i], write); err != nil {
				return err
			}
		}
		if b.End && !x.claimed {
			x.claimed = true
			write = append(write, claim(tn.Partition(), x.state.Epoch()+1, string(x.nonce)))
		}
		if x.owned && x.since >= a.every {
			if err := x.save(ctx); err != nil && !errors.Is(err, journal.ErrFenced) && ctx.Err() == nil {
				return err
			}
		}
		if err := a.j.Append(context.WithoutCancel(ctx), write); err != nil {
			return err
		}
	}
}

// one folds a record and adds what follows from it.
func (x *acting) one(rec *journal.Record, write []journal.Record) ([]journal.Record, error) {
	reason, err := x.state.Fold(rec, &x.out)
	if err != nil {
		return nil, err
	}
	x.last = rec.Offset
	x.since++
	if rec.Kind == journal.Claim {
		f, err := engine.DecodeClaim(rec.Payload)
		if err != nil {
			return nil, err
		}
		switch own := bytes.Equal(f.Nonce, x.nonce); {
		case own && reason == engine.Applied:
			x.owned = true
			x.mu.Lock()
			x.claims[rec.Partition]++
			x.mu.Unlock()
			x.state.Outstanding(func(inv *engine.Invocation) { write = append(write, x.answer(inv)) })
		case own:
			write = append(write, claim(rec.Partition, x.state.Epoch()+1, string(x.nonce)))
		case reason == engine.Applied:
			x.owned = false
		}
		return write, nil
	}
	if x.owned {
		for _, inv := range x.out.Send {
			write = append(write, x.answer(inv))
		}
		x.mu.Lock()
		x.ended += len(x.out.Ended)
		x.mu.Unlock()
	}
	return write, nil
}

func (x *acting) answer(inv *engine.Invocation) journal.Record {
	rec := engine.Record(journal.Accepted, inv.Run, &engine.NumbersFact{Numbers: []uint32{inv.N}})
	if inv.Purpose == engine.Call {
		rec = engine.Record(journal.Completion, inv.Run, &engine.CompletionFact{N: inv.N, Outcome: lang.Success(lang.Of(int(inv.N)))})
	}
	rec.Partition, rec.Tenant = x.tn.Partition(), inv.Tenant
	return rec
}

func (x *acting) save(ctx context.Context) error {
	var b bytes.Buffer
	if err := x.state.Save(&b); err != nil {
		return err
	}
	p, at := x.tn.Partition(), x.last
	x.mu.Lock()
	if x.states[p] == nil {
		x.states[p] = make(map[int64][]byte)
	}
	x.states[p][at] = bytes.Clone(b.Bytes())
	x.mu.Unlock()
	x.saved, x.since = at, 0
	return x.tn.Save(ctx, at, func(w io.Writer) error { _, err := w.Write(b.Bytes()); return err }, nil)
}

// TestTwoOwners: a state that two routers fold in turns, from each other's snapshots and their own copies, is to the byte what one fold of the whole log
// makes, wherever it was saved.
func TestTwoOwners(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := newBed(t, c, 2)
		b.dirs = true
		set, findings := config.Parse("flow.yaml", []byte(flowDocument), registry(), nil)
		if len(findings) > 0 {
			t.Fatal(findings)
		}
		def := set.Triggers["t"].Definition
		actors := []*actor{{every: 25}, {every: 40}}
		ctx, cancel := context.WithCancel(context.Background())
		var owning sync.WaitGroup
		leave := func() {
			cancel()
			owning.Wait()
		}
		defer leave()
		for _, a := range actors {
			a.j = b.open(t, b.options())
			owning.Go(func() {
				if err := a.j.Own(ctx, a.fold); err != nil {
					t.Error(err)
				}
			})
		}
		layout := actors[0].j.Layout()
		ids := journal.NewIDs(layout)
		const rounds, runs = 6, 12
		for p := range 2 {
			appendAll(t, actors[0].j, journal.Record{Kind: journal.Define, Level: journal.Level, Partition: p, Payload: engine.DefinePayload(def)})
		}
		for round := range rounds {
			a := actors[round%2]
			for i := range runs {
				id := ids.Of("default", "t", fmt.Sprint(round), fmt.Sprint(i))
				rec := engine.Record(journal.Start, id, &engine.StartFact{Trigger: "t", Digest: def.Digest(), Data: lang.Of(i)})
				rec.Partition, rec.Tenant = layout.Partition(id.Route()), "default"
				appendAll(t, a.j, rec, rec) // An event that comes twice starts one run.
				if i == runs/2 {
					b.move(t, 0, a.j)
					b.move(t, 1, actors[(round/2)%2].j)
				}
			}
		}
		replay := func(p int) (state *engine.State, at map[int64][]byte) {
			state, at = engine.New(registry(), nil), make(map[int64][]byte)
			var out engine.Effects
			for _, rec := range b.records(t, p) {
				if _, err := state.Fold(&rec, &out); err != nil {
					t.Fatal(err)
				}
				var buf bytes.Buffer
				if err := state.Save(&buf); err != nil {
					t.Fatal(err)
				}
				at[rec.Offset] = buf.Bytes()
			}
			return state, at
		}
		ended := func(st *engine.State) bool { return st.Stats().Runs+st.Stats().Waiting == 0 }
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			first, _ := replay(0)
			second, _ := replay(1)
			if ended(first) && ended(second) && first.Epoch() > 0 && second.Epoch() > 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("runs do not end: %+v, %+v", first.Stats(), second.Stats())
			}
		}
		leave()
		compared, claims, resumed := 0, 0, 0
		for p := range 2 {
			state, at := replay(p)
			for _, a := range actors {
				claims += a.claims[p]
				for offset, was := range a.states[p] {
					compared++
					if !bytes.Equal(was, at[offset]) {
						t.Errorf("partition %d: what was saved at %d is not what a replay makes", p, offset)
					}
				}
			}
			if tombstones := state.Stats().Tombstones; tombstones == 0 || !ended(state) {
				t.Errorf("partition %d: %+v", p, state.Stats())
			}
		}
		for _, a := range actors {
			resumed += a.resume
		}
		if compared < 2*rounds || claims < rounds || resumed < rounds/2 {
			t.Errorf("%d states compared, %d claims, %d tenures from a snapshot: too few to show anything", compared, claims, resumed)
		}
	})
}
