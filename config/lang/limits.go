package lang

// The bounds that lint and the engine share: what is beyond them is found before it runs, where it can be, and ends its step where it cannot.
const (
	MaxValueBytes = 16 << 20   // one value inside a run
	MaxDepth      = 64         // policies inside one another
	MaxWidth      = 10_000_000 // children of one slot
	MaxWindow     = 10_000     // children of one slot open at a time
	MaxName       = 1 << 10    // bytes of the name of a signal

	// MaxNesting bounds how deep lists and objects stand inside one another in a value that an expression looks into or makes.
	MaxNesting = 512

	// MaxExpression is the size of one expression's source, in characters.
	MaxExpression = 64 << 10

	// EvalCost bounds one evaluation, in steps: about one for each part of the expression that is evaluated, each item that is looked at, and each ten
	// bytes that are read or made. RecordCost bounds all evaluations of one record together.
	EvalCost   = 10_000_000
	RecordCost = 50_000_000
)
