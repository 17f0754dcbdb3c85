package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A map of nothing is the shortest run.
const startsDocument = `version: 1
functions: { out: { http: { url: "http://127.0.0.1:1/" } } }
sources: { inbox: { webhook: { path: /events } } }
triggers: { bench: { filters: [{ exact: { type: com.example.bench } }], flow: { map: { items: 0, do: { function: out } } } } }`

const webhookDocument = `version: 1
functions: { out: { http: { url: "http://%s/" } } }
sources: { inbox: { webhook: { path: /events } } }
triggers: { bench: { filters: [{ exact: { type: com.example.bench } }], onSuccess: { function: out } } }`

// generate has another process post, and returns what it saw.
func (c *child) generate(l Load) (*Report, error) {
	line, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return nil, err
	}
	var r Report
	answer, err := c.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("the load's process ended: %w", err)
	}
	if err := json.Unmarshal(answer, &r); err != nil {
		return nil, err
	}
	if r.Err != "" {
		return nil, errors.New(r.Err)
	}
	return &r, nil
}

// Starts is runs that do nothing, each from a POST to the answer with its result, by so many clients.
func Starts(ctx context.Context, o Options, n, clients int) (*Result, error) {
	g, err := o.open(ctx, startsDocument, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer func() { _ = g.close() }()
	load, _, err := spawn(ctx, "load")
	if err != nil {
		return nil, err
	}
	defer func() { _ = load.close() }()
	round := 0
	r, err := o.measure(ctx, fmt.Sprintf("starts, %d clients", clients), "run", n, true, most(answers(load, "", clients), commits(clients, 1, recordBytes)), func() (sample, error) {
		round++
		var report *Report
		s, err := o.timed(func() (err error) {
			report, err = load.generate(Load{
				URL: "http://" + g.Addr() + "/events", Events: n, Clients: clients, Want: 200, Prefix: fmt.Sprint(round), Header: map[string]string{"Prefer": "wait=30"},
			})
			return err
		})
		if err == nil {
			s.wall, s.latencies = report.Wall, report.Latencies
		}
		return s, err
	})
	if err != nil {
		return nil, err
	}
	r.Latency, r.Bytes, r.Concurrency = "run", len(loadData), clients
	return r, nil
}

// Webhook is n events from webhook to webhook: posted by so many clients, batch of them at a time (0: one, in binary mode), until all have arrived.
func Webhook(ctx context.Context, o Options, n, clients, batch int) (*Result, error) {
	functions, url, err := spawn(ctx, "function")
	if err != nil {
		return nil, err
	}
	defer func() { _ = functions.close() }()
	g, err := o.open(ctx, fmt.Sprintf(webhookDocument, url), "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer func() { _ = g.close() }()
	load, _, err := spawn(ctx, "load")
	if err != nil {
		return nil, err
	}
	defer func() { _ = load.close() }()
	name := fmt.Sprintf("webhook, %d clients", clients)
	best := most(answers(load, url, clients), commits(clients, 1, recordBytes))
	if batch > 0 { // What goes out goes one by one.
		best = most(asks(url, defaultConcurrency), commits(clients, batch, recordBytes))
		name = fmt.Sprintf("%s, batches of %d", name, batch)
		n -= n % batch
	}
	round := 0
	r, err := o.measure(ctx, name, "event", n, true, best, func() (sample, error) {
		round++
		var report *Report
		s, err := o.timed(func() (err error) {
			report, err = load.generate(Load{URL: "http://" + g.Addr() + "/events", Events: n, Batch: batch, Clients: clients, Want: 202, Prefix: fmt.Sprint(round)})
			if err != nil {
				return err
			}
			return arrived(ctx, url, n*round)
		})
		if err == nil {
			s.latencies = report.Latencies
		}
		return s, err
	})
	if err != nil {
		return nil, err
	}
	r.Latency, r.Bytes, r.Concurrency = "acknowledgement", len(loadData), clients
	return r, nil
}

// arrived waits until the functions have had n events.
func arrived(ctx context.Context, url string, n int) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := received(ctx, url)
		if err != nil {
			return err
		}
		if got >= n {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d events arrived: %w", got, n, ctx.Err())
		}
	}
}
