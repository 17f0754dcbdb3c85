package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Options are what a soak needs.
type Options struct {
	// Program is the router's, with the variables Env beside those of this process.
	Program string
	Env     []string
	// Time is how long the faults last; what is open then may end in peace.
	Time time.Duration
	Seed uint64
	// Dir is where the soak's folder is made; empty is the system's for temporary files. The folder is removed when all is well.
	Dir string
	// Limit is the router's memory in bytes. Default 512 MiB; negative is none, for programs that are built with the race detector.
	Limit int64
	// Open is how many runs may be open before no more are started. Default 400.
	Open int
	// Say is told of progress, a line at a time.
	Say func(format string, args ...any)
}

// settleTime is how long the router may take, with no faults any more, without any run ending.
const settleTime = 90 * time.Second

func (o *Options) diskTime() time.Duration { return min(o.Time/20, 6*time.Second) }

// Run soaks a router. The table is there with any error but one of the begin; ctx's end ends it with the table so far.
func Run(ctx context.Context, o Options) (*Table, error) {
	if o.Limit == 0 {
		o.Limit = 512 << 20
	}
	if o.Open == 0 {
		o.Open = 400
	}
	s, err := prepare(ctx, &o)
	if err != nil {
		return nil, err
	}
	err = s.run(ctx)
	return s.t, errors.Join(err, s.leave())
}

// A soak is one under way.
type soak struct {
	o       *Options
	t       *Table
	j       *judge
	n       *nursery
	w       *world
	l       *load
	trouble *trouble
	begin   time.Time
	end     context.CancelFunc
	ctx     context.Context // of all that is not to end before the last run has
}

func prepare(ctx context.Context, o *Options) (s *soak, err error) {
	dir, err := os.MkdirTemp(o.Dir, "onward-soak-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	s = &soak{o: o, j: newJudge(o.Say), begin: time.Now()}
	s.ctx, s.end = context.WithCancel(ctx)
	s.t = &Table{Seed: o.Seed, Dir: dir, Memory: limitedBy, Limit: o.Limit}
	if o.Limit < 0 {
		s.t.Limit, s.t.Memory = 0, "nothing"
	}
	door, err := newDoor()
	if err != nil {
		return nil, err
	}
	if s.w, err = newWorld(s.ctx, s.j, o.Seed); err != nil {
		return nil, err
	}
	s.w.door = door
	log, err := os.Create(filepath.Join(dir, "router.log"))
	if err != nil {
		return nil, err
	}
	s.n = &nursery{o: o, door: door, j: s.j, dir: dir, data: filepath.Join(dir, "disk", "data"), clock: filepath.Join(dir, "clock"), log: log}
	docs, all := new(generations), flows()
	s.trouble = &trouble{o: o, n: s.n, j: s.j, docs: docs, rand: rand.New(rand.NewPCG(o.Seed, 3)), flows: all, url: s.w.url()}
	s.l = &load{j: s.j, door: door, flows: all, docs: docs, prefix: fmt.Sprint(o.Seed), most: o.Open}
	if err := errors.Join(s.n.setClock(0), s.trouble.write(documents(all, s.w.url(), 0))); err != nil {
		return nil, err
	}
	s.trouble.disk, s.t.Disk, err = openDisk(filepath.Join(dir, "disk"))
	return s, err
}

// run is the soak itself: trouble for a time, then peace until all that was promised has come, or nothing comes any more.
func (s *soak) run(ctx context.Context) error {
	if err := s.trouble.restart(ctx); err != nil {
		return err
	}
	s.begin = time.Now()
	hostile, stop := context.WithCancel(ctx)
	defer stop()
	s.w.honest = func() bool { return hostile.Err() != nil }
	s.l.run(hostile, s.ctx, s.o.Seed, 8)
	s.l.busy.Go(func() { s.probe(hostile) })
	s.l.busy.Go(func() { s.progress(hostile) })
	enemies := newHostile(s, hostile)
	enemies.run(&s.l.busy)
	err := s.trouble.run(hostile, s.begin, plan(s.o.Seed, s.o.Time))
	stop()
	if err != nil {
		s.end()
		s.l.busy.Wait()
		return err
	}
	if s.t.Interrupted = ctx.Err() != nil; s.t.Interrupted {
		s.t.Open = s.j.openRuns()
		s.l.busy.Wait()
		return nil
	}
	return s.settle(ctx)
}

// settle waits, in peace, for the ends of all runs; then the router must stop in good order, start again, and have nothing open.
func (s *soak) settle(ctx context.Context) error {
	if err := errors.Join(s.n.setClock(0), ignoreMissing(s.trouble.disk.free())); err != nil {
		return err
	}
	s.n.setLowWater(0)
	settled := s.waitForEnds(ctx)
	s.end()
	s.l.busy.Wait()
	if ctx.Err() != nil || !settled {
		s.t.Open = int(s.n.door.gauge(ctx, "onward_runs"))
		s.explain()
		return ctx.Err()
	}
	s.n.end(s.n.current(), syscall.SIGTERM)
	if err := s.trouble.restart(ctx); err != nil {
		return err
	}
	for begin := time.Now(); ctx.Err() == nil; pause(ctx, 50*time.Millisecond) {
		if s.t.Open = int(s.n.door.gauge(ctx, "onward_runs")); s.t.Open == 0 || time.Since(begin) > 10*time.Second {
			break
		}
	}
	return s.lettersAreNone(ctx)
}

// lettersAreNone looks for dead letters: nothing had to be given up but what a chain that never ends starts.
func (s *soak) lettersAreNone(ctx context.Context) error {
	var said struct {
		Letters []struct{ Letter, Trigger, Function, Starts string }
	}
	if code, err := s.n.door.get(ctx, "/v1/dead?limit=10000", &said); err != nil || code != 200 {
		return fmt.Errorf("asking for dead letters: %d, %w", code, err)
	}
	for _, x := range said.Letters {
		if x.Trigger != "loop" {
			s.j.blame("", "given up: %s of %s to %s%s", x.Letter, x.Trigger, x.Function, x.Starts)
		}
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// waitForEnds reports whether all runs have ended. It gives up when none does for a while.
func (s *soak) waitForEnds(ctx context.Context) bool {
	begin := time.Now()
	for ctx.Err() == nil {
		if err := s.trouble.tend(ctx); err != nil {
			return false
		}
		open := s.j.openRuns()
		if open == 0 {
			return true
		}
		if time.Since(s.j.lastEnd(begin)) > settleTime {
			return false
		}
		pause(ctx, 50*time.Millisecond)
	}
	return false
}

// explain asks the router about some of the runs that have not ended.
func (s *soak) explain() {
	for i, r := range s.j.unended() {
		if i == 10 {
			return
		}
		var said struct {
			Reasons []struct{ Path, Text string }
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		code, err := s.n.door.get(ctx, "/v1/runs/"+r.id+"/explain", &said)
		cancel()
		s.j.lose("run %s of event %s (%s) has no end; the router says (%d, %v): %.500q", r.id, r.key, r.trigger, code, err, fmt.Sprint(said.Reasons))
	}
}

// probe starts runs that do nothing, one after the other, and takes the time; what the process's own end interrupts does not count.
func (s *soak) probe(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		p, begin := s.n.current(), time.Now()
		e := event{ID: fmt.Sprintf("probe-%d", i), Source: "/soak/probe", Type: "soak.probe", Data: []byte("1")}
		code, err := s.n.door.probe(ctx, e)
		if took := time.Since(begin); err == nil && code == 200 && p == s.n.current() {
			s.j.probed(took, s.n.colours())
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// progress says how it goes.
func (s *soak) progress(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, min(s.o.Time/4, 10*time.Second))
		var t Table
		s.count(&t)
		all := t.Total()
		s.o.Say("%s of %s: %d events, %d runs (%d open), %d invocations, %d kills, %d wrong, %d died, peak %d MiB", time.Since(s.begin).Round(time.Second), s.o.Time,
			all.Events, all.Runs, s.j.openRuns(), t.Invocations, t.Times(killed), all.Wrong, t.Died, t.Peak>>20)
	}
}

func (s *soak) count(t *Table) {
	s.n.use(t)
	s.j.table(t)
}

// leave ends the process and sums up. The folder stays when something is not right.
func (s *soak) leave() error {
	s.end()
	if p := s.n.current(); p != nil && !s.n.buried(p) {
		s.n.end(p, syscall.SIGKILL)
	}
	s.w.close()
	s.t.Took = time.Since(s.begin)
	s.count(s.t)
	err := s.n.log.Close()
	keep := s.t.Bad()
	if keep && s.trouble.disk.own {
		err = errors.Join(err, os.CopyFS(filepath.Join(s.t.Dir, "kept"), os.DirFS(s.n.data)))
	}
	err = errors.Join(err, s.trouble.disk.unmount())
	if !keep {
		err = errors.Join(err, os.RemoveAll(s.t.Dir))
		s.t.Dir = ""
	}
	return err
}

func (j *judge) lastEnd(atLeast time.Time) time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.MaxFunc([]time.Time{j.lastOK, atLeast}, time.Time.Compare)
}

// lose notes what is known of a run that has no end.
func (j *judge) lose(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.note("lost", format, args...)
}

func (n *nursery) current() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

func (n *nursery) deaths() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.died
}
