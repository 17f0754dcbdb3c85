package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// A load sends the events of the flows, each until it is acknowledged, and does what runs need from outside.
type load struct {
	j      *judge
	door   *door
	flows  []flow
	docs   *generations
	prefix string
	most   int // open runs beyond which it waits
	busy   sync.WaitGroup
}

// generations are those of the documents: the one in force, and the one that is being put into force.
type generations struct {
	mu       sync.Mutex
	old, new int
}

func (g *generations) between() (old, new int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.old, g.new
}

func (g *generations) set(old, new int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.old, g.new = old, new
}

// A draft is an event with what it must come to.
type draft struct {
	flow *flow
	run  *run
	e    event
}

// choose draws a flow, by weight, that has not too many runs open: one that its function holds up shall not hold up the others.
func (l *load) choose(r *rand.Rand) *flow {
	all := 0
	for i := range l.flows {
		all += l.flows[i].weight
	}
	for {
		n := r.IntN(all)
		for i := range l.flows {
			f := &l.flows[i]
			if n -= f.weight; n < 0 {
				if l.j.openOf(f.name) < max(l.most/8, 2) {
					return f
				}
				break
			}
		}
	}
}

// draw makes an event of a flow.
func (l *load) draw(r *rand.Rand, id string) draft {
	f := l.choose(r)
	data, right := f.make(r)
	wants := []want{right}
	switch {
	case f.then == leads:
		var x int
		_ = json.Unmarshal([]byte(data), &x) // It is a number.
		wants = []want{succeeded(map[string]any{"of": id, "x": x + 1})}
	case f.versioned:
		wants = nil // They are known when it is acknowledged.
	}
	e := event{ID: id, Source: "/soak/load", Type: "soak." + f.name, Data: []byte(data)}
	return draft{f, l.j.expect(id, f.name, wants...), e}
}

// send sends events by one of the doors until all are acknowledged. It gives up with ctx only.
func (l *load) send(ctx context.Context, r *rand.Rand, id string) {
	drafts := []draft{l.draw(r, id)}
	door := r.IntN(5)
	if door == batch {
		for i := range r.IntN(8) {
			drafts = append(drafts, l.draw(r, fmt.Sprintf("%s-%d", id, i)))
		}
	}
	first, _ := l.docs.between()
	for tries := 0; ctx.Err() == nil; tries++ {
		runs, code, err := l.try(ctx, door, drafts)
		if code < 300 && err == nil {
			_, last := l.docs.between()
			for i, d := range drafts {
				l.taken(ctx, d, runs[i], first, last)
			}
			if r.IntN(20) == 0 {
				l.repeat(ctx, door, drafts)
			}
			return
		}
		if err == nil && code != 429 && code != 503 && code != 507 {
			l.j.blame("", "a good event (%s) was refused with %d", drafts[0].e.Type, code)
			return
		}
		pause(ctx, min(time.Duration(1+tries)*20*time.Millisecond, 300*time.Millisecond))
	}
}

// repeat sends events that were acknowledged once more: they are the same runs.
func (l *load) repeat(ctx context.Context, door int, drafts []draft) {
	runs, code, err := l.try(ctx, door, drafts)
	if err != nil || code >= 300 {
		return
	}
	l.j.sent("events again", len(drafts))
	for i, d := range drafts {
		l.j.acknowledged(d.run, runs[i])
	}
}

// try sends events once and returns their runs.
func (l *load) try(ctx context.Context, door int, drafts []draft) (runs []string, code int, err error) {
	if d := drafts[0]; door > batch { // By the API, a trigger by its name.
		code, answer, err := l.door.send(ctx, "POST", "/v1/triggers/"+d.flow.name, http.Header{"Idempotency-Key": {d.e.ID}, "Content-Type": {"application/json"}}, d.e.Data)
		var said struct{ Run string }
		if err == nil && code < 300 {
			err = json.Unmarshal(answer, &said)
		}
		return []string{said.Run}, code, err
	}
	events := make([]event, len(drafts))
	for i, d := range drafts {
		events[i] = d.e
	}
	code, receipts, err := l.door.post(ctx, door, events...)
	for _, got := range receipts {
		run := ""
		if len(got.Runs) == 1 {
			run = got.Runs[0].ID
		}
		runs = append(runs, run)
	}
	return runs, code, err
}

// taken books a receipt, and sees to what the run needs.
func (l *load) taken(ctx context.Context, d draft, id string, first, last int) {
	if id == "" {
		l.j.blame("", "event %s of type %s was acknowledged, and started nothing", d.e.ID, d.e.Type)
		return
	}
	if d.flow.versioned {
		var x int
		_ = json.Unmarshal(d.e.Data, &x) // It is a number.
		for g := first; g <= last; g++ {
			l.j.accept(d.run, succeeded([]int{g, g, x}))
		}
	}
	if d.flow.then == leads {
		data := d.run.wants[0].Data
		f := l.j.expect("follow-"+d.e.ID, follower, want{State: "succeeded", Data: data})
		l.j.acknowledged(f, follower+data)
	}
	l.j.acknowledged(d.run, id)
	switch d.flow.then {
	case signals:
		l.busy.Go(func() { l.signal(ctx, d, id) })
	case cancels:
		l.busy.Go(func() { l.cancel(ctx, d, id) })
	}
}

// signal sends what the run waits for, by one of the doors, until it is taken; then again, which must change nothing.
func (l *load) signal(ctx context.Context, d draft, id string) {
	r := rand.New(rand.NewPCG(hash(id), 1))
	pause(ctx, time.Duration(r.IntN(800))*time.Millisecond)
	var x int
	_ = json.Unmarshal(d.e.Data, &x) // It is a number.
	data := []byte(fmt.Sprint(x + 7))
	byEvent := r.IntN(2) == 0
	for tries := 0; ctx.Err() == nil; tries++ {
		var code int
		var err error
		if byEvent {
			code, _, err = l.door.post(ctx, r.IntN(batch+1), event{ID: d.e.ID, Source: "/soak/signals", Type: "dev.onward.signal", Subject: "go", Run: id, Data: data})
		} else {
			code, _, err = l.door.send(ctx, "POST", "/v1/runs/"+id+"/signals/go", http.Header{"Idempotency-Key": {d.e.ID}, "Content-Type": {"application/json"}}, data)
		}
		known := tries > 0 && (code == 409 || code == 410 || code == 404) // The answer to an earlier try was lost.
		switch {
		case err == nil && (code < 300 || known):
			return
		case err == nil && code != 503 && code != 429:
			l.j.blame("", "the signal to run %s was refused with %d", id, code)
			return
		}
		pause(ctx, 50*time.Millisecond)
	}
}

func (l *load) cancel(ctx context.Context, d draft, id string) {
	pause(ctx, time.Duration(hash(id)%900)*time.Millisecond)
	for tries := 0; ctx.Err() == nil; tries++ {
		code, _, err := l.door.send(ctx, "POST", "/v1/runs/"+id+"/cancel?reason="+url.QueryEscape("it is over"), nil, nil)
		if err == nil && (code < 300 || tries > 0 && (code == 409 || code == 410 || code == 404)) {
			break
		}
		if err == nil && code != 503 && code != 429 {
			l.j.blame("", "the cancel of run %s was refused with %d", id, code)
			return
		}
		pause(ctx, 50*time.Millisecond)
	}
	for ctx.Err() == nil { // Nobody is told of its end: it is asked for.
		var said struct{ State string }
		code, err := l.door.get(ctx, "/v1/runs/"+id+"?wait=5s", &said)
		if err == nil && code == 200 && said.State != "running" && said.State != "ending" {
			l.j.collect(id, collected{id: "api", want: want{State: said.State}})
			return
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// run sends until stop ends, from several clients; each goes on until its last events are acknowledged.
func (l *load) run(stop, ctx context.Context, seed uint64, clients int) {
	for c := range clients {
		l.busy.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(c)))
			for i := 0; stop.Err() == nil; i++ {
				if l.j.openRuns() > l.most {
					pause(stop, 20*time.Millisecond)
					continue
				}
				l.send(ctx, r, fmt.Sprintf("%s-%d-%d", l.prefix, c, i))
				pause(stop, time.Duration(r.IntN(40))*time.Millisecond)
			}
		})
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
