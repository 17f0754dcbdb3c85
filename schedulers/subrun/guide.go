package subrun

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Subrun) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "The run is one of its own: with an id, a partition, an explanation and limits of its own, and with the concurrency of its trigger. Its event has the type\n" +
			"dev.onward.subrun and the step's input as data. Each try of the step is another run. When nobody waits for it any more - the step's `timeout` or `deadline`, a\n" +
			"cancel of the run that started it - it is cancelled, with its cleanups; who cancelled it does not wait for those. A run that is let go is nobody's.\n\n" +
			"Of a trigger with `signals` it is a run with a key of its own, which its `correlate` reads from the input: the events of the key are its signals, those that came before it too. An item of a\n" +
			"map awaits an event of its own so.\n\n" +
			"A run that an event from outside has started may have any number of subruns, and each of those may lead to 1,023 runs: what it starts shares them.",
		Yields: "What the run yields; null where that was skipped. Without `wait` an object whose `run` is its id.",
		Errors: []string{
			"unknown_trigger: the documents have no such trigger: at once when they were loaded a minute or more after the run began, and have been in force for one; else once it has been missing for ten minutes, since another router may have newer ones (class platform)",
			"bad_event: the trigger has a key, by `concurrency` or `correlate`, and the input yields none, or several; or it gathers events by `await` or `batch` (class function)",
			"key_taken: the trigger has `signals`, and another run of the key is at work, which has the events of that key (class platform)",
			"chain_limit: too many runs have come of one subrun, as when a trigger starts itself (class platform)",
		},
		Examples: []string{"subrun: { trigger: bookkeeping, wait: false }\ninput: \"${ data.order }\"", "subrun: bookkeeping\ndeadline: 1h\nretry: { attempts: 5, backoff: 10s, on: [key_taken] }"},
	}
}
