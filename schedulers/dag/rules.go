package dag

// The rules of a step, over how its needs ended. Two of them are not in the table of decide: always runs at once, and the rule of a teardown looks at
// its setups.
const (
	ruleDefault  = "all_success"
	ruleAlways   = "always"
	ruleTeardown = "all_done_setup_success"
)

var rules = []string{
	ruleDefault, "all_failed", "all_done", "all_done_min_one_success", ruleTeardown, "all_skipped", "one_success", "one_failed", "one_done", "none_failed",
	"none_failed_min_one_success", "none_skipped", ruleAlways,
}

// tolerant are the rules by which a step may run behind a failure.
var tolerant = map[string]bool{
	"all_failed": true, "all_done": true, "all_done_min_one_success": true, ruleTeardown: true, "one_success": true, "one_failed": true, "one_done": true,
	"none_skipped": true, ruleAlways: true,
}

// early are the rules by which a step may run before its needs have ended.
var early = map[string]bool{"one_success": true, "one_failed": true, "one_done": true, ruleAlways: true}

// A Tally counts ended needs: succeeded, skipped, failed, upstream failed.
type Tally struct{ S, K, F, U int32 }

func (t *Tally) add(status uint8) {
	switch status {
	case succeeded:
		t.S++
	case skipped:
		t.K++
	case failed:
		t.F++
	case upstreamFailed:
		t.U++
	}
}

func (t Tally) ended() int32 { return t.S + t.K + t.F + t.U }

// decide is Airflow's table of trigger rules (trigger_rule_dep.py): given how n needs ended so far, the step is to run, is skipped, cannot run
// because of a failure upstream, or waits (pending). What it says once, it says whatever the other needs do: the order in which they end decides
// nothing. So all_success waits for all before it is skipped, since a failure still outweighs the skip (decision 0033).
func decide(rule string, t Tally, n int32) uint8 {
	bad, done := t.F+t.U, t.ended() == n
	choose := func(run, skip, upstream bool) uint8 {
		switch {
		case upstream:
			return upstreamFailed
		case skip:
			return skipped
		case run:
			return running
		}
		return pending
	}
	switch rule {
	case ruleAlways:
		return running
	case "all_failed":
		return choose(bad == n, t.S+t.K > 0, false)
	case "all_done":
		return choose(done, false, false)
	case "all_done_min_one_success":
		return choose(done && t.S > 0, t.K > 0, done && t.K == 0 && t.S == 0)
	case "all_skipped":
		return choose(t.K == n, t.S+bad > 0, false)
	case "one_success":
		if t.S > 0 {
			return running
		}
		return choose(false, done && t.K == n, done && t.K < n)
	case "one_failed":
		return choose(bad > 0, done && bad == 0, false)
	case "one_done":
		return choose(t.S+t.F > 0, done && t.S+t.F == 0, false)
	case "none_failed":
		return choose(t.S+t.K == n, false, bad > 0)
	case "none_failed_min_one_success":
		return choose(done && t.K < n, done && t.K == n, bad > 0)
	case "none_skipped":
		return choose(done && t.K == 0, t.K > 0, false)
	}
	return choose(t.S == n, done && t.K > 0, bad > 0)
}

// decideTeardown is the rule of a teardown, once all that it needs has ended: whatever its setup made is to be taken down, however the work went.
func decideTeardown(setups Tally) uint8 {
	switch {
	case setups.S > 0:
		return running
	case setups.K == setups.ended():
		return skipped
	}
	return upstreamFailed
}
