package command

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/onward-router/onward/router/engine"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

const (
	progressEvery = 2 * time.Second  // how often it is said how far a command is
	lookEvery     = 2 * time.Second  // how often a run that is watched is looked at whole
	sameEvery     = 30 * time.Second // how often a line may say the same as the one before
)

// A progress shows how far a run is, from its begin until end is called: by a bar where a person looks, else by a line now and again.
type progress struct {
	title string
	begin time.Time
	to    io.Writer                // of lines; nil: nothing is shown
	bar   *progressbar.ProgressBar // nil: by lines

	mu             sync.Mutex
	started, ended int // calls
	said           string
	saidAt         time.Time
	over           func() // nil once it has ended
}

// progress begins to show a run, on standard error. quiet shows nothing.
func (p *program) progress(title string, quiet bool) *progress {
	x := &progress{title: title, begin: time.Now(), saidAt: time.Now(), over: func() {}}
	if quiet {
		return x
	}
	if terminal(p.errs) {
		x.bar = progressbar.NewOptions(1, progressbar.OptionSetWriter(p.errs), progressbar.OptionSetDescription(title), progressbar.OptionShowCount(),
			progressbar.OptionShowIts(), progressbar.OptionSetItsString("calls"), progressbar.OptionThrottle(50*time.Millisecond), progressbar.OptionSetWidth(30),
			progressbar.OptionClearOnFinish())
		return x
	}
	x.to = p.errs
	stop, stopped := make(chan struct{}), make(chan struct{})
	x.over = func() {
		close(stop)
		<-stopped
	}
	go func() {
		defer close(stopped)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				x.line()
			case <-stop:
				return
			}
		}
	}()
	return x
}

// line says how far it is, unless that was said of late.
func (x *progress) line() {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := fmt.Sprintf("%d of %d calls", x.ended, x.started)
	if now == x.said && time.Since(x.saidAt) < sameEvery {
		return
	}
	x.said, x.saidAt = now, time.Now()
	fmt.Fprintf(x.to, "%s: %s, after %s\n", x.title, now, time.Since(x.begin).Round(time.Second))
}

// see counts a change of the run, by its kind.
func (x *progress) see(kind string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch kind {
	case engine.Invoked.String():
		x.started++
	case engine.Answered.String():
		x.ended++
	default:
		return
	}
	x.draw()
}

// set says how many calls were made, sent or not, and how many of them have no outcome.
func (x *progress) set(calls, open int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.started, x.ended = calls, max(calls-open, 0)
	x.draw()
}

func (x *progress) draw() {
	if x.bar != nil {
		x.bar.ChangeMax(max(x.started, 1))
		_ = x.bar.Set(min(x.ended, max(x.started, 1))) // Who does not look is not told.
	}
}

// String says how far it came.
func (x *progress) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return fmt.Sprintf("%s and %d of %d calls", time.Since(x.begin).Round(100*time.Millisecond), x.ended, x.started)
}

// end takes the bar away. It may be called twice.
func (x *progress) end() {
	if x.over != nil {
		x.over()
		x.over = nil
		if x.bar != nil {
			_ = x.bar.Finish()
		}
	}
}

// terminal reports whether a person looks at what is written: a bar in a log is noise.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
