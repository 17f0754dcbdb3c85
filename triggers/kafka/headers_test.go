package kafka_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/triggers"
	"github.com/twmb/franz-go/pkg/kgo"
)

func fields(kv ...string) (out []kgo.RecordHeader) {
	for i := 0; i < len(kv); i += 2 {
		out = append(out, kgo.RecordHeader{Key: kv[i], Value: []byte(kv[i+1])})
	}
	return out
}

// TestHostileHeaders: whatever a record's headers hold, it becomes the event that they say, or is set aside whole, with a reason; and what is behind it is read.
func TestHostileHeaders(t *testing.T) {
	t.Parallel()
	const whole = `{"specversion":"1.0","id":"1","source":"/s","type":"t"}`
	base := fields("ce_specversion", "1.0", "ce_id", "1", "ce_source", "/s", "ce_type", "t")
	with := func(kv ...string) []kgo.RecordHeader { return append(slices.Clone(base), fields(kv...)...) }
	many := func(name string) (out []kgo.RecordHeader) {
		out = slices.Clone(base)
		for i := range 10_000 {
			out = append(out, kgo.RecordHeader{Key: fmt.Sprint(name, i), Value: []byte("v")})
		}
		return out
	}
	big := strings.Repeat("x", 990_000)
	c := fake(t)
	f := newFar(t, c, 1)
	defer f.close()
	cases := []struct {
		name    string
		headers []kgo.RecordHeader
		value   []byte
		want    string // data of the event, or why there is none
	}{
		{"other headers, 10,000 of them", many("h"), []byte("1"), "took MQ=="},
		{"another header of 1 MB", with("x", big), []byte("2"), "took Mg=="},
		{"another header of no UTF-8", with("\xff", "\xfe", "ce", "x", "ce-id", "x", "traceparent", "\xff"), []byte("3"), "took Mw=="},
		{"capital letters", fields("CE_SPECVERSION", "1.0", "Ce_Id", "1", "CE_SOURCE", "/s", "CE_type", "t", "CONTENT-TYPE", "Text/Plain"), []byte("a\x00b"), "took a\x00b"},
		{"no data", with("content-type", "application/json"), nil, "took "},
		{"attributes, 10,000 of them", many("ce_h"), []byte("1"), "more than 32768 bytes"},
		{"an attribute of 1 MB", with("ce_x", big), []byte("1"), "an attribute has at most 1024"},
		{"a name of 1 MB", with("ce_"+big, "x"), []byte("1"), "not an attribute's name"},
		{"a name of no UTF-8", with("ce_\xff", "x"), []byte("1"), "not an attribute's name"},
		{"no name", with("ce_", "x"), []byte("1"), "not an attribute's name"},
		{"an attribute of no UTF-8", with("ce_x", "\xff"), []byte("1"), "x is not UTF-8"},
		{"NUL", fields("ce_specversion", "1.0", "ce_id", "\x00", "ce_source", "/s", "ce_type", "t"), []byte("1"), "control character"},
		{"an id twice", with("ce_id", "1"), []byte("1"), "id comes twice"},
		{"an id twice, once in capitals", with("CE_ID", "2"), []byte("1"), "id comes twice"},
		{"a version that is none", with("ce_specversion", "0.3"), []byte("1"), "specversion"},
		{"no type", base[:3], []byte("1"), "type is missing"},
		{"data as a header", with("ce_data", "1"), []byte("1"), "the data is the body"},
		{"JSON that is none", with("content-type", "application/json"), []byte("{"), "data is not JSON"},
		{"gzip that is none", with("content-encoding", "gzip"), []byte("{"), "the body is not gzip"},
		{"a type of bytes that is none", with("content-type", "\xff"), []byte("1"), "not a media type"},
		{"two types of bytes", with("content-type", "text/plain", "Content-Type", "application/json"), []byte("1"), "comes twice"},
		{"whole, or a text", fields("content-type", "application/cloudevents+json", "content-type", "text/plain"), []byte(whole), "comes twice"},
		{"a text, or whole", fields("content-type", "text/plain", "content-type", "application/cloudevents+json"), []byte(whole), "comes twice"},
		{"a form that is not read", with("content-type", "application/cloudevents+avro"), []byte("1"), "is not supported"},
		{"whole, and nothing there", fields("content-type", "application/cloudevents+json"), nil, "not a JSON object"},
		{"a batch, and nothing there", fields("content-type", "application/cloudevents-batch+json"), nil, "not a JSON list"},
		{"a tombstone", nil, nil, "headers 0"},
		{"headers of its own", fields("a", "1", "b", "2", "a", "3", "a\xff", "4", "a\xfe", "5", "c", "\xff"), []byte("own"), `headers 4: 1,3 4,5 /w==`},
	}
	for _, x := range cases {
		put(t, f, &kgo.Record{Headers: x.headers, Value: x.value})
	}
	f.send("structured", "k", newEvent("last", "t"))
	s := source(t, fmt.Sprintf(`{"topics": %q, "group": %q, "brokers": %q, "as": {"type": "plain",
		"subject": "${ 'headers ' + string(size(headers)) + (size(headers) == 0 ? '' : ': ' + headers.a[0] + ',' + headers.a[1] + ' ' + headers['a?'][0] + ',' + headers['a?'][1] + ' ' + headers.c) }"}}`, f.topic, f.group, c.Brokers()[0]))
	said := make(map[string]string, len(cases)) // by place
	n := 0
	var taken []string
	done := make(chan struct{})
	run(t, s, func(_ context.Context, events []event.Event) ([]triggers.Receipt, error) {
		for i := range events {
			if events[i].ID() == "last" {
				close(done)
				continue
			}
			text := "took " + string(events[i].Data())
			if events[i].DataBase64 {
				text = "took " + base64.StdEncoding.EncodeToString(events[i].Data())
			}
			if events[i].Type() == "plain" {
				text = events[i].Subject()
			}
			taken = append(taken, text)
		}
		return make([]triggers.Receipt, len(events)), nil
	})
	<-done
	for _, p := range s.Parked() {
		said[p.Place] = p.Reason
	}
	for at, x := range cases {
		if reason, is := said[fmt.Sprintf("%s/0/%d", f.topic, at)]; is {
			if !strings.Contains(reason, x.want) {
				t.Errorf("%s: parked for %.200q; want %q", x.name, reason, x.want)
			}
			continue
		}
		if n >= len(taken) || taken[n] != x.want {
			t.Errorf("%s: %.200q; want %q", x.name, taken[min(n, len(taken)-1)], x.want)
		}
		n++
	}
	eventually(t, "the place is kept", func() bool { return f.position() == int64(len(cases)+1) })
}
