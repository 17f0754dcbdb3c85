// Package plugin is the registry that policies, sinks and sources enter by one line each.
//
// A registry is a value: only a main package names the one it uses, so two routers in one process may know different components.
package plugin

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A Door is a kind of component: the three places where a third party's code enters.
type Door uint8

// The doors.
const (
	Policy Door = iota + 1
	Sink
	Source
)

// String returns the word that documents and messages use for d.
func (d Door) String() string {
	switch d {
	case Policy:
		return "policy"
	case Sink:
		return "sink"
	case Source:
		return "source"
	}
	return "unknown door"
}

// A Component is one registered policy, sink or source.
type Component struct {
	Door    Door
	Name    string // the word in documents, lower camel case
	Version int    // of its semantics, from 1; a definition names the version of each policy that it uses
	Summary string // one sentence, shown by help texts and in the schema

	// Settings is the type that the component's part of a document decodes into. See lang.Decode for its tags.
	Settings reflect.Type

	// Make is the door's own factory: schedulers.Machine, sinks.Factory or triggers.Factory. Factories have no side effects.
	Make any
}

// A Registry holds components by door and name. The zero Registry is empty and ready. It is not safe to Add concurrently with other calls;
// fill it first, then share it.
type Registry struct {
	// Prepare, which may be nil, is given each component's settings once they are decoded: it fills in what the process knows and the document leaves out.
	Prepare func(settings any)

	components map[Door]map[string][]Component // of one name, the newest first
}

// A Prober is a sink or a source that can look whether its far end is there and lets it in. It sends no event, and leaves nothing behind. It
// returns what it found, for a person; the error says what is wrong, and what to do about it.
type Prober interface {
	Probe(ctx context.Context) (found string, err error)
}

// A Later is the settings of a sink whose far end takes invocations and answers none: their completions come later, as events.
type Later interface{ AnswersLater() bool }

// An Alone is the settings of a component that has something which no other can have, such as an address to listen at: Alone says what, for people, and
// nothing where it has none.
type Alone interface{ Alone() string }

// A Contracted is the settings of a sink whose functions can be asked in more than one way (a function's contract). The first of Contracts is the default.
type Contracted interface {
	Contracts() []string
	Terms(contract string) Terms
}

// Terms are what a contract brings to a function whose document does not say it.
type Terms struct {
	Concurrency int
	Later       bool // its completions come later, as events, as a Later's do
}

// A Batching is the settings of a sink that can send several invocations in one request. Batches says with which contracts, and why these settings do not; empty
// is that they do.
type Batching interface {
	Batches(contract string) (why string)
}

// A Ticketing is the settings of a source that may say which calls are done, by their tickets.
type Ticketing interface{ SaysTickets() bool }

// An Uncancelled is the settings of a sink whose functions cannot be told that a call is dropped: it says why not.
type Uncancelled interface{ NotCancelled() string }

// Add enters c. It panics when the door already has a component of that name: a programmer's error, found at start. Policies of one name may differ in
// version: runs go on with the one that they began with, new ones begin with the newest.
func (r *Registry) Add(c Component) {
	if c.Name == "" || c.Door.String() == "unknown door" || c.Version < 1 {
		panic(fmt.Sprintf("plugin: component %+v needs a door, a name and a version", c))
	}
	if r.components == nil {
		r.components = make(map[Door]map[string][]Component)
	}
	if r.components[c.Door] == nil {
		r.components[c.Door] = make(map[string][]Component)
	}
	named := r.components[c.Door][c.Name]
	if _, double := r.At(c.Door, c.Name, c.Version); double || c.Door != Policy && len(named) > 0 {
		panic(fmt.Sprintf("plugin: %s %q is registered twice", c.Door, c.Name))
	}
	at := 0
	for at < len(named) && named[at].Version > c.Version {
		at++
	}
	r.components[c.Door][c.Name] = slices.Insert(named, at, c)
}

// Get returns the newest component of that name, and whether there is one.
func (r *Registry) Get(d Door, name string) (Component, bool) {
	named := r.components[d][name]
	if len(named) == 0 {
		return Component{}, false
	}
	return named[0], true
}

// At returns the component of that name and version, and whether there is one.
func (r *Registry) At(d Door, name string, version int) (Component, bool) {
	for _, c := range r.components[d][name] {
		if c.Version == version {
			return c, true
		}
	}
	return Component{}, false
}

// Versions returns the versions of a component, the newest first.
func (r *Registry) Versions(d Door, name string) []int {
	var versions []int
	for _, c := range r.components[d][name] {
		versions = append(versions, c.Version)
	}
	return versions
}

// List returns the components of a door, the newest of each name, sorted by name.
func (r *Registry) List(d Door) []Component {
	out := make([]Component, 0, len(r.components[d]))
	for _, named := range r.components[d] {
		out = append(out, named[0])
	}
	slices.SortFunc(out, func(a, b Component) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Clone returns a registry with the same components, to which more may be added.
func (r *Registry) Clone() *Registry {
	c := &Registry{Prepare: r.Prepare}
	for _, d := range []Door{Policy, Sink, Source} {
		for _, x := range r.List(d) {
			for _, version := range r.components[d][x.Name] {
				c.Add(version)
			}
		}
	}
	return c
}
