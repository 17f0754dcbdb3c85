package saga

import "github.com/onward-router/onward/config/plugin"

// Guide is what the reference page tells beside the keys.
func (*Saga) Guide() plugin.Guide {
	return plugin.Guide{
		Text: "A sequence whose steps say how they are undone. When one fails, or the saga is cancelled, the undos of exactly the steps that have succeeded run, the last step's first, one after the\n" +
			"other, journaled as all steps are. The step that failed, or was at work, is not undone: what it leaves behind is for itself to put away. Undos run on cancel too, and who cancelled waits\n" +
			"for them. An undo has its own `retry`; one that fails keeps none of the others from running. In an undo `input` is what the step was given, `output` what it yielded, and `error` why.\n" +
			"A saga that has succeeded is done for good: to undo it with what follows, put that into it, or make the saga a step, with an undo, of another saga.",
		Yields: "What its last step yields. A skipped step passes on what it was given.",
		Errors: []string{
			"that of the step that failed, once all is undone",
			"compensation_failed: undos failed (class function); its data has `error`, why the saga was undone, and `failed`, a list with the step and the error of each",
			"cancelled: what `error` is in the undos of a saga that was cancelled",
		},
		Examples: []string{`
saga:
  steps:
    - name: booked
      function: book
      undo: { function: unbook, input: "${ output.booking }", retry: { attempts: 20, backoff: 1s } }
    - { name: paid, function: charge, undo: { function: refund, input: "${ {'receipt': output.receipt, 'because': error.type} }" } }
    - { function: ship }
`, `
saga:
  - { function: book, undo: { function: unbook } }
  - { function: charge }
`},
	}
}
