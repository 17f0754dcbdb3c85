package history

import (
	"github.com/onward-router/onward/config/lang"
	"github.com/onward-router/onward/router/engine"
	"github.com/onward-router/onward/router/journal"
)

// Past gives what became of a run's steps, in the order of their ends: what a redrive goes by.
func (h *Endings) Past(run journal.RunID) (past []engine.Past, err error) {
	var bad error
	err = h.store.walk(streamSteps, run, place{page: -1}, func(_ place, text []byte) bool {
		r := reader{b: text}
		x := r.head()
		if x.marks&(markDelivery|markSignal) != 0 {
			return true
		}
		var s *engine.PastStep
		if s, bad = decodeStep(run, text); bad != nil {
			return false
		}
		past = append(past, engine.Past{
			Path: s.Path, Call: x.marks&markCall != 0, Began: x.queued, Input: s.Input, Outcome: lang.Outcome{Verdict: x.verdict, Value: s.Output, Err: s.Error},
			Cut: x.marks&(markInputCut|markOutputCut) != 0,
		})
		return true
	})
	if err == nil {
		err = bad
	}
	return past, err
}
