package soak

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process is the router's, from start to end.
type process struct {
	cmd   *exec.Cmd
	gone  chan struct{} // closed when it has ended
	err   error         // how, once it is gone
	mu    sync.Mutex
	ended bool  // by us
	peak  int64 // bytes that it had at most, as was seen last
}

// A nursery starts the router's process, again and again.
type nursery struct {
	o     *Options
	door  *door
	j     *judge
	dir   string // of this soak
	data  string
	clock string // file of the offset of its clock
	log   *os.File

	mu     sync.Mutex
	now    *process
	starts int
	died   int
	peak   int64
	recent []recent
	last   []string // lines of its log
	low    int64    // the low-water mark; 0 is the usual one
}

// A recent fault colours what is measured in the seconds after it.
type recent struct {
	fault string
	until time.Time
}

const afterglow = 5 * time.Second

// colour says that what is measured in the next seconds is the fault's.
func (n *nursery) colour(fault string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.recent = append(n.recent, recent{fault, time.Now().Add(afterglow)})
}

// colours are the faults of the last seconds.
func (n *nursery) colours() (out []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	kept := n.recent[:0]
	for _, r := range n.recent {
		if time.Now().Before(r.until) {
			kept = append(kept, r)
			out = append(out, r.fault)
		}
	}
	n.recent = kept
	return out
}

// start starts the process; it is at work when ready says so.
func (n *nursery) start() (*process, error) {
	args := []string{
		"serve", filepath.Join(n.dir, "documents.yaml"), "--listen", n.door.addr, "--data", n.data, "--durability", "fsync", "--log-level", "warn",
		"--snapshot-records", "150", "--history-bytes", "33554432", "--drain", "2s", "--watchdog", "30s", "--disk-low-water", fmt.Sprint(n.lowWater()), "--clock", n.clock,
	}
	cmd := exec.Command(n.o.Program, args...)
	cmd.Env = append(os.Environ(), n.o.Env...)
	if n.o.Limit > 0 { // As deploy/kubernetes does it for its limit.
		cmd.Env = append(cmd.Env, fmt.Sprintf("GOMEMLIMIT=%d", n.o.Limit/100*85))
	}
	out, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, gone: make(chan struct{})}
	var limitErr error
	if n.o.Limit > 0 {
		limitErr = limitMemory(cmd.Process.Pid, n.o.Limit)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		n.listen(out)
	}()
	go func() {
		<-read // Wait closes the pipe.
		p.err = cmd.Wait()
		close(p.gone)
	}()
	n.mu.Lock()
	n.now = p
	n.starts++
	n.mu.Unlock()
	return p, limitErr
}

// listen keeps the log, and looks for what must never stand in it.
func (n *nursery) listen(out io.Reader) {
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			n.mu.Lock()
			_, _ = n.log.WriteString(line) // A log that is cut short is no fault of the router.
			n.last = append(n.last[max(0, len(n.last)-lastLines):], line)
			n.mu.Unlock()
			for _, bad := range []string{"panic", "the fold died", "fatal error", "DATA RACE", "makes no progress", "is passed over"} {
				if strings.Contains(line, bad) {
					n.j.blame("", "the router's log: %.300s", strings.TrimSpace(line))
					break
				}
			}
		}
		if err != nil {
			return
		}
	}
}

// ready waits until the process takes events. False: it ended first, or it does not become ready.
func (n *nursery) ready(ctx context.Context, p *process) bool {
	begin := time.Now()
	for ctx.Err() == nil && time.Since(begin) < readyAtMost {
		code, _, err := n.door.send(ctx, "GET", "/readyz", nil, nil)
		if err == nil && code == 200 {
			n.j.ready(time.Since(begin))
			return true
		}
		select {
		case <-p.gone:
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	return false
}

const readyAtMost = time.Minute

// measure takes down what memory the process has had.
func (n *nursery) measure(p *process) {
	peak, err := peakOf(p.cmd.Process.Pid)
	if err != nil {
		return // It is gone.
	}
	n.mu.Lock()
	n.peak = max(n.peak, peak)
	n.mu.Unlock()
	p.mu.Lock()
	over := n.o.Limit > 0 && peak > n.o.Limit && p.peak <= n.o.Limit
	p.peak = peak
	p.mu.Unlock()
	n.j.memory(peak, n.colours())
	if over {
		n.j.blame("", "the router has had %d MiB, and the limit is %d MiB", peak>>20, n.o.Limit>>20)
	}
}

// end ends the process by a signal, and waits for its end. After SIGTERM it must have left in good order.
func (n *nursery) end(p *process, sig syscall.Signal) {
	n.measure(p)
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	_ = p.cmd.Process.Signal(sig) // It may be gone already.
	select {
	case <-p.gone:
	case <-time.After(endAtMost):
		n.j.blame("", "the router does not end on %s within %s", sig, endAtMost)
		_ = p.cmd.Process.Kill()
		<-p.gone
	}
	if sig == syscall.SIGTERM && p.err != nil && !n.isFull() {
		n.j.blame("", "the router ended by SIGTERM with %v", p.err)
	}
}

const lastLines = 3

const endAtMost = 30 * time.Second

// isFull says that a fault makes it impossible to leave in good order.
func (n *nursery) isFull() bool {
	for _, f := range n.colours() {
		if f == diskFull {
			return true
		}
	}
	return false
}

// buried tells whether the process died by itself, and books it.
func (n *nursery) buried(p *process) bool {
	select {
	case <-p.gone:
	default:
		return false
	}
	p.mu.Lock()
	ended := p.ended
	p.ended = true
	p.mu.Unlock()
	if ended {
		return false
	}
	n.mu.Lock()
	n.died++
	last := strings.Join(n.last, "")
	n.mu.Unlock()
	n.j.blame("", "the router ended by itself: %v; it said last: %.600s", p.err, last)
	return true
}

// use gives what the table says of the processes.
func (n *nursery) use(t *Table) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t.Starts, t.Died, t.Peak = n.starts, n.died, n.peak
}

// setClock puts the clock of the process ahead, or back.
func (n *nursery) setClock(offset time.Duration) error {
	tmp := n.clock + ".new"
	return errors.Join(os.WriteFile(tmp, []byte(offset.String()), 0o600), os.Rename(tmp, n.clock))
}

const usualLowWater = 16 << 20

// setLowWater sets the mark of the processes to come; 0 is the usual one.
func (n *nursery) setLowWater(bytes int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.low = bytes
}

func (n *nursery) lowWater() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.low > 0 {
		return n.low
	}
	return usualLowWater
}
