package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/triggers"
	"github.com/onward-router/onward/triggers/mapping"
)

// An As is as: of a webhook.
type As struct {
	mapping.As
	Answer lang.Expr `doc:"answer" help:"what a sender is answered at once that only asks whether anybody is there, such as { challenge: \"${ body.challenge }\" }, and no event is made; null: it does not ask"`
}

// SaysTickets reports whether as: says which calls are done.
func (s *Settings) SaysTickets() bool { return s.As != nil && s.As.SaysTicket() }

// asNames are what the expressions see, sorted.
var asNames = []string{"body", "headers", "path", "query"}

func (a *As) problems() []plugin.Problem {
	out := a.Problems(asNames)
	for _, name := range a.Answer.Names() {
		if !slices.Contains(asNames, name) {
			out = append(out, plugin.Problem{Path: []string{"as", "answer"}, What: fmt.Sprintf("unknown name %q", name), Cure: lang.Nearest(name, asNames)})
		}
	}
	return out
}

// A form is how the body of a request becomes events: as the CloudEvents that it has, or as the document says.
type form interface {
	Limit(l envelope.Limits) int
	Refuse(why error) bool
	Read(body []byte, l envelope.Limits) ([]event.Event, []envelope.Bad, error)
}

// form finds out by its headers what a request has.
func (w *Webhook) form(r *http.Request) (form, error) {
	head, err := envelope.FromHTTP(r.Header)
	var why *envelope.Refusal
	if w.s.As != nil && errors.As(err, &why) && why.Reason == envelope.NoEvent {
		return &foreign{w: w, r: r}, nil
	}
	if err != nil {
		return nil, err
	}
	return head, nil
}

// A foreign is a request that is no event, and is made one of.
type foreign struct {
	w      *Webhook
	r      *http.Request
	parked []triggers.Parked // what is to be looked at by a person instead
	none   bool              // nothing has become of it
}

// Limit is how many bytes of body are worth reading.
func (f *foreign) Limit(l envelope.Limits) int {
	limit := l.Event
	if !f.w.s.As.Each.IsZero() {
		limit = max(limit, l.Batch)
	}
	if !f.w.s.As.Verdict.IsZero() {
		limit = max(limit, envelope.MaxCompletion)
	}
	return limit
}

// Refuse reports that nothing is known of what cannot be read.
func (*foreign) Refuse(error) bool { return false }

// An answered is what a sender is told that only asks.
type answered struct{ lang.Value }

func (*answered) Error() string { return "it is answered" }

func (a *answered) write(rw http.ResponseWriter) {
	rw.Header().Set("Content-Type", "application/json")
	_, _ = rw.Write([]byte(a.JSON())) // The client has gone: nobody is left to be told.
}

// Read makes the events. The error is *answered where the document says so.
func (f *foreign) Read(body []byte, l envelope.Limits) ([]event.Event, []envelope.Bad, error) {
	body, err := envelope.Unpack(f.r.Header, body, f.Limit(l))
	if err != nil {
		return nil, nil, err
	}
	content := f.r.Header.Get("Content-Type")
	value, err := mapping.Value(body, content)
	if err != nil {
		return nil, nil, err
	}
	query, err := url.ParseQuery(f.r.URL.RawQuery)
	if err != nil {
		return nil, nil, fmt.Errorf("the query cannot be read: %w", err)
	}
	vars := lang.Vars{
		{Name: "body", Value: value}, {Name: "headers", Value: headersOf(f.r.Header)}, {Name: "query", Value: mapping.Fields(query)}, {Name: "path", Value: lang.Text(f.r.URL.Path)},
	}
	if x := f.w.s.As.Answer; !x.IsZero() {
		v, err := x.Eval(vars, nil)
		if err != nil {
			return nil, nil, fmt.Errorf("as.answer: %w", err)
		}
		if !v.IsNull() {
			return nil, nil, &answered{v}
		}
	}
	sum := sha256.Sum256(body)
	events, bad, err := f.w.s.As.Read(&mapping.Message{Body: body, ContentType: content, Vars: vars, Source: "/webhook/" + f.w.name, ID: hex.EncodeToString(sum[:16])}, l)
	if f.parks(body, err) {
		err = nil
	}
	bad = slices.DeleteFunc(bad, func(b envelope.Bad) bool { return f.parks(b.Raw, b.Err) })
	f.none = err == nil && len(events)+len(bad)+len(f.parked) == 0
	return events, bad, err
}

// parks takes up what the document wants parked.
func (f *foreign) parks(body []byte, err error) bool {
	var why *mapping.Parking
	if !errors.As(err, &why) {
		return false
	}
	f.parked = append(f.parked, triggers.Parked{Source: f.w.name, Place: f.r.URL.Path, Reason: why.Reason, Time: time.Now(), Bytes: body})
	return true
}

// secret are headers that prove who sends, and are nobody's data.
var secret = map[string]bool{"authorization": true, "proxy-authorization": true, "cookie": true}

// headersOf are a request's headers as expressions see them: by small letters; of one that comes several times, all, with commas between.
func headersOf(header http.Header) lang.Value {
	out := make(map[string]string, len(header))
	for name, values := range header {
		if name = strings.ToLower(name); !secret[name] && utf8.ValidString(name) {
			out[name] = strings.ToValidUTF8(strings.Join(values, ", "), "\ufffd")
		}
	}
	return lang.Of(out)
}

// cureOf says what to do about a request that cannot become an event.
func (w *Webhook) cureOf(head form, code int) string {
	if _, ok := head.(*foreign); !ok || code != http.StatusBadRequest {
		return ""
	}
	return "send what as: of the source " + w.name + " expects, or have it say what to do without"
}

// settle keeps what is to be parked of a request, and returns what there is to be said of it.
func (w *Webhook) settle(head form) (note string) {
	f, ok := head.(*foreign)
	switch {
	case !ok:
		return ""
	case f.none:
		return "as: makes no event of it"
	}
	for _, x := range f.parked {
		slog.Warn("source: a request is parked, as the document says", "source", w.name, "reason", x.Reason)
		w.Park(x)
		note = "it is parked: " + x.Reason
	}
	return note
}
