// Package openwhisk is the sink whose functions are actions of Apache OpenWhisk: behind its controller, which is asked to run them and then for what came of it,
// or in a runtime of its own, an image such as action-nodejs or action-python, without any OpenWhisk around it.
//
// It is no contract of the sink http, since a call is more than one request (decision 70).
package openwhisk

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/onward-router/onward/config/envelope"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/sinks"
	"github.com/onward-router/onward/sinks/http/client"
)

// Settings are the sink's part of a document: host for an OpenWhisk, runtime for a runtime alone.
type Settings struct {
	Host      string          `doc:"host" help:"the address of OpenWhisk, before /api/v1, such as https://whisk.example.com"`
	Namespace string          `doc:"namespace" help:"the action's namespace; _ is that of auth" default:"_"`
	Action    string          `doc:"action" help:"the action's name, or PACKAGE/NAME; beside runtime it is what the action is told, by default the function's name"`
	Auth      *plugin.Secret  `doc:"auth" help:"the key, as wsk has it (USER:PASSWORD): {env: NAME} or {file: PATH}"`
	Poll      plugin.Duration `doc:"poll,above0" help:"how long at most between two questions whether a result is there; the first come sooner. Default: 1s, and 30s with userEvents"`
	Events    bool            `doc:"userEvents" help:"OpenWhisk's user events come in by a source, whose as: says the activation as ticket: results are asked for when one says that they are there, and else only every poll"`

	Runtime string                  `doc:"runtime" help:"the address of a runtime, such as http://127.0.0.1:8080; in place of host"`
	Code    *Code                   `doc:"code" help:"the action's code, which the runtime is given: a text, or {file: PATH}"`
	Main    string                  `doc:"main" help:"what of the code is called. Default: main"`
	Binary  bool                    `doc:"binary" help:"the file is no text: a zip, a jar or a program"`
	Env     map[string]client.Value `doc:"env" help:"environment variables of the action: texts, or {env: NAME} and {file: PATH} for secrets"`

	Param      string      `doc:"param" help:"the parameter that an input goes into which is no object; without it such a call fails, for an action takes an object"`
	Attributes string      `doc:"attributes" help:"the parameter in which the action gets the event's attributes, id and idempotencykey among them; default: it does not get them"`
	TLS        *client.TLS `doc:"tls" help:"certificates; a client certificate proves who the router is (mTLS)"`
}

// Code is where an action's code lies.
type Code struct {
	Text string `doc:"text,value" help:"the code itself"`
	File string `doc:"file" help:"the file that has it; it is read whenever the runtime is given it"`
}

// Check reports code that is nowhere, or at two places.
func (c *Code) Check() []plugin.Problem {
	if (c.Text == "") == (c.File == "") {
		return []plugin.Problem{{What: "code is either a text or a file", Cure: "write {file: PATH}"}}
	}
	return nil
}

// Schema tells what Check refuses.
func (*Code) Schema() plugin.Schema {
	named := func(key string) plugin.Schema {
		return plugin.Schema{"required": []any{key}, "properties": plugin.Schema{key: plugin.Schema{"minLength": 1}}}
	}
	return plugin.Schema{"oneOf": []any{named("text"), named("file")}}
}

// The forms of names: OpenWhisk's own, and that of a variable.
var (
	isNamespace = regexp.MustCompile(`^[^/?#%]+$`)
	isAction    = regexp.MustCompile(`^[^/?#%]+(/[^/?#%]+)?$`)
	isVariable  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// Check reports what no action can be asked by.
func (s *Settings) Check() (out []plugin.Problem) {
	find := func(key, what, cure string) {
		out = append(out, plugin.Problem{Path: []string{key}, What: what, Cure: cure})
	}
	switch {
	case s.Host == "" && s.Runtime == "", s.Host != "" && s.Runtime != "":
		out = append(out, plugin.Problem{What: "an action is asked at host, an OpenWhisk, or at runtime, a runtime alone", Cure: "write one of them"})
	case s.Host != "":
		if s.Action == "" {
			find("action", "no action is named", "write action: NAME")
		}
		for key, said := range map[string]bool{"code": s.Code != nil, "main": s.Main != "", "binary": s.Binary, "env": len(s.Env) > 0} {
			if said {
				find(key, key+" is for a runtime alone: an OpenWhisk has it with the action", "leave it out, or say it to wsk action update")
			}
		}
	default:
		if s.Code == nil {
			find("code", "a runtime alone has no code", "write code: {file: PATH}")
		}
		for key, said := range map[string]bool{"auth": s.Auth != nil, "poll": s.Poll != 0, "userEvents": s.Events} {
			if said {
				find(key, key+" is for an OpenWhisk, and not for a runtime alone", "leave it out")
			}
		}
	}
	for key, text := range map[string]string{"host": s.Host, "runtime": s.Runtime} {
		if u, err := url.Parse(text); text != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
			find(key, fmt.Sprintf("%q is not an http or https address without user and query", text), "write http://host:port")
		}
	}
	if !isNamespace.MatchString(s.Namespace) {
		find("namespace", fmt.Sprintf("%q is no namespace", s.Namespace), "write _, or the name of one")
	}
	if s.Action != "" && !isAction.MatchString(s.Action) {
		find("action", fmt.Sprintf("%q is no action", s.Action), "write NAME or PACKAGE/NAME; the namespace has its own key")
	}
	if s.Param != "" && s.Param == s.Attributes {
		find("attributes", "the input goes into that parameter already", "write another name")
	}
	for name := range s.Env {
		if !isVariable.MatchString(name) {
			out = append(out, plugin.Problem{Path: []string{"env", name}, What: fmt.Sprintf("%q is not the name of a variable", name), Cure: "write letters, digits and _"})
		}
	}
	slices.SortFunc(out, func(a, b plugin.Problem) int { return slices.Compare(a.Path, b.Path) })
	return out
}

// Schema tells what Check refuses.
func (*Settings) Schema() plugin.Schema {
	address := plugin.Schema{"pattern": "^([hH][tT][tT][pP][sS]?://[^/?#].*)?$"}
	said := func(keys ...any) plugin.Schema {
		properties := plugin.Schema{}
		for _, key := range keys {
			properties[key.(string)] = plugin.Schema{"minLength": 1}
		}
		return plugin.Schema{"required": keys, "properties": properties}
	}
	return plugin.Schema{
		"oneOf": []any{said("host", "action"), said("runtime", "code")},
		"properties": plugin.Schema{
			"host": address, "runtime": address,
			"namespace": plugin.Schema{"pattern": isNamespace.String()},
			"action":    plugin.Schema{"pattern": "^([^/?#%]+(/[^/?#%]+)?)?$"},
			"env":       plugin.Schema{"propertyNames": plugin.Schema{"pattern": isVariable.String()}},
		},
	}
}

// Contracts lists how functions can be asked: in one way, which the settings say.
func (*Settings) Contracts() []string { return []string{"http"} }

// Terms says that a runtime takes one call at a time, and mixes answers up when it is given more.
func (s *Settings) Terms(string) plugin.Terms {
	if s.Runtime != "" {
		return plugin.Terms{Concurrency: 1}
	}
	return plugin.Terms{Concurrency: 64}
}

// NotCancelled says why an action cannot be told that its call is dropped.
func (*Settings) NotCancelled() string { return "OpenWhisk has no way to end an activation" }

// New makes the sink.
func New(name string, s *Settings, h sinks.Host) (sinks.Sink, error) {
	own := *s
	own.Action = cmp.Or(own.Action, name)
	asking := &asking{s: &own, clients: client.New(name, own.TLS, h, true)}
	if own.Runtime != "" {
		return newRuntime(asking)
	}
	return newController(asking, h.Concurrency)
}

// badInput is the error of an input that no action can be given.
func badInput(format string, args ...any) *sinks.Error {
	return &sinks.Error{Type: "bad_input", Message: fmt.Sprintf(format, args...), Class: "function"}
}

// params are what an action is given: the event's data, which is JSON, and where attributes says so what the event is.
func (s *Settings) params(e *event.Event) ([]byte, *sinks.Error) {
	data := bytes.TrimSpace(e.Data())
	switch {
	case len(data) > 0 && data[0] == '{':
	case s.Param != "":
		name := lang.AppendString([]byte{'{'}, s.Param)
		if len(data) == 0 {
			data = []byte("null")
		}
		data = append(append(append(name, ':'), data...), '}')
	case len(data) == 0 || string(data) == "null":
		data = []byte("{}")
	default:
		return nil, badInput("the input is no object, and an action takes one: give it one (input: { items: ... }), or say param: NAME for the parameter that it goes into")
	}
	if s.Attributes == "" {
		return data, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, badInput("the input is no JSON: %v", err)
	}
	if _, is := members[s.Attributes]; is {
		return nil, badInput("the input has a member %q, where attributes puts those of the event: name another one", s.Attributes)
	}
	out := append(make([]byte, 0, len(data)+1<<10), data[:len(data)-1]...)
	if len(members) > 0 {
		out = append(out, ',')
	}
	out = append(append(lang.AppendString(out, s.Attributes), ':'), attributes(e)...)
	return append(out, '}'), nil
}

// attributes are an event's, as texts by name.
func attributes(e *event.Event) []byte {
	var b []byte
	envelope.Each(e, func(name, text string) {
		b = append(b, map[bool]byte{true: '{', false: ','}[b == nil])
		b = append(lang.AppendString(b, name), ':')
		b = lang.AppendString(b, text)
	})
	return append(b, '}')
}

// activation is the id of an event in the form that activations have. Sent again it is the same: an action may take it for what the call is known by.
func activation(id string) string {
	sum := sha256.Sum256([]byte(id))
	return fmt.Sprintf("%x", sum[:16])
}

// read returns the present values of variables.
func read(env map[string]client.Value) (map[string]string, error) {
	out := make(map[string]string, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		v, err := env[name].Read()
		if err != nil {
			return nil, fmt.Errorf("env %s: %w", name, err)
		}
		out[name] = v
	}
	return out, nil
}

// Register enters the sink.
func Register(r *plugin.Registry) {
	sinks.Register(r, "openwhisk", 1, "Runs actions of Apache OpenWhisk, by its controller or in a runtime alone.", New)
}
