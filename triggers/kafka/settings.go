// Package kafka is the source that takes CloudEvents from Kafka topics, in the binary, structured and batched modes of the Kafka binding 1.0, or events
// made of plain records by a mapping.
//
// An offset is committed only when everything up to it is durable in the journal. When starts are refused for a while, what is behind them in the
// partition - completions above all - goes on being taken, however many starts there are.
package kafka

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/triggers/mapping"
)

// Settings are the source's part of a document.
type Settings struct {
	kafka.Cluster
	Topics    []string        `doc:"topics,list,required" help:"names of topics, or patterns between slashes: /orders\\..*/"`
	Group     string          `doc:"group,required" help:"the consumer group; routers of one group share the partitions"`
	Start     string          `doc:"start" help:"where a partition begins for which the group has committed nothing: earliest or latest; with latest, what is written to a new topic or partition before it is seen is passed over" default:"earliest"`
	MaxEvent  plugin.Size     `doc:"maxEvent" help:"how large one event may be; functions' completions may have 16MiB" default:"1MiB"`
	OnInvalid Invalid         `doc:"onInvalid" help:"what becomes of a record that is no event, and of a bad event of a batch: park (kept for show, counted), skip (counted) or {deadletter: TOPIC}" default:"park"`
	As        *mapping.As     `doc:"as" help:"makes events of records that are none: expressions over body (or value), key, headers, topic, partition, offset and time"`
	Session   plugin.Duration `doc:"session,above0" help:"how long a router may be silent before its partitions are given to others" default:"10s"`
	Rebalance plugin.Duration `doc:"rebalance,above0" help:"how long the others wait for a router to take its new share" default:"10s"`
}

// Invalid says what becomes of a record that is no event.
type Invalid struct {
	Word  string // park, skip or deadletter
	Topic string // of deadletter
}

const (
	park       = "park"
	skip       = "skip"
	deadletter = "deadletter"
)

// UnmarshalNode reads a word, or {deadletter: TOPIC}.
func (v *Invalid) UnmarshalNode(n *lang.Node, decode func(*lang.Node, any)) []plugin.Problem {
	if n.Kind == lang.MapNode && len(n.Keys) == 1 && n.Keys[0].Name == deadletter {
		v.Word = deadletter
		decode(n.Items[0], &v.Topic)
		return nil
	}
	v.Word = n.Text()
	if n.Kind == lang.ScalarNode && (v.Word == park || v.Word == skip) {
		return nil
	}
	return []plugin.Problem{{What: fmt.Sprintf("unknown onInvalid %.80s", v.Word), Cure: "write park, skip or { deadletter: TOPIC }"}}
}

// Schema tells the forms.
func (Invalid) Schema() plugin.Schema {
	return plugin.Schema{"oneOf": []any{
		plugin.Schema{"enum": []any{park, skip}},
		plugin.Schema{"type": "object", "properties": plugin.Schema{deadletter: plugin.Schema{"type": "string"}}, "required": []any{deadletter}, "additionalProperties": false},
	}}
}

// mappingNames are what expressions of as: see. body and value are the same.
var mappingNames = []string{"body", "headers", "key", "offset", "partition", "time", "topic", "value"}

// Check reports what cannot be read.
func (s *Settings) Check() []plugin.Problem {
	out := s.Cluster.Check()
	if len(s.Topics) == 0 {
		out = append(out, plugin.Problem{Path: []string{"topics"}, What: "no topic is named", Cure: "write topics: [NAME]"})
	}
	for i, t := range s.Topics {
		if text, is := pattern(t); is {
			if _, err := regexp.Compile(text); err != nil {
				out = append(out, plugin.Problem{Path: []string{"topics", fmt.Sprint(i)}, What: err.Error(), Cure: "write a regular expression between slashes"})
			}
		} else if t == "" {
			out = append(out, plugin.Problem{Path: []string{"topics", fmt.Sprint(i)}, What: "a topic without a name", Cure: "write its name"})
		}
	}
	if dead := s.OnInvalid.Topic; dead != "" {
		for i, t := range s.Topics {
			text, is := pattern(t)
			if p, err := regexp.Compile(text); t == dead || is && err == nil && p.MatchString(dead) {
				out = append(out, plugin.Problem{Path: []string{"topics", fmt.Sprint(i)}, What: fmt.Sprintf("%s takes in %q, the topic of the source's own dead letters", t, dead), Cure: "write a pattern that leaves it out, or name another topic for dead letters"})
			}
		}
	}
	if s.MaxEvent < 1 {
		out = append(out, plugin.Problem{Path: []string{"maxEvent"}, What: "events of no bytes", Cure: "write 1B or more, or leave it out"})
	}
	if s.As != nil {
		out = append(out, s.As.Problems(mappingNames)...)
	}
	if s.Start != "earliest" && s.Start != "latest" {
		out = append(out, plugin.Problem{Path: []string{"start"}, What: fmt.Sprintf("unknown start %q", s.Start), Cure: "write earliest or latest"})
	}
	return out
}

// Schema tells what Check refuses.
func (*Settings) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{"start": plugin.Schema{"enum": []any{"earliest", "latest"}}}}
}

// pattern returns the regular expression of a topic that is written as one; it has to match the whole name.
func pattern(topic string) (string, bool) {
	if len(topic) > 2 && strings.HasPrefix(topic, "/") && strings.HasSuffix(topic, "/") {
		return "^(?:" + topic[1:len(topic)-1] + ")$", true
	}
	return "", false
}

// SaysTickets reports whether as: says which calls are done.
func (s *Settings) SaysTickets() bool { return s.As.SaysTicket() }
