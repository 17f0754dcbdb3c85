// Package schedulertest holds the laws that every scheduling policy keeps, and a bench on which a single frame of one can be played.
//
// Run plays a policy many times, each play from a seed: settings, data, outcomes and their order are all drawn from it. A broken law is reported
// with its seed, and -schedulertest.seed plays that one again. A policy of your own needs one line:
//
//	schedulertest.Run(t, registry, "quorum", schedulertest.Options{Documents: []string{`{of: [{function: a}, {function: b}], need: 1}`}})
//
// Children are leaves here, whatever the document says they do: what a step does is the engine's, and a policy sees only how it ended.
package schedulertest

// A Law is one promise of a policy. DESIGN 5 has the reasons: what decides is folded again by every later owner.
type Law string

// The laws.
const (
	Same     Law = "same input, same output: settings, state and event decide the requests, and nothing else does"
	Encoded  Law = "encode and decode change nothing: a policy goes on from its encoded state as if it had never been written"
	Ends     Law = "it always ends: when every child is done, every timer has fired and every signal was given, the frame has an outcome"
	Commutes Law = "order does not matter where the policy commutes: any order of completions gives the same outcome"
	Bounded  Law = "the window is kept: the policy sets what its settings say, before it spawns"
	Legal    Law = "requests are legal: slots that there are, children in order without gaps, nothing cancelled that was not spawned, no panic"
	Joined   Law = "a join does what its word says: with all, the first failure ends the frame with the child's own error; with settled, each child stands in place as it ended; with any, atLeast and percent, the frame ends with the success that is enough, or with the end that leaves too few; a deadline ends it as onDeadline says"
	Pure     Law = "settings do not change, binding changes nothing and answers the same for as long as the child is open"
	Declared Law = "lint is told the truth: the names and siblings declared are those bound and evaluated with, and only what is declared runs more than once"
	Alone    Law = "frames do not meet: what was played before on the same settings, or is played beside it, changes nothing"
	Flat     Law = "an event costs no more in a wide frame: outcomes are collected when the frame ends, and the state does not grow with the children"
	Kept     Law = "no failure is lost and no child abandoned: a frame succeeds over either only where Options.Partial says so"
	Source   Law = "the source asks no clock, no chance, no host: what decides is what the frame tells"
	Wanted   Law = "the outcome is the one that Options.Want expects"
)
