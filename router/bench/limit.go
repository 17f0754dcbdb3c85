package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onward-router/onward/router/folder"
)

// What a machine gives at best is measured by programs that do one thing and nothing else: bare net/http between two processes, and bare commits of a prepared
// file. A workload needs so many of each for a unit; the least time that it could take by them is its floor. Before and after each repetition the floor
// is measured anew, so what a slow machine, or one that others are at work on, takes from the workload it takes from the floor too: their ratio is what can be compared.

// Units of what the limit's programs do at a time: enough to be even, few enough to be quick.
const (
	limitRequests = 4000 // by many clients
	limitAlone    = 800  // one after the other
	limitCommits  = 20_000
)

// A floor is the least time that a unit of a workload could take on this machine, now.
type floor func(ctx context.Context) (time.Duration, error)

// most is the floor of what needs all of some at the same time: the slowest of them holds it up.
func most(of ...floor) floor {
	return func(ctx context.Context) (time.Duration, error) {
		var least time.Duration
		for _, f := range of {
			d, err := f(ctx)
			if err != nil {
				return 0, err
			}
			least = max(least, d)
		}
		return least, nil
	}
}

// sum is the floor of what needs some one after the other.
func sum(of ...floor) floor {
	return func(ctx context.Context) (time.Duration, error) {
		var all time.Duration
		for _, f := range of {
			d, err := f(ctx)
			if err != nil {
				return 0, err
			}
			all += d
		}
		return all, nil
	}
}

func requests(clients int) int {
	if clients == 1 {
		return limitAlone
	}
	return limitRequests
}

// asks is the time of a request to the process of the functions, by so many clients in this one; of one client the median, since a wait that others are to
// blame for is not at best.
func asks(url string, clients int) floor {
	return func(context.Context) (time.Duration, error) {
		n := requests(clients)
		r := (&Load{URL: "http://" + url + "/limit", Events: n, Clients: clients, Want: http.StatusOK, Prefix: "limit"}).run()
		if r.Err != "" {
			return 0, errors.New(r.Err)
		}
		if clients == 1 {
			slices.Sort(r.Latencies)
			return r.Latencies[n/2], nil
		}
		return r.Wall / time.Duration(n), nil
	}
}

// answers is the time of a request from the process of the load to a server here that only answers, by so many clients. With a url, the server asks there
// first.
func answers(load *child, url string, clients int) floor {
	return func(context.Context) (time.Duration, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
		defer client.CloseIdleConnections()
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err == nil && url != "" {
				err = relay(client, url, string(body))
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			_, _ = io.WriteString(w, "1")
		})}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = srv.Serve(l) // It ends by Close.
		}()
		defer func() { _ = srv.Close(); <-served }()
		n := requests(clients)
		r, err := load.generate(Load{URL: "http://" + l.Addr().String() + "/", Events: n, Clients: clients, Want: http.StatusOK, Prefix: "limit"})
		if err != nil {
			return 0, err
		}
		return r.Wall / time.Duration(n), nil
	}
}

func relay(client *http.Client, url, body string) error {
	resp, err := client.Post("http://"+url+"/limit", "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// commits is the time of a record of so many bytes by so many writers, each of which waits until its own is durable, and brings batch of them at a time: who
// waits at the same time shares a write and a sync. Of one writer it is the median.
func commits(writers, batch, bytes int) floor {
	return func(context.Context) (_ time.Duration, err error) {
		n := limitCommits
		if writers*batch == 1 {
			n = limitAlone
		}
		dir, err := os.MkdirTemp("", "onward-bench-")
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		f, err := os.Create(filepath.Join(dir, "limit"))
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		if _, err = f.Write(make([]byte, (n+writers*batch)*bytes)); err != nil {
			return 0, err
		}
		if err = f.Sync(); err != nil {
			return 0, err
		}
		if _, err = f.Seek(0, io.SeekStart); err != nil {
			return 0, err
		}
		return commitAll(f, n, writers, make([]byte, bytes*batch), batch)
	}
}

// A ledger is a file that many write to: who comes while others wait for the disk is of the next group, and the first of a group writes it.
type ledger struct {
	file *os.File
	disk sync.Mutex // one group at a time

	mu   sync.Mutex
	next *group
}

type group struct {
	bytes   []byte
	durable chan struct{}
	err     error
}

// commit returns once a record is durable.
func (l *ledger) commit(record []byte) error {
	l.mu.Lock()
	g := l.next
	first := g == nil
	if first {
		g = &group{durable: make(chan struct{})}
		l.next = g
	}
	g.bytes = append(g.bytes, record...)
	l.mu.Unlock()
	if !first {
		<-g.durable
		return g.err
	}
	l.disk.Lock()
	defer l.disk.Unlock()
	l.mu.Lock()
	l.next = nil
	l.mu.Unlock()
	if _, g.err = l.file.Write(g.bytes); g.err == nil {
		g.err = folder.SyncData(l.file)
	}
	close(g.durable)
	return g.err
}

// commitAll has writers commit n records, batch at a time.
func commitAll(f *os.File, n, writers int, records []byte, batch int) (each time.Duration, err error) {
	l := &ledger{file: f}
	times := make([]time.Duration, 0, n/batch) // of one writer
	begin := time.Now()
	var next atomic.Int64
	failed := make([]error, writers)
	var working sync.WaitGroup
	for i := range writers {
		working.Go(func() {
			for failed[i] == nil && next.Add(1) <= int64(n/batch) {
				at := time.Now()
				failed[i] = l.commit(records)
				if writers == 1 {
					times = append(times, time.Since(at))
				}
			}
		})
	}
	working.Wait()
	each = time.Since(begin) / time.Duration(n)
	if slices.Sort(times); len(times) > 0 {
		each = times[len(times)/2] / time.Duration(batch)
	}
	return each, errors.Join(failed...)
}

// Limit measures what this machine gives at best.
func Limit(ctx context.Context, o Options, clients int) ([]Result, error) {
	functions, url, err := spawn(ctx, "function")
	if err != nil {
		return nil, err
	}
	defer func() { _ = functions.close() }()
	load, _, err := spawn(ctx, "load")
	if err != nil {
		return nil, err
	}
	defer func() { _ = load.close() }()
	var out []Result
	for _, x := range []struct {
		name, unit string
		f          floor
	}{
		{"http out, one at a time", "request", asks(url, 1)},
		{fmt.Sprintf("http out, %d clients", clients), "request", asks(url, clients)},
		{fmt.Sprintf("http in, %d clients", clients), "request", answers(load, "", clients)},
		{fmt.Sprintf("http in and out, %d clients", clients), "request", answers(load, url, clients)},
		{"commits, one at a time", "record", commits(1, 1, recordBytes)},
		{fmt.Sprintf("commits, %d writers", clients), "record", commits(clients, 1, recordBytes)},
		{"commits, 4 writers of 500", "record", commits(4, 500, recordBytes)},
	} {
		r, err := o.limit(ctx, x.name, x.unit, x.f)
		if err != nil {
			return out, err
		}
		out = append(out, *r)
	}
	return out, nil
}

// recordBytes is about what a record of the journal has in these workloads.
const recordBytes = 300

// limit repeats a floor, once to warm up.
func (o *Options) limit(ctx context.Context, name, unit string, f floor) (*Result, error) {
	var times []time.Duration
	for i := range o.Runs + 1 {
		o.Say("%s, %d of %d", name, i+1, o.Runs+1)
		d, err := f(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if i > 0 {
			times = append(times, d)
		}
	}
	slices.Sort(times)
	r := &Result{Workload: name, N: 1, Unit: unit, Median: times[len(times)/2], Least: times[0], Most: times[len(times)-1], Durability: "fsync"}
	r.Each, r.PerSecond = r.Median, 1/r.Median.Seconds()
	return r, nil
}
