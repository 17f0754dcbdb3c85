package schedulers

// A Sketcher tells those who draw a flow how its children hang together. Nothing decides by it. One that does not say is drawn as a box with its children
// side by side.
type Sketcher interface{ Sketch() Sketch }

// A Sketch is how the children of a step hang together, for people.
type Sketch struct {
	Shape   Shape
	Caption string   // in a few words what it goes by: the items of a map, the name of a signal
	Edges   []Edge   // of a graph, and between steps that belong together
	At      []string // by slot: what decides whether the child runs; may be shorter
}

// A Shape is how the children of a step stand to one another.
type Shape string

// The shapes.
const (
	InLine Shape = "line"   // one after the other, by slot
	Beside Shape = "beside" // side by side
	OneOf  Shape = "one"    // one of them runs
	Each   Shape = "each"   // slot 0 runs once for each of many, side by side
	Again  Shape = "again"  // slot 0 runs again and again
	Graph  Shape = "graph"  // as the edges say
)

// An Edge leads from one child to another, by slots. Word says when, or what for; it may be empty.
type Edge struct {
	From, To int
	Word     string
}
