// Package kafka is the sink that writes events to a Kafka topic, in the binary or structured mode of the CloudEvents Kafka binding 1.0.
//
// The brokers' acknowledgement by all in-sync replicas is acceptance; a function behind a topic completes later, by an event. Production is idempotent:
// an answer that is lost makes no event come twice.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/egress"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/kafka"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/config/traceparent"
	"github.com/onward-router/onward/sinks"
	segmentio "github.com/segmentio/kafka-go"
)

// Settings are the sink's part of a document.
type Settings struct {
	kafka.Cluster
	Topic       lang.Expr         `doc:"topic,required" help:"the topic, or an expression over event and data that yields it: \"orders.${ data.region }\""`
	Key         lang.Expr         `doc:"key" help:"the record's key, by an expression over event and data; default: the event's partitionkey"`
	Mode        string            `doc:"mode" help:"binary (attributes in headers) or structured (the event as JSON)" default:"binary"`
	Headers     map[string]Header `doc:"headers" help:"further headers: texts, or {env: NAME} and {file: PATH} for secrets"`
	Linger      plugin.Duration   `doc:"linger" help:"how long an event may wait for company" default:"2ms"`
	Compression string            `doc:"compression" help:"none, gzip, snappy, lz4 or zstd" default:"none"`
}

// A Header is a text, or a secret.
type Header struct {
	Text string `doc:"text,value" help:"the value"`
	Env  string `doc:"env" help:"name of the environment variable that holds it"`
	File string `doc:"file" help:"path of the file that holds it"`
}

func (h Header) value() (string, error) {
	if h.Env != "" || h.File != "" {
		return plugin.Secret{Env: h.Env, File: h.File}.Read()
	}
	return h.Text, nil
}

// AnswersLater says that acceptance is all that a topic answers.
func (*Settings) AnswersLater() bool { return true }

var compressions = map[string]segmentio.Compression{"none": 0, "gzip": segmentio.Gzip, "snappy": segmentio.Snappy, "lz4": segmentio.Lz4, "zstd": segmentio.Zstd}

// Check reports what cannot be sent.
func (s *Settings) Check() []plugin.Problem {
	out := s.Cluster.Check()
	if s.Mode != "binary" && s.Mode != "structured" {
		out = append(out, plugin.Problem{Path: []string{"mode"}, What: fmt.Sprintf("unknown mode %q", s.Mode), Cure: "write binary or structured"})
	}
	if _, ok := compressions[s.Compression]; !ok {
		words := slices.Sorted(maps.Keys(compressions))
		out = append(out, plugin.Problem{Path: []string{"compression"}, What: fmt.Sprintf("unknown compression %q", s.Compression), Cure: lang.Nearest(s.Compression, words)})
	}
	for key, e := range map[string]lang.Expr{"topic": s.Topic, "key": s.Key} {
		for _, name := range e.Names() {
			if !slices.Contains(names, name) {
				out = append(out, plugin.Problem{Path: []string{key}, What: fmt.Sprintf("unknown name %q", name), Cure: lang.Nearest(name, names)})
			}
		}
	}
	if v, constant := s.Topic.Const(); constant {
		if _, err := text(v); err != nil {
			out = append(out, plugin.Problem{Path: []string{"topic"}, What: "the topic " + err.Error(), Cure: "write a topic's name"})
		}
	}
	return out
}

// Schema tells what Check refuses.
func (*Settings) Schema() plugin.Schema {
	return plugin.Schema{"properties": plugin.Schema{
		"mode": plugin.Schema{"enum": []any{"binary", "structured"}}, "compression": plugin.Schema{"enum": []any{"none", "gzip", "snappy", "lz4", "zstd"}},
	}}
}

// names are what the expressions see.
var names = []string{"data", "event"}

type sink struct {
	s        *Settings
	client   *kafka.Client
	producer *kafka.Producer

	ctx       context.Context // of questions about topics
	cancel    context.CancelCauseFunc
	questions sync.WaitGroup

	mu     sync.Mutex
	topics map[string]*topic
}

// New makes the sink. It connects with its first delivery.
func New(name string, s *Settings, h sinks.Host) (sinks.Sink, error) {
	c, err := kafka.Open(&s.Cluster, "onward-"+name, kafka.Limits{})
	if err != nil {
		return nil, err
	}
	c.Within(h.Egress)
	p := c.NewProducer(kafka.ProducerOptions{Linger: s.Linger.D(), Compression: compressions[s.Compression]})
	k := &sink{s: s, client: c, producer: p, topics: make(map[string]*topic)}
	k.ctx, k.cancel = context.WithCancelCause(context.Background())
	return k, nil
}

// Close gives up what has no answer yet.
func (k *sink) Close() error {
	k.cancel(kafka.ErrClosed)
	k.questions.Wait()
	k.producer.Close()
	k.client.Close()
	return nil
}

// Probe looks for the topic, or for the cluster where the topic depends on the event.
func (k *sink) Probe(ctx context.Context) (string, error) {
	v, constant := k.s.Topic.Const()
	if !constant {
		all, err := k.client.Topics(ctx)
		return fmt.Sprintf("the cluster has %d topics, and which one it is depends on the event", len(all)), err
	}
	name, err := text(v)
	if err != nil {
		return "", err
	}
	t, err := k.client.Topic(ctx, name)
	return fmt.Sprintf("topic %q has %d partitions", name, t.Partitions), err
}

func (k *sink) Deliver(_ context.Context, deliveries []*sinks.Delivery) {
	for _, d := range deliveries {
		name, r, err := k.record(d.Event())
		if err != nil {
			d.Done(sinks.Fail(&sinks.Error{Type: "bad_request", Message: err.Error(), Class: "platform"}))
			continue
		}
		if d.Context.Err() != nil {
			d.Done(sinks.Ended(d.Context, noAck))
			continue
		}
		k.send(name, d, r)
	}
}

// record makes the record of an event, and says which topic it goes to.
func (k *sink) record(e *event.Event) (name string, r kafka.Record, err error) {
	scope := lang.Vars{{Name: "event", Value: envelope.Attributes(e)}, {Name: "data", Value: data(e)}}
	eval := func(x lang.Expr) (string, error) {
		v, constant := x.Const()
		if !constant {
			if v, err = x.Eval(scope, lang.NewCache(1<<20)); err != nil {
				return "", err
			}
		}
		return asText(v)
	}
	if name, err = eval(k.s.Topic); err != nil {
		return "", r, fmt.Errorf("topic: %w", err)
	}
	key, _ := e.Extensions()["partitionkey"].(string)
	if !k.s.Key.IsZero() {
		if key, err = eval(k.s.Key); err != nil {
			return "", r, fmt.Errorf("key: %w", err)
		}
	}
	if key != "" {
		r.Key = []byte(key)
	}
	if k.s.Mode == "structured" {
		if r.Value, err = envelope.Marshal(e); err != nil {
			return "", r, err
		}
		r.Headers = append(r.Headers, kafka.Header{Key: "content-type", Value: []byte(event.ApplicationCloudEventsJSON)})
	} else {
		r.Value, r.Headers = e.Data(), binaryHeaders(e)
	}
	r.Headers = append(r.Headers, k.traced(e)...)
	for _, h := range slices.Sorted(maps.Keys(k.s.Headers)) {
		v, err := k.s.Headers[h].value()
		if err != nil {
			return "", r, fmt.Errorf("header %s: %w", h, err)
		}
		r.Headers = append(r.Headers, kafka.Header{Key: h, Value: []byte(v)})
	}
	return name, r, nil
}

// traced are the headers of W3C's trace context, but for those that the document sets.
func (k *sink) traced(e *event.Event) (out []kafka.Header) {
	c, ok := envelope.Traced(e)
	if !ok {
		return nil
	}
	for _, h := range []kafka.Header{{Key: traceparent.Parent, Value: []byte(c.Parent)}, {Key: traceparent.State, Value: []byte(c.State)}} {
		if _, own := k.s.Headers[h.Key]; !own && len(h.Value) > 0 {
			out = append(out, h)
		}
	}
	return out
}

// binaryHeaders writes an event's attributes as headers (Kafka binding 1.0, section 3.2), sorted by name.
func binaryHeaders(e *event.Event) []kafka.Header {
	var out []kafka.Header
	envelope.Each(e, func(name, text string) {
		key := "ce_" + name
		if name == "datacontenttype" {
			key = "content-type"
		}
		out = append(out, kafka.Header{Key: key, Value: []byte(text)})
	})
	slices.SortFunc(out, func(a, b kafka.Header) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// data is an event's data as expressions see it: what is not JSON is null.
func data(e *event.Event) lang.Value {
	v, err := lang.ParseValue(e.Data())
	if err != nil {
		return lang.Null
	}
	return v
}

// asText is what an expression yields as a name or a key: numbers and truth values are taken as they are written, since ids are often numbers.
func asText(v lang.Value) (string, error) {
	if c := v.JSON()[0]; c == '-' || c >= '0' && c <= '9' || c == 't' || c == 'f' {
		return v.JSON(), nil
	}
	return text(v)
}

// text is a text that may be a name.
func text(v lang.Value) (string, error) {
	var s string
	if v.IsNull() || v.Decode(&s) != nil || s == "" {
		return "", fmt.Errorf("is %.80s and not a text", v)
	}
	return s, nil
}

const noAck = "no acknowledgement"

// kinds are the error types of what only a person can mend.
var kinds = map[segmentio.Error]string{
	segmentio.UnknownTopicOrPartition: "unknown_topic", segmentio.InvalidTopic: "unknown_topic", segmentio.MessageSizeTooLarge: "too_large",
	segmentio.RecordListTooLarge: "too_large", segmentio.TopicAuthorizationFailed: "not_authorised", segmentio.ClusterAuthorizationFailed: "not_authorised",
	segmentio.SASLAuthenticationFailed: "not_authenticated",
}

// result tells what may pass from what a person has to mend first.
func result(ctx context.Context, err error) sinks.Result {
	if ctx.Err() != nil {
		return sinks.Ended(ctx, noAck)
	}
	e := &sinks.Error{Type: "kafka", Message: err.Error(), Class: "platform"}
	var code segmentio.Error
	if errors.As(err, &code) && kinds[code] != "" {
		e.Type = kinds[code]
	}
	if refused := (*egress.Refused)(nil); errors.As(err, &refused) {
		e.Type = "egress_refused"
	}
	if kafka.Final(err) {
		return sinks.Fail(e)
	}
	return sinks.Again(0, e)
}

// Register enters the sink.
func Register(r *plugin.Registry) {
	sinks.Register(r, "kafka", 1, "Writes to a Kafka topic; a function behind it completes by an event.", New)
}
