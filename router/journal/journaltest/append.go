package journaltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onward-router/onward/router/journal"
)

func layoutIsKept(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	was := h.Journal.Layout()
	put(t, h.Journal, record(0, "a"))
	if got := h.Reopen(t, h.Journal).Layout(); got != was {
		t.Errorf("the layout was %+v and is %+v", was, got)
	}
}

func runIDsSpread(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	l := h.Journal.Layout()
	const each = 200
	ids, in := journal.NewIDs(l), make([]int, l.Partitions)
	for i := range each * l.Partitions {
		id := ids.Of("tenant", "trigger", fmt.Sprint("event ", i))
		p := l.Partition(id.Route())
		if p < 0 || p >= l.Partitions {
			t.Fatalf("%s is in partition %d of %d", id, p, l.Partitions)
		}
		in[p]++
	}
	for p, n := range in {
		if n < each/2 || n > each*2 {
			t.Errorf("partition %d has %d runs where %d are fair", p, n, each)
		}
	}
}

func acknowledgedIsDurable(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	want := make([][]string, h.Journal.Layout().Partitions)
	j := h.Journal
	for life := range 3 {
		fill(t, j, want, 300, fmt.Sprintf("life %d %s", life, strings.Repeat("x", life*100)))
		j = h.Reopen(t, j)
		expect(t, past(t, j), want)
	}
}

func orderOffsetsTime(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	partitions := h.Journal.Layout().Partitions
	want := make([][]string, partitions)
	before := time.Now()
	for call := range 40 {
		var records []journal.Record
		for i := range call {
			p, s := (i*i+call)%partitions, fmt.Sprintf("call %d record %d", call, i)
			records = append(records, record(p, s))
			want[p] = append(want[p], s)
		}
		put(t, h.Journal, records...)
	}
	got := past(t, h.Journal) // It checks that offsets grow and times do not go back.
	expect(t, got, want)
	for p := range got {
		for i := range got[p].records {
			if at := got[p].records[i].Time; at.IsZero() || at.Location() != time.UTC {
				t.Fatalf("partition %d: a record's time is %s; the appends began at %s", p, at, before)
			}
		}
	}
}

func timeOverReopen(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	want := make([][]string, h.Journal.Layout().Partitions)
	fill(t, h.Journal, want, 20, "first life")
	first := past(t, h.Journal)
	j := h.Reopen(t, h.Journal)
	fill(t, j, want, 20, "second life")
	second := past(t, j)
	expect(t, second, want)
	for p := range first {
		for i := range first[p].records {
			was, is := first[p].records[i], second[p].records[i]
			if was.Offset != is.Offset || !was.Time.Equal(is.Time) {
				t.Fatalf("partition %d: record %d was at %d, %s and is at %d, %s", p, i, was.Offset, was.Time, is.Offset, is.Time)
			}
		}
	}
}

func concurrentAppenders(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	partitions := h.Journal.Layout().Partitions
	const appenders, calls = 16, 40
	var all sync.WaitGroup
	for a := range appenders {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(a), 1))
			n := make([]int, partitions)
			for range calls {
				var records []journal.Record
				for range 1 + random.IntN(5) {
					p := random.IntN(partitions)
					records = append(records, record(p, fmt.Sprintf("%d %d", a, n[p])))
					n[p]++
				}
				if err := h.Journal.Append(context.Background(), records); err != nil {
					t.Errorf("append: %v", err)
				}
			}
			for p := range n {
				if err := h.Journal.Append(context.Background(), []journal.Record{record(p, fmt.Sprintf("%d end %d", a, n[p]))}); err != nil {
					t.Errorf("append: %v", err)
				}
			}
		})
	}
	all.Wait()
	for p, r := range past(t, h.Journal) {
		var next, ends [appenders]int
		for _, s := range r.payloads() {
			var a, n int
			if k, _ := fmt.Sscanf(s, "%d end %d", &a, &n); k == 2 {
				ends[a]++
				if n != next[a] {
					t.Errorf("partition %d: %d records of appender %d, who appended %d", p, next[a], a, n)
				}
				continue
			}
			if _, err := fmt.Sscanf(s, "%d %d", &a, &n); err != nil || next[a] != n {
				t.Fatalf("partition %d: record %q of appender %d where its record %d is due", p, s, a, next[a])
			}
			next[a]++
		}
		for a := range ends {
			if ends[a] != 1 {
				t.Errorf("partition %d: appender %d's last record is there %d times", p, a, ends[a])
			}
		}
	}
}

func payloadsMayBeReused(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	live := make(chan string, 200)
	o := own(t, h.Journal, func(ctx context.Context, tn journal.Tenure) error {
		r := reading{at: -1}
		if err := load(ctx, tn, &r); err != nil {
			return err
		}
		for {
			b, err := tn.Read(ctx)
			if err != nil {
				return err
			}
			for i := range b.Records {
				live <- string(b.Records[i].Payload)
			}
		}
	})
	payload := make([]byte, 64)
	records := make([]journal.Record, 1)
	for i := range 100 {
		copy(payload, fmt.Sprintf("%064d", i))
		records[0] = record(1, "")
		records[0].Payload = payload
		put(t, h.Journal, records...)
		clear(payload)
		clear(records)
	}
	for i := range 100 {
		if got := wait(t, live, "a record"); got != fmt.Sprintf("%064d", i) {
			t.Fatalf("live record %d reads %q", i, got)
		}
	}
	if err := o.end(); err != nil {
		t.Fatal(err)
	}
	for i, got := range past(t, h.Journal)[1].payloads() {
		if got != fmt.Sprintf("%064d", i) {
			t.Fatalf("record %d reads %q", i, got)
		}
	}
}

func cancelledAppend(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for i := range 10 {
		if err := h.Journal.Append(ctx, []journal.Record{record(0, fmt.Sprint("cancelled ", i))}); !errors.Is(err, context.Canceled) {
			t.Errorf("an append whose context has ended: %v", err)
		}
	}
	put(t, h.Journal, record(0, "after"))
	seen := make(map[string]int)
	for _, s := range past(t, h.Journal)[0].payloads() {
		seen[s]++
	}
	for s, n := range seen {
		if n > 1 {
			t.Errorf("%q is there %d times", s, n)
		}
	}
	if seen["after"] != 1 {
		t.Error("the append after it is not there")
	}
}

func largeRecords(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	size := 4 << 20
	sized, ok := h.Journal.(journal.Sized)
	if ok {
		size = min(size, sized.MaxPayload())
	}
	body := strings.Repeat("0123456789abcdef", size/16+1)[:size]
	put(t, h.Journal, record(0, "before"), record(0, body), record(0, ""), record(0, "between"))
	put(t, h.Journal, record(0, body))
	got := past(t, h.Journal)[0].payloads()
	if len(got) != 5 || got[0] != "before" || got[1] != body || got[2] != "" || got[3] != "between" || got[4] != body {
		t.Errorf("records of %d bytes: read %s", size, short(got))
	}
	if ok && size == sized.MaxPayload() {
		if err := h.Journal.Append(context.Background(), []journal.Record{record(0, body+"x")}); err == nil {
			t.Errorf("a payload of %d bytes was taken where %d are the most", size+1, size)
		}
	}
}

// specimen is a record with something in every field.
func specimen(row journal.Row, partition int) journal.Record {
	r := journal.Record{Kind: row.Kind, Level: journal.Level, Partition: partition, Tenant: "tenant of " + row.Name, Payload: []byte{0, 1, 0xff, byte(row.Kind)}}
	if row.Writer == journal.ByOwner {
		r.Epoch = 1<<40 + uint64(row.Kind)
	}
	for i := range r.Run {
		r.Run[i] = byte(i)*17 ^ byte(row.Kind)
	}
	return r
}

func kindsAndFields(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	var want []journal.Record
	for _, row := range journal.Table {
		bare := journal.Record{Kind: row.Kind, Level: journal.Level, Partition: 1}
		want = append(want, specimen(row, 1), bare)
	}
	compare := func(how string, got []journal.Record) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%s: %d records, want %d", how, len(got), len(want))
		}
		for i := range want {
			g, w := got[i], want[i]
			if g.Kind != w.Kind || g.Level != w.Level || g.Partition != w.Partition || g.Epoch != w.Epoch || g.Tenant != w.Tenant || g.Run != w.Run ||
				!bytes.Equal(g.Payload, w.Payload) {
				t.Errorf("%s: read %+v, want %+v", how, g, w)
			}
		}
	}
	live := make(chan journal.Record, len(want))
	o := own(t, h.Journal, func(ctx context.Context, tn journal.Tenure) error {
		for {
			r := reading{at: -1}
			b, err := tn.Read(ctx)
			if err != nil {
				return err
			}
			if err := r.add(tn, &b); err != nil {
				return err
			}
			for i := range r.records {
				live <- r.records[i]
			}
		}
	})
	put(t, h.Journal, want...)
	got := make([]journal.Record, 0, len(want))
	for range want {
		got = append(got, wait(t, live, "a record"))
	}
	compare("live", got)
	if err := o.end(); err != nil {
		t.Fatal(err)
	}
	compare("from the past", past(t, h.Journal)[1].records)
}

func noRecordIsRefused(t *testing.T, h Harness, _ func(*testing.T) Harness) {
	unknown := record(0, "of a kind that none has")
	unknown.Kind = 0xfe
	none := record(0, "of no kind")
	none.Kind = 0
	for what, r := range map[string]journal.Record{
		"a negative partition": record(-1, "a"), "a partition too many": record(h.Journal.Layout().Partitions, "a"),
		"an unknown kind": unknown, "no kind": none,
	} {
		if err := h.Journal.Append(context.Background(), []journal.Record{record(1, "beside "+what), r}); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	put(t, h.Journal)
	put(t, h.Journal, record(0, "after"))
	if got := past(t, h.Journal); len(got[0].records) != 1 || len(got[1].records) != 0 {
		t.Errorf("read %s and %s", short(got[0].payloads()), short(got[1].payloads()))
	}
}

// groupingChangesNothing appends the same records in other groupings, and by several appenders where partitions allow it.
func groupingChangesNothing(t *testing.T, h Harness, open func(*testing.T) Harness) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 2))
	partitions := h.Journal.Layout().Partitions
	var records []journal.Record
	want := make([][]string, partitions)
	for i := range 400 {
		r := specimen(journal.Table[random.IntN(len(journal.Table))], random.IntN(partitions))
		r.Payload = fmt.Appendf(nil, "%d %s", i, strings.Repeat("y", random.IntN(300)))
		records = append(records, r)
		want[r.Partition] = append(want[r.Partition], string(r.Payload))
	}
	for _, most := range []int{1, len(records), 2, 7, 60} {
		j := h.Journal
		for rest := records; len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(most))
			if most == len(records) {
				n = most
			}
			put(t, j, rest[:n]...)
			rest = rest[n:]
		}
		got := past(t, j)
		expect(t, got, want)
		for p := range got {
			i := 0
			for k := range records {
				if w := &records[k]; w.Partition == p && i < len(got[p].records) {
					if g := got[p].records[i]; g.Kind != w.Kind || g.Epoch != w.Epoch || g.Tenant != w.Tenant || g.Run != w.Run {
						t.Errorf("read %+v, want %+v", g, *w)
					}
					i++
				}
			}
		}
		if t.Failed() {
			t.Fatalf("groups of at most %d, seed %d", most, seed)
		}
		h = open(t)
	}
}
