package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
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
	"time"

	"github.com/onward-router/onward/config/kafka/kafkatest"
	"github.com/onward-router/onward/config/tooltest"
)

// A rig is three brokers, routers that share the journal on them, and the outside world.
type rig struct {
	t       *testing.T
	brokers *kafkatest.Cluster
	link    *kafkatest.Link // by which the first replica reaches the brokers
	world   *world
	stream  *stream
	dir     string
	doc     string
	more    []string // arguments of the routers

	mu       sync.Mutex
	replicas []*replica
	acked    map[string]time.Time
	serial   atomic.Int64
}

// A replica is one router process.
type replica struct {
	name, addr string
	brokers    []string
	child      *exec.Cmd
}

const clusterDocument = `version: 1
functions:
  work: { http: { url: "URL/work" }, timeout: 20s, retry: { attempts: 5, backoff: 200ms } }
  join: { http: { url: "URL/join" }, timeout: 20s, retry: { attempts: 5, backoff: 200ms } }
  step: { kafka: { topic: work }, timeout: 60s }
  tick: { http: { url: "URL/tick" }, timeout: 20s }
sources:
  clock: { schedule: { every: 1s, missed: all, type: tick } }
  inbox: { webhook: {} }
  in: { kafka: { topics: [in], group: in, session: 3s } }
  done: { kafka: { topics: [done], group: done, session: 3s } }
triggers:
  load:
    filters: [{ exact: { type: load } }]
    flow:
      sequence:
        - map: { items: 8, do: { function: work, input: "${ item * 3 }" } }
        - { function: join, input: { id: "${ event.id }", results: "${ previous }" } }
  stream:
    filters: [{ exact: { type: stream } }]
    flow: { map: { items: 8, do: { function: step, input: "${ item * 3 }" } } }
    onSuccess: { kafka: { topic: out }, data: "${ {'id': event.id, 'results': output} }" }
  tick:
    filters: [{ exact: { type: tick } }]
    flow: { function: tick, input: "${ event.time }" }
`

func newRig(t *testing.T) *rig {
	brokers, link := kafkatest.StartLinked(t, 3)
	g := &rig{t: t, brokers: brokers, link: link, world: &world{runs: make(map[string]*runSeen), ticks: make(map[string]map[string]bool)}, dir: t.TempDir()}
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
	g.stream = newStream(t, g.brokers, g.world)
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
	r := &replica{name: fmt.Sprint("replica-", len(g.replicas)), addr: tooltest.Address(), brokers: g.brokers.Brokers()}
	if len(g.replicas) == 0 {
		r.brokers = g.link.Brokers()
	}
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
	r.child = exec.Command(os.Args[0], append([]string{"serve", g.doc, "--journal", "kafka", "--kafka-brokers", strings.Join(r.brokers, ","), "--kafka-session", "3s",
		"--listen", r.addr, "--advertise", r.addr, "--data", filepath.Join(g.dir, r.name), "--log-level", "error", "--snapshot-records", "500", "--drain", "5s"}, g.more...)...)
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
	case <-time.After(within):
		_ = r.child.Process.Kill()
		<-done
	}
}

func (g *rig) kill(r *replica) {
	_ = r.child.Process.Kill()
	_ = r.child.Wait() // It was killed.
}

// load posts events to replicas at random, so many a second, until ctx ends; every third goes to the topic in instead. An event that was not acknowledged
// is sent again, elsewhere.
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
		n := g.serial.Add(1)
		if n%3 == 0 {
			posters.Go(func() {
				id := fmt.Sprint("stream-", n)
				if g.stream.send(id) == nil {
					g.ack(id)
				}
			})
			continue
		}
		posters.Go(func() {
			id := fmt.Sprint("event-", n)
			for ctx.Err() == nil {
				all := g.all()
				resp, err := post(client, all[rand.IntN(len(all))].addr, id)
				if err == nil && resp == http.StatusAccepted {
					g.ack(id)
					return
				}
				time.Sleep(20 * time.Millisecond) // That one is down, or was; another may be up.
			}
		})
	}
}

func (g *rig) ack(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.acked[id] = time.Now()
}

// open asks a replica how many runs are open in all; -1 when it cannot say.
func (g *rig) open() int {
	resp, err := http.Get("http://" + g.first().addr + "/v1/runs?limit=10000")
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	var said struct{ Runs []struct{ Ended *time.Time } }
	if resp.Header.Get("Onward-Unanswered") != "" || json.NewDecoder(resp.Body).Decode(&said) != nil {
		return -1
	}
	n := 0
	for _, l := range said.Runs {
		if l.Ended == nil {
			n++
		}
	}
	return n
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

// A world is the outside: functions that note by which runs they are asked for what.
type world struct {
	mu    sync.Mutex
	runs  map[string]*runSeen        // by run id
	ticks map[string]map[string]bool // the ids of runs, by the time of a tick
}

// A runSeen is what the world saw of one run.
type runSeen struct {
	event string            // whose run it is, from what its join was asked
	ids   map[string]int    // invocations, and how often each came
	joins map[string]string // by invocation: the members
	first time.Time         // when it was first heard of
	last  time.Time         // when it was last heard of
	pause time.Duration     // the longest time in between without a word
}

// working is how long a function works.
const working = 20 * time.Millisecond

func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return // The caller has gone.
	}
	if r.URL.Path == "/tick" {
		w.tick(string(b), r.Header.Get("Ce-Correlationid"))
		return
	}
	w.note(r, b)
	time.Sleep(working)
	_, _ = out.Write(b) // As above.
}

// tick notes that a run was started by a tick.
func (w *world) tick(at, run string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ticks[at] == nil {
		w.ticks[at] = make(map[string]bool)
	}
	w.ticks[at][run] = true
}

// wrongTicks are those that started several runs, or none: all from the first that was seen to the last are due.
func (w *world) wrongTicks() (seen int, wrong []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.Sorted(maps.Keys(w.ticks))
	for i, at := range all {
		if len(w.ticks[at]) != 1 {
			wrong = append(wrong, fmt.Sprintf("%s has started %d runs", at, len(w.ticks[at])))
		}
		was, now := all[max(i-1, 0)], at
		before, err1 := time.Parse(`"`+time.RFC3339+`"`, was)
		this, err2 := time.Parse(`"`+time.RFC3339+`"`, now)
		if err1 != nil || err2 != nil || this.Sub(before) > time.Second {
			wrong = append(wrong, fmt.Sprintf("none between %s and %s", was, now))
		}
	}
	return len(all), wrong
}

func (w *world) note(r *http.Request, body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	run := w.heard(r.Header.Get("Ce-Correlationid"), r.Header.Get("Ce-Id"))
	if r.URL.Path == "/join" {
		run.join(r.Header.Get("Ce-Id"), body)
	}
}

// heard notes an invocation of a run.
func (w *world) heard(id, invocation string) *runSeen {
	now := time.Now()
	run := w.runs[id]
	if run == nil {
		run = &runSeen{ids: make(map[string]int), joins: make(map[string]string), first: now, last: now}
		w.runs[id] = run
	}
	run.pause = max(run.pause, now.Sub(run.last))
	run.last = now
	run.ids[invocation]++
	return run
}

// join notes what a run's join was asked: whose run it is, and the members.
func (r *runSeen) join(invocation string, body []byte) {
	var in struct {
		ID      string
		Results json.RawMessage
	}
	if err := json.Unmarshal(body, &in); err != nil {
		in.Results = json.RawMessage(err.Error())
	}
	r.event, r.joins[invocation] = in.ID, string(in.Results)
}

// isRight reports whether a run did what its flow says: eight calls and one join of their answers.
func (r *runSeen) isRight() bool {
	for _, members := range r.joins {
		if members != "[0,3,6,9,12,15,18,21]" {
			return false
		}
	}
	return len(r.joins) == 1 && len(r.ids) == 9
}
