package simulate_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/router/simulate"
)

const awaiting = `version: 1
functions: { f: { exec: cat } }
triggers:
  item:
    correlate: "${ data }"
    signals: { go: { filters: [{ exact: { type: go } }] } }
    flow: { sequence: [{ signal: { name: go, within: 40s, onTimeout: take } }, { function: f, input: "${ previous }" }] }
  order: { flow: { map: { items: "${ data }", join: settled, do: { subrun: item, retry: { attempts: 30, backoff: 3s, factor: 1, on: [key_taken] } } } } }
  hasty: { flow: { map: { items: "${ data }", join: settled, do: { subrun: item, deadline: 4s } } } }
`

// letting is a play of maps whose items await events of keys, each event of several, before and after the items, and twice.
func letting(t *testing.T, seed uint64, o simulate.Options) *family {
	o.Key = func(def *lang.Definition, _, data lang.Value) (string, error) { return data.JSON(), nil }
	f := familyOf(t, registry(), awaiting, seed, o)
	rng := rand.New(rand.NewPCG(seed, 17))
	at := func() time.Duration { return time.Duration(rng.Int64N(int64(12 * time.Second))) }
	for i, name := range []string{"order", "order", "hasty", "order"} {
		begin, cancel := at(), time.Duration(0)
		if i == 3 {
			cancel = begin + 1 + time.Duration(rng.Int64N(int64(6*time.Second)))
		}
		f.start(byte(i+1), name, cancel, begin)
	}
	for n, keys := range []string{"0 1 2", "1 2", "0", "0 2", "1"} {
		// They come one by one: they lie in partitions of their own, and who sent them died amid it and sent them again.
		for _, key := range strings.Fields(keys) {
			id := fmt.Sprint("go-", n)
			rec := engine.Record(journal.Start, simulate.KeyedID("item", key, id), &engine.StartFact{
				Trigger: "item", Digest: f.defs["item"].Digest(), Event: lang.Of(map[string]string{"id": id, "source": "/t", "type": "go"}), Data: lang.Text(key + " " + id), Key: key, Names: []string{"go"},
			})
			rec.Tenant = f.defs["item"].Tenant
			when := at()
			for _, again := range []time.Duration{0, time.Second}[:1+rng.IntN(2)] {
				f.w.After(when+again, func() { f.w.Append(rec) })
			}
		}
	}
	return f
}

// letGo judges a play: beside what is true of all subruns, no two runs have one event, and none has another key's. It counts what became of the items.
func letGo(f *family, how map[string]int) {
	f.t.Helper()
	f.judge(how)
	used := make(map[string]journal.RunID)
	keys := make(map[journal.RunID]string)
	begun := make(map[string]bool) // keys of which an event came before an item
	for _, log := range f.w.Logs() {
		for i := range log {
			if s, err := engine.DecodeStart(log[i].Payload); log[i].Kind == journal.Start && err == nil && s.Trigger == "item" {
				if keys[log[i].Run] = s.Key; s.Parent == "" {
					begun[s.Key] = true
				} else if begun[s.Key] {
					how["behind an event"]++
				}
			}
		}
	}
	for _, e := range f.w.Ended {
		if e.Trigger != "item" {
			continue
		}
		switch v := e.Outcome.Value; {
		case e.Outcome.Err != nil:
			how[e.Outcome.Err.Type]++
		case e.Outcome.Verdict == lang.Skipped && strings.Contains(v.JSON(), "has begun"):
			how["handed over"]++
		case e.Outcome.Verdict == lang.Succeeded && !v.IsNull():
			how["has its event"]++
			key, _, _ := strings.Cut(strings.Trim(v.JSON(), `"`), " ")
			if other, twice := used[v.JSON()]; twice && other != e.Run || key != keys[e.Run] {
				f.t.Errorf("seed %d: run %s of key %s has event %s, which run %s has", f.seed, e.Run, keys[e.Run], v, other)
			}
			used[v.JSON()] = e.Run
		}
	}
}

// enough finds what no play has reached.
func (how reached) enough(t *testing.T, each int) {
	t.Helper()
	t.Log(how)
	for _, what := range []string{"order succeeded", "order cancelled", "hasty succeeded", "item cancelled", "handed over", "key_taken", "has its event", "behind an event"} {
		if how[what] < each {
			t.Errorf("%s: %d times prove nothing", what, how[what])
		}
	}
}

type reached map[string]int

// TestItemsThatAwaitUnderFaults: over one to four partitions, with crashes anywhere, each item of a map has the events of its key, whatever comes first and how
// often, and who cancels or gives up an item gives back its key.
func TestItemsThatAwaitUnderFaults(t *testing.T) {
	t.Parallel()
	how := reached{}
	for seed := range uint64(20) {
		letGo(letting(t, seed, simulate.Options{Partitions: 1 + int(seed%4), Faults: simulate.Faults{Rate: allFaults}}), how)
	}
	how.enough(t, 5)
}

// TestItemsThatAwaitStruck: the same, where the owner of a record's partition dies, leaves or is taken over behind each fourth record.
func TestItemsThatAwaitStruck(t *testing.T) {
	t.Parallel()
	how, struck, records := reached{}, 0, 1
	faults := []simulate.Fault{simulate.Crash, simulate.Restart, simulate.TakeOver}
	for at := 0; at <= records; at += 4 {
		var f *family
		n := 0
		f = letting(t, 3, simulate.Options{Partitions: 2, Durable: func(*journal.Record) {
			if n++; n == at && f != nil {
				w := f.w
				w.After(0, func() { w.Strike(at/4%2, faults[at/4%3]) })
			}
		}})
		if letGo(f, how); t.Failed() {
			return
		}
		if at == 0 {
			records = n
		}
		for _, fault := range faults {
			struck += f.w.Faults()[fault]
		}
	}
	how.enough(t, 10)
	if records < 60 || struck < records/8 {
		t.Errorf("%d records, and struck %d times", records, struck)
	}
}
