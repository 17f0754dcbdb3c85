package envelope_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/envelope/envelopetest"
)

// TestEachIsRead: the events of a batch that are read one after the other, into the same room, are those that are read all at once.
func TestEachIsRead(t *testing.T) {
	t.Parallel()
	var all []string
	for _, c := range envelopetest.Cases() {
		if c.Mode == envelopetest.Structured && c.At(envelopetest.HTTP) && json.Valid([]byte(c.Body)) {
			all = append(all, c.Body)
		}
	}
	bodies := []envelopetest.Case{{Name: "all", Mode: envelopetest.Batched, Headers: []envelopetest.Header{{Name: "Content-Type", Value: event.ApplicationCloudEventsBatchJSON}}, Body: "[" + strings.Join(all, ",") + "]"}}
	for _, c := range envelopetest.Cases() {
		if c.Mode == envelopetest.Batched && c.At(envelopetest.HTTP) {
			bodies = append(bodies, c)
		}
	}
	n := 0
	for _, c := range bodies {
		head, err := envelope.FromHTTP(c.Header())
		if err != nil {
			continue
		}
		want, wrong, whole := head.Read([]byte(c.Body), limits)
		var got, bad []string
		err = head.Each([]byte(c.Body), limits, func(e *event.Event, err error) {
			if err != nil {
				bad = append(bad, err.Error())
			} else {
				got = append(got, e.String())
			}
		})
		if (err == nil) != (whole == nil) || whole == nil && (len(got) != len(want) || len(bad) != len(wrong)) {
			t.Errorf("%s: %d of %d, %d bad of %d, %v; %v", c.Name, len(got), len(want), len(bad), len(wrong), err, whole)
			continue
		}
		for i := range wrong {
			if bad[i] != wrong[i].Err.Error() {
				t.Errorf("%s: %s; %s", c.Name, bad[i], wrong[i].Err)
			}
		}
		for i := range want {
			if whole == nil && got[i] != want[i].String() {
				t.Errorf("%s: event %d is\n%s\nof\n%s", c.Name, i, got[i], want[i].String())
			}
		}
		n += len(got)
	}
	if n < 100 {
		t.Errorf("%d events", n)
	}
}

// TestSourceOf: it is the text that the SDK gives, by which runs have their ids.
func TestSourceOf(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"/a", "//a", "//h/a", "/", "/a//b", "/..", "a", "a:b", "https://h/a?b#c", "urn:x", "/a b", "/é", "%41", "?q", "#f", ""} {
		sources := []types.URIRef{envelope.Source(text), {URL: url.URL{Path: text}}}
		if u, err := url.Parse(text); err == nil {
			sources = append(sources, types.URIRef{URL: *u})
		}
		for _, source := range sources {
			e := event.New()
			e.Context.(*event.EventContextV1).Source = source
			if got := envelope.SourceOf(&e); got != e.Source() {
				t.Errorf("%q: %q, and the SDK says %q", text, got, e.Source())
			}
		}
	}
}
