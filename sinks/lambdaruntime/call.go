package lambdaruntime

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/sinks"
)

// A call is one delivery, from when it is due until it has its result.
type call struct {
	d     *sinks.Delivery
	name  string // of the function
	arn   string
	id    string            // of the request, by which the runtime answers
	ended chan sinks.Result // takes one

	// The endpoint's lock guards these.
	conn      *conn // to the runtime that has it; nil before
	handed    time.Time
	answering bool
}

// hand gives the call to a runtime. The endpoint's lock is held.
func (c *call) hand(to *conn) {
	c.conn, c.handed = to, time.Now()
	to.Begin() // Until the call has ended its connection is not idle, whatever is on it.
}

func newCall(k *sink, d *sinks.Delivery) *call {
	return &call{
		d: d, name: k.name, arn: cmp.Or(k.s.ARN, "arn:aws:lambda:local:000000000000:function:"+k.name), id: requestID(d.ID()), ended: make(chan sinks.Result, 1),
	}
}

// end gives a call its result. One that has one keeps it.
func (c *call) end(r sinks.Result) {
	select {
	case c.ended <- r:
	default:
	}
}

// requestID is the id of an event in the form that request ids have. Sent again it is the same: handlers may take it for what the call is known by.
func requestID(id string) string {
	sum := sha256.Sum256([]byte(id))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // Version 8 of RFC 9562: one's own.
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// unbounded is how long a handler has that is told no time: runtimes do not do without.
const unbounded = 24 * time.Hour

// headers are what a runtime is told of a call beside its input.
func (c *call) headers(h http.Header, now time.Time) {
	deadline, ok := c.d.Context.Deadline()
	if !ok {
		deadline = now.Add(unbounded)
	}
	h["Content-Type"] = []string{event.ApplicationJSON}
	h["Lambda-Runtime-Aws-Request-Id"] = []string{c.id}
	h["Lambda-Runtime-Deadline-Ms"] = []string{strconv.FormatInt(deadline.UnixMilli(), 10)}
	h["Lambda-Runtime-Invoked-Function-Arn"] = []string{c.arn}
	h["Lambda-Runtime-Client-Context"] = []string{clientContext(c.d.Event())}
	if trace, ok := envelope.Traced(c.d.Event()); ok {
		if parts := strings.Split(trace.Parent, "-"); len(parts) == 4 && len(parts[1]) == 32 {
			sampled := map[bool]string{true: "1", false: "0"}[strings.HasSuffix(parts[3], "1")]
			h["Lambda-Runtime-Trace-Id"] = []string{"Root=1-" + parts[1][:8] + "-" + parts[1][8:] + ";Parent=" + parts[2] + ";Sampled=" + sampled}
		}
	}
}

// clientContext gives a handler the event's attributes, as context.client_context.custom: texts by name, in JSON of ASCII, as a header has to be.
func clientContext(e *event.Event) string {
	var b []byte
	envelope.Each(e, func(name, text string) {
		if b == nil {
			b = []byte(`{"custom":{`)
		} else {
			b = append(b, ',')
		}
		b = append(lang.AppendString(b, name), ':')
		b = lang.AppendString(b, text)
	})
	b = append(b, "}}"...)
	var ascii strings.Builder
	for _, c := range string(b) {
		switch {
		case c >= 0x10000:
			fmt.Fprintf(&ascii, `\u%04x\u%04x`, 0xd800+(c-0x10000)>>10, 0xdc00+(c-0x10000)&0x3ff)
		case c >= 0x7f:
			fmt.Fprintf(&ascii, `\u%04x`, c)
		default:
			ascii.WriteRune(c)
		}
	}
	return ascii.String()
}

// answered is the result of an answer of the handler.
func answered(h http.Header, body []byte, invoke bool) sinks.Result {
	if !invoke {
		return sinks.Accept()
	}
	a, err := envelope.FromAnswer(h, body, maxAnswer)
	if err != nil {
		return sinks.CompleteError(&sinks.Error{Type: "bad_response", Message: "the response is no answer: " + err.Error(), Class: "function"})
	}
	return sinks.Complete([]byte(a.Value.JSON()))
}

// failed is the result of an error that the runtime reports: the handler's, or its own.
func failed(kind string, body []byte) sinks.Result {
	e := &sinks.Error{Type: "Unhandled", Message: "the handler failed", Class: "function"}
	v, err := lang.ParseValue(body)
	if err == nil {
		var own struct {
			Type string `json:"errorType"`
		}
		if e.Data = []byte(v.JSON()); v.Decode(&own) == nil && own.Type != "" {
			kind = own.Type
		}
		e.Message = cmp.Or(envelope.FailureOf(v, false).Message, e.Message) // A type, were there one, would be none of Lambda's.
	}
	e.Type = cmp.Or(strings.ToValidUTF8(kind[:min(len(kind), maxErrorType)], ""), e.Type)
	return sinks.CompleteError(e)
}

const maxErrorType = 256
