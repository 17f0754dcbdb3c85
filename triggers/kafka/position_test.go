package kafka_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/triggers"
	triggerkafka "github.com/onward-router/onward/triggers/kafka"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (f *far) document() string {
	return fmt.Sprintf(`{"topics": %q, "group": %q, "brokers": %q, "start": "latest"}`, f.topic, f.group, f.client.Brokers[0])
}

// position is the group's in the only partition, -1 for none.
func (f *far) position() int64 {
	had, err := f.client.Committed(context.Background(), f.group, f.topic, 0)
	if c, ok := had[0]; err == nil && ok {
		return c.Offset
	}
	return -1
}

// TestStart: a group that has committed nothing begins where it is told to, and from then on where it was.
func TestStart(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		f := newFar(t, c, 1)
		defer f.close()
		f.send("binary", "k", newEvent("old", "t"))
		f.wait.Wait()
		k := new(taker)
		stop := run(t, source(t, f.document()), k.admit)
		eventually(t, "the commit of where it begins", func() bool { return f.position() == 1 })
		f.send("binary", "k", newEvent("new", "t"))
		eventually(t, "the new event", func() bool { return slices.Contains(k.ids(), "new") })
		stop()
		f.send("binary", "k", newEvent("between", "t"))
		f.wait.Wait()
		run(t, source(t, f.document()), k.admit)
		eventually(t, "what came in between", func() bool { return slices.Contains(k.ids(), "between") })
		if got := k.ids(); !slices.Equal(got, []string{"new", "between"}) {
			t.Errorf("%v", got)
		}
	})
}

// TestRemoved: records that were removed before they were read are counted, and reading goes on behind them.
func TestRemoved(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		f := newFar(t, c, 1)
		defer f.close()
		k := new(taker)
		stop := run(t, source(t, f.document()), k.admit)
		eventually(t, "the first commit", func() bool { return f.position() == 0 })
		f.send("binary", "k", newEvent("a", "t"))
		eventually(t, "the commit", func() bool { return f.position() == 1 })
		stop()
		for _, id := range []string{"b", "c", "d"} {
			f.send("binary", "k", newEvent(id, "t"))
			f.wait.Wait()
		}
		if _, err := f.client.DeleteRecords(context.Background(), f.topic, 0, 3); err != nil {
			t.Fatal(err)
		}
		s := source(t, f.document())
		run(t, s, k.admit)
		eventually(t, "the last commit", func() bool { return f.position() == 4 })
		if got := k.ids(); !slices.Equal(got, []string{"a", "d"}) || expired(t, s) != 2 {
			t.Errorf("%v; %v expired", got, expired(t, s))
		}
	})
}

// expired is how many records a source has counted as removed before they were read.
func expired(t *testing.T, s *triggerkafka.Source) (n float64) {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(s.Collectors()...)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "onward_source_invalid_total" && strings.Contains(m.String(), `"expired"`) {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// TestPatterns: topics that match are read, those made later and partitions added later too, and no others.
func TestPatterns(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		f := newFar(t, c, 1)
		defer f.close()
		base := strings.ReplaceAll(f.topic, ".", "-")
		k := new(taker)
		run(t, source(t, fmt.Sprintf(`{"topics": "/%s\\.(a|b)/", "group": %q, "brokers": %q}`, base, f.group, c.Brokers()[0])), k.admit)
		for _, suffix := range []string{".a", ".abc", ".b"} {
			c.CreateTopic(t, base+suffix, 1)
			f.topic = base + suffix
			f.send("binary", "k", newEvent(suffix, "t"))
			f.wait.Wait()
			if suffix != ".abc" {
				eventually(t, suffix, func() bool { return slices.Contains(k.ids(), suffix) })
			}
		}
		if slices.Contains(k.ids(), ".abc") {
			t.Error("a topic was read that matches in part only")
		}
	})
}

// TestBusyInBatch: the record of a batch is done when the last of its events is, those that wait included.
func TestBusyInBatch(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		f := newFar(t, c, 1)
		defer f.close()
		var busy atomic.Bool
		busy.Store(true)
		k := &taker{fate: func(e *event.Event) error {
			if busy.Load() && strings.HasPrefix(e.ID(), "busy") {
				return triggers.ErrBusy
			}
			return nil
		}}
		run(t, source(t, f.document()), k.admit)
		eventually(t, "the first commit", func() bool { return f.position() == 0 })
		f.send("batched", "k", newEvent("a", "t"), newEvent("busy1", "t"), newEvent("busy2", "t"))
		f.send("binary", "k", newEvent("done", "dev.onward.function.succeeded"))
		eventually(t, "what is not busy", func() bool { return slices.Equal(k.ids(), []string{"a", "done"}) })
		if at := f.position(); at != 0 {
			t.Errorf("offset %d is committed, and two events before it were not taken", at)
		}
		busy.Store(false)
		eventually(t, "the commit", func() bool { return f.position() == 2 })
		if got := k.ids(); !slices.Equal(got, []string{"a", "done", "busy1", "busy2"}) {
			t.Errorf("%v", got)
		}
	})
}

// TestUnsureCommit: answers to commits are lost, refused for a while, or come from a coordinator that has moved or of a generation that is over.
func TestUnsureCommit(t *testing.T) {
	t.Parallel()
	c := kafkatest.Fake(t, 1, kfake.GroupMinSessionTimeout(time.Second))
	f := newFar(t, c, 1)
	defer f.close()
	k := new(taker)
	run(t, source(t, f.document()), k.admit)
	eventually(t, "the first commit", func() bool { return f.position() == 0 })
	for i, fault := range []*kerr.Error{
		kerr.RequestTimedOut, kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.RebalanceInProgress, kerr.IllegalGeneration,
	} {
		h := c.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: f.topic, Err: fault, Count: 2})
		f.send("binary", "k", newEvent(fmt.Sprint(i), "t"))
		eventually(t, "the commit after "+fault.Message, func() bool { return h.Hits() == 2 && f.position() == int64(i+1) })
	}
	if got := slices.Compact(k.ids()); !slices.Equal(got, []string{"0", "1", "2", "3", "4", "5"}) {
		t.Errorf("%v", got)
	}
}

// TestBrokerRestart: the broker goes and comes back under load; every event is taken, in order.
func TestBrokerRestart(t *testing.T) {
	t.Parallel()
	restart := func(t *testing.T, c *kafkatest.Cluster) {
		f := newFar(t, c, 1)
		defer f.close()
		k := new(taker)
		run(t, source(t, f.document()), k.admit)
		eventually(t, "the first commit", func() bool { return f.position() == 0 })
		const n = 300
		for i := range n {
			f.send("binary", "k", newEvent(fmt.Sprintf("%03d", i), "t"))
			switch i {
			case n / 3:
				eventually(t, "a beginning", func() bool { return len(k.ids()) > 0 })
				c.Kill(t, 0)
			case 2 * n / 3:
				c.Restart(t, 0)
			}
		}
		eventually(t, "the commit", func() bool { return f.position() == n })
		var firsts []string
		for _, id := range k.ids() {
			if !slices.Contains(firsts, id) {
				firsts = append(firsts, id)
			}
		}
		if len(firsts) != n || !slices.IsSorted(firsts) {
			t.Errorf("%d of %d events, in the order %v", len(firsts), n, firsts)
		}
	}
	t.Run("kfake", func(t *testing.T) {
		t.Parallel()
		restart(t, kafkatest.Fake(t, 1, kfake.GroupMinSessionTimeout(time.Second)))
	})
	t.Run("kafka", func(t *testing.T) { t.Parallel(); restart(t, kafkatest.Start(t, 1)) })
}
