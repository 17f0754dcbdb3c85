package outbox

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/onward-router/onward/router/control"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// A kept is what is paused - a run, a function or a trigger - with what was not sent of it, which lies aside, in no lane. What is at work goes on; without an
// answer it is kept as well.
type kept struct {
	owner Owner         // of a run
	why   string        // for people
	pause *engine.Pause // of a function or a trigger
	aside map[itemKey]*item
	subs  map[itemKey]start // of runs that it was to start
	// unsent counts, by run, what of all these calls no function has been sent yet.
	unsent map[journal.RunID]int
}

// lay keeps an item.
func (k *kept) lay(it *item) {
	k.aside[itemKey{it.inv.Run, it.inv.N}] = it
	if it.unsent() {
		k.count(it.inv.Run, 1)
	}
}

// take lets go of an item that it keeps.
func (k *kept) take(it *item) {
	delete(k.aside, itemKey{it.inv.Run, it.inv.N})
	if it.unsent() {
		k.count(it.inv.Run, -1)
	}
}

// laySub keeps the start of a run.
func (k *kept) laySub(x start) {
	k.subs[itemKey{x.inv.Run, x.inv.N}] = x
	k.count(x.inv.Run, 1)
}

// takeSub lets go of one, if it keeps it.
func (k *kept) takeSub(inv *engine.Invocation) {
	if key := (itemKey{inv.Run, inv.N}); k.subs[key].inv != nil {
		delete(k.subs, key)
		k.count(inv.Run, -1)
	}
}

func (k *kept) count(run journal.RunID, n int) {
	if k.unsent[run] += n; k.unsent[run] == 0 {
		delete(k.unsent, run)
	}
}

// A start is of a run that a call is to start.
type start struct {
	owner Owner
	inv   *engine.Invocation
}

func keeping(why string) *kept {
	return &kept{why: why, aside: make(map[itemKey]*item), subs: make(map[itemKey]start), unsent: make(map[journal.RunID]int)}
}

// hold keeps a run's calls back from now on, or sends those that were.
func (o *Outbox) hold(s Owner, h engine.Halt) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !h.Paused {
		k := o.kept[h.Run]
		delete(o.kept, h.Run)
		o.free(k)
		return
	}
	if o.kept[h.Run] == nil {
		o.kept[h.Run] = keeping("the run is paused, and it is not sent")
		o.kept[h.Run].owner = s
	}
	for _, n := range h.Calls {
		if it := o.items[itemKey{h.Run, n}]; it != nil && it.state == queued && it.owner == s {
			o.withdraw(it, o.kept[h.Run])
		}
	}
}

// withdraw lays an item aside that stands in its lane.
func (o *Outbox) withdraw(it *item, k *kept) {
	again := *it // The one that stands in the lane goes when its turn comes.
	o.forget(it)
	o.items[itemKey{it.inv.Run, it.inv.N}] = &again
	if it.ticket != "" {
		o.tickets[it.ticket] = itemKey{it.inv.Run, it.inv.N}
	}
	o.setAside(&again, k)
}

// keeper returns what keeps an item back; nil is nothing. A function hears that a call is dropped whatever is paused.
func (o *Outbox) keeper(it *item) *kept {
	if it.inv.Purpose == engine.Cancel {
		return nil
	}
	if k := o.kept[it.inv.Run]; k != nil && k.owner == it.owner && it.inv.Purpose == engine.Call {
		return k
	}
	if len(o.stopped) == 0 {
		return nil
	}
	if k := o.stopped[control.Function+"/"+it.inv.Function]; k != nil {
		return k
	}
	return o.stopped[control.Trigger+"/"+it.inv.Trigger]
}

// keeps reports whether an item is kept back, and lays it aside. It does not age meanwhile: nobody is asked. The lock is held.
func (o *Outbox) keeps(it *item) bool {
	k := o.keeper(it)
	if k == nil {
		return false
	}
	o.setAside(it, k)
	return true
}

// keepsSub reports whether the start of a run is kept back, since the run is paused that wants it, or its trigger is.
func (o *Outbox) keepsSub(s Owner, inv *engine.Invocation) bool {
	if inv.Purpose != engine.Call {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.kept[inv.Run]
	if k == nil || k.owner != s {
		k = o.stopped[control.Trigger+"/"+inv.Trigger]
	}
	if k == nil {
		return false
	}
	k.laySub(start{s, inv})
	return true
}

// dropSub forgets the start of a run that is kept back and not wanted any more. The lock is held.
func (o *Outbox) dropSub(inv *engine.Invocation) {
	if k := o.kept[inv.Run]; k != nil {
		k.takeSub(inv)
	}
	if len(o.stopped) == 0 {
		return
	}
	if k := o.stopped[control.Trigger+"/"+inv.Trigger]; k != nil {
		k.takeSub(inv)
	}
}

func (o *Outbox) setAside(it *item, k *kept) {
	for _, t := range []*time.Timer{it.timer, it.age} {
		if t != nil {
			t.Stop()
		}
	}
	it.lane.held++
	it.state, it.timer, it.age, it.since, it.gone, it.by = held, nil, nil, time.Now(), false, k
	k.lay(it)
}

// free sends what lies aside, the oldest first, unless something else keeps it. The lock is held; k may be nil.
func (o *Outbox) free(k *kept) {
	if k == nil {
		return
	}
	for _, x := range k.subs {
		go o.start(x.owner, x.inv, time.Time{})
	}
	list := slices.Collect(maps.Values(k.aside))
	clear(k.subs)
	clear(k.aside)
	clear(k.unsent)
	oldestFirst(list)
	for _, it := range list {
		o.letGo(it)
	}
}

func oldestFirst(list []*item) {
	slices.SortFunc(list, func(a, b *item) int {
		return cmp.Or(a.inv.Created.Compare(b.inv.Created), slices.Compare(a.inv.Run[:], b.inv.Run[:]), cmp.Compare(a.inv.N, b.inv.N))
	})
}

// letGo sends an item that lay aside.
func (o *Outbox) letGo(it *item) {
	now := time.Now()
	if !it.first.IsZero() {
		it.first = it.first.Add(now.Sub(it.since))
	}
	it.since, it.by = now, nil
	it.lane.held--
	if o.enqueue(it); it.state == queued && it.tries > 0 {
		o.watchAge(it)
	}
}

// atATime is how many items are looked at before others may have the lock: the folds wait for it.
const atATime = 256

// yield lets others have the lock, once in a while.
func (o *Outbox) yield(n *int) {
	if *n++; *n%atATime == 0 {
		o.mu.Unlock()
		o.mu.Lock()
	}
}

// freeMany is free of a function or a trigger, of which there may be a hundred thousand. Nothing keeps anything by k any more.
func (o *Outbox) freeMany(k *kept, n *int) {
	for _, x := range k.subs { // Others take some out meanwhile, and add none.
		k.takeSub(x.inv)
		go o.start(x.owner, x.inv, time.Time{})
		o.yield(n)
	}
	var list []*item
	for _, it := range k.aside {
		list = append(list, it)
		o.yield(n)
	}
	o.mu.Unlock()
	oldestFirst(list)
	o.mu.Lock()
	for _, it := range list {
		if k.aside[itemKey{it.inv.Run, it.inv.N}] == it { // Else it was stopped meanwhile.
			k.take(it)
			o.letGo(it)
		}
		o.yield(n)
	}
}

// isPaused reports whether a lane's function is.
func (o *Outbox) isPaused(l *lane) bool {
	return len(o.stopped) > 0 && !l.cancels && o.stopped[control.Function+"/"+l.name] != nil
}

// Govern puts into force what people hold back of functions and triggers: all of it, in place of what was. Of a paused one nothing goes out that has not.
func (o *Outbox) Govern(list []control.Control) {
	o.governing.Lock()
	defer o.governing.Unlock()
	o.mu.Lock()
	paused := make(map[string]*control.Control)
	o.limits = make(map[string]int)
	now, asked := time.Now(), make(map[string]time.Time)
	for _, c := range list {
		if c.Kind == control.Function && !c.Asked.IsZero() {
			asked[c.Name] = c.Asked
		}
		if c.Paused {
			paused[c.Key()] = &c
		}
		if c.Kind == control.Function && c.Limit > 0 {
			o.limits[c.Name] = c.Limit
		}
	}
	var freed []*kept
	for key, k := range o.stopped {
		if _, still := paused[key]; !still {
			delete(o.stopped, key)
			freed = append(freed, k)
		}
	}
	for key, c := range paused {
		if o.stopped[key] == nil {
			o.stopped[key] = keeping("")
		}
		o.stopped[key].why, o.stopped[key].pause = wordsOf(c), c.Halt()
	}
	// From here on nothing goes out that is paused. What stands in the lanes is laid aside by and by.
	n := 0
	for _, k := range freed {
		o.freeMany(k, &n)
	}
	if len(paused) > 0 {
		for _, it := range o.items { // Others change it between two steps; what comes new is kept as it comes.
			if it.state == queued && !it.gone {
				if k := o.keeper(it); k != nil {
					o.withdraw(it, k)
				}
			}
			o.yield(&n)
		}
	}
	for _, l := range o.lanes {
		o.limit(l)
		if at, is := asked[l.name]; is {
			l.ask(at, now)
		}
		o.fill(l)
	}
	o.mu.Unlock()
	o.pump()
}

func wordsOf(c *control.Control) string {
	why := fmt.Sprintf("%s %s is paused since %s", c.Kind, c.Name, c.Since.UTC().Format(time.RFC3339))
	if c.By != "" {
		why += ", by " + c.By
	}
	if c.Reason != "" {
		why += " (" + c.Reason + ")"
	}
	return fmt.Sprintf("%s; it is sent after onward %ss resume %s", why, c.Kind, c.Name)
}

// limit sets how many a lane sends at a time: what the documents say, or less, when people say so.
func (o *Outbox) limit(l *lane) {
	if l.fn == nil {
		return
	}
	l.limit = l.fn.room()
	if n := o.limits[l.name]; n > 0 {
		l.limit = min(n, l.limit)
	}
}
