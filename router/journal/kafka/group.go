package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/router/journal"
	segmentio "github.com/segmentio/kafka-go"
)

// A group is this router's membership while Own runs.
//
// Tenures outlive generations: a rebalance that leaves a partition here does not disturb its shard. That is safe only when nobody else can have owned
// the partition in between, which is so when the generations follow one another and the member is the same.
type group struct {
	j    *Journal
	id   string // of this life of the process
	fold func(context.Context, journal.Tenure) error

	ctx    context.Context
	cancel context.CancelCauseFunc
	folds  sync.WaitGroup

	mu       sync.Mutex
	joined   bool
	assigned []int
	holders  map[int]*holder
	now      membership
	rejoin   chan struct{} // asks for a rebalance
	word     bool          // a generation is there
	deaf     bool          // of tests: does not hear that a generation has ended
}

// A membership is a member's part in one generation: only by it may offsets be committed.
type membership struct {
	generation int
	member     string
}

// A holder runs the tenures of one partition for as long as it is assigned.
type holder struct {
	partition int
	ctx       context.Context
	lose      context.CancelCauseFunc
	done      chan struct{}
	mu        sync.Mutex
	by        membership
}

func (h *holder) membership() membership {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.by
}

// errLost is why a tenure's context ends when its partition has passed to another router.
var errLost = fmt.Errorf("%w: the partition has passed to another router", journal.ErrFenced)

// Own joins the group, and folds the partitions that it is given.
func (j *Journal) Own(ctx context.Context, fold func(context.Context, journal.Tenure) error) error {
	g := &group{j: j, fold: fold, id: newID(), holders: make(map[int]*holder), rejoin: make(chan struct{}, 1)}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	defer g.cancel(nil)
	j.mu.Lock()
	switch {
	case j.closed:
		j.mu.Unlock()
		return journal.ErrClosed
	case j.group != nil:
		j.mu.Unlock()
		return errors.New("journal: Own is running already")
	}
	j.group = g
	j.mu.Unlock()
	members, err := segmentio.NewConsumerGroup(segmentio.ConsumerGroupConfig{
		ID: j.o.Prefix, Brokers: j.o.Client.Brokers, Dialer: j.o.Client.Dialer(), Topics: []string{j.topics.Journal},
		GroupBalancers: []segmentio.GroupBalancer{&balancer{self: g.self, steer: j.steer}}, StartOffset: segmentio.FirstOffset,
		HeartbeatInterval: j.o.Heartbeat, SessionTimeout: j.o.Session, RebalanceTimeout: j.o.Rebalance, JoinGroupBackoff: max(j.o.Heartbeat/2, 100*time.Millisecond),
		Timeout: j.o.Session,
	})
	if err == nil {
		err = g.serve(members)
	}
	j.mu.Lock()
	j.group = nil
	j.mu.Unlock()
	return err
}

// serve follows the generations until the context ends or something is fatal. The group is left last: until then the folds' last snapshots count.
func (g *group) serve(members *segmentio.ConsumerGroup) error {
	var commits sync.WaitGroup
	commits.Go(g.commitMarks)
	g.generations(members)
	g.cancel(nil)
	g.folds.Wait()
	commits.Wait()
	g.mu.Lock()
	member := g.now.member
	g.mu.Unlock()
	if err := g.j.o.Client.Part(members, g.j.o.Prefix, member); err != nil {
		g.j.o.Log.Warn("journal: the others wait for the session's end", "error", err)
	}
	cause := context.Cause(g.ctx)
	if cause == nil || errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
		return nil
	}
	return cause
}

func (g *group) generations(members *segmentio.ConsumerGroup) {
	alone := time.NewTimer(time.Hour)
	alone.Stop()
	defer alone.Stop()
	go func() {
		// Without a generation for so long, others may own what we hold.
		for {
			select {
			case <-alone.C:
				g.mu.Lock()
				word := g.word
				g.mu.Unlock()
				if word {
					continue
				}
				g.j.o.Log.Error("journal: no word from the group's coordinator; the partitions are given up")
				g.adopt(membership{}, nil)
			case <-g.ctx.Done():
				return
			}
		}
	}()
	for {
		gen, err := members.Next(g.ctx)
		switch {
		case g.ctx.Err() != nil:
			return
		case err != nil && g.j.o.Client.Refused(err):
			g.cancel(fmt.Errorf("journal: %w", kafka.Judge("join group "+g.j.o.Prefix, err)))
			return
		case err != nil:
			g.j.o.Log.Warn("journal: the group cannot be joined now", "error", kafka.Judge("join group "+g.j.o.Prefix, err))
			continue
		}
		alone.Stop()
		g.mu.Lock()
		g.word = true
		g.mu.Unlock()
		ended := make(chan struct{})
		gen.Start(func(ctx context.Context) {
			defer close(ended)
			select {
			case <-ctx.Done():
			case <-g.rejoin:
			}
			g.mu.Lock()
			g.word = false
			g.mu.Unlock()
			alone.Reset(g.j.o.Session + g.j.o.Rebalance)
		})
		var mine []int
		for _, a := range gen.Assignments[g.j.topics.Journal] {
			if a.ID < g.j.layout.Partitions {
				mine = append(mine, a.ID)
			}
		}
		slices.Sort(mine)
		g.mu.Lock()
		deaf := g.deaf
		g.mu.Unlock()
		if !deaf {
			g.adopt(membership{int(gen.ID), gen.MemberID}, mine)
		}
	}
}

// adopt makes the holders what a generation says: those that stay go on, those that were lost end, new ones begin.
func (g *group) adopt(by membership, mine []int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if by == (membership{}) && g.word {
		return // A generation has come meanwhile.
	}
	// After a lost connection it may be the same generation still.
	follows := by.member != "" && by.member == g.now.member && (by.generation == g.now.generation || by.generation == g.now.generation+1)
	ending := make(map[int]*holder) // their folds have still to return
	for p, h := range g.holders {
		if follows && slices.Contains(mine, p) {
			h.mu.Lock()
			h.by = by
			h.mu.Unlock()
			continue
		}
		h.lose(errLost)
		delete(g.holders, p)
		ending[p] = h
	}
	for _, p := range mine {
		if g.holders[p] == nil {
			h := &holder{partition: p, by: by, done: make(chan struct{})}
			h.ctx, h.lose = context.WithCancelCause(g.ctx)
			g.holders[p] = h
			before := ending[p]
			g.folds.Go(func() {
				if before != nil {
					<-before.done
				}
				g.hold(h)
			})
		}
	}
	g.now, g.assigned, g.joined = by, mine, by.member != ""
	g.j.o.Log.Info("journal: the group was formed anew", "generation", by.generation, "partitions", mine, "stay", follows)
	if g.j.o.Observer.Generation != nil {
		g.j.o.Observer.Generation(slices.Clone(mine), g.j.layout.Partitions)
	}
}

// hold runs the tenures of a partition.
func (g *group) hold(h *holder) {
	defer close(h.done)
	var missed time.Time // since when every tenure has missed records
	for h.ctx.Err() == nil {
		t, begun := newTenure(g.j, h), time.Now()
		err := g.fold(h.ctx, t)
		t.end()
		if err == nil || h.ctx.Err() != nil {
			return
		}
		// A leader that was asleep while another one was elected believes in its log for a while, too: one that ends early.
		lost := errors.Is(err, journal.ErrLost)
		if !lost || time.Since(begun) > g.j.o.Session {
			missed = time.Time{}
		}
		if lost && missed.IsZero() {
			missed = time.Now()
		}
		if isFatal(err) && (!lost || time.Since(missed) >= g.j.o.Session) {
			g.cancel(fmt.Errorf("partition %d: %w", h.partition, err))
			return
		}
		g.j.o.Log.Error("journal: a shard gave its partition up; it starts again", "partition", h.partition, "error", err)
		select {
		case <-time.After(g.j.o.Pause):
		case <-h.ctx.Done():
		}
	}
}

// isFatal reports what no other tenure makes better, here or elsewhere: somebody has to do something.
func isFatal(err error) bool {
	for _, of := range []error{journal.ErrDamaged, journal.ErrNewer, journal.ErrOlder, journal.ErrLost, journal.ErrLayout} {
		if errors.Is(err, of) {
			return true
		}
	}
	return false
}

// self is what the group is told of this router.
func (g *group) self() memberData {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := memberData{ID: g.id, Address: g.j.o.Address, Warm: g.j.local.partitions()}
	for p := range g.holders {
		d.Held = append(d.Held, p)
	}
	slices.Sort(d.Held)
	return d
}

// Assigned returns the partitions that the latest generation gave to this router.
func (j *Journal) Assigned() ([]int, bool) {
	j.mu.Lock()
	g := j.group
	j.mu.Unlock()
	if g == nil {
		return nil, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.assigned), g.joined
}

// Peers asks the group who owns what.
func (j *Journal) Peers(ctx context.Context) ([]journal.Peer, error) {
	j.mu.Lock()
	g := j.group
	j.mu.Unlock()
	members, err := j.o.Client.Members(ctx, j.o.Prefix)
	if err != nil {
		return nil, err
	}
	var out []journal.Peer
	for _, m := range members {
		d := dataOf(m.UserData)
		out = append(out, journal.Peer{ID: d.ID, Address: d.Address, Partitions: m.Partitions[j.topics.Journal], Self: g != nil && d.ID == g.id})
	}
	return out, nil
}

// committing is how often positions are committed for those who watch the lag.
const committing = 2 * time.Second

// commitMarks commits how far the folds are, for who scales by lag.
func (g *group) commitMarks() {
	tick := time.NewTicker(committing)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-g.ctx.Done():
			return
		}
		g.j.tenuresLock.Lock()
		var list []*tenure
		for t := range g.j.tenures {
			list = append(list, t)
		}
		g.j.tenuresLock.Unlock()
		for _, t := range list {
			t.commitMark(g.ctx)
		}
	}
}
