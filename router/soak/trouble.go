package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// The faults of the process and of its machine.
const (
	killed     = "kill -9"
	killedSoon = "kill -9 while it recovers"
	stopped    = "SIGTERM"
	jumped     = "clock jumps"
	diskFull   = "disk full"
	reloaded   = "reload"
	refused    = "reload of a bad document"
)

// A planned is a fault and when it comes, from the begin.
type planned struct {
	at    time.Duration
	fault string
}

// killsAnHour is what the issue asks for, and a few.
const killsAnHour = 230

// plan draws when which fault comes: the same seed and time give the same plan.
func plan(seed uint64, total time.Duration) []planned {
	r := rand.New(rand.NewPCG(seed, 7))
	times := func(anHour, least int) int { return max(least, int(float64(anHour)*total.Hours()+0.5)) }
	var out []planned
	for _, f := range []struct {
		fault  string
		anHour int
		least  int
	}{
		{killed, killsAnHour * 3 / 4, 4}, {killedSoon, killsAnHour / 4, 1}, {stopped, 30, 1}, {jumped, 90, 2}, {diskFull, 20, 1}, {reloaded, 90, 2}, {refused, 20, 1},
	} {
		for range times(f.anHour, f.least) {
			out = append(out, planned{time.Duration(r.Int64N(int64(total))), f.fault})
		}
	}
	slices.SortFunc(out, func(a, b planned) int { return int(a.at - b.at) })
	return out
}

// A trouble carries a plan out, and keeps the process alive in between.
type trouble struct {
	o     *Options
	n     *nursery
	j     *judge
	disk  *disk
	docs  *generations
	rand  *rand.Rand
	flows []flow
	url   string
	clock time.Duration // what it is off the truth
}

// run carries the plan out, all of it and for as long as it is to last, and ends early with ctx. An error says that it cannot go on.
func (t *trouble) run(ctx context.Context, begin time.Time, plan []planned) error {
	for i := 0; ctx.Err() == nil && (i < len(plan) || time.Since(begin) < t.o.Time); {
		if err := t.tend(ctx); err != nil {
			return err
		}
		if i == len(plan) || time.Since(begin) < plan[i].at {
			pause(ctx, 20*time.Millisecond)
			continue
		}
		fault := plan[i].fault
		i++
		t.n.colour(fault)
		t.j.happened(fault)
		if err := t.do(ctx, fault); err != nil {
			return fmt.Errorf("%s: %w", fault, err)
		}
	}
	return nil
}

// tend starts the process anew when it died by itself.
func (t *trouble) tend(ctx context.Context) error {
	p := t.n.current()
	if p == nil || t.n.buried(p) {
		return t.restart(ctx)
	}
	t.n.measure(p)
	return nil
}

// deathsAtMost is how often the process may die by itself before the soak gives up: more says nothing new.
const deathsAtMost = 20

func (t *trouble) restart(ctx context.Context) error {
	for ctx.Err() == nil {
		p, err := t.n.start()
		if err != nil {
			return err
		}
		if t.n.ready(ctx, p) {
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		if !t.n.buried(p) {
			t.j.blame("", "the router was not ready within %s", readyAtMost)
			t.n.end(p, syscall.SIGKILL)
			return fmt.Errorf("the router does not become ready")
		}
		if t.n.deaths() > deathsAtMost {
			return fmt.Errorf("the router died by itself %d times", t.n.deaths())
		}
		pause(ctx, 200*time.Millisecond)
	}
	return nil
}

func (t *trouble) do(ctx context.Context, fault string) error {
	p := t.n.current()
	switch fault {
	case killed:
		t.n.end(p, syscall.SIGKILL)
		return t.restart(ctx)
	case killedSoon:
		t.n.end(p, syscall.SIGKILL)
		p, err := t.n.start()
		if err != nil {
			return err
		}
		pause(ctx, time.Duration(t.rand.IntN(250))*time.Millisecond)
		t.j.happened(killed)
		t.n.end(p, syscall.SIGKILL)
		return t.restart(ctx)
	case stopped:
		t.n.end(p, syscall.SIGTERM)
		return t.restart(ctx)
	case jumped:
		// Within an hour of the truth, so that what may take six hours is not over by it.
		t.clock = pick(t.rand, 0, time.Hour, -time.Hour, 30*time.Second, -10*time.Second, time.Duration(t.rand.Int64N(int64(2*time.Hour)))-time.Hour)
		return t.n.setClock(t.clock)
	case diskFull:
		return t.fillDisk(ctx)
	case reloaded:
		return t.reload(ctx)
	default:
		return t.reloadBad(ctx, p)
	}
}

// fillDisk fills the disk for a while; half of the times the process is killed meanwhile and has to start on the full disk.
func (t *trouble) fillDisk(ctx context.Context) error {
	if !t.disk.own {
		return t.lowWater(ctx)
	}
	begin := time.Now()
	again := t.rand.IntN(2) == 0
	for time.Since(begin) < t.o.diskTime() && ctx.Err() == nil {
		if err := t.disk.fill(); err != nil {
			return err
		}
		t.n.colour(diskFull)
		if again && time.Since(begin) > t.o.diskTime()/2 {
			again = false
			t.j.happened(killed)
			t.n.end(t.n.current(), syscall.SIGKILL)
			if err := t.restart(ctx); err != nil {
				return err
			}
		}
		if err := t.tend(ctx); err != nil {
			return err
		}
		pause(ctx, 50*time.Millisecond)
	}
	return t.disk.free()
}

// lowWater starts the process with a low-water mark above what any disk has: it refuses starts as it does on a disk that is nearly full.
func (t *trouble) lowWater(ctx context.Context) error {
	for _, mark := range []int64{1 << 60, 0} {
		t.n.end(t.n.current(), syscall.SIGKILL)
		t.n.setLowWater(mark)
		if err := t.restart(ctx); err != nil {
			return err
		}
		if mark > 0 {
			pause(ctx, t.o.diskTime())
		}
	}
	return nil
}

func (t *trouble) write(text string) error {
	name := filepath.Join(t.n.dir, "documents.yaml")
	if err := os.WriteFile(name+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// reload puts the next generation of the documents into force, and waits until it is.
func (t *trouble) reload(ctx context.Context) error {
	_, g := t.docs.between()
	g++
	t.docs.set(g-1, g)
	if err := t.write(documents(t.flows, t.url, g)); err != nil {
		return err
	}
	_ = t.n.current().cmd.Process.Signal(syscall.SIGHUP) // When it is gone it reads them at its start.
	extra := fmt.Sprintf("extra-%d", g-1+g%2)            // Odd generations have one of their own.
	for begin := time.Now(); ctx.Err() == nil; pause(ctx, 10*time.Millisecond) {
		var list struct{ Triggers []struct{ Trigger string } }
		code, err := t.n.door.get(ctx, "/v1/triggers", &list)
		has := slices.ContainsFunc(list.Triggers, func(x struct{ Trigger string }) bool { return x.Trigger == extra })
		if err == nil && code == 200 && has == (g%2 == 1) && len(list.Triggers) > 0 {
			t.docs.set(g, g)
			return nil
		}
		if err := t.tend(ctx); err != nil {
			return err
		}
		if time.Since(begin) > 20*time.Second {
			t.j.blame(reloaded, "documents of generation %d are not in force %s after SIGHUP", g, time.Since(begin).Round(time.Second))
			return nil
		}
	}
	return nil
}

// reloadBad offers documents that are wrong: nothing of them may come into force.
func (t *trouble) reloadBad(ctx context.Context, p *process) error {
	_, g := t.docs.between()
	good := documents(t.flows, t.url, g)
	bad := []string{"version: 1\ntriggers: {", "version: 1\ntriggers: { only: { flow: { function: nowhere } } }\n", "", "\x00\xff", good + "  sequence: {}\n"}
	if err := t.write(bad[t.rand.IntN(len(bad))]); err != nil {
		return err
	}
	_ = p.cmd.Process.Signal(syscall.SIGHUP) // When it is gone it is started below, with the good ones.
	pause(ctx, 300*time.Millisecond)
	if err := t.write(good); err != nil {
		return err
	}
	return t.tend(ctx)
}
