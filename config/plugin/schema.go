package plugin

// A Schema is a JSON Schema (draft 2020-12) in the types that encoding/json decodes into.
type Schema = map[string]any

// A Schemer is a settings value that tells, as JSON Schema, the rules that its tags do not: those of its Check, or, of a value that decodes itself,
// its whole form. Of a struct, the keywords are added to those that the tags give, and under "properties" to those of the fields.
//
// The schema accepts all that Decode accepts, and refuses as much of the rest as it can. It may refer to #/$defs/step, steps, expression, duration and
// secret.
type Schemer interface{ Schema() Schema }

// durations is the pattern of Go's form of a duration without its sign.
const durations = `(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)d(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`

// Zero is the schema of durations of no time, and of the number: what a key that must say more is not.
func Zero() Schema {
	return Schema{"anyOf": []any{Schema{"const": 0}, Schema{"type": "string", "pattern": zeroDuration}}}
}

const zeroDuration = `^\+?(0|((0+(\.0*)?|\.0+)(ns|us|µs|μs|ms|s|m|h|d))+)$`

// Schema is the form of durations.
func (Duration) Schema() Schema {
	return Schema{
		"description": "a number with a unit, such as 200ms, 30s, 5m or 24h",
		"anyOf":       []any{Schema{"type": "string", "pattern": `^\+?` + durations}, Schema{"const": 0}},
	}
}

// DurationPattern matches a string that holds an expression or is a duration.
const DurationPattern = `\$\{|^[-+]?` + durations

// Schema says that a secret names one place.
func (Secret) Schema() Schema {
	named := func(key string) Schema {
		return Schema{"required": []any{key}, "properties": Schema{key: Schema{"minLength": 1}}}
	}
	return Schema{"oneOf": []any{named("env"), named("file")}}
}

// A Guide is what the reference page of a component tells people beside its keys, which are told by their tags.
type Guide struct {
	Text     string   // paragraphs
	Yields   string   // what a step's output is
	Errors   []string // the error types that are its own, each as "type: when"
	Examples []string // in YAML, as they stand in a document; between them they use every key
}

// A Guider is a settings value with a Guide.
type Guider interface{ Guide() Guide }
