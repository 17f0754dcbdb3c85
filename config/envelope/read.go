package envelope

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/traceparent"
)

// MaxCompletion is what the data of a function's completion may have, whatever a door's limit is: a value inside a run has up to 16 MiB, and a larger
// one is an outcome of its own, which the router books once it has got it.
const MaxCompletion = 17 << 20

// MaxBatchEvents is how many events a batch may have: the smallest take up thirty times their bytes.
const MaxBatchEvents = 100_000

// Limits are what a door takes, in bytes.
type Limits struct {
	Event int // the data of one event
	Batch int // the text of one batch
	// Strict: of a batch with bad events the first is told, and the others are not read.
	Strict bool
}

// IsCompletion reports the types of functions' outcomes (DESIGN 7).
func IsCompletion(kind string) bool { return strings.HasPrefix(kind, "dev.onward.function.") }

func (l Limits) of(kind string) int {
	if IsCompletion(kind) {
		return max(l.Event, MaxCompletion)
	}
	return l.Event
}

// size reports data that are too large.
func (l Limits) size(e *event.Event) error {
	if limit := l.of(e.Type()); len(e.DataEncoded) > limit {
		return tooLarge("the data have", limit)
	}
	return nil
}

// take checks data that came as bytes, and makes UTF-8 of what its type says is text or JSON.
func (l Limits) take(e *event.Event, m media) (err error) {
	if m.form != asBytes && e.DataEncoded != nil {
		if e.DataEncoded, err = m.decode(e.DataEncoded); err != nil {
			return err
		}
	}
	if m.form == asJSON && e.DataEncoded != nil {
		e.DataEncoded = unmarked(e.DataEncoded)
		if err := lang.CheckJSON(e.DataEncoded); err != nil {
			return invalid("data is not JSON, and its content type says that it is: %v", err)
		}
	}
	return l.size(e)
}

type mode uint8

const (
	binaryMode mode = iota + 1
	structuredMode
	batchMode
)

// A Head is what came before a body: how to read it, and in binary mode the attributes.
type Head struct {
	mode    mode
	media   media
	gzipped bool
	draft   *draft
	traced  traceparent.Context // beside the event
	unread  error               // why the data cannot be read, where that is known before they are
}

// A Bad is an event of a batch that is none.
type Bad struct {
	Index int
	Raw   []byte
	Err   error
}

// newHead chooses the mode. isEvent says that there is a specversion beside the body.
func newHead(contentType, encoding string, isEvent bool) (*Head, error) {
	m, err := mediaOf(contentType)
	h := &Head{media: m}
	switch {
	case err != nil && isEvent:
		h.mode, h.draft, h.unread = binaryMode, new(draft), unsupported("Content-Type %q is not a media type", brief(contentType))
	case err != nil:
		return nil, unsupported("Content-Type %q is not a media type", brief(contentType))
	case m.name == Structured:
		h.mode = structuredMode
	case m.name == Batched:
		h.mode = batchMode
	case strings.HasPrefix(m.name, "application/cloudevents"):
		return nil, unsupported("%s is not supported; send %s or %s", brief(m.name), Structured, Batched)
	case !isEvent:
		return h, nil
	default:
		h.mode, h.draft = binaryMode, new(draft)
		if contentType != "" {
			if err := h.draft.set("datacontenttype", contentType); err != nil {
				return nil, err
			}
		}
	}
	if h.gzipped, err = isGzipped(encoding); err != nil {
		if h.mode != binaryMode {
			return nil, err
		}
		h.unread = err
	}
	return h, nil
}

func isGzipped(encoding string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return false, nil
	case "gzip", "x-gzip":
		return true, nil
	}
	return false, unsupported("content encoding %q is not read; send it as it is, or with gzip", brief(encoding))
}

// Unpack is the body of a request that is no event, as it was before it was compressed; of limit bytes at most.
func Unpack(header http.Header, body []byte, limit int) ([]byte, error) {
	encoding, err := single(header, "Content-Encoding")
	if err != nil {
		return nil, err
	}
	h := new(Head)
	if h.gzipped, err = isGzipped(encoding); err != nil {
		return nil, err
	}
	return h.plain(body, limit)
}

// FromHTTP reads the headers of a request (HTTP binding 1.0).
func FromHTTP(header http.Header) (*Head, error) {
	content, err := single(header, "Content-Type")
	if err != nil {
		return nil, err
	}
	encoding, err := single(header, "Content-Encoding")
	if err != nil {
		return nil, err
	}
	isEvent := len(header["Ce-Specversion"]) > 0
	h, err := newHead(content, encoding, isEvent)
	switch {
	case err != nil:
		return nil, err
	case h.mode == 0 && len(header["Ce-Id"])+len(header["Ce-Type"])+len(header["Ce-Source"]) > 0:
		return nil, invalid("ce-specversion is missing; send ce-specversion: 1.0")
	case h.mode == 0:
		return nil, &Refusal{NoEvent, "no CloudEvent: send ce-specversion, ce-id, ce-source and ce-type headers, or Content-Type: " + Structured}
	case h.mode == binaryMode:
		err = h.draft.headers(header)
	}
	h.traced = tracedHTTP(header)
	return h, firstOf(err, h.refused())
}

// single returns a header that may come once.
func single(header http.Header, name string) (string, error) {
	switch v := header[name]; len(v) {
	case 0:
		return "", nil
	case 1:
		return v[0], nil
	default:
		return "", invalid("header %s comes twice", name)
	}
}

// headers takes the attributes in ce-* headers.
func (d *draft) headers(header http.Header) error {
	var err error
	for key, values := range header {
		rest, ok := strings.CutPrefix(key, "Ce-")
		if !ok {
			continue
		}
		name, known := spelled[rest]
		if !known {
			name, err = headerName(rest)
		}
		switch {
		case err != nil:
			return invalid("header %q: %v", key, err)
		case len(values) > 1:
			return invalid("header %s comes twice", key)
		case len(values) == 0:
			continue
		}
		text := decodeHeader(values[0])
		if !utf8.ValidString(text) {
			return invalid("header %s does not decode to UTF-8", key)
		}
		if err := d.set(name, text); err != nil {
			return err
		}
	}
	return d.complete()
}

// spelled are the names that nearly every event has, as net/http spells headers.
var spelled = map[string]string{
	"Specversion": "specversion", "Id": "id", "Source": "source", "Type": "type", "Subject": "subject", "Time": "time", "Dataschema": "dataschema", "Traceparent": "traceparent",
	"Tracestate": "tracestate", "Causationid": "causationid", "Correlationid": "correlationid", "Partitionkey": "partitionkey",
	"Idempotencykey": "idempotencykey", "Expirytime": "expirytime", "Onwardfuel": "onwardfuel", "Onwardattempt": "onwardattempt",
}

// headerName reads what stands after ce- or ce_.
func headerName(s string) (string, error) {
	name, err := attributeName(s)
	switch {
	case err != nil:
		return "", err
	case name == "datacontenttype":
		return "", invalid("a header of datacontenttype: send Content-Type instead")
	case name == "data":
		return "", invalid("a header of data: the data is the body")
	}
	return name, nil
}

// decodeHeader takes off quotes and undoes one round of percent-encoding (HTTP binding 1.0, section 3.1.3.2). A percent sign that begins no code
// stands for itself: there are senders that do not encode. Where the bytes are no UTF-8 they are ISO-8859-1: Node's and Python's clients send é as one.
func decodeHeader(s string) string {
	if !utf8.ValidString(s) {
		s = string(latin1([]byte(s)))
	}
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		var b strings.Builder
		for i := 1; i < len(s)-1; i++ {
			if s[i] == '\\' && i+1 < len(s)-1 {
				i++
			}
			b.WriteByte(s[i])
		}
		s = b.String()
	}
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// A Field is one header of a Kafka record.
type Field = struct {
	Key   string
	Value []byte
}

// FromRecord reads the headers of a Kafka record (Kafka binding 1.0). It returns nil when nothing says that the record is an event.
func FromRecord[H ~Field](headers []H) (*Head, error) {
	content, encoding := "", ""
	contents, encodings, isEvent, isWhole := 0, 0, false, false
	for i := range headers {
		switch h := Field(headers[i]); {
		case strings.EqualFold(h.Key, "content-type"):
			content, contents = string(h.Value), contents+1
			isWhole = isWhole || strings.HasPrefix(strings.ToLower(content), "application/cloudevents")
		case strings.EqualFold(h.Key, "content-encoding"):
			encoding, encodings = string(h.Value), encodings+1
		case strings.EqualFold(h.Key, "ce_specversion"):
			isEvent = true
		}
	}
	h, err := newHead(content, encoding, isEvent)
	switch {
	case !isEvent && !isWhole:
		return nil, nil // What its own headers mean is its own.
	case contents > 1 || encodings > 1: // Whichever of them came last.
		return nil, invalid("header content-type or content-encoding comes twice")
	case err != nil:
		return nil, err
	}
	if h.traced = TracedRecord(headers); h.mode != binaryMode {
		return h, nil
	}
	for i := range headers {
		if err := h.draft.field(Field(headers[i])); err != nil {
			return nil, err
		}
	}
	return h, firstOf(h.draft.complete(), h.refused())
}

// field takes the attribute in a ce_* header. Its bytes are the text: in this binding nothing is encoded.
func (d *draft) field(f Field) error {
	if len(f.Key) < 3 || !strings.EqualFold(f.Key[:3], "ce_") {
		return nil
	}
	name, err := headerName(f.Key[3:])
	if err != nil {
		return invalid("header %q: %v", brief(f.Key), err)
	}
	return d.set(name, string(f.Value))
}

// IsWhole reports whether the body alone says what the event is: its attributes too, in a charset that needs no header to be read by.
func (h *Head) IsWhole() bool { return h.mode != binaryMode && h.media.isPlain() }

// IsBinary reports binary mode: the attributes are headers.
func (h *Head) IsBinary() bool { return h.mode == binaryMode }

// IsBatch reports batched mode.
func (h *Head) IsBatch() bool { return h.mode == batchMode }

// refused is why there is no event, where nothing has to be read to know it.
func (h *Head) refused() error {
	if h.unread != nil && !h.draft.answers() {
		return h.unread
	}
	return nil
}

// Refuse tells that the body cannot be had, and why. It reports whether Read, of no body, yields the event all the same: one of an invocation, see Spoiled.
func (h *Head) Refuse(why error) bool {
	if h.mode != binaryMode || !h.draft.answers() {
		return false
	}
	h.unread = why
	return true
}

// Limit is how many bytes of body are worth reading. Of a structured event the type is known once it was read.
func (h *Head) Limit(l Limits) int {
	switch h.mode {
	case batchMode:
		return l.Batch
	case structuredMode:
		return max(l.Event, MaxCompletion) + MaxAttributes
	}
	return l.of(h.draft.ctx.Type)
}

// Read makes the events of a body: one, or those of a batch, of which some may be bad. The error is for all of it. The events may keep body.
func (h *Head) Read(body []byte, l Limits) ([]event.Event, []Bad, error) {
	events, bad, err := h.read(body, l)
	for i := range events {
		Trace(&events[i], h.traced)
	}
	return events, bad, err
}

func (h *Head) read(body []byte, l Limits) ([]event.Event, []Bad, error) {
	if h.mode == binaryMode {
		e, err := h.binary(body, l)
		return []event.Event{e}, nil, err
	}
	body, err := h.text(body, l)
	if err != nil {
		return nil, nil, err
	}
	if h.mode == structuredMode {
		e, err := fromJSON(new(draft), body, l)
		return []event.Event{e}, nil, err
	}
	var events []event.Event
	var bad []Bad
	n := 0
	err = batch(body, func(raw []byte) error {
		e, err := fromJSON(new(draft), raw, l)
		if err == nil {
			events = append(events, e)
		} else if bad = append(bad, Bad{n, raw, err}); l.Strict {
			return errEnough
		}
		n++
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, nil, err
	}
	return events, bad, nil
}

// Each calls f for each event of a batch, in order, as Read makes them, or with why it is none; an event is f's until it returns. The error is for all of the batch:
// f may have been called before it was found.
func (h *Head) Each(body []byte, l Limits, f func(e *event.Event, err error)) error {
	body, err := h.text(body, l)
	if err != nil {
		return err
	}
	d := new(draft) // One for all: most of what an event costs is room for it.
	return batch(body, func(raw []byte) error {
		d.clear()
		e, err := fromJSON(d, raw, l)
		f(&e, err)
		return nil
	})
}

// text is a body of JSON in UTF-8.
func (h *Head) text(body []byte, l Limits) ([]byte, error) {
	body, err := h.plain(body, h.Limit(l))
	if err != nil {
		return nil, err
	}
	if h.media.charset != "" {
		if body, err = h.media.decode(body); err != nil {
			return nil, err
		}
	}
	return unmarked(body), nil
}

// errEnough ends the reading of a batch.
var errEnough = errors.New("the rest is not read")

// batch calls f for each element of a batch, until that returns an error.
func batch(body []byte, f func(raw []byte) error) error {
	n, ended := 0, error(nil)
	err := lang.EachElement(body, func(raw []byte) error {
		if n++; n > MaxBatchEvents {
			ended = &Refusal{TooLarge, fmt.Sprintf("a batch of more than %d events; send less at a time", MaxBatchEvents)}
		} else {
			ended = f(raw)
		}
		return ended
	})
	switch {
	case ended != nil:
		return ended
	case err != nil:
		return invalid("the batch is not a JSON list: %v", err)
	}
	return nil
}

// plain is a body as it was before it was compressed.
func (h *Head) plain(body []byte, limit int) (_ []byte, err error) {
	if h.gzipped {
		if body, err = inflate(body, limit); err != nil {
			return nil, err
		}
	}
	if len(body) > limit {
		return nil, tooLarge("it has", limit)
	}
	return body, nil
}

// binary ends an event in binary mode. No body is no data.
func (h *Head) binary(body []byte, l Limits) (event.Event, error) {
	came, err := body, h.unread
	if err == nil {
		body, err = h.plain(body, h.Limit(l))
	}
	e := event.Event{Context: &h.draft.ctx}
	if err == nil && len(body) > 0 {
		e.DataEncoded, e.DataBase64 = body, h.media.form == asBytes
		err = l.take(&e, h.media)
	}
	if err != nil {
		return h.draft.spoiled(came, err)
	}
	return e, nil
}

// inflate undoes gzip, to limit bytes at most.
func inflate(body []byte, limit int) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, invalid("the body is not gzip, and its content encoding says that it is: %v", err)
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	switch {
	case err != nil:
		return nil, invalid("the body is not gzip, and its content encoding says that it is: %v", err)
	case len(out) > limit:
		return nil, tooLarge("decompressed, it has", limit)
	}
	return out, nil
}
