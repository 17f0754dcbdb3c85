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
	return func(name string) (string, bool) {
		v, ok := attributes[name]
		return v, ok
	}
}

// chains warns of filters that take the ends of runs: those of the trigger's own, which starts itself again and again, and any that no filter speaks of.
func (l *loader) chains(t *triggerDoc, triggers []string) {
	if len(t.Filters) == 0 {
		return // Without filters a trigger does not see them.
	}
	warn := func(what, cure string) {
		l.warnings = append(l.warnings, lang.Finding{Pos: t.pos, Path: "triggers." + t.name + ".filters", What: what, Cure: cure, Warning: true})
	}
	takes := func(trigger string) (kind string) {
		for _, kind := range endTypes {
			if filter.MatchAll(t.Filters, endOf(trigger, kind)) {
				return kind
			}
		}
		return ""
	}
	if kind := takes(t.name); kind != "" {
		warn(fmt.Sprintf("they take the ends of its own runs (%s): each starts another, until the fuel of the chain is used up", kind),
			fmt.Sprintf("add { not: { exact: { source: /onward/%s } } }", t.name))
		return
	}
	if speaksOfEnds(t.Filters) {
		return
	}
	if i := slices.IndexFunc(triggers, func(name string) bool { return takes(name) != "" }); i >= 0 {
		warn(fmt.Sprintf("they take the ends of the runs of %q as well", triggers[i]), "add { not: { prefix: { type: dev.onward. } } }, or say the types that are meant")
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
		return speaksOfEnds(f.All) || speaksOfEnds(f.Any) || f.Not != nil && speaksOfEnds([]filter.Filter{*f.Not})
	})
}
