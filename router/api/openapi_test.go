package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onward-router/onward/config/access"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/plugin"
	"github.com/onward-router/onward/router/journal"
	"github.com/onward-router/onward/triggers"
	"github.com/onward-router/onward/triggers/webhook"
)

var rewrite = flag.Bool("rewrite", false, "write openapi.json anew")

// TestOpenAPI: openapi.json says what the routes, the table of operations and the types of the answers say, and every operation and every field is told of.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	b := &describer{t: t, comments: commentsOf(t), parts: make(map[string]any)}
	want, err := json.MarshalIndent(b.document(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if want = append(want, '\n'); *rewrite {
		if err := os.WriteFile("openapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want, openapi) {
		t.Error("openapi.json is not what the code says; run: go test ./router/api -run TestOpenAPI -rewrite")
	}
}

type object = map[string]any

// A describer makes the description; parts are its schemas.
type describer struct {
	t        *testing.T
	comments map[string]string // by package.Type or package.Type.Field
	parts    object
}

func (b *describer) document() object {
	paths := make(map[string]object)
	known := make(map[string]bool)
	add := func(pattern, right string, x account) {
		method, path, _ := strings.Cut(pattern, " ")
		if paths[path] == nil {
			paths[path] = make(object)
		}
		paths[path][strings.ToLower(method)] = b.operation(path, right, x)
		known[pattern] = true
	}
	for _, r := range (&API{}).routes() {
		x, is := accounts[r.pattern]
		if !is {
			b.t.Errorf("%s has no account in operations.go", r.pattern)
			continue
		}
		right := r.right.String()
		if r.reach == ofPeers {
			right = "router"
		}
		add(r.pattern, right, x)
	}
	for _, pattern := range []string{"GET /metrics", "GET /healthz", "GET /readyz"} {
		add(pattern, "", accounts[pattern])
	}
	for pattern := range accounts {
		if !known[pattern] {
			b.t.Errorf("%s has an account, and nobody serves it", pattern)
		}
	}
	paths["/events"] = b.webhook()
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Onward", "version": "1", "license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
			"description": "The HTTP API of a router. Any router may be asked about any run. An id or a name stands under the word for what it names: run, event, letter, trigger, function, signal. " +
				"Times are RFC 3339 in UTC, durations texts such as 1.5s. Lists that come in parts have next, which goes into after. A list of all routers names those that did not answer in the header Onward-Unanswered. " +
				"What is refused is {error: {code, message, cure}}. x-onward-right is what a token has to be good for.",
		},
		"servers": []object{{"url": "/"}}, "security": []object{{"token": []string{}}, {}},
		"paths": paths,
		"components": object{
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}},
			"responses":       b.refusals(),
			"schemas":         b.parts,
		},
	}
}

// The forms of parameters, as schemas.
var formSchemas = map[string]object{
	formText: {"type": "string"}, formNumber: {"type": "integer", "minimum": 0}, formFlag: {"type": "boolean"},
	formSpan:   {"type": "string", "pattern": `^([0-9.]+(d|h|m|s|ms|us|µs|ns))+$|^0$`, "examples": []string{"30s", "5m"}},
	formMoment: {"type": "string", "examples": []string{"1h", "7d", "today", "yesterday", "2026-01-31T15:04:05Z"}},
}

func (b *describer) operation(path, right string, x account) object {
	op := object{"operationId": x.id, "summary": x.help}
	if right != "" {
		op["x-onward-right"] = right
	}
	if right == "router" {
		op["x-internal"] = true
	}
	var params []object
	for _, part := range strings.Split(path, "/") {
		if name, is := strings.CutPrefix(part, "{"); is {
			name = strings.TrimSuffix(name, "}")
			params = append(params, object{"name": name, "in": "path", "required": true, "description": words[name], "schema": object{"type": "string"}})
		}
	}
	for _, p := range x.query {
		schema := formSchemas[p.form]
		if schema == nil {
			schema = object{"type": "string", "enum": strings.Split(p.form, "|")}
		}
		params = append(params, object{"name": p.name, "in": "query", "description": p.help, "schema": schema})
	}
	if x.keyed {
		params = append(params, object{"name": "Idempotency-Key", "in": "header", "description": "what comes again under the same key counts once", "schema": object{"type": "string"}})
	}
	if params != nil {
		op["parameters"] = params
	}
	switch x.body {
	case bodyData:
		op["requestBody"] = object{"content": object{"application/json": object{"schema": object{}}}}
	case bodyEvent:
		op["requestBody"] = object{"required": true, "content": object{"application/cloudevents+json": object{"schema": b.event()}, "*/*": object{"schema": object{}}}}
	case bodyDocuments:
		op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": b.schema(reflect.TypeFor[Documents]())}}}
	case bodyWire:
		op["requestBody"] = object{"required": true, "content": object{"application/octet-stream": object{"schema": object{}}}}
	}
	answers := make(object)
	for status, v := range x.says {
		answers[strconv.Itoa(status)] = b.answer(status, v, x.lines)
	}
	usual := []int{400, 401, 403, 429, 503}
	if x.body != bodyNone {
		usual = append(usual, 408, 413, 507)
	}
	for _, status := range usual {
		answers[strconv.Itoa(status)] = object{"$ref": "#/components/responses/" + triggers.Refuse(status, "", "").Error.Code}
	}
	for status, why := range x.fails {
		answers[strconv.Itoa(status)] = b.refusal(why)
	}
	op["responses"] = answers
	return op
}

// refusals are those that any operation may answer with.
func (b *describer) refusals() object {
	out := make(object)
	for status, why := range map[int]string{
		400: "the request is not as it should be", 401: "no valid token", 403: "the token is not good for it, or the page is of another origin", 408: "the body comes too slowly", 413: "the body is too large",
		429: "too much at a time; ask again after Retry-After", 503: "not now; ask again after Retry-After", 507: "the disk is nearly full",
	} {
		out[triggers.Refuse(status, "", "").Error.Code] = b.refusal(why)
	}
	return out
}

func (b *describer) refusal(why string) object {
	return object{"description": why, "content": object{"application/json": object{"schema": b.schema(reflect.TypeFor[triggers.Refusal]())}}}
}

func (b *describer) answer(status int, v any, lines bool) object {
	out := object{"description": map[int]string{200: "done", 202: "taken: it is durable, and what it does is not known yet"}[status]}
	switch v := v.(type) {
	case nil:
		out["content"] = object{"text/plain": object{"schema": object{"type": "string"}}, "application/openmetrics-text": object{"schema": object{"type": "string"}}}
		return out
	case bare:
		return out
	case media:
		out["content"] = object{string(v): object{"schema": object{}}}
		return out
	case stream:
		out["content"] = object{"text/event-stream": object{"schema": object{"type": "string"}}}
		return out
	case oneOf:
		var all []any
		for _, x := range v {
			all = append(all, b.schema(reflect.TypeOf(x)))
		}
		out["content"] = object{"application/json": object{"schema": object{"anyOf": all}}}
	default:
		out["content"] = object{"application/json": object{"schema": b.schema(reflect.TypeOf(v))}}
	}
	if lines {
		out["content"].(object)[Lines] = object{"schema": object{"type": "string"}}
	}
	return out
}

func (b *describer) event() object {
	return object{
		"type": "object", "required": []string{"specversion", "id", "source", "type"},
		"properties": object{"specversion": object{"const": "1.0"}, "id": object{"type": "string"}, "source": object{"type": "string"}, "type": object{"type": "string"}},
	}
}

// webhook tells of the source that most documents have; its path is theirs to say.
func (b *describer) webhook() object {
	fails := func(of ...int) object {
		out := make(object)
		for _, status := range of {
			out[strconv.Itoa(status)] = object{"description": "refused", "content": object{"application/json": object{"schema": object{"anyOf": []any{
				b.schema(reflect.TypeFor[triggers.Refusal]()), b.schema(reflect.TypeFor[webhook.Answer]()),
			}}}}}
		}
		return out
	}
	answers := fails(400, 401, 403, 404, 405, 408, 409, 410, 413, 415, 429, 500, 503, 507)
	said := object{"application/json": object{"schema": b.schema(reflect.TypeFor[webhook.Answer]())}}
	answers["200"] = object{"description": "folded; or, with Prefer: wait, the event of the run's end in binary mode", "content": object{"application/json": object{"schema": object{}}}}
	answers["202"] = object{"description": "durable", "content": said}
	return object{
		"post": object{
			"operationId": "sendEvents", "summary": "Takes CloudEvents: runs are started, and completions, heartbeats and signals are given to theirs. The path is that of the webhook in the documents.",
			"parameters": []object{{"name": "Prefer", "in": "header", "description": "wait=30: answer with the run's result, if it comes within as many seconds", "schema": object{"type": "string"}}},
			"requestBody": object{"content": object{
				"application/cloudevents+json": object{"schema": b.event()}, "application/cloudevents-batch+json": object{"schema": object{"type": "array", "items": b.event()}},
				"*/*": object{"schema": object{}},
			}},
			"responses": answers,
		},
		"options": object{
			"operationId": "askWebhook", "summary": "The handshake of CloudEvents web hooks.", "responses": object{"204": object{"description": "events may be sent"}},
		},
	}
}

// words say what names mean that need no other comment.
var words = map[string]string{
	"file": "its name, for findings", "found": "in a folder: what there is no document is passed over", "how": "added, removed or changed", "keys": "that say something else",
	"tracestate": "of the trace that it belongs to", "done": "with how many it was done", "refused": "with how many it was not", "left": "how many are left: it was stopped before", "errors": "the first of them", "answer": "what the operation says of it alone",
	"endedRuns": "between routers: by which the same run is counted once", "reopenedRuns": "between routers: by which the same run is counted once", "strips": "by step, in bins of time",
	"version": "the release, or devel", "commit": "of which it was made", "used": "bytes that the folder has", "free": "bytes that its disk has left", "partition": "its number", "lag": "records that are not folded yet", "unsaved": "records since the last snapshot", "saved": "when the last snapshot of this tenure counted",
	"partitions": "that it folds", "routers": "by name",
	"queue": "for whom it waits, or how long it was queued", "child": "the run that it has started", "progress": "what its last heartbeat said", "of": "of how many", "inputSize": "bytes that it had, where only the begin was kept",
	"outputSize": "bytes that it had, where only the begin was kept", "times": "where the time went", "states": "two in a byte, that of the even index in the low half", "words": "what the numbers in states mean", "againSteps": "the first of them",
	"came": "when it came", "fuel": "evaluation that is left", "continued": "how often it went on in parts", "traceparent": "of the trace that it belongs to",
	"run": "a run's id", "event": "an event's id", "trigger": "a trigger's name", "function": "a function's name", "letter": "a dead letter's id", "signal": "a signal's name", "name": "its name", "id": "its id",
	"tenant": "a tenant", "path": "of a step or a destination", "state": "what it is at, or how it ended", "started": "when it began", "ended": "when it ended", "calls": "invocations made so far", "total": "of all that were asked for",
	"next": "cursor of the next part; without it there is no more", "error": "what went wrong", "result": "what it yielded", "runs": "runs", "steps": "steps", "paused": "since when, by whom and why; without it, it is not", "parent": "the run that started it",
	"attempt": "which try, from 1", "outcome": "how it ended", "input": "what it was given", "output": "what it gave", "queued": "when it was to be sent", "sent": "when it was sent", "succeeded": "how many succeeded", "failed": "how many failed",
	"skipped": "how many were skipped", "cancelled": "how many were cancelled", "since": "since when", "by": "who did it", "reason": "why", "limit": "at most so many", "subject": "of the event that started it", "source": "where it came from", "type": "its type",
	"time": "when", "data": "its data", "kind": "what kind of thing it is", "count": "how many", "became": "what it did", "message": "for people", "code": "for programs: a word that follows from the status", "cure": "what to do", "digest": "tells definitions apart",
	"waits": "who waits", "functions": "functions", "triggers": "triggers", "letters": "dead letters", "parked": "what is no event", "events": "events", "causes": "by cause", "first": "the first of them", "last": "the last of them", "window": "how many may be open at a time; 0 is the most",
	"created": "when it was made", "deadline": "when it is over at the latest", "expires": "when it is over at the latest", "class": "whose fault it is: function, platform, timeout or cancelled", "filters": "how many it has", "running": "at work", "status": "how it is",
	"timeout": "bound on one try", "open": "it has not ended", "signals": "that it waits for", "key": "of runs that go one after the other", "n": "its number in the run", "text": "in plain words", "note": "for people", "reasons": "what it waits for, or what became of it",
	"starts": "the trigger of which it starts a run", "concurrency": "how many at a time by the documents", "sink": "how it is called", "burst": "how many at once", "inFlight": "sent, without an answer", "rate": "how many in a time, at this router",
	"flow": "as a tree", "when": "the condition", "again": "it was, or is, tried again", "dryRun": "nothing was done", "max": "the longest", "min": "the shortest", "p50": "half took no longer", "p95": "95 of 100 took no longer",
	"onSuccess": "destinations", "onFailure": "destinations", "from": "index of a step", "to": "index of a step", "summary": "by path", "wait": "how long", "spawned": "children begun", "slots": "its children", "root": "its outermost step", "deliveries": "the event of its end, on its way",
	"taken": "what it was taken for, or whether it is", "delivery": "it is the event of the run's end, on its way to a destination", "lastError": "of the last try", "lastRedrive": "when it was sent again last", "redrives": "how often it was done again",
	"rerunOf": "the run of which it has the event", "place": "where it came in", "bytes": "the first of them", "role": "the key under which its policy has it", "label": "what to call it", "catch": "what handles its failure", "edges": "between its steps",
	"invocation": "its call", "accepted": "when the function took it", "handler": "what handles its failure", "twin": "a second try beside it", "timers": "what it waits for", "awaits": "signals that it waits for", "due": "when it is over", "waiting": "those that are open, the first of them",
	"right": "what it is good for: read, operate or admin", "size": "how many there are", "step": "its path", "why": "it is not taken", "cause": "the invocation or event that led to it", "retry": "which of how many", "try": "which", "contract": "how the function answers", "current": "it is in force",
}

var (
	typeTime     = reflect.TypeFor[time.Time]()
	typeDuration = reflect.TypeFor[plugin.Duration]()
	typeValue    = reflect.TypeFor[lang.Value]()
)

// schema is a type's; structs are parts.
func (b *describer) schema(t reflect.Type) object {
	switch t {
	case typeTime:
		return object{"type": "string", "format": "date-time"}
	case typeDuration:
		return object{"type": "string", "examples": []string{"1.5s"}}
	case typeValue, reflect.TypeFor[json.RawMessage]():
		return object{}
	case reflect.TypeFor[journal.RunID](), reflect.TypeFor[access.Right](), reflect.TypeFor[lang.Class]():
		return object{"type": "string"}
	case reflect.TypeFor[[]byte]():
		return object{"type": []string{"string", "null"}, "contentEncoding": "base64"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return b.schema(t.Elem())
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer"}
	case reflect.Slice:
		return object{"type": "array", "items": b.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": b.schema(t.Elem())}
	case reflect.Interface:
		return object{}
	case reflect.Struct:
		return b.part(t)
	}
	b.t.Fatalf("no schema for %s", t)
	return nil
}

func (b *describer) part(t reflect.Type) object {
	ref := object{"$ref": "#/components/schemas/" + t.Name()}
	if had, is := b.parts[t.Name()]; is {
		if had.(object)["x-go-type"] != t.String() {
			b.t.Errorf("%s and %v have one name", t, had.(object)["x-go-type"])
		}
		return ref
	}
	part := object{"type": "object", "additionalProperties": false, "x-go-type": t.String()}
	if text := b.comments[t.String()]; text != "" {
		part["description"] = text
	}
	b.parts[t.Name()] = part
	properties, required := make(object), []string{}
	b.fields(t, properties, &required)
	part["properties"] = properties
	if len(required) > 0 {
		slices.Sort(required)
		part["required"] = required
	}
	return ref
}

func (b *describer) fields(t reflect.Type, properties object, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			b.fields(f.Type, properties, required)
			continue
		case name == "-" || !f.IsExported():
			continue
		case name == "":
			b.t.Errorf("%s.%s has no name in JSON", t, f.Name)
			continue
		}
		x := b.schema(f.Type)
		text := b.comments[t.String()+"."+f.Name]
		if text == "" {
			text = words[name]
		}
		if text == "" {
			b.t.Errorf("%s.%s (%s) has neither a comment nor a word in words", t, f.Name, name)
		}
		x["description"] = text
		properties[name] = x
		if options == "" {
			*required = append(*required, name)
		}
	}
}

// commentsOf reads what the sources say of types and fields.
func commentsOf(t *testing.T) map[string]string {
	t.Helper()
	out := make(map[string]string)
	set := token.NewFileSet()
	for _, dir := range []string{".", "../engine", "../control", "../../triggers", "../../triggers/webhook", "../../config/access", "../../config/lang", "../../schedulers"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(set, name, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				if g, is := d.(*ast.GenDecl); is && g.Tok == token.TYPE {
					commentsIn(f.Name.Name, g, out)
				}
			}
		}
	}
	return out
}

func commentsIn(of string, g *ast.GenDecl, out map[string]string) {
	for _, spec := range g.Specs {
		x := spec.(*ast.TypeSpec)
		name := fmt.Sprintf("%s.%s", of, x.Name.Name)
		doc := x.Doc
		if doc == nil {
			doc = g.Doc
		}
		out[name] = strings.Join(strings.Fields(doc.Text()), " ")
		s, is := x.Type.(*ast.StructType)
		if !is {
			continue
		}
		for _, f := range s.Fields.List {
			for _, ident := range f.Names {
				out[name+"."+ident.Name] = strings.Join(strings.Fields(f.Doc.Text()+" "+f.Comment.Text()), " ")
			}
		}
	}
}
