package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/onward-router/onward/config/lang"
)

// A Change is what one set of documents has other than another.
type Change struct {
	Kind string   `json:"kind"` // trigger, function, destination (a sink that stands in one), source, flow or tenant
	Name string   `json:"name"`
	How  string   `json:"how"`            // added, removed or changed
	Keys []string `json:"keys,omitempty"` // that say something else
}

// signs stand before what is added, removed and changed.
var signs = map[string]string{Added: "+", Removed: "-", Changed: "~"}

// String is the change in a line: + function remind.
func (c Change) String() string {
	text := signs[c.How] + " " + c.Kind + " " + c.Name
	if len(c.Keys) > 0 {
		text += ": " + strings.Join(c.Keys, ", ")
	}
	return text
}

// The words of changes.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"

	KindTrigger     = "trigger"
	KindFunction    = "function"
	KindDestination = "destination"
	KindSource      = "source"
	KindFlow        = "flow"
	KindTenant      = "tenant"
)

// Diff returns what is other in a set than in the one before, by kind and name: what goes first. What is only moved, or written otherwise, is the same.
func Diff(was, is *Set) []Change {
	out := []Change{}
	out = append(out, differ(KindTrigger, was.Triggers, is.Triggers, triggerKeys)...)
	out = append(out, differ(KindFunction, was.Functions, is.Functions, func(a, b *Function) []string {
		return append(functionDiff(a, b), callKeys(was.Calls[lang.InvokePrefix+a.Name], is.Calls[lang.InvokePrefix+b.Name])...)
	})...)
	for i := range out {
		if out[i].Kind == KindFunction && strings.Contains(out[i].Name, ".") {
			out[i].Kind = KindDestination
		}
	}
	out = append(out, differ(KindSource, was.Sources, is.Sources, sourceKeys)...)
	out = append(out, differ(KindFlow, was.Flows, is.Flows, flowKeys)...)
	out = append(out, differ(KindTenant, was.Tenants, is.Tenants, func(a, b *Tenant) []string {
		return fieldsThatDiffer("", reflect.ValueOf(*a), reflect.ValueOf(*b), "Name", "Pos")
	})...)
	slices.SortStableFunc(out, func(a, b Change) int {
		return cmp.Or(cmp.Compare(kindOrder(a.Kind), kindOrder(b.Kind)), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// Emptied says which of triggers, sources and functions a set has none of any more, where the one before had some: a file that was cut off looks so, and one that
// holds no more than its version. Who means it says it, by triggers: {}. Nil: there is nothing of the kind.
func Emptied(was, is *Set) error {
	var gone []string
	for _, x := range []struct {
		section  string
		was, now int
	}{
		{"triggers", len(was.Triggers), len(is.Triggers)}, {"sources", len(was.Sources), len(is.Sources)}, {"functions", len(was.FunctionNames()), len(is.FunctionNames())},
	} {
		if x.was > 0 && x.now == 0 && !is.None[x.section] {
			gone = append(gone, x.section)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return fmt.Errorf("the documents have no %s any more, and there are some in force: was a file cut off? Write %s: {} where none are meant", strings.Join(gone, " and no "), strings.Join(gone, ": {} and "))
}

func kindOrder(kind string) int {
	return slices.Index([]string{KindTenant, KindSource, KindTrigger, KindFlow, KindFunction, KindDestination}, kind)
}

func differ[T any](kind string, was, is map[string]*T, keys func(a, b *T) []string) (out []Change) {
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if is[name] == nil {
			out = append(out, Change{Kind: kind, Name: name, How: Removed})
		} else if differ := keys(was[name], is[name]); len(differ) > 0 {
			out = append(out, Change{Kind: kind, Name: name, How: Changed, Keys: differ})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if was[name] == nil {
			out = append(out, Change{Kind: kind, Name: name, How: Added})
		}
	}
	return out
}

// functionDiff are the keys of a function, those of its sink behind the sink's name.
func functionDiff(a, b *Function) []string {
	keys := fieldsThatDiffer("", reflect.ValueOf(*a), reflect.ValueOf(*b), "Name", "Sink", "Settings", "Pos")
	return append(settingsKeys(a.Sink.Name, b.Sink.Name, a.Settings, b.Settings), keys...)
}

// callKeys are what of a function counts where it is invoked by itself: its destinations.
func callKeys(a, b *Trigger) []string {
	if a == nil || b == nil || a.Digest == b.Digest {
		return nil
	}
	return slices.DeleteFunc(membersThatDiffer(a.Definition, b.Definition), func(key string) bool { return key != "onSuccess" && key != "onFailure" })
}

func sourceKeys(a, b *Source) []string {
	keys := fieldsThatDiffer("", reflect.ValueOf(*a), reflect.ValueOf(*b), "Name", "Type", "Settings", "Pos")
	return append(settingsKeys(a.Type.Name, b.Type.Name, a.Settings, b.Settings), keys...)
}

// settingsKeys are the keys of a component's settings; where it is another component, both their names.
func settingsKeys(was, is string, a, b any) []string {
	if was != is {
		return []string{was, is}
	}
	x, y := reflect.Indirect(reflect.ValueOf(a)), reflect.Indirect(reflect.ValueOf(b))
	if x.Kind() != reflect.Struct {
		return nil
	}
	return fieldsThatDiffer(was, x, y)
}

// fieldsThatDiffer names what is other in b than in a, of the same struct type, by the documents' keys.
func fieldsThatDiffer(path string, a, b reflect.Value, but ...string) (keys []string) {
	for i := range a.NumField() {
		f := a.Type().Field(i)
		if !f.IsExported() || slices.Contains(but, f.Name) || same(a.Field(i), b.Field(i)) {
			continue
		}
		tag := strings.Split(f.Tag.Get("doc"), ",")
		switch name := cmp.Or(tag[0], strings.ToLower(f.Name[:1])+f.Name[1:]); {
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			keys = append(keys, fieldsThatDiffer(path, a.Field(i), b.Field(i))...)
		case slices.Contains(tag, "value"):
			keys = append(keys, path)
		default:
			keys = append(keys, strings.TrimPrefix(path+"."+name, "."))
		}
	}
	return keys
}

// triggerKeys are the keys of a trigger; what its definition takes from functions and flows is among them.
func triggerKeys(a, b *Trigger) []string {
	keys := fieldsThatDiffer("", reflect.ValueOf(*a), reflect.ValueOf(*b), "Name", "Definition", "Digest", "Pos")
	for i, key := range keys {
		if key == "key" {
			keys[i] = "concurrency"
		}
	}
	if a.Digest != b.Digest {
		keys = append(keys, membersThatDiffer(a.Definition, b.Definition)...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// flowKeys are those of the step that a flow is.
func flowKeys(a, b *lang.Step) []string {
	if bare(a) == bare(b) {
		return nil
	}
	return []string{"flow"}
}

// bare is a step in canonical bytes.
func bare(s *lang.Step) string {
	return string((&lang.Definition{Version: DocumentVersion, Flow: s}).Canonical())
}

func membersThatDiffer(a, b *lang.Definition) (keys []string) {
	var x, y map[string]json.RawMessage
	if json.Unmarshal(a.Canonical(), &x) != nil || json.Unmarshal(b.Canonical(), &y) != nil {
		return []string{"flow"} // Definitions are JSON.
	}
	for key := range x {
		if string(x[key]) != string(y[key]) {
			keys = append(keys, key)
		}
	}
	for key := range y {
		if x[key] == nil {
			keys = append(keys, key)
		}
	}
	// Versions of policies, and what the fold knows of functions, are no keys of documents: what brings them is.
	if said := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return key == "functions" || key == "policies" || key == "version" }); len(said) > 0 {
		return said
	}
	return []string{"flow"}
}
