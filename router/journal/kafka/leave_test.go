package kafka

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/router/journal"
)

// A wire is a router's connections to the group's coordinator, which a test cuts.
type wire struct {
	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

var errCut = errors.New("the wire is cut")

// wired gives a router a client of its own, with a wire between it and the group.
func (b *bed) wired(t *testing.T, o *Options) *wire {
	t.Helper()
	client, err := kafka.Open(&kafka.Cluster{Brokers: b.cluster.Brokers()}, "wired", kafka.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	o.Client = client
	w := new(wire)
	client.Dialer().DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.cut && err == nil {
			return nil, errors.Join(errCut, conn.Close())
		}
		w.conns = append(w.conns, conn)
		return conn, err
	}
	return w
}

// kill cuts all, for good.
func (w *wire) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for _, c := range w.conns {
		_ = c.Close() // It may be closed already.
	}
}

// share waits until a router has n partitions, and returns how long that took.
func (o *owner) share(n int) time.Duration {
	o.t.Helper()
	begin := time.Now()
	for deadline := begin.Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if mine, ok := o.j.Assigned(); ok && len(mine) == n {
			return time.Since(begin)
		}
		if time.Now().After(deadline) {
			o.t.Fatalf("it does not get %d partitions", n)
		}
	}
}

// serves waits until a router has read all of n partitions that it did not have before.
func (o *owner) serves(n int) {
	o.t.Helper()
	for range n {
		select {
		case <-o.begun:
		case <-time.After(time.Minute):
			o.t.Fatal("no tenure begins")
		}
	}
}

// TestHandover measures, with the times that a router has by default but for the session: who joins is noticed within a heartbeat, what a router that
// leaves had is served by another as soon, and what a killed one had within its session. Each may take two seconds more, on a busy machine.
func TestHandover(t *testing.T) {
	t.Parallel()
	b := newBed(t, kafkatest.Shared(t), 4)
	b.steerNone()
	o := b.options()
	o.Session, o.Heartbeat, o.Rebalance = 4*time.Second, 0, 0
	heartbeat := o.withDefaults().Heartbeat
	first := own(t, b.open(t, o))
	first.serves(4)
	within := func(what string, limit, took time.Duration) {
		t.Helper()
		t.Logf("%s: %s", what, took.Round(time.Millisecond))
		if took > limit {
			t.Errorf("%s took %s; %s is the limit", what, took, limit)
		}
	}
	second := own(t, b.open(t, o))
	within("a join", heartbeat+2*time.Second, first.share(2))
	second.serves(2)
	begin := time.Now()
	if err := second.end(); err != nil {
		t.Fatal(err)
	}
	within("the goodbye", time.Second, time.Since(begin))
	first.serves(2)
	within("taking over what a router left", heartbeat+2*time.Second, time.Since(begin))
	w := b.wired(t, &o)
	third := own(t, b.open(t, o))
	third.serves(2)
	first.share(2)
	begin = time.Now()
	w.kill()
	first.serves(2)
	within("taking over from a killed one", o.Session+2*time.Second, time.Since(begin))
}

// TestLeaveWhileJoining: a router that leaves while the group is being formed does not wait for the slowest of the others. kfake leaves the request to
// join of a member that has left unanswered; Kafka does not.
func TestLeaveWhileJoining(t *testing.T) {
	t.Parallel()
	b := newBed(t, kafkatest.Shared(t), 2)
	b.steerNone()
	slow := b.options()
	slow.Heartbeat, slow.Session, slow.Rebalance = 20*time.Second, 25*time.Second, 25*time.Second
	first := own(t, b.open(t, b.options()))
	first.serves(2)
	other := own(t, b.open(t, slow))
	first.share(1)
	other.share(1)
	first.j.mu.Lock()
	g := first.j.group
	first.j.mu.Unlock()
	g.rejoin <- struct{}{}
	for deadline := time.Now().Add(2 * time.Minute); len(g.rejoin) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the generation does not end")
		}
	}
	begin := time.Now()
	if err := first.end(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("it left after %s", took)
	}
}

// drop breaks the connections; new ones can be made.
func (w *wire) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close() // It may be closed already.
	}
	w.conns = nil
}

// settled waits until all are of one generation, and none looks for another.
func settled(t *testing.T, owners []*owner) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		generations := make(map[int]bool)
		for _, o := range owners {
			o.j.mu.Lock()
			g := o.j.group
			o.j.mu.Unlock()
			g.mu.Lock()
			if generations[g.now.generation] = true; !g.word {
				generations[-1] = true
			}
			g.mu.Unlock()
		}
		if len(generations) == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the group does not settle")
		}
	}
}

// TestCutOff: a router that loses its connection to the coordinator for a moment keeps its tenures, whether or not it leads the group.
func TestCutOff(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *kafkatest.Cluster) {
		b := newBed(t, c, 4)
		b.steerNone()
		var wires []*wire
		var owners []*owner
		var formed []chan []int
		for range 2 {
			o := b.options()
			o.Session, o.Rebalance = 15*time.Second, 15*time.Second // A busy machine is no reason to be put out of the group.
			heard := make(chan []int, 100)
			o.Observer.Generation = func(mine []int, _ int) { heard <- mine }
			wires, formed = append(wires, b.wired(t, &o)), append(formed, heard)
			owners = append(owners, own(t, b.open(t, o)))
		}
		tenures := make(map[int]journal.Tenure)
		for _, o := range owners {
			o.share(2)
			for mine, _ := o.j.Assigned(); len(mine) > 0; {
				select {
				case got := <-o.begun:
					if i := slices.Index(mine, got.t.Partition()); i >= 0 {
						tenures[mine[i]] = got.t
						mine = slices.Delete(mine, i, i+1)
					}
				case <-time.After(time.Minute):
					t.Fatalf("no tenure of %v begins", mine)
				}
			}
		}
		for i, o := range owners {
			// One that is cut off while it joins what the other's return has begun may miss a generation, and with it its tenures.
			settled(t, owners)
			for len(formed[i]) > 0 {
				<-formed[i]
			}
			wires[i].drop()
			select {
			case <-formed[i]:
			case <-time.After(2 * time.Minute):
				t.Fatal("it is not heard again")
			}
			mine, _ := o.j.Assigned()
			for _, p := range mine {
				put(t, o.j, p, "x")
				if err := save(tenures[p], 0, "x"); err != nil {
					t.Errorf("router %d, partition %d: %v", i, p, err)
				}
			}
		}
	})
}
