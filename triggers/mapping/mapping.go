// Package mapping is as: of a source: what makes events of messages that are none.
//
// It is expressions over what a message says. They may make several events of one message, or none; what they cannot make is an error, never half an event.
package mapping

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// An As is as: of a source. Every expression sees body, headers and what else the source has; with Each also item and index.
type As struct {
	Each       lang.Expr            `doc:"each" help:"a list: each of its items becomes an event, and the other expressions see it as item, and its place as index"`
	When       lang.Expr            `doc:"when,condition" help:"false: it is acknowledged, and becomes no event"`
	Park       lang.Expr            `doc:"park" help:"a text: it is acknowledged and becomes no event, and is kept for a person to look at (onward dead list), with this text as the reason; null: it is not"`
	Type       lang.Expr            `doc:"type" help:"the event's type"`
	Source     lang.Expr            `doc:"source" help:"the event's source; default: the kind and the name of the source, such as /webhook/orders; of Kafka /kafka/TOPIC"`
	ID         lang.Expr            `doc:"id" help:"the event's id: what comes again under one source and id counts once. Default: where it stands (topic, partition and offset; file and offset), and of a webhook a hash of the body, so that the same body twice is one event"`
	Subject    lang.Expr            `doc:"subject" help:"the event's subject; null is none"`
	Time       lang.Expr            `doc:"time" help:"the event's time, by RFC 3339; default: when it was written, where that is known"`
	Cause      lang.Expr            `doc:"cause" help:"the id of the invocation that this is about, as it was sent (causationid); null is none"`
	Verdict    lang.Expr            `doc:"verdict" help:"what became of the invocation that cause names: succeeded, failed or continue; the data is its result, or its error. null: nothing, it is an event of type"`
	Ticket     lang.Expr            `doc:"ticket" help:"what a function's platform knows a call by that is done, such as OpenWhisk's activationId (onwardticket): its result is asked for at once, where the call is ours and the source accepts completions. null is none"`
	Extensions map[string]lang.Expr `doc:"extensions" help:"other attributes, by name; null is none"`
	Data       lang.Expr            `doc:"data" help:"the event's data; default: the body as it came, or the item"`
}

// SaysTicket reports whether events may say which calls are done. There may be no as:.
func (a *As) SaysTicket() bool { return a != nil && !a.Ticket.IsZero() }

// MostItems bounds the events of one message.
const MostItems = 10_000

// exprs are all expressions by their keys.
func (a *As) exprs() map[string]lang.Expr {
	all := map[string]lang.Expr{
		"each": a.Each, "when": a.When, "park": a.Park, "type": a.Type, "source": a.Source, "id": a.ID, "subject": a.Subject, "time": a.Time, "cause": a.Cause, "verdict": a.Verdict, "ticket": a.Ticket, "data": a.Data,
	}
	for name, x := range a.Extensions {
		all["extensions."+name] = x
	}
	return all
}

// reserved are attributes that have keys of their own.
var reserved = map[string]string{
	"id": "id", "source": "source", "type": "type", "subject": "subject", "time": "time", "causationid": "cause", envelope.Ticket: "ticket", "data": "data", "specversion": "", "datacontenttype": "data", "dataschema": "",
}

// Problems reports what cannot become an event. names are those that the source gives to expressions, sorted.
func (a *As) Problems(names []string) (out []plugin.Problem) {
	each := slices.Sorted(slices.Values(append([]string{"index", "item"}, names...)))
	for _, key := range slices.Sorted(maps.Keys(a.exprs())) {
		known := names
		if !a.Each.IsZero() && key != "each" {
			known = each
		}
		for _, name := range a.exprs()[key].Names() {
			if !slices.Contains(known, name) {
				cure := lang.Nearest(name, known)
				if a.Each.IsZero() && (name == "item" || name == "index") {
					cure = "add each:, or write body"
				}
				out = append(out, plugin.Problem{Path: append([]string{"as"}, strings.SplitN(key, ".", 2)...), What: fmt.Sprintf("unknown name %q", name), Cure: cure})
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Extensions)) {
		key, taken := reserved[name]
		switch {
		case taken && key != "":
			out = append(out, plugin.Problem{Path: []string{"as", "extensions", name}, What: name + " has a key of its own", Cure: "write it as " + key + ":"})
		case taken:
			out = append(out, plugin.Problem{Path: []string{"as", "extensions", name}, What: name + " cannot be set", Cure: "leave it out"})
		case !isAttribute(name):
			out = append(out, plugin.Problem{Path: []string{"as", "extensions", name}, What: fmt.Sprintf("%q is no name of an attribute", name), Cure: "write small letters and digits"})
		}
	}
	if kind := a.When.Kind(); !a.When.IsZero() && kind != lang.KindAny && kind != lang.KindBool {
		out = append(out, plugin.Problem{Path: []string{"as", "when"}, What: "a condition that is never true or false: " + a.When.Source(), Cure: `compare it, all of it in the braces: "${ body.amount > 13 }"`})
	}
	if kind := a.Each.Kind(); !a.Each.IsZero() && kind != lang.KindAny && kind != "list" {
		out = append(out, plugin.Problem{Path: []string{"as", "each"}, What: "each is no list, whatever comes: " + a.Each.Source(), Cure: `write an expression that yields one: "${ body.orders }"`})
	}
	if v, constant := a.Verdict.Const(); constant && !a.Verdict.IsZero() && !slices.Contains([]string{`"succeeded"`, `"failed"`, `"continue"`}, v.JSON()) {
		out = append(out, plugin.Problem{Path: []string{"as", "verdict"}, What: fmt.Sprintf("%.80s is no verdict", v.JSON()), Cure: "write succeeded, failed or continue, or an expression that yields one of them"})
	}
	switch {
	case a.Type.IsZero() && a.Verdict.IsZero():
		out = append(out, plugin.Problem{Path: []string{"as"}, What: "an event has a type", Cure: `write type: com.example.order, or verdict: where it is the outcome of a call`})
	case a.Cause.IsZero() && !a.Verdict.IsZero():
		out = append(out, plugin.Problem{Path: []string{"as", "verdict"}, What: "a verdict without a cause is about nothing", Cure: `write cause: with the id of the invocation`})
	}
	return out
}

func isAttribute(name string) bool {
	return name != "" && len(name) <= 20 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// A Message is what came.
type Message struct {
	Body        []byte // nil: none
	ContentType string // as declared; empty: not
	Vars        lang.Vars
	Source, ID  string    // where the document says none
	Time        time.Time // zero: not known
}

// A Parking is the reason for which a document wants a message to be looked at.
type Parking struct{ Reason string }

func (p *Parking) Error() string { return p.Reason }

// Value is a body as expressions see it: what it is by JSON, else the fields of a form, else a text, else bytes in base64; null where there is none. A content
// type that says JSON must be right.
func Value(body []byte, contentType string) (lang.Value, error) {
	if body == nil {
		return lang.Null, nil
	}
	kind, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	kind = strings.TrimSpace(kind)
	v, err := lang.ParseValue([]byte(strings.TrimPrefix(string(body), "\ufeff")))
	switch {
	case err == nil:
		return v, nil
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		return lang.Null, fmt.Errorf("the body is not JSON, and its content type says that it is: %w", err)
	case kind == form && utf8.Valid(body):
		return formValue(string(body))
	}
	return Text(body), nil
}

const form = "application/x-www-form-urlencoded"

func formValue(body string) (lang.Value, error) {
	fields, err := url.ParseQuery(body)
	if err != nil {
		return lang.Null, fmt.Errorf("the body is no form, and its content type says that it is: %w", err)
	}
	return Fields(fields), nil
}

// Fields are named texts as expressions see them: what comes several times is a list.
func Fields(fields url.Values) lang.Value {
	out := make(map[string]any, len(fields))
	for name, list := range fields {
		for i := range list {
			list[i] = strings.ToValidUTF8(list[i], "\ufffd")
		}
		if name = strings.ToValidUTF8(name, "\ufffd"); len(list) == 1 {
			out[name] = list[0]
		} else {
			out[name] = list
		}
	}
	return lang.Of(out)
}

// Text is what an expression sees of bytes: a text where they are UTF-8, else base64; null where there are none.
func Text(b []byte) lang.Value {
	switch {
	case b == nil:
		return lang.Null
	case utf8.Valid(b):
		return lang.Text(string(b))
	}
	return lang.Text(base64.StdEncoding.EncodeToString(b))
}

// Guess is what bytes can be taken for that say nothing of themselves: JSON, a text, or bytes.
func Guess(b []byte) string {
	switch {
	case b == nil:
		return ""
	case lang.CheckJSON(b) == nil:
		return event.ApplicationJSON
	case utf8.Valid(b):
		return event.TextPlain
	}
	return "application/octet-stream"
}

// Read makes the events of a message; items that are none are in bad. An error is for all of it. *Parking is the reason of what is to be looked at, of all or of an
// item. All evaluations of a message together cost what a record's may.
func (a *As) Read(m *Message, l envelope.Limits) (events []event.Event, bad []envelope.Bad, err error) {
	return a.read(m, l, lang.RecordCost)
}

func (a *As) read(m *Message, l envelope.Limits, budget uint64) (events []event.Event, bad []envelope.Bad, err error) {
	cache := lang.NewCache(1 << 20)
	cache.Budget(budget)
	w := &work{As: a, m: m, limits: l, cache: cache, vars: m.Vars}
	if a.Each.IsZero() {
		e, ok, err := w.event(m.ID, nil)
		if err != nil || !ok {
			return nil, nil, err
		}
		return []event.Event{e}, nil, nil
	}
	list, err := a.Each.Eval(m.Vars, cache)
	if err != nil {
		return nil, nil, fmt.Errorf("as.each: %w", err)
	}
	n, ok := cache.Length(list)
	switch {
	case list.IsNull():
		return nil, nil, nil
	case !ok:
		return nil, nil, fmt.Errorf("as.each yields %.80s and not a list", list)
	case n > MostItems:
		return nil, nil, &envelope.Refusal{Reason: envelope.TooLarge, What: fmt.Sprintf("as.each yields %d items, and the limit is %d; send less at a time", n, MostItems)}
	}
	for i := range n {
		item := cache.Element(list, i)
		w.vars = append(slices.Clip(m.Vars), lang.Var{Name: "item", Value: item}, lang.Var{Name: "index", Value: lang.Of(i)})
		e, ok, err := w.event(m.ID+"-"+strconv.Itoa(i), &item)
		switch {
		case err != nil:
			bad = append(bad, envelope.Bad{Index: i, Raw: []byte(item.JSON()), Err: err})
		case ok:
			events = append(events, e)
		}
	}
	return events, bad, nil
}

// work is one message, or one item of it, under way.
type work struct {
	*As
	m      *Message
	limits envelope.Limits
	cache  *lang.Cache
	vars   lang.Vars
}

// text evaluates what must be a text, or a number, which is taken as it is written; said is false for null and what the document does not say.
func (w *work) text(key string, x lang.Expr) (text string, said bool, err error) {
	if x.IsZero() {
		return "", false, nil
	}
	v, err := x.Eval(w.vars, w.cache)
	switch {
	case err != nil:
		return "", false, fmt.Errorf("as.%s: %w", key, err)
	case v.IsNull():
		return "", false, nil
	case strings.ContainsRune("-0123456789", rune(v.JSON()[0])):
		return v.JSON(), true, nil
	case v.Decode(&text) != nil:
		return "", false, fmt.Errorf("as.%s yields %.80s and not a text", key, v)
	}
	return text, true, nil
}

// needed is text that cannot be null.
func (w *work) needed(key string, x lang.Expr, otherwise string) (string, error) {
	text, said, err := w.text(key, x)
	switch {
	case err != nil || said:
		return text, err
	case !x.IsZero():
		return "", fmt.Errorf("as.%s yields null and not a text", key)
	}
	return otherwise, nil
}

// event makes the event; false: there is to be none.
func (w *work) event(id string, item *lang.Value) (e event.Event, ok bool, err error) {
	if !w.When.IsZero() {
		if yes, err := w.When.EvalBool(w.vars, w.cache); err != nil || !yes {
			if err != nil {
				err = fmt.Errorf("as.when: %w", err)
			}
			return e, false, err
		}
	}
	reason, parks, err := w.text("park", w.Park)
	switch {
	case err != nil:
		return e, false, err
	case parks:
		return e, false, &Parking{reason}
	}
	e = event.New()
	ctx := e.Context.(*event.EventContextV1)
	if err := w.attributes(ctx, id); err != nil {
		return e, false, err
	}
	content, data, err := w.data(item)
	if err != nil {
		return e, false, err
	}
	return e, true, envelope.Fill(&e, content, data, w.limits)
}

var verdicts = map[string]string{"succeeded": envelope.Succeeded, "failed": envelope.Failed, "continue": envelope.Continue}

func (w *work) attributes(ctx *event.EventContextV1, id string) (err error) {
	verdict, judged, err := w.text("verdict", w.Verdict)
	if err != nil {
		return err
	}
	if judged {
		if ctx.Type = verdicts[verdict]; ctx.Type == "" {
			return fmt.Errorf("as.verdict yields %.80q and not succeeded, failed or continue", verdict)
		}
	} else if ctx.Type, err = w.needed("type", w.Type, ""); err != nil {
		return err
	}
	source, err := w.needed("source", w.Source, w.m.Source)
	if err != nil {
		return err
	}
	ctx.Source = envelope.Source(source)
	if ctx.ID, err = w.needed("id", w.ID, id); err != nil {
		return err
	}
	if text, said, err := w.text("subject", w.Subject); err != nil {
		return err
	} else if said && text == "" {
		return errors.New("as.subject yields an empty text, which no event has; null is none")
	} else if said {
		ctx.Subject = &text
	}
	if err := w.setTime(ctx); err != nil {
		return err
	}
	cause, caused, err := w.text("cause", w.Cause)
	switch {
	case err != nil:
		return err
	case judged && !caused:
		return errors.New("as.cause yields null, and as.verdict is about an invocation")
	}
	ctx.Extensions = make(map[string]any)
	if caused {
		ctx.Extensions["causationid"] = cause
	}
	if text, said, err := w.text("ticket", w.Ticket); err != nil {
		return err
	} else if said {
		ctx.Extensions[envelope.Ticket] = text
	}
	for _, name := range slices.Sorted(maps.Keys(w.Extensions)) {
		text, said, err := w.text("extensions."+name, w.Extensions[name])
		if err != nil {
			return err
		}
		if said {
			ctx.Extensions[name] = text
		}
	}
	return nil
}

func (w *work) setTime(ctx *event.EventContextV1) error {
	text, said, err := w.text("time", w.Time)
	at := w.m.Time
	if err == nil && said {
		at, err = envelope.ParseTime(text)
		if err != nil {
			err = fmt.Errorf("as.time: %w", err)
		}
	}
	if err == nil && !at.IsZero() {
		ctx.Time = &types.Timestamp{Time: at}
	}
	return err
}

// data is what the document says, or the body as it came, or the item.
func (w *work) data(item *lang.Value) (contentType string, data []byte, err error) {
	switch {
	case !w.Data.IsZero():
		v, err := w.Data.Eval(w.vars, w.cache)
		if err != nil {
			return "", nil, fmt.Errorf("as.data: %w", err)
		}
		return event.ApplicationJSON, []byte(v.JSON()), nil
	case item != nil:
		return event.ApplicationJSON, []byte(item.JSON()), nil
	case w.m.Body == nil:
		return "", nil, nil
	}
	kind, _, _ := strings.Cut(strings.ToLower(w.m.ContentType), ";")
	switch strings.TrimSpace(kind) {
	case "":
		return Guess(w.m.Body), w.m.Body, nil
	case form: // What it says, by whatever name: this is the one that clients send who say nothing.
		v, err := Value(w.m.Body, form)
		return event.ApplicationJSON, []byte(v.JSON()), err
	}
	return w.m.ContentType, w.m.Body, nil
}
