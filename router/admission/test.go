package admission

import (
	"slices"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/filter"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/triggers"
)

// Test says what each trigger would make of an event, in the words in which a source says that none takes it. Nothing is started.
func (g *Gate) Test(e *event.Event) []triggers.Tried {
	rl, a := g.rules.Load(), filter.Of(e)
	c := &content{e: e}
	tried := make([]triggers.Tried, 0, len(rl.set.Triggers))
	for _, name := range rl.set.TriggerNames() {
		t, x := rl.set.Triggers[name], triggers.Tried{Trigger: name}
		switch {
		case check(e) != nil:
			x.Why = check(e).Error()
		case len(e.Data()) > MaxEventBytes && refusedBy(t, e.Type(), a) == "":
			x.Why = "its data is too large; pass large data by reference (dataref)"
		default:
			if x.Why = refusedBy(t, e.Type(), a); x.Why == "" {
				x = g.wouldStart(x, t, c)
			}
		}
		tried = append(tried, x)
	}
	return tried
}

func (g *Gate) wouldStart(x triggers.Tried, t *config.Trigger, c *content) triggers.Tried {
	if err := c.read(); err != nil {
		x.Why = err.Error()
		return x
	}
	wants, err := t.Wants(c.attrs, c.data, lang.NewCache(1<<20))
	switch {
	case err != nil:
		x.Why = err.Error()
		return x
	case !wants:
		x.Why = unwanted(t)
		return x
	}
	begins, err := g.beginnings(nil, t, nameOf(c.e), c.e, c.attrs, c.data)
	if err != nil {
		x.Why = err.Error()
		return x
	}
	x.Taken = true
	if b := &begins[0]; len(begins) == 1 {
		x.Run, x.Key = b.run.String(), b.key
	}
	var names []string
	for i := range begins {
		if len(begins) > 1 {
			x.Keys = append(x.Keys, begins[i].key)
		}
		for _, name := range begins[i].names {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if begins[0].names != nil {
		x.Run, x.As = "", strings.Join(names, " or ") // Which run it comes to is said by what has come before.
	}
	return x
}
