package kafka

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/triggers/mapping"
)

// TestAs: a record that is none becomes several events; an item that is to be looked at is parked whatever becomes of bad ones, and those are buried as what they are.
func TestAs(t *testing.T) {
	t.Parallel()
	s := &Settings{
		Cluster: kafka.Cluster{Brokers: []string{"127.0.0.1:1"}}, Topics: []string{"orders"}, Group: "g", MaxEvent: 1 << 20, OnInvalid: Invalid{Word: skip},
		As: &mapping.As{
			Each: lang.MustExpr("${ body.list }"), Type: lang.MustExpr("${ item.t }"), Subject: lang.MustExpr("${ key }"), Park: lang.MustExpr("${ item.t == 'odd' ? 'look at ' + headers.h : null }"),
			Cause: lang.MustExpr("${ item[?'call'].orValue(null) }"), Verdict: lang.MustExpr("${ 'call' in item ? 'failed' : null }"),
		},
	}
	made, err := New("in", s)
	if err != nil {
		t.Fatal(err)
	}
	in := made.(*Source)
	r := &kafka.Record{Key: []byte("k"), Value: []byte(`{"list":[{"t":"a"},{"t":"odd"},{"t":1.5},{"t":null},{"t":"b","call":"RUN~x.1"}]}`), Headers: []kafka.Header{{Key: "h", Value: []byte("x")}}, Offset: 7, Time: time.Unix(1, 0)}
	events, bad, err := in.decode("orders", 3, r)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range events {
		e := &events[i]
		got = append(got, fmt.Sprintf("%s %s %s %s %s %v", e.ID(), e.Source(), e.Type(), e.Subject(), e.Data(), isInner(e)))
	}
	want := `orders-3-7-0 /kafka/orders a k {"t":"a"} false
orders-3-7-2 /kafka/orders 1.5 k {"t":1.5} false
orders-3-7-4 /kafka/orders dev.onward.function.failed k {"t":"b","call":"RUN~x.1"} true`
	if all := strings.Join(got, "\n"); all != want {
		t.Errorf("%s\nwant\n%s", all, want)
	}
	if len(bad) != 2 || bad[0].Index != 1 || bad[1].Index != 3 {
		t.Fatalf("%v", bad)
	}
	for _, b := range bad {
		one := alone(r, b.Raw)
		if string(one.Headers[0].Value) != "application/json" {
			t.Errorf("it is buried as %s", one.Headers[0].Value)
		}
		if err := in.unfit(t.Context(), "orders", 3, one, fmt.Errorf("event %d of a batch: %w", b.Index, b.Err)); err != nil {
			t.Error(err)
		}
	}
	if parked := in.Parked(); len(parked) != 1 || parked[0].Place != "orders/3/7" || parked[0].Reason != "event 1 of a batch: look at x" || string(parked[0].Bytes) != `{"t":"odd"}` {
		t.Errorf("%v", parked)
	}
}
