package admission

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/filter"
	"github.com/onward-router/onward/config/filter/cesql"
	"github.com/onward-router/onward/config/lang"
)

// rules are the triggers in force, by name, with an index of what their filters need.
type rules struct {
	set      *config.Set
	since    time.Time // in force
	triggers []*config.Trigger
	index    *filter.Index
}

func newRules(set *config.Set) *rules {
	r := &rules{set: set, since: time.Now()}
	var lists [][]filter.Filter
	for _, name := range set.TriggerNames() {
		t := set.Triggers[name]
		r.triggers, lists = append(r.triggers, t), append(lists, t.Filters)
	}
	r.index = filter.NewIndex(lists)
	return r
}

// isOwn reports the types of the events that runs bring about: a trigger without filters does not see them, or it would start itself again and again.
func isOwn(kind string) bool {
	return strings.HasPrefix(kind, "dev.onward.run.") || strings.HasPrefix(kind, "dev.onward.function.")
}

// match returns the triggers whose filters let an event through, by name.
func (r *rules) match(kind string, a filter.Attributes, m *metrics) (out []*config.Trigger) {
	var room [64]int32
	for _, i := range r.index.Candidates(a, room[:0]) {
		t := r.triggers[i]
		if len(t.Filters) == 0 && isOwn(kind) {
			continue
		}
		matches, err := filter.Try(t.Filters, a)
		if matches {
			out = append(out, t)
		}
		if e := (*cesql.Error)(nil); errors.As(err, &e) && e.Kind != cesql.MissingAttribute {
			m.dropped(t.Name, "sql_error")
		}
	}
	return out
}

// A content is what expressions see of an event; it is decoded once, where anything asks for it.
type content struct {
	e           *event.Event
	attrs, data lang.Value
	err         error
	have        bool
}

func (c *content) read() error {
	if !c.have {
		c.have = true
		if c.data, c.err = dataOf(c.e); c.err == nil {
			c.attrs = envelope.Attributes(c.e)
		}
	}
	return c.err
}

// A no is a trigger that does not take an event, and why.
type no struct {
	trigger string
	why     string
}

// wanted returns those of the triggers whose filters let an event through that take it by its content too, and why the others do not. All of them
// together cost no more than a record may.
func wanted(matched []*config.Trigger, c *content, m *metrics) (out []*config.Trigger, nos []no) {
	if !slices.ContainsFunc(matched, func(t *config.Trigger) bool { return !t.When.IsZero() }) || c.read() != nil {
		return matched, nil // What cannot be read is refused behind this.
	}
	cache := lang.NewCache(1 << 20)
	cache.Budget(lang.RecordCost)
	for _, t := range matched {
		switch wants, err := t.Wants(c.attrs, c.data, cache); {
		case err != nil:
			m.dropped(t.Name, "when_error")
			nos = append(nos, no{t.Name, clip(err.Error())})
		case !wants:
			m.dropped(t.Name, "when")
			nos = append(nos, no{t.Name, unwanted(t)})
		default:
			out = append(out, t)
		}
	}
	return out, nos
}

func unwanted(t *config.Trigger) string { return clip("it is not so that " + t.When.Source()) }

// whyMost is of how many triggers it is said why they do not take an event.
const whyMost = 3

// why says why no trigger took an event: first of those that looked at its content, then of those whose index it met, then of others. It costs the same
// however many there are; Test says it of all.
func (r *rules) why(kind string, a filter.Attributes, nos []no) string {
	if len(r.triggers) == 0 {
		return "no trigger is configured"
	}
	said := slices.Clone(nos[:min(len(nos), whyMost)])
	add := func(i int) {
		t := r.triggers[i]
		if len(said) < whyMost && !slices.ContainsFunc(said, func(n no) bool { return n.trigger == t.Name }) {
			said = append(said, no{t.Name, refusedBy(t, kind, a)})
		}
	}
	var room [64]int32
	for _, i := range r.index.Candidates(a, room[:0]) {
		if add(int(i)); len(said) == whyMost {
			break
		}
	}
	for i := 0; i < len(r.triggers) && len(said) < whyMost; i++ {
		add(i)
	}
	note := "no trigger takes it"
	for _, n := range said {
		note += fmt.Sprintf("; %s: %s", n.trigger, n.why)
	}
	if rest := len(r.triggers) - len(said); rest > 0 {
		note += fmt.Sprintf("; and %d more", rest)
	}
	return note
}

// refusedBy says why a trigger's filters do not let an event through; empty when they do.
func refusedBy(t *config.Trigger, kind string, a filter.Attributes) string {
	if len(t.Filters) == 0 && isOwn(kind) {
		return "it has no filters, and sees no events that runs bring about"
	}
	return filter.Explain(t.Filters, a)
}
