package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/filter"
	"github.com/onward-router/onward/config/lang"
)

// endTypes are the types of the events of runs' ends.
var endTypes = []string{"dev.onward.run.succeeded", "dev.onward.run.failed", "dev.onward.run.skipped", "dev.onward.run.cancelled"}

// endOf is the event of the end of a trigger's run, as filters see it.
func endOf(trigger, kind string) filter.Attributes {
	attributes := map[string]string{
		"specversion": "1.0", "id": "0~end", "source": "/onward/" + trigger, "type": kind, "subject": "0", "correlationid": "0", "datacontenttype": "application/json",
	}
	return filter.Texts(func(name string) (string, bool) {
		v, ok := attributes[name]
		return v, ok
	})
}

// takers are, by trigger, what its filters take of runs' ends: the kind of an end of its own, and the first trigger of which it takes an end.
type takers struct {
	own, of map[string]string
}

// takers looks at the end of each trigger's runs, with an index of the filters of those that chains looks at: among many triggers few can take it. Who has taken one of
// another is asked no more.
func (l *loader) takers(names []string) (t takers) {
	t.own, t.of = make(map[string]string), make(map[string]string)
	var left []string
	for _, name := range names {
		x := l.triggers[name]
		if !x.isLookedAt() {
			continue
		}
		left = append(left, name)
		if at := slices.IndexFunc(endTypes, func(kind string) bool { return filter.MatchAll(x.Filters, endOf(name, kind)) }); at >= 0 {
			t.own[name] = endTypes[at]
		}
	}
	lists, index := l.indexed(left)
	found := 0
	for _, name := range names {
		if 2*found > len(left) {
			left = slices.DeleteFunc(left, func(taker string) bool { return t.of[taker] != "" })
			lists, index = l.indexed(left)
			found = 0
		}
		if l.over() || len(left) == 0 {
			break
		}
		for _, kind := range endTypes {
			end := endOf(name, kind)
			for _, i := range index.Candidates(end, nil) {
				if taker := left[i]; taker != name && t.of[taker] == "" && filter.MatchAll(lists[i], end) {
					t.of[taker] = name
					found++
				}
			}
		}
	}
	return t
}

// indexed are the filters of some triggers, with an index of them.
func (l *loader) indexed(names []string) (lists [][]filter.Filter, index *filter.Index) {
	lists = make([][]filter.Filter, len(names))
	for i, name := range names {
		lists[i] = l.triggers[name].Filters
	}
	return lists, filter.NewIndex(lists)
}

// isLookedAt reports whether the ends of runs that a trigger takes are looked at. Without filters it does not see them; with a condition it says itself which it means.
func (t *triggerDoc) isLookedAt() bool { return len(t.Filters) > 0 && t.When.IsZero() }

// chains warns of filters that take the ends of runs: those of the trigger's own, which starts itself again and again, and any that no filter speaks of.
func (l *loader) chains(t *triggerDoc, takes takers) {
	if !t.isLookedAt() {
		return
	}
	warn := func(what, cure string) {
		l.warnings = append(l.warnings, lang.Finding{Pos: t.pos, Path: "triggers." + t.name + ".filters", What: what, Cure: cure, Warning: true})
	}
	if kind := takes.own[t.name]; kind != "" {
		warn(fmt.Sprintf("they take the ends of its own runs (%s): each starts another, until the fuel of the chain is used up", kind),
			fmt.Sprintf("add { not: { exact: { source: /onward/%s } } }", t.name))
		return
	}
	if of := takes.of[t.name]; of != "" && !speaksOfEnds(t.Filters) {
		warn(fmt.Sprintf("they take the ends of the runs of %q as well", of), "add { not: { prefix: { type: dev.onward. } } }, or say the types that are meant")
	}
}

// speaksOfEnds reports whether a filter names types or sources of runs' ends: then they are meant.
func speaksOfEnds(filters []filter.Filter) bool {
	return slices.ContainsFunc(filters, func(f filter.Filter) bool {
		for _, attributes := range []map[string]string{f.Exact, f.Prefix} {
			if strings.HasPrefix(attributes["type"], "dev.onward.") || strings.HasPrefix(attributes["source"], "/onward/") {
				return true
			}
		}
		if strings.Contains(f.SQL, "dev.onward.") || strings.Contains(f.SQL, "/onward/") {
			return true
		}
		return speaksOfEnds(f.All) || speaksOfEnds(f.Any) || f.Not != nil && speaksOfEnds([]filter.Filter{*f.Not})
	})
}
