package bench

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

func forkjoinDocument(url string, _ int) string {
	return fmt.Sprintf(`version: 1
functions: { nop: { http: { url: "http://%s/" } } }
triggers: { bench: { flow: { map: { items: "${ data }", results: count, do: { function: nop } } } } }`, url)
}

func chainDocument(url string, n int) string {
	return fmt.Sprintf(`version: 1
functions: { nop: { http: { url: "http://%s/" } } }
triggers: { bench: { flow: { sequence: [%s] } } }`, url, strings.TrimSuffix(strings.Repeat("{ function: nop }, ", n), ", "))
}

// defaultConcurrency is what functions have that say nothing.
const defaultConcurrency = 64

// Forkjoin is one run of n branches whose functions answer at once, from its start to the join, for each of sizes.
// With a batch, so many invocations go to a function in one request; at best then still is bare HTTP, one request an invocation.
func Forkjoin(ctx context.Context, o Options, sizes []int, batch int) ([]Result, error) {
	document, name := forkjoinDocument, "forkjoin"
	if batch > 0 {
		name = fmt.Sprintf("forkjoin, batches of %d,", batch)
		document = func(url string, n int) string {
			return strings.Replace(forkjoinDocument(url, n), "} } }\ntriggers", fmt.Sprintf("}, batch: %d } }\ntriggers", batch), 1)
		}
	}
	return o.sizes(ctx, name, "branch", sizes, 1, document, func(url string) floor {
		return most(asks(url, defaultConcurrency), commits(defaultConcurrency, 1, recordBytes))
	})
}

// Chain is a run of n steps, one after the other, for each of sizes; parallel of them at a time, which each client follows by the next at once.
// The latencies are those of a hop (an answer's arrival until it is durable and folded) for a single run, of whole runs otherwise.
func Chain(ctx context.Context, o Options, sizes []int, parallel int) ([]Result, error) {
	return o.sizes(ctx, "chain", "hop", sizes, parallel, chainDocument, func(url string) floor {
		if parallel == 1 {
			return sum(asks(url, 1), commits(1, 1, recordBytes))
		}
		return most(asks(url, min(parallel, defaultConcurrency)), commits(parallel, 1, recordBytes))
	})
}

func (o *Options) sizes(ctx context.Context, name, unit string, sizes []int, parallel int, document func(string, int) string, best func(url string) floor) ([]Result, error) {
	functions, url, err := spawn(ctx, "function")
	if err != nil {
		return nil, err
	}
	defer func() { _ = functions.close() }()
	var out []Result
	for _, n := range sizes {
		r, err := o.size(ctx, name, unit, n, parallel, document(url, n), best(url))
		if err != nil {
			return out, err
		}
		out = append(out, *r)
	}
	return out, nil
}

// runsEach is how many runs a client makes, one after the other, when there is more than one client.
const runsEach = 20

func (o *Options) size(ctx context.Context, name, unit string, n, parallel int, document string, best floor) (*Result, error) {
	g, err := o.open(ctx, document, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = g.close() }()
	title, total := fmt.Sprintf("%s of %d", name, n), n
	if parallel > 1 {
		title, total = fmt.Sprintf("%s, %d clients", title, parallel), n*parallel*runsEach
	}
	r, err := o.measure(ctx, title, unit, total, true, best, func() (s sample, err error) {
		g.forgetHops()
		if parallel > 1 {
			return o.clients(ctx, g, n, parallel)
		}
		s, err = o.timed(func() error {
			_, wait, err := g.start(ctx, n)
			if err != nil {
				return err
			}
			return wait()
		})
		g.mu.Lock()
		defer g.mu.Unlock()
		s.latencies = append(s.latencies, g.hops...)
		return s, err
	})
	if err != nil {
		return nil, err
	}
	r.Latency, r.Bytes, r.Concurrency = "hop", len(fmt.Sprint(n)), defaultConcurrency
	if parallel > 1 {
		r.Latency = "run"
	}
	return r, nil
}

// clients makes runs from several clients at once.
func (o *Options) clients(ctx context.Context, g *rig, n, parallel int) (sample, error) {
	var mu sync.Mutex
	var latencies []time.Duration
	var failed error
	s, err := o.timed(func() error {
		var wait sync.WaitGroup
		for range parallel {
			wait.Go(func() {
				for range runsEach {
					begin := time.Now()
					_, done, err := g.start(ctx, n)
					if err == nil {
						err = done()
					}
					mu.Lock()
					latencies = append(latencies, time.Since(begin))
					if err != nil {
						failed = err
					}
					mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
		wait.Wait()
		return failed
	})
	s.latencies = latencies
	return s, err
}
