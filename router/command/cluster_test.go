package command

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"
)

var longFaults = flag.Bool("faults", false, "all faults of TestCluster, each for longer; the short form takes the first few")

// A fault is what is done to the rig while it is under load; it returns once all is as it was.
type fault struct {
	name   string
	strike func(g *rig)
}

func (g *rig) first() *replica { return g.all()[0] }

// coordinator is the broker that leads the group's partition of the offsets topic: of node ids, the harness counts from 0.
func (g *rig) coordinator() int { return g.brokers.Coordinator(g.t, "onward") }

var faults = []fault{
	{"kill -9 a replica", func(g *rig) {
		r := g.first()
		g.kill(r)
		time.Sleep(6 * time.Second) // Its partitions are to be served by the others meanwhile.
		g.start(r)
	}},
	{"kill -9 a broker", func(g *rig) {
		g.brokers.Kill(g.t, 2)
		time.Sleep(4 * time.Second)
		g.brokers.Restart(g.t, 2)
	}},
	{"a replica stalls past the session and wakes", func(g *rig) {
		r := g.first()
		_ = r.child.Process.Signal(syscall.SIGSTOP)
		time.Sleep(8 * time.Second)
		_ = r.child.Process.Signal(syscall.SIGCONT)
	}},
	{"cut a replica from the brokers", func(g *rig) {
		g.link.Cut()
		time.Sleep(8 * time.Second)
		g.link.Mend()
	}},
	{"rolling restart of replicas", func(g *rig) {
		for _, r := range g.all() {
			g.stop(r)
			g.start(r)
		}
	}},
	{"kill -9 the group's coordinator", func(g *rig) {
		n := g.coordinator()
		g.brokers.Kill(g.t, n)
		time.Sleep(4 * time.Second)
		g.brokers.Restart(g.t, n)
	}},
	{"rolling restart of brokers", func(g *rig) {
		for n := range 3 {
			g.brokers.Restart(g.t, n)
			time.Sleep(2 * time.Second)
		}
	}},
	{"replicas are added and removed", func(g *rig) {
		r := g.add()
		time.Sleep(3 * time.Second)
		g.stop(r)
		g.mu.Lock()
		g.replicas = slices.DeleteFunc(g.replicas, func(x *replica) bool { return x == r })
		g.mu.Unlock()
	}},
	{"all replicas are killed at once", func(g *rig) {
		for _, r := range g.all() {
			g.kill(r)
		}
		for _, r := range g.all() {
			g.start(r)
		}
	}},
}

// An account is what one fault cost.
type account struct {
	events, runs, invocations      int
	lost, wrong, hanging, repeated int
	pause                          time.Duration // the longest time that a run of an acknowledged event stood still
}

// suffer strikes while the rig is under load, and waits until every event that was acknowledged has had its effect and every run has ended.
func (g *rig) suffer(f fault, perSecond int, calm time.Duration) account {
	g.t.Helper()
	g.world.mu.Lock()
	clear(g.world.runs)
	g.world.mu.Unlock()
	g.mu.Lock()
	g.acked = make(map[string]time.Time)
	g.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	var load sync.WaitGroup
	load.Go(func() { g.load(ctx, perSecond) })
	time.Sleep(calm)
	f.strike(g)
	time.Sleep(calm)
	cancel()
	load.Wait()
	var a account
	for deadline := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
		hanging := g.open()
		if a = g.account(); a.lost == 0 && hanging == 0 || time.Now().After(deadline) {
			a.hanging = hanging
			return a
		}
	}
}

// account judges what the world saw by what was acknowledged.
func (g *rig) account() account {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.world.mu.Lock()
	defer g.world.mu.Unlock()
	a := account{events: len(g.acked), runs: len(g.world.runs)}
	runs := make(map[string]int)
	for _, r := range g.world.runs {
		runs[r.event]++
		if !r.isRight() {
			a.wrong++
		}
		a.invocations += len(r.ids)
		for _, n := range r.ids {
			if n > 1 {
				a.repeated++
			}
		}
		if at, acked := g.acked[r.event]; acked {
			a.pause = max(a.pause, r.pause, r.first.Sub(at))
		}
	}
	for id := range g.acked {
		switch runs[id] {
		case 0:
			a.lost++
		case 1:
		default:
			a.wrong++
		}
	}
	return a
}

// TestCluster does to brokers and routers what happens to them: what was acknowledged takes effect once, joins have the right members, no run hangs, each
// tick of a schedule that all replicas have is one run, and what is sent twice is below one in a hundred. The short form has less around its faults, and other tests beside it: there it is five.
func TestCluster(t *testing.T) {
	list, calm, most := faults[:5], 2*time.Second, 5.0
	if *longFaults {
		list, calm, most = faults, 10*time.Second, 1.0
	}
	g := newRig(t)
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "FAULT\tEVENTS\tRUNS\tLOST\tWRONG\tREPEATED\tOF INVOCATIONS\tLONGEST PAUSE")
	for _, f := range list {
		a := g.suffer(f, 40, calm)
		share := 100 * float64(a.repeated) / float64(max(a.invocations, 1))
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%.2f %%\t%s\n", f.name, a.events, a.runs, a.lost, a.wrong, a.repeated, share, a.pause.Round(10*time.Millisecond))
		if a.lost > 0 || a.wrong > 0 || a.hanging != 0 || a.events < 20 || share >= most {
			t.Errorf("%s: %d of %d acknowledged events without effect, %d wrong runs, %d runs still open, %.2f %% of the invocations repeated", f.name, a.lost, a.events, a.wrong, a.hanging, share)
			for _, r := range g.all() {
				log, _ := os.ReadFile(filepath.Join(g.dir, r.name+".log"))
				t.Logf("%s: %s", r.name, log[max(0, len(log)-4000):])
			}
			break
		}
	}
	seen, wrong := g.world.wrongTicks()
	for end := time.Now().Add(within); len(wrong) > 0 && time.Now().Before(end); seen, wrong = g.world.wrongTicks() {
		time.Sleep(50 * time.Millisecond) // One may be on its way still.
	}
	if len(wrong) > 0 || seen < 10 {
		t.Errorf("%d ticks of a schedule that each replica has: %s", seen, strings.Join(wrong, "; "))
	}
	_ = w.Flush() // Into memory.
	t.Logf("three brokers, three routers, 40 events a second of 9 invocations each, a third of them from topic to topic by functions behind topics:\n%s", table.String())
}
