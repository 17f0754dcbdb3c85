package subrun

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Subrun) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "The run is one of its own: with an id, a partition, an explanation and limits of its own, and with the concurrency of its trigger. Its event has the type\n" +
			"dev.onward.subrun and the step's input as data. Each try of the step is another run. When nobody waits for it any more - the step's `timeout` or `deadline`, a\n" +
			"cancel of the run that started it - it is cancelled, with its cleanups; who cancelled it does not wait for those. A run that is let go is nobody's.\n\n" +
			"A run that an event from outside has started may have any number of subruns, and each of those may lead to 1,023 runs: what it starts shares them.",
		Yields: "What the run yields; null where that was skipped. Without `wait` an object whose `run` is its id.",
		Errors: []string{
			"unknown_trigger: the documents have no such trigger: at once when they were loaded a minute or more after the run began, and have been in force for one; else once it has been missing for ten minutes, since another router may have newer ones (class platform)",
			"bad_event: the trigger has a `concurrency` key, and the input yields none (class function)",
			"chain_limit: too many runs have come of one subrun, as when a trigger starts itself (class platform)",
		},
		Examples: []string{"subrun: { trigger: bookkeeping, wait: false }\ninput: \"${ data.order }\"", "subrun: bookkeeping\ndeadline: 1h"},
	}
}
