package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/triggers"
	triggerkafka "github.com/onward-router/onward/triggers/kafka"
	"github.com/twmb/franz-go/pkg/kfake"
)

// TestCompletionsPassStarts: while starts are refused, completions behind them in the partition are taken; later the starts come in their order, and
// nothing is committed beyond them before.
func TestCompletionsPassStarts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		f := newFar(t, c, 1)
		defer f.close()
		var busy atomic.Bool
		busy.Store(true)
		k := &taker{fate: func(e *event.Event) error {
			if busy.Load() && e.Type() == "start" {
				return triggers.ErrBusy
			}
			return nil
		}}
		run(t, source(t, fmt.Sprintf(`{"topics": %q, "group": %q, "brokers": %q}`, f.topic, f.group, c.Brokers()[0])), k.admit)
		for i := range 20 {
			f.send("binary", "k", newEvent(fmt.Sprint("start-", i), "start"), newEvent(fmt.Sprint("done-", i), "dev.onward.function.succeeded"))
		}
		eventually(t, "the completions", func() bool { return len(k.ids()) == 20 })
		if ids := k.ids(); !strings.HasPrefix(ids[0], "done-") || f.committed("start-0") {
			t.Errorf("%v; committed: %v", ids, f.committed("start-0"))
		}
		busy.Store(false)
		eventually(t, "the starts", func() bool { return len(k.ids()) == 40 })
		for i, id := range k.ids()[20:] {
			if id != fmt.Sprint("start-", i) {
				t.Fatalf("%v", k.ids()[20:])
			}
		}
		eventually(t, "the commit", func() bool { return f.committed("done-19") })
	})
}

// TestCompletionsPassAnyNumberOfStarts: what makes room for a start lies behind more starts than a reader keeps. Each start and each completion is
// taken once, starts in their order, and in the end all is committed.
func TestCompletionsPassAnyNumberOfStarts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		f := newFar(t, c, 1)
		defer f.close()
		const starts, room = 25_000, 3_000
		list := make([]event.Event, starts)
		for i := range list {
			list[i] = newEvent(fmt.Sprint("start-", i), "start")
		}
		f.send("binary", "k", list...)
		f.send("batched", "k", newEvent("done-batch", "dev.onward.function.succeeded"), newEvent("start-last", "start"))
		f.wait.Wait()
		open := 0
		k := &taker{}
		k.fate = func(e *event.Event) error {
			switch {
			case e.Type() != "start":
				open--
			case open >= room:
				return triggers.ErrBusy
			default:
				open++
				f.send("binary", "k", newEvent("done-"+strings.TrimPrefix(e.ID(), "start-"), "dev.onward.function.succeeded"))
			}
			return nil
		}
		s := source(t, fmt.Sprintf(`{"topics": %q, "group": %q, "brokers": %q}`, f.topic, f.group, c.Brokers()[0]))
		run(t, s, k.admit)
		eventually(t, "all of them", func() bool { return len(k.ids()) >= 2*starts+3 })
		at, seen := 0, make(map[string]int)
		for _, id := range k.ids() {
			seen[id]++
			if strings.HasPrefix(id, "start-") && id != "start-last" {
				if id != fmt.Sprint("start-", at) {
					t.Fatalf("%s came when start-%d was due", id, at)
				}
				at++
			}
		}
		for id, n := range seen {
			if n > 1 && id != "done-batch" {
				t.Errorf("%s was taken %d times", id, n)
			}
		}
		if at != starts || len(seen) != 2*starts+3 {
			t.Errorf("%d starts, %d events", at, len(seen))
		}
		eventually(t, "the commit", func() bool { return f.committed("done-last") && f.committed(fmt.Sprint("done-", starts-1)) })
	})
}

// TestCompletionsOfOthersAreStarts: what has a completion's type and no invocation as its cause waits like any start, and holds up no completion.
func TestCompletionsOfOthersAreStarts(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 1, kfake.GroupMinSessionTimeout(time.Second))
	f := newFar(t, c, 1)
	defer f.close()
	list := make([]event.Event, 12_000)
	for i := range list {
		list[i] = newEvent(fmt.Sprint("foreign-", i), "dev.onward.function.succeeded")
		list[i].SetExtension("causationid", "order-7")
	}
	f.send("binary", "k", append(list, newEvent("done", "dev.onward.function.succeeded"))...)
	var room atomic.Bool
	k := &taker{fate: func(e *event.Event) error {
		if e.ID() == "done" {
			room.Store(true)
		}
		if !room.Load() {
			return triggers.ErrBusy
		}
		return nil
	}}
	run(t, source(t, fmt.Sprintf(`{"topics": %q, "group": %q, "brokers": %q}`, f.topic, f.group, c.Brokers()[0])), k.admit)
	eventually(t, "all of them", func() bool { return len(k.ids()) == len(list)+1 })
	if ids := k.ids(); ids[0] != "done" || ids[1] != "foreign-0" || ids[len(list)] != fmt.Sprint("foreign-", len(list)-1) {
		t.Errorf("%s, %s ... %s", ids[0], ids[1], ids[len(list)])
	}
}

// TestAwaitedPassStarts: events for which runs wait - one that is kept behind others, and one that is read over - are taken though the starts before them are
// refused; these keep their order.
func TestAwaitedPassStarts(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 1, kfake.GroupMinSessionTimeout(time.Second))
	f := newFar(t, c, 1)
	defer f.close()
	var list []event.Event
	for i := range 12_000 {
		list = append(list, newEvent(fmt.Sprint("start-", i), "start"))
		if i == 5_000 {
			list = append(list, newEvent("near", "start"))
		}
	}
	f.send("binary", "k", append(list, newEvent("far", "start"))...)
	var only, near, far atomic.Bool
	k := &taker{fate: func(e *event.Event) error {
		switch {
		case only.Load() && e.ID() == "near":
			near.Store(true)
		case only.Load() && e.ID() == "far":
			far.Store(true)
		case only.Load() || !far.Load() || !near.Load():
			return triggers.ErrBusy
		}
		return nil
	}}
	run(t, source(t, fmt.Sprintf(`{"topics": %q, "group": %q, "brokers": %q}`, f.topic, f.group, c.Brokers()[0])), func(ctx context.Context, events []event.Event) ([]triggers.Receipt, error) {
		only.Store(triggers.IsOnlyAwaited(ctx))
		return k.admit(ctx, events)
	})
	eventually(t, "all of them", func() bool { return len(k.ids()) == 12_002 })
	ids := k.ids()
	if first := slices.Sorted(slices.Values(ids[:2])); first[0] != "far" || first[1] != "near" {
		t.Errorf("%v come first", first)
	}
	for i, id := range ids[2:] {
		if id != fmt.Sprint("start-", i) {
			t.Fatalf("%s came when start-%d was due", id, i)
		}
	}
	eventually(t, "the commit", func() bool { return f.committed("far") })
}

// TestSignalsKeepTheirOrder: one that could not be taken is not passed by the next.
func TestSignalsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 1, kfake.GroupMinSessionTimeout(time.Second))
	f := newFar(t, c, 1)
	defer f.close()
	k := new(taker)
	refused := make(chan struct{})
	var once atomic.Bool
	run(t, source(t, fmt.Sprintf(`{"topics": %q, "group": %q, "brokers": %q}`, f.topic, f.group, c.Brokers()[0])), func(ctx context.Context, events []event.Event) ([]triggers.Receipt, error) {
		if !once.Swap(true) {
			close(refused)
			return nil, errors.New("the brokers of the journal are away")
		}
		return k.admit(ctx, events)
	})
	f.send("binary", "k", newEvent("first", "dev.onward.signal"))
	<-refused
	f.send("binary", "k", newEvent("second", "dev.onward.signal"))
	eventually(t, "both", func() bool { return len(k.ids()) == 2 })
	if ids := k.ids(); ids[0] != "first" {
		t.Errorf("%v", ids)
	}
}

// TestPassed books what was read over, against a plain model.
func TestPassed(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 3))
		base := rng.Int64N(1000)
		o, model, at := triggerkafka.NewPassed(base), make(map[int64]bool), base
		for range 500 {
			at += 1 + rng.Int64N(90)
			switch rng.IntN(8) {
			case 0:
				if rng.IntN(4) == 0 {
					from := base + rng.Int64N(at-base)
					o.Resume(from)
					base = from
				}
			default:
				o.Take(at)
				model[at] = true
			}
			for range 5 {
				if x := base + rng.Int64N(at-base+1); o.Has(x) != model[x] {
					t.Fatalf("seed %d: offset %d: %v", seed, x, o.Has(x))
				}
			}
		}
	}
}
