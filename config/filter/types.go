package filter

import (
	"maps"
	"slices"
)

// Types are the types of events that filters ask for by name, in order: what can be offered to who is to name one. Others may pass, too.
func Types(filters []Filter) []string {
	found := make(map[string]bool)
	gather(filters, found)
	return slices.Sorted(maps.Keys(found))
}

func gather(filters []Filter, into map[string]bool) {
	for i := range filters {
		f := &filters[i]
		if t := f.Exact["type"]; t != "" {
			into[t] = true
		}
		gather(f.All, into)
		gather(f.Any, into)
	}
}
