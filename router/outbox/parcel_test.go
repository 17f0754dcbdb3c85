package outbox

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/sinks"
)

// requests is a sink that keeps what it got together.
type requests struct {
	mu  sync.Mutex
	all [][]*sinks.Delivery
}

func (r *requests) Close() error { return nil }

func (r *requests) Deliver(_ context.Context, d []*sinks.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, slices.Clone(d))
}

func (r *requests) list() [][]*sinks.Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

func (r *requests) sizes() (out []int) {
	for _, d := range r.list() {
		out = append(out, len(d))
	}
	return out
}

func (r *requests) end(i int, result sinks.Result) {
	for _, d := range r.list()[i] {
		d.Done(result)
	}
	synctest.Wait()
}

func together(t *testing.T, fn config.Function) (*bench, *requests, func()) {
	b, leave := newBench(t, fn, nil)
	r := new(requests)
	b.bound.get("f").sink = r
	return b, r, leave
}

// TestParcels: what waits goes together, as much as a batch takes; concurrency counts requests, and a room is free with the last of its request.
func TestParcels(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r, leave := together(t, config.Function{Concurrency: 2, Batch: &config.Batch{Max: 3, Bytes: 1 << 20}})
		defer leave()
		for range 8 {
			b.put(nil)
		}
		b.pump()
		if got := r.sizes(); !slices.Equal(got, []int{3, 3}) {
			t.Fatalf("requests of %v", got)
		}
		if st := b.state(); st.InFlight != 6 || st.Queued != 2 {
			t.Errorf("%+v", st)
		}
		ok(r.list()[0][0])
		ok(r.list()[0][1])
		synctest.Wait()
		if len(r.list()) != 2 {
			t.Error("a request's room is free before its last has ended")
		}
		ok(r.list()[0][2])
		synctest.Wait()
		if got := r.sizes(); !slices.Equal(got, []int{3, 3, 2}) {
			t.Errorf("requests of %v", got)
		}
		r.end(1, sinks.Complete([]byte("1")))
		r.end(2, sinks.Complete([]byte("1")))
		if got := b.kinds(); len(got) != 8 || slices.ContainsFunc(got, func(k journal.Kind) bool { return k != journal.Completion }) {
			t.Errorf("%v", got)
		}
		if l := b.lanes["f"]; l.rooms != 0 || l.flying != 0 || l.handing != 0 {
			t.Errorf("%d rooms, %d flying, %d handed", l.rooms, l.flying, l.handing)
		}
	})
}

// TestParcelsWaitForMore, for no longer than they may; a full one goes at once.
func TestParcelsWaitForMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r, leave := together(t, config.Function{Concurrency: 9, Batch: &config.Batch{Max: 3, Bytes: 1 << 20, Linger: plugin.Duration(time.Second)}})
		defer leave()
		first := b.put(nil)
		b.pump()
		if why, _, _ := b.Explain(first.Run, first.N); len(r.list()) != 0 || why != "function f takes batches; it waits for others to go with it" {
			t.Errorf("%v: %s", r.sizes(), why)
		}
		time.Sleep(900 * time.Millisecond)
		b.put(nil)
		b.pump()
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if got := r.sizes(); !slices.Equal(got, []int{2}) {
			t.Errorf("requests of %v", got)
		}
		for range 4 {
			b.put(nil)
		}
		b.pump()
		if got := r.sizes(); !slices.Equal(got, []int{2, 3}) {
			t.Errorf("requests of %v", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := r.sizes(); !slices.Equal(got, []int{2, 3, 1}) {
			t.Errorf("requests of %v", got)
		}
	})
}

// TestParcelsAreBounded by bytes, by the rate, and are mixed in turn: tenants share a request.
func TestParcelsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r, leave := together(t, config.Function{Concurrency: 9, Batch: &config.Batch{Max: 100, Bytes: 10_000}})
		defer leave()
		same := func(n byte, tenant string) func(*engine.Invocation) {
			return func(inv *engine.Invocation) {
				inv.Input, inv.Tenant, inv.Run = lang.Text(strings.Repeat("x", 3000)), tenant, journal.RunID{n}
			}
		}
		for range 4 {
			b.put(same(1, "a"))
		}
		b.put(same(2, "b"))
		b.pump()
		if got := r.sizes(); !slices.Equal(got, []int{2, 2, 1}) {
			t.Fatalf("requests of %v", got)
		}
		var order []uint32
		for _, d := range slices.Concat(r.list()...) {
			_, _, n, _ := engine.ParseInvocationID(d.ID())
			order = append(order, n)
		}
		if !slices.Equal(order, []uint32{1, 5, 2, 3, 4}) {
			t.Errorf("in the order %v", order)
		}
		b.put(func(inv *engine.Invocation) { inv.Input = lang.Text(strings.Repeat("x", 50_000)) })
		b.pump()
		if got := r.sizes(); !slices.Equal(got, []int{2, 2, 1, 1}) {
			t.Errorf("what is larger than a batch: %v", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b, r, leave := together(t, config.Function{Concurrency: 9, Rate: config.Rate{N: 2, Per: time.Second}, Burst: 2, Batch: &config.Batch{Max: 100, Bytes: 10_000}})
		defer leave()
		b.Outbox.mu.Lock()
		b.laneOf("f")
		b.Outbox.mu.Unlock()
		for range 5 {
			b.put(nil)
		}
		b.pump()
		if got := r.sizes(); !slices.Equal(got, []int{2}) {
			t.Errorf("requests of %v beside a burst of 2", got)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(slices.Concat(r.list()...)); n != 5 {
			t.Errorf("%d sent", n)
		}
	})
}

// TestOneRequestIsOneRefusal: a batch that was refused does not hold its lane as so many refusals would; what is held is probed by one.
func TestOneRequestIsOneRefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r, leave := together(t, config.Function{Concurrency: 1, Batch: &config.Batch{Max: 50, Bytes: 1 << 20, Linger: plugin.Duration(10 * time.Millisecond)}})
		defer leave()
		for range 50 {
			b.put(nil)
		}
		b.pump()
		r.end(0, sinks.Again(0, away))
		if is := b.state().State; is != "up" {
			t.Errorf("after one refusal it is %s", is)
		}
		next := 1
		for b.state().State == "up" && next < 100 {
			time.Sleep(time.Second)
			synctest.Wait()
			for ; next < len(r.list()); next++ {
				r.end(next, sinks.Again(0, away))
			}
		}
		before := len(r.list())
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(r.list()) == before || len(r.list()[before]) != 1 {
			t.Errorf("probes of %v", r.sizes()[before:])
		}
		for ; next < len(r.list()); next++ {
			r.end(next, sinks.Complete([]byte("1")))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for ; next < len(r.list()); next++ {
			r.end(next, sinks.Complete([]byte("1")))
		}
		if got := b.kinds(); len(got) != 50 {
			t.Errorf("%d of 50 have an outcome, in requests of %v", len(got), r.sizes())
		}
	})
}

// TestWhatIsNotWantedLeavesItsParcel: stopped in the queue or on the way, it gives its room back as the rest does; a function that is taken away has them wait.
func TestWhatIsNotWantedLeavesItsParcel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, r, leave := together(t, config.Function{Concurrency: 1, Batch: &config.Batch{Max: 2, Bytes: 1 << 20}})
		defer leave()
		var list []*engine.Invocation
		for range 5 {
			list = append(list, b.put(nil))
		}
		b.pump()
		b.stop([]*engine.Invocation{list[0], list[2]}, journal.RunID{}, engine.Answer{})
		for _, d := range r.list()[0] {
			if d.Context.Err() != nil {
				d.Done(sinks.Ended(d.Context, "no answer"))
			} else {
				ok(d)
			}
		}
		synctest.Wait()
		if got := r.sizes(); !slices.Equal(got, []int{2, 2}) {
			t.Fatalf("requests of %v", got)
		}
		var numbers []uint32
		for _, d := range r.list()[1] {
			_, _, n, _ := engine.ParseInvocationID(d.ID())
			numbers = append(numbers, n)
		}
		if !slices.Equal(numbers, []uint32{4, 5}) {
			t.Errorf("%v", numbers)
		}
		r.end(1, sinks.Complete([]byte("1")))
		if l := b.lanes["f"]; l.rooms != 0 || l.flying != 0 || l.queue != 0 {
			t.Errorf("%d rooms, %d flying, %d queued", l.rooms, l.flying, l.queue)
		}
	})
}
