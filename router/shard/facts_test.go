package shard

import (
	"slices"
	"testing"

	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

type partitionOnly struct{ journal.Tenure }

func (partitionOnly) Partition() int { return 3 }

// TestAcceptedRecordsOfARunGoTogether: what gathers between two appends is one record a run, other records keep their order, and a record has a bound.
func TestAcceptedRecordsOfARunGoTogether(t *testing.T) {
	t.Parallel()
	s := &Shard{set: new(Set), t: partitionOnly{}, facts: facts{wake: make(chan struct{}, 1)}}
	one, two := journal.RunID{1}, journal.RunID{2}
	accept := func(run journal.RunID, n uint32) { s.Accepted(&engine.Invocation{Run: run, N: n}, "") }
	timeOut := func(run journal.RunID, n uint32) {
		s.Write(engine.Record(journal.TimedOut, run, &engine.NumbersFact{Numbers: []uint32{n}}))
	}
	numbers := func(rec journal.Record) []uint32 {
		t.Helper()
		f, err := engine.DecodeNumbers(rec.Payload)
		if err != nil || rec.Partition != 3 || rec.Level != journal.Level {
			t.Errorf("%+v, %v", rec, err)
		}
		return f.Numbers
	}
	accept(one, 7)
	timeOut(one, 1)
	accept(two, 5)
	accept(one, 9)
	timeOut(two, 2)
	accept(one, 8)
	records := s.facts.take(nil)
	var kinds []journal.Kind
	for _, r := range records {
		kinds = append(kinds, r.Kind)
	}
	if !slices.Equal(kinds, []journal.Kind{journal.Accepted, journal.TimedOut, journal.Accepted, journal.TimedOut}) {
		t.Fatalf("%v", kinds)
	}
	if records[0].Run != one || !slices.Equal(numbers(records[0]), []uint32{7, 9, 8}) || records[2].Run != two || !slices.Equal(numbers(records[2]), []uint32{5}) {
		t.Errorf("%v of %s, %v of %s", numbers(records[0]), records[0].Run, numbers(records[2]), records[2].Run)
	}
	select {
	case <-s.facts.wake:
	default:
		t.Error("the appender was not woken")
	}

	// What comes after they were taken is of the next append; what was taken stays as it is.
	accept(one, 10)
	next := s.facts.take(nil)
	if len(next) != 1 || !slices.Equal(numbers(next[0]), []uint32{10}) || !slices.Equal(numbers(records[0]), []uint32{7, 9, 8}) {
		t.Errorf("%+v", next)
	}
	if more := s.facts.take(records); len(more) != 0 {
		t.Errorf("%d records of nothing", len(more))
	}

	const n = 2*acceptedMost + 1
	for i := range uint32(n) {
		accept(two, i+1)
	}
	var all []uint32
	records = s.facts.take(nil)
	for _, r := range records {
		all = append(all, numbers(r)...)
	}
	if len(records) != 3 || len(all) != n || all[0] != 1 || all[n-1] != n {
		t.Errorf("%d records of %d numbers", len(records), len(all))
	}
}

// TestTicketsGoWithTheirNumbers: and are not kept waiting for company.
func TestTicketsGoWithTheirNumbers(t *testing.T) {
	t.Parallel()
	s := &Shard{set: new(Set), t: partitionOnly{}, facts: facts{wake: make(chan struct{}, 1)}}
	run := journal.RunID{1}
	for n, ticket := range []string{"", "", "a", "", "b", ""} {
		s.Accepted(&engine.Invocation{Run: run, N: uint32(n)}, ticket)
		select {
		case <-s.facts.wake:
			if ticket == "" && n < 2 {
				t.Error("what nobody waits for woke the appender at once")
			}
		default:
			if ticket != "" {
				t.Error("a ticket waits")
			}
		}
	}
	f, err := engine.DecodeAccepted(s.facts.take(nil)[0].Payload)
	if err != nil || !slices.Equal(f.Numbers, []uint32{0, 1, 2, 3, 4, 5}) || !slices.Equal(f.Tickets, []string{"", "", "a", "", "b", ""}) {
		t.Errorf("%+v, %v", f, err)
	}
}
