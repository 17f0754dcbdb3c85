package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/router/journal"
	segmentio "github.com/segmentio/kafka-go"
)

// A tenure is one period of owning a partition.
type tenure struct {
	j *Journal
	h *holder

	at    int64 // the next offset to read
	mark  int64 // where the log ended when it was first read; -1 before
	said  bool  // that this has been reached
	ahead chan ahead
	stop  context.CancelFunc
	over  sync.WaitGroup

	mu     sync.Mutex
	ended  bool
	saved  []place // snapshots that are known, oldest first
	folded int64   // position to commit; -1 before any
	told   int64   // position that was committed
	held   bool    // somebody reads the past: nothing of it is to be trimmed
	past   bool    // it is one itself: what it lags is no fold's
}

// ahead is a batch that was fetched before it was asked for.
type ahead struct {
	records []kafka.Record
	next    int64
	end     int64
	err     error
}

func newTenure(j *Journal, h *holder) *tenure {
	t := &tenure{j: j, h: h, mark: -1, folded: -1, told: -1}
	j.tenuresLock.Lock()
	j.tenures[t] = struct{}{}
	j.tenuresLock.Unlock()
	return t
}

// end closes the tenure: its fold has returned.
func (t *tenure) end() {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	if t.stop != nil {
		t.stop()
		t.over.Wait()
	}
	t.j.tenuresLock.Lock()
	delete(t.j.tenures, t)
	t.j.tenuresLock.Unlock()
}

func (t *tenure) Partition() int { return t.h.partition }

// lost reports whether the partition is another's, as far as this router knows.
func (t *tenure) lost() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended || errors.Is(context.Cause(t.h.ctx), journal.ErrFenced)
}

// Load reads the newest complete snapshot that the log reaches, from this machine or from the cluster. Whoever wrote it: a complete snapshot is what the
// records up to its offset fold to.
func (t *tenure) Load(ctx context.Context, read func(int64, io.Reader) error) error {
	p := t.Partition()
	committed, err := t.committed(ctx)
	if err != nil {
		return err
	}
	remote, err := t.remote(ctx, committed.hint.place)
	if err != nil {
		return err
	}
	// After those: what they speak of was in the log before.
	first, last, err := t.j.o.Client.Range(ctx, t.j.topics.Journal, p)
	if err != nil {
		return err
	}
	if err := t.reaches(committed.Offset, remote, last); err != nil {
		return t.confirmed(ctx, err)
	}
	fits := func(offset int64) bool { return offset+1 >= first && offset < last }
	saved := slices.DeleteFunc(remote, func(s place) bool { return !fits(s.Offset) })
	err = t.load(ctx, saved, fits, read)
	if errors.Is(err, journal.ErrNoSnapshot) && len(saved) > 0 {
		// None of them is of use; those before the one that the commit points to have not been looked at.
		saved, err = t.older(ctx, saved[0].Offset, fits)
		if err == nil {
			err = t.load(ctx, saved, fits, read)
		}
	}
	if errors.Is(err, journal.ErrNoSnapshot) && first > 0 {
		return t.confirmed(ctx, fmt.Errorf("%w: the log of partition %d begins at %d, and no complete snapshot in topic %q, nor on this machine, reaches it; bring the topic back, or a router's folder that has one",
			journal.ErrLost, p, first, t.j.topics.Snapshots))
	}
	return err
}

// load reads the newest of the snapshots, in the cluster and on this machine, that can be used. Those that cannot are passed over.
func (t *tenure) load(ctx context.Context, saved []place, fits func(int64) bool, read func(int64, io.Reader) error) error {
	for {
		t.mu.Lock()
		t.saved = slices.Clone(saved)
		t.mu.Unlock()
		local, found := t.j.local.newest(t.Partition(), fits)
		n := len(saved)
		var offset int64
		var err error
		switch found = found && (n == 0 || local.offset >= saved[n-1].Offset); {
		case found:
			offset = local.offset
			err = t.j.local.read(local, read)
		case n > 0:
			offset = saved[n-1].Offset
			err = t.j.readSnapshot(ctx, t.Partition(), saved[n-1], read)
		default:
			t.at = 0
			return journal.ErrNoSnapshot
		}
		t.at = offset + 1
		if err == nil || ctx.Err() != nil || t.h.ctx.Err() != nil || errors.Is(err, errFetch) || errors.Is(err, journal.ErrNewer) || errors.Is(err, journal.ErrOlder) {
			return err
		}
		t.j.o.Log.Error("journal: a snapshot cannot be used; what is before it is taken, and the records after that",
			"partition", t.Partition(), "offset", offset, "this machine's", found, "error", err)
		if found {
			t.j.local.drop(local)
		} else {
			saved = saved[:n-1]
		}
	}
}

// older finds the complete snapshots below an offset of the journal.
func (t *tenure) older(ctx context.Context, below int64, fits func(int64) bool) ([]place, error) {
	first, last, err := t.j.o.Client.Range(ctx, t.j.topics.Snapshots, t.Partition())
	if err != nil {
		return nil, err
	}
	all, err := t.j.scanSnapshots(ctx, t.Partition(), first, last)
	return slices.DeleteFunc(all, func(s place) bool { return s.Offset >= below || !fits(s.Offset) }), err
}

// A position is what the group has committed last; the zero value when nothing.
type position struct {
	Offset int64
	hint   hint
}

// A hint is a commit's metadata: where the newest snapshot lies, and under which layout it was written.
type hint struct {
	place
	Layout string `json:"layout"`
}

// committed reads the group's position. One of another layout says that the topic of layouts is not the one it was.
func (t *tenure) committed(ctx context.Context) (c position, err error) {
	p := t.Partition()
	had, err := t.j.o.Client.Committed(ctx, t.j.o.Prefix, t.j.topics.Journal, p)
	if err != nil {
		return c, err
	}
	c.Offset = had[p].Offset
	if json.Unmarshal([]byte(had[p].Metadata), &c.hint) != nil {
		c.hint = hint{} // Somebody else has committed it.
	}
	if was := c.hint.Layout; was != "" && was != t.j.name.String() {
		return c, fmt.Errorf("%w: partition %d was folded under layout %s, and topic %q has %s: it was made anew, and run ids follow from its key; bring it back, or %s",
			journal.ErrLayout, p, was, t.j.topics.Meta, t.j.name, anew)
	}
	return c, nil
}

// reaches refuses a log that ends before what is known to have been in it.
func (t *tenure) reaches(committed int64, remote []place, last int64) error {
	p := t.Partition()
	witness := fmt.Sprintf("group %q has committed", t.j.o.Prefix)
	if n := len(remote); n > 0 && remote[n-1].Offset >= max(last, committed) {
		committed, witness = remote[n-1].Offset+1, fmt.Sprintf("a snapshot in topic %q reaches to", t.j.topics.Snapshots)
	}
	if local, found := t.j.local.newest(p, func(offset int64) bool { return offset >= max(last, committed) }); found {
		committed, witness = local.offset+1, "a snapshot on this machine reaches to"
	}
	if committed <= last {
		return nil
	}
	return fmt.Errorf("%w: the log of partition %d ends at %d, and %s %d: topic %q was made anew, or has lost records; bring it back, or %s",
		journal.ErrLost, p, last, witness, committed, t.j.topics.Journal, anew)
}

// confirmed returns a loss that only the owner can tell. To who is owner no more, what the next one has trimmed is missing, too.
func (t *tenure) confirmed(ctx context.Context, loss error) error {
	by := t.h.membership()
	ctx, cancel := context.WithTimeout(ctx, t.j.o.Session)
	defer cancel()
	err := t.j.o.Client.Beat(ctx, &segmentio.Generation{GroupID: t.j.o.Prefix, ID: int32(by.generation), MemberID: by.member})
	switch {
	case err == nil, errors.Is(err, segmentio.RebalanceInProgress):
		return loss
	case isFenced(err):
		return errLost
	}
	return err
}

// remote finds the partition's complete snapshots, oldest first: where the group's last commit points to, and what came after.
func (t *tenure) remote(ctx context.Context, hint place) ([]place, error) {
	p := t.Partition()
	first, last, err := t.j.o.Client.Range(ctx, t.j.topics.Snapshots, p)
	if err != nil {
		return nil, err
	}
	if hint.From >= first && hint.To < last && hint.From <= hint.To {
		found, err := t.j.scanSnapshots(ctx, p, hint.From, last)
		if err != nil || slices.ContainsFunc(found, func(x place) bool { return x.From == hint.From }) {
			return found, err
		}
	}
	return t.j.scanSnapshots(ctx, p, first, last)
}

// fetch reads ahead of the fold, a batch at a time.
func (t *tenure) fetch(ctx context.Context) {
	at, wait := t.at, time.Millisecond // At first: nothing may be there, and then the end is to be said at once.
	for {
		f, err := t.j.o.Client.Fetch(ctx, kafka.Fetch{Topic: t.j.topics.Journal, Partition: t.Partition(), Offset: at, MaxBytes: fetchBytes, MaxWait: wait})
		wait = fetchWait
		a := ahead{err: err}
		if err == nil {
			a.records, a.next, a.end = f.Records, f.Next, f.End
			at = f.Next
		}
		select {
		case t.ahead <- a:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

const (
	fetchBytes = 4 << 20
	fetchWait  = 500 * time.Millisecond
)

func (t *tenure) Read(ctx context.Context) (journal.Batch, error) {
	if t.ahead == nil {
		t.ahead = make(chan ahead)
		var fetching context.Context
		fetching, t.stop = context.WithCancel(t.h.ctx)
		t.over.Go(func() { t.fetch(fetching) })
	}
	for {
		var a ahead
		select {
		case a = <-t.ahead:
		case <-ctx.Done():
			return journal.Batch{}, context.Cause(ctx)
		case <-t.h.ctx.Done():
			return journal.Batch{}, context.Cause(t.h.ctx)
		}
		if a.err != nil {
			return journal.Batch{}, t.fatal(ctx, a.err)
		}
		if t.mark < 0 {
			t.mark = a.end
		}
		b, err := t.batch(&a)
		if err != nil {
			return b, err
		}
		t.at = a.next
		if b.Lag = max(a.end-a.next, 0); t.j.o.Observer.Lag != nil && !t.past {
			t.j.o.Observer.Lag(t.Partition(), b.Lag)
		}
		if b.End = t.at >= t.mark; len(b.Records)+len(b.Parked) > 0 || b.End && !t.said {
			t.said = t.said || b.End
			return b, nil
		}
	}
}

func (t *tenure) batch(a *ahead) (journal.Batch, error) {
	b := journal.Batch{Next: a.next, Records: make([]journal.Record, 0, len(a.records))}
	for i := range a.records {
		raw := &a.records[i]
		r, err := journal.DecodeRecord(raw.Value)
		if r.Partition != t.Partition() && !errors.Is(err, journal.ErrGarbage) {
			err = fmt.Errorf("a record of partition %d", r.Partition)
		}
		switch {
		case errors.Is(err, journal.ErrNewer):
			return b, fmt.Errorf("partition %d, offset %d: %w: upgrade this router, or take the newer one back into service", t.Partition(), raw.Offset, err)
		case err != nil:
			b.Parked = append(b.Parked, journal.Parked{Offset: raw.Offset, Reason: err.Error(), Bytes: raw.Value[:min(len(raw.Value), 1024)]})
			continue
		case !raw.Appended && !t.j.producerTime:
			return b, fmt.Errorf("topic %q has no longer message.timestamp.type=LogAppendTime: timers would go by the clocks of those who write; set it again", t.j.topics.Journal)
		}
		r.Offset, r.Time = raw.Offset, raw.Time.UTC()
		b.Records = append(b.Records, r)
	}
	return b, nil
}

// fatal says what a failed fetch means to the fold.
func (t *tenure) fatal(ctx context.Context, err error) error {
	var gone *kafka.OutOfRange
	switch {
	case errors.As(err, &gone) && t.lost():
		return errLost
	case errors.As(err, &gone):
		return t.confirmed(ctx, fmt.Errorf("%w: %w; if topic %q was made anew or has lost records, bring it back, or %s", journal.ErrLost, err, gone.Topic, anew))
	case errors.Is(err, kafka.ErrDamaged):
		return fmt.Errorf("%w: %w", journal.ErrDamaged, err)
	case t.h.ctx.Err() != nil:
		return context.Cause(t.h.ctx)
	}
	return err
}

// Save writes a snapshot to this machine and to the cluster, where it counts by a commit that the coordinator refuses to former owners.
func (t *tenure) Save(ctx context.Context, offset int64, write func(io.Writer) error, verify func(io.Reader) error) error {
	p := t.Partition()
	if t.lost() {
		// The copy on this machine is worth having all the same: the partition may come back.
		if err := t.j.local.save(p, offset, write, verify); err != nil {
			return errors.Join(errLost, err)
		}
		return errLost
	}
	w := &chunks{j: t.j, ctx: ctx, partition: p, offset: offset}
	var saved place
	err := t.j.local.save(p, offset, func(f io.Writer) (err error) {
		if err = write(io.MultiWriter(f, w)); err == nil {
			saved, err = w.close(verify)
		}
		return err
	}, nil)
	if err != nil {
		return err
	}
	t.mu.Lock()
	position := max(t.folded, t.told, offset)
	t.mu.Unlock()
	if err := t.commit(ctx, position, saved); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.saved = append(t.saved, saved)
	if n := len(t.saved); n > 8 {
		t.saved = slices.Clone(t.saved[n-8:])
	}
	return nil
}

// commit publishes a position with the place of a snapshot, by the tenure's own part in the group.
func (t *tenure) commit(ctx context.Context, position int64, s place) error {
	metadata, err := json.Marshal(hint{s, t.j.name.String()})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.j.o.Session)
	defer cancel()
	for deadline := time.Now().Add(t.j.o.Session); ; {
		if t.lost() {
			return errLost
		}
		by := t.h.membership()
		as := &segmentio.Generation{GroupID: t.j.o.Prefix, ID: int32(by.generation), MemberID: by.member}
		err := t.j.o.Client.Commit(ctx, as, t.j.topics.Journal, map[int]kafka.Commit{t.Partition(): {Offset: position, Metadata: string(metadata)}})
		switch {
		case err == nil:
			t.mu.Lock()
			t.told = position
			t.mu.Unlock()
			return nil
		case errors.Is(err, segmentio.RebalanceInProgress) && time.Now().Before(deadline):
			select { // The next generation says whether the partition stays.
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		case isFenced(err):
			return fmt.Errorf("%w: %w", journal.ErrFenced, err)
		default:
			return err
		}
	}
}

func isFenced(err error) bool {
	for _, code := range []segmentio.Error{segmentio.IllegalGeneration, segmentio.UnknownMemberId, segmentio.FencedInstanceID, segmentio.GroupIdNotFound, segmentio.RebalanceInProgress} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// Trim removes what a snapshot covers, and the snapshots before it. Only who could still publish one may.
func (t *tenure) Trim(ctx context.Context, offset int64) error {
	if t.lost() {
		return errLost
	}
	t.mu.Lock()
	n := len(t.saved)
	var newest, covers place
	if n > 0 {
		newest = t.saved[n-1]
	}
	for _, s := range t.saved {
		if s.Offset <= offset {
			covers = s // The one that is left to fall back to; of those before it this tenure may know nothing.
		}
	}
	position, held := max(t.told, t.folded, newest.Offset), t.held
	t.mu.Unlock()
	if n == 0 || offset > newest.Offset {
		return fmt.Errorf("journal: trim at %d is beyond the newest snapshot", offset)
	}
	if err := t.commit(ctx, position, newest); err != nil {
		return err
	}
	if covers == (place{}) || held {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.j.o.Session)
	defer cancel()
	if _, err := t.j.o.Client.DeleteRecords(ctx, t.j.topics.Journal, t.Partition(), covers.Offset+1); err != nil {
		return err
	}
	_, err := t.j.o.Client.DeleteRecords(ctx, t.j.topics.Snapshots, t.Partition(), covers.From)
	return err
}

// Mark notes how far the fold is. The position that is committed stays one behind while anything is under way, so that who scales by lag does not scale
// to zero under it.
func (t *tenure) Mark(next int64, open bool) {
	if open {
		next--
	}
	t.mu.Lock()
	t.folded = max(next, 0)
	t.mu.Unlock()
}

// commitMark commits the position when it has changed. That it is refused says nothing yet: the next generation tells.
func (t *tenure) commitMark(ctx context.Context) {
	t.mu.Lock()
	position, changed := t.folded, t.folded >= 0 && t.folded != t.told
	var newest place
	if n := len(t.saved); n > 0 {
		newest = t.saved[n-1]
	}
	t.mu.Unlock()
	if !changed || t.lost() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, t.j.o.Session)
	defer cancel()
	if err := t.commit(ctx, position, newest); err != nil && !errors.Is(err, journal.ErrFenced) && ctx.Err() == nil {
		t.j.o.Log.Warn("journal: committing the position", "partition", t.Partition(), "error", err)
	}
}
