package config

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
)

// Sections are the keys of documents that hold names with what they stand for.
var Sections = []string{"functions", "flows", "sources", "triggers", "tenants"}

var topKeys = append([]string{"version"}, Sections...)

// Schema returns the JSON Schema (draft 2020-12) of documents, or of what stands under one of the Sections, with all that a registry holds. It is made
// of the structs that documents decode into: it accepts every document that Load accepts, and refuses what is wrong in form. What refers to other parts,
// and what is inside of expressions, is lint's alone.
func Schema(r *plugin.Registry, section string) (plugin.Schema, error) {
	s := lang.NewSchemas(r)
	sections := plugin.Schema{
		"functions": names("things that can be invoked, by name", function(s, r)),
		"flows":     names("steps to reuse, by name", plugin.Schema{"$ref": "#/$defs/step"}),
		"sources":   names("ways in for events, by name", source(s, r)),
		"tenants":   names("whom triggers belong to, by name: what is said of all of theirs", s.Form(reflect.TypeFor[tenantDoc]())),
		"triggers":  names("rules by name: which events start what, and where the result goes", trigger(s, r)),
	}
	root, id := plugin.Schema{}, fmt.Sprintf("urn:onward:documents:%d", DocumentVersion)
	switch {
	case section == "":
		sections["version"] = plugin.Schema{"const": DocumentVersion, "description": "version of the documents' form"}
		root["type"], root["additionalProperties"], root["required"], root["properties"] = "object", false, []any{"version"}, sections
		root["description"] = "A document for onward: functions, flows, sources and triggers."
	case slices.Contains(Sections, section):
		root, id = sections[section].(plugin.Schema), id+":"+section
	default:
		return nil, fmt.Errorf("unknown section %q of documents; %s", section, lang.Nearest(section, Sections))
	}
	root["$defs"] = s.Reachable(root)
	root["$schema"], root["$id"] = "https://json-schema.org/draft/2020-12/schema", id
	return root, nil
}

// names is the form of a section.
func names(what string, of plugin.Schema) plugin.Schema {
	return plugin.Schema{
		"type": "object", "description": what, "propertyNames": plugin.Schema{"pattern": "^[A-Za-z0-9_-]{1,100}$"}, "additionalProperties": of,
	}
}

// components adds the keys of a door to an object that has exactly one of them and the others.
func components(s *lang.Schemas, r *plugin.Registry, x plugin.Schema, door plugin.Door, others ...string) {
	words, properties := others, x["properties"].(plugin.Schema)
	for _, c := range r.List(door) {
		if _, had := properties[c.Name]; !had {
			properties[c.Name] = s.Component(c)
			words = append(words, c.Name)
		}
	}
	for key, v := range lang.ExactlyOne(words...) {
		x[key] = v
	}
}

func function(s *lang.Schemas, r *plugin.Registry) plugin.Schema {
	x := s.Form(reflect.TypeFor[functionDoc]())
	words := []any{}
	for _, name := range contractsOf(r) {
		words = append(words, name)
	}
	x["properties"].(plugin.Schema)["contract"].(plugin.Schema)["enum"] = words
	components(s, r, x, plugin.Sink)
	return x
}

// contractsOf lists the contracts that the sinks of a registry know; http, the default, is the first.
func contractsOf(r *plugin.Registry) []string {
	names := []string{"http"}
	for _, c := range r.List(plugin.Sink) {
		if by, ok := reflect.New(c.Settings).Interface().(plugin.Contracted); ok {
			for _, name := range by.Contracts() {
				if !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

func source(s *lang.Schemas, r *plugin.Registry) plugin.Schema {
	x := s.Form(reflect.TypeFor[sourceDoc]())
	components(s, r, x, plugin.Source)
	return x
}

func trigger(s *lang.Schemas, r *plugin.Registry) plugin.Schema {
	one := s.Form(reflect.TypeFor[destinationDoc]())
	components(s, r, one, plugin.Sink, "function", "trigger")
	how, elsewhere := s.Form(reflect.TypeFor[functionDoc]())["properties"].(plugin.Schema), plugin.Schema{}
	for _, key := range deliveryKeys {
		one["properties"].(plugin.Schema)[key] = how[key]
		elsewhere[key] = plugin.Schema{"not": plugin.Schema{"anyOf": []any{plugin.Schema{"required": []any{"function"}}, plugin.Schema{"required": []any{"trigger"}}}}}
	}
	one["dependentSchemas"], one["dependentRequired"] = elsewhere, plugin.Schema{"burst": []any{"rate"}}
	s.Defs["destination"] = one
	return s.Form(reflect.TypeFor[triggerDoc]())
}

// Schema tells what Check refuses.
func (*functionDoc) Schema() plugin.Schema {
	told := toldForm()
	return plugin.Schema{"properties": plugin.Schema{"onSuccess": told, "onFailure": told, "concurrency": plugin.Schema{"minimum": 0}, "resends": plugin.Schema{"minimum": 0}, "burst": plugin.Schema{"minimum": 1}},
		"dependentRequired": plugin.Schema{"burst": []any{"rate"}}}
}

// toldForm is the form of destinations: one or a list.
func toldForm() plugin.Schema {
	one := plugin.Schema{"$ref": "#/$defs/destination"}
	return plugin.Schema{"anyOf": []any{one, plugin.Schema{"type": "array", "items": one}}}
}

// Schema tells the form of destinations, and that a trigger does something.
func (*triggerDoc) Schema() plugin.Schema {
	some := toldForm()
	fires := plugin.Schema{"required": []any{"onSuccess"}, "properties": plugin.Schema{"onSuccess": plugin.Schema{"not": plugin.Schema{"const": []any{}}}}}
	return plugin.Schema{
		"properties": plugin.Schema{"onSuccess": some, "onFailure": some},
		"anyOf":      []any{plugin.Schema{"required": []any{"flow"}}, fires},
	}
}

// Schema tells that names are not empty.
func (*destinationDoc) Schema() plugin.Schema {
	name := plugin.Schema{"minLength": 1}
	formats := make([]any, len(lang.Formats))
	for i, f := range lang.Formats {
		formats[i] = f
	}
	return plugin.Schema{"properties": plugin.Schema{
		"function": name, "trigger": name, "name": plugin.Schema{"pattern": "^[A-Za-z0-9_-]{1,100}$"}, "format": plugin.Schema{"enum": formats},
		"arn": plugin.Schema{"pattern": `^arn:[^:\s]*:[^:\s]*:[^:\s]*:[^:\s]*:[^:\s]*:[^:\s]*(:[^:\s]*)?$`, "maxLength": maxARN},
	}}
}
