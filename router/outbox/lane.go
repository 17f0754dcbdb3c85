package outbox

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/sinks"
)

// A condition is the state of a function.
type condition uint8

const (
	up        condition = iota + 1
	throttled           // it asks for less
	down                // it does not answer
)

var conditions = [...]string{up: "up", throttled: "throttled", down: "down"}

func (c condition) String() string { return conditions[c] }

// The pauses of a lane that is held, and what makes it so.
const (
	probeFrom     = 200 * time.Millisecond // until the first probe; each one that fails doubles it
	probeMax      = 30 * time.Second
	askedMost     = time.Hour        // that a function may ask for (Retry-After): then one probe is sent
	probePatience = 30 * time.Second // a probe that is at work for longer proves nothing yet, and lets another one go
	refusals      = 3                // one after the other, without an answer between them, and the function is down
	tellPause     = 30 * time.Second // between two tellings of the same
)

// A lane is a function's queue, and its state: while it is held, one probe at a time finds out that it is back.
type lane struct {
	name    string
	fn      *function // nil while the documents do not have it
	missing time.Time // since when they do not
	limit   int
	flying  int // invocations
	rooms   int // requests that they are in: as many, or fewer in batches
	parcels parcels
	handing int // of them, those that the sink has not been given yet
	waiting turns
	queue   int // items that wait and are still wanted
	dead    int // items that wait and are not
	held    int // items whose runs are paused

	ended    uint64 // calls and events, since the router began
	broken   uint64 // of them, those that failed, timed out or were given up
	brokenAt time.Time

	cancels bool // of a function's two lanes it is the one of what tells it of dropped calls
	bucket  *config.Bucket
	refill  *time.Timer // there will be a token
	dry     time.Time   // since when what waits waits for one; zero: it does not

	is       condition
	since    time.Time // the condition began
	why      string    // the last refusal
	failures int       // in a row
	failed   int       // probes of this hold
	until    time.Time // of the next probe
	probe    *item     // under way, and young
	wake     *time.Timer
	woken    time.Time // when people last wanted it to be asked at once
	told     condition // what people were told last
	toldAt   [down + 1]time.Time
	telling  *time.Timer // they will be told
}

func newLane(name string, fn *function) *lane {
	l := &lane{name: name, is: up, told: up, since: time.Now(), bucket: new(config.Bucket)}
	l.bind(fn)
	return l
}

// bind takes over what the documents say of the function.
func (l *lane) bind(fn *function) {
	l.fn, l.limit = fn, 0
	if l.refill != nil {
		l.refill.Stop()
		l.refill = nil
	}
	switch {
	case fn != nil:
		l.limit, l.missing = fn.room(), time.Time{}
		rate, burst := fn.rate()
		l.bucket.Set(rate, burst, time.Now())
	case l.missing.IsZero():
		l.missing = time.Now()
	}
}

// open reports whether one more may be sent now.
func (l *lane) open(now time.Time) bool { return l.stopped() || l.free(now) && l.bucket.Wait(now) == 0 }

// stopped says that concurrency: 0 has stopped the function: what waits is given up at once, whatever is at work yet, and needs neither room nor turn.
func (l *lane) stopped() bool { return l.fn != nil && l.fn.Concurrency == 0 && !l.cancels }

// free is open but for the rate. A lane that is held is free for a probe when its time has come.
func (l *lane) free(now time.Time) bool {
	switch {
	case l.stopped():
		return true
	case l.rooms >= l.limit || !l.asked():
		return false
	case l.is == up:
		return true
	}
	return l.probe == nil && !now.Before(l.until)
}

// asked reports whether the far end has asked for one more, where it does ask.
func (l *lane) asked() bool {
	return l.fn == nil || l.fn.puller == nil || l.fn.puller.Waiting() > l.handing
}

// unasked says that what waits is asked for by nobody.
func (l *lane) unasked() string {
	return fmt.Sprintf("no runtime asks function %s for more (%d have a call); start one with AWS_LAMBDA_RUNTIME_API", l.name, l.flying)
}

// next takes the next item that is wanted; nil when none is.
func (l *lane) next(wanted func(*item) bool) *item {
	for {
		it := l.waiting.pop()
		if it == nil {
			return nil
		}
		if wanted(it) {
			l.queue--
			return it
		}
		l.dead--
	}
}

// unwanted books that an item in the queue is not wanted any more. It goes when its turn comes, or when such are the most.
func (l *lane) unwanted(wanted func(*item) bool) {
	l.queue--
	l.dead++
	if l.dead < 1000 || l.dead < l.queue {
		return
	}
	var kept turns
	for it := l.waiting.pop(); it != nil; it = l.waiting.pop() {
		if wanted(it) {
			kept.push(it)
		}
	}
	l.waiting, l.dead = kept, 0
}

// refused books that there was no answer, and holds the lane: at once when the function asks for a pause or for less, else after a few in a row. What
// was sent before the lane was held says nothing new, unless it asks for more.
func (l *lane) refused(it *item, r sinks.Result, now time.Time) {
	l.failures++
	asked, less := min(r.After, askedMost), r.Err != nil && r.Err.Class == lang.ClassThrottle.String()
	enough := refusals
	if r.Verdict != sinks.Retry { // Its time was over: it may only be slow.
		enough = max(refusals, l.limit)
	}
	began := l.is == up
	if began && asked <= 0 && !less && l.failures < enough {
		return
	}
	if began {
		l.failed = 0
	}
	if !began && !it.probe && asked <= 0 {
		return
	}
	if began || it.probe {
		l.failed++
	}
	is := down
	if less {
		is = throttled
	}
	if l.is != is {
		l.is, l.since = is, now
	}
	if r.Err != nil {
		l.why = short(r.Err.Message)
	}
	pause := asked
	if pause <= 0 {
		pause = growing(probeFrom, probeMax, l.failed)
	}
	if until := now.Add(pause); it.probe || until.After(l.until) {
		l.until = until
	}
}

// answered books an answer, whatever it says. One to a probe ends the hold.
func (l *lane) answered(it *item, now time.Time) {
	l.failures = 0
	if l.is != up && it.probe {
		l.is, l.since, l.until = up, now, time.Time{}
	}
}

// ask ends a pause early, since people want it. What was wanted before the hold began is done.
func (l *lane) ask(at, now time.Time) {
	if at.Equal(l.woken) || l.is == up || !at.After(l.since) {
		return
	}
	if l.woken = at; l.until.After(now) {
		l.until = now
	}
}

// tell reports whether people are to be told of the lane's state now, or later: the same is told once in a while, and what they were told last is true.
func (l *lane) tell(now time.Time) (yes bool, later time.Duration) {
	if l.is == l.told {
		return false, 0
	}
	if at := l.toldAt[l.is]; !at.IsZero() && now.Sub(at) < tellPause {
		return false, at.Add(tellPause).Sub(now)
	}
	l.told, l.toldAt[l.is] = l.is, now
	return true, 0
}

// growing is a pause after n failures, from the first one doubled up to a limit, of which up to a half is left to chance.
func growing(from, limit time.Duration, n int) time.Duration {
	pause := min(from<<min(n-1, 20), limit)
	return pause/2 + rand.N(pause/2+1)
}

// words say what is wrong with the function; the same for all that wait for it.
func (l *lane) words(now time.Time) string {
	what := "is down"
	if l.is == throttled {
		what = "asks for less"
	}
	next := "the next one goes now"
	if left := l.until.Sub(now); left > 0 {
		next = fmt.Sprintf("the next one goes in %s", left.Round(time.Second))
		if left > probeMax { // It has asked for that.
			next += fmt.Sprintf(", at %s; onward functions resume %s sends it at once", l.until.UTC().Format(time.RFC3339), l.name)
		}
	}
	return fmt.Sprintf("function %s %s since %s (%s); one at a time finds out when it is back, %s", l.name, what, l.since.UTC().Format(time.RFC3339), l.why, next)
}
