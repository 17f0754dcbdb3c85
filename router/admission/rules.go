package admission

import (
	"fmt"
	"strings"
	"time"

	"github.com/onward-router/onward/config"
	"github.com/onward-router/onward/config/filter"
)

// rules are the triggers in force, with an index by the one type of events that their filters can let through.
type rules struct {
	set     *config.Set
	since   time.Time // in force
	byType  map[string][]*config.Trigger
	anyType []*config.Trigger
}

func newRules(set *config.Set) *rules {
	r := &rules{set: set, since: time.Now(), byType: make(map[string][]*config.Trigger)}
	for _, name := range set.TriggerNames() {
		t := set.Triggers[name]
		if kind, ok := filter.Type(t.Filters); ok {
			r.byType[kind] = append(r.byType[kind], t)
		} else {
			r.anyType = append(r.anyType, t)
		}
	}
	return r
}

// isOwn reports the types of the events that runs bring about: a trigger without filters does not see them, or it would start itself again and again.
func isOwn(kind string) bool {
	return strings.HasPrefix(kind, "dev.onward.run.") || strings.HasPrefix(kind, "dev.onward.function.")
}

// match returns the triggers whose filters let an event through.
func (r *rules) match(kind string, a filter.Attributes) []*config.Trigger {
	var out []*config.Trigger
	for _, list := range [][]*config.Trigger{r.byType[kind], r.anyType} {
		for _, t := range list {
			if len(t.Filters) == 0 && isOwn(kind) {
				continue
			}
			if filter.MatchAll(t.Filters, a) {
				out = append(out, t)
			}
		}
	}
	return out
}

// why says why no trigger took an event.
func (r *rules) why(a filter.Attributes) string {
	names := r.set.TriggerNames()
	if len(names) == 0 {
		return "no trigger is configured"
	}
	note := "no trigger takes it"
	for i, name := range names {
		if i == 3 {
			note += fmt.Sprintf("; and %d more", len(names)-i)
			break
		}
		note += fmt.Sprintf("; %s: %s", name, filter.Explain(r.set.Triggers[name].Filters, a))
	}
	return note
}
