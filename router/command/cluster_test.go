package command

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/onward-router/onward/config/kafka/kafkatest"
)

var longFaults = flag.Bool("faults", false, "all faults of TestCluster, each for longer; the short form takes the first few")

// A rig is three brokers, routers that share the journal on them, and the outside world.
type rig struct {
	t       *testing.T
	brokers *kafkatest.Cluster
	world   *tally
	dir     string
	doc     string

	mu       sync.Mutex
	replicas []*replica
	acked    map[string]time.Time
	serial   atomic.Int64
}

// A replica is one router process.
type replica struct {
	name, addr string
	child      *exec.Cmd
}

const clusterDocument = `version: 1
functions:
  work: { http: { url: "URL/work" }, timeout: 20s, retry: { attempts: 5, backoff: 200ms } }
  join: { http: { url: "URL/join" }, timeout: 20s, retry: { attempts: 5, backoff: 200ms } }
sources: { inbox: { webhook: {} } }
triggers:
  load:
    filters: [{ exact: { type: load } }]
    flow:
      sequence:
        - map: { items: 8, do: { function: work, input: "${ item * 3 }" } }
        - { function: join, input: { id: "${ event.id }", results: "${ previous }" } }
`

func newRig(t *testing.T) *rig {
	g := &rig{t: t, brokers: kafkatest.Start(t, 3), world: &tally{joins: make(map[string][]string), ids: make(map[string]int), first: make(map[string]time.Time), slow: 20 * time.Millisecond}, dir: t.TempDir()}
	functions := httptest.NewServer(g.world)
	t.Cleanup(functions.Close)
	g.doc = filepath.Join(g.dir, "cluster.yaml")
	if err := os.WriteFile(g.doc, []byte(strings.ReplaceAll(clusterDocument, "URL", functions.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	init := exec.Command(os.Args[0], "kafka", "init", "--partitions", "6", "--replication", "3", "--kafka-brokers", strings.Join(g.brokers.Brokers(), ","))
	init.Env = append(os.Environ(), childVariable+"=1")
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for range 3 {
		g.add()
	}
	t.Cleanup(func() {
		for _, r := range g.all() {
			g.stop(r)
		}
	})
	return g
}

func (g *rig) all() []*replica {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.replicas)
}

// add starts a further replica.
func (g *rig) add() *replica {
	g.t.Helper()
	g.mu.Lock()
	r := &replica{name: fmt.Sprint("replica-", len(g.replicas)), addr: freeAddr(g.t)}
	g.mu.Unlock()
	g.start(r)
	g.mu.Lock()
	g.replicas = append(g.replicas, r)
	g.mu.Unlock()
	return r
}

// start begins a replica's process on its folder, and waits until it does its part.
func (g *rig) start(r *replica) {
	g.t.Helper()
	r.child = exec.Command(os.Args[0], "serve", g.doc, "--journal", "kafka", "--kafka-brokers", strings.Join(g.brokers.Brokers(), ","), "--kafka-session", "3s",
		"--listen", r.addr, "--advertise", r.addr, "--data", filepath.Join(g.dir, r.name), "--log-level", "error", "--snapshot-records", "500", "--drain", "5s")
	r.child.Env = append(os.Environ(), childVariable+"=1")
	log, err := os.OpenFile(filepath.Join(g.dir, r.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		g.t.Fatal(err)
	}
	r.child.Stderr = log
	if err := r.child.Start(); err != nil {
		g.t.Fatal(err)
	}
	_ = log.Close() // The child has its own.
	waitReady(g.t, r.addr)
}

// stop ends a replica in good order.
func (g *rig) stop(r *replica) {
	if r.child.ProcessState != nil {
		return
	}
	_ = r.child.Process.Signal(syscall.SIGCONT)
	_ = r.child.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		_ = r.child.Wait() // How it ends is not this test's matter.
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		_ = r.child.Process.Kill()
		<-done
	}
}

func (g *rig) kill(r *replica) {
	_ = r.child.Process.Kill()
	_ = r.child.Wait() // It was killed.
}

// load posts events to replicas at random, so many a second, until ctx ends; an event that was not acknowledged is sent again, elsewhere.
func (g *rig) load(ctx context.Context, perSecond int) {
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	var posters sync.WaitGroup
	defer posters.Wait()
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		posters.Go(func() {
			id := fmt.Sprint("event-", g.serial.Add(1))
			for ctx.Err() == nil {
				all := g.all()
				resp, err := post(client, all[rand.IntN(len(all))].addr, id)
				if err == nil && resp == http.StatusAccepted {
					g.mu.Lock()
					g.acked[id] = time.Now()
					g.mu.Unlock()
					return
				}
				time.Sleep(20 * time.Millisecond) // That one is down, or was; another may be up.
			}
		})
	}
}

func post(client *http.Client, addr, id string) (int, error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/events", strings.NewReader("1"))
	if err != nil {
		return 0, err
	}
	for k, v := range map[string]string{"Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Source": "/cluster", "Ce-Type": "load", "Content-Type": "application/json"} {
		req.Header.Set(k, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

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
	events, invocations, lost, wrong, repeated int
	pause                                      time.Duration // the longest time from an acknowledgement to the run's last step
}

// suffer strikes while the rig is under load, and waits until every event that was acknowledged has had its effect.
func (g *rig) suffer(f fault, perSecond int, calm time.Duration) account {
	g.t.Helper()
	g.world.mu.Lock()
	clear(g.world.ids)
	clear(g.world.joins)
	clear(g.world.first)
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
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if a.lost = g.missing(); a.lost == 0 || time.Now().After(deadline) {
			break
		}
	}
	a.events = len(g.acked)
	g.world.mu.Lock()
	defer g.world.mu.Unlock()
	a.invocations = len(g.world.ids)
	for _, n := range g.world.ids {
		if n > 1 {
			a.repeated++
		}
	}
	for _, joins := range g.world.joins {
		for _, got := range joins {
			if got != "[0,3,6,9,12,15,18,21]" {
				a.wrong++
			}
		}
	}
	for id, at := range g.acked {
		a.pause = max(a.pause, g.world.first[id].Sub(at))
	}
	return a
}

func (g *rig) missing() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.world.mu.Lock()
	defer g.world.mu.Unlock()
	for id := range g.acked {
		if len(g.world.joins[id]) == 0 {
			n++
		}
	}
	return n
}

// TestCluster does to brokers and routers what happens to them: what was acknowledged takes effect, joins have the right members, no run hangs.
func TestCluster(t *testing.T) {
	list, calm := faults[:4], 2*time.Second
	if *longFaults {
		list, calm = faults, 10*time.Second
	}
	g := newRig(t)
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "FAULT\tEVENTS\tINVOCATIONS\tLOST\tWRONG\tREPEATED\tSHARE\tLONGEST RUN")
	for _, f := range list {
		a := g.suffer(f, 40, calm)
		share := 100 * float64(a.repeated) / float64(max(a.invocations, 1))
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%.2f %%\t%s\n", f.name, a.events, a.invocations, a.lost, a.wrong, a.repeated, share, a.pause.Round(10*time.Millisecond))
		if a.lost > 0 || a.wrong > 0 || a.events < 20 {
			t.Errorf("%s: %d of %d acknowledged events without effect, %d wrong joins", f.name, a.lost, a.events, a.wrong)
			for _, r := range g.all() {
				log, _ := os.ReadFile(filepath.Join(g.dir, r.name+".log"))
				t.Logf("%s: %s", r.name, log[max(0, len(log)-4000):])
			}
			break
		}
	}
	_ = w.Flush() // Into memory.
	t.Logf("three brokers, three routers, 40 events a second of 9 invocations each:\n%s", table.String())
}
