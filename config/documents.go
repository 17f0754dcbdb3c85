// Package config is what a person writes: process settings, and documents of functions, sources and triggers. It finds everything that is wrong with
// them before anything runs, with the place and a cure.
package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/onward-router/onward/config/filter"
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/config/lang/yamldoc"
	"github.com/onward-router/onward/config/plugin"
)

// DocumentVersion is the version of the documents' form.
const DocumentVersion = 1

// DefaultTenant owns what names no tenant.
const DefaultTenant = "default"

// A Set is what documents say, checked and ready to run.
type Set struct {
	Functions map[string]*Function
	Sources   map[string]*Source
	Triggers  map[string]*Trigger
	Flows     map[string]*lang.Step // that documents name, whether a trigger does or not
	Tenants   map[string]*Tenant    // those of whom something is said
	// Calls are what each function is when it is invoked by itself, outside of any flow: a trigger without filters, by its name (lang.InvokePrefix).
	Calls map[string]*Trigger

	// None are the sections of which a document says that there is nothing in them, such as triggers: {}.
	None map[string]bool

	// Warnings are what is right and perhaps not meant, by place.
	Warnings []lang.Finding
}

// A Function is something invocable under a name. What the fold reads of it has gone into the definitions; the rest is the outbox's.
type Function struct {
	Name        string
	Sink        plugin.Component
	Settings    any
	Concurrency int
	Contract    string
	Cancel      bool // it is told when a call that was sent to it is dropped
	Timeout     time.Duration
	Heartbeat   time.Duration // a try may go so long without a heartbeat; 0 is for ever
	bounded     bool          // its document says a timeout
	Retry       lang.Retries
	Deadline    time.Duration
	MaxAge      time.Duration // from its first sending an invocation may go so long without an answer
	Resends     *int          // and be sent again so often under the same id; nil is as often as MaxAge allows
	Rate        Rate          // how often one router sends to it
	Burst       int           // how many at once, after a pause; 1 or more with a Rate
	Batch       *Batch        // how many invocations go in one request; nil is each in its own
	Pos         lang.Pos
}

// A Source is a way in.
type Source struct {
	Name     string
	Type     plugin.Component
	Settings any
	Accepts  Accepts
	Rate     Rate // how often each router takes events from it that start something
	Burst    int  // how many at once, after a pause; 1 or more with a Rate
	Pos      lang.Pos
}

// A Trigger is a rule, with the definition that its runs are pinned to.
type Trigger struct {
	Name       string
	Tenant     string
	Filters    []filter.Filter
	When       lang.Expr // of an event that the filters let through; zero is true
	Key        lang.Expr // which of its runs belong together; zero for a trigger without concurrency
	Meets      []Meet    // what its rounds of events are made of; nil for one whose every event starts a run
	Definition *lang.Definition
	Digest     lang.Digest
	Pos        lang.Pos
}

// Trigger returns the trigger of a name, be it of the documents or one of Calls; nil when there is none.
func (s *Set) Trigger(name string) *Trigger {
	if t := s.Triggers[name]; t != nil {
		return t
	}
	return s.Calls[name]
}

// TriggerNames returns the triggers' names, sorted.
func (s *Set) TriggerNames() []string { return slices.Sorted(maps.Keys(s.Triggers)) }

// FunctionNames returns the functions that are written as such, sorted: without those that stand for the sinks of destinations, whose names have dots.
func (s *Set) FunctionNames() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.Functions)), func(name string) bool { return strings.Contains(name, ".") })
}

// Load reads documents from files and from folders (all *.yaml and *.yml below them), and merges them. Findings are all that is wrong, by place; with
// any, the set is nil. check, which may be nil, builds a component without running it.
func Load(paths []string, r *plugin.Registry, check func(c plugin.Component, name string, settings any) error) (*Set, []lang.Finding) {
	texts, findings := Texts(paths)
	l := newLoader(r, check)
	l.findings = findings
	return l.read(texts)
}

// A Text is a document before it is read.
type Text struct {
	File  string `json:"file"` // its name, for findings
	Text  string `json:"text"`
	Found bool   `json:"found,omitempty"` // in a folder: what there is no document is passed over
}

// MaxDocument bounds the file of a document, in bytes.
const MaxDocument = 16 << 20

// ReadDocument reads one file of documents. A pipe is read to its end, for which it waits, and only once: see IsFile.
func ReadDocument(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxDocument+1))
	if err == nil && len(text) > MaxDocument {
		err = fmt.Errorf("%s has more than %d MiB; split it into several, in a folder", file, MaxDocument>>20)
	}
	return text, err
}

// IsFile reports whether what is there can be read again: no pipe, terminal or device.
func IsFile(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular()
}

// Texts reads the files that paths name. The findings are those that cannot be read.
func Texts(paths []string) (texts []Text, findings []lang.Finding) {
	files, findings := Files(paths)
	for _, file := range files {
		text, err := ReadDocument(file)
		if err != nil {
			findings = append(findings, lang.Finding{Pos: lang.Pos{File: file}, What: err.Error()})
			continue
		}
		texts = append(texts, Text{file, string(text), !slices.Contains(paths, file)})
	}
	return texts, findings
}

// Read is Load of documents that are in memory.
func Read(texts []Text, r *plugin.Registry, check func(c plugin.Component, name string, settings any) error) (*Set, []lang.Finding) {
	set, findings, _ := ReadUntil(context.Background(), texts, r, check) // It ends never.
	return set, findings
}

// ReadUntil is Read for documents of others: it gives up when the context ends, and returns its error.
func ReadUntil(ctx context.Context, texts []Text, r *plugin.Registry, check func(c plugin.Component, name string, settings any) error) (*Set, []lang.Finding, error) {
	l := newLoader(r, check)
	l.ctx = ctx
	set, findings := l.read(texts)
	if l.over() {
		return nil, nil, ctx.Err()
	}
	return set, findings, nil
}

func newLoader(r *plugin.Registry, check func(c plugin.Component, name string, settings any) error) *loader {
	return &loader{ctx: context.Background(), registry: r, check: check, untold: make(map[string]bool), set: &Set{
		Functions: make(map[string]*Function), Sources: make(map[string]*Source), Triggers: make(map[string]*Trigger), Flows: make(map[string]*lang.Step),
		Tenants: make(map[string]*Tenant), Calls: make(map[string]*Trigger), None: make(map[string]bool),
	}, triggers: make(map[string]*triggerDoc)}
}

func (l *loader) read(texts []Text) (*Set, []lang.Finding) {
	for _, t := range texts {
		l.gathered = t.Found
		if l.file(t.File, []byte(t.Text)); l.over() {
			return nil, nil
		}
	}
	return l.finish()
}

// Parse reads one document from memory.
func Parse(name string, text []byte, r *plugin.Registry, check func(c plugin.Component, name string, settings any) error) (*Set, []lang.Finding) {
	return Read([]Text{{File: name, Text: string(text)}}, r, check)
}

// Files returns the files of documents that paths name: themselves, and all *.yaml and *.yml below those that are folders.
func Files(paths []string) (files []string, findings []lang.Finding) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			findings = append(findings, lang.Finding{Pos: lang.Pos{File: path}, What: cleanError(err)})
			continue
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		before := len(files)
		err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && p != path && strings.HasPrefix(d.Name(), "..") {
				return fs.SkipDir // a mounted ConfigMap keeps its versions there, and links to them
			}
			if ext := filepath.Ext(p); err == nil && !d.IsDir() && (ext == ".yaml" || ext == ".yml") {
				files = append(files, p)
			}
			return err
		})
		if err != nil {
			findings = append(findings, lang.Finding{Pos: lang.Pos{File: path}, What: cleanError(err)})
		} else if len(files) == before {
			findings = append(findings, lang.Finding{Pos: lang.Pos{File: path}, What: "no documents in this folder", Cure: "documents end in .yaml or .yml"})
		}
	}
	return files, findings
}

func cleanError(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// A loader gathers the documents; what refers to other parts is looked up once all are there.
type loader struct {
	ctx      context.Context
	registry *plugin.Registry
	check    func(plugin.Component, string, any) error
	set      *Set
	triggers map[string]*triggerDoc
	tenants  []namedAt
	calls    []*triggerDoc   // of the functions
	untold   map[string]bool // of them, those of whose destinations it was said that not all calls reach them
	findings []lang.Finding
	warnings []lang.Finding
	alones   map[string]placed // by what no other can have
	gathered bool              // the file at hand was found in a folder, and not named
	named    map[string]bool   // triggers, by steps and destinations; see called
}

// A placed is where something stands.
type placed struct {
	path string
	pos  lang.Pos
}

type triggerDoc struct {
	Tenant      string               `doc:"tenant" help:"who the trigger and its runs belong to" default:"default"`
	Filters     []filter.Filter      `doc:"filters" help:"all of them must let an event through; without any, every event is let through but those of runs' ends and functions' completions (dev.onward.run.*, dev.onward.function.*)"`
	When        lang.Expr            `doc:"when" help:"what must be true of an event that the filters let through, of event and data: \"${ data.amount > 13 }\". Where it is false or fails the trigger does not take the event"`
	Correlate   lang.Expr            `doc:"correlate" help:"the key by which events belong together, of event and data: a text, a number, true or false, or a list of up to 100 of those, each of which the event meets; an event that has none starts nothing"`
	Await       *awaitDoc            `doc:"await" help:"the events of one key that make a round: the flow begins once they are enough, and sees them as arrived. Without it, what comes of a key while its run is at work are signals to that, by the type of the event"`
	Signals     map[string]signalDoc `doc:"signals" help:"events of the key that begin no run and are signals to the one that is at work, by these names: a signal step of the flow waits for them"`
	Early       plugin.Duration      `doc:"early,above0" help:"how long signals are kept that come before the event which begins their run; default: 1h"`
	Batch       *batchDoc            `doc:"batch" help:"events are gathered, and one run has a list of them as arrived"`
	Concurrency *concurrencyDoc      `doc:"concurrency" help:"how many runs of one key may be at work at a time, and what becomes of those beyond it"`
	Flow        *lang.Step           `doc:"flow" help:"what to run; without it the event goes straight to the destinations"`
	OnSuccess   lang.Value           `doc:"onSuccess" help:"where the event of the run's success goes: a destination or a list"`
	OnFailure   lang.Value           `doc:"onFailure" help:"where the event of the run's failure goes: a destination or a list"`

	name         string
	path         string // in the documents
	pos          lang.Pos
	said         []filter.Filter // as its filters say; Filters have those of what it awaits as well, once all is read
	destinations [2][]destination
}

// over reports that nobody waits for the rest: what has been found is of no use any more.
func (l *loader) over() bool { return l.ctx.Err() != nil }

func (l *loader) find(pos lang.Pos, path, cure, format string, a ...any) {
	l.findings = append(l.findings, lang.Finding{Pos: pos, Path: path, What: fmt.Sprintf(format, a...), Cure: cure})
}

// say finds something, or warns of it.
func (l *loader) say(warning bool, pos lang.Pos, path, cure, format string, a ...any) {
	f := lang.Finding{Pos: pos, Path: path, What: fmt.Sprintf(format, a...), Cure: cure, Warning: warning}
	if warning {
		l.warnings = append(l.warnings, f)
	} else {
		l.findings = append(l.findings, f)
	}
}

// prefixed adds findings of a part under its path.
func (l *loader) prefixed(path string, findings []lang.Finding) bool {
	for _, f := range findings {
		if f.Path = strings.TrimSuffix(path+"."+f.Path, "."); f.Path != "" {
			l.findings = append(l.findings, f)
		}
	}
	return len(findings) == 0
}

func (l *loader) file(name string, text []byte) {
	nodes, findings := yamldoc.Parse(name, text)
	l.findings = append(l.findings, findings...)
	if len(nodes) == 0 && len(findings) == 0 {
		l.find(lang.Pos{File: name, Line: 1, Col: 1}, "", "write version: 1, functions: and triggers:", "the document is empty")
	}
	for _, n := range nodes {
		switch {
		case n.Kind != lang.MapNode:
			l.find(n.Pos, "", "write version: 1, functions: and triggers:", "a document is a mapping")
			continue
		case isSettings(n):
			l.say(l.gathered, n.Pos, "", "give the file to serve: --settings "+name, "these are settings of the router, and no document")
			continue
		}
		l.version(n)
		for i, key := range n.Keys {
			if l.over() {
				return
			}
			l.section(key, n.Items[i])
		}
	}
}

func (l *loader) version(n *lang.Node) {
	v := n.Get("version")
	if v == nil {
		l.find(n.Pos, "version", "add version: 1", "version is missing")
	} else if v.JSON().JSON() != fmt.Sprint(DocumentVersion) {
		l.find(v.Pos, "version", "write version: 1", "version %s is not known to this router", v.JSON())
	}
}

func (l *loader) section(key lang.Key, n *lang.Node) {
	each := func(enter func(name string, pos lang.Pos, n *lang.Node)) {
		if n.Kind != lang.MapNode {
			l.find(n.Pos, key.Name, "write names with what they stand for", "%s is not a mapping", key.Name)
			return
		}
		l.set.None[key.Name] = l.set.None[key.Name] || len(n.Keys) == 0
		for i, k := range n.Keys {
			if !isName(k.Name) {
				l.find(k.Pos, key.Name, "names have letters, digits, - and _", "%q is not a name", k.Name)
				continue
			}
			if l.over() {
				return
			}
			enter(k.Name, k.Pos, n.Items[i])
		}
	}
	switch key.Name {
	case "version":
	case "functions":
		each(l.function)
	case "flows":
		each(l.flow)
	case "sources":
		each(l.source)
	case "triggers":
		each(l.trigger)
	case "tenants":
		each(l.tenant)
	default:
		l.find(key.Pos, key.Name, lang.Nearest(key.Name, topKeys), "unknown key %q", key.Name)
	}
}

func isName(s string) bool {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return s != "" && len(s) <= 100
}

// component takes the one key out of n that names a component of a door and is not one of others, decodes its settings, and returns the rest of n.
func (l *loader) component(door plugin.Door, path string, n *lang.Node, others []string) (c plugin.Component, settings any, rest *lang.Node, ok bool) {
	rest = &lang.Node{Kind: n.Kind, Pos: n.Pos}
	var known []string
	for _, x := range l.registry.List(door) {
		known = append(known, x.Name)
	}
	if n.Kind != lang.MapNode {
		rest.Kind = lang.MapNode // It is found once.
		l.find(n.Pos, path, "write { "+strings.Join(known, " | ")+": ... }"+firstMeant(door, n), "a mapping is due here")
		return c, nil, rest, false
	}
	var found []string
	ok = true
	for i, k := range n.Keys {
		x, is := l.registry.Get(door, k.Name)
		switch {
		case slices.Contains(others, k.Name):
			rest.Keys, rest.Items = append(rest.Keys, k), append(rest.Items, n.Items[i])
		case is:
			found = append(found, k.Name)
			c = x
			before := len(l.findings)
			var good bool
			settings, good = decodeSettings(n.Items[i], x, l, path+"."+k.Name)
			ok = ok && good
			l.besides(before, path+"."+k.Name, k.Name, others)
		default:
			l.find(k.Pos, path+"."+k.Name, l.placeOf(door, n, k.Name, append(slices.Clone(known), others...)), "unknown key or %s %q", door, k.Name)
			ok = false
		}
	}
	if len(found) > 1 {
		l.find(n.Pos, path, "keep one", "it names more than one %s: %s", door, strings.Join(found, ", "))
		return c, settings, rest, false
	}
	return c, settings, rest, ok
}

// placeOf says where a key belongs that stands beside a component and is one of its own settings, or else which word is meant.
func (l *loader) placeOf(door plugin.Door, n *lang.Node, key string, known []string) string {
	if meant := lang.Nearest(key, known); strings.HasPrefix(meant, "did you mean") && !slices.Contains([]string{"url", "command"}, key) {
		return meant
	}
	for _, said := range []bool{true, false} { // First of the component that is there.
		for _, x := range l.registry.List(door) {
			keys := lang.SettingsKeys(x.Settings)
			if slices.Contains(keys, key) && said == (n.Get(x.Name) != nil) {
				form := key + ": ..."
				if keys[0] != key && said && n.Get(x.Name).Kind != lang.MapNode {
					form = keys[0] + ": ..., " + form
				}
				return fmt.Sprintf("it belongs below %s:, as in %[1]s: { %s }", x.Name, form)
			}
		}
	}
	return lang.Nearest(key, known)
}

// besides tells of unknown keys among those findings that they stand beside a component, and not below it.
func (l *loader) besides(from int, path, component string, others []string) {
	for i := from; i < len(l.findings); i++ {
		f := &l.findings[i]
		if key, below := strings.CutPrefix(f.Path, path+"."); below && slices.Contains(others, key) && strings.HasPrefix(f.What, "unknown key") {
			f.Cure = fmt.Sprintf("it stands beside %s:, not below it", component)
		}
	}
}

// firstMeant is how a function is written that is named as a text alone: an address, or a program.
func firstMeant(door plugin.Door, n *lang.Node) string {
	if n.Kind != lang.ScalarNode || door != plugin.Sink || n.Value.IsNull() {
		return ""
	}
	text := n.Text()
	if strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://") {
		return ", as in { http: { url: " + text + " } }"
	}
	return ", as in { exec: [" + strings.Join(strings.Fields(text), ", ") + "] }"
}

func (l *loader) build(c plugin.Component, path, name string, settings any, pos lang.Pos) {
	if x, is := settings.(plugin.Alone); is && x.Alone() != "" {
		if had, taken := l.alones[x.Alone()]; taken {
			l.find(pos, path, "give it another", "%s is taken by %s; it stands at %s:%d", x.Alone(), had.path, had.pos.File, had.pos.Line)
			return
		}
		if l.alones == nil {
			l.alones = make(map[string]placed)
		}
		l.alones[x.Alone()] = placed{path, pos}
	}
	if l.check == nil {
		return
	}
	if err := l.check(c, name, settings); err != nil {
		l.find(pos, path, "", "%v", err)
	}
}

func (l *loader) flow(name string, pos lang.Pos, n *lang.Node) {
	path := "flows." + name
	if had := l.set.Flows[name]; had != nil {
		l.find(pos, path, "rename one", "two flows are named %q; the other stands at %s:%d", name, had.Pos.File, had.Pos.Line)
		return
	}
	step := new(lang.Step)
	l.prefixed(path, lang.Decode(n, step, l.registry))
	l.set.Flows[name] = step
}

func (l *loader) source(name string, pos lang.Pos, n *lang.Node) {
	path := "sources." + name
	if had := l.set.Sources[name]; had != nil {
		l.find(pos, path, "rename one", "two sources are named %q; the other stands at %s:%d", name, had.Pos.File, had.Pos.Line)
		return
	}
	var doc sourceDoc
	c, settings, rest, ok := l.component(plugin.Source, path, n, []string{"accepts", "rate", "burst"})
	ok = l.prefixed(path, lang.Decode(rest, &doc, l.registry)) && ok
	l.set.Sources[name] = &Source{Name: name, Type: c, Settings: settings, Accepts: doc.accepts(), Rate: doc.Rate, Burst: doc.burst(), Pos: pos}
	if ok && c.Name == "" {
		l.find(pos, path, "add webhook: { path: /events } or another source", "source %q says not what it is", name)
	} else if ok {
		l.build(c, path, name, settings, pos)
	}
	if x, is := settings.(plugin.Ticketing); ok && is && x.SaysTickets() && !doc.accepts().Completions {
		l.say(true, pos, path, "add completions to accepts, or leave as.ticket out", "as.ticket has no result asked for: the source does not accept completions")
	}
}

func (l *loader) trigger(name string, pos lang.Pos, n *lang.Node) {
	path := "triggers." + name
	if had := l.triggers[name]; had != nil {
		l.find(pos, path, "rename one", "two triggers are named %q; the other stands at %s:%d", name, had.pos.File, had.pos.Line)
		return
	}
	t := &triggerDoc{name: name, pos: pos}
	l.triggers[name] = t
	l.prefixed(path, lang.Decode(n, t, l.registry))
	t.name, t.path, t.pos = name, path, pos
	if n.Kind != lang.MapNode {
		return
	}
	t.destinations[0] = l.destinations(t, "onSuccess", n.Get("onSuccess"))
	t.destinations[1] = l.destinations(t, "onFailure", n.Get("onFailure"))
}

// finish checks what refers to other parts, and compiles.
func (l *loader) finish() (*Set, []lang.Finding) {
	names := slices.Sorted(maps.Keys(l.triggers))
	for _, t := range l.triggers {
		t.said, t.Filters = t.Filters, t.taking()
	}
	takes := l.takers(names)
	for _, name := range names {
		if l.over() {
			return nil, nil
		}
		l.compile(l.triggers[name], takes)
	}
	for _, t := range l.calls {
		if l.over() {
			return nil, nil
		}
		if len(l.findings) == 0 || len(t.destinations[0])+len(t.destinations[1]) > 0 { // What is wrong with a function is said once.
			l.compile(t, takes)
		}
	}
	l.keepSecrets()
	l.strangers()
	if len(l.findings) > 0 {
		return nil, byPlace(append(l.findings, l.warnings...))
	}
	l.set.Warnings = byPlace(l.warnings)
	return l.set, nil
}

// byPlace sorts findings, and says each once.
func byPlace(findings []lang.Finding) []lang.Finding {
	slices.SortStableFunc(findings, func(a, b lang.Finding) int {
		return cmp.Or(cmp.Compare(a.Pos.File, b.Pos.File), cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Col, b.Pos.Col))
	})
	seen := make(map[lang.Finding]bool, len(findings))
	return slices.DeleteFunc(findings, func(f lang.Finding) bool {
		double := seen[f]
		seen[f] = true
		return double
	})
}
