// Command tasks serves the function of the example over plain HTTP, and tells at its end how long the dag took and how long it had to take.
//
//	POST /work  {"seconds": 4.049}   -> {"slept": 0.004049}   (with -scale 1000)
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/schedulers/builtin"
	"github.com/onward-router/onward/schedulers/dag"
	sinks "github.com/onward-router/onward/sinks/all"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:7002", "address to listen on")
	document := flag.String("document", "", "the document with the dag")
	trigger := flag.String("trigger", "", "the trigger whose flow the dag is")
	scale := flag.Float64("scale", 1000, "how many times faster than in the document")
	ready := flag.String("ready", "", "file to write the address to, once it listens")
	flag.Parse()
	p, err := plan(*document, *trigger)
	if err != nil {
		log.Fatal(err)
	}
	w := &work{scale: *scale}
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	if *ready != "" {
		if err := os.WriteFile(*ready, []byte(l.Addr().String()), 0o644); err != nil {
			log.Fatal(err)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	mux := http.NewServeMux()
	mux.Handle("POST /work", w)
	server := &http.Server{Handler: mux}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	<-ctx.Done()
	if err := server.Shutdown(context.Background()); err != nil {
		log.Print(err)
	}
	p.report(w)
}

// A work sleeps in place of the tasks, and notes when.
type work struct {
	scale float64

	mu          sync.Mutex
	calls       int
	open, most  int
	first, last time.Time
}

func (k *work) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	var in struct{ Seconds float64 }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, "the input is {\"seconds\": 1.5}", http.StatusBadRequest)
		return
	}
	k.mu.Lock()
	if k.calls++; k.calls == 1 {
		k.first = begin
	}
	k.open++
	k.most = max(k.most, k.open)
	k.mu.Unlock()
	slept := scaled(in.Seconds, k.scale)
	time.Sleep(slept)
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(map[string]float64{"slept": slept.Seconds()}); err != nil {
		log.Print(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open--
	k.last = time.Now()
}

func scaled(seconds, scale float64) time.Duration {
	return time.Duration(seconds / scale * float64(time.Second))
}

// A path is the longest one through the dag: what no number of workers makes shorter.
type path struct {
	trigger string
	tasks   int
	work    float64  // seconds of all tasks
	longest float64  // seconds of the path
	names   []string // of its tasks
}

// plan reads the dag of a document, as the router does.
func plan(document, trigger string) (*path, error) {
	registry := new(plugin.Registry)
	builtin.Register(registry)
	sinks.Register(registry)
	set, findings := config.Load([]string{document}, registry, nil)
	if len(findings) > 0 {
		return nil, fmt.Errorf("%v; see onward lint", findings[0])
	}
	t := set.Triggers[trigger]
	if t == nil || t.Definition.Flow == nil {
		return nil, fmt.Errorf("%s has no trigger %q with a flow", document, trigger)
	}
	flow, ok := t.Definition.Flow.Policy.(*dag.DAG)
	if !ok {
		return nil, fmt.Errorf("the flow of trigger %q is no dag", trigger)
	}
	p := &path{trigger: trigger, tasks: len(flow.Steps)}
	steps, seconds := make(map[string]*dag.Step), make(map[string]float64)
	for i := range flow.Steps {
		s := &flow.Steps[i]
		var in struct{ Seconds float64 }
		v, constant := s.Input.Const()
		if err := v.Decode(&in); err != nil || !constant {
			return nil, fmt.Errorf("step %q says not how many seconds it takes", s.Name)
		}
		steps[s.Name], seconds[s.Name] = s, in.Seconds
		p.work += in.Seconds
	}
	ends, before := make(map[string]float64), make(map[string]string)
	var end func(name string) float64
	end = func(name string) float64 {
		if v, had := ends[name]; had {
			return v
		}
		begin := 0.0
		for _, need := range steps[name].Needs {
			if e := end(need.Step); e > begin {
				begin, before[name] = e, need.Step
			}
		}
		ends[name] = begin + seconds[name]
		return ends[name]
	}
	last := ""
	for i := range flow.Steps {
		if name := flow.Steps[i].Name; end(name) > p.longest {
			p.longest, last = ends[name], name
		}
	}
	for name := last; name != ""; name = before[name] {
		p.names = append([]string{name}, p.names...)
	}
	return p, nil
}

// report compares what happened with the plan.
func (p *path) report(k *work) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.calls == 0 {
		return
	}
	took, had := k.last.Sub(k.first), scaled(p.longest, k.scale)
	over := took - had
	round := func(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
	fmt.Printf("\n%s: %d tasks, %d calls, up to %d at a time; %.0f s of work, %g times faster\n", p.trigger, p.tasks, k.calls, k.most, p.work, k.scale)
	fmt.Printf("  makespan       %9s  from the first call's arrival to the last answer\n", round(took))
	fmt.Printf("  critical path  %9s  %d tasks that wait for one another, the longest way through the dag\n", round(had), len(p.names))
	fmt.Printf("  overhead       %9s  %s a task of that path, for router, HTTP, and sleeps that end late\n", round(over), round(over/time.Duration(cmp.Or(len(p.names), 1))))
	fmt.Printf("\nThe critical path: %s\n", strings.Join(p.names, " > "))
}
