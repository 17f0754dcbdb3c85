package admission

import (
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/filter"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/triggers"
)

// Test says what each trigger would make of an event, in the words in which a source says that none takes it. Nothing is started.
func (g *Gate) Test(e *event.Event) []triggers.Tried {
	rl, a := g.rules.Load(), filter.Of(e)
	data, err := dataOf(e)
	tried := make([]triggers.Tried, 0, len(rl.set.Triggers))
	for _, name := range rl.set.TriggerNames() {
		t, x := rl.set.Triggers[name], triggers.Tried{Trigger: name}
		switch {
		case check(e) != nil:
			x.Why = check(e).Error()
		case len(t.Filters) == 0 && isOwn(e.Type()):
			x.Why = "it has no filters, and sees no events that runs bring about"
		case !filter.MatchAll(t.Filters, a):
			x.Why = filter.Explain(t.Filters, a)
		case err != nil:
			x.Why = err.Error()
		default:
			x = g.wouldStart(x, e, t, data)
		}
		tried = append(tried, x)
	}
	return tried
}

func (g *Gate) wouldStart(x triggers.Tried, e *event.Event, t *config.Trigger, data lang.Value) triggers.Tried {
	b, err := g.beginning(t, e, envelope.Attributes(e), data)
	switch {
	case err != nil:
		x.Why = err.Error()
	case len(e.Data()) > MaxEventBytes:
		x.Why = "its data is too large; pass large data by reference (dataref)"
	default:
		x.Taken, x.Run = true, b.run.String()
	}
	return x
}
